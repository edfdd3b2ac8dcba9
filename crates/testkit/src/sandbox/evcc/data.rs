//! Invents the sessions.
//!
//! One sequence of random numbers per charge point and day keeps a day as it is when others change.

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};
use serde_json::{Map, Value, json};

use crate::sandbox::random::Random;

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;

/// What stands for the end of a session that has none.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// What is less is not listed, in kilowatt-hours.
const LEAST: f64 = 0.05;

/// What to invent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub(super) seed: u64,
    /// Seconds since 1970; what begins after it is not there.
    pub(super) now: i64,
    pub(super) days: u32,
    pub(super) dirt: bool,
    /// Where the clock of the server stands.
    pub(super) zone: &'a TimeZone,
}

/// The table of sessions.
#[derive(Debug)]
pub(super) struct Database {
    /// The newest first.
    rows: Vec<Row>,
}

/// A session as it is sent, and what it is found by.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) created: Timestamp,
    pub(super) record: Map<String, Value>,
}

impl Row {
    /// `None` without an id or a start.
    fn new(record: Map<String, Value>) -> Option<Self> {
        let created = record.get("created")?.as_str()?.parse().ok()?;
        Some(Self { id: record.get("id")?.as_i64()?, created, record })
    }
}

impl Database {
    /// Invents everything.
    pub(super) fn invent(plan: &Plan<'_>) -> Self {
        let mut drafts: Vec<_> = (0..POINTS.len()).flat_map(|point| sessions_of(plan, point)).collect();
        drafts.sort_by_key(|draft| (draft.start, draft.point));
        let kinds = if plan.dirt { assign(&drafts) } else { vec![None; drafts.len()] };
        let mut registers = POINTS.map(|point| point.register);
        let mut rows = Vec::new();
        for ((id, draft), kind) in (1..).zip(&drafts).zip(kinds) {
            let mut record = compose(plan, id, draft, &mut registers[draft.point]);
            if let Some(kind) = kind {
                kind.soil(plan, draft, &mut record);
            }
            rows.push(Row::new(record).expect("every record has an id and a start"));
        }
        let mut database = Self { rows };
        database.sort();
        database
    }

    /// What is listed if nothing is asked for.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Row> {
        let energy = |row: &Row| row.record.get("chargedEnergy").and_then(Value::as_f64);
        self.rows.iter().filter(move |row| energy(row).is_some_and(|energy| energy >= LEAST))
    }

    pub(super) fn next_id(&self) -> i64 {
        self.rows.iter().map(|row| row.id).max().unwrap_or_default() + 1
    }

    /// Adds a record, in place of one with the same id. False without an id or a start.
    pub(super) fn put(&mut self, record: Map<String, Value>) -> bool {
        let Some(row) = Row::new(record) else { return false };
        self.remove(row.id);
        self.rows.push(row);
        self.sort();
        true
    }

    /// Gives fields of a record other values. Its id stays.
    pub(super) fn correct(&mut self, id: i64, mut fields: Map<String, Value>) -> bool {
        let Some(row) = self.rows.iter().find(|row| row.id == id) else { return false };
        let mut record = row.record.clone();
        fields.remove("id");
        record.extend(fields);
        self.put(record)
    }

    pub(super) fn remove(&mut self, id: i64) -> bool {
        let count = self.rows.len();
        self.rows.retain(|row| row.id != id);
        self.rows.len() < count
    }

    fn sort(&mut self) {
        self.rows.sort_by_key(|row| std::cmp::Reverse((row.created, row.id)));
    }
}

/// A charge point, and who comes there.
#[derive(Clone, Copy)]
struct Point {
    name: &'static str,
    watts: i64,
    /// What the meter says before the first session, in watt-hours; `None` if there is none.
    register: Option<i64>,
    /// Whether it reads cards.
    reads_cards: bool,
    car: Car,
    /// Chance of a session on a day from Monday to Friday, and on one of the weekend.
    percent: (u64, u64),
}

#[derive(Clone, Copy)]
struct Car {
    name: &'static str,
    battery_wh: i64,
    /// Metres to a kilowatt-hour.
    reach: i64,
    /// Tenths of a kilometre before the first session.
    odometer: i64,
}

const POINTS: [Point; 2] = [
    Point {
        name: "Carport",
        watts: 11_000,
        register: Some(4_711_300),
        reads_cards: true,
        car: Car { name: "blauer Stadtflitzer", battery_wh: 36_000, reach: 6_800, odometer: 218_734 },
        percent: (58, 72),
    },
    Point {
        name: "Garage Süd",
        watts: 7_400,
        register: None,
        reads_cards: false,
        car: Car { name: "weißer Kombi", battery_wh: 75_000, reach: 5_200, odometer: 904_420 },
        percent: (34, 61),
    },
];

/// A session before it is written down. Moments are in milliseconds since 1970.
#[derive(Clone, Copy)]
struct Draft {
    point: usize,
    start: i64,
    end: Option<i64>,
    /// Watt-hours.
    energy: i64,
    /// Of the time between, in seconds.
    charging: i64,
    /// Tenths of a percent.
    solar: i64,
    /// Percent before and after, of a car that says so.
    soc: Option<(i64, i64)>,
    is_guest: bool,
    /// Tenths of a kilometre since the first session.
    driven: i64,
}

/// The days of one charge point, oldest first.
fn sessions_of(plan: &Plan<'_>, index: usize) -> Vec<Draft> {
    let point = &POINTS[index];
    let today = plan.now.div_euclid(DAY);
    let days = i64::from(plan.days);
    let (mut drafts, mut free, mut driven) = (Vec::new(), i64::MIN, 0);
    for day in today - days..=today {
        let mut random = Random::new(&[plan.seed, index as u64, day.cast_unsigned()]);
        let date = TimeZone::UTC.to_datetime(moment(day * DAY * 1000)).date();
        let is_weekend = matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
        let chance = if is_weekend { point.percent.1 } else { point.percent.0 };
        let is_sunny = is_weekend && random.percent(55);
        // Seen from UTC, where the day is not that of the server; some begin on one side of midnight, some on the other.
        let hour = if is_sunny { random.between(9, 13) } else { random.between(16, 23) };
        let start = (day * DAY + hour * HOUR + random.between(0, HOUR - 1)) * 1000 + random.between(0, 999);
        let before = random.between(14, 62);
        let after = *random.pick(&[80, 80, 80, 90, 100]);
        let is_guest = random.percent(9);
        let is_blip = random.percent(6);
        let energy = match (is_blip, is_guest) {
            (true, _) => random.between(1, 49),
            (false, true) => random.between(2_000, 24_000),
            // Eight percent are lost on the way to the battery.
            (false, false) => (after - before) * point.car.battery_wh / 92,
        } + random.between(0, 9) * i64::from(!is_blip);
        let watts = if is_sunny { point.watts / 3 } else { point.watts * random.between(86, 99) / 100 };
        let charging = (energy * HOUR / watts).max(1);
        // It waits for the sun, or for the night.
        let end = start + charging * random.between(100, 190) * 10;
        let solar = if is_sunny { random.between(610, 1000) } else { random.between(0, 140) };
        driven += random.between(40, 900);
        if !random.percent(chance) || start <= free || start > plan.now * 1000 {
            continue;
        }
        free = end;
        let soc = (!is_guest && !random.percent(12)).then_some((before, after));
        let end = (end <= plan.now * 1000).then_some(end);
        drafts.push(Draft { point: index, start, end, energy, charging, solar, soc, is_guest, driven });
    }
    if index == 0 {
        going_on(plan, &mut drafts, driven);
    }
    drafts
}

/// Makes the last session one that goes on, whatever chance says: it began two hours ago.
fn going_on(plan: &Plan<'_>, drafts: &mut Vec<Draft>, driven: i64) {
    let start = (plan.now - 2 * HOUR) * 1000 + 250;
    drafts.retain(|draft| draft.end.is_some_and(|end| end < start));
    drafts.push(Draft {
        point: 0,
        start,
        end: None,
        energy: 9_340,
        charging: 2 * HOUR - 1,
        solar: 35,
        soc: Some((41, 64)),
        is_guest: false,
        driven,
    });
}

/// Writes a session down, and moves the register of the meter on.
fn compose(plan: &Plan<'_>, id: i64, draft: &Draft, register: &mut Option<i64>) -> Map<String, Value> {
    let point = &POINTS[draft.point];
    let mut random = Random::new(&[plan.seed, u64::from_be_bytes(*b"the_row!"), draft.start.cast_unsigned()]);
    let before = *register;
    *register = before.map(|register| register + draft.energy);
    let is_open = draft.end.is_none();
    let energy = draft.energy as f64 / 1000.0;
    let solar = draft.solar as f64 / 10.0;
    // Own power counts as what feeding it in would have earned. These are sums of floats, and look like it.
    let grid = random.between(221, 348) as f64 / 1000.0;
    let price = grid + (0.082 - grid) * solar / 100.0;
    let grams = random.between(214, 431) as f64;
    let odometer = (point.car.odometer + draft.driven) as f64 / 10.0;
    let is_own = !draft.is_guest;
    let card = if point.reads_cards && random.percent(70) { "04A2B35C6D7E80" } else { "" };
    let wh = |wh: Option<i64>| wh.map(|wh| wh as f64 / 1000.0);
    let Value::Object(record) = json!({
        "id": id,
        "created": local(plan.zone, draft.start),
        "finished": draft.end.map_or_else(|| NO_END.to_owned(), |end| local(plan.zone, end)),
        "loadpoint": point.name,
        "identifier": card,
        "vehicle": if is_own { point.car.name } else { "" },
        "odometer": is_own.then_some(odometer),
        "meterStart": wh(before),
        "meterStop": wh(*register).filter(|_| !is_open),
        "chargedEnergy": energy,
        "chargeDuration": draft.charging * 1_000_000_000 + random.between(0, 999_999_999),
        "socStart": draft.soc.map(|(before, _)| before),
        "socEnd": draft.soc.map(|(_, after)| after),
        "addedRange": draft.soc.map(|_| draft.energy * point.car.reach / 1_000_000),
        "solarPercentage": solar,
        "price": energy * price,
        "pricePerKWh": price,
        "referencePricePerKWh": grid,
        "co2PerKWh": grams * (100.0 - solar) / 100.0,
        "referenceCo2PerKWh": grams,
    }) else {
        unreachable!("the macro above writes an object");
    };
    record
}

/// One thing that is wrong with one record, or at least unusual.
#[derive(Clone, Copy, Debug)]
enum Dirt {
    NeverClosed,
    OlderRelease,
    NoOdometer,
    OtherMeter,
    EnergyOfTheRowBefore,
    ClockSetBack,
    PriceBelowZero,
}

const ALL: [Dirt; 7] = [
    Dirt::NeverClosed,
    Dirt::OlderRelease,
    Dirt::NoOdometer,
    Dirt::OtherMeter,
    Dirt::EnergyOfTheRowBefore,
    Dirt::ClockSetBack,
    Dirt::PriceBelowZero,
];

/// Chooses a record for every kind, spread over the whole time, and no record twice.
fn assign(drafts: &[Draft]) -> Vec<Option<Dirt>> {
    let mut kinds = vec![None; drafts.len()];
    // At the charge point that has a meter, with the own car, and not the session that goes on.
    let is_ordinary =
        |draft: &Draft| draft.point == 0 && draft.end.is_some() && !draft.is_guest && draft.energy > 1000;
    let suitable: Vec<usize> = (0..drafts.len()).filter(|index| is_ordinary(&drafts[*index])).collect();
    let wanted = ALL.len().min(suitable.len());
    for turn in 0..wanted {
        kinds[suitable[turn * suitable.len() / wanted]] = Some(ALL[turn]);
    }
    kinds
}

impl Dirt {
    fn soil(self, plan: &Plan<'_>, draft: &Draft, record: &mut Map<String, Value>) {
        let energy = draft.energy as f64 / 1000.0;
        let number = |name: &str| record.get(name).and_then(Value::as_f64).unwrap_or_default();
        let (stop, price, per_kwh) = (number("meterStop"), number("price"), number("pricePerKWh"));
        let mut set = |name: &str, value: Value| drop(record.insert(name.to_owned(), value));
        match self {
            Self::NeverClosed => {
                set("finished", NO_END.into());
                set("meterStop", Value::Null);
            }
            Self::OlderRelease => {
                let always = ["id", "created", "finished", "loadpoint", "vehicle", "chargedEnergy"];
                for (name, value) in record.iter_mut().filter(|(name, _)| !always.contains(&name.as_str())) {
                    *value = if name == "identifier" { "".into() } else { Value::Null };
                }
            }
            Self::NoOdometer => set("odometer", 0.into()),
            Self::OtherMeter => set("meterStop", (stop + 1.5).into()),
            Self::EnergyOfTheRowBefore => set("chargedEnergy", (energy + 6.2).into()),
            Self::ClockSetBack => set("finished", local(plan.zone, draft.start - 120_000).into()),
            Self::PriceBelowZero => {
                set("price", (-price / 8.0).into());
                set("pricePerKWh", (-per_kwh / 8.0).into());
            }
        }
    }
}

fn moment(milli: i64) -> Timestamp {
    Timestamp::from_millisecond(milli).expect("a moment of our time")
}

/// A moment with the offset that the server's clock had then.
fn local(zone: &TimeZone, milli: i64) -> String {
    let moment = moment(milli);
    match zone.to_offset(moment) {
        offset if offset.is_zero() => moment.to_string(),
        offset => moment.display_with_offset(offset).to_string(),
    }
}
