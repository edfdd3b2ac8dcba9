//! `cargo xtask compile-time`: how long a project that depends on one adapter takes to compile from nothing.

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::codegen;

/// Measures each provider, or the named ones, one after another.
pub(crate) fn run(root: &Path, providers: &[String]) -> Result<()> {
    let known = codegen::providers(root)?;
    let providers = if providers.is_empty() { &known } else { providers };
    for provider in providers {
        let seconds = seconds(root, provider)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!("{provider}: {seconds:.0} s from nothing on {cores} cores");
    }
    Ok(())
}

/// How long one adapter takes.
pub(crate) fn seconds(root: &Path, provider: &str) -> Result<f64> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    make_project(root, provider, folder.path())?;
    cargo(folder.path(), &["fetch", "--quiet"])?;
    let started = Instant::now();
    cargo(folder.path(), &["build", "--quiet", "--offline"])?;
    Ok(started.elapsed().as_secs_f64())
}

/// A program that names the adapter, so that it is linked and not only checked.
fn make_project(root: &Path, provider: &str, folder: &Path) -> Result<()> {
    let adapter = root.join("crates/providers").join(provider);
    ensure!(adapter.join("Cargo.toml").is_file(), "there is no adapter at {}", adapter.display());
    let name = format!("charging-sessions-{provider}");
    let manifest = format!(
        "[package]\nname = \"one\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{name} = {{ path = {:?} }}\n",
        adapter.display().to_string()
    );
    let main = format!("fn main() {{\n    println!(\"{{}}\", {}::PROVIDER);\n}}\n", name.replace('-', "_"));
    fs::create_dir(folder.join("src"))?;
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join("src/main.rs"), main)?;
    // The versions that the workspace is tested with.
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).context("Cargo.lock cannot be copied")?;
    Ok(())
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<()> {
    let status = Command::new("cargo")
        .args(arguments)
        .current_dir(folder)
        // From nothing: neither what the workspace has compiled, nor a cache of the machine.
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env_remove("RUSTC_WRAPPER")
        .status()
        .context("cargo cannot be started")?;
    ensure!(status.success(), "`cargo {}` failed", arguments.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = make_project(folder.path(), "nobody", folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("there is no adapter at "), "{error}");
    }
}
