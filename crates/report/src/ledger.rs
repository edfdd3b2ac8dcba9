//! The records of a month or a year: what counts with which figures, what does not, and why.

use std::collections::BTreeMap;

use charging_sessions_core::{Currency, Energy, SessionKey};
use rust_decimal::Decimal;

use crate::{
    BucketRule, Choosing, Grade, Period, Record, Standing, Why,
    bucket::{Part, Share, parts, split},
    sums::Figures,
};

/// The records of a month or a year: what counts with which figures, what does not, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ledger {
    /// What it is about.
    pub period: Period,
    /// Where a record over a border belongs.
    pub rule: BucketRule,
    /// What counts, in whole or in part, by start.
    pub entries: Vec<Entry>,
    /// What does not, by start.
    pub left_out: Vec<LeftOut>,
}

/// A record that counts, in whole or in part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The record.
    pub record: Record,
    /// Whether its energy, its cost or both count.
    pub standing: Standing,
    /// How good the evidence for its energy is.
    pub grade: Option<Grade>,
    /// Its energy in the period, if it has any and that counts.
    pub energy: Option<Energy>,
    /// Its cost in the period, if it has any and that counts.
    pub cost: Option<(Currency, Decimal)>,
    /// Whether a part of it lies outside of the period, and is not in the figures.
    pub is_part: bool,
    /// Its energy by the pieces of the period.
    pub pieces: Vec<(String, Energy)>,
    /// How much of it lies in the period.
    share: Share,
}

/// A record that does not count.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeftOut {
    /// The record.
    pub record: Record,
    /// Why.
    pub why: Why,
}

impl Entry {
    /// The share of another figure of its record that lies in the period.
    pub(crate) fn share_of(&self, figure: Decimal) -> Option<Decimal> {
        self.share.of(figure, 6)
    }
}

impl Ledger {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.left_out.is_empty()
    }

    /// The energy of all that counts.
    pub fn energy(&self) -> Energy {
        self.entries.iter().filter_map(|entry| entry.energy).sum()
    }

    /// The cost of all that counts, each currency by itself.
    pub fn cost(&self) -> BTreeMap<Currency, Decimal> {
        costs(&self.entries)
    }
}

/// The cost of entries, each currency by itself.
pub(crate) fn costs<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeMap<Currency, Decimal> {
    let mut sums: BTreeMap<Currency, Decimal> = BTreeMap::new();
    for (currency, amount) in entries.into_iter().filter_map(|entry| entry.cost) {
        let sum = sums.entry(currency).or_default();
        *sum = sum.saturating_add(amount);
    }
    sums
}

/// Takes records one by one, in any order. All of the accounts in question belong in here, because a record of another
/// month may tell of the same charge; only those of the period are kept.
#[derive(Debug)]
pub struct LedgerBuilder {
    period: Period,
    rule: BucketRule,
    choosing: Choosing,
    records: Vec<Record>,
}

impl LedgerBuilder {
    /// Nothing yet.
    pub fn new(period: Period, rule: BucketRule) -> Self {
        Self { period, rule, choosing: Choosing::default(), records: Vec::new() }
    }

    /// Takes a record.
    pub fn add(&mut self, record: Record) {
        self.choosing.add(&record);
        if self.concerns(&record) {
            self.records.push(record);
        }
    }

    /// Whether a record may belong in the period. One without any instant may.
    fn concerns(&self, record: &Record) -> bool {
        let (window, period) = (self.period.window(), &record.session.timing.period);
        let start = period.start.or(period.end).is_none_or(|start| start < window.until());
        let end = period.end.or(period.start).is_none_or(|end| end >= window.from());
        start && end
    }

    /// What counts and what does not.
    pub fn finish(self) -> Ledger {
        let Self { period, rule, choosing, records } = self;
        let choice = choosing.finish();
        let mut ledger = Ledger { period, rule, entries: Vec::new(), left_out: Vec::new() };
        for record in records {
            let standing = choice.standing(record.session.key()).clone();
            match standing {
                Standing::LeftOut(why) => ledger.leave_out(record, why),
                standing => ledger.enter(record, standing),
            }
        }
        fn order(record: &Record) -> (Option<jiff::Timestamp>, &SessionKey) {
            (record.session.timing.period.start, record.session.key())
        }
        ledger.entries.sort_by(|one, other| order(&one.record).cmp(&order(&other.record)));
        ledger.left_out.sort_by(|one, other| order(&one.record).cmp(&order(&other.record)));
        ledger
    }
}

impl Ledger {
    /// Lists a record that would belong in the period, or that cannot be placed.
    fn leave_out(&mut self, record: Record, why: Why) {
        let period = &record.session.timing.period;
        let at = match self.rule {
            BucketRule::End => period.end.or(period.start),
            BucketRule::Start | BucketRule::Split => period.start.or(period.end),
        };
        if at.is_none_or(|at| self.period.window().contains(at)) {
            self.left_out.push(LeftOut { record, why });
        }
    }

    fn enter(&mut self, record: Record, standing: Standing) {
        let (zone, window) = (self.period.zone(), self.period.window());
        let parts = match parts(&record.session, self.period.width(), self.rule, zone) {
            Ok(parts) => parts,
            Err(reason) => return self.leave_out(record, Why { reason, other: None }),
        };
        // At most one part lies in one month or year.
        let Some(part) = parts.iter().find(|part| window.contains(part.at)).copied() else { return };
        let figures = Figures::of(&record.session);
        let energy = standing.energy().then(|| figures.energy(part.share)).flatten();
        let cost = standing.cost().then(|| figures.cost(part.share)).flatten();
        self.entries.push(Entry {
            grade: Grade::of(&record.session),
            pieces: energy.map(|energy| self.pieces(&record, part, energy)).unwrap_or_default(),
            is_part: parts.len() > 1,
            record,
            standing,
            energy,
            cost,
            share: part.share,
        });
    }

    /// The energy of a record by the days of a month or the months of a year. By its intervals if records are split and
    /// it has any, else in one piece.
    fn pieces(&self, record: &Record, part: Part, energy: Energy) -> Vec<(String, Energy)> {
        let (width, zone, window) = (self.period.pieces(), self.period.zone(), self.period.window());
        let whole = || vec![(width.label(part.at, zone), energy)];
        if self.rule != BucketRule::Split {
            return whole();
        }
        let Some(parts) = split(&record.session, width, zone) else { return whole() };
        let figures = Figures::of(&record.session);
        let mut pieces: Vec<_> = parts
            .into_iter()
            .filter(|part| window.contains(part.at))
            .filter_map(|part| Some((width.label(part.at, zone), figures.energy(part.share)?)))
            .collect();
        // Shares of the whole are rounded, and so is the part of it that is in the period: the last piece takes what is
        // left, at most a few milliwatt-hours.
        let sum: Energy = pieces.iter().map(|(_, energy)| *energy).sum();
        if let (Some((_, last)), Some(rest)) = (pieces.last_mut(), energy.checked_sub(sum)) {
            *last = [*last, rest].into_iter().sum();
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use charging_sessions_core::{ChargingSession, Interval, SessionStatus};
    use jiff::tz::TimeZone;

    use super::*;
    use crate::choice::tests::{at, energy, session};

    fn ledger(sessions: &[ChargingSession], month: &str, rule: BucketRule) -> Ledger {
        let period = Period::parse(month, TimeZone::get("Europe/Berlin").unwrap()).unwrap();
        let mut builder = LedgerBuilder::new(period, rule);
        sessions.iter().for_each(|session| builder.add(Record::new(session.clone())));
        builder.finish()
    }

    /// Over midnight at the end of October in Berlin, with an interval of 40 minutes before and 20 after it.
    fn over() -> ChargingSession {
        let mut over = session("over");
        at(&mut over, "2026-10-31T22:00:00Z", "2026-11-01T02:00:00Z");
        let mut interval = Interval::lasting("2026-10-31T22:20:00Z".parse().ok(), Some(3600));
        interval.energy = Energy::from_wh(9_000);
        over.set_intervals(vec![interval]);
        over
    }

    #[test]
    fn two_months_share_a_session_and_lose_nothing() {
        for wh in [10_000, 10_001, 7] {
            let mut over = over();
            energy(&mut over, wh);
            let of = |month| ledger(std::slice::from_ref(&over), month, BucketRule::Split);
            let (october, november) = (of("2026-10"), of("2026-11"));
            assert_eq!([october.energy(), november.energy()].into_iter().sum::<Energy>().as_wh(), wh.into());
            assert!(october.entries[0].is_part && november.entries[0].is_part);
            let eur = Currency::parse("EUR").unwrap();
            assert_eq!(october.cost()[&eur] + november.cost()[&eur], Decimal::from(3));
            assert_eq!(october.entries[0].pieces, [("2026-10-31".to_owned(), october.energy())]);
        }
    }

    #[test]
    fn by_start_and_by_end_a_session_is_in_one_month() {
        for (rule, month, other) in
            [(BucketRule::Start, "2026-10", "2026-11"), (BucketRule::End, "2026-11", "2026-10")]
        {
            assert_eq!(ledger(&[over()], month, rule).energy().to_string(), "10 kWh");
            assert!(ledger(&[over()], other, rule).is_empty(), "{rule:?}");
        }
    }

    #[test]
    fn what_is_left_out_stands_in_its_own_month_and_without_any_instant_in_all() {
        let mut active = session("active");
        active.state.status = SessionStatus::Active;
        active.timing.period.end = None;
        let mut nowhere = session("nowhere");
        nowhere.timing.period = Default::default();
        let words = |month| {
            let ledger = ledger(&[active.clone(), nowhere.clone()], month, BucketRule::Start);
            ledger.left_out.iter().map(|left| left.why.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(words("2026-10"), ["without a start", "still active"]);
        assert_eq!(words("2026-11"), ["without a start"]);
    }

    #[test]
    fn a_record_stands_back_for_one_of_another_month() {
        let mut stay = session("stay");
        at(&mut stay, "2026-09-30T20:00:00Z", "2026-10-02T20:00:00Z");
        let mut part = crate::choice::tests::of_kind(charging_sessions_core::RecordKind::Segment, "part");
        at(&mut part, "2026-10-01T20:00:00Z", "2026-10-01T21:00:00Z");
        part.identity.parent = Some(stay.key().clone());
        let ledger = ledger(&[stay, part], "2026-10", BucketRule::Start);
        assert!(ledger.entries.is_empty());
        assert_eq!(ledger.left_out[0].why.to_string(), "part of another record: x/default/plug_in/stay");
    }

    #[test]
    fn a_year_is_divided_into_months() {
        let ledger = ledger(&[over()], "2026", BucketRule::Split);
        let pieces: Vec<_> =
            ledger.entries[0].pieces.iter().map(|(month, energy)| format!("{month} {energy}")).collect();
        assert_eq!(pieces, ["2026-10 6.666667 kWh", "2026-11 3.333333 kWh"]);
    }
}
