//! docs/benchmarks.md and other pages, of which the tables are written by the command itself.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use jiff::{Timestamp, tz::Offset};

pub(super) const PATH: &str = "docs/benchmarks.md";

/// Puts what was measured in place of what is between the marks of this part of a page, and what it was measured on, if
/// any programs are named that took part.
pub(crate) fn write(root: &Path, page: &str, part: &str, text: &str, programs: &[&str]) -> Result<()> {
    let path = root.join(page);
    let document = fs::read_to_string(&path).with_context(|| format!("{page} cannot be read"))?;
    let measured = if programs.is_empty() { String::new() } else { measured_on(programs) };
    let document = replace(&document, page, part, &format!("{text}\n{measured}"))?;
    fs::write(&path, document).with_context(|| format!("{page} cannot be written"))
}

/// Fails unless there is a place for this part.
#[cfg(test)]
pub(crate) fn check(root: &Path, part: &str) -> Result<()> {
    let document = fs::read_to_string(root.join(PATH)).with_context(|| format!("{PATH} cannot be read"))?;
    replace(&document, PATH, part, "").map(drop)
}

fn replace(document: &str, page: &str, part: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {part} -->"), format!("<!-- end {part} -->"));
    let missing = || format!("{page} has no line `{begin}` with a line `{end}` behind it");
    let (before, rest) = document.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim()))
}

/// The machine, its system, the date and the versions, in one sentence.
fn measured_on(programs: &[&str]) -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().ok().filter(|output| output.status.success());
        output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let model = |line: &str| {
        line.strip_prefix("model name").map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
    };
    let processor =
        file("/proc/cpuinfo").lines().find_map(model).unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = file("/proc/loadavg").split_whitespace().next().unwrap_or("unknown").to_owned();
    let kernel = said("uname", &["-sr"]);
    // What follows the number is a name that whoever built it chose.
    let kernel = kernel.split('-').next().unwrap_or_default();
    let programs: Vec<_> = programs.iter().map(|program| said(program, &["--version"])).collect();
    let programs = programs.join(", ");
    let revision = said("git", &["rev-parse", "--short", "HEAD"]);
    format!(
        "Measured on {} with version {}, revision {revision}, on {cores} cores of {processor}, {kernel}, {programs}. \
         Load at the end: {load}.",
        Offset::UTC.to_datetime(Timestamp::now()).date(),
        env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let document = "a\n<!-- begin one -->\nold\n<!-- end one -->\nb\n";
        let written = replace(document, PATH, "one", "new\n").unwrap();
        assert_eq!(written, "a\n<!-- begin one -->\n\nnew\n\n<!-- end one -->\nb\n");
        assert_eq!(replace(&written, PATH, "one", "new").unwrap(), written);
    }

    #[test]
    fn a_part_without_marks_is_named() {
        let error = replace("a\n<!-- end one -->\n<!-- begin one -->", PATH, "one", "").unwrap_err();
        assert!(error.to_string().contains("`<!-- begin one -->`"), "{error}");
    }
}
