//! The organization, its people and their vehicles.

use std::sync::LazyLock;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde_json::{Map, Value, json};

use crate::sandbox::random::Random;

/// Clocks in Austria and Germany.
///
/// The rule is written out because the library brings no zone database, and the one of the machine may be
/// missing or old.
static CLOCKS: LazyLock<TimeZone> =
    LazyLock::new(|| TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("the rule is well formed"));

/// The local date at `second` since 1970.
pub(super) fn date(second: i64) -> Date {
    CLOCKS.to_datetime(moment(second)).date()
}

/// The second since 1970 when local clocks show this minute of the day and this second.
pub(super) fn at(date: Date, minute: i64, second: i64) -> i64 {
    let part = |number: i64| i8::try_from(number).expect("a time of day");
    let local = date.at(part(minute / 60), part(minute % 60), part(second), 0);
    CLOCKS.to_timestamp(local).expect("a date of our time").as_second()
}

/// The date `days` later.
pub(super) fn later(date: Date, days: i64) -> Date {
    date.checked_add(days.days()).expect("a date of our time")
}

/// A moment that is known to be in range.
pub(super) fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a second of our time")
}

/// Somebody with an account.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: (&'static str, &'static str),
    pub(super) email: &'static str,
    pub(super) role: &'static str,
    pub(super) external_id: Option<&'static str>,
    pub(super) deleted: bool,
}

/// A vehicle and the habits of its driver.
#[derive(Clone, Debug)]
pub(super) struct Vehicle {
    pub(super) id: String,
    pub(super) user: usize,
    pub(super) battery_wh: i64,
    pub(super) watts: i64,
    /// The chance to plug in on a day from Monday to Friday, and on one of the weekend.
    pub(super) plug_in_percent: (u64, u64),
    record: Map<String, Value>,
}

/// Everything that is there before anybody charges.
#[derive(Clone, Debug)]
pub(super) struct Assets {
    pub(super) organization: String,
    pub(super) users: Vec<User>,
    pub(super) vehicles: Vec<Vehicle>,
}

impl Assets {
    pub(super) fn invent(seed: u64) -> Self {
        let mut random = Random::new(&[seed, u64::from_be_bytes(*b"a_podero")]);
        let organization = uuid(&mut random);
        let mut user = |name, email, role, external_id, deleted| User {
            id: uuid(&mut random),
            name,
            email,
            role,
            external_id,
            deleted,
        };
        let users = vec![
            user(("Noa", "Example"), "noa@example.org", "guest", None, false),
            user(("Mia", "Example"), "mia@example.org", "user", Some("customer-0007"), false),
            user(("Jan", "Beispiel"), "jan@example.org", "user", Some("customer-0031"), false),
            user(("Lou", "Example"), "lou@example.org", "user", Some("customer-0002"), true),
        ];
        let mut vehicle = |user, battery_wh, watts, plug_in_percent, fields: Value| {
            let id = uuid(&mut random);
            let mut record = Map::new();
            record.insert("id".to_owned(), id.as_str().into());
            if let Value::Object(fields) = fields {
                record.extend(fields);
            }
            Vehicle { id, user, battery_wh, watts, plug_in_percent, record }
        };
        let vehicles = vec![
            vehicle(
                1,
                58_000,
                11_000,
                (82, 60),
                json!({
                    "connection_status": "ok", "monitoring_status": "ok", "steering_status": "ok",
                    "device_model": model("Halden", "Fjord 58", Some(2023)),
                    "owner": owner(&users[1]),
                    "created_at": "2025-02-03T09:14:51.402113Z", "updated_at": "2026-06-30T05:02:10Z",
                    "deleted_at": null, "price_zone": "AT", "lifecycle_state": "authenticated",
                    "lifecycle_error": null, "external_device_id": "H-58-0001", "is_authenticated": true,
                    "is_smart_optimization_active": true, "is_trading_enabled": false, "comment": "",
                    "charge_target_min": 50, "charge_target_max": 90, "is_charge_policy_enabled": true,
                    "is_plugged_in": true, "is_charging": false, "charge_rate_w": 0, "battery_level": 41,
                    "battery_capacity_kwh": 58.0, "is_fully_charged": false, "driving_range": 167,
                    "boost_state": "available",
                }),
            ),
            vehicle(
                2,
                77_000,
                11_000,
                (66, 44),
                json!({
                    "connection_status": "ok", "monitoring_status": "ok", "steering_status": "ok",
                    "device_model": model("Corvane", "Estate", Some(2024)),
                    "owner": owner(&users[2]), "price_zone": "DE_LU", "lifecycle_state": "authenticated",
                    "is_authenticated": true, "is_plugged_in": false, "is_charging": false,
                    "battery_level": 72, "battery_capacity_kwh": 77.4, "boost_state": "unavailable",
                }),
            ),
            vehicle(
                2,
                40_000,
                3_700,
                (48, 30),
                json!({
                    "device_model": model("Corvane", "Mite", None), "owner": null, "price_zone": "DE_LU",
                    "lifecycle_state": "error", "lifecycle_error": "The sign-in has expired.",
                    "is_authenticated": false, "battery_level": null, "battery_capacity_kwh": null,
                }),
            ),
            // The least that a reader must be able to live with.
            vehicle(2, 64_000, 7_400, (30, 52), json!({})),
        ];
        Self { organization, users, vehicles }
    }

    /// The vehicles of one user with their places in the list of all.
    pub(super) fn vehicles_of(&self, user: usize) -> impl Iterator<Item = (usize, &Vehicle)> {
        self.vehicles.iter().enumerate().filter(move |(_, vehicle)| vehicle.user == user)
    }

    /// A user as the listing shows it.
    pub(super) fn user_record(&self, index: usize) -> Value {
        let user = &self.users[index];
        json!({
            "id": user.id,
            "organization_id": self.organization,
            "role": user.role,
            "email": user.email,
            "external_user_id": user.external_id,
            "first_name": user.name.0,
            "last_name": user.name.1,
            "is_onboarded": user.external_id.map(|_| true),
            "street_and_number": null,
            "street_add_info": null,
            "zip_code": "1010",
            "town": "Musterstadt",
            "country": "AUT",
            "latitude": null,
            "longitude": null,
            "last_login": null,
            "joined_at": "2025-01-20T10:00:00Z",
            "num_inverters": 0,
            "num_heat_pumps": 0,
            "num_electric_vehicles": self.vehicles_of(index).count(),
            "num_wallboxes": 0,
        })
    }
}

impl Vehicle {
    /// The vehicle as the listing shows it.
    pub(super) fn record(&self) -> Value {
        self.record.clone().into()
    }
}

fn model(manufacturer: &str, model: &str, year: Option<i32>) -> Value {
    json!({
        "device_type": { "short_name": "EV", "long_name": "Electric vehicle" },
        "manufacturer": manufacturer,
        "model": model,
        "cloud_service_instructions": null,
        "cloud_service_signup_link": null,
        "year": year,
    })
}

fn owner(user: &User) -> Value {
    json!({
        "id": user.id,
        "email": user.email,
        "first_name": user.name.0,
        "last_name": user.name.1,
        "external_id": user.external_id,
    })
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
