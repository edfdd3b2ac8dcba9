//! The program as its users meet it: what it prints, and how it ends.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn xtask(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("--workspace")
        .arg(root)
        .args(arguments)
        .output()
        .expect("xtask runs")
}

fn workspace(document: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("specs/trial");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("openapi.yaml"), document).unwrap();
    fs::write(folder.join("spec.toml"), "[roots]\nschemas = [\"Root\"]\n").unwrap();
    root
}

#[test]
fn a_fault_is_one_line_on_standard_error_and_exit_code_1() {
    let root = workspace("openapi: 3.1.0\ncomponents: { schemas: { Root: { $ref: 'other.yaml#/Root' } } }\n");
    for arguments in [&["codegen"][..], &["codegen", "trial", "--check"], &["fetch-spec", "trial"]] {
        let output = xtask(root.path(), arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_stale_file_is_refused_with_the_command_that_cures_it() {
    let root = workspace("openapi: 3.1.0\ncomponents: { schemas: { Root: { properties: { a: {} } } } }\n");
    let stale = xtask(root.path(), &["codegen", "--check"]);
    assert_eq!(stale.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stale.stderr).contains("Run `cargo xtask codegen trial` and commit"));
    assert!(xtask(root.path(), &["codegen"]).status.success());
    assert!(xtask(root.path(), &["codegen", "--check"]).status.success());
}

#[test]
fn a_trial_tells_the_figures_of_every_document() {
    let root = workspace(
        "openapi: 3.0.3\ncomponents: { schemas: { A: { type: string }, B: { properties: { a: {} } } } }\n",
    );
    let document = root.path().join("specs/trial/openapi.yaml");
    let output = xtask(root.path(), &["codegen-trial", "--no-compile", &document.to_string_lossy()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("OpenAPI 3.0.3, 2 schemas, 10 lines"), "{said}");
}

#[test]
fn a_trial_goes_on_after_a_document_that_fails() {
    let root = workspace("swagger: '2.0'\n");
    let document = root.path().join("specs/trial/openapi.yaml");
    let document = document.to_string_lossy();
    let output = xtask(root.path(), &["codegen-trial", "--no-compile", &document, &document]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches("Swagger 2.0 is not read").count(), 2);
}
