//! What we depend on: whether it may be, whether it is needed, whether something is known against it, and a list of it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    ci::{program, succeed},
    tools,
};

/// What `deny.toml` says about licences, sources and banned crates, and advisories where they can be had.
pub(crate) fn deny(root: &Path) -> Result<()> {
    let tool = tools::DENY.path()?;
    let check = |what: &[&str]| {
        let mut deny = Command::new(&tool);
        deny.args(["check", "--hide-inclusion-graph"]).args(what).current_dir(root);
        deny
    };
    succeed(&mut check(&["bans", "licenses", "sources"]), "cargo deny check bans licenses sources")?;
    let fetched = Command::new(&tool)
        .args(["fetch", "db"])
        .current_dir(root)
        .stdout(Stdio::null())
        .output()
        .context("cargo-deny cannot be started")?;
    if !fetched.status.success() {
        let why = String::from_utf8_lossy(&fetched.stderr);
        let why = why.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason was given").trim();
        println!("NOT CHECKED: advisories of dependencies, because their database cannot be fetched ({why})");
        return Ok(());
    }
    succeed(&mut check(&["advisories"]), "cargo deny check advisories")
}

/// That no crate names a dependency that it does not use.
pub(crate) fn unused(root: &Path) -> Result<()> {
    let mut machete = Command::new(tools::MACHETE.path()?);
    succeed(machete.arg(root).current_dir(root), "cargo machete")
}

/// Writes what the program consists of to `target/bom/`, in the format of CycloneDX.
pub(crate) fn bill_of_materials(root: &Path) -> Result<()> {
    let tool = tools::CYCLONEDX.path()?;
    let made = root.join("crates/cli/charging-sessions.cdx.json");
    let mut list = Command::new(tool);
    list.args(["cyclonedx", "--manifest-path"])
        .arg(root.join("crates/cli/Cargo.toml"))
        .args(["--format", "json", "--all-features", "--spec-version", "1.5"])
        .args(["--override-filename", "charging-sessions.cdx"])
        .current_dir(root);
    succeed(&mut list, "cargo cyclonedx")?;
    let text = std::fs::read_to_string(&made)
        .with_context(|| format!("cargo cyclonedx has not written {}", made.display()))?;
    // It writes beside each manifest of the workspace.
    remove_beside_manifests(root)?;
    let folder = root.join("target/bom");
    std::fs::create_dir_all(&folder).context("target/bom cannot be made")?;
    let place = folder.join("charging-sessions.cdx.json");
    std::fs::write(&place, &text).with_context(|| format!("{} cannot be written", place.display()))?;
    let document: serde_json::Value = serde_json::from_str(&text).context("the list is no JSON")?;
    let Some(components) = document["components"].as_array() else { bail!("the list has no components") };
    println!("{}: {} components", place.display(), components.len());
    Ok(())
}

fn remove_beside_manifests(root: &Path) -> Result<()> {
    let output = Command::new(program())
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo cannot be started")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("`cargo metadata` printed no JSON")?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let Some(folder) = package["manifest_path"].as_str().and_then(|path| Path::new(path).parent()) else {
            continue;
        };
        let list = folder.join("charging-sessions.cdx.json");
        if list.exists() {
            std::fs::remove_file(&list).with_context(|| format!("{} cannot be removed", list.display()))?;
        }
    }
    Ok(())
}
