//! `cargo xtask codegen-trial`: whole documents of vendors through the generator and the compiler.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{
    build_from, emit,
    load::{Document, Roots},
};

/// The only file of the HTTP crate that generated code needs; it stands alone.
const WIRE: &str = "crates/http/src/wire.rs";

const MANIFEST: &str = "\
[package]
name = \"codegen-trial\"
version = \"0.0.0\"
edition = \"2024\"
publish = false

[dependencies]
jiff = { version = \"0.2\", default-features = false, features = [\"std\", \"serde\"] }
serde = { version = \"1\", features = [\"derive\"] }
serde_json = \"1\"

[workspace]
";

/// Generates all schemas, answers and queries of each document twice, compares, and compiles them.
pub(crate) fn trial(root: &Path, files: &[PathBuf], compile: bool) -> Result<()> {
    let mut modules = Vec::new();
    let mut failed = 0;
    for file in files {
        match generated(file) {
            Ok(text) => modules.push(text),
            // Each document is tried, so that one run shows all that is wrong.
            Err(error) => {
                failed += 1;
                println!("{}: {error:#}", file.display());
            }
        }
    }
    ensure!(failed == 0, "{failed} of {} documents failed", files.len());
    if compile {
        let took = compiled(root, &modules)?;
        println!("all compile without a warning, {:.1} s", took.as_secs_f64());
    }
    Ok(())
}

fn generated(file: &Path) -> Result<String> {
    let bytes = fs::read(file).context("the file cannot be read")?;
    let text = String::from_utf8(bytes).context("the file is not UTF-8 text")?;
    let document = Document::parse(&text)?;
    let generate = || -> Result<String> {
        let (model, queries) = build_from(&document, &Roots::everything())?;
        Ok(emit::file("trial", "of nothing", &emit::emit(&model, &queries)?))
    };
    let started = Instant::now();
    let first = generate()?;
    let took = started.elapsed();
    if first != generate()? {
        bail!("two runs gave different code: this is a fault of xtask");
    }
    let version = document.value.get("openapi").map(Value::to_string).unwrap_or_default();
    let schemas = document
        .value
        .pointer("/components/schemas")
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len);
    println!(
        "{}: OpenAPI {}, {schemas} schemas, {} lines, {:.1} s",
        file.display(),
        version.trim_matches('"'),
        first.lines().count(),
        took.as_secs_f64()
    );
    Ok(first)
}

/// Compiles the texts as modules of one crate, in a folder that goes away.
fn compiled(root: &Path, modules: &[String]) -> Result<Duration> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let source = folder.path().join("src");
    fs::create_dir(&source)?;
    fs::write(folder.path().join("Cargo.toml"), MANIFEST)?;
    // The versions that are fetched already.
    fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock"))
        .context("Cargo.lock cannot be copied")?;
    fs::copy(root.join(WIRE), source.join("wire.rs")).with_context(|| format!("{WIRE} cannot be copied"))?;
    let mut library = "//! Generated code on trial.\n#![deny(warnings)]\n#![allow(dead_code)]\n\
                       extern crate self as charging_sessions_http;\nmod wire;\npub use wire::{Link, OneOrMany};\n"
        .to_owned();
    for (index, text) in modules.iter().enumerate() {
        library.push_str(&format!("mod document_{index};\n"));
        fs::write(source.join(format!("document_{index}.rs")), text)?;
    }
    fs::write(source.join("lib.rs"), library)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let started = Instant::now();
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["check", "--quiet"])
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", target.join("codegen-trial"))
        .status()
        .context("cargo cannot be started")?;
    if !status.success() {
        // For whoever looks for the fault.
        let kept = folder.keep();
        bail!("the generated code does not compile: see above; it is kept in {}", kept.display());
    }
    Ok(started.elapsed())
}
