//! From OCPI's words to ours. Pure: bytes in, records out.

use bytes::Bytes;
// Nearly every word of the record is needed here.
use charging_sessions_core::{checks::known, *};
use charging_sessions_http::{self as http, RawValue};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    Module, PROVIDER, Version,
    common::{Price, Record},
    envelope, generated as wire,
};

/// Raised whenever the same payload maps to another record than before.
const MAPPING_VERSION: u32 = 1;

/// How many fields that no version knows are kept of a record. There are a handful, or somebody means harm.
const MOST_UNKNOWN: usize = 64;

/// What the mapping must know besides the payload.
///
/// ```
/// use charging_sessions_ocpi::{Mapping, Module, Version};
///
/// let body = r#"{"status_code": 1000, "data": [{"country_code": "BE", "party_id": "BEC", "id": "C1"}]}"#;
/// let mapping = Mapping::new(Module::Cdrs, Version::V2_2_1);
/// let page = mapping.page(&body.into(), "2026-06-02T00:00:00Z".parse()?)?;
/// assert_eq!(page.sessions[0].key().source_id, "be*bec*c1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mapping {
    /// The account that the keys are made with.
    pub account: AccountId,
    /// What the records are.
    pub module: Module,
    /// How they are written.
    pub version: Version,
}

/// A page, and the identifiers as they stand in it, mapped or not: what is needed to see that nothing was skipped.
pub(crate) type Listed = (SessionPage, Vec<Option<String>>);

impl Mapping {
    /// Of the default account.
    pub fn new(module: Module, version: Version) -> Self {
        Self { account: AccountId::default(), module, version }
    }

    /// Maps the body of a list of sessions or of charge detail records. The page has no `next`: that is in the
    /// headers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if the body is not such a list, and what its `status_code` stands for if that is no
    /// success. What is wrong with a single record is in the page.
    pub fn page(&self, body: &Bytes, fetched_at: Timestamp) -> Result<SessionPage> {
        self.listed(body, fetched_at).map(|(page, _)| page)
    }

    pub(crate) fn listed(&self, body: &Bytes, fetched_at: Timestamp) -> Result<Listed> {
        let raw = envelope::records(body)?;
        let operation = if self.module == Module::Cdrs { "GET cdrs" } else { "GET sessions" };
        let endpoint = Endpoint::new(operation, Some(self.version.as_str()));
        let origin = Provenance::new(endpoint, fetched_at, MAPPING_VERSION);
        Ok(match (self.module, self.version) {
            (Module::Sessions, Version::V2_1_1) => self.read::<wire::Session211>(body, &raw, &origin),
            (Module::Sessions, Version::V2_2_1) => self.read::<wire::Session221>(body, &raw, &origin),
            (Module::Sessions, Version::V2_3_0) => self.read::<wire::Session230>(body, &raw, &origin),
            (Module::Cdrs, Version::V2_1_1) => self.read::<wire::Cdr211>(body, &raw, &origin),
            (Module::Cdrs, Version::V2_2_1) => self.read::<wire::Cdr221>(body, &raw, &origin),
            (Module::Cdrs, Version::V2_3_0) => self.read::<wire::Cdr230>(body, &raw, &origin),
        })
    }

    fn read<T>(&self, body: &Bytes, raw: &[&RawValue], origin: &Provenance) -> Listed
    where
        T: DeserializeOwned + Default + Serialize + Into<Record>,
    {
        let known = serde_json::to_value(T::default()).unwrap_or_default();
        let http::Decoded { records, rejected, .. } = http::records::<T>(body, raw, "/data");
        let mut ids = vec![None; raw.len()];
        let mut page = SessionPage::default();
        let context = RecordContext::new(self.module.kind(), origin);
        page.rejected.extend(rejected.into_iter().map(|record| record.with_context(&context)));
        for mut record in records {
            let from: Record = std::mem::take(&mut record.value).into();
            let Some(id) = given(from.id.as_deref()) else {
                let (path, why) = (format!("/data/{}/id", record.index), "the record has no usable `id`");
                let rejected = RejectedRecord::new(IssueCode::ID_MISSING, path, why, record.payload);
                page.rejected.push(rejected.with_context(&context));
                continue;
            };
            let key = self.key(&from, self.module.kind(), id);
            ids[record.index] = Some(key.source_id.clone());
            let unknown = http::unknown(&record.payload, &known, MOST_UNKNOWN);
            let mut session = record.begin(key, origin);
            session.extra.extend(unknown);
            self.session(&mut session, from);
            page.sessions.push(session);
        }
        (page, ids)
    }

    /// The key of a record of the same party. Identifiers differ in more than case, and an owner's are unique for it
    /// alone; 2.1.1 knows no owner.
    fn key(&self, from: &Record, kind: RecordKind, id: &str) -> SessionKey {
        let owner = given(from.country_code.as_deref()).zip(given(from.party_id.as_deref()));
        let id = owner.map_or_else(|| id.to_owned(), |(country, party)| format!("{country}*{party}*{id}"));
        SessionKey::new(PROVIDER, self.account.clone(), kind, id.to_ascii_lowercase())
    }

    fn session(&self, session: &mut ChargingSession, mut from: Record) {
        let credits = from.credit == Some(true);
        relations(self, session, &from, credits);
        // As they were written, since the key has lost their case.
        for (name, text) in
            [("country_code", &from.country_code), ("party_id", &from.party_id), ("id", &from.id)]
        {
            let written = given(text.as_deref()).filter(|text| text.bytes().any(|b| b.is_ascii_uppercase()));
            session.keep(name, written);
        }
        state(session, self.module, from.status.take());
        time(session, &from);
        let intervals = periods(session, &from);
        session.set_intervals(intervals);
        energy(session, &from, credits);
        costs(session, &mut from, credits);
        place(session, from.place);
        session.timing.zone =
            given(from.time_zone.as_deref()).map(|name| Zone::new(name, ZoneSource::Provider));
        session.energy.registers.meter_id = given(from.meter_id.as_deref()).map(Into::into);
        if let Some(token) = from.token {
            session.keep("cdr_token.country_code", given(token.country_code.as_deref()));
            session.keep("cdr_token.party_id", given(token.party_id.as_deref()));
            let kept = session.parties.token.get_or_insert_default();
            kept.uid = token.uid.filter(|uid| given(Some(uid)).is_some()).map(Sensitive::new);
            kept.kind = token.type_;
            kept.contract_id = given(token.contract_id.as_deref()).map(Into::into);
        }
        if from.home_charging_compensation == Some(true) {
            session.place.location.get_or_insert_default().category = Some(LocationCategory::Home);
        }
        session.keep("home_charging_compensation", from.home_charging_compensation);
        for (name, text) in [
            ("auth_method", &from.auth_method),
            ("authorization_reference", &from.authorization_reference),
            ("invoice_reference_id", &from.invoice_reference_id),
            ("remark", &from.remark),
        ] {
            session.keep(name, given(text.as_deref()));
        }
        signed(session, from.signed_data);
        let updated = from.last_updated.as_deref();
        session.provenance.source_updated_at =
            instant(updated, "provenance.source_updated_at", "/last_updated", &mut session.issues);
    }
}

/// What the text says. `#NA` stands for an identifier that does not exist.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty() && *text != "#NA")
}

fn relations(mapping: &Mapping, session: &mut ChargingSession, from: &Record, credits: bool) {
    let other = given(from.session_id.as_deref());
    session.identity.parent = other.map(|id| mapping.key(from, Module::Sessions.kind(), id));
    if let Some(id) = given(from.credit_reference_id.as_deref()) {
        let key = mapping.key(from, Module::Cdrs.kind(), id);
        // Without the mark, it only says that the two belong together.
        let kind = if credits { RelationKind::Credits } else { RelationKind::Other };
        session.identity.related.push(Relation::new(key, kind));
    }
    session.keep("credit", from.credit);
}

fn state(session: &mut ChargingSession, module: Module, word: Option<String>) {
    session.state.status = match (module, word.as_deref().map(str::to_ascii_uppercase).as_deref()) {
        (Module::Cdrs, _) | (_, Some("COMPLETED")) => SessionStatus::Completed,
        (_, Some("ACTIVE")) => SessionStatus::Active,
        (_, Some("INVALID")) => SessionStatus::Invalid,
        (_, Some("PENDING")) => SessionStatus::Pending,
        (_, Some("RESERVATION")) => SessionStatus::Reserved,
        (_, Some(_)) => {
            let word = word.as_deref().unwrap_or_default();
            session.issues.push(Issue::unknown_word("state.status", "/status", word));
            SessionStatus::Unknown
        }
        (_, None) => SessionStatus::Unknown,
    };
    session.state.status_word = word;
}

/// Authorised from then to then; nothing is said of the cable.
fn time(session: &mut ChargingSession, from: &Record) {
    let ChargingSession { state, timing, issues, .. } = session;
    timing.period.start =
        instant(from.start.text.as_deref(), "timing.period.start", from.start.pointer, issues);
    timing.period.end = instant(from.end.text.as_deref(), "timing.period.end", from.end.pointer, issues);
    timing.period.basis = PeriodBasis::Authorisation;
    timing.period.end_basis = match (timing.period.end, state.status) {
        (Some(_), _) => EndBasis::Reported,
        (None, SessionStatus::Active | SessionStatus::Pending | SessionStatus::Reserved)
            if from.end.text.is_none() =>
        {
            EndBasis::Open
        }
        (None, _) => EndBasis::Unknown,
    };
    let total = session.fit("total_time", from.total_time, hours);
    let parking = session.fit("total_parking_time", from.total_parking_time, hours);
    session.timing.connected_for = total;
    // What the two mean by the standard: neither says alone how long energy flowed.
    let charging = total.zip(parking).and_then(|(total, parking)| total.checked_sub(parking));
    session.timing.charging_for = charging.filter(|length| !length.is_negative());
}

/// Hours, to the millisecond.
fn hours(hours: f64) -> Option<SignedDuration> {
    let millis = decimal_from_f64(hours)?.checked_mul(Decimal::from(3_600_000))?.round().to_i64()?;
    Some(SignedDuration::from_millis(millis)).filter(|length| !length.is_negative())
}

/// An instant as it is written here and there: without a zone it is in UTC.
fn instant(text: Option<&str>, field: &str, pointer: &str, issues: &mut Vec<Issue>) -> Option<Timestamp> {
    let text = given(text)?;
    let Some(instant) = http::utc(text) else {
        let issue = Issue::new(IssueCode::FIELD_UNREADABLE, Severity::Warning).with_field(field);
        issues.push(issue.with_source_path(pointer).with_observed("string"));
        return None;
    };
    known(Some(instant), field, pointer, issues)
}

/// Each ends where the next begins, and the last one with the session.
fn periods(session: &mut ChargingSession, from: &Record) -> Vec<Interval> {
    const AT: &str = "/charging_periods";
    let mut strange = None;
    let mut intervals = Vec::new();
    for period in from.charging_periods.iter().flatten() {
        let mut interval = Interval::default();
        let start = period.start_date_time.as_deref();
        interval.start = instant(start, "details.intervals", AT, &mut session.issues);
        for dimension in period.dimensions.iter().flatten() {
            let Some(volume) = dimension.volume.and_then(decimal_from_f64) else { continue };
            let word = dimension.type_.as_deref().unwrap_or_default();
            match word.to_ascii_uppercase().as_str() {
                "ENERGY" => interval.energy = Energy::from_kwh(volume),
                "MAX_POWER" => interval.max_power = interval.max_power.max(Power::from_kw(volume)),
                "STATE_OF_CHARGE" => interval.state_of_charge = Some(Percent::new(volume)),
                // Times and currents, for which an interval has no place.
                "CURRENT" | "ENERGY_EXPORT" | "ENERGY_IMPORT" | "FLAT" | "MAX_CURRENT" | "MIN_CURRENT"
                | "MIN_POWER" | "PARKING_TIME" | "POWER" | "RESERVATION_TIME" | "TIME" => {}
                _ => strange = strange.or_else(|| dimension.type_.clone()),
            }
        }
        intervals.push(interval);
    }
    if let Some(word) = strange {
        session.issues.push(Issue::unknown_word("details.intervals", AT, &word));
    }
    intervals.sort_by_key(|interval| interval.start);
    let starts: Vec<_> = intervals.iter().skip(1).map(|interval| interval.start).collect();
    let ends = starts.into_iter().chain([session.timing.period.end]);
    // What begins nowhere, or after what follows it, has no length.
    for (interval, end) in intervals.iter_mut().zip(ends) {
        interval.end = end.filter(|end| interval.start.is_some_and(|start| start <= *end));
    }
    session.power.max = intervals.iter().filter_map(|interval| interval.max_power).max();
    let mut charge = intervals.iter().filter_map(|interval| interval.state_of_charge);
    (session.state_of_charge.start, session.state_of_charge.end) = match (charge.next(), charge.next_back()) {
        (first, Some(last)) => (first, Some(last)),
        (only, None) => (None, only),
    };
    intervals
}

fn energy(session: &mut ChargingSession, from: &Record, credits: bool) {
    let (name, kwh) = from.energy;
    if credits {
        // It repeats what the other record billed. No energy flowed a second time, and none flowed back.
        return session.keep(name, kwh);
    }
    let figure = session.fit(name, kwh, |kwh| Energy::from_kwh(decimal_from_f64(kwh)?));
    let Some(figure) = figure else { return };
    let intervals = session.details.intervals.as_ref().map(Vec::as_slice).unwrap_or_default();
    let gives = |interval: &Interval| interval.energy.is_some_and(Energy::is_negative);
    let mut reading = if figure.is_negative() || intervals.iter().any(gives) {
        EnergyReading::net(figure, MeasuringPoint::EvseOutput)
    } else {
        EnergyReading::import(figure, MeasuringPoint::EvseOutput)
    };
    if let Some(word) = from.signed_data.as_ref().and_then(|signed| signed.encoding_method.as_deref()) {
        reading.set_method(Classified::new(MeasurementMethod::SignedMeter, word));
    }
    session.energy.readings.push(reading);
}

fn costs(session: &mut ChargingSession, from: &mut Record, credits: bool) {
    let currency = from.currency.as_deref().and_then(Currency::in_use);
    let money = |amount: f64| Some(Money::new(decimal_from_f64(amount)?, currency?));
    let total = from.total_cost.take().unwrap_or_default();
    let is_billed = session.key().kind == RecordKind::BillingRecord;
    let basis = if is_billed { CostBasis::Billed } else { CostBasis::ProviderTariff };
    let (amount, tax) = net_or_gross(&total);
    let amount = session.fit("total_cost", amount, money);
    session.costs.cost = amount.map(|money| Cost::new(money, basis).with_tax(tax));
    for (name, kind, part) in &from.parts {
        let Some(part) = part else { continue };
        let (amount, tax) = net_or_gross(part);
        if credits {
            // Only the total is taken back; the parts repeat the other record's, and would add up to its cost.
            session.keep(name, amount);
            continue;
        }
        let amount = session.fit(name, amount, money);
        session.costs.components.extend(amount.map(|money| CostComponent::new(*kind, money).with_tax(tax)));
    }
    taxes(session, &total, money);
    // Without a currency the amounts are numbers, which have been kept as they came.
    if currency.is_none() && total.net.or(total.gross).is_some() {
        let code = from.currency.as_deref();
        session.issues.push(Issue::no_currency("costs", "/currency", code));
        session.keep("currency", from.currency.take());
    }
    let tariff = from.tariffs.iter().flatten().find_map(|tariff| given(tariff.id.as_deref()));
    let of_period =
        || from.charging_periods.iter().flatten().find_map(|period| given(period.tariff_id.as_deref()));
    session.parties.tariff_id = tariff.or_else(of_period).map(Into::into);
}

/// Net, if that is given, because it is what all versions can say.
fn net_or_gross(price: &Price) -> (Option<f64>, TaxBasis) {
    match price.net {
        Some(net) => (Some(net), TaxBasis::Excluded),
        None => (price.gross, TaxBasis::Included),
    }
}

fn taxes(session: &mut ChargingSession, total: &Price, money: impl Fn(f64) -> Option<Money>) {
    let mut amounts: Vec<_> = total.taxes.iter().filter_map(|tax| money(tax.amount?)).collect();
    if let (Some(net), Some(gross)) = (total.net.and_then(&money), total.gross.and_then(&money)) {
        amounts.extend(gross.amount.checked_sub(net.amount).map(|tax| Money::new(tax, net.currency)));
    }
    let components = amounts.into_iter().map(|tax| CostComponent::new(CostComponentKind::Tax, tax));
    session.costs.components.extend(components);
    let named: Vec<_> = total.taxes.iter().map(|tax| json!(tax)).collect();
    session.keep("total_cost.taxes", Some(named).filter(|named| !named.is_empty()));
}

fn place(session: &mut ChargingSession, from: wire::CdrLocation) {
    for (name, text) in [
        ("location_id", &from.id),
        ("location.city", &from.city),
        ("location.state", &from.state),
        ("location.country", &from.country),
        ("connector_standard", &from.connector_standard),
        ("connector_format", &from.connector_format),
        ("connector_power_type", &from.connector_power_type),
    ] {
        session.keep(name, given(text.as_deref()));
    }
    let (evse_uid, evse_id) = (given(from.evse_uid.as_deref()), given(from.evse_id.as_deref()));
    let connector_id = given(from.connector_id.as_deref());
    if evse_uid.or(evse_id).or(connector_id).is_some() {
        let charge_point = session.parties.charge_point.get_or_insert_default();
        charge_point.source_id = evse_uid.map(Into::into);
        charge_point.evse_id = evse_id.map(Into::into);
        charge_point.connector_id = connector_id.map(Into::into);
    }
    let sensitive = |text: Option<&str>| given(text).map(|text| Sensitive::new(text.to_owned()));
    let degrees = |text: Option<String>| text?.trim().parse::<f64>().ok();
    let written = from.coordinates.unwrap_or_default();
    let at = degrees(written.latitude.clone()).zip(degrees(written.longitude.clone()));
    let at = at.and_then(|(latitude, longitude)| Coordinates::new(latitude, longitude));
    if at.is_none() {
        let unusable = written.latitude.is_some() || written.longitude.is_some();
        session.keep("location.coordinates", unusable.then_some(written));
    }
    let mut location = Location::default();
    location.label = given(from.name.as_deref()).map(Into::into);
    location.address = sensitive(from.address.as_deref());
    location.postal_code = sensitive(from.postal_code.as_deref());
    location.coordinates = at.map(Sensitive::new);
    session.place.location = Some(location).filter(|location| *location != Location::default());
}

/// Byte for byte: a program that checks signatures reads them again.
fn signed(session: &mut ChargingSession, from: Option<wire::SignedData>) {
    let Some(from) = from else { return };
    session.keep("signed_data.encoding_method_version", from.encoding_method_version);
    session.keep("signed_data.url", given(from.url.as_deref()));
    for value in from.signed_values.unwrap_or_default() {
        let mut record = SignedRecord::default();
        record.encoding.clone_from(&from.encoding_method);
        record.public_key.clone_from(&from.public_key);
        record.nature = value.nature;
        record.plain = value.plain_data.unwrap_or_default().into_bytes();
        record.signature = value.signed_data.unwrap_or_default().into_bytes();
        session.details.signed.push(record);
    }
}
