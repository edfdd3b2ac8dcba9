//! The program `charging-sessions`.
//!
//! Data goes to standard output, messages to standard error, and the exit code tells what kind of end it was.

mod args;
mod demo;
mod exit;
mod output;
mod read;
mod sessions;
mod text;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use self::{
    args::{Args, Command},
    exit::Failure,
};

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
    match args.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Sessions(args) => sessions::run(*args).await,
    }
}
