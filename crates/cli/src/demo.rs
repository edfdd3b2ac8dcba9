//! `charging-sessions demo`: the whole way from an HTTP server to a table, on one machine.

use std::path::PathBuf;

use charging_sessions::TimeWindow;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{
    args::{OutputArgs, SharedArgs},
    exit::{Code, Failure},
    output,
    provider::Provider,
    read,
    target::Target,
    tour::{self, Stop},
};

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Only this provider's, read and printed without a store.
    #[arg(long, value_enum)]
    provider: Option<Provider>,
    /// Which invented account to show; the same number gives the same data.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many days back.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// The folder to keep the store and the report in; a new one of this machine's for temporary files unless given.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["provider", "store"])]
    keep: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Reads no configuration, so that it works on any machine.
pub(crate) async fn run(args: DemoArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let now = Timestamp::now();
    let from = now - SignedDuration::from_hours(24 * i64::from(args.days));
    let window = TimeWindow::new(from, now).expect("at least a day");
    let zone = shared.tz.clone().unwrap_or_else(TimeZone::system);
    let Some(provider) = args.provider else {
        let path = match (&args.keep, &shared.store) {
            (Some(folder), _) => {
                std::fs::create_dir_all(folder).map_err(|error| {
                    Failure::usage(format!("the folder {} cannot be made: {error}", folder.display()))
                })?;
                folder.join("sessions.sqlite")
            }
            (None, Some(Target::File(path))) => path.clone(),
            (None, Some(Target::Database(_))) => {
                return Err(Failure::usage(
                    "the demo keeps its invented data in a file: name one with --store",
                ));
            }
            (None, None) => tempfile::tempdir()?.keep().join("sessions.sqlite"),
        };
        return tour::run(&path, args.days, args.seed, &zone).await;
    };
    let stop = Stop::start(provider, now, args.days, args.seed).await?;
    eprintln!("A sandbox of {} listens on {}; its data are invented.", stop.source.provider(), stop.address);
    let mut listing = read::everything(&*stop.source, read::started_in(&*stop.source, window)).await?;
    read::clip(&mut listing, Some(window));
    eprintln!("Read {} pages in {} requests.", listing.pages, (stop.requests)());
    output::print(&listing, args.output.format, &zone)
}
