//! The adapter for OCPI against what others have made: a server, and a collection of records.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::ci::{Program, program, succeed};

/// The server, and what runs it. Both are pinned, so that a check means the same next year.
const PACKAGES: [&str; 2] = ["extrawest-ocpi==2025.7.16", "uvicorn==0.54.0"];

/// The crate with the records. It is fetched and never built.
const RECORDS: (&str, &str) = ("ocpi-tariffs", "0.54.0");

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs its arguments until its input ends, which it does however we end.
const LEASH: &str = r#""$@" & child=$!; exec >/dev/null 2>&1; cat; kill -KILL "$child""#;

/// Runs `tests/tests/foreign_ocpi.rs` against `extrawest-ocpi`.
pub(crate) fn server(root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let python = environment(folder.path())?;
    let port = {
        let free = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
        free.local_addr()?.port()
    };
    let mut server = Server::start(root, &python, port)?;
    server.await_answer(port)?;
    let mut cargo = Command::new(program());
    cargo
        .args(["test", "-q", "-p", "workspace-tests", "--test", "foreign_ocpi", "--", "--ignored"])
        .env("FOREIGN_OCPI", format!("http://127.0.0.1:{port}"))
        .current_dir(root);
    succeed(&mut cargo, "cargo test --test foreign_ocpi")
}

/// A Python that has the server.
fn environment(folder: &Path) -> Result<std::path::PathBuf> {
    let make = || {
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(folder.join("venv")).stdout(Stdio::null()).stderr(Stdio::null());
        make.status().is_ok_and(|status| status.success())
    };
    if !make() {
        Program { name: "Python with venv", packages: &["python3", "python3-venv"], without: None }
            .install()?;
        ensure!(make(), "`python3 -m venv` fails although python3-venv is installed");
    }
    let python = folder.join("venv/bin/python");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    succeed(&mut pip, "pip install extrawest-ocpi")?;
    Ok(python)
}

/// The server. Ends when it is dropped.
struct Server(Child);

impl Server {
    fn start(root: &Path, python: &Path, port: u16) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", LEASH, "sh"]).arg(python);
        command.arg(root.join("tests/foreign/ocpi_server/server.py")).arg(port.to_string());
        // What it has to say about requests, which are wrong on purpose, helps nobody.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().context("sh cannot be started")?))
    }

    fn await_answer(&mut self, port: u16) -> Result<()> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if agent.get(format!("http://127.0.0.1:{port}/ocpi/versions")).call().is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(200));
        }
        bail!("extrawest-ocpi does not answer: run tests/foreign/ocpi_server/server.py by hand to see why")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

/// Maps the records that `ocpi-tariffs` is tested with. The crate is fetched as a dependency of a package that is
/// nowhere else, so that what it depends on decides nothing here.
pub(crate) fn records(root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let (name, version) = RECORDS;
    let manifest = format!(
        "[package]\nname = \"records\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{name} = \"={version}\"\n\n[workspace]\n"
    );
    fs::write(folder.path().join("Cargo.toml"), manifest).context("Cargo.toml cannot be written")?;
    fs::create_dir(folder.path().join("src")).context("src cannot be made")?;
    fs::write(folder.path().join("src/lib.rs"), "").context("src/lib.rs cannot be written")?;
    // Without the settings of this workspace, and so of the folder that it builds in.
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(program());
        cargo.args(arguments).current_dir(folder.path());
        cargo
    };
    let output = cargo(&["metadata", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    ensure!(output.status.success(), "`cargo metadata` cannot fetch {name} {version}");
    let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata` gives no JSON")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages.into_iter().find(|package| package["name"] == name);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.with_context(|| format!("`cargo metadata` does not name {name}"))?;
    let records = Path::new(manifest).with_file_name("test_data");
    ensure!(records.is_dir(), "{name} {version} has no folder test_data");
    let mut test = Command::new(program());
    test.args(["test", "-q", "-p", "charging-sessions-ocpi", "--test", "mapping", "--", "--ignored"])
        .env("OCPI_RECORDS", records)
        .current_dir(root);
    succeed(&mut test, "cargo test --test mapping")
}
