//! What is sent, and what becomes of answers that are not a listing.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use charging_sessions_core::{
    AssetRef, AssetSource as _, AssetSourceExt as _, ChargingSessionSource as _,
    ChargingSessionSourceExt as _, Cursor, Energy, ErrorKind, SessionQuery, SessionStatus, TimeWindow,
};
use charging_sessions_http::{Limits, Request, Response, Transport};
use charging_sessions_podero::{Config, PROVIDER, Podero};
use charging_sessions_testkit::fixture::{self, FixtureTransport};
use futures_util::TryStreamExt as _;
use tokio::time::Instant;

const SECRET: &str = "s3cret-of-the-client";

fn json(body: &str) -> Response {
    fixture::parse(&format!("HTTP/1.1 200 OK\ncontent-type: application/json\n\n{body}\n")).unwrap()
}

fn answer(name: &str) -> Response {
    let path = format!("{}/tests/fixtures/{name}.http", env!("CARGO_MANIFEST_DIR"));
    fixture::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Two users; the second one has two vehicles, the third says that it has none.
fn roster(transport: FixtureTransport) -> FixtureTransport {
    transport
        .on("/oauth2/token/", json(r#"{"access_token": "t0ken", "expires_in": 36000}"#))
        .on("/users/u1/electric-vehicles", json("[]"))
        .on("/users/u2/electric-vehicles", json(r#"[{"id": "v2"}, {"id": "v1"}]"#))
        .on(
            "/org/o1/users",
            json(r#"[{"id": "u2"}, {"id": "u1"}, {"id": "u3", "num_electric_vehicles": 0}]"#),
        )
}

fn source(transport: FixtureTransport) -> (Podero, Arc<FixtureTransport>) {
    let transport = Arc::new(roster(transport));
    let config = Config::new("client", SECRET.into(), "o1");
    (Podero::with_transport(config, transport.clone()).unwrap(), transport)
}

fn window(from: &str, until: &str) -> TimeWindow {
    TimeWindow::new(from.parse().unwrap(), until.parse().unwrap()).unwrap()
}

fn september() -> SessionQuery {
    SessionQuery::started_in(window("2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"))
}

#[tokio::test(start_paused = true)]
async fn the_walk_goes_over_users_and_their_vehicles_in_order() {
    let (source, transport) = source(FixtureTransport::new().on("/sessions?", answer("listing/completed")));
    let pages: Vec<_> = source.pages(september()).try_collect().await.unwrap();
    assert_eq!(pages.len(), 2);
    let vehicles: Vec<_> = pages
        .iter()
        .map(|page| page.sessions[0].parties.vehicle.as_ref().unwrap().source_id.clone().unwrap())
        .collect();
    assert_eq!(vehicles, ["v1", "v2"]);
    insta::assert_snapshot!(transport.sent().join("\n"));
    insta::assert_snapshot!("the_cursor", pages[0].next.as_ref().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_window_is_widened_to_whole_utc_days_and_clipped() {
    for (from, until, days, count) in [
        ("2026-09-14T18:02:11Z", "2026-09-14T18:02:12Z", "from=2026-09-14&to=2026-09-14", 1),
        ("2026-09-14T18:02:12Z", "2026-09-15T00:00:00Z", "from=2026-09-14&to=2026-09-14", 0),
        ("2026-09-14T00:00:00Z", "2026-09-15T00:00:00.000000001Z", "from=2026-09-14&to=2026-09-15", 1),
    ] {
        let (source, transport) =
            source(FixtureTransport::new().on("/sessions?", answer("listing/completed")));
        let query = SessionQuery::started_in(window(from, until)).with_asset(AssetRef::vehicle("v2"));
        let page = source.fetch_page(&query, None).await.unwrap();
        assert_eq!(page.sessions.len(), count, "[{from}, {until})");
        assert!(transport.sent().last().unwrap().contains(days), "{:?}", transport.sent());
    }
}

#[tokio::test(start_paused = true)]
async fn hidden_sessions_are_asked_for_and_the_page_size_is_capped() {
    let (source, transport) = source(FixtureTransport::new().on("/sessions?", answer("listing/hidden")));
    let query =
        september().with_asset(AssetRef::vehicle("v1")).with_page_size(NonZeroU32::new(1000).unwrap());
    let page = source.fetch_page(&query, None).await.unwrap();
    assert!(page.sessions[0].state.hidden.is_some());
    let asked = transport.sent().pop().unwrap();
    assert!(asked.contains("limit=200&offset=0&include_hidden=true"), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn who_owns_a_vehicle_is_looked_up_once() {
    let (source, transport) = source(FixtureTransport::new().on("/sessions?", answer("listing/completed")));
    for vehicle in ["v1", "v2", "v1"] {
        source.fetch_page(&september().with_asset(AssetRef::vehicle(vehicle)), None).await.unwrap();
    }
    // One sign-in, the users, the vehicles of two of them, and three listings.
    assert_eq!(transport.sent().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_vehicle_that_nobody_has_is_not_found() {
    let (source, _) = source(FixtureTransport::new());
    let query = september().with_asset(AssetRef::vehicle("v9"));
    let error = source.fetch_page(&query, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "podero: the organisation has no vehicle v9");
}

#[tokio::test(start_paused = true)]
async fn vehicles_are_listed_user_by_user() {
    let halden = r#"[{"id": "v3", "battery_capacity_kwh": 58.1, "name": "not read",
        "device_model": {"manufacturer": "Halden", "model": "Fjord 58", "year": 2023}}]"#;
    let (source, transport) = source(FixtureTransport::new().on("/users/u1/electric-vehicles", json(halden)));
    let assets: Vec<_> = source.assets().try_collect().await.unwrap();
    let ids: Vec<_> = assets.iter().map(|asset| asset.reference.id.as_str()).collect();
    assert_eq!(ids, ["v3", "v1", "v2"]);
    assert_eq!(assets[0].user_id.as_deref(), Some("u1"));
    assert_eq!(assets[0].make.as_deref(), Some("Halden"));
    assert_eq!(assets[0].model.as_deref(), Some("Fjord 58"));
    assert_eq!(assets[0].battery_capacity, Energy::from_wh(58_100));
    assert_eq!(assets[1].user_id.as_deref(), Some("u2"));
    // One sign-in, the users once, and the vehicles of the two that may have some.
    assert_eq!(transport.sent().len(), 4);
    let foreign = source.fetch_assets(Some(&Cursor::from("elsewhere:1:x:0"))).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::InvalidCursor);
    assert_eq!(transport.sent().len(), 4);
}

/// Answers after a second.
#[derive(Debug)]
struct Slow(FixtureTransport);

#[async_trait]
impl Transport for Slow {
    async fn send(&self, request: Request, limits: &Limits) -> charging_sessions_core::Result<Response> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.send(request, limits).await
    }
}

#[tokio::test(start_paused = true)]
async fn users_are_asked_for_their_vehicles_as_many_at_once_as_may_be_in_flight() {
    let users: Vec<_> = (1..=9).map(|user| format!(r#"{{"id": "u{user}"}}"#)).collect();
    let transport = FixtureTransport::new()
        .on("/oauth2/token/", json(r#"{"access_token": "t0ken", "expires_in": 36000}"#))
        .on("/electric-vehicles", json("[]"))
        .on("/org/o1/users", json(&format!("[{}]", users.join(","))));
    let transport = Arc::new(Slow(transport));
    let source =
        Podero::with_transport(Config::new("client", SECRET.into(), "o1"), transport.clone()).unwrap();
    let began = Instant::now();
    let assets: Vec<_> = source.assets().try_collect().await.unwrap();
    assert!(assets.is_empty());
    // The sign-in, the users, those of the first alone, and then four at once.
    assert_eq!(began.elapsed().as_secs(), 3 + 8 / 4);
    assert_eq!(transport.0.sent().len(), 2 + 9, "each once");
}

#[tokio::test(start_paused = true)]
async fn users_may_come_under_items() {
    let transport = FixtureTransport::new()
        .on("/sessions?", answer("listing/completed"))
        .on("/users/u9/electric-vehicles", json(r#"{"items": [{"id": "v9"}]}"#))
        .on("/org/o1/users", json(r#"{"total": 1, "items": [{"id": "u9"}]}"#));
    let (source, _) = source(transport);
    assert_eq!(source.fetch_page(&september(), None).await.unwrap().sessions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_user_without_an_identifier_is_not_passed_over() {
    let (source, _) = source(FixtureTransport::new().on("/org/o1/users", json(r#"[{"role": "user"}]"#)));
    let error = source.fetch_page(&september(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn the_current_session_is_active_or_absent() {
    for (name, status) in [("current/one", Some(SessionStatus::Active)), ("current/none", None)] {
        let (source, transport) = source(FixtureTransport::new().on("/sessions/current", answer(name)));
        let session = source.current_session("u2", "v1").await.unwrap();
        assert_eq!(session.map(|session| session.state.status), status);
        assert!(transport.sent()[1].contains("/org/o1/users/u2/electric-vehicles/v1/sessions/current"));
    }
}

/// Every refusal as a user would see it.
#[tokio::test(start_paused = true)]
async fn refusals_are_explained() {
    let mut shown = Vec::new();
    let folder = format!("{}/tests/fixtures/problems", env!("CARGO_MANIFEST_DIR"));
    for (name, answer) in fixture::read_folder(folder).unwrap() {
        let (source, _) = source(FixtureTransport::new().on("/sessions?", answer));
        let error = source.fetch_page(&september(), None).await.unwrap_err();
        assert_eq!(error.provider(), Some(PROVIDER));
        assert!(!format!("{error:?}").contains(SECRET));
        shown.push(format!("{name}\n  {}\n  {error}", error.kind()));
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn no_secret_shows_in_debug() {
    let (source, _) = source(FixtureTransport::new());
    assert!(!format!("{source:?}{source:#?}").contains(SECRET));
    assert!(!format!("{:?}", Config::new("client", SECRET.into(), "o1")).contains(SECRET));
}
