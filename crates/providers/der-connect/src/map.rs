//! From DER-Connect's words to ours. Pure: bytes in, records out.

use bytes::Bytes;
// Nearly every word of the record is needed here.
use charging_sessions_core::{checks::known, *};
use charging_sessions_http::{self as http, RawRecords, RawValue};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;

use crate::{API_VERSION, PROVIDER, generated as wire};

/// Raised whenever the same payload maps to another record than before.
const MAPPING_VERSION: u32 = 1;

const LISTING: Endpoint = Endpoint::new("GET /entities/{id}/charge-sessions", Some(API_VERSION));

/// What the mapping must know besides the payload.
///
/// ```
/// use charging_sessions_der_connect::Mapping;
///
/// let body = r#"{"data": [{"id": "s1", "data": {"start": "2026-06-01T20:00:00Z"}}], "meta": {}}"#;
/// let page = Mapping::default().page(&body.into(), "2026-06-02T00:00:00Z".parse()?)?;
/// assert_eq!(page.sessions[0].key().source_id, "s1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Mapping {
    /// The account that the keys are made with.
    pub account: AccountId,
    /// What kind of entity the sessions belong to, which is not in the payload. Without it, the entity's
    /// identifier is kept in `extra`.
    pub entity_kind: Option<AssetKind>,
}

/// A page of any list, as it comes.
#[derive(Deserialize)]
pub(crate) struct Envelope<'a> {
    // Null is an empty list. An object without one is something else.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    data: Option<RawRecords<'a>>,
    meta: Option<wire::Meta>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn read(body: &'a Bytes) -> Result<(Vec<&'a RawValue>, Option<String>)> {
        let Envelope { data, meta } = http::json(body)?;
        let token = meta.and_then(|meta| meta.continuation_token).filter(|token| !token.is_empty());
        Ok((data.unwrap_or_default().into(), token))
    }
}

impl Mapping {
    /// Maps the body of an entity's list of charge sessions. The page has no `next`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if the body is not such a list. What is wrong with a single record is in the page.
    pub fn page(&self, body: &Bytes, fetched_at: Timestamp) -> Result<SessionPage> {
        Envelope::read(body).map(|(records, _)| self.records(body, &records, fetched_at))
    }

    pub(crate) fn records(&self, body: &Bytes, records: &[&RawValue], fetched_at: Timestamp) -> SessionPage {
        let decoded = http::records::<wire::ChargeSession>(body, records, "/data");
        let origin = Provenance::new(LISTING, fetched_at, MAPPING_VERSION);
        let context = RecordContext::new(RecordKind::Charge, &origin).with_parties(self.parties());
        let (records, mut page) = decoded.identified("/data", &context, |record| record.id.take());
        for (id, mut record) in records {
            let payload = record.payload.clone();
            let key = SessionKey::new(PROVIDER, self.account.clone(), RecordKind::Charge, id.as_str());
            let mut session = record.begin(key, &origin);
            // Sessions that go on are never listed.
            session.state.status = SessionStatus::Completed;
            session.provenance.source_created_at = record.value.created;
            session.parties = context.parties.clone();
            match self.session(&mut session, record.value) {
                Ok(()) => page.sessions.push(session),
                Err(Unknown { field, unit }) => {
                    let path = format!("/data/{}/data/{field}/unit", record.index);
                    let reason = match unit.as_str() {
                        "" => "a value without a unit".to_owned(),
                        unit => format!("the unit `{}` is not known", unit.escape_debug()),
                    };
                    let rejected = RejectedRecord::new(IssueCode::UNIT_UNKNOWN, path, reason, payload);
                    page.rejected.push(rejected.with_id(Some(id)).with_context(&context));
                }
            }
        }
        page
    }

    /// What the entity is, its identifier being in the record.
    fn parties(&self) -> Parties {
        let mut parties = Parties::default();
        parties.vehicle = (self.entity_kind == Some(AssetKind::Vehicle)).then(Vehicle::default);
        parties.charge_point = (self.entity_kind == Some(AssetKind::ChargePoint)).then(ChargePoint::default);
        parties
    }

    fn session(&self, session: &mut ChargingSession, from: wire::ChargeSession) -> Result<(), Unknown> {
        match &mut session.parties {
            Parties { vehicle: Some(vehicle), .. } => vehicle.source_id = from.entity_id,
            Parties { charge_point: Some(point), .. } => point.source_id = from.entity_id,
            _ => session.keep("entityId", from.entity_id),
        }
        let Some(data) = from.data else { return Ok(()) };
        time(session, data.start, data.end);
        if let Some(charge) = data.charge {
            if let Some(total) = charge.total {
                let energy = wire::Measurement { value: total.total, unit: total.unit };
                let energy =
                    measured(session, "charge/total", Some(energy), &KILOWATT_HOURS, Energy::from_kwh)?;
                let reading = energy.map(|energy| EnergyReading::import(energy, MeasuringPoint::Unknown));
                session.energy.readings.extend(reading);
                let tiers = [("t1", total.t1), ("t2", total.t2), ("t3", total.t3), ("t4", total.t4)];
                for (name, tier) in tiers {
                    session.keep(&format!("charge.total.{name}"), tier);
                }
            }
            let percent = |percent| Some(Percent::new(percent));
            session.power.average =
                measured(session, "charge/averagePower", charge.average_power, &KILOWATTS, Power::from_kw)?;
            session.state_of_charge.start =
                measured(session, "charge/start", charge.start, &PERCENT, percent)?;
            session.state_of_charge.end = measured(session, "charge/end", charge.end, &PERCENT, percent)?;
        }
        if let Some(range) = data.range {
            let kilometres = Distance::from_km;
            session.driving.range_start =
                measured(session, "range/start", range.start, &KILOMETRES, kilometres)?;
            session.driving.range_end = measured(session, "range/end", range.end, &KILOMETRES, kilometres)?;
        }
        place(session, data.location, data.location_matches.unwrap_or_default());
        Ok(())
    }
}

/// A unit that nobody has told us of. A guess could be wrong by a factor of a thousand.
struct Unknown {
    field: &'static str,
    unit: String,
}

/// Words for units, and how many of the unit that we calculate in one of them is.
type Units = [(&'static str, Decimal)];

const KILO: Decimal = Decimal::ONE_THOUSAND;
/// A thousandth, as a decimal that can be a constant.
const MILLI: Decimal = Decimal::from_parts(1, 0, 0, false, 3);
const KILOWATT_HOURS: [(&str, Decimal); 3] = [("kWh", Decimal::ONE), ("Wh", MILLI), ("MWh", KILO)];
const KILOWATTS: [(&str, Decimal); 3] = [("kW", Decimal::ONE), ("W", MILLI), ("MW", KILO)];
const KILOMETRES: [(&str, Decimal); 2] = [("km", Decimal::ONE), ("m", MILLI)];
const PERCENT: [(&str, Decimal); 1] = [("%", Decimal::ONE)];

/// What `make` makes of a value in our unit. One that cannot be held is kept, with an issue.
fn measured<T>(
    session: &mut ChargingSession,
    field: &'static str,
    from: Option<wire::Measurement>,
    units: &Units,
    make: impl Fn(Decimal) -> Option<T>,
) -> Result<Option<T>, Unknown> {
    let Some((value, unit)) = from.and_then(|from| Some((from.value?, from.unit))) else { return Ok(None) };
    let unit = unit.unwrap_or_default();
    let known = units.iter().find(|(word, _)| *word == unit);
    let (_, factor) = known.ok_or(Unknown { field, unit })?;
    let name = format!("data.{}", field.replace('/', "."));
    Ok(session.fit(&name, Some(value), |value| make(decimal_from_f64(value)?.checked_mul(*factor)?)))
}

/// Start and end of the flow of energy, computed or measured; nothing is known of the cable.
fn time(session: &mut ChargingSession, start: Option<Timestamp>, end: Option<Timestamp>) {
    let ChargingSession { timing, issues, .. } = session;
    timing.charging_started_at = known(start, "timing.charging_started_at", "/data/start", issues);
    timing.charging_ended_at = known(end, "timing.charging_ended_at", "/data/end", issues);
    timing.period.start = timing.charging_started_at;
    timing.period.end = timing.charging_ended_at;
    timing.period.basis = PeriodBasis::Charging;
    timing.period.end_basis =
        if timing.period.end.is_some() { EndBasis::Reported } else { EndBasis::Unknown };
}

/// The best match gives the label. Whether accuracy is a share of one is not stated, so it stays as it came.
fn place(session: &mut ChargingSession, from: Option<wire::Location>, matches: Vec<wire::LocationMatch>) {
    let best = matches.iter().reduce(|best, next| if next.accuracy > best.accuracy { next } else { best });
    let label = best.and_then(|best| best.location.as_ref()?.label.clone());
    if label.is_some() || from.is_some() {
        let location: &mut Location = session.place.location.get_or_insert_default();
        location.label = label;
        if let Some(from) = from {
            location.address = from.address.map(Sensitive::new);
            let at = from.latitude.zip(from.longitude);
            location.coordinates =
                at.and_then(|(north, east)| Coordinates::new(north, east)).map(Sensitive::new);
        }
    }
    session.keep("locationMatches", Some(matches).filter(|matches| !matches.is_empty()));
}
