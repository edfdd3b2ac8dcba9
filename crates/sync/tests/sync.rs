//! Runs against the sandboxes over real HTTP, into a real store.

mod common;

use std::{
    future::Future,
    num::NonZeroUsize,
    pin::{Pin, pin},
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use charging_sessions_core::{
    Capabilities, ChargingSessionSource, Cursor, ErrorKind, IssueCode, ProviderId, RecordKind, Result,
    SessionPage, SessionQuery, TimeWindow,
};
use charging_sessions_podero::Podero;
use charging_sessions_store::{Batch, Filter, Reason, Slice, SqliteStore};
use charging_sessions_sync::{AccountSync, CancellationToken, Event, relations};
use charging_sessions_testkit::sandbox::{Fault, der_connect, ev_energy, evcc, podero};
use common::{Counted, NOW, Paced, SINCE, Subject, policy};
use jiff::{SignedDuration, Timestamp, tz::Offset};
use serde_json::{Value, json};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The start of the window of 30 days that holds this instant.
fn border(instant: Timestamp) -> Timestamp {
    let length = 30 * 24 * 3600;
    Timestamp::from_second(instant.as_second().div_euclid(length) * length).unwrap()
}

/// How many windows of 30 days a run reads, after a reading that began at `began`.
fn windows(began: &str, look_back: SignedDuration, now: &str) -> usize {
    let first = border(at(began) - look_back);
    let last = border(at(now) + DAY - SignedDuration::from_nanos(1));
    usize::try_from((last.as_second() - first.as_second()) / (30 * 24 * 3600) + 1).unwrap()
}

/// Runs twice: the first run brings the truth, the second one nothing, with that many requests.
async fn twice<S: Counted>(subject: &Subject<S>, sync: AccountSync, requests: usize) {
    let first = sync.run().await.unwrap();
    assert!(first.complete, "{first}");
    subject.assert_whole().await;
    assert_eq!(first.counts.new + first.counts.quarantined, subject.truth().len() as u64);
    let (before, revisions) = (subject.requests(), subject.revisions().await);
    let second = sync.run().await.unwrap();
    assert!(second.complete, "{second}");
    assert_eq!(subject.requests() - before, requests, "{second}");
    assert_eq!(subject.revisions().await, revisions);
    let mut counts = second.counts;
    counts.unchanged = 0;
    assert_eq!(counts, Default::default());
    subject.assert_whole().await;
}

#[tokio::test]
async fn ev_energy_is_read_whole_and_then_by_its_last_windows() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    twice(&subject, subject.sync(), windows(NOW, DAY * 7, NOW)).await;
    let since = common::ev_energy(|sandbox| sandbox).await;
    twice(&since, since.sync().since(at(SINCE)), windows(NOW, DAY * 7, NOW)).await;
}

#[tokio::test]
async fn podero_is_read_whole_and_then_by_its_last_windows() {
    let subject = common::podero(|sandbox| sandbox).await;
    let users = subject.sandbox.user_ids();
    let vehicles: usize = users.iter().map(|user| subject.sandbox.vehicle_ids(user).len()).sum();
    let have_vehicles = users.iter().filter(|user| !subject.sandbox.vehicle_ids(user).is_empty()).count();
    let of_a_window = 1 + have_vehicles + vehicles;
    twice(&subject, subject.sync().concurrency(NonZeroUsize::MIN), of_a_window * windows(NOW, DAY * 3, NOW))
        .await;
    let by_asset = common::podero(|sandbox| sandbox).await;
    assert!(by_asset.by_asset().run().await.unwrap().complete);
    by_asset.assert_whole().await;
}

#[tokio::test]
async fn der_connect_is_read_whole_and_then_by_the_last_windows_of_each_entity() {
    let subject = common::der_connect(|sandbox| sandbox).await;
    // Five of the entities can charge. A window and the week after it are less than two pages.
    let listed = 1 + 5 * windows(NOW, DAY * 8, NOW);
    let sync = subject.by_asset();
    sync.run().await.unwrap();
    let before = subject.requests();
    let report = sync.run().await.unwrap();
    assert!(report.complete, "{report}");
    assert!((listed..=listed + 5).contains(&(subject.requests() - before)), "{report}");
    let fresh = common::der_connect(|sandbox| sandbox).await;
    assert!(fresh.by_asset().since(at(SINCE)).run().await.unwrap().complete);
    fresh.assert_whole().await;
    assert_eq!(fresh.rows().await, subject.rows().await);
}

#[tokio::test]
async fn evcc_is_read_whole_and_then_by_the_months_of_its_last_windows() {
    let subject = common::evcc(|sandbox| sandbox.dirt(false)).await;
    // Each window is the months that it touches in any zone.
    let months = |from: Timestamp| {
        let day = |instant: Timestamp| Offset::UTC.to_datetime(instant).date();
        let (first, last) = (day(from - DAY), day(from + DAY * 31 - SignedDuration::from_nanos(1)));
        usize::try_from((last.year() - first.year()) * 12 + i16::from(last.month() - first.month())).unwrap()
            + 1
    };
    let first = border(at(NOW) - DAY * 3);
    let requests = (0..).map(|n| first + DAY * 30 * n).take(windows(NOW, DAY * 3, NOW)).map(months).sum();
    twice(&subject, subject.sync(), requests).await;
}

/// Nothing of the record tells that it was changed, nor when.
#[tokio::test]
async fn what_a_user_changes_or_deletes_is_seen_for_some_days_and_by_a_full_run_at_any_time() {
    let subject = common::evcc(|sandbox| sandbox.dirt(false)).await;
    let sync = subject.sync();
    sync.run().await.unwrap();
    let border = border(at(NOW) - DAY * 3).to_string();
    let mut ended: Vec<_> = subject.truth().into_values().collect();
    ended.retain(|record| !record["finished"].as_str().unwrap().starts_with("0001"));
    ended.sort_by_key(|record| at(record["created"].as_str().unwrap()));
    let is_recent = |record: &&Value| at(record["created"].as_str().unwrap()) >= at(&border);
    let (recent, old): (Vec<_>, Vec<_>) = ended.iter().partition(is_recent);
    let id = |record: &Value| record["id"].as_i64().unwrap();
    let change = |records: &[&Value]| {
        let fields = json!({"vehicle": "geliehen", "odometer": 12.5});
        assert!(subject.sandbox.mutate(evcc::Mutation::Correct { id: id(records[0]), fields }));
        assert!(subject.sandbox.mutate(evcc::Mutation::Remove(id(records[1]))));
    };
    change(&recent);
    let report = sync.run().await.unwrap();
    assert_eq!((report.counts.changed, report.counts.vanished), (1, 1), "{report}");
    subject.assert_whole().await;

    change(&old);
    let report = sync.run().await.unwrap();
    assert_eq!((report.counts.changed, report.counts.vanished), (0, 0), "{report}");
    let report = sync.full(true).run().await.unwrap();
    assert_eq!((report.counts.changed, report.counts.vanished), (1, 1), "{report}");
    subject.assert_whole().await;

    for (record, last) in
        [(recent[0], Reason::Changed), (recent[1], Reason::Vanished), (old[1], Reason::Vanished)]
    {
        let (provider, account) = (subject.account.provider, subject.account.account.clone());
        let key =
            charging_sessions_core::SessionKey::new(provider, account, subject.kind, common::id(record));
        let revisions = subject.store.revisions(&key).await.unwrap();
        let reasons: Vec<_> = revisions.into_iter().map(|revision| revision.reason).collect();
        assert_eq!(reasons, [Reason::New, last]);
    }
}

/// A session that goes on after a stop may begin with the energy of the one before.
#[tokio::test]
async fn energy_that_a_row_has_from_the_one_before_is_found() {
    let subject = common::evcc(|sandbox| sandbox.dirt(false)).await;
    let with_meter = |record: &Value| record["loadpoint"] == "Carport" && record["meterStop"].is_number();
    let mut rows: Vec<_> = subject.truth().into_values().filter(with_meter).collect();
    rows.sort_by_key(|record| record["id"].as_i64());
    let energy = |record: &Value| record["chargedEnergy"].as_f64().unwrap();
    let pair = rows.windows(2).find(|pair| energy(&pair[1]) < energy(&pair[0])).unwrap();
    let (id, sum) = (pair[1]["id"].as_i64().unwrap(), energy(&pair[0]) + energy(&pair[1]));
    let fields = json!({"chargedEnergy": sum});
    assert!(subject.sandbox.mutate(evcc::Mutation::Correct { id, fields }));
    subject.sync().run().await.unwrap();
    let rows = subject.store.sessions(&Filter::default(), None, 10_000).await.unwrap();
    let found = relations::relations(rows.iter().map(|row| &row.session));
    let [found] = &*found else { panic!("{found:?}") };
    assert_eq!((&found.key.source_id, &found.issue.code), (&id.to_string(), &IssueCode::REL_CARRY_OVER));
    assert_eq!(found.issue.related[0].source_id, common::id(&pair[0]));
}

#[tokio::test]
async fn what_is_settled_is_not_read_again_unless_all_is() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    let sync = subject.sync().since(at(SINCE));
    sync.run().await.unwrap();
    let report = sync.run().await.unwrap();
    assert!(report.slices_skipped >= 1, "{report}");
    let before = subject.requests();
    let full = sync.clone().full(true).run().await.unwrap();
    assert_eq!((full.slices_skipped, full.slices_read), (0, report.slices_read + report.slices_skipped));
    assert!(subject.requests() - before >= usize::try_from(full.slices_read).unwrap());
    // A year later, only sessions that never ended hold old windows open.
    subject.later(DAY * 365);
    sync.run().await.unwrap();
    let report = sync.run().await.unwrap();
    assert!(report.slices_skipped >= 11, "{report}");
}

#[tokio::test]
async fn corrections_disappearances_and_late_arrivals_are_seen() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    let sync = subject.sync().since(at(SINCE));
    sync.run().await.unwrap();
    let truth = subject.truth();
    let recent = |record: &&Value| {
        let start = record["start"].as_str().unwrap();
        ("2026-11-15".."2026-11-18").contains(&start) && !record["end"].is_null()
    };
    let mut recent = truth.values().filter(recent);
    let [corrected, removed, model] = [(); 3].map(|()| recent.next().unwrap());
    let id = |record: &Value| record["id"].as_str().unwrap().to_owned();
    let fields = json!({ "energy_delivered_watt_hours": 4321 });
    assert!(subject.sandbox.mutate(ev_energy::Mutation::Correct { id: id(corrected), fields }));
    assert!(subject.sandbox.mutate(ev_energy::Mutation::Remove(id(removed))));
    let mut late = model.clone();
    late["id"] = subject.sandbox.new_id(at(NOW)).into();
    assert!(subject.sandbox.mutate(ev_energy::Mutation::Insert(late.clone())));

    let expected = sync.clone().dry_run(true).run().await.unwrap();
    let report = sync.run().await.unwrap();
    let counts = report.counts;
    assert_eq!((counts.new, counts.changed, counts.vanished, counts.returned), (1, 1, 1, 0), "{report}");
    assert_eq!(expected.counts, counts, "a dry run says what a run then does");
    subject.assert_whole().await;
    let key = |record: &Value| {
        let (provider, account) = (subject.account.provider, subject.account.account.clone());
        charging_sessions_core::SessionKey::new(provider, account, subject.kind, id(record))
    };
    let reasons = |revisions: Vec<charging_sessions_store::Revision>| {
        revisions.into_iter().map(|revision| revision.reason).collect::<Vec<_>>()
    };
    let of = subject.store.revisions(&key(corrected)).await.unwrap();
    assert_eq!(reasons(of), [Reason::New, Reason::Changed]);
    let of = subject.store.revisions(&key(removed)).await.unwrap();
    assert_eq!(reasons(of), [Reason::New, Reason::Vanished]);

    // It was a mistake of the provider.
    assert!(subject.sandbox.mutate(ev_energy::Mutation::Insert(removed.clone())));
    let report = sync.run().await.unwrap();
    assert_eq!((report.counts.returned, report.counts.new), (1, 0), "{report}");
    subject.assert_whole().await;
}

#[tokio::test]
async fn a_session_that_is_still_active_is_followed_until_it_ends() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    let mut open = subject.truth().into_values().next().unwrap();
    open["id"] = subject.sandbox.new_id(at("2026-09-25T08:00:00Z")).into();
    (open["start"], open["end"]) = (json!("2026-09-25T08:00:00Z"), Value::Null);
    assert!(subject.sandbox.mutate(ev_energy::Mutation::Insert(open.clone())));
    let sync = subject.sync().since(at(SINCE));
    sync.run().await.unwrap();
    let with_open = sync.run().await.unwrap().slices_read;
    let fields = json!({ "end": "2026-11-20T08:00:00Z" });
    let id = open["id"].as_str().unwrap().to_owned();
    assert!(subject.sandbox.mutate(ev_energy::Mutation::Correct { id, fields }));
    let report = sync.run().await.unwrap();
    assert_eq!((report.counts.changed, report.slices_read), (1, with_open), "{report}");
    assert_eq!(sync.run().await.unwrap().slices_read, with_open - 1);
    subject.assert_whole().await;
}

/// A sync that is stopped when it has written something.
fn stopped_at_once(sync: &AccountSync) -> AccountSync {
    let stop = CancellationToken::new();
    let signal = stop.clone();
    sync.clone().stop(stop).observer(move |event| {
        if matches!(event, Event::PageCommitted { .. }) {
            signal.cancel();
        }
    })
}

async fn stopped_again_and_again<S: Counted>(
    mut subject: Subject<S>,
    sync: impl Fn(&Subject<S>) -> AccountSync,
) {
    let paced = Paced::new(subject.source.clone());
    subject.source = paced.clone();
    let sync = sync(&subject);
    let mut runs = 0;
    loop {
        paced.give(1);
        let report = stopped_at_once(&sync).run().await.unwrap();
        assert!(report.pages <= 1, "{report}");
        runs += 1;
        assert!(runs < 1000, "it does not end: {report}");
        if report.complete || report.slices_left == 0 {
            break;
        }
    }
    assert!(runs > 5, "{runs}");
    subject.assert_whole().await;
    paced.give(usize::MAX);
    assert!(sync.run().await.unwrap().complete);
    subject.assert_whole().await;
}

#[tokio::test]
async fn a_run_that_is_stopped_at_every_page_ends_with_the_truth() {
    let subject = common::podero(|sandbox| sandbox.page_cap(Some(9))).await;
    stopped_again_and_again(subject, Subject::sync).await;
    let subject = common::der_connect(|sandbox| sandbox.page_cap(Some(7))).await;
    // Newer windows would be read again in each run, and nothing else.
    let settled = |subject: &Subject<_>| subject.by_asset().until(at("2026-11-01T00:00:00Z"));
    stopped_again_and_again(subject, settled).await;
    let subject = common::ev_energy(|sandbox| sandbox.sessions(700)).await;
    stopped_again_and_again(subject, Subject::sync).await;
}

#[tokio::test]
async fn what_was_read_as_a_whole_is_not_read_again_in_windows_by_the_same_run() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    let began = Timestamp::from_millisecond(subject.clock.load(Ordering::Relaxed)).unwrap();
    // It ends, and nobody learns of it.
    assert!(subject.sync().continued(began).run().await.unwrap().complete);
    let before = subject.requests();
    let report = subject.sync().continued(began).run().await.unwrap();
    assert!(report.complete && report.slices_skipped > 0, "{report}");
    assert_eq!(subject.requests(), before);
    // Another run reads what may have changed since.
    subject.later(SignedDuration::from_hours(1));
    assert!(subject.sync().run().await.unwrap().slices_read > 0);
}

/// Polls so many times and no more.
struct Polls<F>(F, usize);

impl<F: Future + Unpin> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        self.1 -= 1;
        Pin::new(&mut self.0).poll(context).map(Some)
    }
}

/// Runs piece by piece, as one who shares out long work does, until nothing is left. How many pieces there were.
async fn in_pieces<S: Counted>(subject: &Subject<S>, sync: AccountSync) -> usize {
    let began = Timestamp::from_millisecond(subject.clock.load(Ordering::Relaxed)).unwrap();
    for piece in 1..1000 {
        let report = sync.clone().continued(began).run().await.unwrap();
        assert!(report.failures.is_empty(), "{report}");
        assert_ne!(report.complete, report.more, "{report}");
        if report.complete {
            subject.assert_whole().await;
            return piece;
        }
    }
    panic!("it never ends");
}

#[tokio::test]
async fn pieces_of_a_run_make_progress_and_end_with_the_truth() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    let sync = subject.sync().since(at(SINCE)).most_pages(1).concurrency(NonZeroUsize::MIN);
    let pieces = in_pieces(&subject, sync.clone()).await;
    assert!(pieces >= 3, "{pieces}");
    // Again, and by the clock: no window is read twice, although none of the newest is settled.
    subject.later(SignedDuration::from_hours(1));
    let before = subject.requests();
    let sync = subject.sync().since(at(SINCE)).full(true).most_time(SignedDuration::ZERO);
    assert!(in_pieces(&subject, sync.concurrency(NonZeroUsize::MIN)).await >= 3);
    let once = subject.requests() - before;
    subject.later(SignedDuration::from_hours(1));
    let before = subject.requests();
    assert!(subject.sync().since(at(SINCE)).full(true).run().await.unwrap().complete);
    assert_eq!(once, subject.requests() - before);
}

/// A source that says how many records there are.
#[derive(Debug)]
struct Counting(Arc<dyn ChargingSessionSource>, u64);

#[async_trait]
impl ChargingSessionSource for Counting {
    fn provider(&self) -> ProviderId {
        self.0.provider()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        let mut page = self.0.fetch_page(query, cursor).await?;
        page.total = Some(self.1);
        Ok(page)
    }
}

#[tokio::test]
async fn a_listing_that_is_counted_is_read_in_one_piece() {
    let mut subject = common::ev_energy(|sandbox| sandbox).await;
    subject.source =
        Arc::new(Counting(subject.source, subject.sandbox.truth().as_array().unwrap().len() as u64));
    assert_eq!(in_pieces(&subject, subject.sync().most_pages(1)).await, 1);
    // One that was interrupted cannot be proven, so it is read anew, in one piece as well.
    subject.store = Arc::new(SqliteStore::open_in_memory().unwrap());
    let paced = Paced::new(subject.source.clone());
    subject.source = paced.clone();
    paced.give(1);
    let stopped = stopped_at_once(&subject.sync()).run().await.unwrap();
    assert!(!stopped.complete && !stopped.more, "{stopped}");
    paced.give(usize::MAX);
    assert!(in_pieces(&subject, subject.sync().most_pages(1)).await <= 3);
}

async fn dropped_again_and_again<S: Counted>(subject: &Subject<S>, sync: AccountSync) {
    let mut dropped = 0;
    for polls in (1..).step_by(3) {
        match Polls(pin!(sync.run()), polls).await {
            None => dropped += 1,
            // What the run before had begun to write may not be written yet.
            Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            Some(Ok(report)) => {
                assert!(report.complete, "{report}");
                break;
            }
        }
    }
    // How often a run is polled depends on how fast answers come; that it was dropped at all is what counts.
    assert!(dropped > 2, "{dropped}");
    subject.assert_whole().await;
}

#[tokio::test]
async fn a_run_that_is_dropped_anywhere_ends_with_the_truth() {
    let subject = common::ev_energy(|sandbox| sandbox.sessions(900)).await;
    dropped_again_and_again(&subject, subject.sync()).await;
    let subject = common::der_connect(|sandbox| sandbox.page_cap(Some(7))).await;
    dropped_again_and_again(&subject, subject.by_asset().since(at(SINCE))).await;
}

#[tokio::test]
async fn one_asset_that_fails_does_not_stop_the_others() {
    let subject = common::der_connect(|sandbox| sandbox).await;
    let broken = subject.sandbox.entity_ids()[0].clone();
    subject.sandbox.inject(Fault::status(404).on_path(&broken).times(1000));
    let sync = subject.by_asset().since(at(SINCE)).concurrency(NonZeroUsize::MIN);
    let report = sync.run().await.unwrap();
    assert!(!report.complete);
    assert_eq!((report.failures.len(), report.slices_left > 0), (1, true), "one request is enough to know");
    assert_eq!(report.failures[0].error.kind(), ErrorKind::NotFound);
    assert_eq!(report.failures[0].slice.as_ref().unwrap().asset.as_ref().unwrap().id, broken);
    let truth = Counted::truth(&*subject.sandbox);
    let others = truth.as_array().unwrap().iter().filter(|entry| entry["entity_id"] != *broken).count();
    assert_eq!(subject.rows().await.len(), others);
    let logged = subject.store.runs(&subject.account, 1).await.unwrap();
    assert!(logged[0].error.is_some());
}

#[tokio::test]
async fn a_provider_that_is_down_is_left_alone() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    subject.sandbox.inject(Fault::status(503).times(1000));
    let sync = subject.sync().since(at("2020-01-01T00:00:00Z")).concurrency(NonZeroUsize::MIN);
    let report = sync.run().await.unwrap();
    assert_eq!((report.failures.len(), subject.requests()), (3, 3), "{report}");
    assert!(!report.complete && report.slices_left > 10, "{report}");
}

#[tokio::test]
async fn a_provider_that_asks_to_come_back_later_is_obeyed() {
    let subject = common::ev_energy(|sandbox| sandbox.sessions(700)).await;
    subject.sandbox.inject(Fault::too_many_requests("retry-after", 7200).after(3));
    let sandbox = (*subject.sandbox).clone();
    let sync = subject.sync().requests(move || sandbox.requests().len().try_into().unwrap());
    let report = sync.run().await.unwrap();
    assert!(!report.complete && report.pages == 3, "{report}");
    assert_eq!(report.requests, Some(5), "with the sign-in");
    let wait = report.resume_at.unwrap().duration_since(at(NOW));
    assert!(SignedDuration::from_secs(7199) < wait && wait < SignedDuration::from_secs(7202), "{report}");
    assert!(report.to_string().contains("to be resumed at"), "{report}");
    assert_eq!(subject.rows().await.len(), 300);
    assert_eq!(subject.requests(), 4);
}

#[tokio::test]
async fn a_refused_cursor_starts_the_slice_again() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    let lease = subject.store.begin(&subject.account, at(NOW)).await.unwrap();
    let slice = Slice { window: None, asset: None, kinds: vec![subject.kind] };
    let mut batch = Batch::new(slice.clone(), None, at(NOW));
    batch.next = Some(Cursor::from("of an older release"));
    subject.store.commit(&*lease, batch).await.unwrap();
    drop(lease);
    let began = Arc::new(Mutex::new(Vec::new()));
    let seen = began.clone();
    let sync = subject.sync().observer(move |event| {
        if let Event::SliceBegun { resumed, .. } = event {
            seen.lock().unwrap().push(*resumed);
        }
    });
    assert!(sync.run().await.unwrap().complete);
    assert_eq!(*began.lock().unwrap(), [true, false]);
    subject.assert_whole().await;
    assert_eq!(subject.store.place(&subject.account, &slice).await.unwrap(), None);
}

#[tokio::test]
async fn two_writers_are_one_too_many() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    let lease = subject.store.begin(&subject.account, at(NOW)).await.unwrap();
    let error = subject.sync().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(subject.requests(), 0);
    drop(lease);
    assert!(subject.sync().run().await.unwrap().complete);
}

#[tokio::test]
async fn credentials_that_are_refused_lose_nothing() {
    let subject = common::podero(|sandbox| sandbox).await;
    subject.sync().run().await.unwrap();
    let (id, org) = (subject.sandbox.client_id(), subject.sandbox.org_id());
    let mut config = charging_sessions_podero::Config::new(id, "wrong".into(), org);
    config.base_url = subject.sandbox.base_url().parse().unwrap();
    config.policy = policy();
    let source = Arc::new(Podero::new(config).unwrap());
    let refused =
        AccountSync::new(source, subject.store.clone(), subject.account.clone(), &[RecordKind::PlugIn]);
    let error = refused.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    subject.assert_whole().await;
    let logged = subject.store.runs(&subject.account, 1).await.unwrap();
    assert_eq!(logged[0].error.as_deref(), Some(error.to_string().as_str()));
}

#[tokio::test]
async fn a_source_of_another_account_is_refused() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    let mut account = subject.account.clone();
    account.account = "work".parse().unwrap();
    let sync =
        AccountSync::new(subject.source.clone(), subject.store.clone(), account.clone(), &[subject.kind]);
    let error = sync.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    account.provider = charging_sessions_podero::PROVIDER;
    let sync = AccountSync::new(subject.source.clone(), subject.store.clone(), account, &[subject.kind]);
    assert_eq!(sync.run().await.unwrap_err().kind(), ErrorKind::Config);
    assert!(subject.rows().await.is_empty());
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let subject = common::der_connect(|sandbox| sandbox).await;
    let report = subject.by_asset().dry_run(true).run().await.unwrap();
    assert!(report.complete && report.dry_run, "{report}");
    assert_eq!(report.counts.new + report.counts.quarantined, subject.truth().len() as u64, "{report}");
    assert!(subject.rows().await.is_empty());
    assert!(subject.store.accounts().await.unwrap().is_empty());
    let run = subject.by_asset().run().await.unwrap();
    assert_eq!((run.counts.new, run.counts.quarantined), (report.counts.new, report.counts.quarantined));
}

#[tokio::test]
async fn records_that_cannot_be_mapped_are_kept_and_counted_once() {
    let subject = common::der_connect(|sandbox| sandbox.days(90)).await;
    let report = subject.by_asset().run().await.unwrap();
    let kept = subject.store.quarantine(Some(&subject.account)).await.unwrap();
    assert!(!kept.is_empty());
    assert_eq!(report.counts.quarantined, kept.len() as u64);
    assert!(report.complete, "{report}");
    let again = subject.by_asset().full(true).run().await.unwrap();
    assert_eq!(again.counts.quarantined, 0, "{again}");
    subject.assert_whole().await;
}

/// A record that could be mapped and no longer can is not one that has vanished.
#[tokio::test]
async fn a_known_record_that_comes_broken_has_not_vanished() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    let sync = subject.sync();
    sync.run().await.unwrap();
    subject.sandbox.inject(Fault::set_field(0, "start", json!([3])));
    let report = sync.run().await.unwrap();
    assert_eq!(report.counts.vanished, 0, "{report}");
}

#[tokio::test]
async fn nothing_falls_between_windows() {
    let subject = common::podero(|sandbox| sandbox).await;
    let user = &subject.sandbox.user_ids()[1];
    let vehicle = subject.sandbox.vehicle_ids(user)[0].clone();
    let model = subject.truth().into_values().next().unwrap();
    let mut starts = Vec::new();
    // Both nights in which clocks change in Europe and in America, at midnight and around the change.
    for day in ["2026-10-25", "2026-11-01", "2026-10-26"] {
        for time in
            ["00:00:00Z", "00:59:59.999999Z", "01:00:00Z", "01:30:00Z", "06:00:00Z", "23:59:59.999999Z"]
        {
            starts.push(format!("{day}T{time}"));
        }
    }
    for start in &starts {
        let mut session = model.clone();
        session["id"] = subject.sandbox.new_id().into();
        (session["plug_in_time"], session["unplug_time"]) = (json!(start), Value::Null);
        assert!(subject.sandbox.mutate(podero::Mutation::Insert { vehicle: vehicle.clone(), session }));
    }
    for hours in [24, 1] {
        let store = Arc::new(SqliteStore::open_in_memory().unwrap());
        let source = subject.source.clone();
        let sync = AccountSync::new(source, store.clone(), subject.account.clone(), &[subject.kind])
            .since(at("2026-10-24T00:00:00Z"))
            .until(at("2026-11-02T00:00:00Z"))
            .window(SignedDuration::from_hours(hours));
        assert!(sync.run().await.unwrap().complete);
        let window = TimeWindow::new(at("2026-10-24T00:00:00Z"), at("2026-11-02T00:00:00Z")).unwrap();
        let mut truth = subject.truth();
        truth.retain(|_, record| window.contains(at(record["plug_in_time"].as_str().unwrap())));
        assert!(truth.len() > starts.len());
        assert!(common::rows(&*store, &subject.account).await == truth);
    }
}

#[tokio::test]
async fn an_entity_that_comes_later_is_read_from_its_beginning() {
    let subject = common::der_connect(|sandbox| sandbox).await;
    let late = subject.sandbox.entity_ids()[0].clone();
    subject.sandbox.inject(Fault::status(404).on_path(&late).times(1));
    assert!(!subject.by_asset().run().await.unwrap().complete);
    let report = subject.by_asset().run().await.unwrap();
    assert!(report.complete, "{report}");
    subject.assert_whole().await;
    let new = der_connect::Mutation::Remove(subject.truth().into_keys().next().unwrap());
    assert!(subject.sandbox.mutate(new));
    assert!(subject.by_asset().full(true).run().await.unwrap().counts.vanished == 1);
    subject.assert_whole().await;
}

#[tokio::test]
async fn an_account_that_cannot_be_listed_fails_without_a_slice() {
    let subject = common::der_connect(|sandbox| sandbox).await;
    subject.sandbox.inject(Fault::status(403));
    let report = subject.by_asset().run().await.unwrap();
    assert!(!report.complete, "{report}");
    assert!(report.failures[0].slice.is_none());
    assert_eq!(report.failures[0].error.kind(), ErrorKind::PermissionDenied);
    assert!(subject.by_asset().run().await.unwrap().complete);
}

#[tokio::test]
async fn who_stops_a_run_does_not_wait_for_the_provider() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    subject.sandbox.inject(Fault::latency(Duration::from_secs(3600)));
    let stop = CancellationToken::new();
    let sync = subject.sync().stop(stop.clone());
    let run = tokio::spawn(async move { sync.run().await });
    while subject.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    let report = run.await.unwrap().unwrap();
    assert_eq!((report.complete, report.pages, report.slices_left), (false, 0, 1), "{report}");
    assert!(report.failures.is_empty(), "{report}");
    assert!(subject.sync().run().await.unwrap().complete);
    subject.assert_whole().await;
}

#[tokio::test]
async fn what_is_odd_about_a_record_is_written_with_it() {
    let subject = common::ev_energy(|sandbox| sandbox).await;
    subject.sandbox.inject(Fault::set_field(0, "percentage_added", json!(170)));
    subject.sync().run().await.unwrap();
    let rows = subject.store.sessions(&Filter::default(), None, 10_000).await.unwrap();
    let odd = rows.iter().filter(|row| row.session.issues.iter().any(|i| i.code == IssueCode::SOC_RANGE));
    let [odd] = *odd.collect::<Vec<_>>() else { panic!("one record is odd") };
    assert_eq!(odd.session.state_of_charge.added, None);
    assert!(odd.session.extra.contains_key("state_of_charge.added"));
}

#[tokio::test]
async fn records_in_good_order_are_not_odd_side_by_side() {
    async fn findings<S: Counted>(subject: &Subject<S>) -> Vec<relations::Finding> {
        subject.sync().run().await.unwrap();
        let rows = subject.store.sessions(&Filter::default(), None, 10_000).await.unwrap();
        assert!(rows.len() > 50);
        relations::relations(rows.iter().map(|row| &row.session))
    }
    assert_eq!(findings(&common::ev_energy(|sandbox| sandbox.dirt(false)).await).await, []);
    assert_eq!(findings(&common::podero(|sandbox| sandbox.dirt(false)).await).await, []);
    assert_eq!(findings(&common::der_connect(|sandbox| sandbox.dirt(false)).await).await, []);
    assert_eq!(findings(&common::evcc(|sandbox| sandbox.dirt(false)).await).await, []);
}
