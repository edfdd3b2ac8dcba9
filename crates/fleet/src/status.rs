//! How a fleet is doing.

use charging_sessions_core::Result;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;

use crate::{Fleet, limit};

/// How a fleet is doing, seen at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The workers, by their beginning.
    pub workers: Vec<WorkerStatus>,
    /// The accounts, by name.
    pub accounts: Vec<AccountStatus>,
    /// What has happened in all, by name: `refused` are writes of workers that had been replaced, `superseded` their
    /// jobs, `taken_over` jobs that were set free, `buried` workers that were held to be dead.
    pub totals: Vec<(String, u64)>,
}

/// A worker whose heartbeat is in time, or was not long ago.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// The end of the name of its connections.
    pub id: String,
    /// Its host and process.
    pub place: String,
    /// For how long it is at work.
    pub since: SignedDuration,
    /// How long ago its heart last beat.
    pub heartbeat: SignedDuration,
    /// How many jobs it is doing.
    pub running: u32,
}

/// An account of a fleet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountStatus {
    /// Its name.
    pub name: String,
    /// Its provider.
    pub provider: String,
    /// What it shares a credential with.
    pub domain: String,
    /// Up to when what is known of it is complete; `None` if it was never read as a whole.
    pub as_of: Option<Timestamp>,
    /// Since when and why it is parked, if it is.
    pub parked: Option<(Timestamp, String)>,
    /// How often it has failed in a row.
    pub failures: u32,
    /// What was last wrong.
    pub last_error: Option<String>,
    /// How many more requests its credential may make now, if that is limited.
    pub requests_left: Option<u64>,
    /// When it is read next; in the past if it waits for a worker.
    pub next: Option<Timestamp>,
    /// Whether it is being read.
    pub running: bool,
    /// How many jobs it has had.
    pub jobs: u64,
    /// How many pages were written.
    pub pages: u64,
    /// How many requests were sent.
    pub requests: u64,
}

/// A fleet in numbers.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Sums {
    /// Workers whose heartbeat is in time.
    pub workers: u64,
    /// Accounts that are read.
    pub accounts: u64,
    /// Of them, those that are parked.
    pub parked: u64,
    /// Those whose last job failed.
    pub failing: u64,
    /// Those that were never read as a whole.
    pub never: u64,
    /// The longest time in seconds since what is known of one was complete.
    pub lag: f64,
    /// Jobs that are due or being done.
    pub due: u64,
}

fn at(row: &Row, column: usize) -> Result<Option<Timestamp>, tokio_postgres::Error> {
    Ok(row.try_get::<_, Option<i64>>(column)?.and_then(|us| Timestamp::from_microsecond(us).ok()))
}

fn number(row: &Row, column: usize) -> Result<u64, tokio_postgres::Error> {
    Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or_default())
}

impl Fleet {
    /// How it is doing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`](charging_sessions_core::ErrorKind::Storage).
    pub async fn status(&self) -> Result<Status> {
        let client = self.client().await?;
        let jobs = &self.jobs;
        let credential = limit::of_domain("");
        let read = async {
            let mut status = Status { workers: Vec::new(), accounts: Vec::new(), totals: Vec::new() };
            let sql = "SELECT id, place, (extract(epoch FROM clock_timestamp() - started_at) * 1000)::bigint, \
                       (extract(epoch FROM clock_timestamp() - heartbeat_at) * 1000)::bigint, running FROM workers \
                       ORDER BY started_at";
            for row in client.query(sql, &[]).await? {
                status.workers.push(WorkerStatus {
                    id: row.try_get(0)?,
                    place: row.try_get(1)?,
                    since: SignedDuration::from_millis(row.try_get(2)?),
                    heartbeat: SignedDuration::from_millis(row.try_get(3)?),
                    running: u32::try_from(row.try_get::<_, i32>(4)?).unwrap_or_default(),
                });
            }
            // Of an account that is parked a job may still be there, which does nothing.
            let sql = format!(
                "SELECT a.name, a.provider, a.domain, a.as_of_us, a.parked_us, a.parked_reason, a.failures::bigint, \
                 a.last_error, left_of($1 || a.domain), \
                 CASE WHEN a.parked_us IS NULL THEN j.next_us END, coalesce(j.running, FALSE), \
                 a.jobs, a.pages, a.requests FROM accounts a LEFT JOIN ( \
                   SELECT payload->>'account' AS name, bool_or(locked_at IS NOT NULL) AS running, \
                   (extract(epoch FROM min(run_at) FILTER (WHERE locked_at IS NULL)) * 1000000)::bigint AS next_us \
                   FROM {jobs}._private_jobs GROUP BY 1 \
                 ) j ON j.name = a.name ORDER BY a.name"
            );
            for row in client.query(&sql, &[&credential]).await? {
                let reason: Option<String> = row.try_get(5)?;
                let left: Option<i64> = row.try_get(8)?;
                status.accounts.push(AccountStatus {
                    name: row.try_get(0)?,
                    provider: row.try_get(1)?,
                    domain: row.try_get(2)?,
                    as_of: at(&row, 3)?,
                    parked: at(&row, 4)?.zip(reason),
                    failures: u32::try_from(number(&row, 6)?).unwrap_or(u32::MAX),
                    last_error: row.try_get(7)?,
                    requests_left: left.and_then(|left| u64::try_from(left).ok()),
                    next: at(&row, 9)?,
                    running: row.try_get(10)?,
                    jobs: number(&row, 11)?,
                    pages: number(&row, 12)?,
                    requests: number(&row, 13)?,
                });
            }
            for row in client.query("SELECT name, value FROM totals ORDER BY name", &[]).await? {
                status.totals.push((row.try_get(0)?, number(&row, 1)?));
            }
            Ok(status)
        };
        read.await.map_err(|error| self.explain(error))
    }

    /// How it is doing, in numbers. Costs one query, however many accounts there are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`](charging_sessions_core::ErrorKind::Storage).
    pub async fn sums(&self) -> Result<Sums> {
        let client = self.client().await?;
        let sql = format!(
            "SELECT (SELECT count(*) FROM workers WHERE heartbeat_at > clock_timestamp() - interval '10 s'), count(*), \
             count(*) FILTER (WHERE parked_us IS NOT NULL), count(*) FILTER (WHERE failures > 0), \
             count(*) FILTER (WHERE as_of_us IS NULL), \
             greatest(0, extract(epoch FROM clock_timestamp()) - min(as_of_us) / 1000000.0)::double precision, \
             (SELECT count(*) FROM {0}._private_jobs WHERE run_at <= clock_timestamp()) FROM accounts",
            self.jobs
        );
        let read = async {
            let row = client.query_one(&sql, &[]).await?;
            Ok(Sums {
                workers: number(&row, 0)?,
                accounts: number(&row, 1)?,
                parked: number(&row, 2)?,
                failing: number(&row, 3)?,
                never: number(&row, 4)?,
                lag: row.try_get::<_, Option<f64>>(5)?.unwrap_or_default(),
                due: number(&row, 6)?,
            })
        };
        read.await.map_err(|error| self.explain(error))
    }
}
