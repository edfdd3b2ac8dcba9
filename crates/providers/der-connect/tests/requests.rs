//! What is sent, and what becomes of answers that are not a listing.

use std::sync::Arc;

use charging_sessions_core::{
    AssetRef, AssetSource as _, AssetSourceExt as _, ChargingSessionSource as _,
    ChargingSessionSourceExt as _, Cursor, Energy, ErrorKind, SessionQuery, TimeWindow,
};
use charging_sessions_der_connect::{Activation, Config, DerConnect, PROVIDER};
use charging_sessions_http::Response;
use charging_sessions_testkit::fixture::{self, FixtureTransport};
use futures_util::TryStreamExt as _;

const SECRET: &str = "s3cret-of-the-client";

fn json(body: &str) -> Response {
    fixture::parse(&format!("HTTP/1.1 200 OK\ncontent-type: application/json\n\n{body}\n")).unwrap()
}

fn answer(name: &str) -> Response {
    let path = format!("{}/tests/fixtures/{name}.http", env!("CARGO_MANIFEST_DIR"));
    fixture::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn source(transport: FixtureTransport) -> (DerConnect, Arc<FixtureTransport>) {
    let entities = r#"{"data": [{"id": "e1", "type": "EV", "name": "Estate", "brand": "Halden", "identifier": "W0L"}, {"id": "b1", "type": "Battery"}], "meta": {"continuationToken": "more"}}"#;
    let rest = r#"{"data": [{"id": "c1", "type": "CP"}], "meta": {"continuationToken": ""}}"#;
    let transport = transport
        .on("/access_token", json(r#"{"access_token": "t0ken", "expires_in": 3600}"#))
        .on("/v1/entities?continuationToken=more", json(rest))
        .on("/v1/entities", json(entities));
    let transport = Arc::new(transport);
    let config = Config::new("client", SECRET.into());
    (DerConnect::with_transport(config, transport.clone()).unwrap(), transport)
}

fn june() -> SessionQuery {
    let window =
        TimeWindow::new("2026-06-01T00:00:00Z".parse().unwrap(), "2026-07-01T00:00:00Z".parse().unwrap());
    SessionQuery::started_in(window.unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_walk_goes_over_the_entities_that_can_charge() {
    let transport = FixtureTransport::new()
        .on("continuationToken=opaque%2B%2F%3D1", answer("listing/data_null"))
        .on("/e1/charge-sessions", answer("listing/first_page"))
        .on("/c1/charge-sessions", answer("listing/charge_point"));
    let (source, transport) = source(transport);
    let pages: Vec<_> = source.pages(june()).try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.sessions.len()).collect::<Vec<_>>(), [1, 0, 1]);
    insta::assert_snapshot!(transport.sent().join("\n"));
    insta::assert_snapshot!("the_cursor", pages[0].next.as_ref().unwrap());
}

#[tokio::test(start_paused = true)]
async fn named_entities_are_read_without_a_walk() {
    let (source, transport) =
        source(FixtureTransport::new().on("/charge-sessions", answer("listing/vehicle")));
    let query = june().with_asset(AssetRef::charge_point("c9")).with_asset(AssetRef::vehicle("v9"));
    let pages: Vec<_> = source.pages(query).try_collect().await.unwrap();
    assert_eq!(pages.len(), 2);
    assert!(
        pages[0].sessions[0].parties.vehicle.is_some() && pages[1].sessions[0].parties.charge_point.is_some()
    );
    assert!(
        transport
            .sent()
            .iter()
            .all(|sent| !sent.contains("/v1/entities?") && !sent.ends_with("/v1/entities"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_entities_that_can_charge_are_listed_page_by_page() {
    let (source, transport) = source(FixtureTransport::new());
    let first = source.fetch_assets(None).await.unwrap();
    assert_eq!(first.assets.len(), 1);
    assert_eq!(first.assets[0].reference, AssetRef::vehicle("e1"));
    assert_eq!(first.assets[0].name.as_deref(), Some("Estate"));
    assert_eq!(first.assets[0].make.as_deref(), Some("Halden"));
    let second = source.fetch_assets(first.next.as_ref()).await.unwrap();
    assert_eq!(second.assets[0].reference, AssetRef::charge_point("c1"));
    assert_eq!(second.next, None);
    let sent = transport.sent().len();
    let garbage = source.fetch_assets(Some(&Cursor::from("garbage"))).await.unwrap_err();
    assert_eq!((garbage.kind(), transport.sent().len()), (ErrorKind::InvalidCursor, sent));
}

#[tokio::test(start_paused = true)]
async fn entities_of_the_configuration_are_the_assets() {
    let transport = Arc::new(FixtureTransport::new());
    let mut config = Config::new("client", SECRET.into());
    config.entities = vec![AssetRef::charge_point("c9"), AssetRef::vehicle("v9")];
    let source = DerConnect::with_transport(config.clone(), transport.clone()).unwrap();
    let assets: Vec<_> = source.assets().map_ok(|asset| asset.reference).try_collect().await.unwrap();
    assert_eq!(assets, config.entities);
    assert_eq!(transport.sent(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_window_is_asked_for_too_widely_and_clipped() {
    let start = "2026-06-09T14:35:21.384Z".parse().unwrap();
    let nanosecond = jiff::SignedDuration::from_nanos(1);
    for (from, until, count) in
        [(start, start + nanosecond, 1), (start + nanosecond, start + nanosecond * 2, 0)]
    {
        let (source, _) = source(FixtureTransport::new().on("/charge-sessions", answer("listing/vehicle")));
        let query = SessionQuery::started_in(TimeWindow::new(from, until).unwrap());
        let page = source.fetch_page(&query.with_asset(AssetRef::vehicle("e1")), None).await.unwrap();
        assert_eq!(page.sessions.len(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_stands_still_is_an_error() {
    let (source, _) = source(FixtureTransport::new().on("/charge-sessions", answer("listing/first_page")));
    let query = june().with_asset(AssetRef::vehicle("e1"));
    let first = source.fetch_page(&query, None).await.unwrap();
    let error = source.fetch_page(&query, first.next.as_ref()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn capturing_is_switched_on_or_the_capacity_wanted_first() {
    let (on, transport) = source(FixtureTransport::new().on("/e1/features", json("[]")));
    assert_eq!(on.capture_charge_sessions("e1").await.unwrap(), Activation::Active);
    assert!(transport.sent()[1].starts_with("PATCH /connect/v1/entities/e1/features"));

    let (wants, _) = source(FixtureTransport::new().on("/e1/features", answer("problems/capacity_first")));
    assert_eq!(wants.capture_charge_sessions("e1").await.unwrap(), Activation::NeedsBatteryCapacity);

    let (cannot, _) = source(FixtureTransport::new().on("/e1/features", answer("problems/brand_cannot")));
    let error = cannot.capture_charge_sessions("e1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("Not available for this brand"), "{error}");

    let (capacity, transport) = source(FixtureTransport::new().on("/e1/battery-capacity", json("{}")));
    capacity.set_battery_capacity("e1", Energy::from_wh(77_400).unwrap()).await.unwrap();
    assert!(transport.sent()[1].starts_with("PUT /connect/v1/entities/e1/battery-capacity"));
}

/// Every refusal as a user would see it.
#[tokio::test(start_paused = true)]
async fn refusals_are_explained() {
    let mut shown = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/problems");
    for (name, answer) in fixture::read_folder(folder).unwrap() {
        let (source, _) = source(FixtureTransport::new().on("/charge-sessions", answer));
        let error = source.fetch_page(&june(), None).await.unwrap_err();
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
}
