//! `charging-sessions sync`: brings the store up to date.

use std::{
    io::{self, Write},
    sync::Arc,
};

use charging_sessions::AccountId;
use charging_sessions_http::default_transport;
use charging_sessions_store::{Account as Key, SessionStore, Slice};
use charging_sessions_sync::{AccountSync, Event, Report};
use jiff::{SignedDuration, civil::Date, tz::TimeZone};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    args::{SharedArgs, length},
    config::{Account, Config},
    exit::{Code, Failure},
    stored, text,
};

/// What to bring up to date, and how far back.
#[derive(Debug, clap::Args)]
pub(crate) struct SyncArgs {
    /// Accounts of the configuration; all of them unless given.
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<AccountId>,
    /// The first day of interest; the account's own, or everything the provider gives, unless given.
    #[arg(long, value_name = "DAY")]
    since: Option<Date>,
    /// How long after its end a part of the history is read again, such as 7d; what is known of the provider unless
    /// given.
    #[arg(long, value_name = "SPAN", value_parser = length)]
    look_back: Option<SignedDuration>,
    /// Read again what is settled, too: once in a while, to see corrections that came very late.
    #[arg(long)]
    full: bool,
    /// Read and compare, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Report as JSON, one line for each account.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &SyncArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let accounts = config.named(&args.accounts)?;
    let store: Arc<dyn SessionStore> = Arc::new(stored::open(&config)?);
    let transport = default_transport()?;
    let stop = stop_on_interrupt();
    let mut codes = Vec::new();
    for account in accounts {
        if stop.is_cancelled() {
            break;
        }
        let built = match account.build(Arc::clone(&transport)).await {
            Ok(built) => built,
            Err(failure) => {
                codes.push(failed(account, &failure, args.json)?);
                continue;
            }
        };
        let key = Key { provider: built.provider, account: built.account.clone() };
        let requests = Arc::clone(&built.requests);
        let mut sync = AccountSync::new(built.source, Arc::clone(&store), key, built.kinds)
            .full(args.full)
            .dry_run(args.dry_run)
            .stop(stop.clone())
            .requests(move || requests.requests());
        if let Some(assets) = built.assets {
            sync = sync.assets(assets);
        }
        let first =
            args.since.map(|day| first_instant(day, &config.zone)).or_else(|| account.since(&config.zone));
        if let Some(since) = first {
            sync = sync.since(since);
        }
        if let Some(length) = args.look_back {
            sync = sync.look_back(length);
        }
        let name = account.name.clone();
        sync = sync.observer(move |event| tell(&name, event));
        codes.push(match sync.run().await {
            Ok(report) => done(&report, args.json)?,
            Err(error) => failed(account, &Failure::from(error), args.json)?,
        });
    }
    if stop.is_cancelled() {
        eprintln!("stopped; the same command goes on where this one ended");
        codes.push(Code::Later);
    }
    Ok(Code::of_all(codes))
}

fn first_instant(day: Date, zone: &TimeZone) -> jiff::Timestamp {
    // A day begins at its first instant, which is not midnight everywhere on every day.
    day.to_zoned(zone.clone()).map(|day| day.timestamp()).unwrap_or(jiff::Timestamp::MIN)
}

/// A token that the first interrupt cancels. The second one ends the program, as it would without us.
fn stop_on_interrupt() -> CancellationToken {
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("stopping as soon as what has come is written; once more stops at once");
            told.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    stop
}

/// One line on standard error for what a person waits for.
fn tell(account: &AccountId, event: &Event<'_>) {
    match event {
        Event::Planned { slices, skipped } => {
            eprintln!("{account}: {slices} parts to read, {skipped} are settled");
        }
        Event::SliceBegun { slice, resumed: true } => eprintln!("{account}: goes on in {}", part(slice)),
        Event::SliceCompleted { slice } => eprintln!("{account}: has read {}", part(slice)),
        Event::SliceFailed { slice, error } => {
            eprintln!("{account}: {} failed: {}", part(slice), text::visible(&error.to_string()));
        }
        _ => {}
    }
}

fn part(slice: &Slice) -> String {
    let asset = slice.asset.as_ref().map(|asset| text::visible(&asset.to_string()).into_owned());
    let of = asset.map(|asset| format!(" of {asset}")).unwrap_or_default();
    match slice.window {
        Some(window) => format!("{} to {}{of}", window.from(), window.until()),
        None => format!("everything{of}"),
    }
}

fn done(report: &Report, as_json: bool) -> Result<Code, Failure> {
    let mut out = io::stdout().lock();
    if as_json {
        let counts = report.counts;
        let failures: Vec<_> = report.failures.iter().map(|failure| failure.error.to_string()).collect();
        let record = json!({
            "provider": report.account.provider,
            "account": report.account.account,
            "complete": report.complete,
            "new": counts.new,
            "changed": counts.changed,
            "unchanged": counts.unchanged,
            "returned": counts.returned,
            "vanished": counts.vanished,
            "quarantined": counts.quarantined,
            "parts_read": report.slices_read,
            "parts_settled": report.slices_skipped,
            "parts_left": report.slices_left,
            "pages": report.pages,
            "requests": report.requests,
            "resume_at": report.resume_at,
            "dry_run": report.dry_run,
            "failures": failures,
        });
        writeln!(out, "{record}")?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(match (report.complete, report.failures.first(), report.resume_at) {
        (true, ..) if report.counts.quarantined > 0 => Code::Rejects,
        (true, ..) => Code::Done,
        (false, _, Some(_)) | (false, None, None) => Code::Later,
        // Something was read, something was not.
        (false, Some(_), None) if report.slices_read > 0 => Code::Partial,
        (false, Some(failure), None) => Failure::code_of(failure.error.kind()),
    })
}

fn failed(account: &Account, failure: &Failure, as_json: bool) -> Result<Code, Failure> {
    eprintln!("error: {}: {failure}", account.name);
    if as_json {
        let record = json!({
            "provider": account.provider.id(),
            "account": account.name,
            "complete": false,
            "failures": [failure.to_string()],
        });
        writeln!(io::stdout().lock(), "{record}")?;
    }
    Ok(failure.code())
}
