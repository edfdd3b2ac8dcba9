//! An organisation in the form of the Podero Partner API v2.0, with records of the sandbox that were multiplied.

use std::{fmt::Write as _, io, ops::Range, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::{Bytes, BytesMut};
use charging_sessions_testkit::sandbox::podero::PoderoSandbox;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::Deserialize;
use serde_json::Value;
use workspace_benchmarks::{FIRST_DAY, Figures, MAX_PAGE, ORGANISATION};

/// How far back the sandbox is asked to invent, so that few records of a page have the same figures.
const DAYS: u32 = 1500;
/// Digits of an identifier that name the vehicle.
const DIGITS: Range<usize> = 9..13;
const DAY: i64 = 86_400;

/// All that is served.
struct Account {
    users: usize,
    vehicles: usize,
    /// The sessions of the first vehicle, separated by commas. Those of the others differ in their identifiers.
    records: Bytes,
    /// Where each record begins, and where the next one would.
    starts: Vec<usize>,
    /// Where the identifier of each record is.
    ids: Vec<usize>,
    /// When each was plugged in, in seconds since 1970, the oldest first.
    times: Vec<i64>,
}

/// The routes, and what a complete reader has.
pub(crate) fn router(users: usize, vehicles: usize, sessions: usize) -> Result<(Router, Figures)> {
    let most = 1 << (4 * DIGITS.len());
    ensure!((1..=most).contains(&(users * vehicles)), "there must be 1 to {most} vehicles");
    ensure!(sessions > 0, "a vehicle must have a session");
    let (account, of_one) = Account::invent(users, vehicles, sessions)?;
    let times = users * vehicles;
    let truth = Figures {
        sessions: of_one.sessions * times as u64,
        energy_mwh: of_one.energy_mwh * times as i64,
        cost_cents: of_one.cost_cents * times as i64,
        ..of_one
    };
    let users = format!("/api/partners/v2.0/org/{ORGANISATION}/users");
    let router = Router::new()
        .route("/oauth2/token/", post(token))
        .route(&users, get(list_users))
        .route(&format!("{users}/{{user}}/electric-vehicles"), get(list_vehicles))
        .route(&format!("{users}/{{user}}/electric-vehicles/{{vehicle}}/sessions"), get(list_sessions))
        .with_state(Arc::new(account));
    Ok((router, truth))
}

/// A record, and where its times and its identifier stand in it.
struct Mould {
    text: String,
    id: usize,
    /// Each with its distance from the plug-in.
    times: Vec<(Range<usize>, SignedDuration)>,
    energy_mwh: i64,
    cost_cents: i64,
}

impl Mould {
    fn of(record: &Value) -> Option<Self> {
        let text = record.to_string();
        let id = text.find(record["id"].as_str()?)?;
        let plug_in: Timestamp = record["plug_in_time"].as_str()?.parse().ok()?;
        let mut times = Vec::new();
        for (key, value) in record.as_object()? {
            let Some(time) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else { continue };
            let member = format!("\"{key}\":\"");
            let start = text.find(&member)? + member.len();
            times.push((start..start + value.as_str()?.len(), time.duration_since(plug_in)));
        }
        times.sort_by_key(|(place, _)| place.start);
        let part = |key: &str, parts: f64| (record[key].as_f64().unwrap_or(0.0) * parts).round() as i64;
        let (energy_mwh, cost_cents) = (part("energy_charged_kwh", 1e6), part("actual_cost_eur", 1e2));
        Some(Self { text, id, times, energy_mwh, cost_cents })
    }

    /// Writes it with another identifier and other times, and says where the identifier stands.
    fn cast(&self, id: &str, plug_in: Timestamp, into: &mut String) -> Result<usize> {
        let (begins, mut at, mut found) = (into.len(), 0, None);
        let mut pieces: Vec<_> =
            self.times.iter().map(|(place, after)| (place.clone(), Some(*after))).collect();
        let place = pieces.partition_point(|(place, _)| place.start < self.id);
        pieces.insert(place, (self.id..self.id + id.len(), None));
        for (place, after) in pieces {
            into.push_str(&self.text[at..place.start]);
            at = place.end;
            match after {
                Some(after) => write!(into, "{}", plug_in.checked_add(after)?)?,
                None => {
                    found = Some(into.len() - begins);
                    into.push_str(id);
                }
            }
        }
        into.push_str(&self.text[at..]);
        found.context("a record without an identifier")
    }
}

/// A version 4 identifier as random as those of the provider, which decides where it goes in an index.
fn id(number: usize) -> String {
    // SplitMix64.
    let mix = |seed: u64| {
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let number = number as u64 * 2 + 1;
    let (high, low) = (mix(number), mix(number + 1));
    format!(
        "{:08x}-0000-4{:03x}-{:x}{:03x}-{:012x}",
        high >> 32,
        high & 0xfff,
        8 + (high >> 16 & 3),
        high >> 20 & 0xfff,
        low >> 16,
    )
}

impl Account {
    /// Invents it, and says what the sessions of one vehicle add up to. They are spread evenly from the first day of the
    /// history to the end of yesterday.
    fn invent(users: usize, vehicles: usize, sessions: usize) -> Result<(Self, Figures)> {
        let sandbox = PoderoSandbox::builder().days(DAYS).dirt(false).build().truth();
        let records = sandbox.as_array().into_iter().flatten().map(|entry| &entry["session"]);
        // One that goes on is read again until it has ended, and none of these ever does.
        let ended = records.filter(|record| record["session_outcome"] != "in_progress");
        let moulds: Vec<Mould> = ended.filter_map(Mould::of).collect();
        ensure!(!moulds.is_empty(), "the sandbox has no records");
        let from = FIRST_DAY.parse::<Date>()?.to_zoned(TimeZone::UTC)?.timestamp().as_second();
        let until = Timestamp::now().as_second().div_euclid(DAY) * DAY;
        let count = i64::try_from(sessions)?;
        let (mut text, mut starts, mut ids, mut times) = (String::new(), vec![0], Vec::new(), Vec::new());
        let mut figures = Figures { sessions: sessions as u64, ..Figures::default() };
        for number in 0..sessions {
            let mould = &moulds[number % moulds.len()];
            let plug_in = from + (until - DAY - from) * i64::try_from(number)? / count.max(2);
            ids.push(
                text.len() + {
                    let mut record = String::new();
                    let at = mould.cast(&id(number), Timestamp::from_second(plug_in)?, &mut record)?;
                    text.push_str(&record);
                    at
                },
            );
            text.push(',');
            starts.push(text.len());
            times.push(plug_in);
            figures.energy_mwh += mould.energy_mwh;
            figures.cost_cents += mould.cost_cents;
        }
        (figures.first, figures.last) = (times[0], times[sessions - 1]);
        Ok((Self { users, vehicles, records: text.into(), starts, ids, times }, figures))
    }

    /// The number of a vehicle among all, if there is this user with this vehicle.
    fn vehicle(&self, user: &str, vehicle: &str) -> Option<usize> {
        let (user, vehicle) = (number_of(user)?, number_of(vehicle)?);
        (user < self.users && vehicle / self.vehicles == user).then_some(vehicle)
    }

    /// These sessions of the vehicle, separated by commas.
    fn slice(&self, vehicle: usize, sessions: Range<usize>) -> Bytes {
        if sessions.is_empty() {
            return Bytes::new();
        }
        let bytes = self.starts[sessions.start]..self.starts[sessions.end] - 1;
        if vehicle == 0 {
            return self.records.slice(bytes);
        }
        let digits = format!("{vehicle:04x}");
        let mut copy = BytesMut::from(&self.records[bytes.clone()]);
        for id in &self.ids[sessions] {
            let at = id - bytes.start;
            copy[at + DIGITS.start..at + DIGITS.end].copy_from_slice(digits.as_bytes());
        }
        copy.freeze()
    }
}

/// The identifier of a user or a vehicle.
fn named(number: usize) -> String {
    format!("5f0c2b1e-6d0a-4c1e-9b0e-{number:012x}")
}

fn number_of(name: &str) -> Option<usize> {
    let (_, digits) = name.rsplit_once('-')?;
    usize::from_str_radix(digits, 16).ok().filter(|number| named(*number) == name)
}

type Shared = State<Arc<Account>>;

async fn token() -> Response {
    json(
        r#"{"access_token":"benchmark","token_type":"Bearer","expires_in":36000,"scope":"read write"}"#
            .into(),
    )
}

async fn list_users(State(account): Shared) -> Response {
    let user = |number| {
        serde_json::json!({
            "id": named(number), "organization_id": ORGANISATION, "role": "user",
            "email": format!("user{number}@example.org"), "num_electric_vehicles": account.vehicles,
        })
    };
    json((0..account.users).map(user).collect::<Value>().to_string())
}

async fn list_vehicles(State(account): Shared, Path(user): Path<String>) -> Response {
    let Some(user) = number_of(&user).filter(|user| *user < account.users) else { return not_found() };
    let vehicle = |number| {
        serde_json::json!({
            "id": named(number), "connection_status": "ok", "battery_capacity_kwh": 58.0,
            "device_model": { "manufacturer": "Halden", "model": "Fjord 58", "year": 2023 },
        })
    };
    let numbers = user * account.vehicles..(user + 1) * account.vehicles;
    json(numbers.map(vehicle).collect::<Value>().to_string())
}

/// As the provider documents them.
#[derive(Deserialize)]
struct Wanted {
    from: Date,
    to: Date,
    limit: Option<usize>,
    offset: Option<usize>,
    #[serde(default)]
    include_hidden: bool,
}

async fn list_sessions(
    State(account): Shared,
    Path((user, vehicle)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let Some(vehicle) = account.vehicle(&user, &vehicle) else { return not_found() };
    let limit = wanted.limit.unwrap_or(50);
    // Pages without hidden sessions are not prebuilt, and nobody who is measured asks for them.
    if !(1..=MAX_PAGE).contains(&limit) || !wanted.include_hidden {
        return (axum::http::StatusCode::UNPROCESSABLE_ENTITY, r#"{"detail":"limit, include_hidden"}"#)
            .into_response();
    }
    let border = |date: Date, days: i64| {
        let midnight =
            date.to_zoned(TimeZone::UTC).map_or(0, |date| date.timestamp().as_second()) + days * DAY;
        account.times.partition_point(|time| *time < midnight)
    };
    let (first, end) = (border(wanted.from, 0), border(wanted.to, 1));
    let total = end.saturating_sub(first);
    let offset = wanted.offset.unwrap_or(0).min(total);
    let sessions = first + offset..first + offset.saturating_add(limit).min(total);
    let head = format!(r#"{{"total":{total},"items":["#);
    let items = account.slice(vehicle, sessions);
    let length = head.len() + items.len() + 2;
    let pieces = [head.into(), items, Bytes::from_static(b"]}")].map(Ok::<_, io::Error>);
    let headers = [("content-type", "application/json".to_owned()), ("content-length", length.to_string())];
    (headers, Body::from_stream(stream::iter(pieces))).into_response()
}

fn json(body: String) -> Response {
    ([("content-type", "application/json")], body).into_response()
}

fn not_found() -> Response {
    (axum::http::StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#).into_response()
}
