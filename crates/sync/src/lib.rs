//! Incremental, resumable sync of a [source](ChargingSessionSource) of charging sessions into a
//! [store](SessionStore).
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use charging_sessions_core::{ChargingSessionSource, RecordKind, Result};
//! # use charging_sessions_store::{Account, SessionStore};
//! # async fn example(source: Arc<dyn ChargingSessionSource>, store: Arc<dyn SessionStore>) -> Result<()> {
//! use charging_sessions_sync::AccountSync;
//!
//! let account = Account { provider: source.provider(), account: "home".parse().expect("a name") };
//! let sync = AccountSync::new(source, store, account, &[RecordKind::Segment]);
//! let report = sync.run().await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```
//!
//! # What a run reads
//!
//! An account is read in [slices](Slice). Which, follows from what the source
//! [can do](charging_sessions_core::Capabilities):
//!
//! | the source | slices of a run | requests, next to one sign-in |
//! |---|---|---|
//! | can be asked for changes | all of the account once, then what has changed since | pages of changes |
//! | can be asked for windows | windows that are not settled | ∑ over the windows of max(1, ⌈records ÷ page⌉) |
//! | the same, asset by asset | such windows of each asset | pages of the list of assets + ∑ over the assets of the above |
//! | neither | all of the account | max(1, ⌈records ÷ page⌉) |
//!
//! Records are those that the provider lists, which may be more than the window holds. A source that walks its assets
//! itself has to ask for their list in each slice.
//!
//! A window is settled when its last reading began at least the look-back after its end, and none of the sessions
//! that start in it is still active. So a run reads ⌈until ÷ length⌉ − ⌊(began − look-back) ÷ length⌋ windows, and
//! those of older sessions that are active, where `began` is when the run before began: with the defaults, and a run
//! every day, one window of 30 days, or two around a border. Windows begin at multiples of their length since 1970,
//! whatever [`since`](AccountSync::since) and [`until`](AccountSync::until) are, so that what several runs have read
//! fits together. The newest are read first.
//!
//! Without [`since`](AccountSync::since), what happened before the first run is read as one slice without a window.
//! That is the least number of requests.
//!
//! # What a run promises
//!
//! Pages are written in order and together with the place after them: each as it comes, or, where they come faster
//! than they are written, those that have come meanwhile, up to ten at once. A run that is stopped, killed or dropped
//! at any moment loses at most the reading of the pages in hand, and the next one goes on from there. After an error,
//! all that came before it is written. A slice counts as read when
//! its listing has ended; where the provider says [how many records](charging_sessions_core::SessionPage::total)
//! there are, only if so many came. If not, it is read once more; and if they still are not all there, the run says
//! so, and the next one reads the slice again. Of a listing that was resumed only a part is counted, so it is read
//! once more, too. What is not listed any more has vanished, which is a revision in the store; nothing is deleted.
//! Listings of changes cannot tell: there, only a [full](AccountSync::full) run sees it.

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

use std::{
    collections::HashSet,
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use charging_sessions_core::{
    AssetRef, AssetSource, AssetSourceExt as _, Capabilities, ChargingSession, ChargingSessionSource, Error,
    ErrorKind, RecordKind, Result, SessionStatus,
};
use charging_sessions_store::{Account, Coverage, Filter, Lease, Rows, SessionStore, Slice};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

mod listing;
mod plan;
pub mod relations;
mod report;
mod waiting;

pub use report::{Counts, Event, Failure, Report};
pub use tokio_util::sync::CancellationToken;

use plan::{Plan, Windows};
use report::count;
use waiting::Desk;

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How many slices in a row fail for a cause that may pass, until the rest is left for another run.
const FAILURES_IN_A_ROW: usize = 3;

/// Brings what a store knows of one account up to date.
///
/// It may be run again and again; each [`run`](Self::run) goes on where the one before ended.
#[derive(Clone)]
pub struct AccountSync {
    source: Arc<dyn ChargingSessionSource>,
    store: Arc<dyn SessionStore>,
    account: Account,
    kinds: Vec<RecordKind>,
    assets: Option<Arc<dyn AssetSource>>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    look_back: Option<SignedDuration>,
    window: SignedDuration,
    concurrency: NonZeroUsize,
    full: bool,
    dry_run: bool,
    most_pages: Option<u64>,
    most_time: Option<SignedDuration>,
    continued: Option<Timestamp>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    stop: CancellationToken,
    observer: Arc<dyn Fn(&Event<'_>) + Send + Sync>,
    requests: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
}

impl AccountSync {
    /// The sync of `account` from `source`, whose records have to carry that account, into `store`.
    ///
    /// `kinds` are those that the source lists as a whole: what is of such a kind, and is not listed, has vanished.
    /// They have to be named, because they cannot be learnt from a page, which may be empty or hold parts of what it
    /// lists. ev.energy lists [segments](RecordKind::Segment), or plug-ins if asked for those, with some of their
    /// segments as parts; evcc and Podero list plug-ins; DER-Connect charges.
    pub fn new(
        source: Arc<dyn ChargingSessionSource>,
        store: Arc<dyn SessionStore>,
        account: Account,
        kinds: &[RecordKind],
    ) -> Self {
        let mut kinds = kinds.to_vec();
        kinds.sort();
        kinds.dedup();
        Self {
            source,
            store,
            account,
            kinds,
            assets: None,
            since: None,
            until: None,
            look_back: None,
            window: DAY * 30,
            concurrency: NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN),
            full: false,
            dry_run: false,
            most_pages: None,
            most_time: None,
            continued: None,
            clock: Arc::new(Timestamp::now),
            stop: CancellationToken::new(),
            observer: Arc::new(|_| {}),
            requests: None,
        }
    }

    /// Reads asset by asset, of those that `assets` lists, if the source can. One that cannot be read does then not
    /// stop the others.
    #[must_use]
    pub fn assets(mut self, assets: Arc<dyn AssetSource>) -> Self {
        self.assets = Some(assets);
        self
    }

    /// Where the history begins, for sources that can be asked for windows. The window that holds this instant is
    /// read as a whole. Without a call, all that the source gives is read at first, as one slice.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// Until where sessions are read, for sources that can be asked for windows. A window that begins before this
    /// instant is read as a whole. A day from now without a call, because clocks differ.
    #[must_use]
    pub fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// How long after its end a window is read again. What the source's capabilities propose without a call; 7 days
    /// if they propose nothing.
    #[must_use]
    pub fn look_back(mut self, length: SignedDuration) -> Self {
        self.look_back = Some(length.max(SignedDuration::ZERO));
        self
    }

    /// How long a window is, at least an hour, in whole seconds. 30 days without a call: a vehicle is plugged in once
    /// a day or less, so that a window of one asset is one page with every provider known, and within a page nothing
    /// can move. An account with many assets that are listed together wants fewer days.
    #[must_use]
    pub fn window(mut self, length: SignedDuration) -> Self {
        self.window = length.max(SignedDuration::from_hours(1));
        self
    }

    /// How many slices are read at the same time; as many more may wait to be written. 4 without a call. How fast the
    /// provider is asked is limited by the source, not here.
    #[must_use]
    pub fn concurrency(mut self, slices: NonZeroUsize) -> Self {
        self.concurrency = slices;
        self
    }

    /// Reads again what is settled, too. A slice in which an earlier run was interrupted is read on from there.
    #[must_use]
    pub fn full(mut self, full: bool) -> Self {
        self.full = full;
        self
    }

    /// Reads and compares, and writes nothing. What an earlier run was interrupted in is read from its start.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Ends a run once it has written so many pages, for whoever shares out long work piece by piece. The report then
    /// says that there is [more](Report::more), and the next run goes on from there. No limit without a call.
    ///
    /// A listing of which the provider says how many records there are is read to its end all the same, because only
    /// a listing that was read in one piece can be proven to be whole; so is one page, whatever the limit. Each page is
    /// written before the next is asked for, so that a run which is killed has read one in vain.
    #[must_use]
    pub fn most_pages(mut self, pages: u64) -> Self {
        self.most_pages = Some(pages.max(1));
        self
    }

    /// As [`most_pages`](Self::most_pages), once a run has gone on for so long.
    #[must_use]
    pub fn most_time(mut self, time: SignedDuration) -> Self {
        self.most_time = Some(time);
        self
    }

    /// Goes on with what runs with a [limit](Self::most_pages) have done since this instant, which is when the first of
    /// them began: what was read as a whole since then is not read again. Without a call, a run reads all that is not
    /// settled, and one with a limit would come to the same newest windows again and again.
    #[must_use]
    pub fn continued(mut self, since: Timestamp) -> Self {
        self.continued = Some(since);
        self
    }

    /// Where the time comes from. The system without a call.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Stops a run: pages that have come are written, those that are waited for are given up.
    #[must_use]
    pub fn stop(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// Who is told what happens. Must not block.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Counts the requests that were made so far, for the report.
    #[must_use]
    pub fn requests(mut self, requests: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.requests = Some(Arc::new(requests));
        self
    }

    /// Reads what has to be read, and writes it. How it went is also in the [log](SessionStore::log_run) of the store.
    ///
    /// A slice that fails does not stop the others; it is among the [failures](Report::failures). Of an asset that is
    /// not found or may not be read, the other slices are left. A provider that asks to come back later, or fails three
    /// times in a row for a cause that may pass, ends the run without an error, and the report says so.
    ///
    /// It needs a Tokio runtime, whose threads make records [ready](SessionStore::prepare) to be written.
    ///
    /// # Errors
    ///
    /// What makes all further reading useless, after what is in hand was written:
    ///
    /// - [`ErrorKind::Unauthenticated`] if the credentials were refused;
    /// - [`ErrorKind::Conflict`] if another run is writing to the account, or has taken over;
    /// - [`ErrorKind::Storage`] if the store cannot be used;
    /// - [`ErrorKind::Config`] if the source is of another provider or account, or cannot be used as it is configured.
    pub async fn run(&self) -> Result<Report> {
        let provider = self.source.provider();
        if provider != self.account.provider {
            let message = format!("the source is of {provider}, the account of {}", self.account.provider);
            return Err(Error::new(ErrorKind::Config, message));
        }
        let now = self.now();
        let lease = if self.dry_run { None } else { Some(self.store.begin(&self.account, now).await?) };
        let requests_before = self.requests.as_ref().map(|count| count());
        let mut run = Run {
            sync: self,
            lease,
            halt: self.stop.child_token(),
            capabilities: self.source.capabilities(),
            coverage: self.store.coverage(&self.account).await?,
            pages_read: AtomicU64::new(0),
            failures_in_a_row: AtomicUsize::new(0),
            desk: Desk::new(self.concurrency),
            refused: Mutex::default(),
            report: Mutex::new(Report::begin(self.account.clone(), now, self.dry_run)),
        };
        let result = run.all(now).await;
        let report = run.report.get_mut().unwrap_or_else(PoisonError::into_inner);
        report.ended_at = self.now();
        let requests = self.requests.as_ref().map(|count| count());
        report.requests = requests.zip(requests_before).map(|(after, before)| after.saturating_sub(before));
        if let Some(lease) = &run.lease {
            let logged = self.store.log_run(&**lease, &report.to_log(&result)).await;
            // The first error is the cause of the second.
            result.and(logged)?;
        } else {
            result?;
        }
        Ok(run.report.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it has a limit, and others go on with what is left.
    fn is_piece(&self) -> bool {
        self.most_pages.is_some() || self.most_time.is_some()
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

impl fmt::Debug for AccountSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountSync")
            .field("account", &self.account)
            .field("kinds", &self.kinds)
            .field("source", &self.source)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// A run that is going on.
struct Run<'a> {
    sync: &'a AccountSync,
    /// `None` in a dry run.
    lease: Option<Box<dyn Lease>>,
    /// Set by the user, or by an error that concerns all slices.
    halt: CancellationToken,
    capabilities: Capabilities,
    coverage: Vec<Coverage>,
    /// Some of them may still wait to be written.
    pages_read: AtomicU64,
    failures_in_a_row: AtomicUsize,
    desk: Desk,
    /// What the provider does not know or does not give: not worth more requests.
    refused: Mutex<HashSet<Option<AssetRef>>>,
    report: Mutex<Report>,
}

impl Run<'_> {
    async fn all(&self, now: Timestamp) -> Result<()> {
        let Some(assets) = self.assets().await? else { return Ok(()) };
        let mut plan = self.plan(&assets, now).await?;
        self.leave_out_read(&mut plan);
        let planned = u64::try_from(plan.slices.len()).unwrap_or(u64::MAX);
        self.report().slices_skipped = plan.skipped;
        self.tell(&Event::Planned { slices: planned, skipped: plan.skipped });
        let reads = plan.slices.into_iter().map(|slice| self.slice(slice));
        // As many more as are read may have come to their ends, and wait to be written; in a piece of work, where pages
        // are written as they come, none does.
        let most = self.sync.concurrency.get().saturating_mul(if self.sync.is_piece() { 1 } else { 2 });
        let results: Vec<_> = stream::iter(reads).buffer_unordered(most).collect().await;
        let mut report = self.report();
        report.slices_left = planned - report.slices_read - count(&report.failures);
        report.complete = report.slices_read == planned;
        let left = report.slices_left > 0;
        drop(report);
        let more = left && self.has_enough() && !self.halt.is_cancelled();
        self.report().more = more;
        results.into_iter().collect()
    }

    /// The assets to read one by one, or `None` for all together. Nothing if they could not be listed.
    async fn assets(&self) -> Result<Option<Vec<Option<AssetRef>>>> {
        let Some(source) = self.sync.assets.as_ref().filter(|_| self.capabilities.asset_list) else {
            return Ok(Some(vec![None]));
        };
        let list = source.assets().map_ok(|asset| Some(asset.reference)).try_collect();
        match self.halt.run_until_cancelled(list).await {
            None => Ok(None),
            Some(Ok(assets)) => Ok(Some(assets)),
            Some(Err(error)) => self.failed(None, error).map(|()| None),
        }
    }

    async fn plan(&self, assets: &[Option<AssetRef>], now: Timestamp) -> Result<Plan> {
        let mut plan = Plan::default();
        let kinds = &self.sync.kinds;
        if self.capabilities.updated_since || !self.capabilities.window {
            let slice =
                |asset: &Option<AssetRef>| Slice { window: None, asset: asset.clone(), kinds: kinds.clone() };
            plan.slices.extend(assets.iter().map(slice));
            return Ok(plan);
        }
        let proposed = self.sync.look_back.or(self.capabilities.look_back);
        let open = self.open().await?;
        let windows = Windows {
            since: self.sync.since,
            until: self.sync.until.unwrap_or_else(|| now.saturating_add(DAY).unwrap_or(now)),
            length: self.sync.window,
            look_back: proposed.unwrap_or(DAY * 7),
            coverage: plan::by_asset(&self.coverage),
            open: &open,
            full: self.sync.full,
        };
        assets.iter().for_each(|asset| windows.plan(asset.as_ref(), kinds, &mut plan));
        // If the provider's quota ends the run, what is new is there.
        plan.slices.sort_by_key(|slice| std::cmp::Reverse(slice.window.map(|window| window.from())));
        Ok(plan)
    }

    /// Takes from the plan what was read since the first of several runs began.
    fn leave_out_read(&self, plan: &mut Plan) {
        let Some(since) = self.sync.continued else { return };
        let read = plan::by_asset(self.coverage.iter().filter(|read| read.began_at >= since));
        let before = plan.slices.len();
        // Also a part of what was read as a whole: once that is covered, windows of it are planned.
        plan.slices.retain(|slice| {
            let mut near = plan::near(&read, slice.asset.as_ref());
            !near.any(|outer| plan::contains(&outer.slice, slice))
        });
        plan.skipped += u64::try_from(before - plan.slices.len()).unwrap_or(u64::MAX);
    }

    /// Sessions that had not ended when they were last seen.
    async fn open(&self) -> Result<Vec<ChargingSession>> {
        let mut filter = Filter::default();
        filter.status = Some(SessionStatus::Active);
        let mut open = Vec::new();
        self.for_each(filter, |session| open.push(session)).await?;
        open.retain(|session| self.sync.kinds.contains(&session.key().kind));
        Ok(open)
    }

    /// Goes through the sessions of the account in the store that have not vanished.
    async fn for_each(&self, mut filter: Filter, mut each: impl FnMut(ChargingSession)) -> Result<()> {
        let account = &self.sync.account;
        (filter.provider, filter.account) = (Some(account.provider), Some(account.account.clone()));
        filter.vanished = Some(false);
        let mut rows = Rows::new(&*self.sync.store, filter);
        while let Some(several) = rows.next().await? {
            several.into_iter().for_each(|row| each(row.session));
        }
        Ok(())
    }

    /// Whether a slice is not begun any more.
    fn leaves_out(&self, slice: &Slice) -> bool {
        self.halt.is_cancelled() || self.has_enough() || locked(&self.refused).contains(&slice.asset)
    }

    async fn slice(&self, slice: Slice) -> Result<()> {
        if self.leaves_out(&slice) {
            return Ok(());
        }
        match self.read(&slice).await {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.failures_in_a_row.store(0, Ordering::Relaxed);
                self.report().slices_read += 1;
                self.tell(&Event::SliceCompleted { slice: &slice });
                Ok(())
            }
            Err(error) => {
                self.tell(&Event::SliceFailed { slice: &slice, error: &error });
                self.failed(Some(slice), error)
            }
        }
    }

    /// Notes an error, and halts the run if it concerns all slices; gives it back if the run has failed by it.
    fn failed(&self, slice: Option<Slice>, error: Error) -> Result<()> {
        use ErrorKind::{
            Config, Conflict, NotFound, PermissionDenied, RateLimited, Storage, Unauthenticated, Untrusted,
        };
        let in_a_row = match error.kind() {
            kind if kind.is_transient() => self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1,
            _ => 0,
        };
        if in_a_row >= FAILURES_IN_A_ROW {
            self.halt.cancel();
        }
        match error.kind() {
            Config | Conflict | Storage | Unauthenticated | Untrusted => {
                self.halt.cancel();
                return Err(error);
            }
            RateLimited => {
                self.halt.cancel();
                let wait = error.retry_after().and_then(|wait| SignedDuration::try_from(wait).ok());
                let at = wait.and_then(|wait| self.sync.now().checked_add(wait).ok());
                let mut report = self.report();
                report.resume_at = report.resume_at.max(at);
            }
            NotFound | PermissionDenied => {
                locked(&self.refused).extend(slice.as_ref().map(|slice| slice.asset.clone()));
            }
            _ => {}
        }
        self.report().failures.push(Failure { slice, error });
        Ok(())
    }

    /// Whether the run has read as much as it is meant to, which is one page at least.
    fn has_enough(&self) -> bool {
        let read = self.pages_read.load(Ordering::Relaxed);
        let began_at = self.report().began_at;
        let time_is_up = |most| self.sync.now().duration_since(began_at) >= most;
        read > 0
            && (self.sync.most_pages.is_some_and(|most| read >= most)
                || self.sync.most_time.is_some_and(time_is_up))
    }

    fn tell(&self, event: &Event<'_>) {
        (self.sync.observer)(event);
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        locked(&self.report)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// A run can be spawned.
const _: fn(&AccountSync) = |sync| {
    fn is_send(_: impl Send) {}
    is_send(sync.run());
};
