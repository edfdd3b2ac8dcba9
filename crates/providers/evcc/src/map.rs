//! From evcc's words to ours. Pure: bytes in, records out.

use bytes::Bytes;
// Nearly every word of the record is needed here.
use charging_sessions_core::{checks::known, *};
use charging_sessions_http::{self as http, RawRecords, RawValue};
use jiff::{SignedDuration, Timestamp, fmt::temporal::Pieces, tz::Offset};
use rust_decimal::Decimal;
use serde::Deserialize;

use crate::{PROVIDER, generated as wire};

/// Raised whenever the same payload maps to another record than before.
const MAPPING_VERSION: u32 = 1;

const LISTING: Endpoint = Endpoint::new("GET /api/sessions", None);

/// An end before this stands for none: 0002-01-01T00:00:00Z. It is written as 0001-01-01T00:00:00Z.
const OPEN_BEFORE: Timestamp = Timestamp::constant(-62_104_060_800, 0);

type Record = http::Decodable<wire::Session>;

/// What the mapping must know besides the payload: it is of the site, not of a session.
///
/// ```
/// use charging_sessions_evcc::Mapping;
///
/// let body = r#"[{"id": 7, "created": "2026-06-01T20:00:00+02:00", "price": 1.5}]"#;
/// let mut mapping = Mapping::default();
/// mapping.currency = Some("EUR".into());
/// let page = mapping.page(&body.into(), "2026-06-02T00:00:00Z".parse()?)?;
/// assert_eq!(page.sessions[0].key().source_id, "7");
/// assert_eq!(page.sessions[0].costs.cost.as_ref().unwrap().money.to_string(), "1.5 EUR");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Mapping {
    /// The account that the keys are made with; another one for each server.
    pub account: AccountId,
    /// The currency of the site, as its `/api/state` names it. Without one, or with one that is no ISO 4217 code in
    /// use, amounts are kept in `extra`, with an issue.
    pub currency: Option<String>,
    /// The IANA time zone of the site.
    pub zone: Option<String>,
}

/// The currency that the body of `GET /api/state` names.
pub(crate) fn currency(body: &Bytes) -> Result<Option<String>> {
    /// Bare, or wrapped as in older releases.
    #[derive(Deserialize)]
    struct Answer {
        currency: Option<String>,
        result: Option<wire::State>,
    }
    let answer: Answer = http::json(body)?;
    let wrapped = answer.result.and_then(|state| state.currency);
    Ok(answer.currency.or(wrapped).filter(|currency| !currency.is_empty()))
}

/// The sessions in a body, and the JSON pointer of their array: bare, or wrapped as in older releases.
fn listed(body: &Bytes) -> Result<(Vec<&RawValue>, &'static str)> {
    #[derive(Deserialize)]
    struct Wrapper<'a> {
        #[serde(borrow)]
        result: RawRecords<'a>,
    }
    match http::array(body) {
        Ok(records) => Ok((records, "")),
        Err(error) => {
            let wrapper = http::json::<Wrapper<'_>>(body).map_err(|_| error)?;
            Ok((wrapper.result.into(), "/result"))
        }
    }
}

impl Mapping {
    /// Maps the body of `GET /api/sessions`. The page has no `next`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if the body is not a list of sessions. What is wrong with a single record is in the page.
    pub fn page(&self, body: &Bytes, fetched_at: Timestamp) -> Result<SessionPage> {
        let (records, at) = listed(body)?;
        let origin = Provenance::new(LISTING, fetched_at, MAPPING_VERSION);
        let context = RecordContext::new(RecordKind::PlugIn, &origin);
        let id = |record: &mut wire::Session| record.id.take().map(|id| id.to_string());
        let map = |(id, record)| self.session(id, record, &origin);
        Ok(http::records(body, &records, at).sessions(at, &context, id, map))
    }

    fn session(&self, id: String, mut record: Record, origin: &Provenance) -> ChargingSession {
        let key = SessionKey::new(PROVIDER, self.account.clone(), RecordKind::PlugIn, id);
        let mut session = record.begin(key, origin);
        let from = record.value;
        self.time(&mut session, &from);
        let kwh = |kwh: f64| Energy::from_kwh(decimal_from_f64(kwh)?);
        let energy = session.fit("chargedEnergy", from.charged_energy, kwh);
        let reading = energy.map(|energy| EnergyReading::import(energy, MeasuringPoint::Unknown));
        session.energy.readings.extend(reading);
        session.energy.registers.start = session.fit("meterStart", from.meter_start, kwh);
        session.energy.registers.end = session.fit("meterStop", from.meter_stop, kwh);
        // Before it is converted, because a share of an amount that is not known is still a share.
        session.keep("solarPercentage", from.solar_percentage);
        if let Some(energy) = energy {
            let share = |percent| part(energy, percent);
            session.energy.sources.solar = session.fit("solarPercentage", from.solar_percentage, share);
        }
        let percent = Percent::from_f64;
        session.state_of_charge.start = session.fit("socStart", from.soc_start, percent);
        session.state_of_charge.end = session.fit("socEnd", from.soc_end, percent);
        let km = |km: f64| Distance::from_km(decimal_from_f64(km)?);
        session.driving.odometer = session.fit("odometer", from.odometer, km);
        session.keep("addedRange", from.added_range);
        self.money(&mut session, &from);
        session.emissions.intensity_per_kwh = session.fit("co2PerKWh", from.co2_per_k_wh, Grams::from_f64);
        session.keep("referenceCo2PerKWh", from.reference_co2_per_k_wh);
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(name) = given(from.loadpoint) {
            session.parties.charge_point.get_or_insert_default().name = Some(name);
        }
        if let Some(name) = given(from.vehicle) {
            session.parties.vehicle.get_or_insert_default().name = Some(name);
        }
        if let Some(uid) = given(from.identifier) {
            session.parties.token.get_or_insert_default().uid = Some(Sensitive::new(uid));
        }
        session
    }

    /// Start and end bound the flow of energy, although the record is that of a stay at the plug.
    fn time(&self, session: &mut ChargingSession, from: &wire::Session) {
        let created = session.fit("created", from.created.as_deref(), |text| text.parse::<Timestamp>().ok());
        let offset = from.created.as_deref().and_then(|text| Pieces::parse(text).ok()?.to_numeric_offset());
        let ChargingSession { state, timing, issues, .. } = session;
        timing.charging_started_at = known(created, "timing.charging_started_at", "/created", issues);
        timing.charging_ended_at = known(from.finished, "timing.charging_ended_at", "/finished", issues);
        timing.period.start = timing.charging_started_at;
        timing.period.end = timing.charging_ended_at;
        timing.period.basis = PeriodBasis::Charging;
        (state.status, timing.period.end_basis) = match (timing.period.end, from.finished) {
            (Some(_), _) => (SessionStatus::Completed, EndBasis::Reported),
            (None, Some(end)) if end < OPEN_BEFORE => (SessionStatus::Active, EndBasis::Open),
            (None, _) => (SessionStatus::Unknown, EndBasis::Unknown),
        };
        timing.charging_for = from.charge_duration.map(SignedDuration::from_nanos);
        timing.source_offset_seconds = offset.filter(|_| created.is_some()).map(Offset::seconds);
        timing.zone = self.zone.as_ref().map(|name| Zone::new(name, ZoneSource::Config));
    }

    /// Amounts without a currency are numbers, and stay as they came.
    fn money(&self, session: &mut ChargingSession, from: &wire::Session) {
        let amounts = [
            ("price", from.price),
            ("pricePerKWh", from.price_per_k_wh),
            ("referencePricePerKWh", from.reference_price_per_k_wh),
        ];
        let Some(currency) = self.currency.as_deref().and_then(Currency::in_use) else {
            for (name, amount) in amounts {
                session.keep(name, amount);
            }
            if let Some((name, _)) = amounts.iter().find(|(_, amount)| amount.is_some()) {
                let issue = Issue::no_currency("costs", format!("/{name}"), self.currency.as_deref());
                session.issues.push(issue);
            }
            return;
        };
        let money = |amount: f64| Some(Money::new(decimal_from_f64(amount)?, currency));
        let [cost, price, reference] = amounts.map(|(name, amount)| session.fit(name, amount, money));
        session.costs.cost = cost.map(|money| Cost::new(money, CostBasis::Opportunity));
        session.costs.price_per_kwh = price;
        session.costs.reference_price_per_kwh = reference;
    }
}

/// So many percent of an amount of energy, rounded half to even at a milliwatt-hour. `None` for what is no share.
fn part(of: Energy, percent: f64) -> Option<Energy> {
    let percent = decimal_from_f64(percent).filter(|percent| *percent >= Decimal::ZERO)?;
    let percent = (percent <= Decimal::ONE_HUNDRED).then_some(percent)?;
    // A product of more digits than a decimal holds is rounded at the last of them, far below a milliwatt-hour.
    Energy::from_kwh(of.as_kwh().checked_mul(percent)?.checked_div(Decimal::ONE_HUNDRED)?)
}
