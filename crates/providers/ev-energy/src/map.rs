//! From ev.energy's words to ours. Pure: bytes in, records out.

use bytes::Bytes;
// Nearly every word of the record is needed here.
use charging_sessions_core::{checks::known, *};
use charging_sessions_http::{self as http, Link};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::{API_VERSION, PROVIDER, generated as wire};

/// Raised whenever the same payload maps to another record than before.
const MAPPING_VERSION: u32 = 1;

const LISTING: Endpoint = Endpoint::new("GET /charging_sub_sessions", Some(API_VERSION));

/// What the mapping must know besides the payload.
///
/// ```
/// use charging_sessions_ev_energy::Mapping;
///
/// let body = r#"[{"id": "csub01HSH04KDEWF6Z4DB2J77J74K5", "start": "2026-06-01T20:00:00Z", "end": null}]"#;
/// let page = Mapping::default().sub_sessions(&body.into(), "2026-06-02T00:00:00Z".parse()?)?;
/// assert_eq!(page.sessions[0].key().source_id, "csub01HSH04KDEWF6Z4DB2J77J74K5");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Mapping {
    /// The account that the keys are made with.
    pub account: AccountId,
    /// The unit of `cost` and `cost_per_kilowatt_hour`.
    pub cost_unit: CostUnit,
}

/// The unit of `cost` and `cost_per_kilowatt_hour`, which ev.energy does not state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CostUnit {
    /// The minor unit, such as pence: what ev.energy states for every neighbouring amount.
    #[default]
    Minor,
    /// The major unit, such as pounds.
    Major,
}

impl Mapping {
    /// Maps the body of `GET /charging_sub_sessions`. The page has no `next`: that is in a header.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`](charging_sessions_core::ErrorKind::Protocol) if the body is not a JSON array.
    /// What is wrong with a single record is in the page.
    pub fn sub_sessions(&self, body: &Bytes, fetched_at: Timestamp) -> Result<SessionPage> {
        let records = http::array(body)?;
        let decoded = http::records::<wire::ChargingSubSession>(body, &records, "");
        let (records, rejected) = decoded.identified("", |record| record.id.take());
        let session = |(id, record): (String, http::Decodable<wire::ChargingSubSession>)| {
            let mut origin = Provenance::new(LISTING, fetched_at, MAPPING_VERSION);
            origin.payload = Some(record.payload);
            self.sub_session(id, record.value, origin, record.issues)
        };
        let mut page = SessionPage::default();
        page.sessions = records.into_iter().map(session).collect();
        page.rejected = rejected;
        Ok(page)
    }

    /// Maps the body of `GET /charging_sub_sessions/{id}/energy_usage`.
    ///
    /// `merged` says whether it was asked for with `merge_consecutive_intervals`: the price of a merged
    /// interval is a sum of prices and therefore left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`](charging_sessions_core::ErrorKind::Protocol) if the body is not such an object.
    pub fn energy_usage(&self, body: &Bytes, merged: bool) -> Result<SessionIntervals> {
        let rejected = |record: Box<RejectedRecord>| Error::new(ErrorKind::Protocol, record.reason);
        let record = http::record::<wire::EnergyUsage>(body, http::raw(body)?, "").map_err(rejected)?;
        let mut issues = record.issues;
        let mut answer = SessionIntervals::default();
        answer.updated_at = record.value.last_updated_at;
        answer.intervals = intervals(record.value, None, merged, &mut issues);
        answer.issues = issues;
        answer.payload = record.payload;
        Ok(answer)
    }

    fn sub_session(
        &self,
        id: String,
        record: wire::ChargingSubSession,
        origin: Provenance,
        issues: Vec<Issue>,
    ) -> ChargingSession {
        let key = SessionKey::new(PROVIDER, self.account.clone(), RecordKind::Segment, id);
        let mut session = ChargingSession::new(key, SessionStatus::Unknown, origin);
        session.issues = issues;
        time(&mut session, &record);
        if let Some(word) = record.mode {
            mode(&mut session, word);
        }
        let currency = record.currency.as_deref().and_then(Currency::in_use);
        let in_currency = |minor: Option<i64>| Money::from_minor(minor?, currency?);
        let cost = |amount: Option<i64>| match self.cost_unit {
            CostUnit::Minor => in_currency(amount),
            CostUnit::Major => Some(Money::new(amount?.into(), currency?)),
        };
        session.costs.cost = cost(record.cost).map(|money| Cost::new(money, CostBasis::ProviderTariff));
        session.costs.price_per_kwh = cost(record.cost_per_kilowatt_hour);
        let saved = in_currency(record.savings_cost);
        session.costs.savings =
            saved.map(|saved| Saving::new(saved, SavingKind::Unknown)).into_iter().collect();
        session.costs.incentive = in_currency(record.incentive_earned);
        session.costs.points.earned = record.total_points;
        session.costs.points.missed = record.total_points_missed;
        if currency.is_none() {
            let amounts = [
                ("cost", record.cost),
                ("cost_per_kilowatt_hour", record.cost_per_kilowatt_hour),
                ("savings_cost", record.savings_cost),
                ("incentive_earned", record.incentive_earned),
            ];
            without_currency(&mut session, record.currency, amounts);
        }

        let energy = record.energy_delivered_watt_hours;
        let energy = session.fit("energy_delivered_watt_hours", energy, Energy::from_wh);
        let reading = energy.map(|energy| EnergyReading::net(energy, MeasuringPoint::VehicleInlet));
        session.energy.readings.extend(reading);
        let grid = record.grid_energy_delivered_watt_hours;
        session.energy.sources.grid = session.fit("grid_energy_delivered_watt_hours", grid, Energy::from_wh);
        let solar = record.solar_energy_delivered_watt_hours;
        session.energy.sources.solar =
            session.fit("solar_energy_delivered_watt_hours", solar, Energy::from_wh);
        session.state_of_charge.added =
            session.fit("percentage_added", record.percentage_added, Percent::from_f64);
        session.emissions.total = record.total_co2_grams.map(Grams::from);
        session.emissions.intensity_per_kwh = record.co2_intensity_grams_per_kilowatt_hour.map(Grams::from);
        session.emissions.intensity_word = record.co2_intensity_classification;
        session.emissions.saved = record.savings_co2_grams.map(Grams::from);

        if let Some(location) = record.location {
            place(&mut session, location);
        }
        session.place.labels = record.labels.unwrap_or_default();
        if let Some(link) = record.vehicle {
            vehicle(&mut session, &link);
        }
        if let Some(link) = record.evse {
            charge_point(&mut session, &link);
        }
        if let Some(link) = record.tariff {
            session.parties.tariff_id = link.id_or(|tariff| tariff.id.as_deref()).map(Into::into);
            if let Link::Expanded(tariff) = link {
                session.parties.tariff_name.clone_from(&tariff.name);
                session.keep("tariff", Some(tariff));
            }
        }
        if let Some(Link::Expanded(usage)) = record.energy_usage {
            energy_usage(&mut session, *usage, currency);
        }
        if let Some(Link::Expanded(metadata)) = record.debug_metadata {
            debug_metadata(&mut session, *metadata);
        }
        session.keep("flags", record.flags.and_then(Link::into_expanded).and_then(|flags| flags.flags));
        session.keep(
            "schedules",
            record.schedules.and_then(Link::into_expanded).and_then(|schedules| schedules.schedules),
        );
        session.keep(
            "carbon_feed",
            record.carbon_feed.as_ref().and_then(|feed| feed.id_or(|feed| feed.id.as_deref())),
        );
        session.keep("grid_feeds", record.grid_feeds.filter(|feeds| !feeds.is_empty()));
        session.keep("solar_mode_type", record.solar_mode_type);
        session.keep("grid_energy_delivered", record.grid_energy_delivered);
        session.keep("solar_energy_delivered", record.solar_energy_delivered);
        session
    }
}

/// Start and end bound the time that a mode was active. They are neither the cable's nor the energy's.
fn time(session: &mut ChargingSession, record: &wire::ChargingSubSession) {
    let ChargingSession { state, timing, issues, .. } = session;
    // Something may have stood there that says nothing; then the session is not known to be open either.
    let before = issues.len();
    let known_end = known(record.end, "timing.period.end", "/end", issues);
    let nothing_said = issues.len() > before
        || issues.iter().any(|issue| {
            issue.code == IssueCode::FIELD_UNREADABLE && issue.source_path.as_deref() == Some("/end")
        });
    (state.status, timing.period.end_basis) = match known_end {
        Some(_) => (SessionStatus::Completed, EndBasis::Reported),
        None if nothing_said => (SessionStatus::Unknown, EndBasis::Unknown),
        None => (SessionStatus::Active, EndBasis::Open),
    };
    timing.period.start = known(record.start, "timing.period.start", "/start", issues);
    timing.period.end = known_end;
    timing.period.basis = PeriodBasis::Mode;
    let seconds = record.duration_minutes.and_then(|minutes| minutes.checked_mul(60));
    timing.charging_for = seconds.map(SignedDuration::from_secs);
}

/// The mode also says what kind of place it was, where its word does.
fn mode(session: &mut ChargingSession, word: String) {
    let (class, place) = match word.as_str() {
        "SMART" => (ChargingMode::Smart, None),
        "BOOST" => (ChargingMode::Boost, None),
        "UNMANAGED_HOME" => (ChargingMode::Unmanaged, Some(LocationCategory::Home)),
        "UNMANAGED_OTG" => (ChargingMode::Unmanaged, Some(LocationCategory::Public)),
        "MANAGED_OTG" => (ChargingMode::Smart, Some(LocationCategory::Public)),
        _ => {
            session.issues.push(Issue::unknown_word("state.mode", "/mode", &word));
            (ChargingMode::Other, None)
        }
    };
    if place.is_some() {
        session.place.location.get_or_insert_default().category = place;
    }
    session.state.mode = Some(Classified::new(class, word));
}

/// Without a currency these are numbers, not amounts. They are kept as they came.
fn without_currency(session: &mut ChargingSession, code: Option<String>, amounts: [(&str, Option<i64>); 4]) {
    if amounts.iter().any(|(_, amount)| amount.is_some()) {
        session.issues.push(Issue::no_currency("costs", "/currency", code.as_deref()));
    }
    for (name, amount) in amounts {
        session.keep(name, amount);
    }
    session.keep("currency", code);
}

fn place(session: &mut ChargingSession, from: wire::SubSessionLocation) {
    if let Some(name) = from.timezone {
        session.timing.zone = Some(Zone::new(name, ZoneSource::Provider));
    }
    let coordinates = from.coordinates.and_then(|at| Some((at.latitude?, at.longitude?)));
    let on_earth = coordinates.and_then(|(latitude, longitude)| Coordinates::new(latitude, longitude));
    if on_earth.is_none() {
        session.keep("location.coordinates", coordinates);
    }
    let location: &mut Location = session.place.location.get_or_insert_default();
    location.label = from.name;
    location.address = from.address_1.map(Sensitive::new);
    location.postal_code = from.postal_code.map(Sensitive::new);
    location.coordinates = on_earth.map(Sensitive::new);
}

fn vehicle(session: &mut ChargingSession, link: &Link<wire::Vehicle>) {
    let id = link.id_or(|vehicle| vehicle.id.as_deref());
    let mut vehicle = id.map(Vehicle::of).unwrap_or_default();
    if let Link::Expanded(from) = link {
        let trim = from.trim.as_ref().and_then(Link::expanded);
        let model = trim.and_then(|trim| trim.model.as_ref()?.expanded());
        vehicle.name = from.description.clone().filter(|text| !text.is_empty());
        vehicle.model = model.and_then(|model| model.name.clone());
        vehicle.make = model.and_then(|model| model.make.as_ref()?.expanded()?.name.clone());
        vehicle.battery_capacity = from.battery_size_watt_hours.and_then(Energy::from_wh);
        session.parties.user_id = user(from.user.as_ref());
        session.keep("vehicle.trim", trim.and_then(|trim| trim.name.as_ref()));
    }
    session.parties.vehicle = Some(vehicle);
}

fn charge_point(session: &mut ChargingSession, link: &Link<wire::Evse>) {
    let id = link.id_or(|evse| evse.id.as_deref());
    let mut charge_point = id.map(ChargePoint::of).unwrap_or_default();
    if let Link::Expanded(from) = link {
        let model = from.model.as_ref().and_then(Link::expanded);
        charge_point.name.clone_from(&from.cpid);
        charge_point.model = model.and_then(|model| model.name.clone());
        charge_point.make = model.and_then(|model| model.make.as_ref()?.expanded()?.name.clone());
        session.parties.user_id = session.parties.user_id.take().or_else(|| user(from.user.as_ref()));
    }
    session.parties.charge_point = Some(charge_point);
}

fn user(link: Option<&Link<wire::User>>) -> Option<String> {
    link?.id_or(|user| user.id.as_deref()).map(Into::into)
}

/// Intervals tell when energy flowed, which the record itself does not.
fn energy_usage(session: &mut ChargingSession, usage: wire::EnergyUsage, currency: Option<Currency>) {
    session.provenance.source_updated_at = usage.last_updated_at;
    let intervals = intervals(usage, currency, false, &mut session.issues);
    let charged =
        || intervals.iter().filter(|interval| interval.energy.is_some_and(|energy| energy > Energy::ZERO));
    session.timing.charging_started_at = charged().filter_map(|interval| interval.start).min();
    session.timing.charging_ended_at = charged().filter_map(|interval| interval.end).max();
    session.details.intervals = if intervals.is_empty() { Detail::None } else { Detail::Some(intervals) };
}

/// `default_currency` is the session's, for usage that names none.
fn intervals(
    usage: wire::EnergyUsage,
    default_currency: Option<Currency>,
    merged: bool,
    issues: &mut Vec<Issue>,
) -> Vec<Interval> {
    let currency = usage.currency.as_deref().map_or(default_currency, Currency::in_use);
    let mut unusable = None;
    // Prices are decimal text in the minor unit.
    let mut price = |text: &str| {
        let price =
            Decimal::from_str_exact(text.trim()).ok().and_then(|minor| Money::from_minor(minor, currency?));
        if price.is_none() {
            unusable.get_or_insert_with(|| text.to_owned());
        }
        price
    };
    let mut intervals = Vec::new();
    for from in usage.intervals.unwrap_or_default() {
        let mut interval = Interval::default();
        interval.start = from.started_at;
        interval.end = from
            .started_at
            .and_then(|start| start.checked_add(SignedDuration::from_secs(from.interval_seconds?)).ok());
        interval.energy = from.total_energy_delivered_watt_hours.and_then(Energy::from_wh);
        interval.supply_energy = from.meter_usage_watt_hours.and_then(Energy::from_wh);
        interval.unsteered_energy = from.alt_usage_watt_hours.and_then(Energy::from_wh);
        interval.grid_share = from.percentage_import.map(Percent::from);
        for part in from.energy_delivered_by_price.iter().flat_map(|parts| parts.iter()) {
            let energy = part.energy_delivered_watt_hours.and_then(Energy::from_wh);
            let price = part.price.as_deref().and_then(&mut price);
            interval.prices.extend(price.zip(energy).map(|(price, energy)| PricedEnergy::new(price, energy)));
        }
        // In a merged interval this is the sum of the distinct prices, which is the price of nothing.
        interval.price_per_kwh =
            from.electricity_cost_sub_unit.as_deref().filter(|_| !merged).and_then(&mut price);
        intervals.push(interval);
    }
    if let Some(text) = unusable {
        let code =
            if currency.is_none() { IssueCode::MONEY_CURRENCY_MISSING } else { IssueCode::FIELD_UNREADABLE };
        issues.push(
            Issue::new(code, Severity::Warning)
                .with_field("details.intervals")
                .with_observed(format!("price {text:?}")),
        );
    }
    intervals.sort_by_key(|interval| interval.start);
    intervals
}

fn debug_metadata(session: &mut ChargingSession, from: wire::ChargingSubSessionDebugMetadata) {
    use {EndReason as Reason, MeasurementMethod as Method};
    if let Some(word) = from.energy_usage_calculation_method {
        let class = match word.as_str() {
            "METERED" => Method::Metered,
            "METERED_CHARGE_RATE" | "ESTIMATED_CHARGE_RATE" => Method::Integrated,
            "ESTIMATED_CHARGE_LEVEL" | "ESTIMATED_CHARGE_LEVEL_WITH_INFERENCE" => Method::FromStateOfCharge,
            "ESTIMATED_CHARGE_ENERGY_ADDED" | "BETA_ESTIMATED_CHARGE_ENERGY_ADDED" => Method::Estimated,
            "MANUAL_ENTRY" => Method::Manual,
            _ => Method::Unknown,
        };
        for reading in &mut session.energy.readings {
            *reading = reading.clone().with_method(Classified::new(class, word.as_str()));
        }
    }
    if let Some(word) = from.finish_reason {
        let class = match word.as_str() {
            "EVSE_DISCONNECT" => Reason::Unplugged,
            "BOOST_START" | "SMART_CHARGE_ENABLED" | "SMART_CHARGE_DISABLED" | "SOLAR_SETTINGS" => {
                Reason::ModeChanged
            }
            "ADMIN_ACTION" | "INVALIDATE_ACCOUNT" | "REMOVE_INTEGRATION" | "EVSE_UNPAIR" => Reason::Remote,
            _ => Reason::Other,
        };
        session.state.end_reason = Some(Classified::new(class, word));
    }
    if from.is_energy_delivered_capped == Some(true) {
        let mut issue = Issue::new(IssueCode::ENERGY_CAPPED, Severity::Info).with_field("energy.readings");
        let uncapped = from.uncapped_energy_delivered_watt_hours.and_then(Energy::from_wh);
        issue.observed = uncapped.map(|energy| format!("{energy} before capping"));
        session.issues.push(issue);
    }
    session.keep("uncapped_energy_delivered_watt_hours", from.uncapped_energy_delivered_watt_hours);
    session.keep("start_reason", from.start_reason);
    session.keep("energy_usage_interpolation_method", from.energy_usage_interpolation_method);
    session.keep("solar_integration_type", from.solar_integration_type);
}
