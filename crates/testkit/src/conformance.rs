//! The promises of [`ChargingSessionSource`], as checks that every adapter runs.
//!
//! A check is a sentence of the contract. [`conformance`] runs all of them and reports every one that fails;
//! what a source does not declare in its [`Capabilities`](charging_sessions_core::Capabilities) is not asked
//! of it, except to refuse it. That each check can fail is proven in this crate's own tests by a source that
//! breaks just that promise.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    num::NonZeroU32,
    sync::Arc,
};

use charging_sessions_core::{
    AssetKind, AssetRef, ChargingSession, ChargingSessionSource, ChargingSessionSourceExt as _, Cursor,
    ErrorKind, IntervalSource, ProviderId, SessionPage, SessionQuery, SessionStatus, TimeWindow,
};
use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};

/// A source and what is known about the account behind it.
pub struct Subject {
    source: Arc<dyn ChargingSessionSource>,
    intervals: Option<Arc<dyn IntervalSource>>,
    records: BTreeSet<String>,
    requests: Box<dyn Fn() -> usize + Send + Sync>,
    secrets: Vec<String>,
}

impl Subject {
    /// A source whose account holds just the records with these identifiers, and a way to count the requests
    /// that its provider has received, token requests included.
    ///
    /// For the checks to bite, the account holds at least three records, two of them finished.
    pub fn new(
        source: Arc<dyn ChargingSessionSource>,
        records: impl IntoIterator<Item = String>,
        requests: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Self {
        Self {
            source,
            intervals: None,
            records: records.into_iter().collect(),
            requests: Box::new(requests),
            secrets: Vec::new(),
        }
    }

    /// The same source, for the checks of intervals.
    #[must_use]
    pub fn with_intervals(mut self, intervals: Arc<dyn IntervalSource>) -> Self {
        self.intervals = Some(intervals);
        self
    }

    /// Texts that must not show anywhere: client secrets, tokens.
    #[must_use]
    pub fn with_secrets<S: Into<String>>(mut self, secrets: impl IntoIterator<Item = S>) -> Self {
        self.secrets = secrets.into_iter().map(Into::into).collect();
        self
    }

    async fn read(&self, query: SessionQuery) -> Result<Vec<SessionPage>, String> {
        let what = format!("{query:?}");
        self.take(self.source.pages(query), &what).await
    }

    /// The pages of a stream, of which even one that lists each record alone, for each of several assets, has
    /// no more than a few times as many as there are records.
    async fn take(
        &self,
        pages: BoxStream<'_, charging_sessions_core::Result<SessionPage>>,
        what: &str,
    ) -> Result<Vec<SessionPage>, String> {
        let most = self.records.len() * 3 + 10;
        let read: Vec<_> =
            pages.take(most + 1).try_collect().await.map_err(|error| format!("{what} failed: {error}"))?;
        require(read.len() <= most, || format!("{what} does not end within {most} pages"))?;
        Ok(read)
    }

    async fn ids(&self, query: SessionQuery) -> Result<BTreeSet<String>, String> {
        Ok(sessions(&self.read(query).await?).map(|session| session.key().source_id.clone()).collect())
    }

    async fn everything(&self) -> Result<Vec<ChargingSession>, String> {
        let pages = self.read(SessionQuery::all()).await?;
        Ok(pages.into_iter().flat_map(|page| page.sessions).collect())
    }
}

/// One promise: its name, and what tests it.
pub struct Check {
    /// The promise, as a sentence.
    pub name: &'static str,
    run: for<'a> fn(&'a Subject) -> BoxFuture<'a, Result<(), String>>,
}

macro_rules! checks {
    ($($function:ident: $name:literal,)*) => {
        /// Every check, in the order in which they run.
        pub const CHECKS: &[Check] =
            &[$(Check { name: $name, run: |subject| Box::pin($function(subject)) },)*];
    };
}

checks! {
    lists_everything: "a listing is complete under every page size",
    respects_the_page_size: "a page holds no more records than the largest page declared",
    resumes_at_every_cursor: "a listing goes on from every stored cursor, and the rest is the same",
    refuses_a_cursor_that_is_not_its_own: "a foreign, outdated, damaged or mismatched cursor is refused before any request",
    refuses_what_it_does_not_declare: "a query beyond the capabilities is refused before any request",
    keeps_the_bounds_of_a_window: "a window includes its first instant and excludes its last",
    tells_finished_from_unfinished: "finished and unfinished sessions are told apart",
    narrows_to_assets: "a query for assets gives the sessions of these assets and no others",
    reports_active_sessions_as_declared: "active sessions are reported if and only if declared",
    keeps_its_keys: "keys are the same in every listing, and carry the provider's name",
    keeps_the_payload: "every session keeps the bytes it was mapped from",
    gives_intervals_as_declared: "intervals can be read, oldest first, if and only if declared",
    hides_its_secrets: "no secret shows in the source, its cursors or its errors",
}

/// Runs every check and gives the names and reasons of those that failed.
pub async fn failures(subject: &Subject) -> BTreeMap<&'static str, String> {
    let mut failures = BTreeMap::new();
    for check in CHECKS {
        if let Err(reason) = (check.run)(subject).await {
            failures.insert(check.name, reason);
        }
    }
    failures
}

/// Runs every check.
///
/// # Panics
///
/// If one fails, with the sentences that do not hold and why.
pub async fn conformance(subject: &Subject) {
    let failures = failures(subject).await;
    let mut report = String::new();
    for (name, reason) in &failures {
        let _ = write!(report, "\n- {name}: {reason}");
    }
    assert!(failures.is_empty(), "{} does not keep the contract:{report}", subject.source.provider());
}

fn sessions(pages: &[SessionPage]) -> impl Iterator<Item = &ChargingSession> {
    pages.iter().flat_map(|page| &page.sessions)
}

/// What identifies the records of a page, mapped or not.
fn records(page: &SessionPage) -> impl Iterator<Item = String> {
    let mapped = page.sessions.iter().map(|session| session.key().source_id.clone());
    mapped.chain(page.rejected.iter().filter_map(|record| record.id.clone()))
}

fn size(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

fn require(condition: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(reason()) }
}

/// A few identifiers of a set, for a message.
fn some<'a>(ids: impl IntoIterator<Item = &'a String>) -> String {
    let ids: Vec<_> = ids.into_iter().collect();
    let shown: Vec<_> = ids.iter().take(3).map(|id| id.as_str()).collect();
    format!("{} ({}{})", ids.len(), shown.join(", "), if ids.len() > 3 { ", …" } else { "" })
}

fn same(what: &str, read: &BTreeSet<String>, expected: &BTreeSet<String>) -> Result<(), String> {
    let missing: Vec<_> = expected.difference(read).collect();
    let surplus: Vec<_> = read.difference(expected).collect();
    require(missing.is_empty(), || format!("{what} lacks {}", some(missing.iter().copied())))?;
    require(surplus.is_empty(), || format!("{what} has in surplus {}", some(surplus.iter().copied())))
}

async fn lists_everything(subject: &Subject) -> Result<(), String> {
    let largest = subject.source.capabilities().max_page_size.unwrap_or(100);
    for n in [1, 7.min(largest), largest] {
        let pages = subject.read(SessionQuery::all().with_page_size(size(n))).await?;
        let read = pages.iter().flat_map(records).collect();
        same(&format!("the listing in pages of {n}"), &read, &subject.records)?;
    }
    Ok(())
}

async fn respects_the_page_size(subject: &Subject) -> Result<(), String> {
    let Some(largest) = subject.source.capabilities().max_page_size else { return Ok(()) };
    let wanted = SessionQuery::all().with_page_size(size(u32::MAX));
    for page in subject.read(wanted).await? {
        let n = page.sessions.len() + page.rejected.len();
        require(n <= largest as usize, || format!("a page has {n} records, {largest} are declared"))?;
    }
    Ok(())
}

async fn resumes_at_every_cursor(subject: &Subject) -> Result<(), String> {
    let third = u32::try_from(subject.records.len().div_ceil(3)).unwrap_or(u32::MAX);
    let query = SessionQuery::all().with_page_size(size(third));
    let pages = subject.read(query.clone()).await?;
    require(pages.len() >= 2 || subject.source.capabilities().max_page_size.is_none(), || {
        format!("pages of {third} were asked for, and all {} records came in one", subject.records.len())
    })?;
    for (at, page) in pages.iter().enumerate() {
        let Some(next) = &page.next else { continue };
        let stored = serde_json::to_string(next).map_err(|error| error.to_string())?;
        let cursor: Cursor = serde_json::from_str(&stored).map_err(|error| error.to_string())?;
        let rest = subject.source.pages_from(query.clone(), cursor);
        let rest = subject.take(rest, &format!("going on after page {at}")).await?;
        let expected = pages[at + 1..].iter().flat_map(records).collect();
        same(&format!("what follows page {at}"), &rest.iter().flat_map(records).collect(), &expected)?;
    }
    Ok(())
}

async fn refuses_a_cursor_that_is_not_its_own(subject: &Subject) -> Result<(), String> {
    let source = &subject.source;
    let all = SessionQuery::all();
    let mut cursors = vec![
        ("a foreign cursor", all.clone(), Cursor::encode(ProviderId::new("someone-else"), 1, &all, &"x")),
        ("an outdated cursor", all.clone(), Cursor::encode(source.provider(), 0, &all, &"x")),
        ("garbage", all.clone(), Cursor::from("garbage")),
        ("an empty cursor", all.clone(), Cursor::from("")),
    ];
    let pages = subject.read(all.clone().with_page_size(size(1))).await?;
    if let Some(own) = pages.first().and_then(|page| page.next.clone()) {
        let damaged = own.as_str()[..own.as_str().len() - 1].to_owned();
        cursors.push(("a damaged cursor", all, Cursor::from(damaged.as_str())));
        // Only a query that the source accepts shows that it looks at the cursor.
        if source.capabilities().window {
            let window =
                TimeWindow::new(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1));
            cursors.extend(window.map(|w| ("a cursor of another query", SessionQuery::started_in(w), own)));
        }
    }
    for (what, query, cursor) in cursors {
        let before = (subject.requests)();
        let kind = source.fetch_page(&query, Some(&cursor)).await.err().map(|error| error.kind());
        require(kind == Some(ErrorKind::InvalidCursor), || format!("{what} gave {kind:?}"))?;
        require((subject.requests)() == before, || format!("{what} was refused only after a request"))?;
    }
    Ok(())
}

async fn refuses_what_it_does_not_declare(subject: &Subject) -> Result<(), String> {
    let source = &subject.source;
    let capabilities = source.capabilities();
    let instant = Timestamp::UNIX_EPOCH;
    let mut queries = Vec::new();
    if !capabilities.window {
        queries.extend(
            TimeWindow::new(instant, instant + SignedDuration::from_secs(1)).map(SessionQuery::started_in),
        );
    }
    if !capabilities.updated_since {
        queries.push(SessionQuery::changed_since(instant));
    }
    if !capabilities.finished {
        queries.push(SessionQuery::all().with_finished(true));
    }
    for asset in [AssetRef::vehicle("v"), AssetRef::charge_point("c")] {
        if !capabilities.assets.contains(&asset.kind) {
            queries.push(SessionQuery::all().with_asset(asset));
        }
    }
    for query in queries {
        let before = (subject.requests)();
        let kind = source.fetch_page(&query, None).await.err().map(|error| error.kind());
        require(kind == Some(ErrorKind::Unsupported), || format!("{query:?} gave {kind:?}"))?;
        require((subject.requests)() == before, || format!("{query:?} was refused only after a request"))?;
    }
    Ok(())
}

async fn keeps_the_bounds_of_a_window(subject: &Subject) -> Result<(), String> {
    if !subject.source.capabilities().window {
        return Ok(());
    }
    let mut starts: Vec<_> =
        subject.everything().await?.iter().filter_map(|session| session.timing.period.start).collect();
    starts.sort();
    starts.dedup();
    let everything = subject.everything().await?;
    let expected = |window: TimeWindow| -> BTreeSet<String> {
        let inside = |s: &&ChargingSession| s.timing.period.start.is_some_and(|start| window.contains(start));
        everything.iter().filter(inside).map(|s| s.key().source_id.clone()).collect()
    };
    // The second, the middle and the last start, each as first instant and as end of a window.
    let picks = [starts.get(1), starts.get(starts.len() / 2), starts.last()];
    let day = SignedDuration::from_hours(24);
    for at in picks.into_iter().flatten().copied() {
        let windows = [
            (at, at + SignedDuration::from_nanos(1)),
            (at, at + day),
            (at - day, at),
            (at + SignedDuration::from_nanos(1), at + day),
        ];
        for (from, until) in windows {
            let Some(window) = TimeWindow::new(from, until) else { continue };
            let read: BTreeSet<_> = sessions(&subject.read(SessionQuery::started_in(window)).await?)
                // A session without a start cannot be placed, and may come with any window.
                .filter(|session| session.timing.period.start.is_some())
                .map(|session| session.key().source_id.clone())
                .collect();
            same(&format!("the window {window}"), &read, &expected(window))?;
        }
    }
    Ok(())
}

async fn tells_finished_from_unfinished(subject: &Subject) -> Result<(), String> {
    if !subject.source.capabilities().finished {
        return Ok(());
    }
    let everything = subject.everything().await?;
    for finished in [true, false] {
        let expected = everything
            .iter()
            .filter(|session| (session.state.status != SessionStatus::Active) == finished)
            .map(|session| session.key().source_id.clone())
            .collect();
        let read = subject.ids(SessionQuery::all().with_finished(finished)).await?;
        same(&format!("the listing with finished = {finished}"), &read, &expected)?;
    }
    Ok(())
}

async fn narrows_to_assets(subject: &Subject) -> Result<(), String> {
    let kinds = subject.source.capabilities().assets;
    let everything = subject.everything().await?;
    for kind in kinds {
        let mut by_asset = BTreeMap::<String, BTreeSet<String>>::new();
        for session in &everything {
            if let Some(asset) = asset(session, *kind) {
                by_asset.entry(asset).or_default().insert(session.key().source_id.clone());
            }
        }
        require(!by_asset.is_empty(), || {
            format!("no session names its {kind:?}, so this cannot be checked")
        })?;
        let mut both = (SessionQuery::all(), BTreeSet::new());
        for (id, expected) in by_asset.into_iter().take(2) {
            let asset = AssetRef { kind: *kind, id };
            let read = subject.ids(SessionQuery::all().with_asset(asset.clone())).await?;
            same(&format!("the listing of {asset}"), &read, &expected)?;
            both.0 = both.0.with_asset(asset);
            both.1.extend(expected);
        }
        // Small pages, so that the walk from one asset to the next happens in the middle of a listing.
        let read = subject.ids(both.0.with_page_size(size(2))).await?;
        same("the listing of two assets", &read, &both.1)?;
    }
    Ok(())
}

fn asset(session: &ChargingSession, kind: AssetKind) -> Option<String> {
    match kind {
        AssetKind::Vehicle => session.parties.vehicle.as_ref()?.source_id.clone(),
        AssetKind::ChargePoint => session.parties.charge_point.as_ref()?.source_id.clone(),
    }
}

async fn reports_active_sessions_as_declared(subject: &Subject) -> Result<(), String> {
    let declared = subject.source.capabilities().active_sessions;
    let active = subject.everything().await?.iter().any(|s| s.state.status == SessionStatus::Active);
    require(active == declared, || format!("declared: {declared}, seen: {active}"))
}

async fn keeps_its_keys(subject: &Subject) -> Result<(), String> {
    let keys = |sessions: Vec<ChargingSession>| -> BTreeSet<_> {
        sessions.into_iter().map(|session| session.identity.key).collect()
    };
    let first = keys(subject.everything().await?);
    let second = keys(subject.everything().await?);
    let provider = subject.source.provider();
    require(first == second, || "two listings gave different keys".into())?;
    require(first.iter().all(|key| key.provider == provider), || "a key names another provider".into())?;
    require(first.len() <= subject.records.len(), || {
        format!("{} keys for {} records", first.len(), subject.records.len())
    })
}

async fn keeps_the_payload(subject: &Subject) -> Result<(), String> {
    for session in subject.everything().await? {
        let kept = session.provenance.payload.as_ref().is_some_and(|payload| !payload.is_empty());
        require(kept, || format!("{} has no payload", session.key()))?;
    }
    Ok(())
}

async fn gives_intervals_as_declared(subject: &Subject) -> Result<(), String> {
    let declared = subject.source.capabilities().intervals;
    require(declared == subject.intervals.is_some(), || {
        format!("declared: {declared}, an interval source was given: {}", subject.intervals.is_some())
    })?;
    let Some(source) = &subject.intervals else { return Ok(()) };
    let mut read = 0;
    for session in subject.everything().await?.iter().take(10) {
        let answer = source.fetch_intervals(session.key()).await;
        let answer = answer.map_err(|error| format!("intervals of {}: {error}", session.key()))?;
        read += answer.intervals.len();
        let starts: Vec<_> = answer.intervals.iter().map(|interval| interval.start).collect();
        require(starts.is_sorted(), || format!("the intervals of {} are out of order", session.key()))?;
    }
    require(read > 0, || "ten sessions have no interval between them".into())
}

async fn hides_its_secrets(subject: &Subject) -> Result<(), String> {
    let source = &subject.source;
    let pages = subject.read(SessionQuery::all().with_page_size(size(1))).await?;
    let cursor = pages.first().and_then(|page| page.next.clone());
    let error = source.fetch_page(&SessionQuery::all(), Some(&Cursor::from("garbage"))).await.err();
    let shown = format!("{source:?} {source:#?} {cursor:?} {error:?} {pages:?}");
    let shown = shown + &error.map(|error| error.to_string()).unwrap_or_default();
    for secret in &subject.secrets {
        require(!shown.contains(secret.as_str()), || "a secret shows".into())?;
    }
    Ok(())
}
