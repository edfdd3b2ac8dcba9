//! Runs a program to its end, and says what it has used.
//!
//! A process begins with the largest memory that the one which starts it ever had, as the system counts it. So this is a
//! program of its own, and a small one: what it is started by does not matter.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use wait4::Wait4 as _;
use workspace_benchmarks::Used;

fn main() -> Result<ExitCode> {
    // Not by clap, which is larger than all the rest.
    let mut arguments = std::env::args_os().skip(1);
    let report = arguments.next().map(PathBuf::from).context("name a file for the report, then a command")?;
    let command: Vec<OsString> = arguments.collect();
    ensure!(!command.is_empty(), "name a command behind the file for the report");
    let name = command[0].display();
    let began = Instant::now();
    let mut child = Command::new(&command[0]).args(&command[1..]).spawn();
    let child = child.as_mut().map_err(|error| anyhow::anyhow!("{name} cannot be started: {error}"))?;
    let ended = child.wait4().with_context(|| format!("{name} cannot be waited for"))?;
    let wall = began.elapsed();
    let usage = ended.rusage;
    let used = Used { wall, processor: usage.utime + usage.stime, memory: usage.maxrss };
    fs::write(&report, serde_json::to_string(&used)?)
        .with_context(|| format!("{} cannot be written", report.display()))?;
    let failed = ended.status.code().map_or(1, |code| u8::try_from(code).unwrap_or(1));
    Ok(ExitCode::from(failed))
}
