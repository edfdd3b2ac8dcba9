//! Invents the sessions.
//!
//! One sequence of random numbers per entity and day keeps a day as it is when others change.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use serde_json::{Map, Value, json};

use super::{
    account::{self, Entity, Habit, Kind, is_uuid, uuid},
    dirt,
};
use crate::sandbox::random::Random;

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;

/// The second of the day (UTC) at which sessions are computed.
const RUN: i64 = HOUR + HOUR / 2;

/// What to invent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Seconds since 1970; what was computed after it is not there.
    pub(super) now: i64,
    pub(super) days: u32,
    pub(super) dirt: bool,
}

/// All that the server knows.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) entities: Vec<Entity>,
    /// Entity after entity, oldest first.
    pub(super) sessions: Vec<Session>,
}

/// A session as it is sent, and what it is found by.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) entity: usize,
    pub(super) start: Timestamp,
    pub(super) record: Map<String, Value>,
}

impl Session {
    /// `None` without an id or a start.
    fn new(entity: usize, record: Map<String, Value>) -> Option<Self> {
        let id = record.get("id")?.as_str().filter(|id| is_uuid(id))?.to_owned();
        let start = record.get("data")?.get("start")?.as_str()?.parse().ok()?;
        Some(Self { id, entity, start, record })
    }
}

/// A session before it is written down. Moments are in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    entity: usize,
    pub(super) kind: Kind,
    start: i64,
    end: i64,
    /// Tenths of a watt-hour.
    energy: i64,
    /// Tenths of a watt, while there was any.
    power: i64,
    /// Percent before and after.
    charge: (i64, i64),
    is_away: bool,
    /// When it was computed.
    created: i64,
}

impl Account {
    /// Invents everything.
    pub(super) fn invent(plan: &Plan) -> Self {
        let entities = account::entities(plan.seed);
        let mut drafts = Vec::new();
        for (index, entity) in entities.iter().enumerate() {
            if let Some(habit) = &entity.habit {
                sessions_of(plan, index, entity.kind, habit, &mut drafts);
            }
        }
        let kinds = if plan.dirt { dirt::assign(&drafts) } else { vec![None; drafts.len()] };
        let mut sessions = Vec::new();
        for (draft, kind) in drafts.into_iter().zip(kinds) {
            let mut record = compose(plan, draft, &entities[draft.entity]);
            if let Some(kind) = kind {
                kind.soil(&mut record);
            }
            let session = Session::new(draft.entity, record);
            sessions.push(session.expect("every record has an id and a start"));
        }
        let mut account = Self { entities, sessions };
        account.sort();
        account
    }

    /// Adds a record, in place of one with the same id. False without an id or a start.
    pub(super) fn put(&mut self, entity: usize, record: Map<String, Value>) -> bool {
        let Some(session) = Session::new(entity, record) else {
            return false;
        };
        self.remove(&session.id);
        self.sessions.push(session);
        self.sort();
        true
    }

    fn sort(&mut self) {
        self.sessions.sort_by(|a, b| (a.entity, a.start, &a.id).cmp(&(b.entity, b.start, &b.id)));
    }

    /// Gives fields of a record other values, also inside of its objects. Its id stays.
    pub(super) fn correct(&mut self, id: &str, mut fields: Map<String, Value>) -> bool {
        let Some(session) = self.sessions.iter().find(|session| session.id == id) else {
            return false;
        };
        let (entity, mut record) = (session.entity, session.record.clone());
        fields.remove("id");
        merge(&mut record, fields);
        self.put(entity, record)
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let count = self.sessions.len();
        self.sessions.retain(|session| session.id != id);
        self.sessions.len() < count
    }
}

fn merge(record: &mut Map<String, Value>, fields: Map<String, Value>) {
    for (name, value) in fields {
        match (record.get_mut(&name), value) {
            (Some(Value::Object(inner)), Value::Object(fields)) => merge(inner, fields),
            (_, value) => drop(record.insert(name, value)),
        }
    }
}

/// The days of one entity, oldest first.
fn sessions_of(plan: &Plan, index: usize, kind: Kind, habit: &Habit, drafts: &mut Vec<Draft>) {
    let today = plan.now.div_euclid(DAY);
    let days = i64::from(plan.days);
    let mut free = i64::MIN;
    for turn in 0..days * habit.captured / 100 {
        let day = today - days + turn;
        let mut random = random(plan.seed, index, day);
        let date = TimeZone::UTC.to_datetime(moment(day * DAY * 1000)).date();
        let chance = match date.weekday() {
            Weekday::Saturday | Weekday::Sunday => habit.percent.1,
            _ => habit.percent.0,
        };
        let is_away = kind == Kind::Vehicle && random.percent(14);
        let watts = if is_away { random.between(42_000, 118_000) } else { habit.watts };
        let power = watts * random.between(860, 998) / 100 + random.between(0, 9);
        let charge = (random.between(12, 66), *random.pick(&[80, 80, 90, 100]));
        // Eight percent are lost on the way to the battery.
        let energy = match kind {
            Kind::Vehicle => (charge.1 - charge.0) * habit.battery_wh / 92 * 10,
            _ => random.between(26_000, habit.battery_wh * 7),
        } + random.between(0, 99);
        let active = energy * HOUR * 1000 / power;
        // It stands still now and then, or gives way to others in the house.
        let span = active * 1000 / random.between(620, 985);
        let hour = random.between(habit.hours.0, habit.hours.1);
        let hour = if is_away { hour - 6 } else { hour };
        let start = (day * DAY + hour * HOUR + random.between(0, HOUR - 1)) * 1000 + random.between(0, 999);
        let end = start + span;
        let created = batch(end, &mut random);
        if random.percent(chance) && free < start && created <= plan.now * 1000 {
            drafts.push(Draft { entity: index, kind, start, end, energy, power, charge, is_away, created });
            free = end;
        }
    }
}

/// When a session that ended at `end` is computed: in the next run, which takes a few minutes.
fn batch(end: i64, random: &mut Random) -> i64 {
    let runs = (end - RUN * 1000).div_euclid(DAY * 1000) + 1;
    (runs * DAY + RUN + random.between(0, 180)) * 1000
}

fn random(seed: u64, entity: usize, day: i64) -> Random {
    Random::new(&[seed, u64::try_from(entity).expect("a few entities"), day.cast_unsigned()])
}

/// Writes a session down.
fn compose(plan: &Plan, draft: Draft, entity: &Entity) -> Map<String, Value> {
    let habit = entity.habit.as_ref().expect("what has sessions has habits");
    let mut random = random(plan.seed, draft.entity, draft.start);
    let id = uuid(&mut random);
    let place = place(plan.seed, habit.place);

    let mut total = json!({ "total": number(draft.energy), "unit": "kWh" });
    if draft.kind == Kind::ChargePoint && random.percent(40) {
        let night = draft.energy * random.between(0, 100) / 100;
        total["t1"] = number(draft.energy - night);
        total["t2"] = number(night);
        if random.percent(25) {
            total["t3"] = 0.0.into();
            total["t4"] = 0.0.into();
        }
    }
    let mut charge = json!({ "total": total, "averagePower": measure("kW", number(draft.power)) });
    let mut data = json!({ "start": time(draft.start), "end": time(draft.end) });
    if draft.kind == Kind::Vehicle {
        charge["start"] = measure("%", draft.charge.0);
        charge["end"] = measure("%", draft.charge.1);
        let reach = |percent| measure("km", number(percent * habit.reach * 10 + 3));
        data["range"] = json!({ "start": reach(draft.charge.0), "end": reach(draft.charge.1) });
    }
    data["charge"] = charge;
    if draft.kind == Kind::ChargePoint && random.percent(6) {
        data["location"] =
            json!({ "address": "Musterplatz 1, Musterstadt", "latitude": 50.8466, "longitude": 4.3528 });
    }
    if !draft.is_away {
        let accuracy = random.between(72, 99) as f64 / 100.0;
        data["locationMatches"] =
            json!([{ "accuracy": accuracy, "location": { "id": place, "label": habit.place } }]);
    } else if random.percent(50) {
        data["locationMatches"] = json!([]);
    }
    let Value::Object(record) = json!({
        "id": id,
        "entityId": entity.id,
        "created": moment(draft.created).to_string(),
        "data": data,
    }) else {
        unreachable!("the macro above writes an object");
    };
    record
}

/// The id of a place, the same for all who charge there.
fn place(seed: u64, label: &str) -> String {
    let letters = label.bytes().map(u64::from);
    let parts: Vec<u64> = [seed, u64::from_be_bytes(*b"thePlace")].into_iter().chain(letters).collect();
    uuid(&mut Random::new(&parts))
}

fn measure(unit: &str, value: impl Into<Value>) -> Value {
    json!({ "unit": unit, "value": value.into() })
}

fn moment(milli: i64) -> Timestamp {
    Timestamp::from_millisecond(milli).expect("a moment of our time")
}

/// A moment with its milliseconds.
fn time(milli: i64) -> String {
    format!("{:.3}", moment(milli))
}

/// Tenths of a unit as thousands of it. The division rounds once, so the number has four decimals at most.
fn number(tenths: i64) -> Value {
    (tenths as f64 / 10_000.0).into()
}
