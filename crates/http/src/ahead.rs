//! Requests that are sent before they are asked for, so that a long list does not cost a round trip for each page.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use charging_sessions_core::Result;
use tokio::{task::JoinHandle, time::Instant};

use crate::{Answer, Request, lock, pipeline::Failure};

/// How old an answer may be that is taken in place of a new one. An abandoned listing stands in the way of others for
/// as long.
const FRESH: Duration = Duration::from_secs(30);
/// The largest answers that others may be waiting behind: what was not asked for is kept in memory.
const LARGEST: usize = 1 << 20;

/// The requests of one account that were sent ahead.
pub(crate) struct Ahead {
    most: usize,
    sent: Mutex<Vec<Sent>>,
    /// The size of the latest answer.
    size: AtomicUsize,
}

struct Sent {
    listing: String,
    request: Request,
    attempt: Early,
}

/// An attempt that began before it was asked for. Given up when dropped.
pub(crate) struct Early {
    began: Instant,
    task: JoinHandle<(Result<Answer, Failure>, Instant)>,
}

impl Ahead {
    /// At most `most` at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, sent: Mutex::default(), size: AtomicUsize::new(0) }
    }

    /// Sends those of `requests` that were not sent yet, as many as there is room for, and gives up what was sent for
    /// `listing` and is not among them.
    pub(crate) fn expect<F>(
        &self,
        listing: &str,
        requests: impl Iterator<Item = Request>,
        mut attempt: impl FnMut(Request) -> F,
    ) where
        F: Future<Output = Result<Answer, Failure>> + Send + 'static,
    {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let few = if self.size.load(Ordering::Relaxed) > LARGEST { 0 } else { self.most };
        let mut wanted: Vec<_> = requests.take(few).collect();
        let mut sent = lock(&self.sent);
        sent.retain(|sent| {
            let place = wanted.iter().position(|wanted| is_same(wanted, &sent.request));
            place.map(|place| wanted.remove(place));
            sent.attempt.is_fresh() && (place.is_some() || sent.listing != listing)
        });
        let room = self.most.saturating_sub(sent.len());
        for request in wanted.into_iter().take(room) {
            let attempt = attempt(request.clone());
            let task = runtime.spawn(async move { (attempt.await, Instant::now()) });
            let attempt = Early { began: Instant::now(), task };
            sent.push(Sent { listing: listing.to_owned(), request, attempt });
        }
    }

    /// The attempt that was made of this request already.
    pub(crate) fn take(&self, request: &Request) -> Option<Early> {
        let mut sent = lock(&self.sent);
        let place = sent.iter().position(|sent| is_same(&sent.request, request))?;
        Some(sent.swap_remove(place).attempt).filter(Early::is_fresh)
    }

    /// Takes note of an answer.
    pub(crate) fn learn(&self, answer: &Answer) {
        self.size.store(answer.body.len(), Ordering::Relaxed);
    }
}

fn is_same(one: &Request, other: &Request) -> bool {
    one.uri() == other.uri() && one.method() == other.method() && one.headers() == other.headers()
}

impl Early {
    fn is_fresh(&self) -> bool {
        self.began.elapsed() < FRESH
    }

    /// What the attempt came to; nothing if it was given up. What it was asked to wait for counts from when it ended.
    pub(crate) async fn end(mut self) -> Option<Result<Answer, Failure>> {
        let (result, at) = (&mut self.task).await.ok()?;
        Some(result.map_err(|Failure { error, again }| {
            let left = error.retry_after().map(|wait| wait.saturating_sub(at.elapsed()));
            let error = match left {
                Some(left) => error.with_retry_after(left),
                None => error,
            };
            Failure { error, again }
        }))
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.task.abort();
    }
}
