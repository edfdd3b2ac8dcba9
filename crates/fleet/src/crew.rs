//! One job: a slice of the sync of one account, and what follows from how it went.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use charging_sessions_core::{Error, ErrorKind, Result};
use charging_sessions_sync::{AccountSync, CancellationToken, Event, Failure, Report};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::{
    Directory, Entry, Fleet, Settings,
    beat::Beat,
    jobs::Job,
    limit::{Outbound, of_domain, shared},
    metrics::{Counters, add},
    schedule, short,
};

/// How long an account is left alone that somebody else is writing to.
const OCCUPIED: Duration = Duration::from_secs(30);
/// How long after the database has failed a job is tried again.
const SHAKEN: Duration = Duration::from_secs(5);
/// How long a job waits for a worker that knows its account.
const UNKNOWN: Duration = Duration::from_secs(60);

/// What all jobs of a worker share.
pub(crate) struct Shared {
    pub(crate) id: String,
    /// By which it locks jobs.
    pub(crate) lock_id: String,
    pub(crate) fleet: Fleet,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) entries: HashMap<String, Entry>,
    pub(crate) settings: Settings,
    pub(crate) beat: Arc<Beat>,
    pub(crate) counters: Arc<Counters>,
    /// Set when jobs are to end.
    pub(crate) over: CancellationToken,
    pub(crate) running: Arc<AtomicU64>,
    pub(crate) open: Arc<Mutex<HashMap<String, Arc<Open>>>>,
}

/// An account that was opened, to be used for many jobs.
pub(crate) struct Open {
    syncs: Vec<AccountSync>,
    /// What was sent for it so far.
    sent: Arc<AtomicU64>,
    /// Whether a request was not sent because the heartbeat was late.
    held: Arc<AtomicBool>,
}

/// What is to happen with an account.
#[derive(Debug)]
enum Next {
    /// There is more to read at once.
    More,
    /// Everything was read.
    Done,
    /// Everything was read but what the provider does not know or does not give, such as a vehicle that was removed.
    Partly,
    /// Once more after this time, because of something that is not the account's fault.
    Again(Duration),
    /// The provider or a limit asks to come back then.
    Later(Timestamp),
    /// It has failed.
    Failed,
    /// Somebody must see to it; for all accounts with the same credential, if that is what is wrong.
    Park { credential: bool },
}

/// How a job went.
#[derive(Debug)]
struct Outcome {
    next: Next,
    error: Option<String>,
    pages: u64,
    requests: u64,
}

impl Outcome {
    fn of(next: Next, error: Option<String>) -> Self {
        Self { next, error, pages: 0, requests: 0 }
    }
}

/// What was found when a job began.
struct Begun {
    parked: bool,
    /// When the first of the jobs began that read the account piece by piece.
    chain: Timestamp,
    not_before: Option<Timestamp>,
}

/// Counts what is under way, also if it is dropped.
struct Running<'a>(&'a AtomicU64);

impl<'a> Running<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Does one job. An error is one of the database, and leaves the job to be tried again.
    pub(crate) async fn run(&self, job: &Job) -> Result<()> {
        let _running = Running::new(&self.running);
        if !self.beat.is_fresh() {
            // The database will have it given to another worker, if it has not already.
            let text = "the heartbeat of this worker is late; the job was not begun";
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        add(&self.counters.jobs, 1);
        let Some(entry) = self.entries.get(&job.account) else {
            return self.unknown(job).await;
        };
        let Some(begun) = self.begin(entry).await?.filter(|begun| !begun.parked) else {
            return self.leave(job).await;
        };
        let now = Timestamp::now();
        let outcome = match begun.not_before.filter(|at| *at > now) {
            Some(at) => Outcome::of(Next::Later(at), None),
            None => self.read(entry, begun.chain).await,
        };
        match &outcome.error {
            Some(error) => warn!(next = ?outcome.next, error, "the account could not be read"),
            None => info!(next = ?outcome.next, pages = outcome.pages, requests = outcome.requests, "read"),
        }
        self.finish(entry, job, &begun, &outcome).await
    }

    async fn begin(&self, entry: &Entry) -> Result<Option<Begun>> {
        let client = self.fleet.client().await?;
        let sql = "UPDATE accounts a SET chain_us = coalesce(a.chain_us, $2), jobs = a.jobs + 1, \
                   hinted = a.hinted AND a.chain_us IS NOT NULL FROM domains d \
                   WHERE a.name = $1 AND d.name = a.domain \
                   RETURNING a.parked_us IS NOT NULL, a.chain_us, d.not_before_us";
        let now = Timestamp::now().as_microsecond();
        let read = async {
            let statement = client.prepare_cached(sql).await?;
            let Some(row) = client.query_opt(&statement, &[&entry.name, &now]).await? else {
                return Ok(None);
            };
            let instant = |us: i64| Timestamp::from_microsecond(us).ok();
            Ok(Some(Begun {
                parked: row.try_get(0)?,
                chain: instant(row.try_get(1)?).unwrap_or_else(Timestamp::now),
                not_before: row.try_get::<_, Option<i64>>(2)?.and_then(instant),
            }))
        };
        read.await.map_err(|error| self.fleet.explain(error))
    }

    /// Ends a job without doing anything.
    async fn leave(&self, job: &Job) -> Result<()> {
        let mut client = self.fleet.client().await?;
        let left = async {
            let t = client.transaction().await?;
            if !self.fleet.end_job(&t, job).await? {
                self.superseded().await;
            }
            t.commit().await
        };
        left.await.map_err(|error| self.fleet.explain(error))
    }

    /// An account that this worker's directory does not have. Another worker's may, for a while.
    async fn unknown(&self, job: &Job) -> Result<()> {
        warn!("the account is not in the configuration of this worker");
        let account = &job.account;
        let mut client = self.fleet.client().await?;
        let put_off = async {
            let t = client.transaction().await?;
            if !self.fleet.end_job(&t, job).await? {
                self.superseded().await;
                return Ok(());
            }
            let sql = "SELECT domain FROM accounts WHERE name = $1 \
                       AND configured_at > clock_timestamp() - interval '1 h'";
            if let Some(row) = t.query_opt(sql, &[account]).await? {
                let at = Timestamp::now().checked_add(UNKNOWN).ok();
                self.fleet.add_job(&t, account, row.try_get(0)?, at, true).await?;
            }
            t.commit().await
        };
        put_off.await.map_err(|error| self.fleet.explain(error))
    }

    /// Counts a job that was given to another in the meantime. What was to follow from it is not written.
    async fn superseded(&self) {
        warn!("the job was given to another worker in the meantime");
        add(&self.counters.superseded, 1);
        self.fleet.count("superseded", 1).await;
    }

    async fn opened(&self, entry: &Entry) -> Result<Arc<Open>> {
        if let Some(open) = self.open.lock().await.get(&entry.name) {
            return Ok(open.clone());
        }
        let (sent, held) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut limits: Vec<_> = entry.limits.iter().map(|name| shared(name)).collect();
        limits.push(of_domain(&entry.domain));
        let transport = Outbound {
            below: self.directory.transport(),
            fleet: self.fleet.clone(),
            limits,
            beat: self.beat.clone(),
            counters: self.counters.clone(),
            sent: sent.clone(),
            held: held.clone(),
        };
        let opened = self.directory.open(&entry.name, Arc::new(transport)).await?;
        if let Some(quota) = opened.quota {
            self.fleet.set_quota(&entry.domain, quota).await?;
        }
        let open = Arc::new(Open { syncs: opened.syncs, sent, held });
        self.open.lock().await.insert(entry.name.clone(), open.clone());
        Ok(open)
    }

    async fn read(&self, entry: &Entry, chain: Timestamp) -> Outcome {
        let open = match self.opened(entry).await {
            Ok(open) => open,
            Err(error) => return self.failed(&error, false),
        };
        let before = open.sent.load(Ordering::Relaxed);
        open.held.store(false, Ordering::Relaxed);
        let mut outcome = Outcome::of(Next::Done, None);
        let mut closed = None;
        for sync in &open.syncs {
            let begun = Arc::new(AtomicBool::new(false));
            let seen = begun.clone();
            let sync = (sync.clone().continued(chain).stop(self.over.clone()))
                .most_pages(self.settings.pages)
                .most_time(SignedDuration::try_from(self.settings.time).unwrap_or(SignedDuration::MAX))
                .observer(move |event| {
                    if let Event::Planned { .. } = event {
                        seen.store(true, Ordering::Relaxed);
                    }
                });
            let one = match sync.run().await {
                Ok(report) => self.reported(&report),
                Err(error) => {
                    if error.kind() == ErrorKind::Unauthenticated {
                        // Whoever corrects the credential need not start the workers anew.
                        self.open.lock().await.remove(&entry.name);
                    }
                    // Not who could not begin, nor who was kept from asking: whose write the store has refused.
                    let wrote = begun.load(Ordering::Relaxed) && !open.held.load(Ordering::Relaxed);
                    if error.kind() == ErrorKind::Conflict && wrote {
                        add(&self.counters.refused, 1);
                        self.fleet.count("refused", 1).await;
                    }
                    self.failed(&error, true)
                }
            };
            let pages = outcome.pages + one.pages;
            outcome = Outcome { pages, ..one };
            match outcome.next {
                Next::Done => {}
                // What one listing does not give is no reason to leave the next.
                Next::Partly => closed = outcome.error.take().or(closed),
                _ => break,
            }
        }
        if let (Next::Done | Next::Partly, Some(error)) = (&outcome.next, closed) {
            (outcome.next, outcome.error) = (Next::Partly, Some(error));
        }
        outcome.requests = open.sent.load(Ordering::Relaxed).saturating_sub(before);
        outcome
    }

    fn reported(&self, report: &Report) -> Outcome {
        let counts = &report.counts;
        add(&self.counters.pages, report.pages);
        add(&self.counters.new, counts.new);
        add(&self.counters.changed, counts.changed);
        add(&self.counters.vanished, counts.vanished);
        let error = report.failures.first().map(|failure| failure.error.to_string());
        // Of one asset, that is no reason to leave the others alone.
        let is_closed = |failure: &Failure| {
            let kind = failure.error.kind();
            let of_asset = failure.slice.as_ref().is_some_and(|slice| slice.asset.is_some());
            of_asset && matches!(kind, ErrorKind::NotFound | ErrorKind::PermissionDenied)
        };
        let next = match (report.complete, report.resume_at) {
            (true, _) => Next::Done,
            (false, Some(at)) => Next::Later(at),
            (false, None) if report.more => Next::More,
            (false, None) if error.is_some() && report.failures.iter().all(is_closed) => Next::Partly,
            (false, None) if error.is_none() => Next::Again(Duration::ZERO),
            (false, None) => Next::Failed,
        };
        let error = error.filter(|_| !matches!(next, Next::Done | Next::Later(_)));
        Outcome { pages: report.pages, ..Outcome::of(next, error) }
    }

    /// What follows from an error that ended a run.
    fn failed(&self, error: &Error, while_reading: bool) -> Outcome {
        let next = match error.kind() {
            ErrorKind::Unauthenticated => Next::Park { credential: while_reading },
            ErrorKind::PermissionDenied | ErrorKind::Config | ErrorKind::Unsupported => {
                Next::Park { credential: false }
            }
            ErrorKind::Conflict => Next::Again(OCCUPIED),
            ErrorKind::Storage => Next::Again(SHAKEN),
            _ => Next::Failed,
        };
        if matches!(next, Next::Failed | Next::Park { .. }) {
            add(&self.counters.failures, 1);
        }
        Outcome::of(next, Some(error.to_string()))
    }

    /// Writes how the job went, and what is to happen next, as one. Of a job that is another's by now, nothing.
    async fn finish(&self, entry: &Entry, job: &Job, begun: &Begun, outcome: &Outcome) -> Result<()> {
        let mut client = self.fleet.client().await?;
        let finished = async {
            let t = client.transaction().await?;
            let now = Timestamp::now();
            let error = outcome.error.as_deref().map(short);
            let sql = "UPDATE accounts SET pages = pages + $2, requests = requests + $3, \
                       last_error = CASE WHEN $4::text IS NULL AND failures > 0 AND NOT $5 THEN last_error ELSE $4 END \
                       WHERE name = $1 RETURNING hinted, failures, failing_since_us";
            let is_done = matches!(outcome.next, Next::Done);
            let pages = i64::try_from(outcome.pages).unwrap_or(i64::MAX);
            let requests = i64::try_from(outcome.requests).unwrap_or(i64::MAX);
            let row = t.query_one(sql, &[&entry.name, &pages, &requests, &error, &is_done]).await?;
            let (hinted, failures): (bool, i32) = (row.try_get(0)?, row.try_get(1)?);
            let failing_since: Option<i64> = row.try_get(2)?;
            // After the account, as whoever has it read again does, so that neither waits for the other for ever.
            if !self.fleet.end_job(&t, job).await? {
                drop(t);
                self.superseded().await;
                return Ok(());
            }
            let after = |wait: Duration| now.checked_add(wait).ok();
            let (at, replace) = match &outcome.next {
                Next::More => (None, true),
                Next::Again(wait) => (after(*wait), true),
                Next::Later(at) => {
                    let sql =
                        "UPDATE domains SET not_before_us = greatest(not_before_us, $2) WHERE name = $1";
                    t.execute(sql, &[&entry.domain, &at.as_microsecond()]).await?;
                    (Some(*at), true)
                }
                Next::Done | Next::Partly => {
                    let as_of = is_done.then_some(begun.chain.as_microsecond());
                    let sql = "UPDATE accounts SET as_of_us = coalesce($2, as_of_us), chain_us = NULL, failures = 0, \
                               failing_since_us = NULL WHERE name = $1";
                    t.execute(sql, &[&entry.name, &as_of]).await?;
                    match hinted {
                        true => (None, true),
                        false => (Some(schedule::next(&entry.name, entry.every, now)), false),
                    }
                }
                Next::Failed => {
                    let since =
                        failing_since.and_then(|us| Timestamp::from_microsecond(us).ok()).unwrap_or(now);
                    let patience =
                        SignedDuration::try_from(self.settings.park_after).unwrap_or(SignedDuration::MAX);
                    if failures >= 10 && now.duration_since(since) >= patience {
                        self.park(&t, entry, outcome, false).await?;
                        return t.commit().await;
                    }
                    // What was read is read again: the next try must not be the same chain for ever.
                    let sql =
                        "UPDATE accounts SET failures = failures + 1, failing_since_us = $2 WHERE name = $1";
                    t.execute(sql, &[&entry.name, &since.as_microsecond()]).await?;
                    let failures = u32::try_from(failures).unwrap_or_default();
                    (after(schedule::pause(failures.saturating_add(1))), true)
                }
                Next::Park { credential } => {
                    self.park(&t, entry, outcome, *credential).await?;
                    return t.commit().await;
                }
            };
            self.fleet.add_job(&t, &entry.name, &entry.domain, at, replace).await?;
            t.commit().await
        };
        finished.await.map_err(|error| self.fleet.explain(error))
    }

    async fn park(
        &self,
        t: &deadpool_postgres::Transaction<'_>,
        entry: &Entry,
        outcome: &Outcome,
        credential: bool,
    ) -> Result<(), tokio_postgres::Error> {
        let reason = short(outcome.error.as_deref().unwrap_or_default());
        warn!(reason, credential, "parked");
        // Others with the same credential would only be refused, too, and providers lock who is refused too often.
        let sql = "UPDATE accounts SET parked_us = $3, parked_reason = $4 \
                   WHERE (name = $1 OR $5 AND domain = $2) AND parked_us IS NULL";
        let now = Timestamp::now().as_microsecond();
        t.execute(sql, &[&entry.name, &entry.domain, &now, &reason, &credential]).await.map(drop)
    }
}
