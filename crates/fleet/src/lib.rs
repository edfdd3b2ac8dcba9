//! Any number of workers, on any number of machines, that keep the sessions of many accounts in one PostgreSQL store.
//!
//! One process with [`AccountSync`] is enough for most. A fleet is for those whose accounts one process cannot read in
//! time, or who must go on when a machine dies. It needs no more than the database that holds the sessions: jobs are rows
//! of the crate `graphile_worker`, in a schema beside the store, and what the workers know of each other is in a third.
//!
//! | schema | holds |
//! |---|---|
//! | that of the store, such as `charging_sessions` | sessions; any program may read it |
//! | the same with `_jobs` | the queue of `graphile_worker` |
//! | the same with `_fleet` | accounts, workers, limits |
//!
//! # What a fleet promises
//!
//! - **One voice for each credential.** Accounts that share one are in one serial queue: at any time, one worker talks for
//!   it. Limits are counted in the database, request by request, before each is sent.
//! - **Nothing is lost, and nothing is done twice.** A job is a slice of an ordinary sync, which writes each page together
//!   with the place after it and names its epoch. A worker that was stopped and goes on, after another has taken over, is
//!   refused by the store.
//! - **A dead worker is missed within seconds.** Each notes every two seconds that it is alive; who has not done so for
//!   ten is held to be dead, its connections are ended, and its jobs are given to others.
//! - **One bad account blocks nobody.** It has pauses that grow; one whose credential is refused, or which has failed for
//!   a day, is parked with the reason until [`Fleet::unpark`].
//!
//! Which accounts there are and how they are read is told by a [`Directory`], which is the same for all workers.

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use charging_sessions_core::{Error, ErrorKind, Result};
use charging_sessions_http::{Quota, Transport};
use charging_sessions_store::{Hash, PostgresOptions, PostgresPool};
use charging_sessions_sync::AccountSync;
use deadpool_postgres::Object;
use graphile_worker::WorkerUtils;
use jiff::{SignedDuration, Timestamp};

mod beat;
mod crew;
mod jobs;
mod limit;
mod metrics;
mod schedule;
mod status;
mod worker;

pub use status::{AccountStatus, Status, Sums, WorkerStatus};
pub use worker::{Settings, Worker};

/// What brings a fleet from each version of its tables to the next. Only ever added to.
const MIGRATIONS: [&str; 1] = [include_str!("v1.sql")];

/// The name of the job that reads an account.
const TASK: &str = "sync_account";

const JOBS: &str = "the tables of the jobs, beside the store, cannot be made or brought up to date; allow the user to make \
                    schemas, and update this program if they are of a newer one";

/// An account of a [`Directory`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, unique in the directory.
    pub name: String,
    /// The provider's name, to be shown.
    pub provider: String,
    /// What it shares a credential with, and therefore a turn and a quota. Accounts that name the same are read one after
    /// the other.
    pub domain: String,
    /// How often it is read. At least a second.
    pub every: SignedDuration,
    /// The [`SharedLimit`]s that its requests count for, besides the quota of its credential.
    pub limits: Vec<String>,
}

/// A limit of requests that several credentials have together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLimit {
    /// Its name, unique in the directory.
    pub name: String,
    /// How many requests, in how long a time.
    pub quota: Quota,
}

/// How an account is read.
#[derive(Debug)]
pub struct Opened {
    /// Its listings, one after the other, without limits of pages and time and without observers: those are the worker's.
    pub syncs: Vec<AccountSync>,
    /// How many requests the credential may make. They are counted across all workers.
    pub quota: Option<Quota>,
}

/// Which accounts there are. The same for every worker of a fleet, such as a configuration that all of them read.
#[async_trait]
pub trait Directory: fmt::Debug + Send + Sync {
    /// Every account.
    fn entries(&self) -> Vec<Entry>;

    /// What several credentials are limited to together.
    fn limits(&self) -> Vec<SharedLimit>;

    /// What requests are sent by, before the worker puts its own checks around it.
    fn transport(&self) -> Arc<dyn Transport>;

    /// How the account of this name is read. All requests must go through `transport`. What is given is kept and used
    /// for many jobs, until the credentials are refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] and [`ErrorKind::Unauthenticated`] park the account; others are tried again.
    async fn open(&self, name: &str, transport: Arc<dyn Transport>) -> Result<Opened>;
}

/// A fleet, as seen from outside: to look at it, and to tell it what to do. Clones share their connections.
#[derive(Clone)]
pub struct Fleet {
    pool: PostgresPool,
    /// The schema of the jobs.
    jobs: String,
    /// Told from other locks by its size.
    lock: i64,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

impl Fleet {
    /// The fleet beside the store of these options, which must be there. Makes what a fleet needs if it is not there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`], with what to do: what [`PostgresStore::connect`](charging_sessions_store::PostgresStore)
    /// tells, or if the tables are of a newer release.
    pub async fn connect(options: &PostgresOptions) -> Result<Self> {
        let schema = options.schema_name();
        let own = options.clone().schema(format!("{schema}_fleet"));
        let pool = own.pool()?;
        let lock = i64::from_be_bytes(first_eight(&Hash::of(format!("fleet {schema}").as_bytes())));
        let fleet = Self { pool, jobs: format!("{schema}_jobs"), lock };
        fleet.migrate(own.schema_name()).await?;
        Ok(fleet)
    }

    async fn migrate(&self, schema: &str) -> Result<()> {
        let mut client = self.client().await?;
        let migrated = async {
            let t = client.transaction().await?;
            // Several workers may start at once.
            t.execute("SELECT pg_advisory_xact_lock($1)", &[&self.lock]).await?;
            let exists = "SELECT to_regclass($1) IS NOT NULL";
            let exists = t.query_one(exists, &[&format!("{schema}.layout")]).await?.try_get::<_, bool>(0)?;
            let from = match exists {
                true => t.query_one("SELECT version FROM layout", &[]).await?.try_get::<_, i32>(0)?,
                false => {
                    // The name has been checked to be plain.
                    t.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
                    0
                }
            };
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            if from > MIGRATIONS.len() {
                let text = format!(
                    "the fleet in the schema {schema} was made by a newer release; update this program"
                );
                return Ok(Some(Error::new(ErrorKind::Storage, text)));
            }
            for migration in &MIGRATIONS[from..] {
                t.batch_execute(migration).await?;
            }
            if from < MIGRATIONS.len() {
                let sql = "INSERT INTO layout (version) VALUES ($1) \
                           ON CONFLICT (one) DO UPDATE SET version = excluded.version";
                t.execute(sql, &[&(MIGRATIONS.len() as i32)]).await?;
            }
            // The tables of the jobs have versions of their own.
            let utils = WorkerUtils::new(self.pool.inner().clone(), self.jobs.as_str());
            if let Err(error) = utils.migrate().await {
                return Ok(Some(Error::new(ErrorKind::Storage, JOBS).with_source(error)));
            }
            t.commit().await?;
            Ok(None)
        };
        match migrated.await {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(error) => Err(self.pool.explain(error)),
        }
    }

    async fn client(&self) -> Result<Object> {
        self.pool.get().await
    }

    fn explain(&self, error: tokio_postgres::Error) -> Error {
        self.pool.explain(error)
    }

    /// Has an account read as soon as its queue is free, and once more if it is being read just now. Any number of calls
    /// until then are one. A parked account stays parked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if no worker has ever had it in its directory; [`ErrorKind::Storage`].
    pub async fn enqueue(&self, account: &str) -> Result<()> {
        let mut client = self.client().await?;
        let known = async {
            let t = client.transaction().await?;
            let sql = "UPDATE accounts SET hinted = TRUE WHERE name = $1 RETURNING domain";
            let Some(row) = t.query_opt(sql, &[&account]).await? else { return Ok(false) };
            self.add_job(&t, account, row.try_get(0)?, None, true).await?;
            t.commit().await?;
            Ok(true)
        };
        self.known(account, known.await)
    }

    /// Lets a parked account be read again, at once. One that is not parked stays as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if no worker has ever had it in its directory; [`ErrorKind::Storage`].
    pub async fn unpark(&self, account: &str) -> Result<()> {
        let mut client = self.client().await?;
        let known = async {
            let t = client.transaction().await?;
            let sql = "SELECT domain, parked_us IS NOT NULL FROM accounts WHERE name = $1 FOR UPDATE";
            let Some(row) = t.query_opt(sql, &[&account]).await? else { return Ok(false) };
            if row.try_get(1)? {
                let sql = "UPDATE accounts SET parked_us = NULL, parked_reason = NULL, failures = 0, \
                           failing_since_us = NULL, chain_us = NULL WHERE name = $1";
                t.execute(sql, &[&account]).await?;
                self.add_job(&t, account, row.try_get(0)?, None, true).await?;
            }
            t.commit().await?;
            Ok(true)
        };
        self.known(account, known.await)
    }

    fn known(&self, account: &str, known: Result<bool, tokio_postgres::Error>) -> Result<()> {
        match known {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "no worker has an account `{account}` yet: start one with a configuration that names it"
                ),
            )),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Adds the job that reads an account, at an instant or now. There is one for each account that is not being read
    /// already; if there is, `replace` says whether this time counts or that of the other.
    async fn add_job(
        &self,
        t: &deadpool_postgres::Transaction<'_>,
        account: &str,
        domain: &str,
        at: Option<Timestamp>,
        replace: bool,
    ) -> Result<(), tokio_postgres::Error> {
        let sql = format!(
            "SELECT FROM {}.add_job(identifier => $1, payload => json_build_object('account', $2::text), \
             queue_name => $3, run_at => 'epoch'::timestamptz + $4::bigint * interval '1 microsecond', \
             job_key => $5, job_key_mode => $6)",
            self.jobs
        );
        let mode = if replace { "replace" } else { "preserve_run_at" };
        let at = at.map(Timestamp::as_microsecond);
        t.execute(&sql, &[&TASK, &account, &queue(domain), &at, &key(account), &mode]).await?;
        Ok(())
    }

    /// Counts something for all to see. It is not worth to fail for.
    async fn count(&self, what: &str, by: u64) {
        let by = i64::try_from(by).unwrap_or(i64::MAX);
        if let Ok(client) = self.client().await {
            drop(client.execute("SELECT count_one($1, $2)", &[&what, &by]).await);
        }
    }
}

/// By which the job of an account is known.
fn key(account: &str) -> String {
    format!("account:{account}")
}

/// The queue of a domain. Names of queues have at most 128 characters.
fn queue(domain: &str) -> String {
    if domain.len() <= 100 {
        return domain.to_owned();
    }
    let head: String = domain.chars().take(40).collect();
    format!("{head}… {}", Hash::of(domain.as_bytes()))
}

fn first_eight(hash: &Hash) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// As much of a text as is worth keeping beside an account.
fn short(text: &str) -> String {
    text.chars().take(500).filter(|c| *c != '\0').collect()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_queues_are_short_and_differ_as_domains_do() {
        assert_eq!(queue("ev-energy/home"), "ev-energy/home");
        let (one, other) = (queue(&"x".repeat(300)), queue(&format!("{}y", "x".repeat(299))));
        assert!(one != other && one.chars().count() <= 128, "{one}");
    }
}
