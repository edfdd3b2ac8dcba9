//! `cargo xtask ci`: everything that must hold, in one fixed order.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{bench, browser, codegen, endurance, fleet, foreign, lake, postgres, prism, supply, tidy};

/// One line of the whole check.
struct Step {
    name: &'static str,
    run: fn(&Path) -> Result<()>,
    /// Left out with `--skip-npm`.
    npm: bool,
}

const fn step(name: &'static str, run: fn(&Path) -> Result<()>) -> Step {
    Step { name, run, npm: false }
}

const STEPS: &[Step] = &[
    step("the README's test command", readme_tests),
    step("format", |root| cargo(root, &["fmt", "--all", "--check"], &[])),
    step("clippy", |root| {
        cargo(
            root,
            &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"],
            &[],
        )
    }),
    step("documentation", |root| {
        cargo(
            root,
            &["doc", "--workspace", "--no-deps", "--all-features"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        )
    }),
    step("generated code is current", |root| codegen::run(root, &[], true)),
    step("tidy", tidy::run),
    step("dependencies are allowed", supply::deny),
    step("dependencies are used", supply::unused),
    step("core does no I/O", core_is_pure),
    step("one adapter brings no other", adapters_stand_alone),
    step("reqwest can be left out", reqwest_is_optional),
    step("one store brings no other", stores_stand_alone),
    step("the store on PostgreSQL", postgres::run),
    step("a fleet of workers", fleet::short),
    step("endurance, over a short distance", endurance::short),
    step("benchmarks, over a short distance", bench::short),
    step("partitioned exports in DuckDB and DataFusion", lake::run),
    Step { name: "documents of vendors", run: vendor_documents, npm: true },
    Step { name: "adapters against Prism", run: prism::run, npm: true },
    Step { name: "reports in a browser", run: browser::run, npm: true },
    step("OCPI records from the field", foreign::records),
    step("OCPI against extrawest-ocpi", foreign::server),
];

/// Documents of hundreds of schemas that others publish: package, version, file. Both versions of OpenAPI, both
/// formats.
const VENDOR_DOCUMENTS: &[(&str, &str, &str)] = &[
    ("@figma/rest-api-spec", "0.43.0", "openapi/openapi.yaml"),
    ("@readme/oas-examples", "8.2.2", "3.0/json/star-trek.json"),
    ("@readme/oas-examples", "8.2.2", "3.1/json/readme.json"),
];

/// Runs every step, or those with one of `names` in theirs, and stops at the first that fails.
pub(crate) fn run(root: &Path, names: &[String], skip_npm: bool) -> Result<()> {
    let steps: Vec<&Step> = named(names)?.into_iter().filter(|step| !(skip_npm && step.npm)).collect();
    run_steps(root, &steps)?;
    println!("{} passed, 0 failed", steps.len());
    Ok(())
}

/// The steps with one of `names` in theirs, in their order; all of them, if there are no names.
fn named(names: &[String]) -> Result<Vec<&'static Step>> {
    let has = |step: &Step, name: &str| step.name.to_lowercase().contains(&name.to_lowercase());
    for name in names {
        let all = || STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join("\n  ");
        ensure!(
            STEPS.iter().any(|step| has(step, name)),
            "no step has `{name}` in its name; they are\n  {}",
            all()
        );
    }
    let wanted = |step: &&Step| names.is_empty() || names.iter().any(|name| has(step, name));
    Ok(STEPS.iter().filter(wanted).collect())
}

fn run_steps(root: &Path, steps: &[&Step]) -> Result<()> {
    for (index, step) in steps.iter().enumerate() {
        println!("[{}/{}] {}", index + 1, steps.len(), step.name);
        let started = Instant::now();
        (step.run)(root).with_context(|| format!("the step `{}` failed", step.name))?;
        println!("[{}/{}] {}: {:.1} s", index + 1, steps.len(), step.name, started.elapsed().as_secs_f64());
    }
    Ok(())
}

fn readme_tests(root: &Path) -> Result<()> {
    let readme = fs::read_to_string(root.join("README.md")).context("README.md cannot be read")?;
    let command = test_command(&readme)
        .context("README.md has no ```sh block with a line that starts with `cargo test`")?;
    println!("$ {command}");
    // Through the shell, as a reader of the README would run it.
    succeed(Command::new("sh").args(["-c", command]).current_dir(root), command)
}

/// The first line of a `sh` block that starts with `cargo test`.
fn test_command(readme: &str) -> Option<&str> {
    let mut inside = false;
    for line in readme.lines() {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside && language.trim() == "sh";
        } else if inside && (line == "cargo test" || line.starts_with("cargo test ")) {
            return Some(line);
        }
    }
    None
}

fn core_is_pure(root: &Path) -> Result<()> {
    let crates = tree(root, &["-p", "charging-sessions-core", "--all-features"])?;
    refuse(&crates, &["tokio", "hyper", "reqwest", "http"], "charging-sessions-core")
}

fn adapters_stand_alone(root: &Path) -> Result<()> {
    let mut providers = Vec::new();
    for entry in fs::read_dir(root.join("crates/providers")).context("crates/providers cannot be listed")? {
        providers.push(entry?.file_name().to_string_lossy().into_owned());
    }
    providers.sort();
    for provider in &providers {
        let crates = tree(root, &["-p", "charging-sessions", "--features", provider])?;
        let others: Vec<String> = providers
            .iter()
            .filter(|other| *other != provider)
            .map(|other| format!("charging-sessions-{other}"))
            .collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        refuse(&crates, &others, &format!("charging-sessions with the feature {provider}"))?;
        let own = format!("charging-sessions-{provider}");
        ensure!(crates.contains(&own), "charging-sessions with the feature {provider} does not bring {own}");
    }
    Ok(())
}

fn reqwest_is_optional(root: &Path) -> Result<()> {
    let crates = tree(root, &["-p", "charging-sessions-http", "--no-default-features"])?;
    refuse(&crates, &["reqwest"], "charging-sessions-http without default features")
}

fn stores_stand_alone(root: &Path) -> Result<()> {
    let store = ["-p", "charging-sessions-store"];
    let sqlite = tree(root, &store)?;
    refuse(&sqlite, &["tokio-postgres", "deadpool-postgres", "rustls"], "charging-sessions-store")?;
    let program = tree(root, &["-p", "charging-sessions-cli"])?;
    refuse(
        &program,
        &["graphile_worker", "charging-sessions-fleet", "chrono"],
        "the program without features",
    )?;
    let postgres = tree(root, &[&store[..], &["--no-default-features", "--features", "postgres"]].concat())?;
    refuse(
        &postgres,
        &["rusqlite", "libsqlite3-sys"],
        "charging-sessions-store with the feature postgres alone",
    )
}

/// The names of all crates that `cargo tree` shows.
fn tree(root: &Path, arguments: &[&str]) -> Result<Vec<String>> {
    let output = Command::new(program())
        .args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    ensure!(output.status.success(), "`cargo tree {}` failed", arguments.join(" "));
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn refuse(crates: &[String], banned: &[&str], of: &str) -> Result<()> {
    match crates.iter().find(|name| banned.contains(&name.as_str())) {
        Some(name) => bail!("{of} depends on {name}: `cargo tree -i {name}` shows through whom"),
        None => Ok(()),
    }
}

fn vendor_documents(root: &Path) -> Result<()> {
    let mut packages: Vec<String> =
        VENDOR_DOCUMENTS.iter().map(|(package, version, _)| format!("{package}@{version}")).collect();
    packages.dedup();
    let folder = npm_packages(&packages)?;
    let modules = folder.path().join("node_modules");
    let files: Vec<_> =
        VENDOR_DOCUMENTS.iter().map(|(package, _, file)| modules.join(package).join(file)).collect();
    codegen::trial(root, &files, true)
}

/// A folder with these packages, each `name@version`, in `node_modules`.
pub(crate) fn npm_packages(packages: &[String]) -> Result<TempDir> {
    if !runs("npm") {
        let without = Some("leave out what needs it with --skip-npm");
        Program { name: "npm", packages: &["nodejs", "npm"], without }.install()?;
    }
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel",
        "error",
        "--prefix",
    ])
    .arg(folder.path())
    .args(packages);
    succeed(&mut npm, "npm install")?;
    Ok(folder)
}

/// A program that Debian has.
pub(crate) struct Program {
    /// As people call it.
    pub(crate) name: &'static str,
    pub(crate) packages: &'static [&'static str],
    /// What else one can do.
    pub(crate) without: Option<&'static str>,
}

impl Program {
    /// Installs it, where we may.
    pub(crate) fn install(&self) -> Result<()> {
        if !is_root() || !runs("apt-get") {
            let otherwise = self.without.map(|without| format!(", or {without}")).unwrap_or_default();
            bail!("{} is not installed: install it{otherwise}", self.name);
        }
        let install = [&["install", "--yes", "--no-install-recommends"], self.packages].concat();
        let apt = |arguments: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
            apt
        };
        if succeed(&mut apt(&install), "apt-get install").is_err() {
            // The lists of packages are often missing in containers.
            succeed(&mut apt(&["update"]), "apt-get update")?;
            succeed(&mut apt(&install), "apt-get install")?;
        }
        Ok(())
    }
}

pub(crate) fn is_root() -> bool {
    let user = Command::new("id").arg("-u").output().ok().map(|output| output.stdout);
    user.as_deref().map(<[u8]>::trim_ascii) == Some(b"0")
}

fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn cargo(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new(program());
    command.args(arguments).envs(variables.iter().copied()).current_dir(root);
    succeed(&mut command, &format!("cargo {}", arguments.join(" ")))
}

pub(crate) fn succeed(command: &mut Command, name: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("`{name}` cannot be started"))?;
    ensure!(status.success(), "`{name}` ended with {status}");
    Ok(())
}

/// The cargo that runs us.
pub(crate) fn program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_command_is_read_from_a_shell_block() {
        let readme = "`cargo test`\n\n```rust\ncargo test --no\n```\n\n```sh\ngit clone x\ncargo tests\ncargo test --workspace\n```\n";
        assert_eq!(test_command(readme), Some("cargo test --workspace"));
        assert_eq!(test_command("cargo test\n```text\ncargo test\n```\n"), None);
    }

    #[test]
    fn steps_stop_at_the_first_that_fails_and_name_it() {
        let good = step("good", |_| Ok(()));
        let bad = step("bad", |_| bail!("no luck"));
        let never = step("never", |_| panic!("this step must not run"));
        let error = run_steps(Path::new("."), &[&good, &bad, &never]).unwrap_err();
        assert_eq!(format!("{error:#}"), "the step `bad` failed: no luck");
        assert!(run_steps(Path::new("."), &[&good]).is_ok());
    }

    #[test]
    fn steps_are_chosen_by_a_part_of_their_name() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().copied().map(str::to_owned).collect();
            named(&wanted).map(|steps| steps.iter().map(|step| step.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["fleet", "FORMAT"]).unwrap(), ["format", "a fleet of workers"]);
        assert_eq!(names(&[]).unwrap().len(), STEPS.len());
        let error = names(&["format", "flet"]).unwrap_err().to_string();
        assert!(error.starts_with("no step has `flet` in its name; they are\n  the README's"), "{error}");
    }

    #[test]
    fn a_banned_crate_is_named() {
        let crates = ["serde".to_owned(), "http".to_owned()];
        let error = refuse(&crates, &["tokio", "http"], "core").unwrap_err().to_string();
        assert!(error.starts_with("core depends on http"), "{error}");
        assert!(refuse(&crates, &["httpdate"], "core").is_ok());
    }

    #[test]
    fn a_command_that_fails_is_an_error() {
        assert!(succeed(&mut Command::new("false"), "false").is_err());
        assert!(
            succeed(&mut Command::new("no-such-program-anywhere"), "x")
                .unwrap_err()
                .to_string()
                .contains("started")
        );
    }
}
