//! Reports in a browser: a real one draws them, prints them, and says what it fetched.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};

use crate::ci::{Program, npm_packages, program, succeed};

/// Drives a browser that is already there; brings none. The last version that runs on the Node.js of Debian 12.
const PACKAGE: &str = "playwright-core@1.61.0";

/// What browsers are called.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs `crates/cli/tests/browser.rs` with a browser.
pub(crate) fn run(root: &Path) -> Result<()> {
    if browser().is_none() {
        Program { name: "a browser", packages: &["chromium"], without: None }.install()?;
    }
    if on_path("pdftotext").is_none() {
        Program { name: "pdftotext", packages: &["poppler-utils"], without: None }.install()?;
    }
    let browser = browser().context("no browser: install chromium")?;
    let folder = npm_packages(&[PACKAGE.to_owned()])?;
    let mut cargo = Command::new(program());
    cargo
        .args(["test", "-q", "-p", "charging-sessions-cli", "--test", "browser", "--", "--ignored"])
        .env("CHROMIUM", browser)
        .env("PLAYWRIGHT", folder.path().join("node_modules/playwright-core"))
        .current_dir(root);
    succeed(&mut cargo, "cargo test --test browser")
}

fn browser() -> Option<std::path::PathBuf> {
    BROWSERS.into_iter().find_map(on_path)
}

/// Where a program is.
fn on_path(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_they_are() {
        assert!(on_path("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(on_path("no-such-program-anywhere"), None);
    }
}
