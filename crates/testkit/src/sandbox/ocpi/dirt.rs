//! What is wrong with real data.

use serde_json::{Map, Value, json};

use super::data::Account;

type Record = Map<String, Value>;

const OF_SESSIONS: [fn(&mut Record); 8] = [
    naive,
    not_applicable,
    nulls,
    |it| _ = it.insert("status".into(), "SUSPENDED".into()),
    |it| _ = it.insert("kwh".into(), json!(12.299999999999999)),
    |it| _ = it.insert("kwh".into(), json!("7.5")),
    |it| _ = it.remove("auth_method"),
    |it| _ = it.insert("total_cost".into(), json!({"incl_vat": 3.63})),
];

const OF_CDRS: [fn(&mut Record); 10] = [
    naive,
    unknown_end,
    not_applicable_there,
    nulls,
    unordered,
    custom_dimension,
    unknown_fields,
    no_evse,
    |it| _ = it.insert("currency".into(), "COFFEE".into()),
    |it| _ = it.insert("total_time".into(), json!(-1.5)),
];

/// Spoils one record for every kind, spread over everything, and no record twice.
pub(super) fn soil(account: &mut Account) {
    spread(&mut account.sessions, &OF_SESSIONS);
    spread(&mut account.cdrs, &OF_CDRS);
}

fn spread(records: &mut [Record], kinds: &[fn(&mut Record)]) {
    let count = records.len();
    // The last ones are exceptions already.
    for (turn, kind) in kinds.iter().enumerate().take(count.saturating_sub(8)) {
        kind(&mut records[(2 * turn + 1) * (count - 8) / (2 * kinds.len())]);
    }
}

fn naive(record: &mut Record) {
    for field in ["start_date_time", "end_date_time", "last_updated"] {
        if let Some(Value::String(text)) = record.get_mut(field) {
            *text = text.trim_end_matches('Z').to_owned();
        }
    }
}

fn unknown_end(record: &mut Record) {
    record.insert("end_date_time".into(), "1970-1-1T00:00:00Z".into());
}

fn not_applicable(record: &mut Record) {
    record.insert("evse_uid".into(), "#NA".into());
    record.insert("connector_id".into(), "#NA".into());
}

fn not_applicable_there(record: &mut Record) {
    record["cdr_location"]["evse_uid"] = "#NA".into();
    record["cdr_location"]["evse_id"] = "#NA".into();
    record["cdr_location"]["connector_id"] = "#NA".into();
}

fn no_evse(record: &mut Record) {
    if let Some(Value::Object(location)) = record.get_mut("cdr_location") {
        location.remove("evse_uid");
    }
}

fn nulls(record: &mut Record) {
    for field in
        ["meter_id", "authorization_reference", "signed_data", "remark", "credit", "tariffs", "session_id"]
    {
        record.insert(field.into(), Value::Null);
    }
}

fn unordered(record: &mut Record) {
    if let Some(Value::Array(periods)) = record.get_mut("charging_periods") {
        periods.reverse();
    }
}

fn custom_dimension(record: &mut Record) {
    record["charging_periods"][0]["dimensions"][1] = json!({"type": "NL-TNM-SUNSHINE", "volume": 3});
}

fn unknown_fields(record: &mut Record) {
    record.insert("total_discount".into(), json!(0.5));
    record.insert("vat".into(), json!({"rate": 21}));
}
