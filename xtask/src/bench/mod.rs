//! `cargo xtask bench`: what a session costs on its way from an API into a store, measured beside what else one would
//! write or take.

mod account;
mod child;
pub(crate) mod document;
mod growth;
mod latency;
mod parts;
mod size;
pub(crate) mod table;
mod throughput;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use self::child::Programs;
use crate::python::Python;

/// What is measured, and how long.
#[derive(Args)]
pub(crate) struct Options {
    /// The parts; all unless named.
    parts: Vec<Part>,
    /// How often each contender runs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// How many sessions each contender reads: 1,000 pages unless given.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(200..))]
    sessions: u32,
    /// Without the contenders in Python, which need packages from the network the first time.
    #[arg(long)]
    rust_only: bool,
    /// Write the tables to docs/benchmarks.md, too.
    #[arg(long)]
    write: bool,
    /// Only what `ci` runs: whether everybody stores what was served, in seconds and without any table.
    #[arg(long, conflicts_with_all = ["parts", "rounds", "sessions", "rust_only", "write"])]
    short: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Our program against others, from nothing to the same rows.
    Throughput,
    /// With a provider that takes 50 ms for each answer, and with a quota.
    Latency,
    /// More accounts, and more in the store.
    Growth,
    /// Single parts: decoding, mapping, checks, cursors.
    Micro,
    /// The size of the program, and how long an adapter takes to compile.
    Size,
}

/// Measures, and prints one table after the other.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if options.short {
        return short(root);
    }
    let programs = Programs::build(root, true)?;
    for part in Part::value_variants() {
        if !options.parts.is_empty() && !options.parts.contains(part) {
            continue;
        }
        let name = part.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let text =
            measure(root, &programs, *part, options).with_context(|| format!("the part {name} failed"))?;
        println!("# {name}\n\n{text}");
        if options.write {
            document::write(root, document::PATH, &name, &text, &["rustc", "python3"])?;
        }
    }
    Ok(())
}

fn measure(root: &Path, programs: &Programs, part: Part, options: &Options) -> Result<String> {
    match part {
        Part::Throughput => {
            let python = if options.rust_only { None } else { Some(python(root)?) };
            let (rounds, sessions) = (options.rounds.into(), usize::try_from(options.sessions)?);
            let distance = throughput::Distance { rounds, sessions, vehicles: 10 };
            throughput::run(root, programs, python.as_ref(), distance)
        }
        Part::Latency => {
            // More sessions would reach back to years in which nobody charged, which is a finding of its own.
            let bursts = (100, 40, Duration::from_secs(4));
            latency::run(programs, latency::Distance { pages: 1_000, assets: 2_000, bursts, strict: true })
        }
        Part::Growth => {
            let (accounts, vehicles) = (vec![1, 10, 100], vec![1, 10, 100, 1_000]);
            growth::run(programs, &growth::Distance { accounts, sessions: 1_000, vehicles })
        }
        Part::Micro => parts::run(root),
        Part::Size => size::run(root, programs),
    }
}

/// The same over a distance that is right for every change, with programs that are built as for tests: whether everybody
/// stores what was served, and nothing about time.
pub(crate) fn short(root: &Path) -> Result<()> {
    let programs = Programs::build(root, false)?;
    let distance = throughput::Distance { rounds: 1, sessions: 1_000, vehicles: 2 };
    throughput::run(root, &programs, None, distance)?;
    let bursts = (6, 4, Duration::from_secs(1));
    latency::run(&programs, latency::Distance { pages: 3, assets: 40, bursts, strict: false })?;
    growth::run(&programs, &growth::Distance { accounts: vec![1, 2], sessions: 300, vehicles: vec![1, 2] })?;
    Ok(())
}

/// The Python of the contenders that are written in it.
fn python(root: &Path) -> Result<Python> {
    let without = Some("leave out the contenders in Python with --rust-only");
    Python::install(&root.join("tests/benchmarks/python/requirements.txt"), without)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_place_in_the_document() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for part in Part::value_variants() {
            let name = part.to_possible_value().unwrap();
            document::check(root, name.get_name()).unwrap();
        }
    }
}
