//! `charging-sessions sync`: brings the store up to date.

use std::{
    io::{self, Write},
    sync::Arc,
};

use charging_sessions::{AccountId, ChargingSessionSource, RecordKind};
use charging_sessions_http::{Transport, default_transport};
use charging_sessions_store::{Account as Key, SessionStore};
use charging_sessions_sync::{AccountSync, CancellationToken, Report};
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp, civil::Date};
use serde_json::json;

use crate::{
    args::{SharedArgs, first_instant, length},
    config::{Account, Built, Config},
    exit::{Code, Failure},
    progress::{Progress, print, tell},
    quarantine::{self, Retried},
    stored, text,
};

/// How many accounts are read at the same time.
const ACCOUNTS: usize = 4;

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
    let wanted = Wanted {
        since: args.since.map(|day| first_instant(day, &config.zone).unwrap_or(Timestamp::MIN)),
        until: None,
        look_back: args.look_back,
        full: args.full,
        dry_run: args.dry_run,
        json: args.json,
    };
    Runs::begin(&config, wanted).await?.all(&accounts).await
}

/// What the runs of one command have in common, besides their accounts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) look_back: Option<SignedDuration>,
    pub(crate) full: bool,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
}

/// Brings accounts up to date, several at the same time.
#[derive(Debug)]
pub(crate) struct Runs<'a> {
    config: &'a Config,
    wanted: Wanted,
    transport: Arc<dyn Transport>,
    stop: CancellationToken,
    pub(crate) store: Arc<dyn SessionStore>,
}

impl<'a> Runs<'a> {
    pub(crate) async fn begin(config: &'a Config, wanted: Wanted) -> Result<Self, Failure> {
        let store = stored::open(config).await?;
        Ok(Self { config, wanted, transport: default_transport()?, stop: stop_on_interrupt(), store })
    }

    pub(crate) async fn all(&self, accounts: &[&Account]) -> Result<Code, Failure> {
        let runs = accounts.iter().map(|account| self.one(account));
        let codes: Vec<_> = stream::iter(runs).buffered(ACCOUNTS).collect().await;
        let mut codes = codes.into_iter().collect::<Result<Vec<_>, _>>()?;
        if self.stop.is_cancelled() {
            tell("stopped; the same command goes on where this one ended");
            codes.push(Code::Later);
        }
        Ok(Code::of_all(codes))
    }

    async fn one(&self, account: &Account) -> Result<Code, Failure> {
        if self.stop.is_cancelled() {
            return Ok(Code::Later);
        }
        let mut built = match account.build(Arc::clone(&self.transport)).await {
            Ok(built) => built,
            Err(failure) => return failed(account, &failure, self.wanted.json),
        };
        if let Err(failure) = self.retry(&built).await {
            return failed(account, &failure, self.wanted.json);
        }
        let mut codes = Vec::new();
        let more = std::mem::take(&mut built.more);
        let first = (built.kinds, Arc::clone(&built.source));
        for (kinds, source) in [first].into_iter().chain(more) {
            (built.kinds, built.source) = (kinds, source);
            codes.push(match self.read(account, &built).await {
                Ok(report) => done(&report, self.wanted.json)?,
                Err(failure) => failed(account, &failure, self.wanted.json)?,
            });
        }
        Ok(Code::of_all(codes))
    }

    /// Tries what is in quarantine again: once for an account, however many listings it has.
    async fn retry(&self, built: &Built) -> Result<(), Failure> {
        if !self.wanted.dry_run {
            let Retried { read, .. } =
                quarantine::retry(&*self.store, &key(built), self.config, false).await?;
            if read > 0 {
                tell(&format!("{}: {read} records of the quarantine can be read now", built.account));
            }
        }
        Ok(())
    }

    async fn read(&self, account: &Account, built: &Built) -> Result<Report, Failure> {
        let (progress, sent) = (Progress::of(account.name.clone()), Arc::clone(&built.requests));
        let requests = Arc::clone(&built.requests);
        let since = self.wanted.since.or_else(|| account.since(&self.config.zone));
        let mut sync = listing(built, built.kinds, &built.source, &self.store, since)
            .full(self.wanted.full)
            .dry_run(self.wanted.dry_run)
            .stop(self.stop.clone())
            .observer(move |event| progress.show(event, sent.requests()))
            .requests(move || requests.requests());
        if let Some(until) = self.wanted.until {
            sync = sync.until(until);
        }
        if let Some(length) = self.wanted.look_back {
            sync = sync.look_back(length);
        }
        Ok(sync.run().await?)
    }
}

/// The sync of one listing of an account.
pub(crate) fn listing(
    built: &Built,
    kinds: &[RecordKind],
    source: &Arc<dyn ChargingSessionSource>,
    store: &Arc<dyn SessionStore>,
    since: Option<Timestamp>,
) -> AccountSync {
    let mut sync = AccountSync::new(Arc::clone(source), Arc::clone(store), key(built), kinds);
    if let Some(assets) = &built.assets {
        sync = sync.assets(Arc::clone(assets));
    }
    if let Some(since) = since {
        sync = sync.since(since);
    }
    sync
}

pub(crate) fn key(built: &Built) -> Key {
    Key { provider: built.provider, account: built.account.clone() }
}

/// A token that the first interrupt cancels. The second one ends the program, as it would without us.
fn stop_on_interrupt() -> CancellationToken {
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            tell("stopping as soon as what has come is written; once more stops at once");
            told.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    stop
}

fn done(report: &Report, as_json: bool) -> Result<Code, Failure> {
    // That of a part was told when it happened.
    for failure in report.failures.iter().filter(|failure| failure.slice.is_none()) {
        let error = failure.error.to_string();
        tell(&format!("error: {}: {}", report.account.account, text::visible(&error)));
    }
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
        print(|| writeln!(io::stdout(), "{record}"))?;
    } else {
        print(|| writeln!(io::stdout(), "{report}"))?;
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
    tell(&format!("error: {}: {failure}", account.name));
    if as_json {
        let record = json!({
            "provider": account.provider.id(),
            "account": account.name,
            "complete": false,
            "failures": [failure.to_string()],
        });
        print(|| writeln!(io::stdout(), "{record}"))?;
    }
    Ok(failure.code())
}
