//! The command line.

use std::{num::NonZeroU32, path::PathBuf};

use charging_sessions::{AccountId, TimeWindow, ev_energy::Expand};
use clap::{Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp, Zoned, civil, tz::TimeZone};
use url::Url;

use crate::exit::Failure;

/// EV charging sessions from many providers, in one exact form.
#[derive(Debug, Parser)]
#[command(
    name = "charging-sessions",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 credentials refused, \
                  4 done but some records could not be read, 5 not now: try again later."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts a sandbox of a provider inside this program, reads it over HTTP and prints its sessions.
    Demo(DemoArgs),
    /// Reads the sessions of an account and prints them.
    Sessions(Box<SessionsArgs>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Whose sandbox.
    #[arg(long, value_enum, default_value_t = Provider::EvEnergy)]
    pub(crate) provider: Provider,
    /// Which invented account to show; the same number gives the same data.
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// How many days back.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SessionsArgs {
    /// Whose sessions.
    #[arg(long, value_enum)]
    pub(crate) provider: Provider,
    /// Your own name for the account; part of every record's key.
    #[arg(long, default_value = "default")]
    pub(crate) account: AccountId,
    /// The OAuth client's identifier.
    #[arg(long, env = "CHARGING_SESSIONS_CLIENT_ID")]
    pub(crate) client_id: String,
    /// A file that holds the OAuth client's secret and nothing else. Without it, the secret is read from the
    /// environment variable CHARGING_SESSIONS_CLIENT_SECRET. It is never taken from the command line, where
    /// other users of the machine could read it.
    #[arg(long, value_name = "FILE")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// The organisation whose users' sessions are read. Podero only, where it is needed.
    #[arg(long, value_name = "ID", required_if_eq("provider", "podero"))]
    pub(crate) organisation: Option<String>,
    /// The root of the API, if it is not the provider's own.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<Url>,
    /// Where tokens are issued, if it is not the provider's own.
    #[arg(long, value_name = "URL")]
    pub(crate) token_url: Option<Url>,
    /// The OAuth scope to ask for. DER-Connect only.
    #[arg(long, value_name = "WORDS")]
    pub(crate) scope: Option<String>,
    /// The user to act as, for client credentials that see many. ev.energy only.
    #[arg(long, value_name = "ID")]
    pub(crate) acting_user: Option<String>,
    #[command(flatten)]
    pub(crate) span: SpanArgs,
    /// Only this vehicle. May be repeated.
    #[arg(long, value_name = "ID")]
    pub(crate) vehicle: Vec<String>,
    /// Only this charge point. May be repeated.
    #[arg(long, value_name = "ID")]
    pub(crate) charge_point: Vec<String>,
    /// Only sessions that have ended.
    #[arg(long, conflicts_with = "active")]
    pub(crate) finished: bool,
    /// Only sessions that have not ended.
    #[arg(long)]
    pub(crate) active: bool,
    /// Only this charging mode, in the provider's word, for example SMART. ev.energy only.
    #[arg(long, value_name = "WORD")]
    pub(crate) mode: Option<String>,
    /// What to receive in full instead of as a link. May be repeated; each needs its scope. ev.energy only.
    #[arg(long, value_name = "FIELD", value_parser = expand)]
    pub(crate) expand: Vec<Expand>,
    /// Stays at the plug, each followed by the sub-sessions in it. ev.energy only.
    #[arg(long, conflicts_with_all = ["mode", "expand"])]
    pub(crate) plug_ins: bool,
    /// How many records to ask for at once; the provider's largest unless given.
    #[arg(long, value_name = "N")]
    pub(crate) page_size: Option<NonZeroU32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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
    #[arg(long, value_name = "SPAN")]
    pub(crate) last: Option<SignedDuration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// The IANA time zone in which days are reckoned and times are shown; this machine's unless given.
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub(crate) tz: Option<TimeZone>,
}

impl OutputArgs {
    pub(crate) fn zone(&self) -> TimeZone {
        self.tz.clone().unwrap_or_else(TimeZone::system)
    }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// DER-Connect
    DerConnect,
    /// ev.energy
    EvEnergy,
    /// Podero
    Podero,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| "not a time zone known here; names are such as Europe/London".to_owned())
}

fn expand(word: &str) -> Result<Expand, String> {
    let known = Expand::ALL.iter().map(ToString::to_string).collect::<Vec<_>>();
    let found = Expand::ALL.iter().find(|expand| expand.to_string() == word);
    found.copied().ok_or_else(|| format!("one of {}", known.join(", ")))
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

fn instant(name: &str, text: &str, zone: &TimeZone) -> Result<Timestamp, Failure> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    // A day begins at its first instant, which is not midnight everywhere on every day.
    let day = text.parse::<civil::Date>().ok().and_then(|day| day.to_zoned(zone.clone()).ok());
    day.map(|day: Zoned| day.timestamp()).ok_or_else(|| {
        Failure::usage(format!(
            "{name} is neither a day such as 2026-06-01 nor an instant such as 2026-06-01T00:00:00Z"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(since: Option<&str>, until: Option<&str>, last: Option<&str>) -> SpanArgs {
        SpanArgs {
            since: since.map(Into::into),
            until: until.map(Into::into),
            last: last.map(|last| last.parse().unwrap()),
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
    }
}
