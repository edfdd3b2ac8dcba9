//! Shows things as a request wants them: linked or expanded.

use serde_json::{Map, Value, json};

use super::{
    account::{Evse, NIGHT, PLACES, Place, User, Vehicle},
    charge::{HALF_HOUR, Slot},
    compose::{decimal, object, time},
    data::{Account, PlugIn, SubSession},
    problem::Problem,
};
use crate::sandbox::query::Query;

/// What may be expanded in a sub-session.
pub(super) const OF_SUB_SESSION: [&str; 20] = [
    "evse",
    "evse.latest_status_log",
    "evse.model",
    "evse.model.make",
    "evse.user",
    "vehicle",
    "vehicle.latest_status_log",
    "vehicle.trim",
    "vehicle.trim.model",
    "vehicle.trim.model.make",
    "vehicle.user",
    "energy_usage",
    "schedules",
    "assessment",
    "flags",
    "debug_metadata",
    "tariff",
    "tariff.supplier",
    "carbon_feed",
    "grid_feeds",
];

/// What may be expanded in a plug-in.
pub(super) const OF_PLUG_IN: [&str; 3] = ["vehicle", "evse", "sub_sessions"];

/// What may be expanded in the parts of a sub-session that have an address of their own.
pub(super) const OF_PART: [&str; 1] = ["charging_sub_session"];

/// The id with this prefix at the end of a URL, or alone. Query and slash at the end do no harm.
pub(super) fn id_in<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let path = text.split('?').next().unwrap_or_default().trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    let ulid = last.strip_prefix(prefix)?;
    let fits =
        ulid.len() == 26 && ulid.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    fits.then_some(last)
}

/// Which links a request wants to see as objects.
#[derive(Clone, Debug, Default)]
pub(super) struct Expand {
    paths: Vec<String>,
}

impl Expand {
    /// Reads the parameter, which comes once per path.
    pub(super) fn parse(query: &Query, allowed: &[&str]) -> Result<Self, Problem> {
        let paths: Vec<String> = query.all("expand").map(ToOwned::to_owned).collect();
        if paths.iter().all(|path| allowed.contains(&path.as_str())) {
            Ok(Self { paths })
        } else {
            Err(Problem::fields(vec![("expand", "This cannot be expanded.")]))
        }
    }

    /// What is wanted inside `field`, if `field` is to be expanded at all. A path expands what it leads
    /// through.
    fn inside(&self, field: &str) -> Option<Self> {
        let inner = |path: &String| {
            let rest = path.strip_prefix(field)?;
            if rest.is_empty() { Some(String::new()) } else { rest.strip_prefix('.').map(ToOwned::to_owned) }
        };
        let paths: Vec<String> = self.paths.iter().filter_map(inner).collect();
        (!paths.is_empty()).then_some(Self { paths })
    }
}

/// How `energy_delivered_by_price` looks: the documents describe a list and declare an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PriceShape {
    /// A list with an entry per price, empty if the price is not known.
    #[default]
    List,
    /// One object with the price of most of the energy, null if the price is not known.
    Object,
}

/// How intervals are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UsageRequest {
    pub(super) merge: bool,
    pub(super) greater_than: Option<i64>,
}

/// Shows the things of an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) account: &'a Account,
    pub(super) base: &'a str,
    pub(super) prices: PriceShape,
}

impl View<'_> {
    pub(super) fn plug_in(&self, row: &PlugIn, expand: &Expand) -> Value {
        let mut record = row.record.clone();
        self.assets(&mut record, expand);
        if let (Some(inner), Some(Value::Array(links))) =
            (expand.inside("sub_sessions"), record.get_mut("sub_sessions"))
        {
            for link in links {
                let id = link.as_str().and_then(|link| id_in(link, "csub"));
                if let Some(row) = id.and_then(|id| self.account.sub_session(id)) {
                    *link = self.sub_session(row, &inner);
                }
            }
        }
        record.into()
    }

    pub(super) fn sub_session(&self, row: &SubSession, expand: &Expand) -> Value {
        let mut record = row.record.clone();
        self.assets(&mut record, expand);
        for field in ["energy_usage", "schedules", "assessment", "flags", "debug_metadata", "carbon_feed"] {
            // A record that does not have the link does not have the object either.
            if expand.inside(field).is_none() || !record.get(field).is_some_and(Value::is_string) {
                continue;
            }
            let part = if field == "carbon_feed" { self.carbon_feed() } else { self.named_part(row, field) };
            record.insert(field.to_owned(), part);
        }
        if let Some(inner) = expand.inside("tariff")
            && record.get("tariff").is_some_and(Value::is_string)
        {
            record.insert("tariff".to_owned(), self.tariff(&inner));
        }
        record.into()
    }

    /// Expands `vehicle` and `evse`.
    fn assets(&self, record: &mut Map<String, Value>, expand: &Expand) {
        let link = |record: &Map<String, Value>, field: &str| {
            record.get(field).and_then(Value::as_str).map(ToOwned::to_owned)
        };
        if let (Some(inner), Some(url)) = (expand.inside("vehicle"), link(record, "vehicle")) {
            let vehicles = &self.account.assets.vehicles;
            if let Some(vehicle) = vehicles.iter().find(|it| Some(it.id.as_str()) == id_in(&url, "vhcl")) {
                record.insert("vehicle".to_owned(), self.vehicle(vehicle, &inner));
            }
        }
        if let (Some(inner), Some(url)) = (expand.inside("evse"), link(record, "evse")) {
            let evses = &self.account.assets.evses;
            if let Some(evse) = evses.iter().find(|it| Some(it.id.as_str()) == id_in(&url, "evse")) {
                record.insert("evse".to_owned(), self.evse(evse, &inner));
            }
        }
    }

    fn vehicle(&self, vehicle: &Vehicle, expand: &Expand) -> Value {
        json!({
            "id": vehicle.id,
            "url": self.url("vehicles", &vehicle.id),
            "trim": match expand.inside("trim") {
                Some(inner) => self.trim(vehicle, &inner),
                None => self.url("vehicle_trims", &vehicle.trim.id).into(),
            },
            "user": self.user_or_link(vehicle.user, expand),
            "latest_status_log": null,
            "charging_sub_sessions": format!("{}charging_sub_sessions?vehicle_id={}", self.base, vehicle.id),
            "integrated": "ACTIVE",
            "battery_size_watt_hours": vehicle.battery_wh,
            "effective_battery_size_watt_hours": vehicle.battery_wh * 95 / 100,
            "maximum_charge_limit_percentage": 100,
            "description": vehicle.trim.name,
            "disabled": false,
            "smart_charging_enabled": vehicle.smart_percent > 50,
            "vehicle_class": "PASSENGER",
        })
    }

    fn trim(&self, vehicle: &Vehicle, expand: &Expand) -> Value {
        json!({
            "id": vehicle.trim.id,
            "url": self.url("vehicle_trims", &vehicle.trim.id),
            "name": vehicle.trim.name,
            "model": match expand.inside("model") {
                Some(inner) => self.vehicle_model(vehicle, &inner),
                None => self.url("vehicle_models", &vehicle.model.id).into(),
            },
            "battery_size_watt_hours": vehicle.battery_wh,
            "onboarding_url": null,
        })
    }

    fn vehicle_model(&self, vehicle: &Vehicle, expand: &Expand) -> Value {
        let make = &vehicle.make;
        json!({
            "id": vehicle.model.id,
            "url": self.url("vehicle_models", &vehicle.model.id),
            "name": vehicle.model.name,
            "make": match expand.inside("make") {
                Some(_) => json!({
                    "id": make.id,
                    "url": self.url("vehicle_makes", &make.id),
                    "name": make.name,
                    "icon": null,
                    "onboarding_url": null,
                    "models": format!("{}vehicle_models?make_id={}", self.base, make.id),
                }),
                None => self.url("vehicle_makes", &make.id).into(),
            },
            "onboarding_url": null,
            "vehicle_trims": format!("{}vehicle_trims?model_id={}", self.base, vehicle.model.id),
            "default_battery_size_watt_hours": vehicle.battery_wh,
            "default_connector_type": "CCS",
        })
    }

    fn evse(&self, evse: &Evse, expand: &Expand) -> Value {
        let (latitude, longitude) = coordinates(&PLACES[evse.place]);
        json!({
            "id": evse.id,
            "url": self.url("evses", &evse.id),
            "cpid": evse.cpid,
            "model": match expand.inside("model") {
                Some(inner) => self.evse_model(evse, &inner),
                None => self.url("evse_models", &evse.model.id).into(),
            },
            "user": self.user_or_link(evse.user, expand),
            "latest_status_log": null,
            "ct_clamp": null,
            "lock_mode": null,
            "location": { "latitude": latitude, "longitude": longitude },
            "lifecycle_state": "COMMISSIONED",
            "charging_sub_sessions": format!("{}charging_sub_sessions?evse_id={}", self.base, evse.id),
        })
    }

    fn evse_model(&self, evse: &Evse, expand: &Expand) -> Value {
        let make = &evse.make;
        json!({
            "id": evse.model.id,
            "url": self.url("evse_models", &evse.model.id),
            "name": evse.model.name,
            "make": match expand.inside("make") {
                Some(_) => json!({
                    "id": make.id,
                    "url": self.url("evse_makes", &make.id),
                    "name": make.name,
                    "display_name": make.name,
                    "icon": null,
                    "onboarding_url": null,
                    "is_beta": false,
                    "evse_models": format!("{}evse_models?make_id={}", self.base, make.id),
                }),
                None => self.url("evse_makes", &make.id).into(),
            },
            "display_name": evse.model.name,
            "onboarding_url": null,
        })
    }

    fn user_or_link(&self, index: usize, expand: &Expand) -> Value {
        let user = &self.account.assets.users[index];
        match expand.inside("user") {
            Some(_) => self.user(index, user),
            None => self.url("users", &user.id).into(),
        }
    }

    fn user(&self, index: usize, user: &User) -> Value {
        let assets = &self.account.assets;
        let place = &PLACES[user.place];
        let (latitude, longitude) = coordinates(place);
        let vehicles = assets.vehicles.iter().filter(|vehicle| vehicle.user == index);
        let evses = assets.evses.iter().filter(|evse| evse.user == index);
        json!({
            "id": user.id,
            "url": self.url("users", &user.id),
            "email": user.email,
            "full_name": user.name,
            "joined_at": "2024-06-10T08:00:00Z",
            "terms_consent_datetime": null,
            "default_location": {
                "address_1": place.address,
                "postal_code": place.postal_code,
                "coordinates": { "latitude": latitude, "longitude": longitude },
                "tariff": self.url("tariffs", &assets.tariff.id),
            },
            "vehicles": vehicles.map(|vehicle| self.url("vehicles", &vehicle.id)).collect::<Vec<_>>(),
            "evses": evses.map(|evse| self.url("evses", &evse.id)).collect::<Vec<_>>(),
        })
    }

    fn tariff(&self, expand: &Expand) -> Value {
        let tariff = &self.account.assets.tariff;
        // Here prices are in whole units of the currency, in intervals they are in minor units.
        let price = |price: i64| decimal(price, tariff.minor_digits() + 2);
        let clock = |minute: i64| format!("{:02}:{:02}:00", minute / 60, minute % 60);
        let (from, until) = (clock(NIGHT.0), clock(NIGHT.1));
        json!({
            "id": tariff.id,
            "url": self.url("tariffs", &tariff.id),
            "supplier": match expand.inside("supplier") {
                Some(_) => json!({
                    "id": tariff.supplier.id,
                    "url": self.url("suppliers", &tariff.supplier.id),
                    "name": tariff.supplier.name,
                    "icon": null,
                }),
                None => self.url("suppliers", &tariff.supplier.id).into(),
            },
            "name": "Quiet hours",
            "currency": tariff.currency,
            "highlighted": false,
            "type": "DUAL_RATE",
            "daily_prices": {
                "peak": { "price": price(tariff.day), "times": [{ "start": until, "end": from }] },
                "off_peak": { "price": price(tariff.night), "times": [{ "start": from, "end": until }] },
            },
            "timezone_name": PLACES[0].zone.name,
            "valid_from": "2024-04-01",
            "valid_until": null,
            "scheduler_tariff": null,
        })
    }

    /// One of the parts of a sub-session that have an address of their own, as it is without parameters.
    pub(super) fn named_part(&self, row: &SubSession, name: &str) -> Value {
        match name {
            "energy_usage" => self.usage(row, UsageRequest::default()),
            "schedules" => self.schedules(row, |_| true),
            "flags" => self.part(row, name, json!({ "flags": row.flags })),
            "debug_metadata" => self.part(row, name, Value::Object(row.debug.clone())),
            _ => self.assessment(row),
        }
    }

    fn carbon_feed(&self) -> Value {
        let feed = &self.account.assets.tariff.feed;
        json!({ "id": feed.id, "url": self.url("carbon_feeds", &feed.id), "name": feed.name })
    }

    pub(super) fn usage(&self, row: &SubSession, request: UsageRequest) -> Value {
        let mut groups: Vec<&[Slot]> = if request.merge {
            row.usage.chunk_by(|a, b| (a.wh > 0) == (b.wh > 0)).collect()
        } else {
            row.usage.chunks(1).collect()
        };
        if let Some(bound) = request.greater_than {
            groups.retain(|slots| energy(slots) > bound);
        }
        let intervals: Vec<Value> = groups.iter().map(|slots| self.interval(slots, row)).collect();
        self.part(
            row,
            "energy_usage",
            json!({
                "currency": self.account.assets.tariff.currency,
                "intervals": intervals,
                "last_updated_at": time(row.updated),
            }),
        )
    }

    fn interval(&self, slots: &[Slot], row: &SubSession) -> Value {
        let energy = energy(slots);
        let grid: i64 = slots.iter().map(Slot::grid_wh).sum();
        let mut rates: Vec<i64> = slots.iter().map(|slot| slot.price).collect();
        rates.sort_unstable();
        rates.dedup();
        json!({
            "started_at": time(slots[0].start),
            "interval_seconds": HALF_HOUR * i64::try_from(slots.len()).unwrap_or(1),
            "total_energy_delivered_watt_hours": energy,
            // What the supply meter sees, with the losses on the way to the battery.
            "meter_usage_watt_hours": row.metered.then_some(energy * 107 / 100),
            "alt_usage_watt_hours": null,
            "percentage_import": (energy > 0).then(|| grid * 100 / energy),
            // Of merged intervals this is the sum of their rates, which is no rate at all. The real thing does
            // so too.
            "electricity_cost_sub_unit": row.priced.then(|| decimal(rates.iter().sum(), 2)),
            "energy_delivered_by_price": self.by_price(slots, row.priced),
        })
    }

    /// Energy from the roof costs nothing.
    fn by_price(&self, slots: &[Slot], priced: bool) -> Value {
        let mut prices: Vec<(i64, i64)> = Vec::new();
        for slot in slots {
            for (price, wh) in [(slot.price, slot.grid_wh()), (0, slot.solar_wh)] {
                match prices.iter_mut().find(|(known, _)| *known == price) {
                    Some((_, sum)) => *sum += wh,
                    None => prices.push((price, wh)),
                }
            }
        }
        prices.retain(|(_, wh)| *wh > 0 && priced);
        let entry = |(price, wh): &(i64, i64)| json!({ "price": decimal(*price, 2), "energy_delivered_watt_hours": wh });
        match self.prices {
            PriceShape::List => prices.iter().map(entry).collect(),
            PriceShape::Object => prices.iter().max_by_key(|(_, wh)| *wh).map_or(Value::Null, entry),
        }
    }

    pub(super) fn schedules(&self, row: &SubSession, admits: impl Fn(&Value) -> bool) -> Value {
        let intervals: Vec<&Value> = row.schedule.iter().filter(|interval| admits(interval)).collect();
        self.part(row, "schedules", json!({ "schedules": intervals }))
    }

    fn assessment(&self, row: &SubSession) -> Value {
        self.part(
            row,
            "assessment",
            json!({
                "energy_delivered_to_capacity_percentage": null,
                "energy_delivery_percentage": null,
                "average_charge_rate_watts": null,
                "max_charge_rate_watts": null,
                "ratings": { "overall": "GREEN" },
                "updated_at": time(row.updated),
            }),
        )
    }

    /// A part of a sub-session: its address, the way back, and `fields`.
    fn part(&self, row: &SubSession, name: &str, fields: Value) -> Value {
        let parent = self.url("charging_sub_sessions", &row.id);
        let mut part = object(json!({ "url": format!("{parent}/{name}"), "charging_sub_session": parent }));
        part.extend(object(fields));
        part.into()
    }

    /// Shows a part with the whole sub-session in it, if that is wanted.
    pub(super) fn with_parent(&self, mut part: Value, row: &SubSession, expand: &Expand) -> Value {
        if expand.inside("charging_sub_session").is_some() {
            part["charging_sub_session"] = self.sub_session(row, &Expand::default());
        }
        part
    }

    fn url(&self, collection: &str, id: &str) -> String {
        format!("{}{collection}/{id}", self.base)
    }
}

fn energy(slots: &[Slot]) -> i64 {
    slots.iter().map(|slot| slot.wh).sum()
}

fn coordinates(place: &Place) -> (f64, f64) {
    (super::compose::degrees(place.coordinates.0), super::compose::degrees(place.coordinates.1))
}

/// Replaces the beginning of every URL in a document.
pub(super) fn rebase(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix(from) {
                *text = format!("{to}{rest}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rebase(item, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rebase(field, from, to)),
        _ => {}
    }
}
