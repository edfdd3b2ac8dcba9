//! A record as each version writes it.

use serde_json::{Map, Value, json};

use super::{Module, data::location_of};

const PRICES: [&str; 6] = [
    "total_cost",
    "total_fixed_cost",
    "total_energy_cost",
    "total_time_cost",
    "total_parking_cost",
    "total_reservation_cost",
];

/// What 2.1.1 does not have.
const LATER: [&str; 19] = [
    "country_code",
    "party_id",
    "cdr_token",
    "authorization_reference",
    "location_id",
    "evse_uid",
    "connector_id",
    "session_id",
    "cdr_location",
    "signed_data",
    "total_fixed_cost",
    "total_energy_cost",
    "total_time_cost",
    "total_parking_cost",
    "total_reservation_cost",
    "invoice_reference_id",
    "credit",
    "credit_reference_id",
    "home_charging_compensation",
];

pub(super) fn view(record: &Map<String, Value>, module: Module, version: &str, lower: bool) -> Value {
    let mut record = record.clone();
    match version {
        "2.1.1" => first(&mut record, module),
        "2.3.0" => latest(&mut record),
        _ => {}
    }
    if lower {
        for name in
            ["country_code", "party_id", "id", "session_id", "credit_reference_id", "evse_uid", "location_id"]
        {
            if let Some(Value::String(text)) = record.get_mut(name) {
                *text = text.to_lowercase();
            }
        }
    }
    Value::Object(record)
}

/// The tax in full, with its name.
fn latest(record: &mut Map<String, Value>) {
    for name in PRICES {
        let Some(price) = record.get_mut(name) else { continue };
        let net = price["excl_vat"].as_f64();
        let gross = price["incl_vat"].as_f64();
        let tax = net.zip(gross).map(|(net, gross)| ((gross - net) * 10_000.0).round() / 10_000.0);
        let taxes: Vec<_> =
            tax.map(|tax| json!({"name": "VAT", "percentage": 21, "amount": tax})).into_iter().collect();
        *price = match net {
            Some(net) => json!({"before_taxes": net, "taxes": taxes}),
            None => json!({"before_taxes": gross}),
        };
    }
}

fn first(record: &mut Map<String, Value>, module: Module) {
    let location = match module {
        Module::Sessions => record.get("location_id").and_then(Value::as_str).and_then(location_of),
        Module::Cdrs => record.get("cdr_location").cloned(),
    };
    record.insert(
        "auth_id".into(),
        record.get("cdr_token").map_or(Value::Null, |token| token["contract_id"].clone()),
    );
    if let Some(location) = location {
        record.insert("location".into(), whole(&location));
    }
    let net = record.get("total_cost").map(|price| price["excl_vat"].clone());
    for name in LATER {
        record.remove(name);
    }
    if let Some(net) = net.filter(|net| !net.is_null()) {
        record.insert("total_cost".into(), net);
    } else {
        record.remove("total_cost");
    }
    let renamed = match module {
        Module::Sessions => [("start_date_time", "start_datetime"), ("end_date_time", "end_datetime")],
        Module::Cdrs => [("start_date_time", "start_date_time"), ("end_date_time", "stop_date_time")],
    };
    for (name, first) in renamed {
        if let Some(value) = record.remove(name) {
            record.insert(first.into(), value);
        }
    }
    for (name, word, first) in
        [("auth_method", "COMMAND", "AUTH_REQUEST"), ("status", "RESERVATION", "PENDING")]
    {
        if record.get(name).and_then(Value::as_str) == Some(word) {
            record.insert(name.into(), first.into());
        }
    }
    for period in record.get_mut("charging_periods").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(period) = period {
            period.remove("tariff_id");
        }
        if let Some(Value::Array(dimensions)) = period.get_mut("dimensions") {
            dimensions.retain(|it| it["type"] != "MAX_POWER" && it["type"] != "STATE_OF_CHARGE");
        }
    }
}

/// The location with the one charge point that was used.
fn whole(from: &Value) -> Value {
    let updated = "2026-01-01T00:00:00Z";
    let mut connector = json!({"voltage": 230, "amperage": 32, "last_updated": updated});
    let mut evse = json!({"status": "AVAILABLE", "last_updated": updated});
    for (name, part, source) in [
        ("id", 0, "connector_id"),
        ("standard", 0, "connector_standard"),
        ("format", 0, "connector_format"),
        ("power_type", 0, "connector_power_type"),
        ("uid", 1, "evse_uid"),
        ("evse_id", 1, "evse_id"),
    ] {
        if !from[source].is_null() {
            let into = if part == 0 { &mut connector } else { &mut evse };
            into[name] = from[source].clone();
        }
    }
    evse["connectors"] = json!([connector]);
    json!({
        "id": from["id"], "type": "ON_STREET", "name": from["name"], "address": from["address"], "city": from["city"],
        "postal_code": from["postal_code"], "country": from["country"], "coordinates": from["coordinates"],
        "evses": [evse], "operator": {"name": "BeCharged"}, "time_zone": "Europe/Brussels", "last_updated": updated,
    })
}
