//! How long an adapter takes to compile from nothing, and how large the program is.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    child::Programs,
    table::{Table, figure, mebibytes},
};
use crate::compile_time;

/// The adapter whose compile time stands for the others.
const ADAPTER: &str = "podero";

pub(crate) fn run(root: &Path, programs: &Programs) -> Result<String> {
    let program = programs.path("charging-sessions");
    let bytes = fs::metadata(&program).with_context(|| format!("{} is not there", program.display()))?.len();
    let built = compile_time::seconds(root, ADAPTER)?;
    let mut table = Table::new(["what", "is"]);
    table.row(["the program, built for release, MiB".to_owned(), figure(mebibytes(bytes))]);
    table.row([
        format!("a project that depends on the adapter of {ADAPTER} alone, compiled from nothing, s"),
        figure(built),
    ]);
    Ok(table.to_string())
}
