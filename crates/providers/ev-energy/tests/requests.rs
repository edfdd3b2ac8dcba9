//! What is sent, and what becomes of answers that are not a listing.

use std::{num::NonZeroU32, sync::Arc};

use charging_sessions_core::{
    AccountId, AssetRef, ChargingSessionSource as _, ChargingSessionSourceExt as _, Cursor, Energy,
    ErrorKind, IntervalSource as _, ProviderId, RecordKind, SessionKey, SessionQuery, TimeWindow,
};
use charging_sessions_ev_energy::{Config, EvEnergy, Expand, PROVIDER};
use charging_sessions_http::Response;
use charging_sessions_testkit::fixture::{self, FixtureTransport};
use futures_util::TryStreamExt as _;

const SECRET: &str = "s3cret-of-the-client";

fn answer(name: &str) -> Response {
    let path = format!("{}/tests/fixtures/{name}.http", env!("CARGO_MANIFEST_DIR"));
    fixture::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn token() -> Response {
    fixture::parse("HTTP/1.1 200 OK\ncontent-type: application/json\n\n{\"access_token\":\"t0ken\",\"expires_in\":36000}\n")
        .unwrap()
}

fn source(
    transport: FixtureTransport,
    change: impl FnOnce(&mut Config),
) -> (EvEnergy, Arc<FixtureTransport>) {
    let transport = Arc::new(transport.on("/o/token/", token()));
    let mut config = Config::new("client", SECRET.into());
    change(&mut config);
    (EvEnergy::with_transport(config, transport.clone()).unwrap(), transport)
}

fn listing(name: &str) -> FixtureTransport {
    FixtureTransport::new().on("charging_sub_sessions", answer(&format!("listing/{name}")))
}

fn september() -> TimeWindow {
    TimeWindow::new("2026-09-01T00:00:00Z".parse().unwrap(), "2026-10-01T00:00:00Z".parse().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_plain_listing_signs_in_and_follows_the_query_of_the_link() {
    let transport = FixtureTransport::new()
        .on("page_after=csub01K3EXAMPLE000000000000010", answer("listing/last_page"))
        .on("charging_sub_sessions", answer("listing/first_page"));
    let (source, transport) = source(transport, |_| ());
    let pages: Vec<_> = source.pages(SessionQuery::all()).try_collect().await.unwrap();
    assert_eq!(pages.len(), 2);
    insta::assert_snapshot!(transport.sent().join("\n"));
    insta::assert_snapshot!(pages[0].next.as_ref().unwrap());
}

#[tokio::test(start_paused = true)]
async fn every_condition_of_a_query_is_pushed_down() {
    let (source, transport) = source(listing("empty"), |_| ());
    let query = SessionQuery::started_in(september())
        .with_asset(AssetRef::vehicle("vhcl01K3EXAMPLE000000000000001"))
        .with_asset(AssetRef::charge_point("evse01K3EXAMPLE000000000000001"))
        .with_finished(true)
        .with_page_size(NonZeroU32::new(500).unwrap());
    let pages: Vec<_> = source.pages(query).try_collect().await.unwrap();
    assert_eq!(pages.len(), 2, "one listing for each asset");
    insta::assert_snapshot!(transport.sent()[1..].join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_sources_own_options_are_sent() {
    let (source, transport) = source(listing("empty"), |config| {
        config.acting_user = Some("user01K3EXAMPLE000000000000001".into());
        config.filter.mode = Some("SMART".into());
        config.filter.watt_hours_from = Some(500);
        config.filter.watt_hours_to = Some(9_999);
        config.filter.ended_after = Some("2026-09-01T00:00:00Z".parse().unwrap());
        config.filter.ended_before = Some("2026-10-01T00:00:00Z".parse().unwrap());
        config.filter.user_id = Some("me".into());
        config.expand = Expand::ALL.to_vec();
    });
    source.fetch_page(&SessionQuery::all(), None).await.unwrap();
    insta::assert_snapshot!(transport.sent()[1]);
}

#[tokio::test(start_paused = true)]
async fn intervals_are_asked_for_by_session() {
    let transport = FixtureTransport::new().on("energy_usage", answer("energy_usage/price_split_list"));
    let (source, transport) = source(transport, |config| config.merge_intervals = true);
    let key = SessionKey::new(PROVIDER, AccountId::default(), RecordKind::Segment, "csub/../x?y");
    let intervals = source.fetch_intervals(&key).await.unwrap();
    assert_eq!(intervals.intervals.len(), 3);
    insta::assert_snapshot!(transport.sent()[1]);
}

#[tokio::test(start_paused = true)]
async fn intervals_of_something_else_are_refused_before_any_request() {
    let (source, transport) = source(FixtureTransport::new(), |_| ());
    for key in [
        SessionKey::new(ProviderId::new("podero"), AccountId::default(), RecordKind::Segment, "1"),
        SessionKey::new(PROVIDER, AccountId::default(), RecordKind::PlugIn, "1"),
    ] {
        assert_eq!(source.fetch_intervals(&key).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(transport.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_lies_outside_the_window_is_left_out_to_the_nanosecond() {
    let start = "2026-09-14T22:31:05Z".parse().unwrap();
    let nanosecond = jiff::SignedDuration::from_nanos(1);
    for (from, until, expected) in [
        (start, start + nanosecond, 1),
        (start + nanosecond, start + nanosecond * 2, 0),
        (start - nanosecond, start, 0),
    ] {
        let (source, _) = source(listing("finished"), |_| ());
        let query = SessionQuery::started_in(TimeWindow::new(from, until).unwrap());
        let page = source.fetch_page(&query, None).await.unwrap();
        assert_eq!(page.sessions.len(), expected, "[{from}, {until})");
    }
}

#[tokio::test(start_paused = true)]
async fn bounds_between_microseconds_are_asked_for_too_widely_rather_than_too_narrowly() {
    let (source, transport) = source(listing("empty"), |_| ());
    let (from, until) = ("2026-09-14T22:31:05.0000015Z", "2026-09-14T22:31:05.0000025Z");
    let window = TimeWindow::new(from.parse().unwrap(), until.parse().unwrap()).unwrap();
    source.fetch_page(&SessionQuery::started_in(window), None).await.unwrap();
    let asked = transport.sent()[1].clone();
    assert!(
        asked.contains("start__gt=2026-09-14T22%3A31%3A05.000001Z&start__lt=2026-09-14T22%3A31%3A05.000003Z"),
        "{asked}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_link_that_forgets_the_conditions_does_not_lead_out_of_the_listing() {
    let (source, transport) = source(listing("first_page"), |_| ());
    let query = SessionQuery::started_in(september()).with_finished(true);
    let page = source.fetch_page(&query, None).await.unwrap();
    source.fetch_page(&query, page.next.as_ref()).await.unwrap();
    let second = transport.sent()[2].clone();
    for part in
        ["page_after=csub01K3EXAMPLE000000000000010", "is_finished=true", "start__gt=", "page_size=1&"]
    {
        assert!(second.contains(part), "{part} is not in {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_a_source_with_other_options_is_refused() {
    let (first, _) = source(listing("first_page"), |_| ());
    let cursor = first.fetch_page(&SessionQuery::all(), None).await.unwrap().next.unwrap();
    let (other, transport) =
        source(listing("first_page"), |config| config.filter.mode = Some("BOOST".into()));
    let error = other.fetch_page(&SessionQuery::all(), Some(&cursor)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidCursor);
    assert_eq!(transport.sent().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_beyond_the_assets_is_refused() {
    let (source, _) = source(listing("empty"), |_| ());
    let query = SessionQuery::all();
    let state = serde_json::json!({"asset": 7, "next": null, "options": ""});
    let cursor = Cursor::encode(PROVIDER, 1, &query, &state);
    let error = source.fetch_page(&query, Some(&cursor)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidCursor);
}

/// Every refusal as a user would see it: kind, wait, text.
#[tokio::test(start_paused = true)]
async fn refusals_are_explained() {
    let mut shown = Vec::new();
    for (name, answer) in
        fixture::read_folder(format!("{}/tests/fixtures/problems", env!("CARGO_MANIFEST_DIR"))).unwrap()
    {
        let (source, _) = source(FixtureTransport::new().on("charging_sub_sessions", answer), |_| ());
        let error = source.fetch_page(&SessionQuery::all(), None).await.unwrap_err();
        assert_eq!(error.provider(), Some(PROVIDER));
        assert!(!format!("{error:?}").contains(SECRET));
        shown.push(format!("{name}\n  {}, wait {:?}\n  {error}", error.kind(), error.retry_after()));
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_base_url_that_cannot_be_used_is_a_configuration_error() {
    for (url, words) in
        [("http://api.example/v2/", "https"), ("data:text/plain,x", ""), ("https://u:p@api.example/", "")]
    {
        let mut config = Config::new("client", SECRET.into());
        config.base_url = url.parse().unwrap();
        let error = EvEnergy::with_transport(config, Arc::new(FixtureTransport::new())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn no_secret_shows_in_debug() {
    let (source, _) = source(FixtureTransport::new(), |_| ());
    assert!(!format!("{source:?}{source:#?}").contains(SECRET));
    assert!(!format!("{:?}", Config::new("client", SECRET.into())).contains(SECRET));
}

#[tokio::test(start_paused = true)]
async fn one_sub_session_and_what_belongs_to_it_can_be_asked_for() {
    let transport = FixtureTransport::new()
        .on("/schedules", answer("single/schedules"))
        .on("/flags", answer("single/flags"))
        .on("charging_sub_sessions/csub", answer("single/finished"));
    let (source, transport) = source(transport, |config| config.expand = vec![Expand::ENERGY_USAGE]);
    let session = source.sub_session("csub01K3EXAMPLE000000000000002").await.unwrap();
    assert_eq!(session.energy.headline(), Energy::from_wh(21_350));
    let schedules = source.schedules("csub01K3EXAMPLE000000000000002").await.unwrap();
    assert_eq!(schedules.len(), 2);
    assert_eq!((schedules[0].interval_seconds, schedules[0].current_milliamps), (Some(1800), Some(32_000)));
    assert_eq!((schedules[1].interval_seconds, schedules[1].schedule_type.as_deref()), (None, Some("BOOST")));
    let flags = source.flags("csub/../x").await.unwrap();
    assert_eq!(flags[0].name.as_deref(), Some("ENERGY_OVER_DELIVERY"));
    insta::assert_snapshot!(transport.sent()[1..].join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_sub_session_that_does_not_exist_is_not_found() {
    let transport = FixtureTransport::new().on("charging_sub_sessions/", answer("problems/not_found"));
    let (source, _) = source(transport, |_| ());
    assert_eq!(source.sub_session("csub1").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(source.schedules("csub1").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(source.flags("csub1").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_the_list_is_an_error_and_not_an_empty_list() {
    let (source, _) = source(FixtureTransport::new().on("/flags", answer("single/schedules")), |_| ());
    let error = source.flags("csub1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("no `flags`"), "{error}");
}

fn plug_ins(starts: &[&str], next: &str) -> Response {
    let stays: Vec<_> = starts
        .iter()
        .map(|start| {
            format!(r#"{{"id": "cses-{start}", "start": "{start}", "end": "{start}", "sub_sessions": []}}"#)
        })
        .collect();
    let text = format!("HTTP/1.1 200 OK\nlink: <{next}>; rel=\"next\"\n\n[{}]\n", stays.join(","));
    fixture::parse(&text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn plug_ins_of_a_window_are_read_until_nothing_of_it_can_follow() {
    let transport = FixtureTransport::new()
        .on("page_after=2", plug_ins(&["2026-08-03T00:00:00Z", "2026-08-02T23:59:59Z"], "/x?page_after=3"))
        .on("page_after=3", plug_ins(&["2026-08-01T23:00:00Z", "2026-07-30T00:00:00Z"], "/x?page_after=4"))
        .on(
            "charging_sessions",
            plug_ins(&["2026-09-30T23:00:00Z", "2026-08-20T00:00:00Z"], "/x?page_after=2"),
        );
    let (source, transport) = source(transport, |_| ());
    let source = source.plug_ins();
    let pages: Vec<_> = source.pages(SessionQuery::started_in(september())).try_collect().await.unwrap();
    // The third page is the first on which everything began more than 30 days before September.
    assert_eq!(pages.iter().map(|page| page.sessions.len()).collect::<Vec<_>>(), [1, 0, 0]);
    insta::assert_snapshot!(transport.sent()[1..].join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_sub_sessions_is_none_of_plug_ins() {
    let (source, transport) = source(listing("first_page"), |_| ());
    let page = source.fetch_page(&SessionQuery::all(), None).await.unwrap();
    let sent = transport.sent().len();
    let error = source.plug_ins().fetch_page(&SessionQuery::all(), page.next.as_ref()).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (ErrorKind::InvalidCursor, sent));
}

#[tokio::test(start_paused = true)]
async fn what_plug_ins_cannot_be_asked_for_is_refused() {
    let (source, transport) = source(FixtureTransport::new(), |_| ());
    for query in
        [SessionQuery::all().with_finished(true), SessionQuery::all().with_asset(AssetRef::vehicle("vhcl1"))]
    {
        let error = source.plug_ins().fetch_page(&query, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    assert_eq!(transport.sent().len(), 0);
}

#[test]
fn a_user_that_no_header_can_hold_is_refused() {
    let mut config = Config::new("client", SECRET.into());
    config.acting_user = Some("user\n1".into());
    let error = EvEnergy::with_transport(config, Arc::new(FixtureTransport::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`evenergy-user`"), "{error}");
}
