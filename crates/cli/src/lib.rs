//! The program `charging-sessions`, as a library so that what it reads can be given any bytes. It is no interface to
//! build on: that is the crate `charging-sessions`.
//!
//! Data goes to standard output, messages to standard error, and the exit code tells what kind of end it was.

mod args;
mod auth;
mod backfill;
mod check;
mod config;
mod demo;
mod diff;
mod doctor;
mod exit;
mod export;
mod fetch;
mod file;
mod init;
mod manual;
mod output;
mod progress;
mod provider;
mod quarantine;
mod read;
mod records;
mod remap;
mod report;
mod secret;
mod show;
mod stored;
mod summary;
mod sync;
mod target;
mod text;
mod tour;
mod transport;
mod webhook;
#[cfg(feature = "fleet")]
mod worker;

use std::{process::ExitCode, sync::Arc};

use charging_sessions::ChargingSessionSource;
use charging_sessions_http::Transport;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use self::{args::Args, exit::Failure};

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("CHARGING_SESSIONS_LOG")
                .unwrap_or_else(|_| EnvFilter::new("warn,charging_sessions_fleet=info")),
        )
        .with_writer(progress::Messages)
        .init();
    match run(args) {
        Ok(code) => code.into(),
        Err(failure) => {
            // Whoever closed the pipe has seen enough.
            if failure.code() != exit::Code::Done {
                eprintln!("error: {failure}");
            }
            failure.code().into()
        }
    }
}

/// How many threads there are for what waits for files: one writes into the store, one copies its log. Of each that has
/// worked, the allocator keeps memory.
const FILE_THREADS: usize = 2;
/// How many threads there are beside the first one, which maps what has come: what comes is received there, and made
/// ready to be written.
const OTHER_THREADS: usize = 1;

fn run(args: Args) -> Result<exit::Code, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if !args.command.is_of_many_tasks() {
        builder.worker_threads(OTHER_THREADS);
    }
    let runtime = builder.enable_all().max_blocking_threads(FILE_THREADS).build();
    let runtime = runtime.map_err(|e| Failure::other(format!("no threads can be started: {e}")))?;
    runtime.block_on(args.command.run(&args.shared))
}

/// The sources of all accounts of a configuration, which send over `transport`. Reads no other file and no secret: each
/// secret is `secret`. `trusted` is a file that the user has named, otherwise it is one of the working directory.
///
/// # Errors
///
/// The sentence that the program would end with: in which line what is wrong, and what to do.
#[doc(hidden)]
pub fn sources_of(
    configuration: &str,
    trusted: bool,
    transport: &Arc<dyn Transport>,
) -> Result<Vec<Arc<dyn ChargingSessionSource>>, String> {
    config::sources_of(configuration, trusted, transport).map_err(|failure| failure.to_string())
}
