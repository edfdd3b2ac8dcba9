//! A worker: does jobs, notes that it is alive, and sees to the jobs of those that are not.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use charging_sessions_core::{Error, ErrorKind, Result};
use charging_sessions_sync::CancellationToken;
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::{
    Directory, Fleet,
    beat::Beat,
    crew::Shared,
    jobs,
    metrics::{self, Counters, add},
    queue, schedule,
};

/// How often a worker notes that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// For how long after a heartbeat a worker may send requests.
const LEASE: Duration = Duration::from_secs(7);
/// After how long without a heartbeat a worker is held to be dead. Above the lease by what a request takes to leave.
const STALE: Duration = Duration::from_secs(10);
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often accounts are looked for that have no job, though they should.
const CENSUS: u64 = 15;

/// How a worker works. Every worker of a fleet may have others.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How many jobs are done at the same time. 8 by default. Each needs up to two connections to the database.
    pub concurrency: usize,
    /// After how many pages a job ends and leaves the rest to another. 200 by default.
    pub pages: u64,
    /// After how long it does. A minute by default.
    pub time: Duration,
    /// For how long an account may fail before it is parked. A day by default.
    pub park_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 8,
            pages: 200,
            time: Duration::from_secs(60),
            park_after: Duration::from_secs(24 * 3600),
        }
    }
}

/// One worker of a fleet.
pub struct Worker {
    id: String,
    fleet: Fleet,
    directory: Arc<dyn Directory>,
    settings: Settings,
    beat: Arc<Beat>,
    counters: Arc<Counters>,
    running: Arc<AtomicU64>,
    metrics: Option<TcpListener>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("id", &self.id)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why jobs are no longer done.
enum End {
    /// Because the worker is to end.
    Stopped,
    /// Because others hold it to be dead, or the database is gone.
    Lost(Error),
}

impl Worker {
    /// How long a write to the store should wait for another: longer than it takes until a worker that was stopped in the
    /// middle of one is held to be dead, and its connections are ended.
    pub const LOCK_WAIT: Duration = Duration::from_secs(30);

    /// The name of all connections of a worker, by which the others end them when it is dead. The store that its accounts
    /// are written to has to be opened with it.
    pub fn application(id: &str) -> String {
        format!("charging-sessions worker {id}")
    }

    /// A new name for a worker.
    pub fn new_id() -> String {
        format!("{:016x}", fastrand::u64(..))
    }

    /// A worker of this fleet, by this name, which no other has.
    pub fn new(id: String, fleet: Fleet, directory: Arc<dyn Directory>, settings: Settings) -> Self {
        Self {
            id,
            fleet,
            directory,
            settings,
            beat: Arc::new(Beat::new(LEASE)),
            counters: Arc::default(),
            running: Arc::default(),
            metrics: None,
        }
    }

    /// Answers `/health` and `/metrics` (the text format of Prometheus) there. Not to be shown to strangers: names of
    /// accounts are not in it, but how many there are.
    #[must_use]
    pub fn metrics(mut self, listener: TcpListener) -> Self {
        self.metrics = Some(listener);
        self
    }

    /// Works until `stop`, and then ends within ten seconds: pages that have come are written, and what was begun is left
    /// for others, or the next start. While the database does not answer, it waits for it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] if the database does not answer at first; [`ErrorKind::Config`] if the metrics cannot be
    /// served.
    pub async fn run(mut self, stop: CancellationToken) -> Result<()> {
        self.enrol().await?;
        let served = self.metrics.take().map(|listener| {
            let served = metrics::serve(
                listener,
                self.fleet.clone(),
                self.counters.clone(),
                self.beat.clone(),
                stop.child_token(),
            );
            tokio::spawn(served)
        });
        let open = Arc::default();
        let mut pause = Duration::from_millis(200);
        loop {
            let began = tokio::time::Instant::now();
            match self.shift(&stop, &open).await {
                End::Stopped => break,
                End::Lost(error) => {
                    add(&self.counters.shifts, 1);
                    warn!(worker = self.id, error = %error, "out of the database; trying again");
                }
            }
            if began.elapsed() > Duration::from_secs(30) {
                pause = Duration::from_millis(200);
            }
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        // Others need not wait until it is held to be dead.
        let goodbye = async {
            if let Ok(client) = self.fleet.client().await {
                drop(client.execute("DELETE FROM workers WHERE id = $1", &[&self.id]).await);
            }
        };
        drop(tokio::time::timeout(GOODBYE, goodbye).await);
        match served {
            Some(served) => served.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    /// Writes what the directory knows, so that it can be seen, and so that jobs can be made for it.
    async fn enrol(&self) -> Result<()> {
        let entries = self.directory.entries();
        let client = self.fleet.client().await?;
        let explain = |error| self.fleet.explain(error);
        let mut domains: Vec<_> = entries.iter().map(|entry| &entry.domain).collect();
        domains.sort_unstable();
        domains.dedup();
        let sql = "INSERT INTO domains (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING";
        client.execute(sql, &[&domains]).await.map_err(explain)?;
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<_> = entries.iter().map(|entry| &entry.name).collect();
        let providers: Vec<_> = entries.iter().map(|entry| &entry.provider).collect();
        let domains: Vec<_> = entries.iter().map(|entry| &entry.domain).collect();
        let every = |every: jiff::SignedDuration| i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
        let every: Vec<_> = entries.iter().map(|entry| every(entry.every)).collect();
        let sql = "INSERT INTO accounts (name, provider, domain, every_us, configured_at) \
                   SELECT k.*, clock_timestamp() FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS k \
                   ON CONFLICT (name) DO UPDATE SET provider = excluded.provider, domain = excluded.domain, \
                   every_us = excluded.every_us, configured_at = excluded.configured_at";
        client.execute(sql, &[&names, &providers, &domains, &every]).await.map_err(explain)?;
        self.fleet.set_limits(&self.directory.limits()).await
    }

    /// Works until something ends it.
    async fn shift(
        &self,
        stop: &CancellationToken,
        open: &Arc<tokio::sync::Mutex<HashMap<String, Arc<crate::crew::Open>>>>,
    ) -> End {
        let over = stop.child_token();
        let entries = self.directory.entries().into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        let lock_id = Self::new_id();
        let shared = Arc::new(Shared {
            id: self.id.clone(),
            lock_id: lock_id.clone(),
            fleet: self.fleet.clone(),
            directory: self.directory.clone(),
            entries,
            settings: self.settings.clone(),
            beat: self.beat.clone(),
            counters: self.counters.clone(),
            over: over.clone(),
            running: self.running.clone(),
            open: open.clone(),
        });
        if let Err(error) = self.sign_in(&lock_id).await {
            return End::Lost(error);
        }
        info!(worker = self.id, lock_id, "at work");
        let (worked, watched) = tokio::join!(jobs::work(&shared), self.watch(&lock_id, &over));
        self.beat.forget();
        match (worked, watched) {
            _ if stop.is_cancelled() => End::Stopped,
            (_, Err(error)) | (Err(error), _) => End::Lost(error),
            (Ok(()), Ok(())) => End::Stopped,
        }
    }

    /// Begins to be among the workers.
    async fn sign_in(&self, lock_id: &str) -> Result<()> {
        let client = self.fleet.client().await?;
        let moment = Beat::moment();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let place = format!("{} process {}", host.trim(), std::process::id());
        let sql = "INSERT INTO workers (id, lock_id, place) VALUES ($1, $2, $3) \
                   ON CONFLICT (id) DO UPDATE SET lock_id = excluded.lock_id, heartbeat_at = clock_timestamp(), \
                   running = 0";
        client.execute(sql, &[&self.id, &lock_id, &place.trim()]).await.map_err(|e| self.fleet.explain(e))?;
        self.beat.note(moment);
        Ok(())
    }

    /// Notes that the worker is alive and looks after the others, until `over`.
    ///
    /// # Errors
    ///
    /// If it is held to be dead.
    async fn watch(&self, lock_id: &str, over: &CancellationToken) -> Result<()> {
        let mut rounds = 0_u64;
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Until its jobs have ended, a worker that is to end is alive.
            let ended = over.is_cancelled() && self.running.load(Ordering::Relaxed) == 0;
            if ended {
                return Ok(());
            }
            let tick = async {
                ticks.tick().await;
            };
            if over.is_cancelled() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            } else if over.run_until_cancelled(tick).await.is_none() {
                continue;
            }
            let moment = Beat::moment();
            match tokio::time::timeout(LEASE, self.pulse(lock_id)).await {
                Ok(Ok(true)) => self.beat.note(moment),
                Ok(Ok(false)) => {
                    self.beat.forget();
                    over.cancel();
                    let text = "this worker did not answer for so long that others held it to be dead";
                    return Err(Error::new(ErrorKind::Conflict, text));
                }
                // Jobs will find out by themselves, and requests are held once the lease is over.
                Ok(Err(error)) => warn!(worker = self.id, error = %error, "no heartbeat"),
                Err(_) => warn!(worker = self.id, "no heartbeat: the database does not answer"),
            }
            if over.is_cancelled() {
                continue;
            }
            match tokio::time::timeout(STALE, self.tend(rounds.is_multiple_of(CENSUS))).await {
                Ok(Ok(())) => rounds += 1,
                Ok(Err(error)) => warn!(worker = self.id, error = %error, "the others were not looked after"),
                Err(_) => {
                    warn!(worker = self.id, "the others were not looked after: the database does not answer");
                }
            }
        }
    }

    /// Notes that the worker is alive; `false` if it is not among the workers any more.
    async fn pulse(&self, lock_id: &str) -> Result<bool> {
        let client = self.fleet.client().await?;
        let running = i32::try_from(self.running.load(Ordering::Relaxed)).unwrap_or(i32::MAX);
        let sql = "UPDATE workers SET heartbeat_at = clock_timestamp(), running = $3 WHERE id = $1 AND lock_id = $2";
        let rows = client.execute(sql, &[&self.id, &lock_id, &running]).await;
        Ok(rows.map_err(|e| self.fleet.explain(e))? == 1)
    }

    /// Sees to workers that are dead, and now and then to accounts without a job. One worker at a time does.
    async fn tend(&self, census: bool) -> Result<()> {
        let mut client = self.fleet.client().await?;
        let (buried, freed) = async {
            let t = client.transaction().await?;
            // A worker that is stopped in here must not keep the others from it for longer than it may answer nobody.
            let sql = "SELECT pg_try_advisory_xact_lock($1), \
                       set_config('idle_in_transaction_session_timeout', $2, true)";
            let idle = LEASE.as_millis().to_string();
            if !t.query_one(sql, &[&(self.fleet.lock ^ 1), &idle]).await?.try_get::<_, bool>(0)? {
                return Ok((0, 0));
            }
            let buried = self.bury(&t).await?;
            let freed = self.free(&t).await?;
            if census {
                self.census(&t).await?;
            }
            t.commit().await?;
            Ok((buried, freed))
        }
        .await
        .map_err(|error: tokio_postgres::Error| self.fleet.explain(error))?;
        drop(client);
        if buried > 0 {
            self.fleet.count("buried", buried).await;
        }
        if freed > 0 {
            add(&self.counters.taken_over, freed);
            self.fleet.count("taken_over", freed).await;
        }
        Ok(())
    }

    /// Ends the connections of workers that are dead, and so lets go of what they hold.
    async fn bury(&self, t: &Transaction<'_>) -> Result<u64, tokio_postgres::Error> {
        // A server that has just started again has heard of nobody for a while.
        let sql = "DELETE FROM workers WHERE heartbeat_at < clock_timestamp() - $1::bigint * interval '1 microsecond' \
                   AND pg_postmaster_start_time() < clock_timestamp() - $1::bigint * interval '1 microsecond' \
                   RETURNING id, place";
        let dead = t.query(sql, &[&crate::micros(STALE)]).await?;
        for row in &dead {
            let (id, place): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            warn!(worker = self.id, dead = id, place, "a worker is dead");
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE application_name = $1 AND datname = current_database() AND usename = current_user";
            t.execute(sql, &[&Self::application(id)]).await?;
        }
        Ok(dead.len() as u64)
    }

    /// Gives the jobs of those who are not among the workers to others.
    ///
    /// Each becomes another job with another number: its old worker may go on and end it, which must not touch the new
    /// one.
    async fn free(&self, t: &Transaction<'_>) -> Result<u64, tokio_postgres::Error> {
        let jobs = &self.fleet.jobs;
        let sql = format!(
            "SELECT DISTINCT l.locked_by FROM (SELECT locked_by FROM {jobs}._private_jobs \
             UNION ALL SELECT locked_by FROM {jobs}._private_job_queues) l \
             WHERE l.locked_by IS NOT NULL AND l.locked_by NOT IN (SELECT lock_id FROM workers)"
        );
        let mut gone = Vec::new();
        for row in t.query(&sql, &[]).await? {
            gone.push(row.try_get::<_, String>(0)?);
        }
        if gone.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "SELECT j.id, j.key, a.name, a.domain FROM {jobs}._private_jobs j \
             LEFT JOIN accounts a ON a.name = j.payload->>'account' WHERE j.locked_by = ANY($1)"
        );
        let locked = t.query(&sql, &[&gone]).await?;
        let mut numbers = Vec::new();
        for row in &locked {
            numbers.push(row.try_get::<_, i64>(0)?);
            let key: Option<&str> = row.try_get(1)?;
            let (name, domain): (Option<&str>, Option<&str>) = (row.try_get(2)?, row.try_get(3)?);
            // One without a key has a successor already.
            if let (Some(_), Some(name), Some(domain)) = (key, name, domain) {
                self.fleet.add_job(t, name, domain, None, true).await?;
            }
        }
        t.execute(&format!("SELECT {jobs}.force_unlock_workers($1)"), &[&gone]).await?;
        t.execute(&format!("SELECT FROM {jobs}.complete_jobs($1)"), &[&numbers]).await?;
        Ok(numbers.len() as u64)
    }

    /// Makes the jobs of accounts that have none, because they are new or because one was lost.
    async fn census(&self, t: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        let names: Vec<_> = self.directory.entries().into_iter().map(|entry| entry.name).collect();
        let sql = "UPDATE accounts SET configured_at = clock_timestamp() \
                   WHERE name = ANY($1) AND configured_at < clock_timestamp() - interval '10 min'";
        t.execute(sql, &[&names]).await?;
        let jobs = &self.fleet.jobs;
        // What has been tried too often without a word from us, such as by a worker that died each time, and what has a
        // successor, is of no use.
        let sql = format!(
            "SELECT FROM {jobs}.complete_jobs(ARRAY(SELECT id FROM {jobs}._private_jobs \
             WHERE locked_at IS NULL AND attempts >= max_attempts))"
        );
        t.execute(&sql, &[]).await?;
        let sql = format!(
            "SELECT a.name, a.domain, a.every_us, a.as_of_us IS NULL OR a.chain_us IS NOT NULL FROM accounts a \
             WHERE a.parked_us IS NULL AND a.name = ANY($1) \
             AND NOT EXISTS (SELECT FROM {jobs}._private_jobs j WHERE j.key = 'account:' || a.name)"
        );
        let now = Timestamp::now();
        for row in t.query(&sql, &[&names]).await? {
            let (name, domain): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let every = jiff::SignedDuration::from_micros(row.try_get(2)?);
            let at_once: bool = row.try_get(3)?;
            let at = (!at_once).then(|| schedule::next(name, every, now));
            self.fleet.add_job(t, name, domain, at, true).await?;
            tracing::debug!(account = name, queue = queue(domain), "a job was made");
        }
        Ok(())
    }
}
