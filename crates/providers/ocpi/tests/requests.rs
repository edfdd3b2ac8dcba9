//! What is sent, where the modules are found, and what becomes of answers that are not a listing.

use std::{num::NonZeroU32, sync::Arc};

use charging_sessions_core::{
    ChargingSessionSource as _, ChargingSessionSourceExt as _, Error, ErrorKind, SessionQuery,
};
use charging_sessions_http::Response;
use charging_sessions_ocpi::{Config, Ocpi, Version};
use charging_sessions_testkit::fixture::{self, FixtureTransport};
use futures_util::TryStreamExt as _;

const VERSIONS: &str = r#"[{"version": "2.0", "url": "https://cpo.example/x"}, {"version": "2.1.1", "url": "http://cpo.example:8080/v/2.1.1"},
    {"version": "2.2.1", "url": "/v/2.2.1"}, {"version": "3.0", "url": "https://cpo.example/y"}]"#;
const DETAILS: &str = r#"{"version": "2.2.1", "endpoints": [
    {"identifier": "cdrs", "role": "RECEIVER", "url": "https://elsewhere.example/cdrs"},
    {"identifier": "CDRs", "role": "SENDER", "url": "https://cpo.example/a/cdrs/"},
    {"identifier": "sessions", "role": "SENDER", "url": "https://elsewhere.example/sessions"}]}"#;

fn answer(data: &str) -> Response {
    let body = format!(r#"{{"status_code": 1000, "data": {data}}}"#);
    fixture::parse(&format!("HTTP/1.1 200 OK\ncontent-type: application/json\n\n{body}\n")).unwrap()
}

fn config() -> Config {
    let mut config = Config::new("https://cpo.example/versions".parse().unwrap(), "t0ken".into());
    config.now = || "2026-09-15T12:00:00.7Z".parse().unwrap();
    config
}

fn source(config: Config, transport: FixtureTransport) -> (Ocpi, Arc<FixtureTransport>) {
    let transport = Arc::new(transport);
    (Ocpi::with_transport(config, transport.clone()).unwrap(), transport)
}

fn party() -> FixtureTransport {
    FixtureTransport::new()
        .on("/versions", answer(VERSIONS))
        .on("/v/2.2.1", answer(DETAILS))
        .on(
            "/v/2.1.1",
            answer(r#"{"endpoints": [{"identifier": "cdrs", "url": "https://cpo.example/old/cdrs"}]}"#),
        )
        .on("cdrs", answer("[]"))
}

#[tokio::test(start_paused = true)]
async fn the_latest_common_version_is_spoken_and_only_paths_are_taken_from_the_party() {
    let (source, transport) = source(config(), party());
    let query = SessionQuery::all().with_page_size(NonZeroU32::new(7).unwrap());
    let _: Vec<_> = source.cdrs().sessions(query).try_collect().await.unwrap();
    let sent: Vec<_> = transport.sent().iter().map(|line| line.lines().next().unwrap().to_owned()).collect();
    insta::assert_snapshot!(sent.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn an_older_version_may_be_asked_for_and_its_bound_is_a_second_earlier() {
    let mut config = config();
    config.version = Some(Version::V2_1_1);
    let (source, transport) = source(config, party());
    let since = "2026-09-01T00:00:00.5Z".parse().unwrap();
    source.cdrs().fetch_page(&SessionQuery::changed_since(since), None).await.unwrap();
    let sent = transport.sent().pop().unwrap();
    assert!(sent.contains("/old/cdrs?date_from=2026-08-31T23%3A59%3A59Z"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn what_is_configured_is_not_asked_for() {
    let mut config = Config::direct(Version::V2_3_0, "t0ken".into());
    config.cdrs_url = Some("https://cpo.example/cdrs".parse().unwrap());
    let (source, transport) = source(config, party());
    source.cdrs().fetch_page(&SessionQuery::all(), None).await.unwrap();
    assert_eq!(transport.sent().len(), 1);
    let error = source.fetch_page(&SessionQuery::all(), None).await.unwrap_err();
    assert_eq!(error.to_string(), "ocpi: the party sends no `sessions` in its version 2.3.0");
}

#[tokio::test(start_paused = true)]
async fn the_token_goes_to_no_host_that_the_party_names() {
    let (source, transport) = source(config(), party());
    let error = source.fetch_page(&SessionQuery::all(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("the host elsewhere.example"), "{error}");
    assert_eq!(transport.sent().len(), 2, "the versions and their details");
}

#[tokio::test(start_paused = true)]
async fn parties_that_cannot_be_read_are_told_of_in_a_sentence() {
    let error = async |config: Config, versions: &str, details: &str| -> Error {
        let transport =
            FixtureTransport::new().on("/versions", answer(versions)).on("/v/2.2.1", answer(details));
        let (source, _) = source(config, transport);
        source.fetch_page(&SessionQuery::all(), None).await.unwrap_err()
    };
    let latest = || {
        let mut config = config();
        config.version = Some(Version::V2_3_0);
        config
    };
    for (error, kind, words) in [
        (
            error(latest(), VERSIONS, "null").await,
            ErrorKind::Config,
            "speaks 2.0, 2.1.1, 2.2.1, 3.0, and we 2.3.0",
        ),
        (
            error(config(), "[]", "null").await,
            ErrorKind::Config,
            "speaks no version, and we 2.1.1, 2.2.1 and 2.3.0",
        ),
        (
            error(config(), VERSIONS, "null").await,
            ErrorKind::Config,
            "sends no `sessions` in its version 2.2.1",
        ),
        (
            error(config(), r#"[{"version": "2.2.1"}]"#, "null").await,
            ErrorKind::Protocol,
            "no usable address",
        ),
        (error(config(), r#"{"a": 1}"#, "null").await, ErrorKind::Protocol, "of another shape"),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_configuration_that_cannot_work_says_what_to_change() {
    let bare = || Config::direct(Version::V2_2_1, "t0ken".into());
    let url = |url: &str| Some(url.parse().unwrap());
    let mut far = config();
    far.cdrs_url = url("https://other.example/cdrs");
    let mut query = bare();
    query.cdrs_url = url("https://cpo.example/?module=cdrs");
    let mut lag = config();
    lag.lag = jiff::SignedDuration::from_hours(2);
    let mut plain = bare();
    plain.cdrs_url = url("http://cpo.example/cdrs");
    let mut no_version = bare();
    (no_version.version, no_version.cdrs_url) = (None, url("https://cpo.example/cdrs"));
    let mut party = config();
    party.to = Some(charging_sessions_ocpi::Party::new("N\nL", "TNM"));
    for (config, words) in [
        (bare(), "there is no address"),
        (far, "different origins"),
        (query, "has a query"),
        (lag, "the lag"),
        (plain, "not `https`"),
        (no_version, "the version must be given"),
        (party, "ocpi-to-country-code"),
    ] {
        let error = Ocpi::with_transport(config, Arc::new(FixtureTransport::new())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_module_or_version_is_refused() {
    let full = r#"[{"country_code": "BE", "party_id": "BEC", "id": "a"}]"#;
    let mut old = config();
    old.version = Some(Version::V2_1_1);
    let transport = || FixtureTransport::new().on("cdrs", answer(full)).on("/versions", answer(VERSIONS));
    let listed = transport().on("/v/2.2.1", answer(DETAILS));
    let (source_of_cdrs, _) = source(config(), listed);
    let page = source_of_cdrs.cdrs().fetch_page(&SessionQuery::all(), None).await.unwrap();
    let cursor = page.next.unwrap();
    let error = source_of_cdrs.fetch_page(&SessionQuery::all(), Some(&cursor)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidCursor);
    let details = r#"{"endpoints": [{"identifier": "cdrs", "url": "/old/cdrs"}]}"#;
    let (older, _) = source(old, transport().on("/v/2.1.1", answer(details)));
    let error = older.cdrs().fetch_page(&SessionQuery::all(), Some(&cursor)).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidCursor && error.to_string().contains("another version"),
        "{error}"
    );
}
