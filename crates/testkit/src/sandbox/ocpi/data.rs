//! What was charged, as OCPI 2.2.1 writes it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Module, dirt};
use crate::sandbox::random::Random;

pub(super) const COUNTRY: &str = "BE";
pub(super) const PARTY: &str = "BEC";

/// What to invent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) now: i64,
    pub(super) days: u32,
    pub(super) charges: Option<u32>,
    pub(super) dirt: bool,
}

/// Records of both modules, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) sessions: Vec<Map<String, Value>>,
    pub(super) cdrs: Vec<Map<String, Value>>,
}

/// Where one can charge.
pub(super) struct Place {
    pub(super) id: &'static str,
    name: &'static str,
    address: &'static str,
    city: &'static str,
    postal_code: &'static str,
    latitude: &'static str,
    longitude: &'static str,
    pub(super) evse_uid: &'static str,
    evse_id: &'static str,
    watts: i64,
}

pub(super) const PLACES: [Place; 3] = [
    Place {
        id: "loc-market",
        name: "Market Square",
        address: "Voorbeeldstraat 1",
        city: "Gent",
        postal_code: "9000",
        latitude: "51.053",
        longitude: "3.723",
        evse_uid: "evse-1",
        evse_id: "BE*BEC*E0001",
        watts: 11_000,
    },
    Place {
        id: "loc-station",
        name: "Station",
        address: "Voorbeeldlaan 20",
        city: "Brugge",
        postal_code: "8000",
        latitude: "51.197",
        longitude: "3.218",
        evse_uid: "evse-2",
        evse_id: "BE*BEC*E0002",
        watts: 22_000,
    },
    Place {
        id: "loc-home",
        name: "At home",
        address: "Voorbeeldweg 300",
        city: "Aalst",
        postal_code: "9300",
        latitude: "50.937",
        longitude: "4.039",
        evse_uid: "evse-3",
        evse_id: "BE*BEC*E0003",
        watts: 7_400,
    },
];

/// Ten-thousandths as a number.
fn fraction(ten_thousandths: i64) -> f64 {
    ten_thousandths as f64 / 10_000.0
}

pub(super) fn text(second: i64) -> String {
    Timestamp::from_second(second).expect("a second of our time").to_string()
}

impl Account {
    pub(super) fn invent(plan: &Plan) -> Self {
        let mut account = Self::default();
        let starts: Vec<i64> = match plan.charges {
            // Evenly over the days, however many they are.
            Some(charges) => {
                let span = i64::from(plan.days) * 86_400;
                (0..i64::from(charges))
                    .map(|turn| plan.now - span + turn * span / i64::from(charges))
                    .collect()
            }
            None => (0..i64::from(plan.days))
                .flat_map(|day| {
                    let mut random = Random::new(&[plan.seed, day.unsigned_abs(), 1]);
                    let count = random.between(1, 3);
                    let begin = plan.now - (i64::from(plan.days) - day) * 86_400;
                    let mut starts: Vec<_> = (0..count).map(|_| begin + random.between(0, 70_000)).collect();
                    starts.sort_unstable();
                    starts
                })
                .collect(),
        };
        for (turn, start) in starts.iter().enumerate() {
            account.charge(plan, turn as u64, *start);
        }
        if plan.charges.is_none() {
            account.exceptions(plan);
        }
        if plan.dirt {
            dirt::soil(&mut account);
        }
        account
    }

    pub(super) fn list(&self, module: Module) -> &Vec<Map<String, Value>> {
        match module {
            Module::Sessions => &self.sessions,
            Module::Cdrs => &self.cdrs,
        }
    }

    pub(super) fn list_mut(&mut self, module: Module) -> &mut Vec<Map<String, Value>> {
        match module {
            Module::Sessions => &mut self.sessions,
            Module::Cdrs => &mut self.cdrs,
        }
    }

    fn charge(&mut self, plan: &Plan, turn: u64, start: i64) {
        let mut random = Random::new(&[plan.seed, turn, 2]);
        let place = &PLACES[random.weighted(&[5, 3, 2])];
        let charging = random.between(1200, 12_000);
        let parked = random.between(0, 5) * 600;
        let end = (start + charging + parked).min(plan.now - 1);
        let seconds = end - start;
        let parked = parked.min(seconds / 2);
        // In tenths of a watt-hour.
        let energy = place.watts * (seconds - parked) * 10 / 3600 * random.between(60, 98) / 100;
        let first = energy * 6 / 10;
        let middle = start + (seconds - parked) / 2;
        let mut periods = vec![
            period(
                start,
                &[
                    ("ENERGY", first),
                    ("TIME", (middle - start) * 10_000 / 3600),
                    ("MAX_POWER", place.watts * 10),
                ],
            ),
            period(middle, &[("ENERGY", energy - first), ("TIME", (end - parked - middle) * 10_000 / 3600)]),
        ];
        if parked > 0 {
            periods.push(period(end - parked, &[("PARKING_TIME", parked * 10_000 / 3600)]));
        }
        let token = json!({
            "country_code": "NL", "party_id": "TNM", "uid": format!("0400{:04}", random.below(4)),
            "type": "RFID", "contract_id": format!("NL-TNM-C0000000{}-X", random.below(4)),
        });
        let auth_method = *random.pick(&["WHITELIST", "AUTH_REQUEST", "COMMAND"]);
        // In ten-thousandths of a euro.
        let energy_cost = energy * 3_900 / 10_000;
        let parking_cost = parked * 500 / 60;
        let fixed_cost = 3_500;
        let total = energy_cost + parking_cost + fixed_cost;
        let (id, updated) = (format!("S{turn:05}-{}", random.word(6)), end + random.between(2, 90));
        let session = json!({
            "country_code": COUNTRY, "party_id": PARTY, "id": id,
            "start_date_time": text(start), "end_date_time": text(end), "kwh": fraction(energy),
            "cdr_token": token, "auth_method": auth_method, "location_id": place.id,
            "evse_uid": place.evse_uid, "connector_id": "1", "meter_id": format!("M-{}", place.evse_uid),
            "currency": "EUR", "charging_periods": periods, "total_cost": price(total),
            "status": "COMPLETED", "last_updated": text(updated),
        });
        self.sessions.push(map(session));
        let mut cdr = json!({
            "country_code": COUNTRY, "party_id": PARTY, "id": format!("C{turn:05}-{}", random.word(6)),
            "start_date_time": text(start), "end_date_time": text(end), "session_id": id,
            "cdr_token": token, "auth_method": auth_method, "cdr_location": location(place),
            "meter_id": format!("M-{}", place.evse_uid), "currency": "EUR",
            "tariffs": [{"id": "T-1", "currency": "EUR", "elements": [{"price_components": [{"type": "ENERGY", "price": 0.39, "vat": 21, "step_size": 1}]}]}],
            "charging_periods": periods, "total_cost": price(total), "total_fixed_cost": price(fixed_cost),
            "total_energy": fraction(energy), "total_energy_cost": price(energy_cost),
            "total_time": fraction(seconds * 10_000 / 3600), "total_parking_time": fraction(parked * 10_000 / 3600),
            "total_parking_cost": price(parking_cost), "last_updated": text(updated + random.between(1, 600)),
        });
        if turn % 7 == 3 {
            cdr["signed_data"] = json!({
                "encoding_method": "OCMF", "encoding_method_version": 1, "public_key": "3059301306072A86",
                "signed_values": [
                    {"nature": "Start", "plain_data": "OCMF|{\"RD\":[{\"RV\":0.00}]}", "signed_data": "{\"SD\":\"00\"}"},
                    {"nature": "End", "plain_data": "OCMF|{\"RD\":[{\"RV\":1.50}]}", "signed_data": "{\"SD\":\"01\"}"},
                ],
                "url": "https://check.example/",
            });
        }
        if place.id == "loc-home" {
            cdr["home_charging_compensation"] = true.into();
        }
        if turn % 5 == 2 {
            cdr["remark"] = "Thank you".into();
            cdr["invoice_reference_id"] = "INV-1".into();
            cdr["authorization_reference"] = format!("AR-{turn}").into();
        }
        self.cdrs.push(map(cdr));
    }

    /// What is not a charge that ended and was billed once.
    fn exceptions(&mut self, plan: &Plan) {
        let count = self.sessions.len();
        let Some(last) = self.sessions.last().cloned() else { return };
        let state = |turn: &str, status: &str, start: i64| {
            let mut session = last.clone();
            session.insert("id".into(), format!("S-{turn}").into());
            session.insert("status".into(), status.into());
            session.insert("start_date_time".into(), text(start).into());
            session.insert("last_updated".into(), text(start + 60).into());
            session.remove("end_date_time");
            session.remove("total_cost");
            session.insert("kwh".into(), 0.into());
            session.insert("charging_periods".into(), json!([]));
            session
        };
        let mut active = state("active", "ACTIVE", plan.now - 3600);
        active.insert("kwh".into(), json!(4.2));
        let dimensions = [("ENERGY", 42_000), ("STATE_OF_CHARGE", 550_000)];
        active.insert("charging_periods".into(), json!([period(plan.now - 3600, &dimensions)]));
        self.sessions.push(active);
        self.sessions.push(state("pending", "PENDING", plan.now - 900));
        self.sessions.push(state("reserved", "RESERVATION", plan.now - 1800));
        self.sessions.push(state("invalid", "INVALID", plan.now - 7200));
        // A charge that gave energy back at its end.
        if let Some(given) = self.cdrs.get_mut(count / 3) {
            let energy = given["total_energy"].as_f64().unwrap_or_default();
            let start = given["charging_periods"][0]["start_date_time"].clone();
            given.insert("total_energy".into(), json!(fraction((energy * 10_000.0) as i64 - 20_000)));
            let back = json!({"start_date_time": given["end_date_time"], "dimensions": [{"type": "ENERGY", "volume": -2}]});
            if let Some(periods) = given.get_mut("charging_periods").and_then(Value::as_array_mut) {
                periods.push(back);
                periods[0]["start_date_time"] = start;
            }
        }
        // A record that is taken back, and billed anew.
        let Some(wrong) = self.cdrs.get(count / 2).cloned() else { return };
        let total = wrong["total_cost"]["excl_vat"].as_f64().unwrap_or_default();
        let total = (total * 10_000.0).round() as i64;
        let made = plan.now - 5400;
        let mut credit = wrong.clone();
        credit.insert("id".into(), format!("{}-C", wrong["id"].as_str().unwrap_or_default()).into());
        credit.insert("credit".into(), true.into());
        credit.insert("credit_reference_id".into(), wrong["id"].clone());
        credit.insert("total_cost".into(), price(-total));
        credit.insert("last_updated".into(), text(made).into());
        self.cdrs.push(credit);
        let mut right = wrong.clone();
        right.insert("id".into(), format!("{}-2", wrong["id"].as_str().unwrap_or_default()).into());
        right.insert("total_fixed_cost".into(), price(0));
        right.insert("total_cost".into(), price(total - 3_500));
        right.insert("last_updated".into(), text(made + 1).into());
        self.cdrs.push(right);
    }
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn period(start: i64, dimensions: &[(&str, i64)]) -> Value {
    let dimensions: Vec<_> =
        dimensions.iter().map(|(word, volume)| json!({"type": word, "volume": fraction(*volume)})).collect();
    json!({"start_date_time": text(start), "dimensions": dimensions, "tariff_id": "T-1"})
}

/// With 21 percent of VAT.
fn price(ten_thousandths: i64) -> Value {
    json!({"excl_vat": fraction(ten_thousandths), "incl_vat": fraction(ten_thousandths * 121 / 100)})
}

fn location(place: &Place) -> Value {
    json!({
        "id": place.id, "name": place.name, "address": place.address, "city": place.city,
        "postal_code": place.postal_code, "country": "BEL",
        "coordinates": {"latitude": place.latitude, "longitude": place.longitude},
        "evse_uid": place.evse_uid, "evse_id": place.evse_id, "connector_id": "1",
        "connector_standard": "IEC_62196_T2", "connector_format": "SOCKET", "connector_power_type": "AC_3_PHASE",
    })
}

/// The location of a session, as 2.2.1 writes it in a record of what was billed.
pub(super) fn location_of(id: &str) -> Option<Value> {
    PLACES.iter().find(|place| place.id == id).map(location)
}
