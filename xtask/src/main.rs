//! Chores of this workspace: `cargo xtask codegen`, `fetch-spec`, `new-provider`, `tidy`, `ci` and others.

mod bench;
mod browser;
mod ci;
mod codegen;
mod compile_time;
mod endurance;
mod faults;
mod fetch_spec;
mod fleet;
mod foreign;
mod fuzz;
mod lake;
mod new_provider;
mod postgres;
mod prism;
mod python;
mod supply;
mod tidy;
mod tools;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Chores of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
struct Arguments {
    /// The root of the workspace.
    #[arg(long, global = true, value_name = "FOLDER")]
    workspace: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write the generated types of all providers, or of the named ones.
    Codegen {
        /// Folders under specs/.
        providers: Vec<String>,
        /// Write nothing; fail if a file is not what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Generate everything that whole documents offer, twice, and compile it outside the workspace.
    CodegenTrial {
        /// OpenAPI documents, YAML or JSON.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Generate only.
        #[arg(long)]
        no_compile: bool,
    },
    /// Download a provider's own document and list what differs from ours; writes nothing.
    FetchSpec {
        /// A folder under specs/.
        provider: String,
        /// Where the document is, if not where spec.toml says.
        #[arg(long)]
        url: Option<String>,
    },
    /// Make the crate, the test server and the wiring of a new provider.
    NewProvider {
        /// The provider's stable name, for instance `acme-grid`.
        name: String,
        /// An OpenAPI 3 document, YAML or JSON.
        #[arg(long, value_name = "FILE")]
        spec: PathBuf,
        /// The operation that lists the sessions, if there are several that could.
        #[arg(long, value_name = "OPERATION_ID")]
        operation: Option<String>,
        /// The provider's name in texts, if not made from NAME.
        #[arg(long)]
        title: Option<String>,
    },
    /// Measure how long a project with one adapter takes to compile from nothing.
    CompileTime {
        /// Folders under crates/providers; all unless named.
        providers: Vec<String>,
    },
    /// Measure what a session costs on its way from an API into a store, beside what else one would write or take.
    Bench(bench::Options),
    /// Test the store on PostgreSQL, on a server that is started for it and gone afterwards.
    Postgres,
    /// Kill the program, cut it off, fill its disk, and give it a million sessions. Takes minutes, and root for the disk.
    Endurance,
    /// Break what HTTP, TLS and providers promise, and write what a sync makes of it to docs/faults.md.
    Faults,
    /// Kill and stop three workers at random, and the server under them, and compare the store with the truth.
    Fleet(fleet::Options),
    /// Read partitioned exports by the engines that docs/lake.md names, from a folder and from an object store.
    Lake,
    /// Give any bytes to whatever reads what others send, and keep those that break it. Needs a C++ compiler.
    Fuzz {
        /// Which of the programs below tests/fuzz/targets; all unless named.
        targets: Vec<String>,
        /// How long each is run.
        #[arg(long, default_value_t = 300)]
        seconds: u32,
    },
    /// Write what the program consists of to target/bom/.
    Sbom,
    /// List what is untidy; fail if anything is.
    Tidy,
    /// Run everything that must hold.
    Ci {
        /// Only the steps with one of these in their name, such as `fleet` or `OCPI`; all, unless given.
        names: Vec<String>,
        /// Leave out the steps that install packages from npm.
        #[arg(long)]
        skip_npm: bool,
    },
}

fn main() -> ExitCode {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // What typify says in a panic comes back as an ordinary error.
        if std::thread::current().name() != Some(codegen::TYPIFY_THREAD) {
            default(info);
        }
    }));
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let built_in =
        || Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let root = arguments.workspace.unwrap_or_else(built_in);
    match arguments.task {
        Task::Codegen { providers, check } => codegen::run(&root, &providers, check),
        Task::CodegenTrial { files, no_compile } => codegen::trial(&root, &files, !no_compile),
        Task::FetchSpec { provider, url } => fetch_spec::run(&root, &provider, url.as_deref()),
        Task::NewProvider { name, spec, operation, title } => {
            new_provider::run(&root, &name, &spec, operation.as_deref(), title.as_deref())
        }
        Task::CompileTime { providers } => compile_time::run(&root, &providers),
        Task::Bench(options) => bench::run(&root, &options),
        Task::Postgres => postgres::run(&root),
        Task::Endurance => endurance::run(&root),
        Task::Faults => faults::run(&root),
        Task::Fleet(options) => fleet::run(&root, &options),
        Task::Lake => lake::run(&root),
        Task::Fuzz { targets, seconds } => fuzz::run(&root, &targets, seconds),
        Task::Sbom => supply::bill_of_materials(&root),
        Task::Tidy => tidy::run(&root),
        Task::Ci { names, skip_npm } => ci::run(&root, &names, skip_npm),
    }
}
