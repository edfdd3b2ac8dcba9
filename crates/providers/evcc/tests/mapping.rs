//! The mapping, case by case: a fixture is named after its case, and its snapshot is read in review.

use charging_sessions_core::SessionStatus;
use charging_sessions_evcc::Mapping;
use charging_sessions_testkit::fixture;
use jiff::Timestamp;

fn fetched_at() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn listings() -> Vec<(String, charging_sessions_http::Response)> {
    fixture::read_folder(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/listing")).unwrap()
}

fn mapping() -> Mapping {
    let mut mapping = Mapping::default();
    mapping.account = "home".parse().unwrap();
    mapping.currency = Some("EUR".into());
    mapping
}

#[test]
fn every_listing_maps_as_its_snapshot_says() {
    let fixtures = listings();
    assert!(fixtures.len() >= 14, "the fixtures are gone");
    for (name, answer) in fixtures {
        let mut mapping = mapping();
        match name.as_str() {
            "currency_missing" => mapping.currency = None,
            "currency_unknown" => mapping.currency = Some("QQQ".into()),
            "configured_zone" => mapping.zone = Some("Europe/Berlin".into()),
            _ => {}
        }
        let page = mapping.page(answer.body(), fetched_at()).unwrap();
        insta::assert_json_snapshot!(format!("listing__{name}"), fixture::page_as_json(&page));
    }
}

#[test]
fn an_older_release_says_the_same_in_a_wrapper() {
    let body = |name: &str| listings().into_iter().find(|(found, _)| found == name).unwrap().1.into_body();
    let bare = mapping().page(&body("first_page"), fetched_at()).unwrap();
    let wrapped = format!(r#"{{"result": {}}}"#, std::str::from_utf8(&body("first_page")).unwrap());
    let wrapped = mapping().page(&wrapped.into(), fetched_at()).unwrap();
    assert_eq!(bare.sessions, wrapped.sessions);
}

#[test]
fn what_is_no_list_is_no_empty_list() {
    for body in ["null", "{}", r#"{"result": null}"#, r#"{"error": "database offline"}"#, "[1"] {
        let error = mapping().page(&body.into(), fetched_at()).unwrap_err();
        assert_eq!(error.kind(), charging_sessions_core::ErrorKind::Protocol, "{body}");
    }
}

#[test]
fn only_the_year_1_stands_for_a_session_that_is_open() {
    for (finished, status) in [
        (r#""0001-01-01T00:00:00Z""#, SessionStatus::Active),
        (r#""0001-01-01T00:53:28+00:53""#, SessionStatus::Active),
        (r#""1970-01-01T00:00:00Z""#, SessionStatus::Unknown),
        ("null", SessionStatus::Unknown),
        (r#""soon""#, SessionStatus::Unknown),
        (r#""2026-11-20T11:00:00+01:00""#, SessionStatus::Completed),
    ] {
        let body = format!(r#"[{{"id": 1, "created": "2026-11-20T08:00:00Z", "finished": {finished}}}]"#);
        let page = mapping().page(&body.into(), fetched_at()).unwrap();
        assert_eq!(page.sessions[0].state.status, status, "{finished}");
    }
}

#[test]
fn the_share_of_the_sun_is_rounded_half_to_even_at_a_milliwatt_hour() {
    for (energy, percent, solar) in [
        ("10", "88.21", Some("8821")),
        ("0.000001", "50", Some("0")),
        ("0.000003", "50", Some("0.002")),
        ("0.000005", "50", Some("0.002")),
        ("7.5", "0", Some("0")),
        ("7.5", "100", Some("7500")),
        ("7.5", "33.33333333333333", Some("2500")),
        ("7.5", "100.5", None),
        ("7.5", "-1", None),
        ("null", "50", None),
    ] {
        let body = format!(r#"[{{"id": 1, "chargedEnergy": {energy}, "solarPercentage": {percent}}}]"#);
        let page = mapping().page(&body.into(), fetched_at()).unwrap();
        let session = &page.sessions[0];
        let found = session.energy.sources.solar.map(|solar| solar.as_wh().to_string());
        assert_eq!(found.as_deref(), solar, "{percent} % of {energy}");
        assert!(session.extra.contains_key("solarPercentage"));
    }
}

mod any_json {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!("0001-01-01T00:00:00Z")),
            Just(json!("2026-09-14T22:31:05.25+02:00")),
        ];
        leaf.prop_recursive(3, 32, 8, |inner| {
            let names = prop::sample::select(
                &[
                    "id",
                    "created",
                    "finished",
                    "loadpoint",
                    "identifier",
                    "vehicle",
                    "odometer",
                    "meterStart",
                    "meterStop",
                    "chargedEnergy",
                    "chargeDuration",
                    "socStart",
                    "socEnd",
                    "addedRange",
                    "solarPercentage",
                    "price",
                    "pricePerKWh",
                    "co2PerKWh",
                ][..],
            );
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..8).prop_map(|pairs| pairs
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect::<Map<_, _>>()
                    .into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn never_panics_and_never_loses_a_record(records in prop::collection::vec(value(), 0..5)) {
            let body = serde_json::to_vec(&json!(records)).unwrap();
            let page = mapping().page(&body.into(), fetched_at()).unwrap();
            prop_assert_eq!(page.sessions.len() + page.rejected.len(), records.len());
        }
    }
}
