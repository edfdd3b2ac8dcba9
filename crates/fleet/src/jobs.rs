//! Jobs of the queue: taking those that are due, doing several at a time, and ending them.
//!
//! The tables are those of `graphile_worker`, and so is how jobs are made. They are taken by a statement of ours, because
//! its own locks every queue that is free to take one job, and others find nothing meanwhile.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use charging_sessions_core::Result;
use deadpool_postgres::Transaction;
use futures_util::FutureExt as _;
use tokio::task::{JoinError, JoinSet};
use tracing::{Instrument as _, info_span, warn};

use crate::{Fleet, TASK, crew::Shared};

/// How often the queue is looked at by who could do more.
const POLL: Duration = Duration::from_millis(250);
/// How long jobs may take to end when the worker is to end.
const GRACE: Duration = Duration::from_secs(8);
/// How long it may then take to let go of one that did not.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A job that is ours, until it has ended or was given to another because we were held to be dead.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: i64,
    /// By what it is locked.
    lock_id: String,
    /// The account to read.
    pub(crate) account: String,
}

impl Fleet {
    /// Takes up to `most` jobs that are due, the longest waiting first, each of another queue. Both are ours afterwards.
    /// There may be more unless there is none.
    pub(crate) async fn take_jobs(&self, lock_id: &str, most: usize) -> Result<Vec<Job>> {
        let client = self.client().await?;
        let jobs = &self.jobs;
        // Only what is taken is locked, whichever way the server goes about it, so that nobody waits and nobody finds
        // less than there is. Of two jobs of one queue, the second stays where it is.
        let sql = format!(
            "WITH due AS ( \
               SELECT j.id, j.job_queue_id, j.priority, j.run_at FROM {jobs}._private_jobs j \
               JOIN {jobs}._private_job_queues q ON q.id = j.job_queue_id \
               WHERE j.is_available AND j.run_at <= now() AND q.is_available \
               AND j.task_id = (SELECT id FROM {jobs}._private_tasks WHERE identifier = $3) \
               ORDER BY j.priority, j.run_at LIMIT $2 FOR UPDATE OF j, q SKIP LOCKED \
             ), first AS ( \
               SELECT DISTINCT ON (job_queue_id) id, job_queue_id FROM due ORDER BY job_queue_id, priority, run_at, id \
             ), queues AS ( \
               UPDATE {jobs}._private_job_queues q SET locked_by = $1, locked_at = now() FROM first \
               WHERE q.id = first.job_queue_id \
             ) \
             UPDATE {jobs}._private_jobs j SET attempts = j.attempts + 1, locked_by = $1, locked_at = now() FROM first \
             WHERE j.id = first.id RETURNING j.id, coalesce(j.payload->>'account', '')"
        );
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let taken = async {
            let statement = client.prepare_cached(&sql).await?;
            let rows = client.query(&statement, &[&lock_id, &most, &TASK]).await?;
            let job = |row: &tokio_postgres::Row| {
                Ok(Job { id: row.try_get(0)?, lock_id: lock_id.to_owned(), account: row.try_get(1)? })
            };
            rows.iter().map(job).collect::<Result<Vec<_>, tokio_postgres::Error>>()
        };
        taken.await.map_err(|error| self.explain(error))
    }

    /// Ends a job and lets go of its queue, for when the transaction ends. `false` if it is not ours any more.
    pub(crate) async fn end_job(
        &self,
        t: &Transaction<'_>,
        job: &Job,
    ) -> Result<bool, tokio_postgres::Error> {
        let jobs = &self.jobs;
        let sql = format!(
            "WITH ended AS (DELETE FROM {jobs}._private_jobs WHERE id = $1 AND locked_by = $2 RETURNING job_queue_id), \
             queue AS (UPDATE {jobs}._private_job_queues q SET locked_by = NULL, locked_at = NULL FROM ended \
                       WHERE q.id = ended.job_queue_id AND q.locked_by = $2) \
             SELECT FROM ended"
        );
        let statement = t.prepare_cached(&sql).await?;
        Ok(t.query_opt(&statement, &[&job.id, &job.lock_id]).await?.is_some())
    }

    /// Lets go of a job that could not be done. It is due again after a pause that doubles, up to a minute.
    async fn put_back(&self, job: &Job, why: &str) -> Result<()> {
        let client = self.client().await?;
        let jobs = &self.jobs;
        let sql = format!(
            "WITH back AS (UPDATE {jobs}._private_jobs SET locked_by = NULL, locked_at = NULL, last_error = $3, \
                           run_at = now() + least(60, 2 ^ attempts) * interval '1 second' \
                           WHERE id = $1 AND locked_by = $2 RETURNING job_queue_id) \
             UPDATE {jobs}._private_job_queues q SET locked_by = NULL, locked_at = NULL FROM back \
             WHERE q.id = back.job_queue_id AND q.locked_by = $2"
        );
        client.execute(&sql, &[&job.id, &job.lock_id, &why]).await.map_err(|error| self.explain(error))?;
        Ok(())
    }
}

/// Does jobs until they are to end, and gives those that are going on some time to. The next is taken as soon as there
/// is room for it.
///
/// # Errors
///
/// If the queue cannot be used. Jobs are to end then, too.
pub(crate) async fn work(shared: &Arc<Shared>) -> Result<()> {
    let most = shared.settings.concurrency.max(1);
    let mut running = JoinSet::new();
    let mut worked = Ok(());
    while worked.is_ok() && !shared.over.is_cancelled() {
        let taken = match shared.fleet.take_jobs(&shared.lock_id, most - running.len()).await {
            Ok(taken) => taken,
            Err(error) => {
                worked = Err(error);
                break;
            }
        };
        let is_idle = taken.is_empty();
        for job in taken {
            running.spawn(one(Arc::clone(shared), job));
        }
        let is_full = running.len() >= most;
        if !is_idle && !is_full {
            continue;
        }
        tokio::select! {
            () = shared.over.cancelled() => {}
            Some(ended) = running.join_next() => {
                worked = outcome(ended);
                // Those that have ended with it are followed by one look at the queue.
                while let Some(ended) = running.try_join_next() {
                    worked = worked.and(outcome(ended));
                }
            }
            () = tokio::time::sleep(POLL), if !is_full => {}
        }
    }
    shared.over.cancel();
    while let Some(ended) = running.join_next().await {
        worked = worked.and(outcome(ended));
    }
    worked
}

/// Of a task. One that is neither aborted nor lets a panic out has an outcome.
fn outcome(ended: std::result::Result<Result<()>, JoinError>) -> Result<()> {
    ended.unwrap_or_else(|error| {
        warn!(%error, "a job was broken off");
        Ok(())
    })
}

async fn one(shared: Arc<Shared>, job: Job) -> Result<()> {
    let domain = shared.entries.get(&job.account).map_or("", |entry| entry.domain.as_str());
    let span = info_span!("job", id = job.id, account = job.account, domain, worker = shared.id);
    async {
        // A mistake in this program that one account brings to light is no reason to leave the others.
        let done = AssertUnwindSafe(shared.run(&job)).catch_unwind();
        let over = async {
            shared.over.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let why = tokio::select! {
            done = done => match done {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "this program has a mistake, of which its log tells more; please report it".to_owned(),
            },
            () = over => "the worker ended before the job did".to_owned(),
        };
        warn!(why, "the job was not done");
        let put_back = shared.fleet.put_back(&job, &why);
        match shared.over.is_cancelled() {
            false => put_back.await,
            // If that is too late, it is given to others once this worker is not among them any more.
            true => tokio::time::timeout(LAST_WORD, put_back).await.unwrap_or(Ok(())),
        }
    }
    .instrument(span)
    .await
}
