//! Invents the sessions of an organization.
//!
//! People plug in when they come home and unplug when they leave; in between the provider charges when
//! electricity is cheap. One sequence of random numbers per vehicle and day keeps a day as it is when others
//! change.

use jiff::{
    Timestamp,
    civil::{Date, Weekday},
};
use serde_json::{Map, Value, json};

use super::{
    account::{Assets, Vehicle, at, date, is_uuid, later, moment, uuid},
    dirt,
};
use crate::sandbox::random::Random;

/// What happens mostly.
pub(super) const OPTIMIZED: &str = "optimized";
const IN_PROGRESS: &str = "in_progress";

/// What happens now and then.
const SPECIAL: [&str; 16] = [
    "not_at_home",
    "not_authenticated",
    "smart_optimization_disabled",
    "no_battery_capacity",
    "already_at_target",
    "ev_not_found",
    "hems_only_mode",
    "immediate_start",
    "oem_not_capable",
    "insufficient_price_coverage",
    "user_unplugged_early",
    "commands_failed",
    "oem_reported_full",
    "boosted",
    "other",
    "unknown",
];

/// About one session in this many did not go as planned, but each outcome comes at least once.
const RARITY: usize = 3;

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;
const QUARTER: i64 = 900;

/// The vehicle that is plugged in at the end of the data, and since when.
const OPEN: (usize, i64) = (0, 47 * 60);

/// Chance of plugging in at home by the hour, on a working day and on one off.
const WORKDAY: [u64; 24] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 10, 18, 20, 14, 9, 6, 4, 1];
const DAY_OFF: [u64; 24] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 4, 5, 5, 5, 6, 6, 8, 10, 12, 11, 8, 6, 3, 1];

const PLAN: [&str; 2] = ["desired_charging_start_time", "desired_charging_end_time"];
const SAVINGS: [&str; 2] = ["expected_savings_eur", "actual_savings_eur"];
const ENERGY: [&str; 3] = ["energy_charged_kwh", "avg_charge_power_kw", "peak_charge_power_kw"];
const SOC: [&str; 3] = ["target_soc_pct", "initial_soc_pct", "final_soc_pct"];
const COST: [&str; 1] = ["actual_cost_eur"];
const DEADLINE: [&str; 1] = ["charge_deadline"];
const REACH: [&str; 2] = ["target_reachable", "reachable_soc_pct"];

/// The keys that older answers do not have.
const NEWER: [&str; 4] = ["is_hidden", "hidden_reason", "target_reachable", "reachable_soc_pct"];

/// What to invent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Seconds since 1970; nothing is plugged in after it.
    pub(super) now: i64,
    pub(super) days: u32,
    pub(super) dirt: bool,
}

/// All that the server knows.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) assets: Assets,
    /// Vehicle after vehicle, oldest first.
    pub(super) sessions: Vec<Session>,
}

/// A session as it is sent, and what it is found by.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) vehicle: usize,
    pub(super) plug_in: Timestamp,
    pub(super) record: Map<String, Value>,
}

impl Session {
    /// `None` without an id or a plug-in.
    fn new(vehicle: usize, record: Map<String, Value>) -> Option<Self> {
        let id = record.get("id")?.as_str().filter(|id| is_uuid(id))?.to_owned();
        let plug_in = record.get("plug_in_time")?.as_str()?.parse().ok()?;
        Some(Self { id, vehicle, plug_in, record })
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.record.get("is_hidden") == Some(&Value::Bool(true))
    }

    /// Whether the vehicle is still plugged in. A session without any end may also be one that was lost.
    pub(super) fn is_open(&self) -> bool {
        let is_null = |field: &str| self.record.get(field).is_none_or(Value::is_null);
        self.record.get("session_outcome").is_some_and(|outcome| outcome == IN_PROGRESS)
            && is_null("unplug_time")
            && is_null("inferred_session_end")
    }
}

/// A session before it is written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    pub(super) vehicle: usize,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) outcome: &'static str,
    pub(super) kind: Kind,
}

/// What kind of session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    /// Over the night in which clocks change.
    ClockChange,
    /// In and out again within minutes.
    Blip,
    Open,
}

impl Account {
    /// Invents everything.
    pub(super) fn invent(plan: &Plan) -> Self {
        let assets = Assets::invent(plan.seed);
        let mut drafts = Vec::new();
        for (index, vehicle) in assets.vehicles.iter().enumerate() {
            plug_ins(plan, index, vehicle, &mut drafts);
        }
        give_outcomes(&mut drafts);
        let kinds = if plan.dirt { dirt::assign(&drafts) } else { vec![None; drafts.len()] };
        let mut sessions = Vec::new();
        for (mut draft, kind) in drafts.into_iter().zip(kinds) {
            if let Some(kind) = kind {
                kind.before(&mut draft);
            }
            let mut record = compose(plan, draft, &assets.vehicles[draft.vehicle]);
            if let Some(kind) = kind {
                kind.after(draft.start, &mut record);
            }
            let session = Session::new(draft.vehicle, record);
            sessions.push(session.expect("every record has an id and a plug-in"));
        }
        let mut account = Self { assets, sessions };
        account.sort();
        account
    }

    /// Adds a record, in place of one with the same id. False without an id or a plug-in.
    pub(super) fn put(&mut self, vehicle: usize, record: Map<String, Value>) -> bool {
        let Some(session) = Session::new(vehicle, record) else {
            return false;
        };
        self.remove(&session.id);
        self.sessions.push(session);
        self.sort();
        true
    }

    fn sort(&mut self) {
        self.sessions.sort_by(|a, b| (a.vehicle, a.plug_in, &a.id).cmp(&(b.vehicle, b.plug_in, &b.id)));
    }

    /// Gives fields of a record other values. Its id stays.
    pub(super) fn correct(&mut self, id: &str, mut fields: Map<String, Value>) -> bool {
        let Some(session) = self.sessions.iter().find(|session| session.id == id) else {
            return false;
        };
        let (vehicle, mut record) = (session.vehicle, session.record.clone());
        fields.remove("id");
        record.extend(fields);
        self.put(vehicle, record)
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|session| session.id != id);
        self.sessions.len() < before
    }
}

/// When a vehicle is plugged in.
fn plug_ins(plan: &Plan, index: usize, vehicle: &Vehicle, drafts: &mut Vec<Draft>) {
    let days = i64::from(plan.days);
    let today = date(plan.now);
    let is_open = index == OPEN.0;
    let until = if is_open { plan.now - OPEN.1 } else { plan.now };
    let mut free = plan.now - days * DAY;
    for back in (0..=days).rev() {
        let day = later(today, -back);
        let mut random = random(plan.seed, index, at(day, 0, 0));
        let is_clock_change = at(later(day, 1), 12 * 60, 0) - at(day, 12 * 60, 0) != DAY;
        // One vehicle at least stays in over each of these nights.
        let is_certain = is_clock_change && is_open;
        let (is_off, chance) = match day.weekday() {
            Weekday::Saturday | Weekday::Sunday => (true, vehicle.plug_in_percent.1),
            _ => (false, vehicle.plug_in_percent.0),
        };
        let minute = if is_certain { 19 } else { random.weighted(if is_off { &DAY_OFF } else { &WORKDAY }) };
        let minute = i64::try_from(minute).expect("an hour of a day") * 60 + random.between(0, 59);
        let start = at(day, minute, random.between(0, 59));
        let end = leave(day, minute, start, &mut random);
        if !(is_certain || random.percent(chance)) || start < free + HOUR / 2 || end > until - HOUR / 2 {
            continue;
        }
        let kind = if is_clock_change && minute >= 15 * 60 { Kind::ClockChange } else { Kind::Ordinary };
        // The plug did not sit well at first.
        if random.percent(11) {
            let start = start - random.between(400, 900);
            let end = start + random.between(18, 285);
            let outcome = *random.pick(&["other", "unknown", "user_unplugged_early"]);
            drafts.push(Draft { vehicle: index, start, end, outcome, kind: Kind::Blip });
        }
        drafts.push(Draft { vehicle: index, start, end, outcome: OPTIMIZED, kind });
        free = end;
    }
    if is_open {
        let (start, end) = (until, plan.now + 12 * HOUR);
        drafts.push(Draft { vehicle: index, start, end, outcome: IN_PROGRESS, kind: Kind::Open });
    }
}

/// When it is unplugged: after an evening in the morning, else after some hours.
fn leave(day: Date, minute: i64, start: i64, random: &mut Random) -> i64 {
    if minute >= 15 * 60 {
        at(later(day, 1), random.between(6 * 60, 9 * 60), random.between(0, 59))
    } else {
        start + random.between(HOUR, 5 * HOUR)
    }
}

fn random(seed: u64, vehicle: usize, second: i64) -> Random {
    Random::new(&[seed, u64::try_from(vehicle).expect("a few vehicles"), second.cast_unsigned()])
}

/// Lets some sessions end otherwise, each outcome spread over the whole time.
fn give_outcomes(drafts: &mut [Draft]) {
    let mut suitable: Vec<&mut Draft> =
        drafts.iter_mut().filter(|draft| draft.kind == Kind::Ordinary).collect();
    let rounds = (suitable.len() / (RARITY * SPECIAL.len())).max(1);
    let wanted = (rounds * SPECIAL.len()).min(suitable.len());
    for turn in 0..wanted {
        let place = turn * suitable.len() / wanted;
        suitable[place].outcome = SPECIAL[turn % SPECIAL.len()];
    }
}

/// Writes a session down.
fn compose(plan: &Plan, draft: Draft, vehicle: &Vehicle) -> Map<String, Value> {
    let Draft { start, mut end, outcome, .. } = draft;
    let is_cut_short = outcome == "user_unplugged_early" && draft.kind != Kind::Blip;
    let mut random = random(plan.seed, draft.vehicle, start);
    let id = uuid(&mut random);
    let is_open = draft.kind == Kind::Open;

    // Tenths of a percent.
    let target = *random.pick(&[800, 800, 900, 1000]);
    let initial = random.between(22, 70) * 10 + if random.percent(30) { 5 } else { 0 };
    let peak = vehicle.watts * random.between(94, 100) / 100;
    let mean = peak * random.between(80, 97) / 100;
    // Eight percent are lost on the way to the battery.
    let need = (target - initial) * vehicle.battery_wh / 920;
    let room = mean * (end - start) / HOUR * 9 / 10;
    let reachable = if need <= room { target } else { initial + room * 920 / vehicle.battery_wh };
    let (mut wh, mut last) = (need.min(room), reachable);
    if is_cut_short {
        end = start + (end - start) / 3;
        wh = wh.min(mean * (end - start) / HOUR) * 3 / 5;
        last = initial + wh * 920 / vehicle.battery_wh;
    }

    let deadline = [date(start), later(date(start), 1)].map(|day| at(day, 7 * 60, 0));
    let deadline = if deadline[0] > start { deadline[0] } else { deadline[1] };
    let planned_end = (end.min(deadline) - random.between(0, 4) * QUARTER).div_euclid(QUARTER) * QUARTER;
    let planned_start = (planned_end - wh * HOUR / mean).div_euclid(QUARTER) * QUARTER;
    let planned_start = planned_start.max(start);

    // Hundredths of a cent per kilowatt-hour.
    let cents = wh * random.between(1_450, 3_150) / 100_000;
    let expected = cents * random.between(6, 34) / 100;
    let saved = expected * random.between(-12, 112) / 100;
    // Nobody saw the unplugging, or the guess was kept beside what was seen.
    let (unplug, inferred) = match random.below(100) {
        0..8 => (None, Some(end)),
        8..16 => (Some(end), Some(end - random.between(0, 240))),
        _ => (Some(end), None),
    };
    let missed = !is_open && random.percent(6);

    let Value::Object(mut record) = json!({
        "id": id,
        "plug_in_time": time(start),
        "unplug_time": unplug.map(time),
        "inferred_session_end": inferred.map(time),
        "desired_charging_start_time": time(planned_start),
        "desired_charging_end_time": time(planned_end),
        "charge_deadline": time(deadline),
        "target_soc_pct": number(target, 10),
        "initial_soc_pct": number(initial, 10),
        "final_soc_pct": number(last, 10),
        "energy_charged_kwh": number(wh, 1000),
        "avg_charge_power_kw": number(mean, 1000),
        "peak_charge_power_kw": number(peak, 1000),
        "actual_cost_eur": number(cents, 100),
        "expected_savings_eur": number(expected, 100),
        "actual_savings_eur": number(saved, 100),
        "is_at_home": true,
        "session_outcome": outcome,
        "is_hidden": false,
        "hidden_reason": null,
        "target_reachable": need <= room,
        "reachable_soc_pct": reachable / 10,
    }) else {
        unreachable!("the macro above writes an object");
    };
    if planned_start >= planned_end {
        clear(&mut record, &[&PLAN]);
    }
    if missed {
        let gap = [DEADLINE[0], SOC[1], SOC[2], ENERGY[2], COST[0]];
        clear(&mut record, &[&[*random.pick(&gap)]]);
    }
    explain(&mut record, outcome, &mut random);
    match draft.kind {
        Kind::Open => {
            clear(
                &mut record,
                &[&["unplug_time", "inferred_session_end"], &SOC[2..], &ENERGY, &COST, &SAVINGS[1..]],
            );
            // What went in so far, before the plan has begun.
            record.insert("energy_charged_kwh".to_owned(), 0.35.into());
        }
        Kind::Blip => {
            clear(&mut record, &[&PLAN, &SOC[2..], &ENERGY[1..], &COST, &SAVINGS, &REACH]);
            let nothing = if random.percent(50) { Value::Null } else { 0.0.into() };
            record.insert("energy_charged_kwh".to_owned(), nothing);
            record.insert("unplug_time".to_owned(), time(end).into());
            record.insert("is_hidden".to_owned(), true.into());
            record.insert("hidden_reason".to_owned(), "short_duration".into());
        }
        Kind::Ordinary | Kind::ClockChange if random.percent(12) => {
            record.retain(|field, _| !NEWER.contains(&field.as_str()));
        }
        Kind::Ordinary | Kind::ClockChange => {}
    }
    record
}

/// Takes out what cannot be known, or did not happen, if a session ended this way.
fn explain(record: &mut Map<String, Value>, outcome: &str, random: &mut Random) {
    let none = Value::from(0.0);
    let mut set = |field: &str, value: Value| drop(record.insert(field.to_owned(), value));
    match outcome {
        "not_at_home" => {
            set("is_at_home", false.into());
            clear(record, &[&PLAN, &DEADLINE, &SOC[..1], &COST, &SAVINGS, &REACH]);
        }
        "not_authenticated" | "ev_not_found" => {
            clear(record, &[&PLAN, &DEADLINE, &SOC, &ENERGY, &COST, &SAVINGS, &REACH]);
        }
        "no_battery_capacity" => clear(record, &[&PLAN, &ENERGY, &COST, &SAVINGS, &REACH]),
        "smart_optimization_disabled" | "hems_only_mode" | "oem_not_capable" => {
            clear(record, &[&PLAN, &SAVINGS, &REACH]);
        }
        "already_at_target" => {
            let soc = record["target_soc_pct"].clone();
            record.insert("initial_soc_pct".to_owned(), soc.clone());
            record.insert("final_soc_pct".to_owned(), soc);
            for field in ["energy_charged_kwh", "actual_cost_eur"] {
                record.insert(field.to_owned(), none.clone());
            }
            clear(record, &[&PLAN, &ENERGY[1..], &SAVINGS, &REACH]);
        }
        "immediate_start" => {
            let start = record["plug_in_time"].clone();
            record.insert("desired_charging_start_time".to_owned(), start);
            clear(record, &[&SAVINGS]);
        }
        "insufficient_price_coverage" => clear(record, &[&PLAN, &COST, &SAVINGS]),
        "commands_failed" => set("actual_savings_eur", none),
        "boosted" => set("actual_savings_eur", number(-random.between(5, 180), 100)),
        "oem_reported_full" => set("final_soc_pct", 97.0.into()),
        "other" => clear(record, &[&SAVINGS]),
        // Contact was lost, and nobody could guess when it ended.
        "unknown" => clear(
            record,
            &[&["unplug_time", "inferred_session_end"], &SOC[2..], &ENERGY, &COST, &SAVINGS, &REACH],
        ),
        _ => {}
    }
}

fn clear(record: &mut Map<String, Value>, groups: &[&[&str]]) {
    for field in groups.iter().copied().flatten() {
        record.insert((*field).to_owned(), Value::Null);
    }
}

/// A moment as the API writes it.
pub(super) fn time(second: i64) -> String {
    moment(second).to_string()
}

/// Counted parts as a number with decimals. The division rounds once, so the number has no more digits than
/// it should.
fn number(parts: i64, per_whole: i64) -> Value {
    (parts as f64 / per_whole as f64).into()
}
