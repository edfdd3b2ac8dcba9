//! The mapping, case by case: a fixture is named after its case, and its snapshot is read in review.

use charging_sessions_core::{ChargingSession, ErrorKind};
use charging_sessions_ev_energy::{CostUnit, Mapping};
use charging_sessions_testkit::fixture;
use jiff::Timestamp;
use serde_json::json;

fn fetched_at() -> Timestamp {
    "2026-09-15T12:00:00Z".parse().unwrap()
}

fn folder(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_listing_maps_as_its_snapshot_says() {
    let fixtures = fixture::read_folder(folder("listing")).unwrap();
    assert!(fixtures.len() >= 20, "the fixtures are gone");
    for (name, answer) in fixtures {
        let page = Mapping::default().sub_sessions(answer.body(), fetched_at()).unwrap();
        insta::assert_json_snapshot!(format!("listing__{name}"), fixture::page_as_json(&page));
    }
}

#[test]
fn every_listing_of_plug_ins_maps_as_its_snapshot_says() {
    let fixtures = fixture::read_folder(folder("plug_ins")).unwrap();
    assert!(fixtures.len() >= 5, "the fixtures are gone");
    for (name, answer) in fixtures {
        let page = Mapping::default().plug_ins(answer.body(), fetched_at()).unwrap();
        insta::assert_json_snapshot!(format!("plug_ins__{name}"), fixture::page_as_json(&page));
    }
}

#[test]
fn each_part_of_a_plug_in_keeps_its_own_bytes() {
    let (_, answer) = fixture::read_folder(folder("plug_ins")).unwrap().pop().unwrap();
    let page = Mapping::default().plug_ins(answer.body(), fetched_at()).unwrap();
    let [stay, first, second] = &page.sessions[..] else { panic!("{} records", page.sessions.len()) };
    let bytes = |session: &ChargingSession| session.provenance.payload.clone().unwrap();
    assert!(bytes(stay).len() > bytes(first).len() + bytes(second).len());
    for part in [first, second] {
        let json: serde_json::Value = serde_json::from_slice(bytes(part).as_bytes()).unwrap();
        assert_eq!(json["id"], part.key().source_id);
    }
}

#[test]
fn every_event_maps_to_the_sub_session_in_it() {
    let fixtures = fixture::read_folder(folder("events")).unwrap();
    assert_eq!(fixtures.len(), 2, "the fixtures are gone");
    for (name, answer) in fixtures {
        let session = Mapping::default().event(answer.body(), fetched_at()).unwrap();
        insta::assert_json_snapshot!(format!("event__{name}"), session);
    }
}

#[test]
fn an_event_that_holds_no_sub_session_is_refused_with_what_it_is() {
    let event = |kind: &str, data: &str| {
        let body = format!(r#"{{"type":"{kind}","timestamp":"2026-09-15T06:02:45Z","data":{data}}}"#);
        Mapping::default().event(&body.into(), fetched_at()).unwrap_err()
    };
    let other = event("user.created", "{}");
    assert_eq!(other.kind(), ErrorKind::Unsupported);
    assert_eq!(other.to_string(), "ev-energy: the event `user.created` holds no sub-session");
    for (data, path) in [("[]", "/data/0"), (r#"{"start":null}"#, "/data/0/id"), ("null", "/data/0")] {
        let error = event("charging_sub_session.ended", data);
        assert_eq!(error.kind(), ErrorKind::InvalidRecord);
        assert!(error.to_string().contains(path), "{error}");
    }
    let none = Mapping::default().event(&"<html>".into(), fetched_at()).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Protocol);
}

#[test]
fn every_energy_usage_maps_as_its_snapshot_says() {
    let fixtures = fixture::read_folder(folder("energy_usage")).unwrap();
    assert!(fixtures.len() >= 5, "the fixtures are gone");
    for (name, answer) in fixtures {
        let usage = Mapping::default().energy_usage(answer.body(), name == "merged").unwrap();
        let shown = json!({
            "intervals": usage.intervals,
            "updated_at": usage.updated_at,
            "issues": usage.issues,
        });
        insta::assert_json_snapshot!(format!("energy_usage__{name}"), shown);
    }
}

#[test]
fn the_unit_of_cost_can_be_configured() {
    let (_, answer) = fixture::read_folder(folder("listing"))
        .unwrap()
        .into_iter()
        .find(|(name, _)| name == "finished")
        .unwrap();
    let mut mapping = Mapping::default();
    mapping.cost_unit = CostUnit::Major;
    let page = mapping.sub_sessions(answer.body(), fetched_at()).unwrap();
    let costs = &page.sessions[0].costs;
    assert_eq!(costs.cost.as_ref().unwrap().money.to_string(), "187 GBP");
    assert_eq!(costs.price_per_kwh.unwrap().to_string(), "9 GBP");
    assert_eq!(costs.savings[0].money.to_string(), "3.44 GBP", "its unit is documented and stays");
}

#[test]
fn one_bad_record_among_a_hundred_costs_one_record() {
    let good = |n: usize| {
        json!({"id": format!("csub01K3EXAMPLE{n:015}"), "start": "2026-09-14T22:31:05Z", "end": null,
               "energy_delivered_watt_hours": n, "currency": "GBP"})
    };
    let mut records: Vec<_> = (0..100).map(good).collect();
    records[50] = json!(["not", "an", "object"]);
    let body = serde_json::to_vec(&records).unwrap();
    let page = Mapping::default().sub_sessions(&body.into(), fetched_at()).unwrap();
    assert_eq!((page.sessions.len(), page.rejected.len()), (99, 1));
    assert_eq!(page.rejected[0].path, "/50");
    assert_eq!(page.rejected[0].payload.as_bytes(), br#"["not","an","object"]"#);
}

#[test]
fn a_session_keeps_the_bytes_it_came_from() {
    let body = r#"[ {"id" : "csub01K3EXAMPLE000000000000001",  "cost":1.50 } ]"#;
    let page = Mapping::default().sub_sessions(&body.into(), fetched_at()).unwrap();
    let payload = page.sessions[0].provenance.payload.as_ref().unwrap();
    assert_eq!(payload.as_bytes(), br#"{"id" : "csub01K3EXAMPLE000000000000001",  "cost":1.50 }"#);
}

#[test]
fn an_answer_that_is_no_list_is_an_error_that_says_what_it_is() {
    let error = |body: &'static str| {
        Mapping::default().sub_sessions(&body.into(), fetched_at()).unwrap_err().to_string()
    };
    insta::assert_snapshot!(error("<!doctype html><p>Sign in"));
    insta::assert_snapshot!(error(""));
    insta::assert_snapshot!(error("{}"));
    insta::assert_snapshot!(error("[{\"id\":"));
}

mod any_json {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    /// The documented fields, so that arbitrary values land where they are looked for.
    const FIELDS: [&str; 31] = [
        "id",
        "url",
        "start",
        "end",
        "mode",
        "vehicle",
        "evse",
        "energy_delivered_watt_hours",
        "cost",
        "location",
        "percentage_added",
        "currency",
        "savings_cost",
        "savings_co2_grams",
        "incentive_earned",
        "total_co2_grams",
        "co2_intensity_grams_per_kilowatt_hour",
        "co2_intensity_classification",
        "cost_per_kilowatt_hour",
        "total_points",
        "total_points_missed",
        "duration_minutes",
        "grid_energy_delivered_watt_hours",
        "solar_energy_delivered_watt_hours",
        "labels",
        "energy_usage",
        "schedules",
        "flags",
        "debug_metadata",
        "tariff",
        "grid_feeds",
    ];

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!("2026-09-14T22:31:05Z")),
            Just(json!("9999-12-30T22:00:00Z")),
            Just(json!("GBP")),
            Just(json!("21.3")),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let names = prop_oneof![
                Just("id"),
                Just("price"),
                Just("intervals"),
                Just("coordinates"),
                Just("latitude"),
                Just("longitude"),
                Just("started_at"),
                Just("interval_seconds"),
                Just("energy_delivered_by_price"),
                Just("currency"),
                Just("name"),
                Just("trim"),
                Just("total_energy_delivered_watt_hours"),
                Just("energy_delivered_watt_hours"),
                Just("electricity_cost_sub_unit"),
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..5).prop_map(|pairs| pairs
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect::<Map<_, _>>()
                    .into()),
            ]
        })
    }

    fn record() -> impl Strategy<Value = Value> {
        let pair = (prop::sample::select(&FIELDS[..]), value());
        prop::collection::vec(pair, 0..12)
            .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>().into())
    }

    proptest! {
        #[test]
        fn never_panics_and_never_loses_a_record(records in prop::collection::vec(prop_oneof![record(), value()], 0..4)) {
            let body = serde_json::to_vec(&records).unwrap();
            let page = Mapping::default().sub_sessions(&body.into(), fetched_at()).unwrap();
            prop_assert_eq!(page.sessions.len() + page.rejected.len(), records.len());
            for session in &page.sessions {
                let text = serde_json::to_string(session).unwrap();
                prop_assert!(serde_json::from_str::<ChargingSession>(&text).is_ok());
            }
        }

        #[test]
        fn usage_never_panics(usage in value()) {
            let body = serde_json::to_vec(&usage).unwrap();
            let _ = Mapping::default().energy_usage(&body.into(), false);
        }
    }
}
