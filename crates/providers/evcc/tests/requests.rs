//! What is sent, and what becomes of answers that are not a listing.

use std::sync::Arc;

use charging_sessions_core::{
    ChargingSessionSource as _, ChargingSessionSourceExt as _, Cursor, ErrorKind, IssueCode, SessionQuery,
    TimeWindow,
};
use charging_sessions_evcc::{Config, Credentials, Evcc, PROVIDER, PlainHttp};
use charging_sessions_http::Response;
use charging_sessions_testkit::fixture::{self, FixtureTransport};
use futures_util::TryStreamExt as _;

const SECRET: &str = "s3cret-of-the-proxy";

fn json(body: &str) -> Response {
    fixture::parse(&format!("HTTP/1.1 200 OK\ncontent-type: application/json\n\n{body}\n")).unwrap()
}

fn config() -> Config {
    let mut config = Config::new("https://evcc.example/site/".parse().unwrap());
    config.credentials = Credentials::Bearer(SECRET.into());
    config
}

fn source(transport: FixtureTransport) -> (Evcc, Arc<FixtureTransport>) {
    let transport = Arc::new(transport);
    (Evcc::with_transport(config(), transport.clone()).unwrap(), transport)
}

fn site() -> FixtureTransport {
    FixtureTransport::new().on("/api/state", json(r#"{"currency": "SEK", "siteTitle": "Hemma"}"#))
}

fn window(from: &str, until: &str) -> SessionQuery {
    SessionQuery::started_in(TimeWindow::new(from.parse().unwrap(), until.parse().unwrap()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_window_becomes_the_months_that_it_may_touch_the_latest_first() {
    let (source, transport) = source(site().on("/api/sessions", json("[]")));
    for query in [
        window("2026-06-02T00:00:00Z", "2026-06-30T00:00:00Z"),
        window("2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        window("2026-12-31T22:00:00Z", "2026-12-31T22:00:01Z"),
        window("2024-06-02T00:00:00Z", "2026-05-30T00:00:00Z"),
        window("2024-05-02T00:00:00Z", "2026-05-30T00:00:00Z"),
        window("-009999-01-02T01:59:59Z", "9999-12-30T22:00:00Z"),
        SessionQuery::all(),
    ] {
        source.pages(query).try_collect::<Vec<_>>().await.unwrap();
    }
    let sent = transport.sent();
    let lines = sent.iter().filter_map(|sent| sent.lines().next());
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_currency_is_asked_for_once_or_configured() {
    let (asked, transport) =
        source(site().on("/api/sessions", json(r#"[{"id": 1, "price": 12.5, "pricePerKWh": 2}]"#)));
    for _ in 0..3 {
        let page = asked.clone().fetch_page(&SessionQuery::all(), None).await.unwrap();
        assert_eq!(page.sessions[0].costs.cost.as_ref().unwrap().money.to_string(), "12.5 SEK");
    }
    let states = transport.sent().iter().filter(|sent| sent.contains("/api/state")).count();
    assert_eq!((states, transport.sent().len()), (1, 4));

    let transport = FixtureTransport::new().on("/api/sessions", json(r#"[{"id": 1, "price": 12.5}]"#));
    let mut config = config();
    config.currency = charging_sessions_core::Currency::parse("NOK");
    let configured = Evcc::with_transport(config, Arc::new(transport)).unwrap();
    let page = configured.fetch_page(&SessionQuery::all(), None).await.unwrap();
    assert_eq!(page.sessions[0].costs.cost.as_ref().unwrap().money.to_string(), "12.5 NOK");
}

#[tokio::test(start_paused = true)]
async fn a_site_that_names_no_currency_leaves_numbers() {
    for (state, code) in [
        (r#"{"siteTitle": "Zuhause"}"#, IssueCode::MONEY_CURRENCY_MISSING),
        (r#"{"currency": ""}"#, IssueCode::MONEY_CURRENCY_MISSING),
        (r#"{"result": {"currency": null}}"#, IssueCode::MONEY_CURRENCY_MISSING),
        (r#"{"result": {"currency": "QQQ"}}"#, IssueCode::MONEY_CURRENCY_UNKNOWN),
    ] {
        let transport = FixtureTransport::new().on("/api/state", json(state));
        let (source, _) = source(transport.on("/api/sessions", json(r#"[{"id": 1, "price": 12.5}]"#)));
        let page = source.fetch_page(&SessionQuery::all(), None).await.unwrap();
        let session = &page.sessions[0];
        assert!(session.costs.cost.is_none() && session.extra["price"] == 12.5);
        assert!(session.issues.iter().any(|issue| issue.code == code), "{state}: {:?}", session.issues);
    }
}

/// The amounts of today would be without a currency, and those of tomorrow with one.
#[tokio::test(start_paused = true)]
async fn a_currency_that_cannot_be_asked_for_is_an_error() {
    let refused = fixture::parse("HTTP/1.1 403 Forbidden\n\nno\n").unwrap();
    let (source, transport) = source(FixtureTransport::new().on("/api/state", refused));
    let error = source.fetch_page(&SessionQuery::all(), None).await.unwrap_err();
    assert_eq!((error.kind(), transport.sent().len()), (ErrorKind::PermissionDenied, 1));
    insta::assert_snapshot!(error);
}

#[tokio::test(start_paused = true)]
async fn a_window_goes_on_from_a_cursor_of_its_own_only() {
    let (source, transport) = source(site().on("/api/sessions", json("[]")));
    let june = window("2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z");
    let page = source.fetch_page(&june, None).await.unwrap();
    insta::assert_snapshot!("the_cursor", page.next.as_ref().unwrap());
    let sent = transport.sent().len();
    // Months of another window, before and after those of this one; and the latest, which is never gone on with.
    for (query, month) in [(&june, 24_315), (&june, 24_318), (&june, -1), (&SessionQuery::all(), 24_317)] {
        let cursor = Cursor::encode(PROVIDER, 1, query, &serde_json::json!({ "month": month }));
        let error = source.fetch_page(query, Some(&cursor)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidCursor, "{month}");
    }
    assert_eq!(transport.sent().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn plain_http_is_a_decision() {
    let build = |plain_http, credentials| {
        let mut config = Config::new("http://evcc.local:7070".parse().unwrap());
        (config.plain_http, config.credentials) = (plain_http, credentials);
        Evcc::with_transport(config, Arc::new(FixtureTransport::new()))
    };
    let token = || Credentials::Bearer(SECRET.into());
    let refused = build(PlainHttp::Refused, Credentials::None).unwrap_err();
    let with_token = build(PlainHttp::WithoutCredentials, token()).unwrap_err();
    insta::assert_snapshot!(format!("{refused}\n{with_token}"));
    build(PlainHttp::WithoutCredentials, Credentials::None).unwrap();
    build(PlainHttp::WithCredentials, token()).unwrap();
}

/// Every refusal as a user would see it.
#[tokio::test(start_paused = true)]
async fn refusals_are_explained() {
    let mut shown = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/problems");
    for (name, answer) in fixture::read_folder(folder).unwrap() {
        let (source, transport) = source(site().on("/api/sessions", answer));
        let error = source.fetch_page(&SessionQuery::all(), None).await.unwrap_err();
        assert_eq!(error.provider(), Some(PROVIDER));
        assert!(!format!("{error:?}").contains(SECRET));
        shown.push(format!("{name}\n  {}, {} requests\n  {error}", error.kind(), transport.sent().len() - 1));
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn no_secret_shows_in_debug() {
    let (source, _) = source(FixtureTransport::new());
    let mut basic = config();
    basic.credentials = Credentials::Basic { user: "reader".into(), password: SECRET.into() };
    assert!(!format!("{source:?}{source:#?}{basic:?}{basic:#?}").contains(SECRET));
}
