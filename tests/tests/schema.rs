//! The JSON Schema of the record, as it stands in `docs/`.

use std::fs;

use charging_sessions::ChargingSession;
use serde_json::Value;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/charging-session.schema.json");

#[test]
fn the_published_schema_is_current() {
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(ChargingSession)).unwrap() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PATH, &schema).unwrap();
    }
    let published = fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        published == schema,
        "docs/charging-session.schema.json is stale. Run `UPDATE_DOCS=1 cargo test -p workspace-tests --test schema` \
         and commit the result."
    );
}

#[test]
fn the_schema_says_units_and_keeps_amounts_out_of_floats() {
    let published: Value = serde_json::from_str(&fs::read_to_string(PATH).unwrap()).unwrap();
    let reading = &published["$defs"]["EnergyReading"]["properties"]["energy_wh"];
    assert_eq!(reading["type"], "string");
    let money = &published["$defs"]["Money"]["properties"]["amount"];
    assert_eq!(money["type"], "string");
    assert_eq!(published["required"], serde_json::json!(["identity", "state", "provenance"]));
}
