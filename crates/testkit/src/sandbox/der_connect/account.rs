//! The entities that can be seen with the credentials.

use serde_json::{Map, Value, json};

use crate::sandbox::random::Random;

/// A vehicle, a charge point, or something else that is connected.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) habit: Option<Habit>,
    /// Whether type and brand let sessions be captured.
    pub(super) is_capable: bool,
    pub(super) captures: bool,
    /// In kilowatt-hours, if somebody has said so.
    pub(super) capacity: Option<f64>,
    record: Map<String, Value>,
}

/// What an entity is, whatever word its type is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Vehicle,
    ChargePoint,
    Other,
}

/// How it is charged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habit {
    /// What the battery holds; no more than a guide for a charge point.
    pub(super) battery_wh: i64,
    pub(super) watts: i64,
    /// Meters per percent of charge.
    pub(super) reach: i64,
    pub(super) place: &'static str,
    /// Chance of charging on a day from Monday to Friday, and on one of the weekend.
    pub(super) percent: (u64, u64),
    /// The hours (UTC) when charging begins.
    pub(super) hours: (i64, i64),
    /// Sessions are there for the oldest part of the days, in percent.
    pub(super) captured: i64,
}

/// Every entity, in the order of the listing.
pub(super) fn entities(seed: u64) -> Vec<Entity> {
    let mut random = Random::new(&[seed, u64::from_be_bytes(*b"entities")]);
    let mut entity = |kind, habit: Option<Habit>, capacity, fields: Value| {
        let id = uuid(&mut random);
        let mut record = Map::new();
        record.insert("id".to_owned(), id.as_str().into());
        if let Value::Object(fields) = fields {
            record.extend(fields);
        }
        let captures = habit.is_some_and(|habit| habit.captured == 100);
        Entity { id, kind, habit, is_capable: habit.is_some(), captures, capacity, record }
    };
    let habit = |battery_wh, watts, reach, place| Habit {
        battery_wh,
        watts,
        reach,
        place,
        percent: (64, 42),
        hours: (16, 21),
        captured: 100,
    };
    vec![
        entity(
            Kind::Vehicle,
            Some(habit(77_000, 11_000, 4_460, "Home")),
            Some(77.0),
            json!({
                "type": "EV", "brand": "Halden", "identifier": "SANDB0X0000000001",
                "created": "2025-02-03T09:14:51Z", "name": "Estate", "parentId": null, "isOnline": true,
                "properties": { "model": "Fjord 77" }, "lastSeen": "2026-11-10T18:20:03Z",
            }),
        ),
        // It was captured once; to begin again somebody has to say how large the battery is.
        entity(
            Kind::Vehicle,
            Some(Habit { captured: 40, ..habit(50_000, 7_400, 3_280, "Home") }),
            None,
            json!({
                "type": "EV", "brand": "Corvane", "identifier": null,
                "created": "2025-06-30T17:02:10Z", "name": null, "parentId": null, "isOnline": true,
                "properties": null, "lastSeen": null,
            }),
        ),
        // Of a brand that says too little.
        entity(
            Kind::Vehicle,
            None,
            None,
            json!({
                "type": "EV", "brand": "Tacita", "identifier": "SANDB0X0000000003",
                "created": "2026-01-15T08:00:00Z", "name": "Mite", "parentId": null, "isOnline": false,
                "properties": {}, "lastSeen": "2026-10-02T06:11:45Z",
            }),
        ),
        entity(
            Kind::ChargePoint,
            Some(Habit { percent: (74, 55), ..habit(60_000, 11_000, 0, "Home") }),
            None,
            json!({
                "type": "ChargePoint", "brand": "Laadpunt", "identifier": "LP-11-0042",
                "created": "2025-02-03T09:20:00Z", "name": "Carport", "parentId": null, "isOnline": true,
                "properties": {}, "lastSeen": "2026-11-10T18:29:59Z",
            }),
        ),
        entity(
            Kind::ChargePoint,
            Some(Habit { percent: (88, 6), hours: (6, 10), ..habit(44_000, 22_000, 0, "Work") }),
            None,
            json!({
                "type": "CP", "brand": null, "identifier": null, "created": "2026-03-01T00:00:00Z",
                "name": "Yard", "parentId": null, "isOnline": true,
            }),
        ),
        entity(
            Kind::Other,
            None,
            Some(10.0),
            json!({
                "type": "Battery", "brand": "Halden", "identifier": "HB-0007",
                "created": "2025-02-03T09:31:40Z", "name": "Cellar", "parentId": null, "isOnline": true,
                "properties": {}, "lastSeen": "2026-11-10T18:29:12Z",
            }),
        ),
        entity(
            Kind::Other,
            None,
            None,
            json!({
                "type": "Heatpump2", "brand": "Warmhus", "identifier": null,
                "created": "2026-05-20T12:00:00Z",
            }),
        ),
    ]
}

impl Entity {
    /// The entity as the listing shows it.
    pub(super) fn record(&self) -> Value {
        self.record.clone().into()
    }
}

/// A random UUID (version 4).
pub(super) fn uuid(random: &mut Random) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        random.below(1 << 32),
        random.below(1 << 16),
        random.below(1 << 12),
        0x8000 + random.below(1 << 14),
        random.below(1 << 48),
    )
}

/// Whether this is a UUID in small letters, as the sandbox writes them.
pub(super) fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}
