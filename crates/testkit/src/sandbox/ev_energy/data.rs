//! Invents the sessions of an account.
//!
//! Home charging after what is published about real sessions, moved to the evening: people plug in when they
//! come home and unplug when they leave, smart charging waits for the night, winters need more. One sequence
//! of random numbers per vehicle and day keeps a day as it is when others change.

use serde_json::{Map, Value};

use super::{
    account::{Assets, PLACES, PUBLIC, Vehicle},
    charge::{Slot, Stretch, Supply, rescale, spread},
    compose, dirt,
    paging::Identified,
};
use crate::sandbox::random::Random;

/// The modes there are; a filter takes no other.
pub(super) const MODES: [&str; 5] = ["SMART", "BOOST", "UNMANAGED_HOME", "UNMANAGED_OTG", "MANAGED_OTG"];

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;

/// Watt-hours needed per plug-in of a 64 kWh vehicle.
const NEED: [(i64, i64); 8] = [
    (0, 400),
    (10, 900),
    (50, 2_100),
    (250, 7_200),
    (500, 13_400),
    (750, 22_800),
    (950, 41_000),
    (1000, 58_000),
];

/// How much more or less a month needs, in percent, from January on.
const SEASON: [i64; 12] = [125, 121, 108, 97, 90, 86, 84, 86, 92, 101, 113, 122];

/// Chance of plugging in at home by the hour, on a working day and on one off.
const HOME_WORKDAY: [u64; 24] = [1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 3, 4, 6, 10, 17, 19, 13, 8, 5, 3, 1];
const HOME_DAY_OFF: [u64; 24] = [1, 0, 0, 0, 0, 0, 0, 1, 3, 6, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7, 5, 3, 1, 1];

/// What to invent.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Seconds since 1970; nothing happens after it.
    pub(super) now: i64,
    pub(super) span: Span,
    pub(super) dirt: bool,
    pub(super) currency: String,
    /// What every URL begins with, with a slash at the end.
    pub(super) base: String,
    /// Seconds since 1970; plug-ins before it were not recorded.
    pub(super) plug_ins_since: i64,
}

/// How much to invent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span {
    Days(u32),
    Sessions(usize),
}

/// All that the server knows.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) assets: Assets,
    /// Newest first.
    pub(super) sub_sessions: Vec<SubSession>,
    /// Newest first.
    pub(super) plug_ins: Vec<PlugIn>,
    now: i64,
}

/// A stretch of charging in one mode: the record as it is sent without expansion, and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct SubSession {
    pub(super) id: String,
    /// Whose it is. The record itself does not say.
    pub(super) user: String,
    pub(super) record: Map<String, Value>,
    pub(super) usage: Vec<Slot>,
    /// Whether the price of the energy is known.
    pub(super) priced: bool,
    /// Whether the charger measures.
    pub(super) metered: bool,
    pub(super) schedule: Vec<Value>,
    pub(super) flags: Vec<Value>,
    pub(super) debug: Map<String, Value>,
    /// Seconds since 1970.
    pub(super) updated: i64,
}

/// An episode with the cable in.
#[derive(Clone, Debug)]
pub(super) struct PlugIn {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) record: Map<String, Value>,
}

impl Identified for SubSession {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for PlugIn {
    fn id(&self) -> &str {
        &self.id
    }
}

/// A sub-session before it is written down.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) id: String,
    pub(super) plug_in: usize,
    pub(super) vehicle: Option<usize>,
    pub(super) evse: Option<usize>,
    pub(super) user: usize,
    pub(super) place: usize,
    pub(super) mode: &'static str,
    pub(super) start: i64,
    pub(super) end: Option<i64>,
    pub(super) slots: Vec<Slot>,
    pub(super) watts: i64,
    pub(super) pays: Pays,
}

impl Draft {
    pub(super) fn wh(&self) -> i64 {
        self.slots.iter().map(|slot| slot.wh).sum()
    }

    pub(super) fn is_public(&self) -> bool {
        self.place >= PUBLIC
    }
}

/// How the energy is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pays {
    Tariff,
    Nothing,
    Unknown,
}

impl Account {
    /// Invents everything.
    pub(super) fn invent(plan: &Plan) -> Self {
        let assets = Assets::invent(plan.seed, &plan.currency);
        let mut world = match plan.span {
            Span::Days(days) => World::invent(plan, &assets, i64::from(days)),
            Span::Sessions(count) => World::with_sessions(plan, &assets, count),
        };
        let kinds = if plan.dirt { dirt::assign(&world.drafts) } else { vec![None; world.drafts.len()] };
        for (draft, kind) in world.drafts.iter_mut().zip(&kinds) {
            if let Some(kind) = kind {
                kind.before(draft);
            }
        }
        let writer = compose::Writer { assets: &assets, base: &plan.base, now: plan.now };
        let mut plug_ins = writer.plug_ins(&world);
        plug_ins.retain(|plug_in| plug_in.start >= plan.plug_ins_since);
        let mut sub_sessions: Vec<SubSession> =
            world.drafts.iter().map(|it| writer.sub_session(it)).collect();
        for (sub_session, kind) in sub_sessions.iter_mut().zip(&kinds) {
            if let Some(kind) = kind {
                kind.after(sub_session);
            }
        }
        let plug_ins = plug_ins.into_iter().map(|plug_in| plug_in.written).collect();
        Self { assets, sub_sessions, plug_ins, now: plan.now }
    }

    pub(super) fn first_user(&self) -> &str {
        &self.assets.users[0].id
    }

    pub(super) fn sub_session(&self, id: &str) -> Option<&SubSession> {
        self.sub_sessions.iter().find(|row| row.id == id)
    }

    /// Adds a record. An id that is there already is replaced; nothing is known of its intervals but the sum.
    pub(super) fn insert(&mut self, id: &str, mut record: Map<String, Value>) {
        self.remove(id);
        record.insert("id".to_owned(), id.into());
        let start = second_of(&record, "start").unwrap_or(self.now);
        let end = second_of(&record, "end").unwrap_or(self.now);
        let supply = Supply {
            place: &PLACES[0],
            tariff: &self.assets.tariff,
            watts: 7_400,
            solar: false,
            now: self.now,
        };
        let mut usage = super::charge::empty_slots(start, end, supply);
        rescale(&mut usage, energy_of(&record));
        let row = SubSession {
            id: id.to_owned(),
            user: self.first_user().to_owned(),
            record,
            usage,
            priced: true,
            metered: false,
            schedule: Vec::new(),
            flags: Vec::new(),
            debug: compose::debug("MANUAL_ENTRY"),
            updated: self.now,
        };
        let place = self.sub_sessions.partition_point(|other| other.id > row.id);
        self.sub_sessions.insert(place, row);
    }

    /// Changes fields of a record; intervals follow its energy. False if there is no such record.
    pub(super) fn correct(&mut self, id: &str, fields: Map<String, Value>) -> bool {
        let now = self.now;
        let Some(row) = self.sub_sessions.iter_mut().find(|row| row.id == id) else {
            return false;
        };
        let before = energy_of(&row.record);
        row.record.extend(fields);
        let after = energy_of(&row.record);
        if after != before {
            rescale(&mut row.usage, after);
        }
        row.updated = now;
        true
    }

    /// Takes a record away, also from its plug-in. False if there is no such record.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.sub_sessions.len();
        self.sub_sessions.retain(|row| row.id != id);
        for plug_in in &mut self.plug_ins {
            if let Some(Value::Array(links)) = plug_in.record.get_mut("sub_sessions") {
                links.retain(|link| !link.as_str().is_some_and(|link| link.ends_with(id)));
            }
        }
        self.sub_sessions.len() < before
    }
}

fn second_of(record: &Map<String, Value>, field: &str) -> Option<i64> {
    let moment: jiff::Timestamp = record.get(field)?.as_str()?.parse().ok()?;
    Some(moment.as_second())
}

fn energy_of(record: &Map<String, Value>) -> i64 {
    record.get("energy_delivered_watt_hours").and_then(Value::as_i64).unwrap_or_default()
}

/// Drafts, newest id first, and their plug-ins.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) drafts: Vec<Draft>,
    pub(super) plug_ins: Vec<PlugInDraft>,
}

/// A plug-in before it is written down.
#[derive(Clone, Debug)]
pub(super) struct PlugInDraft {
    pub(super) id: String,
    pub(super) start: i64,
    pub(super) end: Option<i64>,
    pub(super) vehicle: usize,
    pub(super) evse: Option<usize>,
}

/// The cable is in, and this is what the driver wants.
struct Visit {
    vehicle: usize,
    evse: Option<usize>,
    place: usize,
    stretches: Vec<Stretch>,
    need: i64,
    watts: i64,
    pays: Pays,
}

impl World {
    /// The newest `count` sub-sessions.
    fn with_sessions(plan: &Plan, assets: &Assets, count: usize) -> Self {
        let mut days = i64::try_from(count / 2 + 14).unwrap_or(i64::MAX);
        let mut world = Self::invent(plan, assets, days);
        while world.drafts.len() < count {
            days *= 2;
            world = Self::invent(plan, assets, days);
        }
        world.drafts.truncate(count);
        world
    }

    fn invent(plan: &Plan, assets: &Assets, days: i64) -> Self {
        let first = plan.now - days * DAY;
        let mut world = Self::default();
        let mut busy = Busy::new(assets);
        for day in first.div_euclid(DAY)..=plan.now.div_euclid(DAY) {
            for (index, vehicle) in assets.vehicles.iter().enumerate() {
                let mut random = Random::new(&[plan.seed, day.unsigned_abs(), index as u64]);
                // A vehicle that charges on the road at noon may still be plugged in at home in the evening.
                let visits = [
                    on_the_go(&mut random, day, index, vehicle),
                    at_home(&mut random, day, index, vehicle, assets),
                ];
                for visit in visits.into_iter().flatten() {
                    let (start, end) = visit.bounds();
                    let kept_free = plan.now - kept_free_before_now(index);
                    if start < first || start >= plan.now || end > kept_free || !busy.free(&visit) {
                        continue;
                    }
                    busy.take(&visit);
                    world.add(plan, assets, &visit, &mut random);
                }
            }
        }
        for visit in right_now(plan.now, assets) {
            let mut random =
                Random::new(&[plan.seed, u64::from_be_bytes(*b"ongoing_"), visit.vehicle as u64]);
            world.add(plan, assets, &visit, &mut random);
        }
        world.drafts.sort_unstable_by(|a, b| b.id.cmp(&a.id));
        world
    }

    fn add(&mut self, plan: &Plan, assets: &Assets, visit: &Visit, random: &mut Random) {
        let vehicle = &assets.vehicles[visit.vehicle];
        let supply = Supply {
            place: &PLACES[visit.place],
            tariff: &assets.tariff,
            watts: visit.watts,
            solar: vehicle.solar && visit.place == vehicle.place,
            now: plan.now,
        };
        let past = |end: i64| (end <= plan.now).then_some(end);
        let (start, end) = visit.bounds();
        let millis = (start + random.between(1, 30)).min(plan.now) * 1000 - 1;
        self.plug_ins.push(PlugInDraft {
            id: format!("cses{}", random.ulid(millis)),
            start,
            end: past(end),
            vehicle: visit.vehicle,
            evse: visit.evse,
        });
        let slots = spread(&visit.stretches, visit.need, supply);
        for (stretch, mut slots) in visit.stretches.iter().zip(slots) {
            if stretch.start >= plan.now {
                break;
            }
            if visit.pays == Pays::Nothing {
                slots.iter_mut().for_each(|slot| slot.price = 0);
            }
            let millis = created(stretch.start, plan.now, random);
            self.drafts.push(Draft {
                id: format!("csub{}", random.ulid(millis)),
                plug_in: self.plug_ins.len() - 1,
                vehicle: Some(visit.vehicle),
                evse: visit.evse,
                user: vehicle.user,
                place: visit.place,
                mode: stretch.mode,
                start: stretch.start,
                end: past(stretch.end),
                slots,
                watts: visit.watts,
                pays: visit.pays,
            });
        }
    }
}

/// When the record of something that began at `start` was made, in milliseconds since 1970.
///
/// Mostly seconds later. Sometimes hours, when a vehicle reports late, and sometimes before, when the start
/// was corrected: so the order of ids is not quite the order of starts.
fn created(start: i64, now: i64, random: &mut Random) -> i64 {
    let late = match random.below(100) {
        0..3 => random.between(HOUR, 6 * HOUR),
        3..5 => -random.between(5, 20),
        _ => random.between(2, 90),
    };
    (start + late).min(now) * 1000 - random.between(1, 999)
}

impl Visit {
    fn bounds(&self) -> (i64, i64) {
        let start = self.stretches.first().map_or(0, |stretch| stretch.start);
        (start, self.stretches.last().map_or(start, |stretch| stretch.end))
    }
}

/// Until when vehicles and chargers are taken.
struct Busy {
    vehicles: Vec<i64>,
    evses: Vec<i64>,
}

impl Busy {
    fn new(assets: &Assets) -> Self {
        Self { vehicles: vec![i64::MIN; assets.vehicles.len()], evses: vec![i64::MIN; assets.evses.len()] }
    }

    fn free(&self, visit: &Visit) -> bool {
        // Nobody unplugs and plugs in at the same minute.
        let (start, _) = visit.bounds();
        let start = start - 15 * 60;
        self.vehicles[visit.vehicle] <= start && visit.evse.is_none_or(|evse| self.evses[evse] <= start)
    }

    fn take(&mut self, visit: &Visit) {
        let (_, end) = visit.bounds();
        self.vehicles[visit.vehicle] = end;
        if let Some(evse) = visit.evse {
            self.evses[evse] = end;
        }
    }
}

/// A plug-in at home, if the driver plugs in on this day (counted from 1970).
fn at_home(random: &mut Random, day: i64, index: usize, vehicle: &Vehicle, assets: &Assets) -> Option<Visit> {
    let zone = PLACES[vehicle.place].zone;
    let date = zone.date(day * DAY + DAY / 2);
    let day_off = date.weekday().to_monday_zero_offset() >= 5;
    let (workday_percent, day_off_percent) = vehicle.plug_in_percent;
    if !random.percent(if day_off { day_off_percent } else { workday_percent }) {
        return None;
    }
    let hours = if day_off { &HOME_DAY_OFF } else { &HOME_WORKDAY };
    let hour = i64::try_from(random.weighted(hours)).expect("an hour");
    let start = zone.at(date, hour * 60 + random.between(0, 59), random.between(0, 59));
    let stays_overnight = hour >= 15 || random.percent(30);
    let end = if stays_overnight {
        let next = date.tomorrow().expect("a date of our time");
        let leaves = if next.weekday().to_monday_zero_offset() >= 5 { (480, 690) } else { (380, 540) };
        zone.at(next, random.between(leaves.0, leaves.1), random.between(0, 59))
    } else {
        start + random.between(2 * HOUR, 7 * HOUR)
    };
    let (month, _) = zone.month_and_minute(start);
    let need = random.quantile(&NEED) * vehicle.battery_wh / 64_000 * SEASON[month - 1] / 100;
    let limit = vehicle.evse.map_or(vehicle.ac_watts, |evse| assets.evses[evse].watts);
    // Voltage sags, and a battery that is cold or nearly full takes less.
    let watts = vehicle.ac_watts.min(limit) * random.between(92, 100) / 100;
    Some(Visit {
        vehicle: index,
        evse: vehicle.evse,
        place: vehicle.place,
        stretches: stretches(random, vehicle.smart_percent, start, end),
        need: need.min(vehicle.battery_wh * 85 / 100),
        watts,
        pays: Pays::Tariff,
    })
}

/// One to three modes in the course of a plug-in.
fn stretches(random: &mut Random, smart_percent: u64, start: i64, end: i64) -> Vec<Stretch> {
    if !random.percent(smart_percent) {
        return vec![Stretch { mode: "UNMANAGED_HOME", start, end }];
    }
    let length = end - start;
    // Somebody comes back to the vehicle in a hurry, or wants to leave again.
    let boost = start + random.between(20 * 60, 3 * HOUR).min(length / 3);
    let boosted = boost + random.between(20 * 60, 90 * 60).min(length / 3);
    let cuts: &[(&'static str, i64)] = match random.below(100) {
        0..70 => &[("SMART", start)],
        // Smart charging is switched on a few minutes after the cable went in.
        70..82 => &[("UNMANAGED_HOME", start), ("SMART", start + random.between(60, 600))],
        82..90 => &[("SMART", start), ("BOOST", boost)],
        _ => &[("SMART", start), ("BOOST", boost), ("SMART", boosted)],
    };
    let ends = cuts.iter().skip(1).map(|(_, start)| *start).chain([end]);
    cuts.iter().zip(ends).map(|((mode, start), end)| Stretch { mode, start: *start, end }).collect()
}

/// A stop at a public charger.
fn on_the_go(random: &mut Random, day: i64, index: usize, vehicle: &Vehicle) -> Option<Visit> {
    if !random.percent(6) {
        return None;
    }
    let zone = PLACES[vehicle.place].zone;
    // Nobody drives from an island to the mainland for it.
    let near: Vec<usize> = (PUBLIC..PLACES.len()).filter(|it| PLACES[*it].zone.name == zone.name).collect();
    let place = *random.pick(&near);
    let start =
        zone.at(zone.date(day * DAY + DAY / 2), random.between(9 * 60, 14 * 60), random.between(0, 59));
    let length = random.between(14 * 60, 48 * 60);
    // The rated power is reached for minutes only.
    let watts = (vehicle.dc_watts * random.between(62, 100) / 100).max(50_000);
    let room = vehicle.battery_wh * random.between(30, 60) / 100;
    let managed = random.percent(25);
    let pays = match random.below(10) {
        _ if managed => Pays::Tariff,
        0..6 => Pays::Unknown,
        6..8 => Pays::Nothing,
        _ => Pays::Tariff,
    };
    let mode = if managed { "MANAGED_OTG" } else { "UNMANAGED_OTG" };
    Some(Visit {
        vehicle: index,
        evse: None,
        place,
        stretches: vec![Stretch { mode, start, end: start + length }],
        need: (watts * length / 3600 * 9 / 10).min(room),
        watts,
        pays,
    })
}

/// For these two vehicles something is going on at `now`, whatever the hour; others may be plugged in or not.
fn right_now(now: i64, assets: &Assets) -> [Visit; 2] {
    let (charging, waiting) = (now - 3 * HOUR - 433, now - 41 * 60);
    let visit = |index: usize, stretches, need| {
        let vehicle = &assets.vehicles[index];
        let (evse, place, watts) = (vehicle.evse, vehicle.place, vehicle.ac_watts);
        Visit { vehicle: index, evse, place, stretches, need, watts, pays: Pays::Tariff }
    };
    [
        visit(
            0,
            vec![
                Stretch { mode: "UNMANAGED_HOME", start: charging, end: charging + 350 },
                Stretch { mode: "BOOST", start: charging + 350, end: now + 5 * HOUR },
            ],
            40_000,
        ),
        visit(3, vec![Stretch { mode: "SMART", start: waiting, end: now + 9 * HOUR }], 0),
    ]
}

/// How long before now the vehicles of [`right_now`] leave; the others may be plugged in until tomorrow.
fn kept_free_before_now(vehicle: usize) -> i64 {
    match vehicle {
        0 => 4 * HOUR,
        3 => HOUR,
        _ => -2 * DAY,
    }
}
