//! A source that was built for one check, and how a check reads from it.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use charging_sessions_core::{
    AssetKind, AssetRef, AssetSource, ChargingSession, ChargingSessionSource, ChargingSessionSourceExt as _,
    Cursor, Error, IntervalSource, Result, SessionPage, SessionQuery,
};
use charging_sessions_http::{Policy, Request, RetryBudget, Transport};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{Outcome, Parts, line::Line};

/// The account that is read, whatever the type of its source.
pub(super) struct Account {
    pub(super) build: Box<dyn Fn(Parts) -> Result<Source> + Send + Sync>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) is_sign_in: fn(&Request) -> bool,
    pub(super) records: BTreeSet<String>,
    pub(super) secrets: Vec<String>,
}

/// A source and its further faces.
pub(super) struct Source {
    pub(super) sessions: Arc<dyn ChargingSessionSource>,
    pub(super) intervals: Option<Arc<dyn IntervalSource>>,
    pub(super) assets: Option<Arc<dyn AssetSource>>,
}

/// How often a source may try one request.
pub(super) const ATTEMPTS: u32 = 4;
/// How many requests of a source may be in flight.
pub(super) const IN_FLIGHT: usize = 4;

impl Account {
    /// A source of its own, on a line of its own.
    pub(super) fn open(&self) -> Trial<'_> {
        self.open_with(|policy| policy)
    }

    /// The same, with another policy.
    pub(super) fn open_with(&self, change: impl FnOnce(Policy) -> Policy) -> Trial<'_> {
        let line = Arc::new(Line::new(Arc::clone(&self.transport), self.is_sign_in));
        let policy = Policy::default()
            .with_quota(None)
            .with_max_attempts(ATTEMPTS)
            .with_concurrency(IN_FLIGHT)
            .with_backoff(Duration::from_millis(1))
            .with_max_backoff(Duration::from_millis(2))
            .with_retry_budget(RetryBudget::new(100, 1_000_000));
        let parts = Parts { transport: Arc::clone(&line) as _, policy: change(policy) };
        let source =
            (self.build)(parts).unwrap_or_else(|error| panic!("the source cannot be built: {error}"));
        Trial {
            account: self,
            source: source.sessions,
            intervals: source.intervals,
            assets: source.assets,
            line,
        }
    }
}

/// A source under test and the line that it sends over.
pub(super) struct Trial<'a> {
    pub(super) account: &'a Account,
    pub(super) source: Arc<dyn ChargingSessionSource>,
    pub(super) intervals: Option<Arc<dyn IntervalSource>>,
    pub(super) assets: Option<Arc<dyn AssetSource>>,
    pub(super) line: Arc<Line>,
}

impl Trial<'_> {
    /// All pages, or the first error. A listing that does not end is a failure.
    pub(super) async fn listing(&self, query: SessionQuery) -> Result<Result<Vec<SessionPage>>, String> {
        let what = listing_of(&query);
        self.end(self.source.pages(query), &what).await
    }

    /// The pages of a stream, of which even one that lists each record alone, for each of several assets, has
    /// no more than a few times as many as there are records.
    async fn end(
        &self,
        pages: BoxStream<'_, Result<SessionPage>>,
        what: &str,
    ) -> Result<Result<Vec<SessionPage>>, String> {
        let most = self.account.records.len() * 3 + 10;
        let read: Result<Vec<_>> = pages.take(most + 1).try_collect().await;
        require(read.as_ref().map_or(0, Vec::len) <= most, || {
            format!("{what} does not end within {most} pages")
        })?;
        Ok(read)
    }

    pub(super) async fn read(&self, query: SessionQuery) -> Result<Vec<SessionPage>, String> {
        let what = listing_of(&query);
        self.listing(query).await?.map_err(|error| failed(&what, &error))
    }

    /// What follows `cursor`.
    pub(super) async fn rest(
        &self,
        query: SessionQuery,
        cursor: Cursor,
        what: &str,
    ) -> Result<BTreeSet<String>, String> {
        let pages = self.end(self.source.pages_from(query, cursor), what).await?;
        Ok(pages.map_err(|error| failed(what, &error))?.iter().flat_map(records).collect())
    }

    pub(super) async fn ids(&self, query: SessionQuery) -> Result<BTreeSet<String>, String> {
        Ok(sessions(&self.read(query).await?).map(|session| session.key().source_id.clone()).collect())
    }

    pub(super) async fn everything(&self) -> Result<Vec<ChargingSession>, String> {
        let pages = self.read(SessionQuery::all()).await?;
        Ok(pages.into_iter().flat_map(|page| page.sessions).collect())
    }

    /// Fails unless a listing gives all records of the account.
    pub(super) async fn is_complete(&self, what: &str) -> Outcome {
        let pages = self.read(SessionQuery::all()).await.map_err(|reason| format!("{what}, {reason}"))?;
        same(
            &format!("{what}, the listing"),
            &pages.iter().flat_map(records).collect(),
            &self.account.records,
        )
    }
}

fn listing_of(query: &SessionQuery) -> String {
    format!("the listing {}", serde_json::to_string(query).unwrap_or_default())
}

pub(super) fn failed(what: &str, error: &Error) -> String {
    format!("{what} failed ({}): {error}", error.kind())
}

pub(super) fn sessions(pages: &[SessionPage]) -> impl Iterator<Item = &ChargingSession> {
    pages.iter().flat_map(|page| &page.sessions)
}

/// What identifies the records of a page, mapped or not.
pub(super) fn records(page: &SessionPage) -> impl Iterator<Item = String> {
    let mapped = page.sessions.iter().map(|session| session.key().source_id.clone());
    mapped.chain(page.rejected.iter().filter_map(|record| record.id.clone()))
}

/// The asset of this kind that a session names.
pub(super) fn asset(session: &ChargingSession, kind: AssetKind) -> Option<AssetRef> {
    let id = match kind {
        AssetKind::Vehicle => session.parties.vehicle.as_ref()?.source_id.clone(),
        AssetKind::ChargePoint => session.parties.charge_point.as_ref()?.source_id.clone(),
    }?;
    Some(AssetRef { kind, id })
}

pub(super) fn size(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

pub(super) fn require(condition: bool, reason: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(reason()) }
}

/// A few identifiers of a set, for a message.
fn some<'a>(ids: impl IntoIterator<Item = &'a String>) -> String {
    let ids: Vec<_> = ids.into_iter().collect();
    let shown: Vec<_> = ids.iter().take(3).map(|id| id.as_str()).collect();
    format!("{} ({}{})", ids.len(), shown.join(", "), if ids.len() > 3 { ", …" } else { "" })
}

pub(super) fn same(what: &str, read: &BTreeSet<String>, expected: &BTreeSet<String>) -> Outcome {
    let missing: Vec<_> = expected.difference(read).collect();
    let surplus: Vec<_> = read.difference(expected).collect();
    require(missing.is_empty(), || format!("{what} lacks {}", some(missing.iter().copied())))?;
    require(surplus.is_empty(), || format!("{what} has in surplus {}", some(surplus.iter().copied())))
}
