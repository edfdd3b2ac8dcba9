//! What the program can tell about itself: `schema`, `completion` and `man`.

use charging_sessions::ChargingSession;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    args::Args,
    exit::{Code, Failure},
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The command that the page is about; the program unless given.
    command: Option<String>,
}

/// The schema of what `--format json` prints a list of, and `--format jsonl` one on each line.
pub(crate) fn schema() -> Result<Code, Failure> {
    output::json(schemars::schema_for!(ChargingSession).as_value())
}

pub(crate) fn completion(args: &CompletionArgs) -> Result<Code, Failure> {
    // Not straight to standard output, where a closed pipe would be a panic.
    let (mut script, mut program) = (Vec::new(), Args::command());
    let name = program.get_name().to_owned();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    output::say(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(args: &ManArgs) -> Result<Code, Failure> {
    let mut program = Args::command();
    program.build();
    let command = match &args.command {
        None => &program,
        Some(name) => program
            .find_subcommand(name)
            .ok_or_else(|| Failure::usage("there is no such command: charging-sessions --help lists them"))?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    output::say(&String::from_utf8_lossy(&page))
}
