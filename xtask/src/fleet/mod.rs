//! `cargo xtask fleet`: three workers on a server of our own that are killed and stopped at random, and the server taken
//! away from under them; afterwards the store must equal the truth.

mod rates;
mod simulation;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use crate::{ci::program, postgres};

/// The page that the runs are written to, and between what.
const PAGE: &str = "docs/fleet.md";
const BEGIN: &str = "<!-- runs: written by `cargo xtask fleet` -->\n";
const END: &str = "<!-- end of runs -->\n";
const HEADER: &str = "| seed | accounts | sessions of each | kills | stops | crashes of the server | jobs | taken over | refused writes | \
                      superseded jobs | pages read again, of those in flight | most requests of a credential in 2 s | \
                      of all | all read after | ended within |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// How far the runs go.
#[derive(Clone, Copy)]
struct Distance {
    seeds: u32,
    first_seed: u32,
    accounts: u32,
    /// Records of each account.
    sessions: u32,
    /// How often something is done to the workers or the server, at most.
    harm: u32,
    /// How many requests all accounts may send together within two seconds.
    of_all: u32,
    /// Settings of the server.
    server: &'static [&'static str],
    /// Whether the workers are built for release.
    release: bool,
}

/// A few accounts with much to read.
const SMALL: Distance = Distance {
    seeds: 3,
    first_seed: 1,
    accounts: 60,
    sessions: 200,
    harm: 6,
    of_all: 120,
    server: &[],
    release: false,
};

/// Many accounts with little to read. What the server has written outlives its own crash without being made safe from one
/// of the machine, which nobody tries here, and which one limit for all accounts would wait for at each request.
const LARGE: Distance = Distance {
    seeds: 1,
    first_seed: 1001,
    accounts: 2000,
    sessions: 40,
    harm: 24,
    of_all: 500,
    server: &["fsync=off"],
    release: true,
};

/// How far, or what else.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    task: Option<Task>,
    /// How many runs with 2000 accounts, each by its seed.
    #[arg(long, default_value_t = 20)]
    seeds: u32,
    /// How many runs with 60 accounts.
    #[arg(long, default_value_t = 4)]
    small: u32,
}

#[derive(Subcommand)]
enum Task {
    /// Measure sessions a second, what each costs, and what is the limit.
    Rates(rates::Options),
    /// Reckon from that what a fleet of vehicles would ask of workers and a database for a day.
    Simulate(simulation::Options),
}

/// Runs so many seeds of the small kind and of the large one, and writes what came of them. What is not run stays as it is
/// on the page.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let (small, large) = match &options.task {
        None => (options.small, options.seeds),
        Some(Task::Rates(options)) => return rates::run(root, options),
        Some(Task::Simulate(options)) => return simulation::run(root, options),
    };
    let path = root.join(PAGE);
    let mut rows = String::new();
    for distance in [Distance { seeds: small, ..SMALL }, Distance { seeds: large, ..LARGE }] {
        if distance.seeds > 0 {
            rows.push_str(&trials(root, distance)?);
        } else {
            let page = fs::read_to_string(&path).with_context(|| format!("{PAGE} cannot be read"))?;
            rows.push_str(&rows_of(&page, distance.accounts));
        }
    }
    let page = fs::read_to_string(&path).with_context(|| format!("{PAGE} cannot be read"))?;
    fs::write(&path, written(&page, &rows)?).with_context(|| format!("{PAGE} cannot be written"))
}

/// The rows that a page has of runs with so many accounts.
fn rows_of(page: &str, accounts: u32) -> String {
    let rows = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map_or("", |(rows, _)| rows);
    let accounts = accounts.to_string();
    let of_them =
        rows.lines().filter(|row| row.split('|').nth(2).is_some_and(|cell| cell.trim() == accounts));
    of_them.map(|row| format!("{row}\n")).collect()
}

/// A few seeds, which is right for every change.
pub(crate) fn short(root: &Path) -> Result<()> {
    trials(root, SMALL).map(drop)
}

fn written(page: &str, rows: &str) -> Result<String> {
    let begin = page.find(BEGIN).map(|at| at + BEGIN.len());
    let places = begin.zip(page.find(END)).filter(|(begin, end)| begin <= end);
    let (begin, end) = places.with_context(|| format!("{PAGE} has no place for the runs"))?;
    Ok(format!("{}{HEADER}{rows}{}", &page[..begin], &page[end..]))
}

/// The rows of the table.
fn trials(root: &Path, distance: Distance) -> Result<String> {
    let Distance { seeds, first_seed, accounts, sessions, harm, of_all, server, release } = distance;
    let server = postgres::Server::start_with(postgres::programs()?, server)?;
    let mut cargo = Command::new(program());
    cargo
        .args(["test", "-p", "charging-sessions-cli", "--features", "fleet", "--test", "fleet"])
        .args(release.then_some("--release"))
        .args(["--", "--include-ignored", "--nocapture", "--test-threads=1"])
        .env("CHARGING_SESSIONS_TEST_POSTGRES", server.address())
        .env("CHARGING_SESSIONS_TEST_POSTGRES_CRASH", server.crash())
        .env("FLEET_SEEDS", seeds.to_string())
        .env("FLEET_FIRST_SEED", first_seed.to_string())
        .env("FLEET_ACCOUNTS", accounts.to_string())
        .env("FLEET_SESSIONS", sessions.to_string())
        .env("FLEET_HARM", harm.to_string())
        .env("FLEET_OF_ALL", of_all.to_string())
        .env("RUST_BACKTRACE", "0")
        .current_dir(root)
        .stdout(Stdio::piped());
    let mut child = cargo.spawn().context("cargo cannot be started")?;
    let mut rows = String::new();
    let mut whole = false;
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        println!("{line}");
        // What tests print begins behind their names.
        if let Some(row) = line.find("| ").filter(|_| line.ends_with(" |")) {
            rows.push_str(&line[row..]);
            rows.push('\n');
        }
        whole |= line.starts_with("test result: ok.") && line.contains("; 0 ignored;");
    }
    let status = child.wait()?;
    ensure!(status.success(), "the tests of the fleet failed; the server said:\n{}", server.log());
    let counted = rows.lines().count();
    ensure!(whole && counted == seeds as usize, "{counted} of {seeds} trials have run");
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_take_the_place_of_those_before() {
        let page = format!("a\n{BEGIN}old\n{END}z\n");
        assert_eq!(written(&page, "| 1 |\n").unwrap(), format!("a\n{BEGIN}{HEADER}| 1 |\n{END}z\n"));
        assert!(written("no place", "").is_err());
        let page = format!("| 0 | 60 |\n{BEGIN}{HEADER}| 1 | 60 | x |\n| 2 | 2000 | y |\n{END}");
        assert_eq!(rows_of(&page, 60), "| 1 | 60 | x |\n");
        assert_eq!(rows_of(&page, 61), "");
        assert!(written(&format!("{END}{BEGIN}"), "").is_err());
    }
}
