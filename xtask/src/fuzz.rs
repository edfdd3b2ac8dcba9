//! `cargo xtask fuzz`: any bytes at all to whatever reads what others send.

use std::{ffi::OsStr, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{ci::succeed, tools};

/// Which fixtures a target begins with: those below this folder.
const FROM_FIXTURES: [(&str, &str); 6] = [
    ("ev_energy", "crates/providers/ev-energy/tests/fixtures"),
    ("podero", "crates/providers/podero/tests/fixtures"),
    ("der_connect", "crates/providers/der-connect/tests/fixtures"),
    ("evcc", "crates/providers/evcc/tests/fixtures"),
    ("ocpi", "crates/providers/ocpi/tests/fixtures"),
    ("configs", "tests/fuzz/configs"),
];

/// What the other targets begin with.
const FROM_WORDS: [(&str, &[&str]); 3] = [
    (
        "cursors",
        &[
            "ocpi:1::{\"module\":\"Sessions\"}",
            "{\"module\":\"Sessions\",\"version\":\"V2_2_1\",\"from\":\"2024-01-01T00:00:00Z\",\"until\":null,\
             \"link\":null,\"list\":{\"position\":1,\"back\":1,\"learnt\":0,\"known\":[1],\"total\":5,\
             \"linked\":false,\"restarts\":0}}",
            "{\"list\":0,\"options\":\"\",\"next\":\"page_after=x\",\"seen\":[]}",
        ],
    ),
    (
        "quantities",
        &[
            "EUR",
            "2026-11-20T12:00:00Z",
            "2026-11-20 12:00:00",
            "1970-1-1T00:00:00Z",
            "\"12.5\"",
            "12.299999999999999",
        ],
    ),
    (
        "headers",
        &[
            "<https://cpo.example/ocpi/2.2.1/sessions?offset=50&limit=50>; rel=\"next\"",
            "120\n1614265330\nv1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\n{\"type\":\"a\",\"data\":{}}",
            "Fri, 20 Nov 2026 12:00:00 GMT",
            "https://cpo.example:8443/ocpi/2.2.1",
        ],
    ),
];

/// Documents of every provider.
const DOCUMENTS: &str = "documents";

fn all() -> impl Iterator<Item = &'static str> {
    let fixtures = FROM_FIXTURES.iter().map(|(name, _)| *name);
    fixtures.chain(FROM_WORDS.iter().map(|(name, _)| *name)).chain([DOCUMENTS])
}

/// Runs the named targets, or all of them, for so many seconds each.
pub(crate) fn run(root: &Path, targets: &[String], seconds: u32) -> Result<()> {
    for target in targets {
        let known: Vec<_> = all().collect();
        ensure!(
            known.contains(&target.as_str()),
            "there is no target {target}: there are {}",
            known.join(", ")
        );
    }
    let tool = tools::FUZZ.path()?;
    let place = tools::cache()?.join("fuzz");
    for target in all().filter(|name| targets.is_empty() || targets.iter().any(|target| target == name)) {
        let (corpus, seeds, found) =
            (place.join("corpus").join(target), place.join("seeds").join(target), place.join("found"));
        for folder in [&corpus, &seeds, &found] {
            fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let count = seed(root, target, &seeds)?;
        println!("{target}: {seconds} s from {count} seeds");
        let mut fuzz = Command::new(&tool);
        // Our crates have no unsafe code, so what there is to find are panics, hangs and memory without bounds; those
        // need no sanitizer, and without one a stable compiler will do.
        fuzz.args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir"])
            .arg(root.join("tests/fuzz"))
            .arg(target)
            .args([&corpus, &seeds])
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .args([
                "-timeout=10",
                "-rss_limit_mb=1024",
                "-max_len=65536",
                "-verbosity=0",
                "-print_final_stats=1",
                "-print_funcs=0",
            ])
            .arg(format!("-artifact_prefix={}/{target}-", found.display()))
            .env("RUSTC_BOOTSTRAP", "1")
            .current_dir(root);
        succeed(&mut fuzz, &format!("cargo fuzz run {target}"))?;
    }
    Ok(())
}

/// Writes what a target begins with. How many there are.
fn seed(root: &Path, target: &str, into: &Path) -> Result<usize> {
    let mut texts = Vec::new();
    if let Some((_, folder)) = FROM_FIXTURES.iter().find(|(name, _)| *name == target) {
        collect(&root.join(folder), &mut |path, text| {
            match path.extension().and_then(OsStr::to_str) {
                // A fixture is a whole answer.
                Some("http") => texts
                    .extend(text.replace("\r\n", "\n").split_once("\n\n").map(|(_, body)| body.to_owned())),
                Some("toml") => texts.push(text.to_owned()),
                _ => {}
            }
        })?;
    } else if target == DOCUMENTS {
        collect(&root.join("specs"), &mut |_, text| texts.push(text.to_owned()))?;
    } else if let Some((_, words)) = FROM_WORDS.iter().find(|(name, _)| *name == target) {
        texts.extend(words.iter().map(|word| (*word).to_owned()));
    }
    ensure!(!texts.is_empty(), "there are no seeds for {target}");
    for (index, text) in texts.iter().enumerate() {
        fs::write(into.join(format!("{index:03}")), text).context("a seed cannot be written")?;
    }
    Ok(texts.len())
}

fn collect(folder: &Path, each: &mut impl FnMut(&Path, &str)) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("{} cannot be listed", folder.display()))?
        .collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, each)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            each(&path, &text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn every_target_is_built_and_begins_with_something() {
        let manifest = fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).unwrap();
        let built: Vec<_> =
            manifest.lines().filter_map(|line| line.strip_prefix("path = \"targets/")).collect();
        let named: Vec<_> = all().map(|name| format!("{name}.rs\"")).collect();
        assert_eq!(built.len(), named.len());
        for (name, target) in named.iter().zip(all()) {
            assert!(built.contains(&name.as_str()), "{name}");
            let folder = tempfile::tempdir().unwrap();
            assert!(seed(root(), target, folder.path()).unwrap() > 1, "{target}");
        }
    }
}
