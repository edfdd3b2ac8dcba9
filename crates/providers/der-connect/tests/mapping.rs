//! The mapping, case by case: a fixture is named after its case, and its snapshot is read in review.

use charging_sessions_core::{AssetKind, IssueCode};
use charging_sessions_der_connect::Mapping;
use charging_sessions_testkit::fixture;
use jiff::Timestamp;

fn fetched_at() -> Timestamp {
    "2026-06-11T12:00:00Z".parse().unwrap()
}

fn listings() -> Vec<(String, charging_sessions_http::Response)> {
    fixture::read_folder(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/listing")).unwrap()
}

#[test]
fn every_listing_maps_as_its_snapshot_says() {
    let fixtures = listings();
    assert!(fixtures.len() >= 12, "the fixtures are gone");
    for (name, answer) in fixtures {
        let mut mapping = Mapping::default();
        let kind = if name == "charge_point" { AssetKind::ChargePoint } else { AssetKind::Vehicle };
        mapping.entity_kind = Some(kind);
        let page = mapping.page(answer.body(), fetched_at()).unwrap();
        insta::assert_json_snapshot!(format!("listing__{name}"), fixture::page_as_json(&page));
    }
}

#[test]
fn an_unknown_unit_is_a_reject_with_its_name() {
    let (_, answer) = listings().into_iter().find(|(name, _)| name == "unknown_unit").unwrap();
    let page = Mapping::default().page(answer.body(), fetched_at()).unwrap();
    assert_eq!((page.sessions.len(), page.rejected.len()), (1, 3));
    assert!(page.rejected.iter().all(|record| record.code == IssueCode::UNIT_UNKNOWN && record.id.is_some()));
    let reasons: Vec<_> = page.rejected.iter().map(|record| record.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [r"the unit `MWh?\u{1b}[2J` is not known", "a value without a unit", "the unit `mi` is not known"]
    );
}

#[test]
fn an_entity_of_unknown_kind_is_kept() {
    let (_, answer) = listings().into_iter().find(|(name, _)| name == "vehicle").unwrap();
    let page = Mapping::default().page(answer.body(), fetched_at()).unwrap();
    assert_eq!(page.sessions[0].extra["entityId"], "7ac991f9-0000-4000-8000-000000000001");
}

#[test]
fn a_page_size_that_is_none_costs_no_page() {
    for written in ["1e21", "-3", "2.5", r#""25""#, "[25]"] {
        let body = format!(r#"{{"data": [{{"id": "s1"}}], "meta": {{"pageSize": {written}}}}}"#);
        let page = Mapping::default().page(&body.into(), fetched_at()).unwrap();
        assert_eq!((page.sessions.len(), page.rejected.len()), (1, 0), "{written}");
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
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!("2026-09-14T22:31:05Z")),
            Just(json!("kWh")),
            Just(json!("%")),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let names = prop::sample::select(
                &[
                    "id",
                    "data",
                    "charge",
                    "total",
                    "unit",
                    "value",
                    "start",
                    "end",
                    "t1",
                    "averagePower",
                    "range",
                    "location",
                    "latitude",
                    "longitude",
                    "locationMatches",
                    "accuracy",
                    "label",
                ][..],
            );
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..6).prop_map(|pairs| pairs
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
            let body = serde_json::to_vec(&json!({"data": records})).unwrap();
            let page = Mapping::default().page(&body.into(), fetched_at()).unwrap();
            prop_assert_eq!(page.sessions.len() + page.rejected.len(), records.len());
        }
    }
}
