//! `cargo xtask faults`: what a sync makes of a provider that misbehaves, written down anew.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    bench::document,
    ci::{program, succeed},
};

const PAGE: &str = "docs/faults.md";

/// Which tests break what HTTP promises, or what a certificate does.
const TESTS: [(&str, &str); 3] = [
    ("charging-sessions-sync", "hostile"),
    ("charging-sessions-cli", "faults"),
    ("charging-sessions-cli", "tls"),
];

/// Runs them all, and says in the page when and where that was.
pub(crate) fn run(root: &Path) -> Result<()> {
    for (package, test) in TESTS {
        let mut cargo = Command::new(program());
        cargo.args(["test", "-p", package, "--test", test]).env("UPDATE_DOCS", "1").current_dir(root);
        succeed(&mut cargo, &format!("cargo test --test {test}"))?;
    }
    document::write(root, PAGE, "run", "All that this page says came true.", &["rustc"])
}
