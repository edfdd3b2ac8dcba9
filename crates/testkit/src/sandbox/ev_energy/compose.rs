//! Writes records down as the API words them.

use serde_json::{Map, Value, json};

use super::{
    account::{Assets, PLACES, moment},
    charge::{HALF_HOUR, Slot},
    data::{Draft, Pays, PlugIn, SubSession, World},
};

/// Writes for one account at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) assets: &'a Assets,
    pub(super) base: &'a str,
    pub(super) now: i64,
}

/// A plug-in and when it began.
#[derive(Debug)]
pub(super) struct WrittenPlugIn {
    pub(super) start: i64,
    pub(super) written: PlugIn,
}

impl Writer<'_> {
    /// Every plug-in of which a sub-session is left, newest first.
    pub(super) fn plug_ins(&self, world: &World) -> Vec<WrittenPlugIn> {
        let mut links = vec![Vec::new(); world.plug_ins.len()];
        // Drafts come newest first, and so do the links.
        for draft in &world.drafts {
            links[draft.plug_in].push(Value::from(self.url("charging_sub_sessions", &draft.id)));
        }
        let mut written: Vec<_> = world
            .plug_ins
            .iter()
            .zip(links)
            .filter(|(_, links)| !links.is_empty())
            .map(|(plug_in, links)| {
                let record = json!({
                    "id": plug_in.id,
                    "url": self.url("charging_sessions", &plug_in.id),
                    "start": time(plug_in.start),
                    "end": plug_in.end.map(time),
                    "vehicle": self.vehicle_url(Some(plug_in.vehicle)),
                    "evse": self.evse_url(plug_in.evse),
                    "sub_sessions": links,
                });
                let user = &self.assets.users[self.assets.vehicles[plug_in.vehicle].user];
                let written =
                    PlugIn { id: plug_in.id.clone(), user: user.id.clone(), record: object(record) };
                WrittenPlugIn { start: plug_in.start, written }
            })
            .collect();
        written.sort_unstable_by(|a, b| b.written.id.cmp(&a.written.id));
        written
    }

    pub(super) fn sub_session(&self, draft: &Draft) -> SubSession {
        let url = self.url("charging_sub_sessions", &draft.id);
        let part = |name: &str| format!("{url}/{name}");
        let place = &PLACES[draft.place];
        let sums = Sums::of(draft);
        let smart = draft.mode == "SMART";
        let cost = sums.cost(draft.pays);
        // What the same energy would have cost at once, in the dear hours.
        let dear = rounded(sums.grid * self.assets.tariff.day, 100_000);
        let mut record = object(json!({
            "id": draft.id,
            "url": url,
            "start": time(draft.start),
            "end": draft.end.map(time),
            "mode": draft.mode,
            "vehicle": self.vehicle_url(draft.vehicle),
            "evse": self.evse_url(draft.evse),
            "energy_delivered_watt_hours": sums.energy,
            "cost": cost,
            "currency": self.assets.tariff.currency,
            "percentage_added": draft.vehicle.map(|index| percentage(sums.energy, self.assets.vehicles[index].battery_wh)),
            "savings_cost": cost.map(|cost| if smart { (dear - cost).max(0) } else { 0 }),
            "savings_co2_grams": if smart { sums.energy * 46 / 1000 } else { 0 },
            "incentive_earned": smart.then_some(sums.energy / 1000),
            "total_co2_grams": sums.carbon,
            "co2_intensity_grams_per_kilowatt_hour": sums.intensity(),
            "co2_intensity_classification": sums.intensity().map(classification),
            "cost_per_kilowatt_hour": cost.filter(|_| sums.energy > 0).map(|cost| rounded(cost * 1000, sums.energy)),
            "total_points": if smart { sums.energy / 500 } else { 0 },
            "total_points_missed": (!draft.is_public()).then_some(if smart { 0 } else { sums.energy / 500 }),
            "duration_minutes": rounded(sums.active_seconds, 60),
            "grid_energy_delivered_watt_hours": sums.grid,
            "solar_energy_delivered_watt_hours": sums.energy - sums.grid,
            "grid_energy_delivered": kilowatt_hours(sums.grid),
            "solar_energy_delivered": kilowatt_hours(sums.energy - sums.grid),
            "labels": self.labels(draft),
            "solar_mode_type": self.solar_mode(draft),
            "tariff": (!draft.is_public()).then(|| self.url("tariffs", &self.assets.tariff.id)),
            "carbon_feed": self.url("carbon_feeds", &self.assets.tariff.feed.id),
            "grid_feeds": [],
        }));
        record.insert(
            "location".to_owned(),
            json!({
                "name": place.name,
                "coordinates": {
                    "latitude": degrees(place.coordinates.0),
                    "longitude": degrees(place.coordinates.1),
                },
                "postal_code": place.postal_code,
                "address_1": place.address,
                "timezone": place.zone.name,
            }),
        );
        for name in ["energy_usage", "schedules", "assessment", "flags", "debug_metadata"] {
            record.insert(name.to_owned(), part(name).into());
        }
        SubSession {
            id: draft.id.clone(),
            user: self.assets.users[draft.user].id.clone(),
            record,
            usage: draft.slots.clone(),
            priced: draft.pays != Pays::Unknown,
            metered: draft.evse.is_some(),
            schedule: schedule(draft),
            flags: Vec::new(),
            debug: debug_of(draft),
            updated: draft.end.map_or(self.now, |end| (end + 17 * 60).min(self.now)),
        }
    }

    /// The address of a thing in a collection.
    pub(super) fn url(&self, collection: &str, id: &str) -> String {
        format!("{}{collection}/{id}", self.base)
    }

    fn vehicle_url(&self, vehicle: Option<usize>) -> Option<String> {
        vehicle.map(|index| self.url("vehicles", &self.assets.vehicles[index].id))
    }

    fn evse_url(&self, evse: Option<usize>) -> Option<String> {
        evse.map(|index| self.url("evses", &self.assets.evses[index].id))
    }

    fn labels(&self, draft: &Draft) -> Value {
        if draft.is_public() {
            return json!(["AWAY"]);
        }
        // Not every programme sorts its sessions.
        if draft.user == 2 {
            return Value::Null;
        }
        let (night, all) = draft.slots.iter().fold((0, 0), |(night, all), slot| {
            (night + if slot.price == self.assets.tariff.night { slot.wh } else { 0 }, all + slot.wh)
        });
        match night {
            _ if all == 0 => json!(["PRIMARY"]),
            0 => json!(["PRIMARY", "OTHER"]),
            _ if night == all => json!(["PRIMARY", "OFF_PEAK"]),
            _ => json!(["PRIMARY", "MIXED"]),
        }
    }

    fn solar_mode(&self, draft: &Draft) -> Option<&'static str> {
        let vehicle = &self.assets.vehicles[draft.vehicle?];
        let has_panels = vehicle.solar && !draft.is_public();
        has_panels.then_some(if draft.mode == "SMART" { "SOLAR_AND_GRID" } else { "OFF" })
    }
}

/// The figures of a sub-session.
struct Sums {
    energy: i64,
    grid: i64,
    active_seconds: i64,
    /// Hundred-thousandths of a minor unit.
    price: i64,
    carbon: i64,
}

impl Sums {
    fn of(draft: &Draft) -> Self {
        let sum = |part: fn(&Slot) -> i64| draft.slots.iter().map(part).sum::<i64>();
        Self {
            energy: sum(|slot| slot.wh),
            grid: sum(Slot::grid_wh),
            active_seconds: sum(|slot| slot.active_seconds),
            price: sum(|slot| slot.grid_wh() * slot.price),
            carbon: sum(|slot| slot.grid_wh() * slot.carbon) / 1000,
        }
    }

    fn cost(&self, pays: Pays) -> Option<i64> {
        match pays {
            Pays::Tariff => Some(rounded(self.price, 100_000)),
            Pays::Nothing => Some(0),
            Pays::Unknown => None,
        }
    }

    fn intensity(&self) -> Option<i64> {
        (self.energy > 0).then(|| rounded(self.carbon * 1000, self.energy))
    }
}

fn classification(intensity: i64) -> &'static str {
    match intensity {
        ..80 => "very low",
        80..130 => "low",
        130..190 => "moderate",
        190..250 => "high",
        _ => "very high",
    }
}

fn schedule(draft: &Draft) -> Vec<Value> {
    let first = draft.start - draft.start.rem_euclid(HALF_HOUR);
    let interval = |start: i64, seconds: Option<i64>, milliamps: i64, kind: &str| {
        json!({
            "started_at": time(start),
            "interval_seconds": seconds,
            "current_milliamps": milliamps,
            "schedule_type": kind,
            "dispatched_at": time(draft.start + 4),
            "created_at": time(draft.start + 3),
        })
    };
    match draft.mode {
        "SMART" | "MANAGED_OTG" => {
            let intervals = draft.slots.iter().map(|slot| {
                let milliamps = if slot.wh > 0 { draft.watts * 1000 / 230 } else { 0 };
                let kind = if slot.solar_wh > 0 { "SOLAR_SMART" } else { "SMART" };
                interval(slot.start, Some(HALF_HOUR), milliamps, kind)
            });
            intervals.collect()
        }
        "BOOST" => vec![interval(first, None, 32_000, "BOOST")],
        _ => Vec::new(),
    }
}

fn debug_of(draft: &Draft) -> Map<String, Value> {
    let method = if draft.evse.is_some() { "METERED" } else { "ESTIMATED_CHARGE_LEVEL" };
    let mut fields = debug(method);
    let (connect, disconnect) = match draft.evse {
        Some(_) => ("EVSE_CONNECT", Some("EVSE_DISCONNECT")),
        None => ("VEHICLE_LOG_CONNECT", None),
    };
    let start = if draft.mode == "BOOST" { "BOOST_START" } else { connect };
    fields.insert("start_reason".to_owned(), start.into());
    let finish = draft.end.and(disconnect);
    fields.insert("finish_reason".to_owned(), finish.into());
    fields
}

/// What is known about how the energy was found out.
pub(super) fn debug(method: &str) -> Map<String, Value> {
    object(json!({
        "start_reason": null,
        "finish_reason": null,
        "is_energy_delivered_capped": false,
        "uncapped_energy_delivered_watt_hours": null,
        "energy_usage_calculation_method": method,
        "energy_usage_interpolation_method": "LINEAR",
        "solar_integration_type": null,
    }))
}

/// RFC 3339 in UTC, as the API mostly writes it.
pub(super) fn time(second: i64) -> String {
    moment(second).to_string()
}

/// A number of `digits` decimal places that is given as a whole number of its last place; no zeros at the end.
pub(super) fn decimal(value: i64, digits: usize) -> String {
    let text = fixed(value, digits);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn fixed(value: i64, digits: usize) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let text = format!("{:0width$}", value.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    let point = if digits > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

fn kilowatt_hours(wh: i64) -> String {
    fixed(wh, 3)
}

/// Divides and rounds, halves away from zero.
fn rounded(value: i64, by: i64) -> i64 {
    let half = by / 2;
    if value < 0 { (value - half) / by } else { (value + half) / by }
}

/// The charge level gained, in percent with one decimal place; a tenth of the energy is lost on the way.
fn percentage(wh: i64, battery_wh: i64) -> Value {
    let tenths = rounded(wh * 900, battery_wh);
    if tenths % 10 == 0 { (tenths / 10).into() } else { tenth(tenths).into() }
}

// Dividing two whole numbers of this size gives the nearest float on every machine, and its shortest form.
fn tenth(tenths: i64) -> f64 {
    tenths as f64 / 10.0
}

pub(super) fn degrees(hundred_thousandths: i64) -> f64 {
    hundred_thousandths as f64 / 100_000.0
}

/// The fields of an object that was written as a literal.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_without_floats() {
        assert_eq!(decimal(2486, 2), "24.86");
        assert_eq!(decimal(750, 2), "7.5");
        assert_eq!(decimal(0, 2), "0");
        assert_eq!(decimal(2486, 4), "0.2486");
        assert_eq!(decimal(-5, 2), "-0.05");
        assert_eq!(decimal(100, 0), "100");
        assert_eq!(kilowatt_hours(12_340), "12.340");
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        assert_eq!([rounded(5, 10), rounded(4, 10), rounded(-5, 10)], [1, 0, -1]);
    }
}
