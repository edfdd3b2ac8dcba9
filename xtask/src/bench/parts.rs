//! Single parts of the way, as criterion measures them.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::table::{Table, figure};
use crate::ci::{program, succeed};

/// Runs the benchmarks, and reads what criterion has left in files.
pub(crate) fn run(root: &Path) -> Result<String> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut cargo = Command::new(program());
    cargo.args(["bench", "--quiet", "-p", "workspace-benchmarks", "--bench", "parts", "--"]);
    cargo.args(["--noplot", "--warm-up-time", "0.5", "--measurement-time", "1.5", "--sample-size", "30"]);
    // What it prints is for who runs it by hand.
    cargo.env("CRITERION_HOME", folder.path()).current_dir(root).stdout(std::process::Stdio::null());
    succeed(&mut cargo, "cargo bench --bench parts")?;
    let medians = medians(folder.path())?;
    let mut decoding = Table::new([
        "records of",
        "bytes each",
        "serde_json alone, µs",
        "decode and map, µs",
        "to serde_json",
    ]);
    let mut others = Table::new(["part", "µs"]);
    for (name, measured) in &medians {
        let each = measured.nanoseconds / 1e3 / measured.elements;
        match name.rsplit_once('/') {
            Some((provider, "decode and map")) => {
                let plain = medians.get(&format!("{provider}/serde_json alone"));
                let plain = plain.with_context(|| format!("{provider} has nothing to compare with"))?;
                let plain_each = plain.nanoseconds / 1e3 / plain.elements;
                decoding.row([
                    provider.to_owned(),
                    figure(plain.bytes / plain.elements),
                    figure(plain_each),
                    figure(each),
                    figure(each / plain_each),
                ]);
            }
            Some((_, "serde_json alone")) => {}
            _ => others.row([name.clone(), figure(each)]),
        }
    }
    Ok(format!(
        "Medians of criterion for each record, on one processor, with what the sandboxes serve. `serde_json alone` reads \
         the same bytes into the same structures and does nothing with them.\n\n{decoding}\n{others}"
    ))
}

/// The median of one benchmark, and how much it was run over.
#[derive(Debug, PartialEq)]
struct Measured {
    nanoseconds: f64,
    elements: f64,
    bytes: f64,
}

/// All benchmarks below a folder, by `group/function`.
fn medians(folder: &Path) -> Result<BTreeMap<String, Measured>> {
    let mut medians = BTreeMap::new();
    for group in fs::read_dir(folder).context("criterion has left nothing")?.flatten() {
        for function in fs::read_dir(group.path()).into_iter().flatten().flatten() {
            let read = |name| -> Option<Value> {
                serde_json::from_slice(&fs::read(function.path().join("new").join(name)).ok()?).ok()
            };
            let (Some(benchmark), Some(estimates)) = (read("benchmark.json"), read("estimates.json")) else {
                continue;
            };
            let name = benchmark["full_id"].as_str().context("a benchmark without a name")?;
            let nanoseconds = estimates["median"]["point_estimate"].as_f64();
            let nanoseconds = nanoseconds.with_context(|| format!("{name} has no median"))?;
            let both = &benchmark["throughput"]["ElementsAndBytes"];
            let number = |name: &str| both[name].as_f64();
            let measured = Measured {
                nanoseconds,
                elements: number("elements").unwrap_or(1.0),
                bytes: number("bytes").unwrap_or(0.0),
            };
            medians.insert(name.to_owned(), measured);
        }
    }
    ensure!(!medians.is_empty(), "criterion has left nothing");
    Ok(medians)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_read_from_what_criterion_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let one = folder.path().join("podero/decode and map/new");
        fs::create_dir_all(&one).unwrap();
        fs::create_dir_all(folder.path().join("podero/report")).unwrap();
        let benchmark = r#"{"full_id":"podero/decode and map","throughput":{"ElementsAndBytes":{"elements":4,"bytes":400}}}"#;
        fs::write(one.join("benchmark.json"), benchmark).unwrap();
        assert!(medians(folder.path()).is_err());
        fs::write(one.join("estimates.json"), r#"{"median":{"point_estimate":8000.0}}"#).unwrap();
        let medians = medians(folder.path()).unwrap();
        let measured = Measured { nanoseconds: 8000.0, elements: 4.0, bytes: 400.0 };
        assert_eq!(medians.into_iter().collect::<Vec<_>>(), [("podero/decode and map".to_owned(), measured)]);
    }
}
