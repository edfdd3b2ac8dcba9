//! What every request of a worker passes before it is sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use charging_sessions_core::{Error, ErrorKind, Result};
use charging_sessions_http::{Limits, Quota, Request, Response, Transport};

use crate::{
    Fleet, SharedLimit,
    beat::Beat,
    metrics::{Counters, add},
    micros,
};

/// Waits up to this are slept through; longer ones end the job, and become the time of the next.
const NAP: Duration = Duration::from_secs(2);

/// The name of the limit of one credential.
pub(crate) fn of_domain(domain: &str) -> String {
    format!("credential {domain}")
}

/// The name of a limit of the directory.
pub(crate) fn shared(name: &str) -> String {
    format!("limit {name}")
}

/// A transport that lets nothing out while another worker may talk for the account, or beyond what all of them together
/// may send.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) below: Arc<dyn Transport>,
    pub(crate) fleet: Fleet,
    pub(crate) limits: Vec<String>,
    pub(crate) beat: Arc<Beat>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) sent: Arc<AtomicU64>,
    /// Set when a request was not sent because the heartbeat was late.
    pub(crate) held: Arc<AtomicBool>,
}

#[async_trait]
impl Transport for Outbound {
    async fn send(&self, request: Request, limits: &Limits) -> Result<Response> {
        loop {
            let asked = Instant::now();
            let granted = self.fleet.take(&self.limits).await?;
            if !self.beat.is_fresh() {
                add(&self.counters.held, 1);
                self.held.store(true, Ordering::Relaxed);
                let text =
                    "this worker was away for so long that another may have taken over; nothing was sent";
                return Err(Error::new(ErrorKind::Conflict, text));
            }
            match granted {
                // Leave that was given long ago has been forgotten by the limit.
                Granted::Now { within } if asked.elapsed() < within => break,
                Granted::Now { .. } => {}
                Granted::After(wait) if wait <= NAP => {
                    add(&self.counters.limited, 1);
                    tokio::time::sleep(wait).await;
                }
                Granted::After(wait) => {
                    add(&self.counters.limited, 1);
                    let text = "a limit of requests that is shared by all workers is used up for now";
                    return Err(Error::new(ErrorKind::RateLimited, text).with_retry_after(wait).exhausted());
                }
            }
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        add(&self.counters.requests, 1);
        self.below.send(request, limits).await
    }
}

/// Whether a request may start.
pub(crate) enum Granted {
    /// Within so long a time after it was asked.
    Now { within: Duration },
    /// Not before so long a time is over.
    After(Duration),
}

/// How long leave to send is good for. Half of what the function in the database reckons with for the shortest limits
/// that can be kept at all, so that clocks need not agree to the millisecond.
const LEAVE: Duration = Duration::from_millis(500);

impl Fleet {
    async fn take(&self, limits: &[String]) -> Result<Granted> {
        let client = self.client().await?;
        let sql =
            "SELECT take($1), (SELECT min(least(1000000, per_us / 10)) FROM limits WHERE name = ANY($1))";
        let statement = client.prepare_cached(sql).await.map_err(|e| self.explain(e))?;
        let row = client.query_one(&statement, &[&limits]).await.map_err(|e| self.explain(e))?;
        let read = |e| self.explain(e);
        let wait: i64 = row.try_get(0).map_err(read)?;
        let within: Option<i64> = row.try_get(1).map_err(read)?;
        if wait > 0 {
            // Many wait for the same; they need not ask in the same instant.
            let spread = fastrand::u64(0..5_000);
            return Ok(Granted::After(Duration::from_micros(wait.unsigned_abs() + spread)));
        }
        let within = within.map_or(LEAVE, |within| Duration::from_micros(within.unsigned_abs()).min(LEAVE));
        Ok(Granted::Now { within })
    }

    /// Writes what the limits are, from now on.
    pub(crate) async fn set_limits(&self, limits: &[SharedLimit]) -> Result<()> {
        let limits = limits.iter().map(|limit| (shared(&limit.name), limit.quota));
        self.set(limits.collect()).await
    }

    /// Writes what a credential may send.
    pub(crate) async fn set_quota(&self, domain: &str, quota: Quota) -> Result<()> {
        self.set(vec![(of_domain(domain), quota)]).await
    }

    async fn set(&self, limits: Vec<(String, Quota)>) -> Result<()> {
        let client = self.client().await?;
        let names: Vec<_> = limits.iter().map(|(name, _)| name).collect();
        let requests: Vec<_> = limits.iter().map(|(_, quota)| i64::from(quota.requests)).collect();
        let spans: Vec<_> = limits.iter().map(|(_, quota)| micros(quota.per)).collect();
        // Parts of another length mean another time, so what was granted is forgotten only with its limit.
        let sql = "WITH new AS (SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS k (name, requests, per_us)), \
                   gone AS (DELETE FROM grants g USING limits l, new n WHERE g.limit_name = l.name AND n.name = l.name \
                            AND n.per_us <> l.per_us) \
                   INSERT INTO limits AS l (name, requests, per_us) SELECT * FROM new ORDER BY name \
                   ON CONFLICT (name) DO UPDATE SET requests = excluded.requests, per_us = excluded.per_us \
                   WHERE (l.requests, l.per_us) <> (excluded.requests, excluded.per_us)";
        client.execute(sql, &[&names, &requests, &spans]).await.map_err(|e| self.explain(e))?;
        Ok(())
    }
}
