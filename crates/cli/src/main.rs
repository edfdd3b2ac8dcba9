//! The program `charging-sessions`.
//!
//! Data goes to standard output, messages to standard error, and the exit code tells what kind of end it was.

mod args;
mod auth;
mod config;
mod demo;
mod doctor;
mod exit;
mod fetch;
mod init;
mod manual;
mod output;
mod provider;
mod read;
mod secret;
mod text;
mod transport;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use self::{args::Args, exit::Failure};

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("CHARGING_SESSIONS_LOG").unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(args) {
        Ok(code) => code.into(),
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.code().into()
        }
    }
}

#[tokio::main]
async fn run(args: Args) -> Result<exit::Code, Failure> {
    args.command.run(&args.shared).await
}
