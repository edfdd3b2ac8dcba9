//! The mapping, case by case: a fixture is named after its case, and its snapshot is read in review.

use charging_sessions_podero::Mapping;
use charging_sessions_testkit::fixture;
use jiff::Timestamp;

fn fetched_at() -> Timestamp {
    "2026-09-15T12:00:00Z".parse().unwrap()
}

fn folder(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn mapping() -> Mapping {
    let mut mapping = Mapping::default();
    mapping.user_id = Some("user-1".into());
    mapping.vehicle_id = Some("vehicle-1".into());
    mapping
}

#[test]
fn every_listing_maps_as_its_snapshot_says() {
    let fixtures = fixture::read_folder(folder("listing")).unwrap();
    assert!(fixtures.len() >= 15, "the fixtures are gone");
    for (name, answer) in fixtures {
        let page = mapping().page(answer.body(), fetched_at()).unwrap();
        insta::assert_json_snapshot!(format!("listing__{name}"), fixture::page_as_json(&page));
    }
}

#[test]
fn the_current_session_may_be_none() {
    for (name, answer) in fixture::read_folder(folder("current")).unwrap() {
        let session = mapping().current(answer.body(), fetched_at()).unwrap();
        insta::assert_json_snapshot!(format!("current__{name}"), session);
    }
}

#[test]
fn plans_are_never_reported_as_facts() {
    let (_, answer) = fixture::read_folder(folder("listing"))
        .unwrap()
        .into_iter()
        .find(|(name, _)| name == "completed")
        .unwrap();
    let session = &mapping().page(answer.body(), fetched_at()).unwrap().sessions[0];
    assert_eq!((session.timing.charging_started_at, session.timing.charging_ended_at), (None, None));
    assert_eq!(session.extra["desired_charging_start_time"], "2026-09-15T00:00:00Z");
}

#[test]
fn an_answer_that_is_no_list_is_an_error_that_says_what_it_is() {
    let error = |body: &'static str| mapping().page(&body.into(), fetched_at()).unwrap_err().to_string();
    assert_eq!(error("<html>"), "expected JSON of the documented shape, found an HTML page");
    // The second would be a listing of one, without it.
    for list in ["[]", "[1, []]"] {
        let expected =
            "expected JSON of the documented shape, found a JSON array of another shape at line 1, column ";
        assert!(error(list).starts_with(expected), "{list}");
    }
}

#[test]
fn a_total_that_can_be_no_number_of_sessions_costs_no_page() {
    for (written, total) in [
        ("2", Some(2)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("1e21", None),
        ("-3", None),
        ("2.5", None),
        (r#""2""#, None),
        ("null", None),
        ("[2]", None),
    ] {
        let body = format!(r#"{{"total": {written}, "items": [{{"id": "s1"}}]}}"#);
        let page = mapping().page(&body.into(), fetched_at()).unwrap();
        assert_eq!((page.total, page.sessions.len(), page.rejected.len()), (total, 1, 0), "{written}");
    }
    let without = mapping().page(&r#"{"items": []}"#.into(), fetched_at()).unwrap();
    assert_eq!(without.total, None);
}

mod any_json {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    const FIELDS: [&str; 14] = [
        "id",
        "plug_in_time",
        "unplug_time",
        "inferred_session_end",
        "target_soc_pct",
        "energy_charged_kwh",
        "avg_charge_power_kw",
        "actual_cost_eur",
        "expected_savings_eur",
        "is_at_home",
        "session_outcome",
        "is_hidden",
        "hidden_reason",
        "reachable_soc_pct",
    ];

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!("2026-09-14T22:31:05Z")),
            Just(json!([1, {"a": null}])),
        ]
    }

    fn record() -> impl Strategy<Value = Value> {
        let pair = (prop::sample::select(&FIELDS[..]), value());
        prop::collection::vec(pair, 0..14)
            .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>().into())
    }

    proptest! {
        #[test]
        fn never_panics_and_never_loses_a_record(items in prop::collection::vec(prop_oneof![record(), value()], 0..5)) {
            let body = serde_json::to_vec(&json!({"total": 1, "items": items})).unwrap();
            let page = mapping().page(&body.into(), fetched_at()).unwrap();
            prop_assert_eq!(page.sessions.len() + page.rejected.len(), items.len());
        }
    }
}
