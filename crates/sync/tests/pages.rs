//! How pages are read while others are written: with a source that gives what it is told to, and a store that takes its
//! time.

mod common;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use charging_sessions_core::*;
use charging_sessions_store::{
    Account, Batch, Changes, Coverage, Filter, Hash, Lease, Prepared, Quarantined, Reason, Recorded,
    Revision, RunReport, SessionStore, Slice, SqliteStore, StoredSession,
};
use charging_sessions_sync::{AccountSync, CancellationToken, Event, Report};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore};

const PROVIDER: ProviderId = ProviderId::new("test");
const KIND: RecordKind = RecordKind::BillingRecord;

/// Gives these pages, each a list of identifiers and energies; one that is missing is an error.
#[derive(Debug)]
struct Source {
    pages: Vec<Option<Vec<(String, i64)>>>,
    /// The last page that was asked for.
    asked: Mutex<usize>,
    has_asked: Notify,
}

impl Source {
    fn new(pages: Vec<Option<Vec<(String, i64)>>>) -> Arc<Self> {
        Arc::new(Self { pages, asked: Mutex::default(), has_asked: Notify::new() })
    }

    /// Until the page with this number, from 0, has been asked for.
    async fn asked_for(&self, page: usize) {
        while *self.asked.lock().unwrap() < page {
            self.has_asked.notified().await;
        }
    }
}

#[async_trait]
impl ChargingSessionSource for Source {
    fn provider(&self) -> ProviderId {
        PROVIDER
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        let number: usize = cursor.map_or(Ok(0), |cursor| cursor.decode(PROVIDER, 1, query))?;
        *self.asked.lock().unwrap() = number;
        self.has_asked.notify_one();
        let Some(page) = self.pages.get(number) else { return std::future::pending().await };
        let gone = || Error::new(ErrorKind::Protocol, "the provider has lost its mind");
        let sessions = page.as_ref().ok_or_else(gone)?.iter().map(|(id, energy)| {
            let key = SessionKey::new(PROVIDER, AccountId::default(), KIND, id.as_str());
            let origin = Provenance::new(Endpoint::new("GET /", None), Timestamp::UNIX_EPOCH, 1);
            let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
            let energy = Energy::from_mwh(*energy);
            session.energy.readings = vec![EnergyReading::import(energy, MeasuringPoint::Unknown)];
            session
        });
        Ok(SessionPage::new(sessions.collect(), Some(Cursor::encode(PROVIDER, 1, query, &(number + 1)))))
    }
}

/// A store that writes when it is told to.
#[derive(Debug)]
struct Slow {
    store: SqliteStore,
    permits: Semaphore,
    /// How many records each write had, and when it was read.
    written: Mutex<Vec<(usize, Timestamp)>>,
    /// Of which record it cannot be told what to write.
    refuses: &'static str,
}

#[async_trait]
impl SessionStore for Slow {
    fn prepare(&self, account: &Account, sessions: &[ChargingSession]) -> Prepared {
        let refused = sessions.iter().find(|session| session.key().source_id == self.refuses);
        assert!(refused.is_none(), "this one is refused");
        self.store.prepare(account, sessions)
    }

    async fn commit(&self, lease: &dyn Lease, batch: Batch) -> Result<Changes> {
        self.written.lock().unwrap().push((batch.sessions.len(), batch.at));
        self.permits.acquire().await.unwrap().forget();
        self.store.commit(lease, batch).await
    }

    async fn begin(&self, account: &Account, now: Timestamp) -> Result<Box<dyn Lease>> {
        self.store.begin(account, now).await
    }

    async fn place(&self, account: &Account, slice: &Slice) -> Result<Option<Cursor>> {
        self.store.place(account, slice).await
    }

    async fn restart(&self, lease: &dyn Lease, slice: &Slice) -> Result<()> {
        self.store.restart(lease, slice).await
    }

    async fn remap(&self, lease: &dyn Lease, all: Vec<ChargingSession>, now: Timestamp) -> Result<Changes> {
        self.store.remap(lease, all, now).await
    }

    async fn log_run(&self, lease: &dyn Lease, run: &RunReport) -> Result<()> {
        self.store.log_run(lease, run).await
    }

    async fn runs(&self, account: &Account, limit: u32) -> Result<Vec<RunReport>> {
        self.store.runs(account, limit).await
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        self.store.accounts().await
    }

    async fn sessions(
        &self,
        filter: &Filter,
        after: Option<&SessionKey>,
        limit: u32,
    ) -> Result<Vec<StoredSession>> {
        self.store.sessions(filter, after, limit).await
    }

    async fn session(&self, key: &SessionKey) -> Result<Option<StoredSession>> {
        self.store.session(key).await
    }

    async fn revisions(&self, key: &SessionKey) -> Result<Vec<Revision>> {
        self.store.revisions(key).await
    }

    async fn history(
        &self,
        account: Option<&Account>,
        since: Timestamp,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Recorded>> {
        self.store.history(account, since, after, limit).await
    }

    async fn find(&self, handle: &str) -> Result<Vec<SessionKey>> {
        self.store.find(handle).await
    }

    async fn payload(&self, hash: &Hash) -> Result<Option<Payload>> {
        self.store.payload(hash).await
    }

    async fn verify(&self) -> Result<()> {
        self.store.verify().await
    }

    async fn coverage(&self, account: &Account) -> Result<Vec<Coverage>> {
        self.store.coverage(account).await
    }

    async fn quarantine(&self, account: Option<&Account>) -> Result<Vec<Quarantined>> {
        self.store.quarantine(account).await
    }

    async fn release(&self, lease: &dyn Lease, payloads: &[Hash]) -> Result<()> {
        self.store.release(lease, payloads).await
    }
}

fn account() -> Account {
    Account { provider: PROVIDER, account: AccountId::default() }
}

/// A store that makes so many writes at once, and lets the others wait.
fn slow(writes: usize) -> Arc<Slow> {
    let store = SqliteStore::open_in_memory().unwrap();
    Arc::new(Slow { store, permits: Semaphore::new(writes), written: Mutex::default(), refuses: "" })
}

/// A sync whose clock goes on by a second whenever it is looked at.
fn sync(source: &Arc<Source>, store: &Arc<Slow>) -> AccountSync {
    let second = Mutex::new(1_795_000_000);
    AccountSync::new(source.clone(), store.clone(), account(), &[KIND]).clock(move || {
        let mut second = second.lock().unwrap();
        *second += 1;
        Timestamp::from_second(*second).unwrap()
    })
}

/// So many pages of so many records, none twice.
fn pages(pages: usize, records: usize) -> Vec<Option<Vec<(String, i64)>>> {
    let page = |page| Some((0..records).map(|record| (format!("{page}-{record}"), 1_000_000)).collect());
    (0..pages).map(page).collect()
}

/// Runs until the page with this number is asked for, while the store makes no more than a number of writes; then the
/// store writes the rest, and the run is stopped. How many records each write had.
async fn written(all: Vec<Option<Vec<(String, i64)>>>, at_once: usize, until: usize) -> Vec<usize> {
    let end = all.len();
    let (source, store, stop) = (Source::new(all), slow(at_once), CancellationToken::new());
    let sync = sync(&source, &store).stop(stop.clone());
    let run = tokio::spawn(async move { sync.run().await.unwrap() });
    source.asked_for(until).await;
    store.permits.add_permits(100);
    source.asked_for(end).await;
    stop.cancel();
    let report = run.await.unwrap();
    assert_eq!(report.pages, end as u64, "{report}");
    let written = std::mem::take(&mut *store.written.lock().unwrap());
    assert!(written.windows(2).all(|pair| pair[0].1 < pair[1].1), "as old as the oldest of its pages");
    written.into_iter().map(|(records, _)| records).collect()
}

#[tokio::test]
async fn pages_that_come_while_others_are_written_are_written_together() {
    // The first one is begun before any other has come, or with those that came at once; nothing waits for more.
    let written = written(pages(6, 7), 0, 6).await;
    assert_eq!(written.iter().sum::<usize>(), 6 * 7);
    assert!(written.len() <= 2, "{written:?}");
}

#[tokio::test]
async fn no_more_is_read_than_is_written_next() {
    // Ten pages are being written, ten wait, and one has come for which there is no room.
    let all = written(pages(40, 7), 0, 20).await;
    assert!(all.iter().all(|records| *records <= 70), "{all:?}");
    assert_eq!(all.iter().sum::<usize>(), 40 * 7);
    // Large pages are written one by one.
    let all = written(pages(5, 1500), 0, 2).await;
    assert_eq!(all, [1500; 5]);
    let (source, store) = (Source::new(pages(40, 7)), slow(0));
    let sync = sync(&source, &store);
    let run = tokio::spawn(async move { sync.run().await });
    source.asked_for(20).await;
    tokio::task::yield_now().await;
    assert!(*source.asked.lock().unwrap() <= 20);
    run.abort();
}

#[tokio::test]
async fn an_error_leaves_all_pages_before_it_written() {
    let mut all = pages(6, 7);
    all.push(None);
    let (source, store) = (Source::new(all), slow(0));
    let sync = sync(&source, &store);
    let run = tokio::spawn(async move { sync.run().await.unwrap() });
    source.asked_for(6).await;
    store.permits.add_permits(100);
    let report = run.await.unwrap();
    assert_eq!((report.complete, report.pages, report.counts.new), (false, 6, 42), "{report}");
    assert!(report.failures[0].error.to_string().contains("lost its mind"), "{report}");
    let place = store.place(&account(), report.failures[0].slice.as_ref().unwrap()).await.unwrap();
    let page: usize = place.unwrap().decode(PROVIDER, 1, &SessionQuery::all()).unwrap();
    assert_eq!(page, 6);
}

#[tokio::test]
async fn a_stop_leaves_what_has_come_written() {
    let (source, store, stop) = (Source::new(pages(6, 7)), slow(0), CancellationToken::new());
    let sync = sync(&source, &store).stop(stop.clone());
    let run = tokio::spawn(async move { sync.run().await.unwrap() });
    source.asked_for(6).await;
    stop.cancel();
    store.permits.add_permits(100);
    let report = run.await.unwrap();
    assert_eq!((report.complete, report.pages, report.slices_left), (false, 6, 1), "{report}");
    assert_eq!(store.sessions(&Filter::default(), None, 100).await.unwrap().len(), 42);
}

#[tokio::test]
async fn a_panic_of_the_store_is_one_of_the_run_and_nothing_after_is_written() {
    let source = Source::new(pages(3, 2));
    let store = SqliteStore::open_in_memory().unwrap();
    let slow = Slow { store, permits: Semaphore::new(100), written: Mutex::default(), refuses: "1-1" };
    let slow = Arc::new(slow);
    let sync = sync(&source, &slow);
    let cause = tokio::spawn(async move { sync.run().await }).await.unwrap_err().into_panic();
    assert_eq!(cause.downcast_ref(), Some(&"this one is refused"));
    let stored = slow.store.sessions(&Filter::default(), None, 100).await.unwrap();
    let stored: Vec<_> = stored.iter().map(|stored| &*stored.session.key().source_id).collect();
    assert!(stored.is_empty() || stored == ["0-0", "0-1"], "{stored:?}");
}

#[tokio::test]
async fn a_store_that_fails_ends_the_run_at_once() {
    let (source, store) = (Source::new(pages(2, 7)), slow(0));
    let other = store.clone();
    let sync = sync(&source, &store);
    let run = tokio::spawn(async move { sync.run().await });
    source.asked_for(2).await;
    // Somebody else goes on from the place that the first page was read from.
    let slice = Slice { window: None, asset: None, kinds: vec![KIND] };
    let mut batch = Batch::new(slice, None, Timestamp::UNIX_EPOCH);
    batch.next = Some("elsewhere".into());
    let lease = Taken(account());
    other.store.commit(&lease, batch).await.unwrap();
    store.permits.add_permits(100);
    // The provider never answers to what was asked last.
    let error = run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

/// The right to write of the run under test.
#[derive(Debug)]
struct Taken(Account);

impl Lease for Taken {
    fn account(&self) -> &Account {
        &self.0
    }

    fn epoch(&self) -> u64 {
        1
    }
}

#[tokio::test]
async fn each_state_of_a_record_that_comes_twice_is_kept() {
    let page = |energy: i64| Some(vec![("a".to_owned(), energy), (energy.to_string(), 5)]);
    let (source, store) = (Source::new(vec![page(1), page(2), page(3)]), slow(0));
    let (stop, events) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
    let seen = events.clone();
    let sync = sync(&source, &store).stop(stop.clone()).observer(move |event| {
        if let Event::PageCommitted { pages, changes, .. } = event {
            seen.lock().unwrap().push((*pages, changes.new.len(), changes.changed.len()));
        }
    });
    let run = tokio::spawn(async move { sync.run().await.unwrap() });
    store.permits.add_permits(100);
    source.asked_for(3).await;
    stop.cancel();
    run.await.unwrap();
    assert_eq!(*events.lock().unwrap(), [(1, 2, 0), (1, 1, 1), (1, 1, 1)]);
    let key = SessionKey::new(PROVIDER, AccountId::default(), KIND, "a");
    let reasons = store.revisions(&key).await.unwrap().into_iter().map(|revision| revision.reason);
    assert_eq!(reasons.collect::<Vec<_>>(), [Reason::New, Reason::Changed, Reason::Changed]);
}

/// Gives each window so many pages of so many records, and counts what it was asked for.
#[derive(Debug)]
struct Windows {
    pages: usize,
    records: usize,
    asked: AtomicUsize,
}

#[async_trait]
impl ChargingSessionSource for Windows {
    fn provider(&self) -> ProviderId {
        PROVIDER
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::none().window()
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let page: usize = cursor.map_or(Ok(0), |cursor| cursor.decode(PROVIDER, 1, query))?;
        let from = query.window().unwrap().from();
        let sessions = (0..self.records).map(|record| {
            let id = format!("{from}-{page}-{record}");
            let key = SessionKey::new(PROVIDER, AccountId::default(), KIND, id);
            let origin = Provenance::new(Endpoint::new("GET /", None), Timestamp::UNIX_EPOCH, 1);
            let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
            session.timing.period.start = Some(from);
            session
        });
        let next = (page + 1 < self.pages).then(|| Cursor::encode(PROVIDER, 1, query, &(page + 1)));
        Ok(SessionPage::new(sessions.collect(), next))
    }
}

/// Runs over four windows of a source while the store writes nothing, until nothing moves any more; then the store
/// writes. How many records had been asked for until then, how many each write had that was begun, and the report.
async fn stalled(source: &Arc<Windows>, concurrency: usize) -> (usize, Vec<usize>, Report) {
    let store = slow(0);
    let day = |day: i64| Timestamp::from_second((20_000 + day) * 86_400).unwrap();
    let sync = AccountSync::new(source.clone(), store.clone(), account(), &[KIND])
        .window(SignedDuration::from_hours(24))
        .since(day(0))
        .until(day(4))
        .concurrency(NonZeroUsize::new(concurrency).unwrap());
    let run = tokio::spawn(async move { sync.run().await.unwrap() });
    // Time is paused, and goes on only when there is nothing else to do.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = source.asked.load(Ordering::SeqCst) * source.records;
    let begun = store.written.lock().unwrap().iter().map(|(records, _)| *records).collect();
    store.permits.add_permits(1000);
    (asked, begun, run.await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_next_slice_is_read_while_the_last_page_of_the_one_before_is_being_written() {
    let source = Arc::new(Windows { pages: 1, records: 7, asked: AtomicUsize::new(0) });
    let (asked, begun, report) = stalled(&source, 1).await;
    assert_eq!((asked, begun), (2 * 7, vec![7]), "one is being written, and one waits");
    assert_eq!((report.complete, report.slices_read, report.counts.new), (true, 4, 28), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_of_all_slices_together_is_bounded_and_written_one_after_the_other() {
    let source = Arc::new(Windows { pages: 10, records: 100, asked: AtomicUsize::new(0) });
    let (asked, begun, report) = stalled(&source, 4).await;
    // One batch is being written, there is room for 500 records, and each of the four may have read one page more.
    assert!(begun.len() == 1 && asked - begun[0] <= 500 + 4 * 100, "{asked}, {begun:?}");
    assert_eq!((report.complete, report.pages, report.counts.new), (true, 40, 4000), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_larger_than_all_room_gets_through() {
    let source = Arc::new(Windows { pages: 2, records: 1500, asked: AtomicUsize::new(0) });
    let (asked, begun, report) = stalled(&source, 4).await;
    // One is being written and one waits. The slices that have not come to their ends have each read one more.
    assert!((5..=6).contains(&(asked / 1500)), "{asked}");
    assert_eq!(begun, [1500]);
    assert_eq!((report.complete, report.pages, report.counts.new), (true, 8, 12_000), "{report}");
}
