//! Other programs, and what they have used.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::ci::{program, succeed};

/// What a program has used, from its start to its end, with those that it has started itself.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Used {
    pub(crate) wall: Duration,
    /// Of all processors, in user and in system mode.
    pub(crate) processor: Duration,
    /// The most memory that it had at once, in bytes.
    pub(crate) memory: u64,
}

/// Where the programs that are run were built.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds them, for release or as for tests.
    pub(crate) fn build(root: &Path, release: bool) -> Result<Self> {
        eprintln!("building the program and what it is measured with");
        // One after the other, so that our program is not built with features that only the others ask for.
        for package in ["charging-sessions-cli", "workspace-benchmarks"] {
            let mut cargo = Command::new(program());
            cargo.args(["build", "--quiet", "-p", package, "--bins"]);
            cargo.args(release.then_some("--release")).current_dir(root);
            succeed(&mut cargo, "cargo build")?;
        }
        let folder = target(root)?.join(if release { "release" } else { "debug" });
        Ok(Self { folder })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// Runs a command to its end, and fails with what it said if it did not succeed.
    pub(crate) fn measure(&self, command: &Command, name: &str) -> Result<Used> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let (report, said) = (folder.path().join("report"), folder.path().join("said"));
        let output = fs::File::create(&said).context("no temporary file")?;
        // The same command, started by a program that is smaller than this one.
        let mut run = self.command("bench-run");
        run.arg(&report).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => run.env(name, value),
                None => run.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            run.current_dir(folder);
        }
        run.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let status = run.status().context("bench-run cannot be started")?;
        if !status.success() {
            let text = fs::read(&said).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(20)..];
            bail!("{name} ended with {status}; it said:\n{}", last.join("\n"));
        }
        let report = fs::read(&report).context("bench-run has left no report")?;
        serde_json::from_slice(&report).context("the report of bench-run is no JSON")
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        Command::new(self.path(name))
    }
}

/// The folder that cargo builds in.
fn target(root: &Path) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let mut cargo = Command::new(program());
    cargo.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root).stderr(Stdio::inherit());
    let output = cargo.output().context("cargo cannot be started")?;
    ensure!(output.status.success(), "`cargo metadata` failed");
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("`cargo metadata` gives no JSON")?;
    Ok(metadata.target_directory)
}

/// What sessions add up to; the same members as in the programs that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Figures {
    pub(crate) sessions: u64,
    pub(crate) energy_mwh: i64,
    pub(crate) cost_cents: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// What a server was asked.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Asked {
    pub(crate) requests: usize,
    pub(crate) most_in_span: usize,
}

/// The server that everybody reads from. Ends when it is dropped.
pub(crate) struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(crate) address: String,
    /// What a complete reader has.
    pub(crate) truth: Figures,
}

impl Server {
    pub(crate) fn start<A: AsRef<OsStr>>(programs: &Programs, arguments: &[A]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Ready {
            address: String,
            truth: Figures,
        }
        let mut command = programs.command("bench-server");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("the server cannot be started")?;
        let output = child.stdout.take().context("the server has no output")?;
        let input = child.stdin.take();
        let mut output = BufReader::new(output);
        let ready: Ready = line(&mut output)?;
        Ok(Self { child, input, output, address: ready.address, truth: ready.truth })
    }

    /// What it was asked so far.
    pub(crate) fn asked(&mut self) -> Result<Asked> {
        let input = self.input.as_mut().context("the server has no input")?;
        input.write_all(b"\n").and_then(|()| input.flush()).context("the server has ended")?;
        line(&mut self.output)
    }
}

fn line<T: for<'de> Deserialize<'de>>(output: &mut impl BufRead) -> Result<T> {
    let mut line = String::new();
    output.read_line(&mut line).context("the server cannot be read")?;
    serde_json::from_str(&line).context("the server has ended instead of listening")
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.wait().ok();
    }
}
