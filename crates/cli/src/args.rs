//! The command line.

use std::path::PathBuf;

use charging_sessions::TimeWindow;
use clap::{
    Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser as _},
};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil, tz::TimeZone};

use crate::{
    auth, backfill, check, demo, diff, doctor,
    exit::{Code, Failure},
    export, fetch, init, manual, provider, quarantine, remap, report, show, stored, summary, sync,
    target::Target,
    webhook,
};

/// EV charging sessions from many providers, in one exact form.
#[derive(Debug, Parser)]
#[command(
    name = "charging-sessions",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 credentials refused, \
                  4 done but some records could not be read, 5 not now: try again later, \
                  6 done for some accounts but not for all."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) shared: SharedArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts a sandbox of a provider inside this program, reads it over HTTP and prints its sessions.
    Demo(demo::DemoArgs),
    /// Writes a configuration with comments. Overwrites nothing, asks nothing and holds no secret.
    Init(init::InitArgs),
    /// Reads the sessions of an account from its provider and prints them.
    Fetch(Box<fetch::FetchArgs>),
    /// Brings the store up to date: reads what is new or may have changed, and nothing else.
    Sync(sync::SyncArgs),
    /// Reads the past of an account, part by part, and tells what of it has been read. It may be interrupted at any time.
    Backfill(backfill::BackfillArgs),
    /// Prints sessions of the store.
    Sessions(Box<stored::SessionsArgs>),
    /// Prints everything that is known of one session.
    Show(show::ShowArgs),
    /// Adds up sessions of the store by month, vehicle and whatever else.
    Summary(Box<summary::SummaryArgs>),
    /// Writes a report of a month or a year of the store: a page that needs nothing else, or a table.
    #[command(subcommand)]
    Report(Box<report::ReportCommand>),
    /// Writes sessions of the store into a file for programs.
    Export(Box<export::ExportArgs>),
    /// Tells what is odd about sessions of the store, each by itself and side by side.
    Check(Box<check::CheckArgs>),
    /// Tells what providers have changed since the last run or any other time: new, corrected, vanished.
    Diff(diff::DiffArgs),
    /// Prints records that could not be read and are kept until they can, or tries them again.
    Quarantine(quarantine::QuarantineArgs),
    /// Works with the bytes that sessions were read from.
    #[command(subcommand)]
    Raw(remap::RawCommand),
    /// Works with messages that providers send by themselves, without a server.
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Reads accounts again and again into a database that several workers share, or tells how they are doing.
    #[cfg(feature = "fleet")]
    Worker(crate::worker::WorkerArgs),
    /// Tells what providers can do.
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// Tells whether accounts can be signed in to.
    #[command(subcommand)]
    Auth(auth::AuthCommand),
    /// Looks for what is wrong with the configuration and this machine, and says what to do.
    Doctor(doctor::DoctorArgs),
    /// Prints the JSON Schema of a session.
    Schema,
    /// Prints a script that completes commands in a shell.
    Completion(manual::CompletionArgs),
    /// Prints a page for man.
    Man(manual::ManArgs),
}

impl Command {
    /// Whether it does many things at once by itself, and not one thing after the other or in turns.
    pub(crate) fn is_of_many_tasks(&self) -> bool {
        #[cfg(feature = "fleet")]
        return matches!(self, Self::Worker(_));
        #[cfg(not(feature = "fleet"))]
        false
    }

    pub(crate) async fn run(self, shared: &SharedArgs) -> Result<Code, Failure> {
        match self {
            Self::Demo(args) => demo::run(args, shared).await,
            Self::Init(args) => init::run(&args, shared),
            Self::Fetch(args) => fetch::run(*args, shared).await,
            Self::Sync(args) => sync::run(&args, shared).await,
            Self::Backfill(args) => backfill::run(&args, shared).await,
            Self::Sessions(args) => stored::run(&args, shared).await,
            Self::Show(args) => show::run(&args, shared).await,
            Self::Summary(args) => summary::run(&args, shared).await,
            Self::Report(command) => report::run(&command, shared).await,
            Self::Export(args) => export::run(&args, shared).await,
            Self::Check(args) => check::run(&args, shared).await,
            Self::Diff(args) => diff::run(&args, shared).await,
            Self::Quarantine(args) => quarantine::run(&args, shared).await,
            Self::Raw(command) => remap::run(&command, shared).await,
            Self::Webhook(command) => webhook::run(&command).await,
            #[cfg(feature = "fleet")]
            Self::Worker(args) => crate::worker::run(&args, shared).await,
            Self::Provider(command) => provider::run(&command),
            Self::Auth(command) => auth::run(command, shared).await,
            Self::Doctor(args) => doctor::run(args, shared).await,
            Self::Schema => manual::schema(),
            Self::Completion(args) => manual::completion(&args),
            Self::Man(args) => manual::man(&args),
        }
    }
}

/// What every command knows.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct SharedArgs {
    /// The configuration, in place of those of the working directory and of the user.
    #[arg(long, global = true, env = "CHARGING_SESSIONS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where sessions are kept: a file, or postgres://user@host/database if the program was built with it. Others on this
    /// machine may see a password here; they do not see that of the variable.
    #[arg(
        long,
        global = true,
        env = "CHARGING_SESSIONS_STORE",
        hide_env_values = true,
        value_name = "PLACE",
        value_parser = OsStringValueParser::new().map(Target::from)
    )]
    pub(crate) store: Option<Target>,
    /// The IANA time zone in which days are reckoned and times are shown; this machine's unless configured.
    #[arg(long, global = true, env = "CHARGING_SESSIONS_TZ", value_name = "ZONE", value_parser = zone)]
    pub(crate) tz: Option<TimeZone>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SpanArgs {
    /// Sessions that started at or after this: a day (2026-06-01) or an instant (2026-06-01T00:00:00Z).
    #[arg(long, value_name = "WHEN", conflicts_with = "last")]
    pub(crate) since: Option<String>,
    /// Sessions that started before this: a day (which is then not included) or an instant.
    #[arg(long, value_name = "WHEN", requires = "since")]
    pub(crate) until: Option<String>,
    /// Sessions that started in the last so many days, such as 90d or 12h.
    #[arg(long, value_name = "SPAN", value_parser = length)]
    pub(crate) last: Option<SignedDuration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// How to print.
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people. Its form may change.
    Table,
    /// For programs.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people. Its form may change.
    Table,
    /// One array of records.
    Json,
    /// One record on each line.
    Jsonl,
    /// One row for each record, the figures most asked for.
    Csv,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| "not a time zone known here; names are such as Europe/London".to_owned())
}

/// A length of time such as 90d or 12h. A day is 24 hours.
pub(crate) fn length(text: &str) -> Result<SignedDuration, String> {
    let days = SpanRelativeTo::days_are_24_hours();
    let length = text.parse().and_then(|span: Span| span.to_duration(days));
    length.map_err(|_| "not a length of time such as 90d or 12h".to_owned())
}

impl SpanArgs {
    /// The window that was asked for, days being reckoned in `zone`.
    pub(crate) fn window(&self, zone: &TimeZone, now: Timestamp) -> Result<Option<TimeWindow>, Failure> {
        if let Some(last) = self.last {
            let from = now.checked_sub(last).map_err(|_| Failure::usage("--last reaches too far back"))?;
            return window(from, now, "--last must be a span of time back from now, such as 90d").map(Some);
        }
        let Some(since) = &self.since else { return Ok(None) };
        let from = instant("--since", since, zone)?;
        let until = self.until.as_deref().map_or(Ok(now), |until| instant("--until", until, zone))?;
        window(from, until, "--until must be after --since").map(Some)
    }
}

fn window(from: Timestamp, until: Timestamp, otherwise: &str) -> Result<TimeWindow, Failure> {
    TimeWindow::new(from, until).ok_or_else(|| Failure::usage(otherwise))
}

/// When a day begins, which is not midnight everywhere on every day. `None` at the edge of what can be reckoned.
pub(crate) fn first_instant(day: civil::Date, zone: &TimeZone) -> Option<Timestamp> {
    day.to_zoned(zone.clone()).ok().map(|day| day.timestamp())
}

pub(crate) fn instant(name: &str, text: &str, zone: &TimeZone) -> Result<Timestamp, Failure> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let day = text.parse::<civil::Date>().ok();
    day.and_then(|day| first_instant(day, zone)).ok_or_else(|| {
        Failure::usage(format!(
            "{name} is neither a day such as 2026-06-01 nor an instant such as 2026-06-01T00:00:00Z"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, provider::Provider};

    fn span(since: Option<&str>, until: Option<&str>, last: Option<&str>) -> SpanArgs {
        SpanArgs {
            since: since.map(Into::into),
            until: until.map(Into::into),
            last: last.map(|last| length(last).unwrap()),
        }
    }

    fn shown(span: &SpanArgs) -> String {
        let zone = TimeZone::get("Europe/London").unwrap();
        match span.window(&zone, "2026-11-20T12:00:00Z".parse().unwrap()) {
            Ok(window) => window.map_or_else(|| "everything".into(), |window| window.to_string()),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn the_page_of_the_program_names_every_command_and_key() {
        use clap::CommandFactory as _;
        const PAGE: &str = include_str!("../../../docs/program.md");
        for command in Args::command().get_subcommands() {
            let name = command.get_name();
            assert!(PAGE.contains(&format!("| `{name}")), "docs/program.md lacks the command {name}");
        }
        for provider in Provider::value_variants() {
            for key in config::keys(*provider) {
                assert!(PAGE.contains(&format!("`{key}`")), "docs/program.md lacks the key {key}");
            }
        }
    }

    #[test]
    fn days_begin_in_the_zone() {
        assert_eq!(
            shown(&span(Some("2026-06-01"), Some("2026-07-01"), None)),
            "[2026-05-31T23:00:00Z, 2026-06-30T23:00:00Z)"
        );
        assert_eq!(
            shown(&span(Some("2026-10-25"), Some("2026-10-26"), None)),
            "[2026-10-24T23:00:00Z, 2026-10-26T00:00:00Z)",
            "a day of 25 hours"
        );
    }

    #[test]
    fn spans_end_now() {
        assert_eq!(shown(&span(None, None, Some("30d"))), "[2026-10-21T12:00:00Z, 2026-11-20T12:00:00Z)");
        assert_eq!(shown(&span(None, None, Some("12h"))), "[2026-11-20T00:00:00Z, 2026-11-20T12:00:00Z)");
        assert_eq!(
            shown(&span(Some("2026-11-20T11:00:00Z"), None, None)),
            "[2026-11-20T11:00:00Z, 2026-11-20T12:00:00Z)"
        );
        assert_eq!(shown(&span(None, None, None)), "everything");
    }

    #[test]
    fn a_bad_span_is_explained() {
        assert_eq!(
            shown(&span(Some("2026-07-01"), Some("2026-06-01"), None)),
            "--until must be after --since"
        );
        assert!(shown(&span(Some("yesterday"), None, None)).starts_with("--since is neither a day"));
        assert!(shown(&span(None, None, Some("-3h"))).starts_with("--last must be"));
        assert!(length("3").is_err() && length("1mo").is_err());
    }
}
