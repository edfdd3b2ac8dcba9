//! `cargo xtask endurance`: the program killed again and again, cut off from the network, on a full disk, and with a
//! million sessions.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::ci::{program, succeed};

/// The whole distance, with a program that was built for release.
pub(crate) fn run(root: &Path) -> Result<()> {
    tests(root, &["--release"], &[])
}

/// The same over a distance that is right for every change.
pub(crate) fn short(root: &Path) -> Result<()> {
    let distance = [("ENDURANCE_SESSIONS", "10000"), ("ENDURANCE_KILLS", "12"), ("ENDURANCE_MOST", "100000")];
    tests(root, &[], &distance)
}

fn tests(root: &Path, profile: &[&str], distance: &[(&str, &str)]) -> Result<()> {
    let mut cargo = Command::new(program());
    cargo.args(["test", "-p", "charging-sessions-cli", "--test", "endurance"]).args(profile);
    // One after the other: they measure, and each wants the machine for itself.
    cargo.args(["--", "--ignored", "--nocapture", "--test-threads=1"]);
    cargo.envs(distance.iter().copied()).current_dir(root);
    succeed(&mut cargo, "cargo test --test endurance")
}
