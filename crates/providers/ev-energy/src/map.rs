//! From ev.energy's words to ours. Pure: bytes in, records out.

use bytes::Bytes;
// Nearly every word of the record is needed here.
use charging_sessions_core::{checks::known, *};
use charging_sessions_http::{self as http, Link, RawValue, webhook::Event};
use jiff::{SignedDuration, Timestamp};

use crate::{API_VERSION, PROVIDER, generated as wire};

/// Raised whenever the same payload maps to another record than before.
const MAPPING_VERSION: u32 = 1;

const LISTING: Endpoint = Endpoint::new("GET /charging_sub_sessions", Some(API_VERSION));
const SINGLE: Endpoint = Endpoint::new("GET /charging_sub_sessions/{id}", Some(API_VERSION));
const PLUG_INS: Endpoint = Endpoint::new("GET /charging_sessions", Some(API_VERSION));
const WEBHOOK: Endpoint = Endpoint::new("webhook", Some(API_VERSION));

type Record = http::Decodable<wire::ChargingSubSession>;

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
        let origin = Provenance::new(LISTING, fetched_at, MAPPING_VERSION);
        Ok(self.segments(body, &http::array(body)?, "", &origin))
    }

    /// Maps the body of `GET /charging_sub_sessions/{id}`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if the body is not JSON, [`ErrorKind::InvalidRecord`] if the record cannot be mapped.
    pub fn sub_session(&self, body: &Bytes, fetched_at: Timestamp) -> Result<ChargingSession> {
        self.only(body, http::raw(body)?, "", &Provenance::new(SINGLE, fetched_at, MAPPING_VERSION))
    }

    /// Maps the body of a webhook: a sub-session that was created or has ended. Verify it first, with
    /// [`webhook::Verifier`](charging_sessions_http::webhook::Verifier).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if the body is not an event, [`ErrorKind::Unsupported`] if it is of another kind,
    /// [`ErrorKind::InvalidRecord`] if the record in it cannot be mapped.
    pub fn event(&self, body: &Bytes, received_at: Timestamp) -> Result<ChargingSession> {
        let event = Event::read(body)?;
        if !["charging_sub_session.created", "charging_sub_session.ended"].contains(&event.kind.as_str()) {
            let message = format!("the event `{}` holds no sub-session", event.kind.escape_debug());
            return Err(Error::new(ErrorKind::Unsupported, message).with_provider(PROVIDER));
        }
        self.only(body, event.data, "/data", &Provenance::new(WEBHOOK, received_at, MAPPING_VERSION))
    }

    fn only(&self, body: &Bytes, raw: &RawValue, at: &str, origin: &Provenance) -> Result<ChargingSession> {
        let session = self.segments(body, &[raw], at, origin).into_session()?;
        session.ok_or_else(|| Error::new(ErrorKind::Protocol, "the answer holds no record"))
    }

    fn segments(&self, body: &Bytes, raw: &[&RawValue], at: &str, origin: &Provenance) -> SessionPage {
        let decoded = http::records(body, raw, at);
        decoded.sessions(
            at,
            &RecordContext::new(RecordKind::Segment, origin),
            |record: &mut wire::ChargingSubSession| record.id.take(),
            |(id, record)| self.segment(id, record, origin),
        )
    }

    /// Maps the body of `GET /charging_sessions`: each plug-in session, followed by the sub-sessions in it if they
    /// were expanded. Those that came as links are kept in `extra`.
    ///
    /// # Errors
    ///
    /// As for [`sub_sessions`](Self::sub_sessions).
    pub fn plug_ins(&self, body: &Bytes, fetched_at: Timestamp) -> Result<SessionPage> {
        let origin = Provenance::new(PLUG_INS, fetched_at, MAPPING_VERSION);
        let decoded = http::records::<wire::ChargingSession>(body, &http::array(body)?, "");
        let context = RecordContext::new(RecordKind::PlugIn, &origin);
        let (records, mut page) = decoded.identified("", &context, |record| record.id.take());
        for (id, mut record) in records {
            let at = format!("/{}/sub_sessions", record.index);
            // As they stand in it, so that each keeps its own bytes.
            let payload = record.payload.clone();
            let (parts, links) = http::list_in(&payload, "sub_sessions");
            let mut parts = self.segments(body, &parts, &at, &origin);
            let key = SessionKey::new(PROVIDER, self.account.clone(), RecordKind::PlugIn, id);
            for part in &mut parts.sessions {
                part.identity.parent = Some(key.clone());
            }
            let mut session = record.begin(key, &origin);
            session.keep("sub_sessions", links);
            time(&mut session, record.value.start, record.value.end, PeriodBasis::PlugIn);
            session.timing.plugged_in_at = session.timing.period.start;
            session.timing.unplugged_at = session.timing.period.end;
            assets(&mut session, record.value.vehicle.as_ref(), record.value.evse.as_ref());
            page.sessions.push(session);
            page.sessions.extend(parts.sessions);
            page.rejected.extend(parts.rejected);
        }
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

    fn segment(&self, id: String, mut from: Record, origin: &Provenance) -> ChargingSession {
        let key = SessionKey::new(PROVIDER, self.account.clone(), RecordKind::Segment, id);
        let mut session = from.begin(key, origin);
        let record = from.value;
        time(&mut session, record.start, record.end, PeriodBasis::Mode);
        let seconds = record.duration_minutes.and_then(|minutes| minutes.checked_mul(60));
        session.timing.charging_for = seconds.map(SignedDuration::from_secs);
        if let Some(word) = record.mode {
            mode(&mut session, word);
        }
        let currency = record.currency.as_deref().and_then(Currency::in_use);
        let minor = |amount: i64| Money::from_minor(amount, currency?);
        let cost = |amount: i64| match self.cost_unit {
            CostUnit::Minor => minor(amount),
            CostUnit::Major => Some(Money::new(amount.into(), currency?)),
        };
        let price = session.fit("cost", record.cost, cost);
        session.costs.cost = price.map(|money| Cost::new(money, CostBasis::ProviderTariff));
        session.costs.price_per_kwh =
            session.fit("cost_per_kilowatt_hour", record.cost_per_kilowatt_hour, cost);
        let saved = session.fit("savings_cost", record.savings_cost, minor);
        session.costs.savings.extend(saved.map(|saved| Saving::new(saved, SavingKind::Unknown)));
        session.costs.incentive = session.fit("incentive_earned", record.incentive_earned, minor);
        session.costs.points.earned = record.total_points;
        session.costs.points.missed = record.total_points_missed;
        // Without a currency the amounts are numbers. Those that there are have been kept as they came.
        if currency.is_none() && !session.extra.is_empty() {
            session.issues.push(Issue::no_currency("costs", "/currency", record.currency.as_deref()));
            session.keep("currency", record.currency);
        }
        let wh = Energy::from_wh;
        let energy = session.fit("energy_delivered_watt_hours", record.energy_delivered_watt_hours, wh);
        let reading = energy.map(|energy| EnergyReading::net(energy, MeasuringPoint::VehicleInlet));
        session.energy.readings.extend(reading);
        let (grid, solar) =
            (record.grid_energy_delivered_watt_hours, record.solar_energy_delivered_watt_hours);
        session.energy.sources.grid = session.fit("grid_energy_delivered_watt_hours", grid, wh);
        session.energy.sources.solar = session.fit("solar_energy_delivered_watt_hours", solar, wh);
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
        assets(&mut session, record.vehicle.as_ref(), record.evse.as_ref());
        if let Some(link) = record.tariff {
            session.parties.tariff_id = link.id_or(|tariff| tariff.id.as_deref()).map(Into::into);
            if let Link::Expanded(tariff) = link {
                session.parties.tariff_name.clone_from(&tariff.name);
                session.keep("tariff", Some(tariff));
            }
        }
        if let Some(Link::Expanded(usage)) = record.energy_usage {
            session.provenance.source_updated_at = usage.last_updated_at;
            let intervals = intervals(*usage, currency, false, &mut session.issues);
            session.set_intervals(intervals);
        }
        if let Some(Link::Expanded(metadata)) = record.debug_metadata {
            debug_metadata(&mut session, *metadata);
        }
        session.keep("flags", record.flags.and_then(Link::into_expanded));
        session.keep("schedules", record.schedules.and_then(Link::into_expanded));
        let feed = record.carbon_feed.as_ref().and_then(|feed| feed.id_or(|feed| feed.id.as_deref()));
        session.keep("carbon_feed", feed);
        session.keep("grid_feeds", record.grid_feeds.filter(|feeds| !feeds.is_empty()));
        session.keep("solar_mode_type", record.solar_mode_type);
        session.keep("grid_energy_delivered", record.grid_energy_delivered);
        session.keep("solar_energy_delivered", record.solar_energy_delivered);
        session
    }
}

/// Start and end bound a mode or a stay at the plug, by the level. They are never the flow of energy.
fn time(session: &mut ChargingSession, start: Option<Timestamp>, end: Option<Timestamp>, basis: PeriodBasis) {
    let ChargingSession { state, timing, issues, .. } = session;
    let end = known(end, "timing.period.end", "/end", issues);
    // Something may have stood there that says nothing; then the session is not known to be open either.
    let nothing_said = issues.iter().any(|issue| issue.source_path.as_deref() == Some("/end"));
    (state.status, timing.period.end_basis) = match end {
        Some(_) => (SessionStatus::Completed, EndBasis::Reported),
        None if nothing_said => (SessionStatus::Unknown, EndBasis::Unknown),
        None => (SessionStatus::Active, EndBasis::Open),
    };
    timing.period.start = known(start, "timing.period.start", "/start", issues);
    timing.period.end = end;
    timing.period.basis = basis;
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

fn assets(
    session: &mut ChargingSession,
    vehicle: Option<&Link<wire::Vehicle>>,
    charge_point: Option<&Link<wire::Evse>>,
) {
    if let Some(link) = vehicle {
        let id = link.id_or(|vehicle| vehicle.id.as_deref());
        let vehicle = session.parties.vehicle.insert(id.map(Vehicle::of).unwrap_or_default());
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
    }
    if let Some(link) = charge_point {
        let id = link.id_or(|evse| evse.id.as_deref());
        let charge_point = session.parties.charge_point.insert(id.map(ChargePoint::of).unwrap_or_default());
        if let Link::Expanded(from) = link {
            let model = from.model.as_ref().and_then(Link::expanded);
            charge_point.name.clone_from(&from.cpid);
            charge_point.model = model.and_then(|model| model.name.clone());
            charge_point.make = model.and_then(|model| model.make.as_ref()?.expanded()?.name.clone());
            session.parties.user_id = session.parties.user_id.take().or_else(|| user(from.user.as_ref()));
        }
    }
}

fn user(link: Option<&Link<wire::User>>) -> Option<String> {
    link?.id_or(|user| user.id.as_deref()).map(Into::into)
}

/// `default_currency` is the session's, for usage that names none.
fn intervals(
    usage: wire::EnergyUsage,
    default_currency: Option<Currency>,
    merged: bool,
    issues: &mut Vec<Issue>,
) -> Vec<Interval> {
    let currency = usage.currency.as_deref().map_or(default_currency, Currency::in_use);
    let mut unusable = false;
    // Prices are decimal text in the minor unit.
    let mut price = |text: &str| {
        let minor = decimal_from_str(text.trim());
        let price = minor.and_then(|minor| Money::from_minor(minor, currency?));
        unusable |= price.is_none();
        price
    };
    let mut intervals = Vec::new();
    for from in usage.intervals.unwrap_or_default() {
        let mut interval = Interval::lasting(from.started_at, from.interval_seconds);
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
    if unusable {
        let code =
            if currency.is_none() { IssueCode::MONEY_CURRENCY_MISSING } else { IssueCode::FIELD_UNREADABLE };
        issues.push(Issue::new(code, Severity::Warning).with_field("details.intervals"));
    }
    intervals.sort_by_key(|interval| interval.start);
    intervals
}

fn debug_metadata(session: &mut ChargingSession, from: wire::ChargingSubSessionDebugMetadata) {
    use {EndReason as Reason, MeasurementMethod as Method};
    let kept = serde_json::to_value(&from).ok();
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
            reading.set_method(Classified::new(class, word.as_str()));
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
    session.keep("debug_metadata", kept);
}
