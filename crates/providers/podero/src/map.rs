//! From Podero's words to ours. Pure: bytes in, records out.

// Nearly every word of the record is needed here.
use charging_sessions_core::{checks::known, *};
use charging_sessions_http::{self as http, Bytes, Decodable, RawRecords, RawValue};
use jiff::Timestamp;
use serde::Deserialize;

use crate::{API_VERSION, PROVIDER, generated as wire};

/// Raised whenever the same payload maps to another record than before.
const MAPPING_VERSION: u32 = 1;

const LISTING: Endpoint = Endpoint::new("GET /electric-vehicles/{id}/sessions", Some(API_VERSION));
const CURRENT: Endpoint = Endpoint::new("GET /electric-vehicles/{id}/sessions/current", Some(API_VERSION));

/// What the mapping must know besides the payload: it stands in the path of the request, not in the answer.
///
/// ```
/// use charging_sessions_podero::Mapping;
///
/// let body = r#"{"total": 1, "items": [{"id": "s1", "plug_in_time": "2026-06-01T20:00:00Z"}]}"#;
/// let mut mapping = Mapping::default();
/// mapping.vehicle_id = Some("ev1".into());
/// let page = mapping.page(&body.into(), "2026-06-02T00:00:00Z".parse()?)?;
/// assert_eq!(page.sessions[0].key().source_id, "s1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Mapping {
    /// The account that the keys are made with.
    pub account: AccountId,
    /// Whose vehicle it is.
    pub user_id: Option<String>,
    /// The vehicle.
    pub vehicle_id: Option<String>,
}

/// A page, and the identifiers as they stand in it, mapped or not: what is needed to see that nothing was skipped.
pub(crate) type Listed = (SessionPage, Vec<Option<String>>);

type Record = Decodable<wire::SessionItem>;

#[derive(Deserialize)]
struct Envelope<'a> {
    total: Option<&'a RawValue>,
    #[serde(borrow)]
    items: RawRecords<'a>,
}

#[derive(Deserialize)]
struct Current<'a> {
    #[serde(borrow)]
    session: Option<&'a RawValue>,
}

impl Mapping {
    /// Maps the body of a vehicle's list of sessions.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if the body is not such a list. What is wrong with a single record is in the page.
    pub fn page(&self, body: &Bytes, fetched_at: Timestamp) -> Result<SessionPage> {
        self.listed(body, fetched_at).map(|(page, _)| page)
    }

    pub(crate) fn listed(&self, body: &Bytes, fetched_at: Timestamp) -> Result<Listed> {
        let Envelope { total, items } = http::json(body)?;
        let origin = Provenance::new(LISTING, fetched_at, MAPPING_VERSION);
        let (mut page, ids) = self.records(body, &items, "/items", &origin);
        // One that can be no number of sessions is none, and the list is then read until nothing new comes.
        page.total = total.and_then(|total| total.get().parse().ok());
        Ok((page, ids))
    }

    /// Maps the body of a vehicle's current session.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if the body is not such an answer, [`ErrorKind::InvalidRecord`] if the session in it
    /// cannot be mapped.
    pub fn current(&self, body: &Bytes, fetched_at: Timestamp) -> Result<Option<ChargingSession>> {
        let Current { session: Some(raw) } = http::json(body)? else { return Ok(None) };
        let origin = Provenance::new(CURRENT, fetched_at, MAPPING_VERSION);
        let (page, _) = self.records(body, &[raw], "/session", &origin);
        page.into_session()
    }

    fn records(&self, body: &Bytes, records: &[&RawValue], at: &str, origin: &Provenance) -> Listed {
        let mut ids = vec![None; records.len()];
        let decoded = http::records::<wire::SessionItem>(body, records, at);
        let mut context = RecordContext::new(RecordKind::PlugIn, origin);
        context.parties.user_id.clone_from(&self.user_id);
        context.parties.vehicle = self.vehicle_id.as_deref().map(Vehicle::of);
        let (records, mut page) = decoded.identified(at, &context, |record| record.id.take());
        for (id, record) in records {
            ids[record.index] = Some(id.clone());
            page.sessions.push(self.session(id, record, &context));
        }
        (page, ids)
    }

    fn session(&self, id: String, mut record: Record, context: &RecordContext) -> ChargingSession {
        let key = SessionKey::new(PROVIDER, self.account.clone(), RecordKind::PlugIn, id);
        let mut session = record.begin(key, &context.origin);
        session.state.status = SessionStatus::Completed;
        session.parties = context.parties.clone();
        let from = record.value;
        if let Some(word) = &from.session_outcome {
            outcome(&mut session, word);
        }
        time(&mut session, &from);
        let energy = session.fit("energy_charged_kwh", from.energy_charged_kwh, |kwh| {
            Energy::from_kwh(decimal_from_f64(kwh)?)
        });
        let reading = energy.map(|energy| EnergyReading::import(energy, MeasuringPoint::Unknown));
        session.energy.readings.extend(reading);
        let kw = |kw: f64| Power::from_kw(decimal_from_f64(kw)?);
        session.power.max = session.fit("peak_charge_power_kw", from.peak_charge_power_kw, kw);
        session.power.average = session.fit("avg_charge_power_kw", from.avg_charge_power_kw, kw);
        let percent = Percent::from_f64;
        session.state_of_charge.start = session.fit("initial_soc_pct", from.initial_soc_pct, percent);
        session.state_of_charge.end = session.fit("final_soc_pct", from.final_soc_pct, percent);
        session.state_of_charge.target = session.fit("target_soc_pct", from.target_soc_pct, percent);
        let euros = |amount: f64| Some(Money::new(decimal_from_f64(amount)?, Currency::in_use("EUR")?));
        let cost = session.fit("actual_cost_eur", from.actual_cost_eur, euros);
        session.costs.cost = cost.map(|money| Cost::new(money, CostBasis::Unknown));
        let actual = session.fit("actual_savings_eur", from.actual_savings_eur, euros);
        let expected = session.fit("expected_savings_eur", from.expected_savings_eur, euros);
        session.costs.savings.extend(actual.map(|money| Saving::new(money, SavingKind::Realised)));
        session.costs.savings.extend(expected.map(|money| Saving::new(money, SavingKind::Expected)));
        if let Some(at_home) = from.is_at_home {
            let category = if at_home { LocationCategory::Home } else { LocationCategory::Other };
            session.place.location.get_or_insert_default().category = Some(category);
        }
        session.state.hidden = from.is_hidden.filter(|is| *is).map(|_| Hidden::new(from.hidden_reason));
        session.keep("desired_charging_start_time", from.desired_charging_start_time);
        session.keep("desired_charging_end_time", from.desired_charging_end_time);
        session.keep("charge_deadline", from.charge_deadline);
        session.keep("target_reachable", from.target_reachable);
        session.keep("reachable_soc_pct", from.reachable_soc_pct);
        session
    }
}

/// The outcome is about steering, and in one case about the status.
fn outcome(session: &mut ChargingSession, word: &str) {
    let class = match word {
        "optimized" => Outcome::Optimized,
        "immediate_start" | "boosted" => Outcome::Immediate,
        "in_progress" => Outcome::InProgress,
        "user_unplugged_early" => Outcome::Interrupted,
        "commands_failed" | "ev_not_found" => Outcome::Failed,
        "not_at_home"
        | "not_authenticated"
        | "smart_optimization_disabled"
        | "no_battery_capacity"
        | "already_at_target"
        | "hems_only_mode"
        | "oem_not_capable"
        | "insufficient_price_coverage"
        | "oem_reported_full" => Outcome::NotSteered,
        "other" | "unknown" => Outcome::Other,
        _ => {
            session.issues.push(Issue::unknown_word("state.outcome", "/session_outcome", word));
            Outcome::Other
        }
    };
    if class == Outcome::InProgress {
        session.state.status = SessionStatus::Active;
    }
    session.state.outcome = Some(Classified::new(class, word));
}

/// Plug times are facts, an inferred end is an inference, and what was planned is neither.
fn time(session: &mut ChargingSession, from: &wire::SessionItem) {
    let ChargingSession { state, timing, issues, .. } = session;
    timing.plugged_in_at = known(from.plug_in_time, "timing.plugged_in_at", "/plug_in_time", issues);
    timing.unplugged_at = known(from.unplug_time, "timing.unplugged_at", "/unplug_time", issues);
    let inferred = from.inferred_session_end;
    let inferred = known(inferred, "timing.period.end", "/inferred_session_end", issues);
    timing.period.start = timing.plugged_in_at;
    timing.period.end = timing.unplugged_at.or(inferred);
    timing.period.basis = PeriodBasis::PlugIn;
    timing.period.end_basis = match (timing.unplugged_at, inferred) {
        (Some(_), _) => EndBasis::Reported,
        (None, Some(_)) => EndBasis::Inferred,
        (None, None) if state.status == SessionStatus::Active => EndBasis::Open,
        (None, None) => EndBasis::Unknown,
    };
}
