//! The mapping, case by case: a fixture is named after its case, and its snapshot is read in review.

use charging_sessions_core::{
    ChargingSession, CostComponentKind, EnergyDirection, ErrorKind, RelationKind, SessionPage, TaxBasis,
    checks,
};
use charging_sessions_ocpi::{Mapping, Module, Version};
use charging_sessions_testkit::fixture;
use jiff::Timestamp;

const LISTS: [(&str, Module, Version); 6] = [
    ("sessions_2_1_1", Module::Sessions, Version::V2_1_1),
    ("sessions_2_2_1", Module::Sessions, Version::V2_2_1),
    ("sessions_2_3_0", Module::Sessions, Version::V2_3_0),
    ("cdrs_2_1_1", Module::Cdrs, Version::V2_1_1),
    ("cdrs_2_2_1", Module::Cdrs, Version::V2_2_1),
    ("cdrs_2_3_0", Module::Cdrs, Version::V2_3_0),
];

fn fetched_at() -> Timestamp {
    "2026-09-15T12:00:00Z".parse().unwrap()
}

fn page(list: &str, name: &str) -> SessionPage {
    let (folder, module, version) = LISTS.into_iter().find(|(folder, ..)| *folder == list).unwrap();
    let path = format!("{}/tests/fixtures/{folder}/{name}.http", env!("CARGO_MANIFEST_DIR"));
    let answer = fixture::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    Mapping::new(module, version).page(answer.body(), fetched_at()).unwrap()
}

fn only(list: &str, name: &str) -> ChargingSession {
    let page = page(list, name);
    assert_eq!((page.sessions.len(), page.rejected.len()), (1, 0));
    page.into_session().unwrap().unwrap()
}

#[test]
fn every_listing_maps_as_its_snapshot_says() {
    let mut count = 0;
    for (folder, module, version) in LISTS {
        let path = format!("{}/tests/fixtures/{folder}", env!("CARGO_MANIFEST_DIR"));
        for (name, answer) in fixture::read_folder(path).unwrap() {
            let page = Mapping::new(module, version).page(answer.body(), fetched_at()).unwrap();
            insta::assert_json_snapshot!(format!("{folder}__{name}"), fixture::page_as_json(&page));
            count += 1;
        }
    }
    assert!(count >= 28, "the fixtures are gone");
}

#[test]
fn one_record_in_three_versions_is_the_same_net_amount() {
    let told = ["cdrs_2_1_1", "cdrs_2_2_1", "cdrs_2_3_0"].map(|list| {
        let mut cdr = only(list, "usual");
        checks::screen(&mut cdr, &checks::Limits::default());
        assert_eq!(cdr.issues, [], "{list}");
        let cost = cdr.costs.cost.unwrap();
        assert_eq!(cost.tax, TaxBasis::Excluded, "{list}");
        let tax = cdr.costs.components.iter().find(|part| part.kind == CostComponentKind::Tax);
        (
            cost.money.to_string(),
            tax.map(|tax| tax.money.to_string()),
            cdr.energy.headline(),
            cdr.timing.charging_for,
        )
    });
    assert!(told.iter().all(|it| (&it.0, it.2, it.3) == (&told[0].0, told[0].2, told[0].3)), "{told:?}");
    assert_eq!(told.map(|it| it.1), [None, Some("0.882 EUR".to_owned()), Some("0.882 EUR".to_owned())]);
}

#[test]
fn what_is_taken_back_has_no_energy_and_a_negative_cost() {
    let page = page("cdrs_2_2_1", "taken_back");
    let [original, credit, anew] = &page.sessions[..] else { panic!() };
    assert_eq!(credit.identity.related[0].key, *original.key());
    assert_eq!(credit.identity.related[0].kind, RelationKind::Credits);
    let sum = |of: fn(&ChargingSession) -> Option<rust_decimal::Decimal>| -> rust_decimal::Decimal {
        page.sessions.iter().filter_map(of).sum()
    };
    assert_eq!(sum(|cdr| Some(cdr.costs.cost.as_ref()?.money.amount)), "3.7".parse().unwrap());
    // The two that bill the energy: that the first is taken back is for who counts to see.
    assert_eq!(sum(|cdr| Some(cdr.energy.headline()?.as_kwh())), "25".parse().unwrap());
    assert!(
        credit.energy.readings.is_empty()
            && credit.costs.components.iter().all(|part| part.kind == CostComponentKind::Tax)
    );
    assert!(anew.identity.related.is_empty());
}

#[test]
fn energy_that_is_given_back_is_no_fault() {
    for mut cdr in page("cdrs_2_2_1", "energy_given_back").sessions {
        assert_eq!(cdr.energy.readings[0].direction, EnergyDirection::Net);
        checks::screen(&mut cdr, &checks::Limits::default());
        assert!(cdr.counts(), "{:?}", cdr.issues);
    }
}

#[test]
fn periods_end_where_the_next_begins_in_whatever_order_they_come() {
    let told = |name: &str| {
        let cdr = only("cdrs_2_2_1", name);
        let intervals = cdr.details.intervals.as_ref().unwrap();
        intervals.iter().map(|it| (it.start, it.end, it.energy)).collect::<Vec<_>>()
    };
    let usual = told("usual");
    assert_eq!(usual, told("periods_out_of_order"));
    assert_eq!((usual[0].1, usual[1].1), (usual[1].0, usual[2].0));
    assert_eq!(usual[2].1, Some("2026-09-14T18:00:00Z".parse().unwrap()));
}

#[test]
fn an_answer_that_failed_is_an_error_whatever_its_list_holds() {
    for (name, kind, words) in [
        ("failed_with_an_empty_list", ErrorKind::Unavailable, "status 3000, the server failed"),
        ("invalid_parameters", ErrorKind::Rejected, "status 2001, parameters are missing or wrong"),
        ("unknown_receiver", ErrorKind::Config, "the hub does not know the receiver"),
        ("unsupported_version", ErrorKind::Config, "the version is not supported"),
        ("no_status", ErrorKind::Protocol, "the answer has no `status_code`"),
        ("bare_array", ErrorKind::Protocol, "found a JSON array"),
        ("framework_refusal", ErrorKind::Protocol, "the answer has no `status_code`"),
    ] {
        let path = format!("{}/tests/fixtures/problems/{name}.http", env!("CARGO_MANIFEST_DIR"));
        let answer = fixture::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
        let error =
            Mapping::new(Module::Cdrs, Version::V2_2_1).page(answer.body(), fetched_at()).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
}

/// Records that others have collected: `cargo xtask ci` fetches them and names their folder.
#[test]
#[ignore = "`cargo xtask ci` fetches the records"]
fn records_from_the_field_are_mapped() {
    let folder = std::env::var("OCPI_RECORDS").expect("OCPI_RECORDS names no folder; run `cargo xtask ci`");
    let mut count = 0;
    for (part, version) in [("v211", Version::V2_1_1), ("v221", Version::V2_2_1)] {
        let mut folders = vec![std::path::Path::new(&folder).join(part)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let is_cdr = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cdr"));
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                // Two of them have comments, which no JSON has.
                let json = serde_json::from_str::<serde_json::Value>(&text);
                let Some(json) = json.ok().filter(|_| is_cdr) else { continue };
                // Most have no identifier, because whoever collected them left it out.
                let text = match json.get("id") {
                    Some(_) => text,
                    None => text.replacen('{', "{\"id\": \"left out\",", 1),
                };
                let body = format!(r#"{{"status_code": 1000, "data": [{text}]}}"#);
                let page = Mapping::new(Module::Cdrs, version).page(&body.into(), fetched_at()).unwrap();
                assert_eq!((page.sessions.len(), page.rejected.len()), (1, 0), "{}", path.display());
                let cdr = &page.sessions[0];
                assert!(cdr.timing.period.start.is_some(), "{}", path.display());
                assert!(cdr.costs.cost.is_some(), "{}", path.display());
                let credits = cdr.extra.get("credit") == Some(&true.into());
                assert_eq!(cdr.energy.headline().is_none(), credits, "{}", path.display());
                count += 1;
            }
        }
    }
    assert_eq!(count, 49, "these are not the records that were expected");
}

mod any_json {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    const FIELDS: [&str; 24] = [
        "country_code",
        "party_id",
        "id",
        "start_date_time",
        "end_date_time",
        "start_datetime",
        "stop_date_time",
        "kwh",
        "total_energy",
        "total_time",
        "total_parking_time",
        "cdr_token",
        "cdr_location",
        "location",
        "currency",
        "charging_periods",
        "total_cost",
        "total_energy_cost",
        "credit",
        "credit_reference_id",
        "signed_data",
        "status",
        "last_updated",
        "anything",
    ];

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            "[0-9]{1,5}-[0-9]{1,3}-[0-9]{1,3}[T ][0-9:]{1,9}[Zz+-]?[0-9:]{0,5}".prop_map(Value::from),
            Just(json!("EUR")),
            Just(json!({"excl_vat": 1.5, "incl_vat": -2, "before_taxes": 1e300, "taxes": [{"amount": 0.1}]})),
            Just(
                json!([{"start_date_time": "9999-12-31T23:59:59Z", "dimensions": [{"type": "ENERGY", "volume": 1e300}]}, {"dimensions": [{"type": "energy", "volume": -1}]}])
            ),
            Just(json!([1, {"a": null}])),
        ]
    }

    fn record() -> impl Strategy<Value = Value> {
        let pair = (prop::sample::select(&FIELDS[..]), value());
        prop::collection::vec(pair, 0..20)
            .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>().into())
    }

    proptest! {
        #[test]
        fn never_panics_and_never_loses_a_record(items in prop::collection::vec(prop_oneof![record(), value()], 0..5)) {
            let body = serde_json::to_vec(&json!({"status_code": 1000, "data": items})).unwrap();
            for (_, module, version) in LISTS {
                let page = Mapping::new(module, version).page(&body.clone().into(), fetched_at()).unwrap();
                prop_assert_eq!(page.sessions.len() + page.rejected.len(), items.len());
            }
        }
    }
}
