//! What every store must do, sentence by sentence of its contract. Each test gets an empty store.

use charging_sessions_core::{
    AccountId, AssetRef, ChargePoint, ChargingSession, Cost, CostBasis, Currency, Cursor, Detail, Endpoint,
    Energy, EnergyReading, ErrorKind, Interval, IssueCode, MeasuringPoint, Money, Parties, Payload, Percent,
    Provenance, ProviderId, RecordContext, RecordKind, RejectedRecord, Relation, RelationKind, SessionKey,
    SessionStatus, TimeWindow, Vehicle, Zone, ZoneSource,
};
use charging_sessions_store::{
    Account, Batch, Changes, Filter, Hash, Lease, Reason, Recorded, RunReport, SessionStore, Slice,
    content_hash,
};
use jiff::{SignedDuration, Timestamp};

/// Calls a macro with the names of all tests here.
#[macro_export]
macro_rules! each_test {
    ($call:ident) => {
        $call! {
            a_new_record_comes_back_as_it_was,
            the_same_batch_again_changes_nothing_but_when_it_was_seen,
            other_content_is_a_revision,
            the_later_of_two_with_one_key_wins,
            intervals_are_not_forgotten_unless_the_energy_is_another,
            what_comes_whole_leaves_the_quarantine,
            a_batch_is_written_as_a_whole_or_not_at_all,
            the_place_moves_with_the_rows,
            a_page_from_elsewhere_is_refused,
            a_listing_that_is_given_up_starts_again,
            slices_do_not_share_their_places,
            what_is_no_longer_listed_has_vanished_and_may_return,
            what_returns_with_other_content_has_changed_too,
            only_what_belongs_to_the_slice_vanishes,
            what_came_in_any_page_of_the_listing_has_not_vanished,
            overlapping_listings_do_not_undo_each_other,
            a_listing_that_starts_again_forgets_what_it_had_seen,
            an_unreadable_record_has_not_vanished,
            nothing_vanishes_when_a_record_has_no_name,
            a_known_parent_is_kept,
            relations_add_up,
            rejected_records_are_kept_until_they_are_released,
            what_was_read_as_a_whole_is_covered,
            a_remapping_is_a_revision_of_its_own,
            history_is_in_the_order_of_writing,
            history_is_read_in_pages_of_one_account_or_of_all,
            runs_are_logged,
            one_writer_for_each_account,
            an_old_lease_is_refused,
            filters_hold_together,
            pages_of_sessions_follow_their_order,
            a_record_is_found_by_its_handle,
            hostile_text_comes_back_unchanged,
            payloads_are_kept_once,
            what_is_not_there_is_not_an_error,
        }
    };
}

pub(crate) const PROVIDER: ProviderId = ProviderId::new("ev-energy");

pub(crate) fn account(name: &str) -> Account {
    Account { provider: PROVIDER, account: name.parse().unwrap() }
}

pub(crate) fn home() -> Account {
    account("home")
}

/// `2026-03-01` and so many minutes.
pub(crate) fn at(minutes: i64) -> Timestamp {
    "2026-03-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
}

pub(crate) fn key(id: &str) -> SessionKey {
    SessionKey::new(PROVIDER, home().account, RecordKind::Segment, id)
}

/// A record that starts so many minutes after [`at`]`(0)`.
pub(crate) fn session(id: &str, start: i64) -> ChargingSession {
    let endpoint = Endpoint::new("GET /charging_sub_sessions", Some("v2"));
    let payload = Payload::from(format!("{{\"id\":\"{id}\",\"start\":{start}}}"));
    let origin = Provenance::new(endpoint, at(start), 1).with_payload(payload);
    let mut session = ChargingSession::new(key(id), SessionStatus::Completed, origin);
    session.timing.period.start = Some(at(start));
    session.timing.period.end = Some(at(start + 60));
    session.energy.readings =
        vec![EnergyReading::import(Energy::from_mwh(7_000_001), MeasuringPoint::Supply)];
    session
}

/// Another content.
pub(crate) fn with_energy(mut session: ChargingSession, wh: i64) -> ChargingSession {
    session.energy.readings[0].energy = Energy::from_wh(wh).unwrap();
    session
}

pub(crate) fn all() -> Slice {
    Slice { window: None, asset: None, kinds: vec![RecordKind::Segment] }
}

pub(crate) fn window(from: i64, until: i64) -> Option<TimeWindow> {
    TimeWindow::new(at(from), at(until))
}

/// A page of the only slice, which is a whole listing.
pub(crate) fn page(sessions: &[ChargingSession], now: i64) -> Batch {
    let mut batch = Batch::new(all(), None, at(now));
    batch.sessions = sessions.to_vec();
    batch
}

/// A page of a listing that goes on.
pub(crate) fn part(slice: &Slice, from: &str, next: &str, sessions: &[ChargingSession], now: i64) -> Batch {
    let cursor = |text: &str| (!text.is_empty()).then(|| Cursor::from(text));
    let mut batch = Batch::new(slice.clone(), cursor(from), at(now));
    batch.next = cursor(next);
    batch.sessions = sessions.to_vec();
    batch
}

pub(crate) fn rejected(id: Option<&str>, bytes: &str) -> RejectedRecord {
    let record = RejectedRecord::new(
        IssueCode::FIELD_UNREADABLE,
        "/3/start",
        "`start` is no instant",
        bytes.to_owned(),
    );
    let origin = Provenance::new(Endpoint::new("GET /x", Some("1")), at(3), 7);
    let mut parties = Parties::default();
    parties.user_id = Some("u1".into());
    let context = RecordContext::new(RecordKind::Charge, &origin).with_parties(parties);
    record.with_id(id.map(str::to_owned)).with_context(&context)
}

async fn write(store: &dyn SessionStore, batch: Batch) -> Changes {
    let lease = store.begin(&home(), at(0)).await.unwrap();
    store.commit(&*lease, batch).await.unwrap()
}

async fn reasons(store: &dyn SessionStore, id: &str) -> Vec<Reason> {
    let revisions = store.revisions(&key(id)).await.unwrap();
    for (place, revision) in revisions.iter().enumerate() {
        assert_eq!(revision.number as usize, place + 1);
    }
    revisions.into_iter().map(|revision| revision.reason).collect()
}

async fn missing(store: &dyn SessionStore) -> Vec<String> {
    let filter = filter(|filter| filter.vanished = Some(true));
    ids(store, &filter).await
}

async fn ids(store: &dyn SessionStore, filter: &Filter) -> Vec<String> {
    let found = store.sessions(filter, None, 1000).await.unwrap();
    found.into_iter().map(|stored| stored.session.identity.key.source_id).collect()
}

fn filter(set: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    set(&mut filter);
    filter
}

fn stripped(mut session: ChargingSession) -> ChargingSession {
    session.provenance.payload = None;
    session
}

pub(crate) async fn a_new_record_comes_back_as_it_was(store: &dyn SessionStore) {
    let mut full = session("a", 0);
    full.timing.zone = Some(Zone::new("Europe/London", ZoneSource::Provider));
    full.timing.period.start = Some(at(0) + SignedDuration::from_nanos(123_456_789));
    full.costs.cost = Some(Cost::new(
        Money::new("-12345678901234567890.000000001".parse().unwrap(), Currency::parse("GBP").unwrap()),
        CostBasis::Billed,
    ));
    full.details.intervals = Detail::Some(vec![Interval::lasting(Some(at(0)), Some(60))]);
    full.extra.insert("odd".into(), serde_json::json!({"x": [1, null, "é"]}));
    let changes = write(store, page(std::slice::from_ref(&full), 5)).await;
    assert_eq!(changes.new, [key("a")]);
    assert_eq!(changes, {
        let mut only = Changes::default();
        only.new = vec![key("a")];
        only
    });

    let stored = store.session(&key("a")).await.unwrap().unwrap();
    assert_eq!(stored.session, stripped(full.clone()));
    assert_eq!((stored.revision, stored.missing_since), (1, None));
    assert_eq!((stored.first_seen_at, stored.last_seen_at), (at(5), at(5)));
    assert_eq!(stored.content, content_hash(&full));
    let payload = full.provenance.payload.unwrap();
    assert_eq!(stored.payload, Some(Hash::of(payload.as_bytes())));
    assert_eq!(store.payload(&stored.payload.unwrap()).await.unwrap(), Some(payload));

    let revisions = store.revisions(&key("a")).await.unwrap();
    assert_eq!(revisions.len(), 1);
    assert_eq!((revisions[0].at, revisions[0].reason), (at(5), Reason::New));
    assert_eq!(revisions[0].session, stored.session);
    assert_eq!((revisions[0].content, revisions[0].payload), (stored.content, stored.payload));
}

pub(crate) async fn the_same_batch_again_changes_nothing_but_when_it_was_seen(store: &dyn SessionStore) {
    let records = [session("a", 0), session("b", 1)];
    write(store, page(&records, 5)).await;
    let before = store.sessions(&Filter::default(), None, 10).await.unwrap();
    let changes = write(store, page(&records, 9)).await;
    assert_eq!(changes, {
        let mut none = Changes::default();
        none.unchanged = 2;
        none
    });
    let mut after = store.sessions(&Filter::default(), None, 10).await.unwrap();
    for stored in &mut after {
        assert_eq!((stored.first_seen_at, stored.last_seen_at), (at(5), at(9)));
        stored.last_seen_at = at(5);
    }
    assert_eq!(after, before);
    assert_eq!(reasons(store, "a").await, [Reason::New]);
}

pub(crate) async fn other_content_is_a_revision(store: &dyn SessionStore) {
    write(store, page(&[session("a", 0)], 5)).await;
    // How it reached us is no content.
    let mut again = session("a", 0);
    again.provenance.fetched_at = at(99);
    assert_eq!(write(store, page(&[again], 6)).await.unchanged, 1);
    let mut other = with_energy(session("a", 0), 8);
    other.timing.period.start = Some(at(7));
    other.provenance.payload = Some(Payload::from("other"));
    let changes = write(store, page(std::slice::from_ref(&other), 7)).await;
    assert_eq!((changes.changed, changes.unchanged), (vec![key("a")], 0));
    let stored = store.session(&key("a")).await.unwrap().unwrap();
    assert_eq!(stored.session, stripped(other));
    assert_eq!((stored.revision, stored.first_seen_at, stored.last_seen_at), (2, at(5), at(7)));
    assert_eq!(stored.payload, Some(Hash::of(b"other")));
    let revisions = store.revisions(&key("a")).await.unwrap();
    assert_eq!(reasons(store, "a").await, [Reason::New, Reason::Changed]);
    assert_eq!(revisions[0].session, stripped(session("a", 0)));
    // And back again is a third.
    write(store, page(&[session("a", 0)], 8)).await;
    assert_eq!(reasons(store, "a").await.len(), 3);
}

pub(crate) async fn the_later_of_two_with_one_key_wins(store: &dyn SessionStore) {
    let twice = [with_energy(session("a", 0), 1), session("b", 0), with_energy(session("a", 0), 2)];
    let changes = write(store, page(&twice, 5)).await;
    assert_eq!(changes.new, [key("b"), key("a")]);
    assert!(changes.changed.is_empty() && changes.unchanged == 0);
    let stored = store.session(&key("a")).await.unwrap().unwrap();
    assert_eq!(stored.session.energy.headline(), Energy::from_wh(2));
    assert_eq!(stored.revision, 1);
}

pub(crate) async fn a_batch_is_written_as_a_whole_or_not_at_all(store: &dyn SessionStore) {
    let mut foreign = session("b", 0);
    foreign.identity.key.account = "work".parse().unwrap();
    let lease = store.begin(&home(), at(0)).await.unwrap();
    let mut batch = part(&all(), "", "2", &[session("a", 0), foreign], 5);
    batch.rejected.push(rejected(Some("c"), "{}"));
    let error = store.commit(&*lease, batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(store.sessions(&Filter::default(), None, 10).await.unwrap().is_empty());
    assert_eq!(store.place(&home(), &all()).await.unwrap(), None);
    assert!(store.quarantine(None).await.unwrap().is_empty());
    // The lease is as good as before.
    store.commit(&*lease, page(&[session("a", 0)], 5)).await.unwrap();
}

pub(crate) async fn the_place_moves_with_the_rows(store: &dyn SessionStore) {
    let lease = store.begin(&home(), at(0)).await.unwrap();
    assert_eq!(store.place(&home(), &all()).await.unwrap(), None);
    store.commit(&*lease, part(&all(), "", "2", &[session("a", 0)], 1)).await.unwrap();
    assert_eq!(store.place(&home(), &all()).await.unwrap(), Some(Cursor::from("2")));
    assert!(store.coverage(&home()).await.unwrap().is_empty());
    drop(lease);
    // The next run goes on.
    let lease = store.begin(&home(), at(2)).await.unwrap();
    store.commit(&*lease, part(&all(), "2", "3", &[], 2)).await.unwrap();
    store.commit(&*lease, part(&all(), "3", "", &[session("b", 0)], 3)).await.unwrap();
    assert_eq!(store.place(&home(), &all()).await.unwrap(), None);
    let covered = store.coverage(&home()).await.unwrap();
    assert_eq!((covered[0].began_at, covered[0].completed_at), (at(1), at(3)));
}

pub(crate) async fn a_page_from_elsewhere_is_refused(store: &dyn SessionStore) {
    let lease = store.begin(&home(), at(0)).await.unwrap();
    let refused = |batch| async { store.commit(&*lease, batch).await.unwrap_err().kind() };
    assert_eq!(refused(part(&all(), "9", "", &[session("a", 0)], 1)).await, ErrorKind::Conflict);
    store.commit(&*lease, part(&all(), "", "2", &[], 1)).await.unwrap();
    assert_eq!(refused(part(&all(), "", "2", &[session("a", 0)], 1)).await, ErrorKind::Conflict);
    assert_eq!(refused(part(&all(), "3", "4", &[session("a", 0)], 1)).await, ErrorKind::Conflict);
    assert!(store.sessions(&Filter::default(), None, 10).await.unwrap().is_empty());
    assert_eq!(store.place(&home(), &all()).await.unwrap(), Some(Cursor::from("2")));
}

pub(crate) async fn a_listing_that_is_given_up_starts_again(store: &dyn SessionStore) {
    let lease = store.begin(&home(), at(0)).await.unwrap();
    store.commit(&*lease, part(&all(), "", "2", &[], 1)).await.unwrap();
    store.restart(&*lease, &all()).await.unwrap();
    assert_eq!(store.place(&home(), &all()).await.unwrap(), None);
    store.restart(&*lease, &all()).await.unwrap();
    store.commit(&*lease, part(&all(), "", "", &[], 4)).await.unwrap();
    assert_eq!(store.coverage(&home()).await.unwrap()[0].began_at, at(4));
}

pub(crate) async fn slices_do_not_share_their_places(store: &dyn SessionStore) {
    let slices = [
        all(),
        Slice { kinds: vec![RecordKind::PlugIn], ..all() },
        Slice { kinds: vec![RecordKind::PlugIn, RecordKind::Segment], ..all() },
        Slice { window: window(0, 1), ..all() },
        Slice { window: window(0, 2), ..all() },
        Slice { asset: Some(AssetRef::vehicle("v")), ..all() },
        Slice { asset: Some(AssetRef::charge_point("v")), ..all() },
    ];
    let lease = store.begin(&home(), at(0)).await.unwrap();
    for (number, slice) in slices.iter().enumerate() {
        store.commit(&*lease, part(slice, "", &number.to_string(), &[], 1)).await.unwrap();
    }
    for (number, slice) in slices.iter().enumerate() {
        let place = store.place(&home(), slice).await.unwrap();
        assert_eq!(place, Some(Cursor::from(number.to_string().as_str())));
        assert_eq!(store.place(&account("work"), slice).await.unwrap(), None);
    }
    // The order of the kinds, and repetition, are no difference.
    let same = Slice { kinds: vec![RecordKind::Segment, RecordKind::PlugIn, RecordKind::Segment], ..all() };
    assert_eq!(store.place(&home(), &same).await.unwrap(), Some(Cursor::from("2")));
}

pub(crate) async fn what_is_no_longer_listed_has_vanished_and_may_return(store: &dyn SessionStore) {
    let (a, b) = (session("a", 0), session("b", 1));
    write(store, page(&[a.clone(), b.clone()], 5)).await;
    let changes = write(store, page(std::slice::from_ref(&a), 6)).await;
    assert_eq!((changes.vanished, changes.unchanged), (vec![key("b")], 1));
    let gone = store.session(&key("b")).await.unwrap().unwrap();
    assert_eq!((gone.missing_since, gone.last_seen_at, gone.revision), (Some(at(6)), at(5), 2));
    assert_eq!(gone.session, stripped(b.clone()));
    // It vanishes once.
    let changes = write(store, page(std::slice::from_ref(&a), 7)).await;
    assert!(changes.vanished.is_empty());
    assert_eq!(store.session(&key("b")).await.unwrap().unwrap().missing_since, Some(at(6)));

    let changes = write(store, page(&[a, b], 8)).await;
    assert_eq!((changes.returned, changes.changed, changes.unchanged), (vec![key("b")], vec![], 1));
    let back = store.session(&key("b")).await.unwrap().unwrap();
    assert_eq!((back.missing_since, back.first_seen_at, back.last_seen_at), (None, at(5), at(8)));
    assert_eq!(reasons(store, "b").await, [Reason::New, Reason::Vanished, Reason::Returned]);
    assert_eq!(back.revision, 3);
}

pub(crate) async fn what_returns_with_other_content_has_changed_too(store: &dyn SessionStore) {
    write(store, page(&[session("a", 0)], 5)).await;
    write(store, page(&[], 6)).await;
    let changes = write(store, page(&[with_energy(session("a", 0), 9)], 7)).await;
    assert_eq!((changes.returned, changes.changed), (vec![key("a")], vec![key("a")]));
    assert_eq!(reasons(store, "a").await, [Reason::New, Reason::Vanished, Reason::Returned]);
    assert_eq!(store.session(&key("a")).await.unwrap().unwrap().missing_since, None);
}

pub(crate) async fn only_what_belongs_to_the_slice_vanishes(store: &dyn SessionStore) {
    let vehicle = |id: &str, start: i64, vehicle: &str| {
        let mut session = session(id, start);
        session.parties.vehicle = Some(Vehicle::of(vehicle));
        session.parties.charge_point = Some(ChargePoint::of("cp"));
        session
    };
    let mut timeless = vehicle("timeless", 0, "v");
    timeless.timing.period.start = None;
    let mut other_kind = vehicle("other_kind", 10, "v");
    other_kind.identity.key.kind = RecordKind::PlugIn;
    let records = [
        vehicle("first", 10, "v"),
        vehicle("before", 9, "v"),
        vehicle("last", 19, "v"),
        vehicle("after", 20, "v"),
        vehicle("other_vehicle", 10, "w"),
        session("no_vehicle", 10),
        timeless,
        other_kind,
    ];
    write(store, page(&records, 30)).await;
    // The same in another account.
    let lease = store.begin(&account("work"), at(0)).await.unwrap();
    let mut elsewhere = vehicle("first", 10, "v");
    elsewhere.identity.key.account = "work".parse().unwrap();
    store.commit(&*lease, page(&[elsewhere], 30)).await.unwrap();

    let slice = Slice { window: window(10, 20), asset: Some(AssetRef::vehicle("v")), ..all() };
    let changes = write(store, part(&slice, "", "", &[], 31)).await;
    assert_eq!(changes.vanished, [key("first"), key("last")]);
    assert_eq!(missing(store).await, ["first", "last"]);
    let none = Slice { kinds: vec![], ..all() };
    assert!(write(store, part(&none, "", "", &[], 32)).await.vanished.is_empty());
    let point = Slice { asset: Some(AssetRef::charge_point("cp")), ..all() };
    let changes = write(store, part(&point, "", "", &[], 33)).await;
    let gone: Vec<_> = changes.vanished.iter().map(|key| key.source_id.as_str()).collect();
    assert_eq!(gone, ["after", "before", "other_vehicle", "timeless"]);
    let changes = write(store, part(&all(), "", "", &[], 34)).await;
    assert_eq!(changes.vanished, [key("no_vehicle")]);
}

pub(crate) async fn what_came_in_any_page_of_the_listing_has_not_vanished(store: &dyn SessionStore) {
    let [a, b, c] = ["a", "b", "c"].map(|id| session(id, 0));
    write(store, page(&[a.clone(), b.clone(), c], 5)).await;
    // All at one moment: no clock decides.
    write(store, part(&all(), "", "2", &[a], 5)).await;
    assert!(missing(store).await.is_empty());
    let changes = write(store, part(&all(), "2", "", &[b], 5)).await;
    assert_eq!(changes.vanished, [key("c")]);
}

pub(crate) async fn overlapping_listings_do_not_undo_each_other(store: &dyn SessionStore) {
    let narrow = Slice { window: window(0, 100), ..all() };
    let [a, b] = ["a", "b"].map(|id| session(id, 0));
    write(store, page(&[a.clone(), b.clone()], 5)).await;
    write(store, part(&all(), "", "2", std::slice::from_ref(&a), 6)).await;
    write(store, part(&narrow, "", "n", std::slice::from_ref(&a), 6)).await;
    // The wide listing sees `b` after the narrow one has begun: it is there for both.
    let changes = write(store, part(&all(), "2", "", &[b], 6)).await;
    assert!(changes.vanished.is_empty());
    let changes = write(store, part(&narrow, "n", "", &[], 6)).await;
    assert!(changes.vanished.is_empty(), "{changes:?}");
}

pub(crate) async fn a_listing_that_starts_again_forgets_what_it_had_seen(store: &dyn SessionStore) {
    let lease = store.begin(&home(), at(0)).await.unwrap();
    store.commit(&*lease, part(&all(), "", "2", &[session("a", 0)], 5)).await.unwrap();
    store.restart(&*lease, &all()).await.unwrap();
    store.commit(&*lease, part(&all(), "", "2", &[session("b", 0)], 5)).await.unwrap();
    let changes = store.commit(&*lease, part(&all(), "2", "", &[], 5)).await.unwrap();
    assert_eq!(changes.vanished, [key("a")]);
}

pub(crate) async fn an_unreadable_record_has_not_vanished(store: &dyn SessionStore) {
    write(store, page(&[session("a", 0), session("b", 0)], 5)).await;
    let mut batch = page(&[], 6);
    batch.rejected.push(rejected(Some("a"), "{\"id\":\"a\"}"));
    let changes = write(store, batch).await;
    assert_eq!((changes.vanished, changes.quarantined), (vec![key("b")], 1));
    assert_eq!(store.session(&key("a")).await.unwrap().unwrap().last_seen_at, at(6));
}

pub(crate) async fn nothing_vanishes_when_a_record_has_no_name(store: &dyn SessionStore) {
    write(store, page(&[session("a", 0)], 5)).await;
    let mut batch = part(&all(), "", "2", &[], 6);
    batch.rejected.push(rejected(None, "[]"));
    write(store, batch).await;
    write(store, part(&all(), "2", "3", &[], 6)).await;
    assert!(write(store, part(&all(), "3", "", &[], 6)).await.vanished.is_empty());
    assert_eq!(store.coverage(&home()).await.unwrap().len(), 1);
    // The next listing is without it.
    assert_eq!(write(store, page(&[], 7)).await.vanished, [key("a")]);
}

pub(crate) async fn a_known_parent_is_kept(store: &dyn SessionStore) {
    let child = |parent: Option<&str>| {
        let mut session = session("a", 0);
        session.identity.parent = parent.map(key);
        session
    };
    let parent = || async { store.session(&key("a")).await.unwrap().unwrap().session.identity.parent };
    write(store, page(&[child(None)], 5)).await;
    assert_eq!(parent().await, None);
    // A parent is no content, and is kept all the same.
    assert_eq!(write(store, page(&[child(Some("p"))], 6)).await.unchanged, 1);
    assert_eq!(parent().await, Some(key("p")));
    write(store, page(&[child(None)], 7)).await;
    assert_eq!(parent().await, Some(key("p")));
    write(store, page(&[with_energy(child(None), 3)], 8)).await;
    assert_eq!(parent().await, Some(key("p")));
    write(store, page(&[child(Some("q"))], 9)).await;
    assert_eq!(parent().await, Some(key("q")));
    let listed = store.sessions(&Filter::default(), None, 1).await.unwrap();
    assert_eq!(listed[0].session.identity.parent, Some(key("q")));
}

pub(crate) async fn relations_add_up(store: &dyn SessionStore) {
    let related = |to: &str, confidence: Option<i64>| {
        let mut session = session("a", 0);
        let mut relation = Relation::new(key(to), RelationKind::SameCharge);
        relation.confidence = confidence.map(Percent::from);
        session.identity.related = vec![relation];
        session
    };
    write(store, page(&[related("x", Some(80))], 5)).await;
    write(store, page(&[related("y", None)], 6)).await;
    write(store, page(&[related("x", Some(90))], 7)).await;
    let identity = store.session(&key("a")).await.unwrap().unwrap().session.identity;
    let found: Vec<_> = identity.related.into_iter().map(|it| (it.key, it.confidence)).collect();
    assert_eq!(found, [(key("x"), Some(Percent::from(90))), (key("y"), None)]);
}

pub(crate) async fn rejected_records_are_kept_until_they_are_released(store: &dyn SessionStore) {
    let one = rejected(Some("a"), "{\"id\":\"a\",\"start\":7}");
    let batch = |now| {
        let mut batch = page(&[], now);
        batch.rejected = vec![one.clone(), rejected(None, "7"), one.clone()];
        batch
    };
    assert_eq!(write(store, batch(5)).await.quarantined, 2);
    assert_eq!(write(store, batch(6)).await.quarantined, 0);
    let lease = store.begin(&account("work"), at(0)).await.unwrap();
    store.commit(&*lease, batch(7)).await.unwrap();

    let kept = store.quarantine(Some(&home())).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!((&kept[0].account, &kept[0].record), (&home(), &one));
    assert_eq!((kept[0].first_seen_at, kept[0].last_seen_at), (at(5), at(6)));
    assert_eq!(kept[1].record.id, None);
    assert_eq!(store.quarantine(None).await.unwrap().len(), 4);

    let hash = Hash::of(one.payload.as_bytes());
    store.release(&*lease, &[hash, Hash::of(b"not there")]).await.unwrap();
    assert_eq!(store.quarantine(Some(&account("work"))).await.unwrap().len(), 1);
    assert_eq!(store.quarantine(Some(&home())).await.unwrap().len(), 2);
    // The bytes stay.
    assert_eq!(store.payload(&hash).await.unwrap(), Some(one.payload));
}

pub(crate) async fn what_comes_whole_leaves_the_quarantine(store: &dyn SessionStore) {
    let mut batch = page(&[], 5);
    batch.rejected = vec![rejected(Some("a"), "7"), rejected(Some("b"), "8"), rejected(None, "9")];
    write(store, batch).await;
    write(store, page(&[session("a", 10)], 6)).await;
    let ids: Vec<_> = store.quarantine(None).await.unwrap().into_iter().map(|kept| kept.record.id).collect();
    assert_eq!(ids.len(), 2);
    assert!(!ids.contains(&Some("a".into())), "{ids:?}");
}

pub(crate) async fn intervals_are_not_forgotten_unless_the_energy_is_another(store: &dyn SessionStore) {
    let plain = session("a", 10);
    let mut whole = plain.clone();
    let mut interval = Interval::lasting(Some(at(10)), Some(60));
    interval.energy = plain.energy.headline();
    whole.set_intervals(vec![interval]);
    // Without them nothing tells when energy flowed, so that is what differs.
    let mut listed = whole.clone();
    listed.details = Default::default();
    write(store, page(&[whole.clone()], 5)).await;
    let changes = write(store, page(&[listed.clone()], 6)).await;
    assert_eq!((changes.unchanged, changes.changed.len()), (1, 0));
    let stored = store.session(whole.key()).await.unwrap().unwrap();
    assert_eq!((stored.revision, &stored.session.details), (1, &whole.details));

    listed.state.status = SessionStatus::Invalid;
    write(store, page(&[listed.clone()], 7)).await;
    let stored = store.session(whole.key()).await.unwrap().unwrap();
    assert_eq!((stored.revision, &stored.session.details), (2, &whole.details));

    listed.energy.readings = vec![EnergyReading::import(Energy::from_mwh(1), MeasuringPoint::Supply)];
    write(store, page(&[listed.clone()], 8)).await;
    let stored = store.session(whole.key()).await.unwrap().unwrap();
    assert_eq!((stored.revision, &stored.session.details), (3, &listed.details));
}

pub(crate) async fn what_was_read_as_a_whole_is_covered(store: &dyn SessionStore) {
    let slices = [
        Slice { window: window(20, 30), ..all() },
        Slice { window: window(-10, 20), ..all() },
        Slice { asset: Some(AssetRef::vehicle("v")), ..all() },
    ];
    for (number, slice) in slices.iter().enumerate() {
        write(store, part(slice, "", "", &[], number as i64)).await;
    }
    let covered = store.coverage(&home()).await.unwrap();
    let found: Vec<_> = covered.iter().map(|it| (it.slice.clone(), it.began_at, it.completed_at)).collect();
    let [late, early, whole] = slices;
    let expected = [(whole, at(2), at(2)), (early, at(1), at(1)), (late.clone(), at(0), at(0))];
    assert_eq!(found, expected);
    write(store, part(&late, "", "", &[], 9)).await;
    let covered = store.coverage(&home()).await.unwrap();
    assert_eq!((covered.len(), covered[2].completed_at), (3, at(9)));
    assert!(store.coverage(&account("work")).await.unwrap().is_empty());
}

pub(crate) async fn a_remapping_is_a_revision_of_its_own(store: &dyn SessionStore) {
    write(store, page(&[session("a", 0), session("b", 0), session("c", 0)], 5)).await;
    let payload = store.session(&key("b")).await.unwrap().unwrap().payload;
    write(store, page(&[session("a", 0), session("b", 0)], 6)).await;
    let newer = |mut session: ChargingSession| {
        session.provenance.mapping_version = 2;
        session.provenance.payload = None;
        session
    };
    let sessions = vec![
        newer(session("a", 0)),
        newer(with_energy(session("b", 0), 5)),
        newer(with_energy(session("c", 0), 5)),
        newer(session("d", 0)),
    ];
    let lease = store.begin(&home(), at(0)).await.unwrap();
    let changes = store.remap(&*lease, sessions.clone(), at(7)).await.unwrap();
    assert_eq!((changes.new, changes.unchanged), (vec![key("d")], 1));
    assert_eq!(changes.changed, [key("b"), key("c")]);
    assert_eq!((changes.vanished, changes.returned), (vec![], vec![]));
    assert_eq!(reasons(store, "a").await, [Reason::New]);
    assert_eq!(reasons(store, "b").await, [Reason::New, Reason::Remapped]);
    assert_eq!(reasons(store, "c").await, [Reason::New, Reason::Vanished, Reason::Remapped]);
    assert_eq!(reasons(store, "d").await, [Reason::New]);
    for stored in store.sessions(&Filter::default(), None, 10).await.unwrap() {
        assert_eq!(stored.session.provenance.mapping_version, 2);
    }
    // It is mapped from the same bytes, and was not seen anew; what had vanished still has.
    let b = store.session(&key("b")).await.unwrap().unwrap();
    assert_eq!((b.payload, b.last_seen_at), (payload, at(6)));
    assert_eq!(missing(store).await, ["c"]);
    let again = store.remap(&*lease, sessions, at(8)).await.unwrap();
    assert_eq!(again.unchanged, 4);
}

pub(crate) async fn history_is_in_the_order_of_writing(store: &dyn SessionStore) {
    let (a, b) = (session("a", 0), session("b", 0));
    let more = with_energy(a.clone(), 9);
    write(store, page(&[b.clone(), a.clone()], 5)).await;
    write(store, page(std::slice::from_ref(&a), 6)).await;
    write(store, page(std::slice::from_ref(&a), 7)).await;
    write(store, page(&[more.clone(), b.clone()], 8)).await;
    let all = store.history(None, Timestamp::MIN, None, 100).await.unwrap();
    let [a, b, more] = [a, b, more].map(stripped);
    let found: Vec<_> = all
        .iter()
        .map(|it| (it.revision.at, it.revision.reason, &it.revision.session, it.before.as_ref()))
        .collect();
    assert_eq!(
        found,
        [
            (at(5), Reason::New, &b, None),
            (at(5), Reason::New, &a, None),
            (at(6), Reason::Vanished, &b, Some(&b)),
            (at(8), Reason::Changed, &more, Some(&a)),
            (at(8), Reason::Returned, &b, Some(&b)),
        ]
    );
    // They are the revisions of each record.
    for recorded in &all {
        let revisions = store.revisions(recorded.revision.session.key()).await.unwrap();
        assert_eq!(revisions[recorded.revision.number as usize - 1], recorded.revision);
    }
    for (since, number) in [(5, 5), (6, 3), (7, 2), (8, 2), (9, 0)] {
        assert_eq!(store.history(None, at(since), None, 100).await.unwrap(), all[5 - number..], "{since}");
    }
    assert!(store.history(None, Timestamp::MAX, None, 100).await.unwrap().is_empty());
}

pub(crate) async fn history_is_read_in_pages_of_one_account_or_of_all(store: &dyn SessionStore) {
    assert!(store.history(None, Timestamp::MIN, None, 9).await.unwrap().is_empty());
    for number in 0..5_i64 {
        let name = if number % 2 == 0 { "home" } else { "work" };
        let lease = store.begin(&account(name), at(0)).await.unwrap();
        let mut session = session(&number.to_string(), number);
        session.identity.key.account = name.parse().unwrap();
        // Written at the same moment, or by a clock that was set back.
        store
            .commit(&*lease, part(&Slice { kinds: vec![], ..all() }, "", "", &[session], -number / 3))
            .await
            .unwrap();
    }
    let ids = |found: &[Recorded]| {
        found.iter().map(|it| it.revision.session.key().source_id.clone()).collect::<Vec<_>>().join(" ")
    };
    for limit in [1, 2, 100] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = store.history(None, Timestamp::MIN, after, limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else { break };
            assert!(Some(last.position) > after);
            after = Some(last.position);
            found.extend(page);
        }
        assert_eq!(ids(&found), "0 1 2 3 4", "{limit}");
    }
    assert_eq!(ids(&store.history(Some(&home()), Timestamp::MIN, None, 9).await.unwrap()), "0 2 4");
    assert_eq!(ids(&store.history(Some(&account("work")), Timestamp::MIN, None, 9).await.unwrap()), "1 3");
    assert_eq!(ids(&store.history(None, at(0), None, 9).await.unwrap()), "0 1 2");
    assert!(store.history(Some(&account("never")), Timestamp::MIN, None, 9).await.unwrap().is_empty());
    assert!(store.history(None, Timestamp::MIN, Some(u64::MAX), 9).await.unwrap().is_empty());
    assert!(store.history(None, Timestamp::MIN, None, 0).await.unwrap().is_empty());
}

pub(crate) async fn runs_are_logged(store: &dyn SessionStore) {
    let lease = store.begin(&home(), at(0)).await.unwrap();
    let mut all = Vec::new();
    for number in 0..3 {
        let mut run = RunReport::default();
        (run.began_at, run.ended_at, run.requests) = (at(number), at(number + 1), u64::MAX);
        run.counts = [1, 2, 3, 4, 5, 6];
        run.error = (number == 1).then(|| "it's \u{1b}[31mover\0".to_owned());
        store.log_run(&*lease, &run).await.unwrap();
        all.insert(0, run);
    }
    assert_eq!(store.runs(&home(), 10).await.unwrap(), all);
    assert_eq!(store.runs(&home(), 2).await.unwrap(), all[..2]);
    assert!(store.runs(&account("work"), 2).await.unwrap().is_empty());
}

pub(crate) async fn one_writer_for_each_account(store: &dyn SessionStore) {
    assert!(store.accounts().await.unwrap().is_empty());
    let first = store.begin(&home(), at(0)).await.unwrap();
    let error = store.begin(&home(), at(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let text = error.to_string();
    assert!(text.contains("ev-energy/home is being written to by"), "{text}");
    assert!(text.contains("since 2026-03-01T00:00:00Z"), "{text}");
    // Others are free, and a refusal leaves no trace.
    let other = store.begin(&account("a"), at(1)).await.unwrap();
    assert_eq!(other.account(), &account("a"));
    store.commit(&*first, page(&[session("a", 0)], 5)).await.unwrap();
    assert_eq!(store.accounts().await.unwrap(), [account("a"), home()]);
    let epoch = first.epoch();
    drop(first);
    assert!(store.begin(&home(), at(2)).await.unwrap().epoch() > epoch);
}

/// A lease that outlives what held it.
#[derive(Debug)]
struct Stale(Account, u64);

impl Lease for Stale {
    fn account(&self) -> &Account {
        &self.0
    }
    fn epoch(&self) -> u64 {
        self.1
    }
}

pub(crate) async fn an_old_lease_is_refused(store: &dyn SessionStore) {
    let first = store.begin(&home(), at(0)).await.unwrap();
    let stale = Stale(home(), first.epoch());
    store.commit(&stale, page(&[session("a", 0)], 1)).await.unwrap();
    drop(first);
    let second = store.begin(&home(), at(1)).await.unwrap();
    let errors = [
        store.commit(&stale, page(&[session("b", 0)], 2)).await.unwrap_err(),
        store.restart(&stale, &all()).await.unwrap_err(),
        store.remap(&stale, vec![session("b", 0)], at(2)).await.unwrap_err(),
        store.log_run(&stale, &RunReport::default()).await.unwrap_err(),
        store.release(&stale, &[]).await.unwrap_err(),
        store.commit(&Stale(account("never"), 1), page(&[], 2)).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    assert_eq!(ids(store, &Filter::default()).await, ["a"]);
    store.commit(&*second, page(&[session("a", 0)], 2)).await.unwrap();
}

pub(crate) async fn filters_hold_together(store: &dyn SessionStore) {
    let mut active = session("active", 10);
    active.state.status = SessionStatus::Active;
    active.parties.vehicle = Some(Vehicle::of("v"));
    let mut plug_in = session("plug_in", 20);
    plug_in.identity.key.kind = RecordKind::PlugIn;
    plug_in.parties.charge_point = Some(ChargePoint::of("v"));
    let mut timeless = session("timeless", 0);
    timeless.timing.period.start = None;
    let gone = session("gone", 10);
    write(store, page(&[active, plug_in, timeless, gone, session("plain", 30)], 5)).await;
    let slice = Slice { window: window(10, 11), ..all() };
    let mut active = session("active", 10);
    active.state.status = SessionStatus::Active;
    active.parties.vehicle = Some(Vehicle::of("v"));
    write(store, part(&slice, "", "", &[active], 6)).await;
    let lease = store.begin(&account("work"), at(0)).await.unwrap();
    let mut elsewhere = session("elsewhere", 10);
    elsewhere.identity.key.account = "work".parse().unwrap();
    store.commit(&*lease, page(&[elsewhere], 5)).await.unwrap();

    type Set = fn(&mut Filter);
    let cases: [(Set, &[&str]); 12] = [
        (|_| (), &["plug_in", "active", "gone", "plain", "timeless", "elsewhere"]),
        (|f| f.provider = Some(PROVIDER), &["plug_in", "active", "gone", "plain", "timeless", "elsewhere"]),
        (|f| f.provider = Some(ProviderId::new("podero")), &[]),
        (|f| f.account = Some("work".parse().unwrap()), &["elsewhere"]),
        (|f| f.window = window(10, 30), &["plug_in", "active", "gone", "elsewhere"]),
        (|f| f.window = window(11, 20), &[]),
        (|f| f.kind = Some(RecordKind::PlugIn), &["plug_in"]),
        (|f| f.status = Some(SessionStatus::Active), &["active"]),
        (|f| f.asset = Some(AssetRef::vehicle("v")), &["active"]),
        (|f| f.asset = Some(AssetRef::charge_point("v")), &["plug_in"]),
        (|f| f.vanished = Some(true), &["gone"]),
        (
            |f| {
                f.vanished = Some(false);
                f.window = window(10, 11);
                f.account = Some(home().account);
                f.kind = Some(RecordKind::Segment);
            },
            &["active"],
        ),
    ];
    for (set, mut expected) in cases.map(|(set, expected)| (set, expected.to_vec())) {
        let mut found = ids(store, &filter(set)).await;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{:?}", filter(set));
    }
}

pub(crate) async fn pages_of_sessions_follow_their_order(store: &dyn SessionStore) {
    let kinds = [RecordKind::PlugIn, RecordKind::Segment, RecordKind::Charge, RecordKind::BillingRecord];
    let mut expected = Vec::new();
    for name in ["b", "a", "ä"] {
        let lease = store.begin(&account(name), at(0)).await.unwrap();
        let mut sessions = Vec::new();
        for kind in kinds {
            for id in ["10", "9", "é", ""] {
                let mut session = session(id, 0);
                session.identity.key.account = name.parse().unwrap();
                session.identity.key.kind = kind;
                expected.push(session.identity.key.clone());
                sessions.push(session);
            }
        }
        let slice = Slice { kinds: kinds.to_vec(), ..all() };
        store.commit(&*lease, part(&slice, "", "", &sessions, 1)).await.unwrap();
    }
    expected.sort_by_key(|key| {
        let account: AccountId = key.account.clone();
        (key.provider, account, key.kind.as_str(), key.source_id.clone())
    });
    for limit in [1, 5, 7, 100] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = store.sessions(&Filter::default(), after.as_ref(), limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            found.extend(page.into_iter().map(|stored| stored.session.identity.key));
            if found.last() == after.as_ref() {
                break;
            }
            after = found.last().cloned();
        }
        assert_eq!(found, expected, "{limit}");
    }
    assert!(store.sessions(&Filter::default(), None, 0).await.unwrap().is_empty());
    // What it goes on from need not be there.
    let none = key("none");
    let rest = store.sessions(&Filter::default(), Some(&none), 100).await.unwrap();
    assert_eq!(rest[0].session.key().account.as_str(), "ä");
}

pub(crate) async fn a_record_is_found_by_its_handle(store: &dyn SessionStore) {
    let sessions: Vec<_> = (0..40).map(|number| session(&number.to_string(), 0)).collect();
    write(store, page(&sessions, 1)).await;
    for session in &sessions {
        let handle = session.key().id().to_string();
        for digits in
            [handle.clone(), handle.to_uppercase(), handle.replace('-', ""), handle[..13].to_owned()]
        {
            assert_eq!(store.find(&digits).await.unwrap(), [session.key().clone()], "{digits}");
        }
        assert!(store.find(&handle[..1]).await.unwrap().contains(session.key()));
    }
    assert_eq!(store.find("").await.unwrap().len(), 10);
    for odd in ["x", "%", "' OR 1=1", "é", &"0".repeat(33), "0\0", "+1"] {
        assert!(store.find(odd).await.unwrap().is_empty(), "{odd:?}");
    }
}

pub(crate) async fn hostile_text_comes_back_unchanged(store: &dyn SessionStore) {
    let texts = [
        "'; DROP TABLE sessions; --".to_owned(),
        "\"quoted\" \\ %_*".to_owned(),
        "before\0after".to_owned(),
        "before\0other".to_owned(),
        "\u{1b}]0;title\u{7}\u{1b}[2J".to_owned(),
        "\u{202e}\u{feff}\u{fffd}🔌\r\n".to_owned(),
        "=cmd|' /C calc'!A0".to_owned(),
        String::new(),
        " ".to_owned(),
        "x".repeat(1_000_000),
    ];
    let sessions: Vec<_> = texts
        .iter()
        .map(|text| {
            let mut session = session(text, 0);
            session.state.status_word = Some(text.clone());
            let mut vehicle = Vehicle::of(text);
            vehicle.name = Some(text.clone());
            session.parties.vehicle = Some(vehicle);
            session.parties.charge_point = Some(ChargePoint::of(text));
            session.timing.zone = Some(Zone::new(text, ZoneSource::Provider));
            session.identity.parent = Some(key(text));
            session.extra.insert(text.clone(), text.clone().into());
            session.provenance.payload = Some(Payload::from(text.clone()));
            session
        })
        .collect();
    let mut batch = part(&all(), "", "it's\0\"", &sessions, 1);
    batch.rejected = texts.iter().map(|text| rejected(Some(text), &format!("r{text}"))).collect();
    write(store, batch).await;
    assert_eq!(store.place(&home(), &all()).await.unwrap(), Some(Cursor::from("it's\0\"")));
    assert_eq!(store.sessions(&Filter::default(), None, 100).await.unwrap().len(), texts.len());
    for (text, session) in texts.iter().zip(sessions) {
        let stored = store.session(&key(text)).await.unwrap().unwrap();
        assert_eq!(stored.session, stripped(session));
        let payload = store.payload(&stored.payload.unwrap()).await.unwrap();
        assert_eq!(payload.unwrap().as_bytes(), text.as_bytes());
        let of_vehicle = filter(|filter| filter.asset = Some(AssetRef::vehicle(text)));
        assert_eq!(ids(store, &of_vehicle).await, [text.as_str()]);
    }
    let kept = store.quarantine(None).await.unwrap();
    assert_eq!(kept.iter().filter_map(|it| it.record.id.clone()).collect::<Vec<_>>(), texts);
}

pub(crate) async fn payloads_are_kept_once(store: &dyn SessionStore) {
    // Short, long, repetitive, and what cannot be compressed.
    let noise: Vec<u8> = (0..4096_u32).map(|n| Hash::of(&n.to_le_bytes()).as_bytes()[0]).collect();
    let bodies: [Vec<u8>; 5] =
        [b"x".to_vec(), b"{\"a\":1}".repeat(100), noise, vec![0; 100_000], vec![0xff, 0xfe]];
    for (number, body) in bodies.iter().enumerate() {
        let mut one = session(&format!("{number}"), 0);
        one.provenance.payload = Some(Payload::from(body.clone()));
        let mut two = session(&format!("{number} again"), 0);
        two.provenance.payload = Some(Payload::from(body.clone()));
        write(store, part(&Slice { kinds: vec![], ..all() }, "", "", &[one, two], 1)).await;
        let payload = store.payload(&Hash::of(body)).await.unwrap().unwrap();
        assert_eq!(payload.as_bytes(), body);
    }
    let mut without = session("without", 0);
    without.provenance.payload = None;
    write(store, page(&[without], 1)).await;
    assert_eq!(store.session(&key("without")).await.unwrap().unwrap().payload, None);
}

pub(crate) async fn what_is_not_there_is_not_an_error(store: &dyn SessionStore) {
    assert_eq!(store.place(&home(), &all()).await.unwrap(), None);
    assert!(store.session(&key("a")).await.unwrap().is_none());
    assert!(store.revisions(&key("a")).await.unwrap().is_empty());
    assert!(store.sessions(&Filter::default(), Some(&key("a")), 9).await.unwrap().is_empty());
    assert!(store.find("0").await.unwrap().is_empty());
    assert!(store.payload(&Hash::of(b"")).await.unwrap().is_none());
    assert!(store.coverage(&home()).await.unwrap().is_empty());
    assert!(store.quarantine(Some(&home())).await.unwrap().is_empty());
    assert!(store.runs(&home(), 9).await.unwrap().is_empty());
    assert!(store.history(Some(&home()), Timestamp::MIN, None, 9).await.unwrap().is_empty());
    assert!(store.accounts().await.unwrap().is_empty());
}
