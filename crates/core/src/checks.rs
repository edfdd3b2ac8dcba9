//! Data-quality checks that need one record only.
//!
//! [`check`] looks and reports, [`screen`] also withdraws figures that are impossible. Neither repairs
//! anything: a unit is never guessed, a total never recomputed. What only several records can show, such as
//! overlaps and duplicates, is not here.

use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, prelude::ToPrimitive as _};

use crate::{
    ChargingSession, CostComponentKind, Energy, EnergyDirection, Issue, IssueCode, LocationCategory, Percent,
    Power, RecordKind, SessionStatus, Severity, TaxBasis,
};

/// From when on a record is odd. The defaults come from public specifications and reported faults; sites differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Instants may be out of order by this much, because clocks are. 5 minutes.
    pub clock_skew: SignedDuration,
    /// A start may lie this much after the moment of fetching. 10 minutes.
    pub future: SignedDuration,
    /// The longest that a session is expected to be active. 7 days.
    pub active: SignedDuration,
    /// The shortest session that is not remarkable. 1 minute.
    pub shortest: SignedDuration,
    /// The longest stay at a plug. 14 days, because cars stand at home during holidays.
    pub longest_connected: SignedDuration,
    /// The longest flow of energy. 24 hours.
    pub longest_charging: SignedDuration,
    /// The least energy that is not remarkable. 0.5 kWh.
    pub low_energy: Energy,
    /// The most energy that a car takes. 250 kWh.
    pub high_energy: Energy,
    /// The most energy that any vehicle takes. 1 MWh.
    pub impossible_energy: Energy,
    /// The most power at home, where the charge point's own limit is not known. 22 kW.
    pub home_power: Power,
    /// The most power elsewhere, where the charge point's own limit is not known. 400 kW.
    pub power: Power,
    /// The highest usual price of a kilowatt-hour, in the major unit of a currency that has a minor one. 2.
    /// A hundred times as much where the currency has none.
    pub price_per_kwh: Decimal,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clock_skew: SignedDuration::from_mins(5),
            future: SignedDuration::from_mins(10),
            active: SignedDuration::from_hours(7 * 24),
            shortest: SignedDuration::from_mins(1),
            longest_connected: SignedDuration::from_hours(14 * 24),
            longest_charging: SignedDuration::from_hours(24),
            low_energy: Energy::from_mwh(500_000),
            high_energy: Energy::from_mwh(250_000_000),
            impossible_energy: Energy::from_mwh(1_000_000_000),
            home_power: Power::from_mw(22_000_000),
            power: Power::from_mw(400_000_000),
            price_per_kwh: Decimal::TWO,
        }
    }
}

/// What is odd about `session`. Pure: the same record gives the same answer, in the same order.
///
/// ```
/// use charging_sessions_core::{checks, *};
///
/// let key = SessionKey::new(ProviderId::new("test"), AccountId::default(), RecordKind::PlugIn, "1");
/// let origin = Provenance::new(Endpoint::new("GET /sessions", None), "2026-06-02T00:00:00Z".parse()?, 1);
/// let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
/// session.timing.period.start = Some("2026-06-01T18:00:00Z".parse()?);
/// session.timing.period.end = Some("2026-06-01T17:00:00Z".parse()?);
///
/// let issues = checks::check(&session, &checks::Limits::default());
/// assert_eq!(issues[0].code, IssueCode::TIME_END_BEFORE_START);
/// assert_eq!(issues[0].severity, Severity::Error);
/// # Ok::<(), jiff::Error>(())
/// ```
pub fn check(session: &ChargingSession, limits: &Limits) -> Vec<Issue> {
    let mut found = Found { session, limits, issues: Vec::new() };
    found.instants();
    found.durations();
    found.energy();
    found.energy_against_time();
    found.registers();
    found.parts();
    found.power();
    found.state_of_charge();
    found.money();
    found.issues
}

/// Adds what [`check`] finds to the record's issues, and withdraws the figures that are impossible.
///
/// A withdrawn figure becomes `None` in its field and is kept in [`ChargingSession::extra`] under the field's
/// name, so nothing is lost. Running it again changes nothing.
pub fn screen(session: &mut ChargingSession, limits: &Limits) {
    for issue in check(session, limits) {
        if session.issues.contains(&issue) {
            continue;
        }
        if issue.severity == Severity::Error
            && let Some(field) = &issue.field
        {
            withdraw(session, field);
        }
        session.issues.push(issue);
    }
}

fn withdraw(session: &mut ChargingSession, field: &str) {
    fn take<T: serde::Serialize>(value: &mut Option<T>) -> serde_json::Value {
        value.take().and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
    }
    let soc = &mut session.state_of_charge;
    let value = match field {
        "timing.period.end" => take(&mut session.timing.period.end),
        "state_of_charge.start" => take(&mut soc.start),
        "state_of_charge.end" => take(&mut soc.end),
        "state_of_charge.target" => take(&mut soc.target),
        "state_of_charge.added" => take(&mut soc.added),
        "energy.registers" => {
            serde_json::to_value(std::mem::take(&mut session.energy.registers)).unwrap_or_default()
        }
        "energy.readings" => {
            serde_json::to_value(std::mem::take(&mut session.energy.readings)).unwrap_or_default()
        }
        _ => return,
    };
    if !value.is_null() {
        // The first value is the provider's; a second one could only be what is left of it.
        session.extra.entry(field.to_owned()).or_insert(value);
    }
}

/// Whether an instant only stands for "not known": anything before 2009, when no car of today was charged.
/// OCPI writes 1970, evcc the year 1.
pub fn is_placeholder(instant: Timestamp) -> bool {
    // 2009-01-01T00:00:00Z.
    instant.as_second() < 1_230_768_000
}

/// An instant of a provider for a mapping: one that [stands for "not known"](is_placeholder) is reported and becomes
/// `None`.
///
/// `field` is the place in the core record, `pointer` that in the provider's.
pub fn known(
    instant: Option<Timestamp>,
    field: &str,
    pointer: &str,
    issues: &mut Vec<Issue>,
) -> Option<Timestamp> {
    let instant = instant?;
    if !is_placeholder(instant) {
        return Some(instant);
    }
    let issue = Issue::new(IssueCode::TIME_SENTINEL, Severity::Info).with_field(field);
    issues.push(issue.with_source_path(pointer).with_observed(instant));
    None
}

struct Found<'a> {
    session: &'a ChargingSession,
    limits: &'a Limits,
    issues: Vec<Issue>,
}

impl Found<'_> {
    fn report(&mut self, code: IssueCode, severity: Severity, field: &str) -> &mut Issue {
        self.issues.push(Issue::new(code, severity).with_field(field));
        self.issues.last_mut().expect("just pushed")
    }

    fn is_final(&self) -> bool {
        self.session.state.status == SessionStatus::Completed
    }

    fn instants(&mut self) {
        let timing = &self.session.timing;
        let fetched_at = self.session.provenance.fetched_at;
        let Some(start) = timing.period.start else {
            self.report(IssueCode::TIME_START_MISSING, Severity::Error, "timing.period.start");
            return;
        };
        if start.duration_since(fetched_at) > self.limits.future {
            self.report(IssueCode::TIME_FUTURE, Severity::Warning, "timing.period.start").observed =
                Some(start.to_string());
        }
        match timing.period.end {
            Some(end) if end < start => {
                let by = start.duration_since(end);
                let severity = if by > self.limits.clock_skew { Severity::Error } else { Severity::Warning };
                self.report(IssueCode::TIME_END_BEFORE_START, severity, "timing.period.end").observed =
                    Some(by.to_string());
            }
            None if self.session.state.status == SessionStatus::Active => {
                let active = fetched_at.duration_since(start);
                if active > self.limits.active {
                    self.report(IssueCode::TIME_OPEN_TOO_LONG, Severity::Warning, "timing.period.end")
                        .observed = Some(active.to_string());
                }
            }
            _ => {}
        }
        let named: [(&str, Option<Timestamp>); 4] = [
            ("timing.plugged_in_at", timing.plugged_in_at),
            ("timing.charging_started_at", timing.charging_started_at),
            ("timing.charging_ended_at", timing.charging_ended_at),
            ("timing.unplugged_at", timing.unplugged_at),
        ];
        let mut latest: Option<Timestamp> = None;
        for (field, instant) in named {
            let Some(instant) = instant else { continue };
            if let Some(before) = latest
                && before.duration_since(instant) > self.limits.clock_skew
            {
                let issue = self.report(IssueCode::TIME_ORDER, Severity::Warning, field);
                issue.observed = Some(instant.to_string());
                issue.expected = Some(format!("not before {before}"));
            }
            latest = latest.max(Some(instant));
        }
    }

    fn durations(&mut self) {
        let timing = &self.session.timing;
        if let Some(lasted) = self.lasted() {
            if !lasted.is_negative() && lasted < self.limits.shortest {
                self.report(IssueCode::DURATION_SHORT, Severity::Info, "timing.period").observed =
                    Some(lasted.to_string());
            }
            let longest = match self.session.identity.key.kind {
                RecordKind::Charge => self.limits.longest_charging,
                _ => self.limits.longest_connected,
            };
            if lasted > longest {
                let issue = self.report(IssueCode::DURATION_LONG, Severity::Warning, "timing.period");
                issue.observed = Some(lasted.to_string());
                issue.expected = Some(format!("at most {longest}"));
            }
        }
        let Some(charging) = timing.charging_for else { return };
        if charging > self.limits.longest_charging {
            let expected = format!("at most {}", self.limits.longest_charging);
            let issue = self.report(IssueCode::DURATION_LONG, Severity::Warning, "timing.charging_for");
            issue.observed = Some(charging.to_string());
            issue.expected = Some(expected);
        }
        // While the session runs, the provider's two figures need not be of the same moment.
        let connected = timing.connected_for.or_else(|| self.lasted());
        if let Some(connected) = connected
            && charging > connected.saturating_add(SignedDuration::from_mins(1))
        {
            let issue = self.report(
                IssueCode::DURATION_CHARGING_GT_SESSION,
                Severity::Warning,
                "timing.charging_for",
            );
            issue.observed = Some(charging.to_string());
            issue.expected = Some(format!("at most {connected}"));
        }
    }

    /// From start to end, if both are known.
    fn lasted(&self) -> Option<SignedDuration> {
        let period = &self.session.timing.period;
        Some(period.end?.duration_since(period.start?))
    }

    fn energy(&mut self) {
        let session = self.session;
        for reading in &session.energy.readings {
            let may_be_negative = matches!(reading.direction, EnergyDirection::Export | EnergyDirection::Net);
            if reading.energy.is_negative() && !may_be_negative {
                self.report(IssueCode::ENERGY_NEGATIVE, Severity::Error, "energy.readings").observed =
                    Some(reading.energy.to_string());
            }
        }
        let Some(energy) = session.energy.headline() else { return };
        let (code, severity, limit) = if energy > self.limits.impossible_energy {
            (IssueCode::ENERGY_HIGH, Severity::Error, Some(self.limits.impossible_energy))
        } else if energy > self.limits.high_energy {
            (IssueCode::ENERGY_HIGH, Severity::Warning, Some(self.limits.high_energy))
        } else if energy == Energy::ZERO && self.is_final() {
            (IssueCode::ENERGY_ZERO, Severity::Info, None)
        } else if energy > Energy::ZERO && energy < self.limits.low_energy && self.is_final() {
            (IssueCode::ENERGY_LOW, Severity::Info, None)
        } else {
            return;
        };
        let issue = self.report(code, severity, "energy.readings");
        issue.observed = Some(energy.to_string());
        issue.expected = limit.map(|limit| format!("at most {limit}"));
    }

    fn energy_against_time(&mut self) {
        let Some(energy) = self.session.energy.headline().filter(|energy| *energy > Energy::ZERO) else {
            return;
        };
        let timing = &self.session.timing;
        let flowed = match (timing.charging_started_at, timing.charging_ended_at) {
            (Some(start), Some(end)) => Some(end.duration_since(start)),
            _ => None,
        };
        let Some(time) = timing.charging_for.or(flowed).or_else(|| self.lasted()) else { return };
        // Reported to the minute, and a flow of seconds says nothing about power.
        let minutes = Decimal::from((time.as_secs() / 60).max(1));
        let power = self.power_limit();
        let possible = |energy: Energy, times: Decimal| {
            energy.as_wh() * Decimal::from(60) <= power.as_w() * minutes * times
        };
        if !possible(energy, Decimal::new(11, 1)) {
            let severity =
                if possible(energy, Decimal::from(3)) { Severity::Warning } else { Severity::Error };
            let issue = self.report(IssueCode::ENERGY_ABOVE_POWER, severity, "energy.readings");
            issue.observed = Some(format!("{energy} in {time}"));
            issue.expected = Some(format!("at most {power}"));
        }
        let thousandth = Energy::from_mwh(energy.as_mwh() / 1000);
        let too_much = !possible(energy, Decimal::from(3)) || energy > self.limits.impossible_energy;
        let thousandfold = energy.as_mwh().checked_mul(1000).map(Energy::from_mwh);
        // Under 50 W for half an hour or more: a car that charges takes a hundred times as much.
        let too_little = minutes >= Decimal::from(30)
            && energy.as_wh() * Decimal::from(60) < Decimal::from(50) * minutes
            && timing.charging_for.is_some()
            && self.is_final();
        if too_much && thousandth >= self.limits.low_energy && possible(thousandth, Decimal::ONE) {
            let issue = self.report(IssueCode::ENERGY_UNIT_SUSPECT, Severity::Warning, "energy.readings");
            issue.observed = Some(energy.to_string());
            issue.expected = Some(format!("perhaps {thousandth}"));
        } else if too_little
            && let Some(thousandfold) = thousandfold.filter(|energy| possible(*energy, Decimal::ONE))
        {
            let issue = self.report(IssueCode::ENERGY_UNIT_SUSPECT, Severity::Warning, "energy.readings");
            issue.observed = Some(energy.to_string());
            issue.expected = Some(format!("perhaps {thousandfold}"));
        }
    }

    fn power_limit(&self) -> Power {
        let rated =
            self.session.parties.charge_point.as_ref().and_then(|charge_point| charge_point.max_power);
        let at_home = self.session.place.location.as_ref().and_then(|location| location.category)
            == Some(LocationCategory::Home);
        rated.unwrap_or(if at_home { self.limits.home_power } else { self.limits.power })
    }

    fn registers(&mut self) {
        let registers = &self.session.energy.registers;
        let Some(end) = registers.end else { return };
        let headline = self.session.energy.headline();
        if registers.start.is_some_and(|start| end < start)
            || (headline == Some(end) && end > Energy::ZERO && registers.start != Some(Energy::ZERO))
        {
            self.report(IssueCode::ENERGY_METER_RESET, Severity::Error, "energy.registers").observed =
                Some(end.to_string());
            return;
        }
        let (Some(start), Some(energy)) = (registers.start, headline) else { return };
        let Some(metered) = end.checked_sub(start) else { return };
        if differ(metered, energy, 2, Energy::from_mwh(100_000)) {
            let issue = self.report(IssueCode::ENERGY_METER_MISMATCH, Severity::Warning, "energy.registers");
            issue.observed = Some(metered.to_string());
            issue.expected = Some(energy.to_string());
        }
    }

    fn parts(&mut self) {
        let Some(energy) = self.session.energy.headline() else { return };
        let sources = &self.session.energy.sources;
        let parts: Vec<Energy> =
            [sources.grid, sources.solar, sources.battery].into_iter().flatten().collect();
        // One part alone says nothing about the others.
        if parts.len() >= 2 {
            self.sum_of_parts("energy.sources", parts.into_iter().sum(), energy, 1);
        }
        if let Some(intervals) = self.session.details.intervals.as_ref()
            && !intervals.is_empty()
        {
            let sum = intervals.iter().filter_map(|interval| interval.energy).sum();
            self.sum_of_parts("details.intervals", sum, energy, 2);
        }
    }

    fn sum_of_parts(&mut self, field: &str, sum: Energy, energy: Energy, percent: i64) {
        // A watt-hour per part is lost to rounding.
        if differ(sum, energy, percent, Energy::from_mwh(5_000)) {
            let issue = self.report(IssueCode::ENERGY_PARTS_MISMATCH, Severity::Warning, field);
            issue.observed = Some(sum.to_string());
            issue.expected = Some(energy.to_string());
        }
    }

    fn power(&mut self) {
        let power = &self.session.power;
        if let (Some(average), Some(max)) = (power.average, power.max)
            && average > max
        {
            let issue = self.report(IssueCode::POWER_INCONSISTENT, Severity::Info, "power.average");
            issue.observed = Some(average.to_string());
            issue.expected = Some(format!("at most {max}"));
        }
    }

    fn state_of_charge(&mut self) {
        let soc = &self.session.state_of_charge;
        let range =
            |percent: Percent| Decimal::ZERO <= percent.value() && percent.value() <= Decimal::ONE_HUNDRED;
        for (field, percent) in [
            ("state_of_charge.start", soc.start),
            ("state_of_charge.end", soc.end),
            ("state_of_charge.target", soc.target),
        ] {
            if let Some(percent) = percent.filter(|percent| !range(*percent)) {
                self.report(IssueCode::SOC_RANGE, Severity::Error, field).observed =
                    Some(percent.to_string());
            }
        }
        // What was added may be negative, after a discharge.
        if let Some(added) = soc.added.filter(|added| !range(Percent::new(added.value().abs()))) {
            self.report(IssueCode::SOC_RANGE, Severity::Error, "state_of_charge.added").observed =
                Some(added.to_string());
        }
        let energy = self.session.energy.headline();
        if let (Some(start), Some(end)) = (soc.start, soc.end)
            && end < start
            && energy.is_some_and(|energy| energy > Energy::ZERO)
        {
            let issue = self.report(IssueCode::SOC_DECREASE, Severity::Info, "state_of_charge.end");
            issue.observed = Some(end.to_string());
            issue.expected = Some(format!("at least {start}"));
        }
        let capacity = self.session.parties.vehicle.as_ref().and_then(|vehicle| vehicle.battery_capacity);
        let added = match (soc.start, soc.end) {
            (Some(start), Some(end)) => Some(end.value() - start.value()),
            _ => soc.added.map(Percent::value),
        };
        let (Some(capacity), Some(added), Some(energy)) = (capacity, added, energy) else { return };
        // Under five percent, the rounding of the percentages is all there is to see.
        if added < Decimal::from(5) || added > Decimal::ONE_HUNDRED || energy.is_negative() {
            return;
        }
        let implied = energy.as_wh() * Decimal::ONE_HUNDRED / added;
        let ratio = |percent: i64| capacity.as_wh() * Decimal::new(percent, 2);
        if implied < ratio(70) || implied > ratio(130) {
            let issue = self.report(IssueCode::ENERGY_VS_SOC, Severity::Info, "energy.readings");
            issue.observed = Some(format!("{energy} for {} %", added.normalize()));
            issue.expected = Some(format!("a battery of {capacity}"));
        }
    }

    fn money(&mut self) {
        let costs = &self.session.costs;
        let Some(cost) = &costs.cost else { return };
        if cost.tax == TaxBasis::Unknown && !cost.money.amount.is_zero() {
            self.report(IssueCode::MONEY_TAX_UNKNOWN, Severity::Info, "costs.cost.tax");
        }
        let digits = cost.money.currency.minor_digits().unwrap_or(2);
        let energy = self.session.energy.headline().filter(|energy| *energy >= Energy::from_mwh(100_000));
        if let Some(price) = energy.and_then(|energy| cost.money.amount.checked_div(energy.as_kwh())) {
            let limit = match digits {
                0 => self.limits.price_per_kwh * Decimal::ONE_HUNDRED,
                _ => self.limits.price_per_kwh,
            };
            if price < Decimal::ZERO || price > limit {
                let severity = if price < Decimal::ZERO { Severity::Info } else { Severity::Warning };
                let currency = cost.money.currency;
                let issue = self.report(IssueCode::MONEY_PRICE_OUTLIER, severity, "costs.cost");
                issue.observed = Some(format!("{} {currency}/kWh", price.round_dp(4).normalize()));
                issue.expected = Some(format!("0 to {limit} {currency}/kWh"));
            }
        }
        // Tax that is told beside a cost without it is no part of that cost.
        let beside = |kind| kind == CostComponentKind::Tax && cost.tax == TaxBasis::Excluded;
        let parts: Vec<_> = costs.components.iter().filter(|part| !beside(part.kind)).collect();
        let same_currency = parts.iter().all(|part| part.money.currency == cost.money.currency);
        if !parts.is_empty() && same_currency {
            let sum: Decimal = parts.iter().map(|part| part.money.amount).sum();
            let parts = parts.len().to_i64().unwrap_or(i64::MAX);
            if (sum - cost.money.amount).abs() > Decimal::new(parts, digits) {
                let issue =
                    self.report(IssueCode::MONEY_COMPONENTS_MISMATCH, Severity::Warning, "costs.components");
                issue.observed = Some(format!("{sum} {}", cost.money.currency));
                issue.expected = Some(cost.money.to_string());
            }
        }
    }
}

/// Whether two amounts differ by more than `percent` of the second and by more than `least`.
fn differ(a: Energy, b: Energy, percent: i64, least: Energy) -> bool {
    let difference = (i128::from(a.as_mwh()) - i128::from(b.as_mwh())).unsigned_abs();
    let allowed = (i128::from(b.as_mwh()).unsigned_abs() * percent.unsigned_abs() as u128 / 100)
        .max(i128::from(least.as_mwh()).unsigned_abs());
    difference > allowed
}

#[cfg(test)]
// Outside this crate the record's groups can only be set field by field; the tests read the same way.
#[allow(clippy::field_reassign_with_default)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        AccountId, ChargePoint, Cost, CostBasis, CostComponent, CostComponentKind, Currency, Detail,
        Endpoint, EnergyReading, Interval, Location, MeasuringPoint, Money, Provenance, ProviderId,
        SessionKey, Vehicle,
    };

    fn instant(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn wh(wh: i64) -> Energy {
        Energy::from_wh(wh).unwrap()
    }

    /// Two hours, 14 kWh, fetched a day later: nothing is odd about it.
    fn session() -> ChargingSession {
        let key = SessionKey::new(ProviderId::new("test"), AccountId::default(), RecordKind::PlugIn, "1");
        let origin =
            Provenance::new(Endpoint::new("GET /sessions", None), instant("2026-06-02T00:00:00Z"), 1);
        let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
        session.timing.period.start = Some(instant("2026-06-01T18:00:00Z"));
        session.timing.period.end = Some(instant("2026-06-01T20:00:00Z"));
        session.energy.readings = vec![EnergyReading::import(wh(14_000), MeasuringPoint::Unknown)];
        session
    }

    fn set_energy(session: &mut ChargingSession, energy: Energy) {
        session.energy.readings[0].energy = energy;
    }

    fn found(session: &ChargingSession) -> Vec<String> {
        check(session, &Limits::default())
            .iter()
            .map(|issue| format!("{} {}", issue.severity, issue.code))
            .collect()
    }

    #[track_caller]
    fn finds(change: impl FnOnce(&mut ChargingSession), expected: &[&str]) {
        let mut session = session();
        change(&mut session);
        assert_eq!(found(&session), expected);
    }

    #[test]
    fn what_lies_before_2009_is_a_placeholder() {
        for text in ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2008-12-31T23:59:59Z"] {
            assert!(is_placeholder(instant(text)), "{text}");
        }
        assert!(!is_placeholder(instant("2009-01-01T00:00:00Z")));
    }

    #[test]
    fn nothing_is_odd_about_an_ordinary_session() {
        finds(|_| {}, &[]);
    }

    #[test]
    fn a_missing_start_is_an_error() {
        finds(|s| s.timing.period.start = None, &["error time.start_missing"]);
    }

    #[test]
    fn an_end_before_the_start_is_skew_up_to_five_minutes() {
        let end = |text: &'static str| {
            move |s: &mut ChargingSession| {
                s.timing.period.end = Some(instant(text));
                s.energy.readings.clear();
            }
        };
        finds(end("2026-06-01T17:55:00Z"), &["warning time.end_before_start"]);
        finds(end("2026-06-01T17:54:59Z"), &["error time.end_before_start"]);
    }

    #[test]
    fn named_instants_out_of_order_are_reported_beyond_the_skew() {
        finds(
            |s| {
                s.timing.plugged_in_at = Some(instant("2026-06-01T18:00:00Z"));
                s.timing.charging_ended_at = Some(instant("2026-06-01T20:06:00Z"));
                s.timing.unplugged_at = Some(instant("2026-06-01T20:00:00Z"));
            },
            &["warning time.order"],
        );
        finds(
            |s| {
                s.timing.charging_ended_at = Some(instant("2026-06-01T20:01:00Z"));
                s.timing.unplugged_at = Some(instant("2026-06-01T20:00:00Z"));
            },
            &[],
        );
    }

    #[test]
    fn a_start_in_the_future_is_reported_beyond_ten_minutes() {
        let at = |text: &'static str| {
            move |s: &mut ChargingSession| {
                s.timing.period.start = Some(instant(text));
                s.timing.period.end = None;
            }
        };
        finds(at("2026-06-02T00:10:00Z"), &[]);
        finds(at("2026-06-02T00:10:01Z"), &["warning time.future"]);
    }

    #[test]
    fn a_session_that_never_ends_is_reported_after_a_week() {
        finds(
            |s| {
                s.state.status = SessionStatus::Active;
                s.timing.period.end = None;
                s.timing.period.start = Some(instant("2026-05-25T23:59:59Z"));
            },
            &["warning time.open_too_long"],
        );
    }

    #[test]
    fn short_and_long_sessions_are_reported() {
        finds(
            |s| {
                s.timing.period.end = Some(instant("2026-06-01T18:00:59Z"));
                set_energy(s, wh(500));
            },
            &["info duration.short"],
        );
        finds(|s| s.timing.period.start = Some(instant("2026-05-18T19:59:59Z")), &["warning duration.long"]);
        finds(
            |s| {
                s.identity.key.kind = RecordKind::Charge;
                s.timing.period.start = Some(instant("2026-05-31T19:59:59Z"));
            },
            &["warning duration.long"],
        );
    }

    #[test]
    fn charging_for_longer_than_connected_is_reported() {
        finds(|s| s.timing.charging_for = Some(SignedDuration::from_mins(121)), &[]);
        finds(
            |s| s.timing.charging_for = Some(SignedDuration::from_secs(121 * 60 + 1)),
            &["warning duration.charging_gt_session"],
        );
        finds(
            |s| {
                s.timing.connected_for = Some(SignedDuration::from_hours(40));
                s.timing.charging_for = Some(SignedDuration::from_hours(30));
            },
            &["warning duration.long"],
        );
    }

    #[test]
    fn negative_energy_needs_a_direction() {
        finds(|s| set_energy(s, wh(-1)), &["error energy.negative"]);
        finds(
            |s| {
                set_energy(s, wh(-1));
                s.energy.readings[0].direction = EnergyDirection::Net;
            },
            &[],
        );
    }

    #[test]
    fn little_and_much_energy_are_reported_at_their_bounds() {
        finds(|s| set_energy(s, Energy::ZERO), &["info energy.zero"]);
        finds(|s| set_energy(s, wh(499)), &["info energy.low"]);
        finds(|s| set_energy(s, wh(500)), &[]);
        finds(|s| set_energy(s, wh(250_000)), &[]);
        finds(|s| set_energy(s, wh(250_001)), &["warning energy.high"]);
        finds(
            |s| {
                set_energy(s, wh(0));
                s.state.status = SessionStatus::Active;
            },
            &[],
        );
    }

    #[test]
    fn more_than_the_plug_can_give_is_reported_and_a_thousandth_suggested() {
        let rated = |s: &mut ChargingSession| {
            let mut charge_point = ChargePoint::default();
            charge_point.max_power = Power::from_kw(Decimal::from(10));
            s.parties.charge_point = Some(charge_point);
        };
        // 10 kW for two hours: 22 kWh are within a tenth, 60 kWh within three times.
        finds(|s| (rated(s), set_energy(s, wh(22_000))).0, &[]);
        finds(|s| (rated(s), set_energy(s, wh(22_001))).0, &["warning energy.above_power"]);
        finds(|s| (rated(s), set_energy(s, wh(60_001))).0, &["error energy.above_power"]);
        finds(
            |s| (rated(s), set_energy(s, wh(14_000_000))).0,
            &["error energy.high", "error energy.above_power", "warning energy.unit_suspect"],
        );
    }

    #[test]
    fn home_has_a_lower_limit_than_a_highway() {
        finds(
            |s| {
                let mut location = Location::default();
                location.category = Some(LocationCategory::Home);
                s.place.location = Some(location);
                set_energy(s, wh(50_000));
            },
            &["warning energy.above_power"],
        );
        finds(|s| set_energy(s, wh(50_000)), &[]);
    }

    #[test]
    fn a_thousandfold_is_suggested_where_almost_nothing_flowed_for_long() {
        finds(
            |s| {
                s.timing.charging_for = Some(SignedDuration::from_mins(120));
                set_energy(s, wh(14));
            },
            &["info energy.low", "warning energy.unit_suspect"],
        );
    }

    #[test]
    fn meter_registers_must_agree_with_the_energy() {
        let registers = |start: Option<i64>, end: i64| {
            move |s: &mut ChargingSession| {
                s.energy.registers.start = start.map(wh);
                s.energy.registers.end = Some(wh(end));
            }
        };
        finds(registers(Some(100_000), 114_280), &[]);
        finds(registers(Some(100_000), 114_281), &["warning energy.meter_mismatch"]);
        finds(registers(Some(100_000), 99_999), &["error energy.meter_reset"]);
        finds(registers(None, 14_000), &["error energy.meter_reset"]);
        finds(registers(Some(0), 14_000), &[]);
    }

    #[test]
    fn parts_must_add_up() {
        finds(
            |s| {
                s.energy.sources.grid = Some(wh(10_000));
                s.energy.sources.solar = Some(wh(3_859));
            },
            &["warning energy.parts_mismatch"],
        );
        finds(
            |s| {
                s.energy.sources.grid = Some(wh(10_000));
                s.energy.sources.solar = Some(wh(3_860));
            },
            &[],
        );
        finds(|s| s.energy.sources.grid = Some(wh(1)), &[]);
        finds(
            |s| {
                let mut interval = Interval::default();
                interval.energy = Some(wh(13_000));
                s.details.intervals = Detail::Some(vec![interval]);
            },
            &["warning energy.parts_mismatch"],
        );
    }

    #[test]
    fn an_average_above_the_maximum_is_noted() {
        finds(
            |s| {
                s.power.max = Power::from_w(7_000);
                s.power.average = Power::from_w(7_001);
            },
            &["info power.inconsistent"],
        );
    }

    #[test]
    fn a_state_of_charge_lies_between_0_and_100() {
        finds(|s| s.state_of_charge.end = Some(Percent::from(100)), &[]);
        finds(|s| s.state_of_charge.end = Some(Percent::from(101)), &["error soc.range"]);
        finds(|s| s.state_of_charge.added = Some(Percent::from(-30)), &[]);
        finds(
            |s| {
                s.state_of_charge.start = Some(Percent::from(60));
                s.state_of_charge.end = Some(Percent::from(50));
            },
            &["info soc.decrease"],
        );
    }

    #[test]
    fn energy_must_fit_the_battery() {
        let added = |percent: i64| {
            move |s: &mut ChargingSession| {
                let mut vehicle = Vehicle::default();
                vehicle.battery_capacity = Some(wh(70_000));
                s.parties.vehicle = Some(vehicle);
                s.state_of_charge.added = Some(Percent::from(percent));
            }
        };
        finds(added(20), &[]);
        finds(added(40), &["info energy.vs_soc"]);
        finds(added(4), &[]);
    }

    #[test]
    fn prices_and_components_must_be_plausible() {
        let cost = |minor: i64, code: &'static str| {
            move |s: &mut ChargingSession| {
                let currency = Currency::parse(code).unwrap();
                let mut cost = Cost::new(Money::from_minor(minor, currency).unwrap(), CostBasis::Billed);
                cost.tax = TaxBasis::Included;
                s.costs.cost = Some(cost);
            }
        };
        finds(cost(2_800, "EUR"), &[]);
        finds(cost(2_801, "EUR"), &["warning money.price_outlier"]);
        finds(cost(2_800, "JPY"), &[]);
        finds(cost(-1, "EUR"), &["info money.price_outlier"]);
        finds(cost(0, "EUR"), &[]);
        finds(
            |s| {
                cost(300, "EUR")(s);
                s.costs.cost.as_mut().unwrap().tax = TaxBasis::Unknown;
            },
            &["info money.tax_unknown"],
        );
        finds(
            |s| {
                cost(300, "EUR")(s);
                let part = Money::from_minor(302, Currency::parse("EUR").unwrap()).unwrap();
                s.costs.components = vec![CostComponent::new(CostComponentKind::Energy, part)];
            },
            &["warning money.components_mismatch"],
        );
        // Tax is a part of a cost that includes it, and stands beside one that does not.
        for (tax, found) in
            [(TaxBasis::Excluded, &[][..]), (TaxBasis::Included, &["warning money.components_mismatch"])]
        {
            finds(
                |s| {
                    cost(300, "EUR")(s);
                    s.costs.cost.as_mut().unwrap().tax = tax;
                    let part = |kind, minor: i64| {
                        CostComponent::new(
                            kind,
                            Money::from_minor(minor, Currency::parse("EUR").unwrap()).unwrap(),
                        )
                    };
                    let parts = [part(CostComponentKind::Energy, 300), part(CostComponentKind::Tax, 63)];
                    s.costs.components = parts.into();
                },
                found,
            );
        }
    }

    #[test]
    fn screening_withdraws_what_is_impossible_and_loses_nothing() {
        let mut session = session();
        session.state_of_charge.end = Some(Percent::from(140));
        session.timing.period.end = Some(instant("2026-06-01T12:00:00Z"));
        assert!(session.counts());
        screen(&mut session, &Limits::default());
        assert!(!session.counts());
        assert_eq!((session.state_of_charge.end, session.timing.period.end), (None, None));
        assert_eq!(session.extra["state_of_charge.end"], "140");
        assert_eq!(session.extra["timing.period.end"], "2026-06-01T12:00:00Z");
        let once = session.clone();
        screen(&mut session, &Limits::default());
        assert_eq!(session, once);
    }

    proptest! {
        #[test]
        fn no_figure_panics(energy: i64, start: i64, end: i64, added: i64, amount: i64, register: i64) {
            let mut session = session();
            set_energy(&mut session, Energy::from_mwh(energy));
            let timestamp = |n: i64| Timestamp::from_second(n % 250_000_000_000).ok();
            session.timing.period.start = timestamp(start);
            session.timing.period.end = timestamp(end);
            session.energy.registers.start = Some(Energy::from_mwh(register));
            session.energy.registers.end = Some(Energy::from_mwh(energy));
            session.energy.sources.grid = Some(Energy::from_mwh(register));
            session.energy.sources.solar = Some(Energy::from_mwh(energy));
            session.state_of_charge.added = Some(Percent::from(added));
            let mut vehicle = Vehicle::default();
            vehicle.battery_capacity = Some(Energy::from_mwh(register));
            session.parties.vehicle = Some(vehicle);
            let mut charge_point = ChargePoint::default();
            charge_point.max_power = Some(Power::from_mw(register));
            session.parties.charge_point = Some(charge_point);
            let money = Money::from_minor(amount, Currency::parse("KWD").unwrap()).unwrap();
            session.costs.cost = Some(Cost::new(money, CostBasis::Unknown));
            screen(&mut session, &Limits::default());
        }
    }
}
