//! What no provider of today does, with a source that does it: totals, and changes since an instant.

mod common;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use charging_sessions_core::*;
use charging_sessions_store::{Account, SessionStore, SqliteStore};
use charging_sessions_sync::{AccountSync, CancellationToken, Event, Report};
use common::Paced;
use jiff::{SignedDuration, Timestamp};

const PROVIDER: ProviderId = ProviderId::new("test");
const PAGE: usize = 2;

/// Lists its records in pages of two.
#[derive(Debug)]
struct Source {
    capabilities: Capabilities,
    /// Identifier, energy, and when it was changed.
    records: Mutex<Vec<(String, i64, Timestamp)>>,
    /// How many of the next pages promise a record more than there are.
    lies: AtomicUsize,
    queries: Mutex<Vec<SessionQuery>>,
}

#[async_trait]
impl ChargingSessionSource for Source {
    fn provider(&self) -> ProviderId {
        PROVIDER
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        query.check(self.capabilities)?;
        self.queries.lock().unwrap().push(query.clone());
        let skip: usize = cursor.map_or(Ok(0), |cursor| cursor.decode(PROVIDER, 1, query))?;
        let records = self.records.lock().unwrap();
        let listed: Vec<_> = records
            .iter()
            .filter(|record| query.updated_since().is_none_or(|since| record.2 >= since))
            .collect();
        let sessions = listed.iter().skip(skip).take(PAGE).map(|(id, energy, changed)| {
            let key = SessionKey::new(PROVIDER, AccountId::default(), RecordKind::BillingRecord, id.as_str());
            let origin = Provenance::new(Endpoint::new("GET /", None), *changed, 1);
            let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
            session.timing.period.start = Some(Timestamp::from_second(1_790_000_000).unwrap());
            session.energy.readings =
                vec![EnergyReading::import(Energy::from_mwh(*energy), MeasuringPoint::Unknown)];
            session
        });
        let next = (skip + PAGE < listed.len()).then(|| Cursor::encode(PROVIDER, 1, query, &(skip + PAGE)));
        let mut page = SessionPage::new(sessions.collect(), next);
        query.clip(&mut page.sessions);
        if self.capabilities.total {
            let lies =
                self.lies.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |lies| lies.checked_sub(1));
            page.total = Some(listed.len() as u64 + u64::from(lies.is_ok()));
        }
        Ok(page)
    }
}

struct Subject {
    source: Arc<Source>,
    store: Arc<SqliteStore>,
    paced: Arc<Paced>,
    sync: AccountSync,
    account: Account,
    clock: Arc<AtomicI64>,
}

impl Subject {
    fn new(capabilities: Capabilities, records: usize) -> Self {
        let clock = Arc::new(AtomicI64::new(1_795_000_000));
        let records = (0..records).map(|n| (n.to_string(), 1_000_000, Timestamp::UNIX_EPOCH)).collect();
        let source = Arc::new(Source {
            capabilities,
            records: Mutex::new(records),
            lies: AtomicUsize::new(0),
            queries: Mutex::default(),
        });
        let store = Arc::new(SqliteStore::open_in_memory().unwrap());
        let account = Account { provider: PROVIDER, account: AccountId::default() };
        let (now, paced) = (clock.clone(), Paced::new(source.clone()));
        let sync =
            AccountSync::new(paced.clone(), store.clone(), account.clone(), &[RecordKind::BillingRecord])
                .clock(move || Timestamp::from_second(now.fetch_add(1, Ordering::Relaxed)).unwrap());
        Self { source, store, paced, sync, account, clock }
    }

    async fn rows(&self) -> usize {
        self.store.sessions(&Default::default(), None, 1000).await.unwrap().len()
    }

    fn asked(&self) -> Vec<SessionQuery> {
        std::mem::take(&mut self.source.queries.lock().unwrap())
    }

    async fn stopped_after_a_page(&self) -> Report {
        let stop = CancellationToken::new();
        let signal = stop.clone();
        let stopped = self.sync.clone().stop(stop).observer(move |event| {
            if matches!(event, Event::PageCommitted { .. }) {
                signal.cancel();
            }
        });
        self.paced.give(1);
        let report = stopped.run().await.unwrap();
        self.paced.give(usize::MAX);
        report
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock.load(Ordering::Relaxed)).unwrap()
    }
}

#[tokio::test]
async fn a_source_that_only_lists_is_read_whole_every_time() {
    let subject = Subject::new(Capabilities::none(), 5);
    for counts in ["5 new, 0 changed, 0 unchanged", "0 new, 0 changed, 5 unchanged"] {
        let report = subject.sync.run().await.unwrap();
        let line = format!(
            "test/default: {counts}, 0 returned, 0 vanished, 0 quarantined; \
             slices: 1 read, 0 skipped, 0 failed, 0 left; 3 pages; complete"
        );
        assert_eq!(report.to_string(), line);
    }
    assert_eq!(subject.rows().await, 5);
}

#[tokio::test]
async fn a_window_is_read_until_it_is_settled() {
    const DAY: SignedDuration = SignedDuration::from_hours(24);
    let subject = Subject::new(Capabilities::none().window().look_back(DAY * 3), 0);
    // In the middle of the window of ten days with the number 2077.
    let (now, length) = (subject.now(), 10 * DAY.as_secs());
    assert_eq!(now.as_second() / length, 2077);
    let sync = subject.sync.clone().window(DAY * 10).since(now - DAY * 35).concurrency(NonZeroUsize::MIN);
    let read = async || {
        let report = sync.run().await.unwrap();
        let number = |query: SessionQuery| {
            let window = query.window().unwrap();
            assert_eq!(window.until().duration_since(window.from()), DAY * 10);
            window.from().as_second() / length
        };
        let numbers: Vec<_> = subject.asked().into_iter().map(number).collect();
        assert_eq!((report.slices_read, report.slices_left), (numbers.len() as u64, 0), "{report}");
        (numbers, report.slices_skipped)
    };
    assert_eq!(read().await, (vec![2077, 2076, 2075, 2074], 0), "all of the history, the newest first");
    assert_eq!(read().await, (vec![2077], 3));
    subject.clock.fetch_add((DAY * 7).as_secs(), Ordering::Relaxed);
    assert_eq!(read().await, (vec![2078, 2077], 3), "the old one was last read before it had ended");
    assert_eq!(read().await, (vec![2078, 2077], 3), "it has ended, but not three days ago");
    subject.clock.fetch_add(DAY.as_secs(), Ordering::Relaxed);
    assert_eq!(read().await, (vec![2078, 2077], 3));
    assert_eq!(read().await, (vec![2078], 4), "its last reading began more than three days after its end");
}

#[tokio::test]
async fn a_listing_that_moves_is_read_again() {
    let subject = Subject::new(Capabilities::none().total(), 5);
    subject.source.lies.store(2, Ordering::Relaxed);
    let report = subject.sync.run().await.unwrap();
    assert_eq!((report.complete, report.pages), (true, 6), "{report}");
}

#[tokio::test]
async fn a_listing_that_was_interrupted_is_counted_from_its_start() {
    let subject = Subject::new(Capabilities::none().total(), 5);
    let report = subject.stopped_after_a_page().await;
    assert_eq!((report.complete, report.pages, report.slices_left), (false, 1, 1), "{report}");
    let report = subject.sync.run().await.unwrap();
    assert_eq!((report.complete, report.pages), (true, 2 + 3), "{report}");
    assert_eq!(report.counts.vanished, 0, "{report}");
}

#[tokio::test]
async fn a_listing_that_is_never_whole_is_kept_and_does_not_count_as_read() {
    let subject = Subject::new(Capabilities::none().total(), 5);
    subject.source.lies.store(6, Ordering::Relaxed);
    let report = subject.sync.run().await.unwrap();
    assert_eq!((report.complete, report.pages, report.failures.len()), (false, 6, 1), "{report}");
    assert_eq!(
        report.failures[0].error.to_string(),
        "test: the listing changed while it was read: 5 records came, 6 were promised"
    );
    assert_eq!(subject.rows().await, 5);
    assert!(subject.store.coverage(&subject.account).await.unwrap().is_empty());
    let report = subject.sync.run().await.unwrap();
    assert_eq!((report.complete, report.pages, report.counts.unchanged), (true, 3, 5), "{report}");
}

#[tokio::test]
async fn a_source_that_knows_what_has_changed_is_asked_for_that() {
    let subject = Subject::new(Capabilities::none().updated_since(), 5);
    let whole_began = subject.now();
    subject.sync.run().await.unwrap();
    assert!(subject.asked().iter().all(|query| query.updated_since().is_none()));

    // What has not changed has not vanished.
    let changed_at = subject.now();
    let mut added: Vec<_> = ["5", "6", "7"].map(|id| (id.to_owned(), 1_000_000, changed_at)).into();
    subject.source.records.lock().unwrap().append(&mut added);
    subject.source.records.lock().unwrap()[1] = ("1".into(), 2_000_000, changed_at);
    let report = subject.sync.run().await.unwrap();
    let counts = report.counts;
    assert_eq!((counts.new, counts.changed, counts.vanished, report.pages), (3, 1, 0, 2), "{report}");
    let asked = subject.asked();
    let since = asked[0].updated_since().unwrap();
    let overlap = SignedDuration::from_hours(1);
    assert!(whole_began - overlap <= since && since <= whole_began - overlap + SignedDuration::from_secs(5));

    // The next listing begins where this one began, and is found again after an interruption.
    subject.clock.fetch_add(7 * 24 * 3600, Ordering::Relaxed);
    let began = subject.now();
    let changed = (0..9).map(|n| (n.to_string(), 3_000_000, began)).collect();
    *subject.source.records.lock().unwrap() = changed;
    let report = subject.stopped_after_a_page().await;
    assert_eq!((report.complete, report.pages), (false, 1), "{report}");
    let first = subject.asked();
    assert!(first[0].updated_since().unwrap() > since);
    let report = subject.sync.run().await.unwrap();
    assert_eq!((report.complete, report.pages), (true, 4), "{report}");
    assert!(subject.asked().iter().all(|query| *query == first[0]));
    let report = subject.sync.run().await.unwrap();
    assert_eq!((report.complete, report.counts.changed), (true, 0), "{report}");
    assert!(subject.asked()[0].updated_since().unwrap() >= began - overlap);

    // Only a full run sees what is gone.
    subject.source.records.lock().unwrap().pop();
    assert_eq!(subject.sync.run().await.unwrap().counts.vanished, 0);
    assert_eq!(subject.sync.clone().full(true).run().await.unwrap().counts.vanished, 1);
    assert!(subject.asked().iter().any(|query| *query == SessionQuery::all()));
    // And the next one goes on from it.
    subject.sync.run().await.unwrap();
    assert!(subject.asked().iter().all(|query| query.updated_since().is_some()));
}
