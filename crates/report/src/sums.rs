//! Sums by month, vehicle and whatever else.

use std::collections::BTreeMap;

use charging_sessions_core::{ChargingSession, Currency, Energy, RecordKind};
use jiff::{Timestamp, tz::TimeZone};
use rust_decimal::Decimal;

use crate::{
    BucketRule, Choice, Reason, Record, Width,
    bucket::{Part, Share, parts},
};

/// What sums are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupBy {
    /// The year.
    Year,
    /// The month.
    Month,
    /// The day.
    Day,
    /// The vehicle, by name if it has one.
    Vehicle,
    /// The charge point, by name if it has one.
    ChargePoint,
    /// The provider.
    Provider,
    /// The account.
    Account,
    /// The place, by its label.
    Place,
    /// The provider's word for the mode.
    Mode,
}

impl GroupBy {
    /// A stable lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Vehicle => "vehicle",
            Self::ChargePoint => "charge_point",
            Self::Provider => "provider",
            Self::Account => "account",
            Self::Place => "place",
            Self::Mode => "mode",
        }
    }

    fn width(self) -> Option<Width> {
        match self {
            Self::Year => Some(Width::Year),
            Self::Month => Some(Width::Month),
            Self::Day => Some(Width::Day),
            _ => None,
        }
    }

    /// What a session is grouped under; empty if it does not say.
    fn word(self, session: &ChargingSession, at: Option<Timestamp>, zone: &TimeZone) -> String {
        if let Some(width) = self.width() {
            return at.map(|at| width.label(at, zone)).unwrap_or_default();
        }
        let parties = &session.parties;
        let word = match self {
            Self::Provider => return session.key().provider.to_string(),
            Self::Account => return session.key().account.to_string(),
            Self::Vehicle => {
                parties.vehicle.as_ref().and_then(|it| it.name.as_ref().or(it.source_id.as_ref()))
            }
            Self::ChargePoint => {
                parties.charge_point.as_ref().and_then(|it| it.name.as_ref().or(it.source_id.as_ref()))
            }
            Self::Place => session.place.location.as_ref().and_then(|location| location.label.as_ref()),
            _ => session.state.mode.as_ref().map(|mode| &mode.word),
        };
        word.cloned().unwrap_or_default()
    }
}

/// How to add up.
#[derive(Clone, Debug)]
pub struct SumRule {
    /// What to group by, in this order. Years, months and days are those of `zone`.
    pub by: Vec<GroupBy>,
    /// Where a session belongs that reaches over the border of the shortest of them.
    pub bucket: BucketRule,
    /// Whose days and months are meant.
    pub zone: TimeZone,
}

/// The sums of one group.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sum {
    /// Sessions that belong here, in whole or in part.
    pub sessions: usize,
    /// Their energy.
    pub energy: Energy,
    /// How many of them have none.
    pub without_energy: usize,
    /// Their costs, in major units.
    pub cost: BTreeMap<Currency, Decimal>,
    /// How many of them have none.
    pub without_cost: usize,
}

/// Sums by group, and what is in none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// By level of record, so that it can be seen which levels count; then by the words of the groups.
    pub groups: BTreeMap<(RecordKind, Vec<String>), Sum>,
    /// Why records were left out, in whole or in part, and how many.
    pub left_out: BTreeMap<Reason, usize>,
}

impl Summary {
    /// Adds a record as far as it counts.
    pub fn add(&mut self, record: &Record, choice: &Choice, rule: &SumRule) {
        let session = &record.session;
        let standing = choice.standing(session.key());
        if let Some(why) = standing.why() {
            *self.left_out.entry(why.reason).or_default() += 1;
        }
        if !standing.energy() && !standing.cost() {
            return;
        }
        let parts = match rule.by.iter().rev().find_map(|by| by.width()) {
            None => vec![(session.timing.period.start, Share::WHOLE)],
            Some(width) => match parts(session, width, rule.bucket, &rule.zone) {
                Ok(parts) => parts.into_iter().map(|Part { at, share }| (Some(at), share)).collect(),
                Err(reason) => {
                    *self.left_out.entry(reason).or_default() += 1;
                    return;
                }
            },
        };
        let figures = Figures::of(session);
        for (at, share) in parts {
            let group = rule.by.iter().map(|by| by.word(session, at, &rule.zone)).collect();
            let sum = self.groups.entry((session.key().kind, group)).or_default();
            sum.sessions += 1;
            if standing.energy() {
                match figures.energy(share) {
                    Some(energy) => sum.energy = [sum.energy, energy].into_iter().sum(),
                    None => sum.without_energy += 1,
                }
            }
            if standing.cost() {
                match figures.cost(share) {
                    Some((currency, amount)) => {
                        let cost = sum.cost.entry(currency).or_default();
                        *cost = cost.saturating_add(amount);
                    }
                    None => sum.without_cost += 1,
                }
            }
        }
    }
}

/// The figures of a session that are added up.
pub(crate) struct Figures {
    energy: Option<Energy>,
    cost: Option<(Currency, Decimal)>,
}

impl Figures {
    pub(crate) fn of(session: &ChargingSession) -> Self {
        let cost = session.costs.cost.as_ref().map(|cost| (cost.money.currency, cost.money.amount));
        Self { energy: session.energy.headline(), cost }
    }

    /// A share of the energy, to the milliwatt-hour.
    pub(crate) fn energy(&self, share: Share) -> Option<Energy> {
        share.of(self.energy?.as_kwh(), 6).and_then(Energy::from_kwh)
    }

    /// A share of the cost, to a millionth of the major unit.
    pub(crate) fn cost(&self, share: Share) -> Option<(Currency, Decimal)> {
        let (currency, amount) = self.cost?;
        share.of(amount, 6).map(|amount| (currency, amount))
    }
}

#[cfg(test)]
mod tests {
    use charging_sessions_core::{Interval, SessionStatus};

    use super::*;
    use crate::choice::tests::{at, energy, session as any};

    fn session(id: &str, start: &str, end: &str, wh: i64) -> ChargingSession {
        let mut session = any(id);
        at(&mut session, start, end);
        energy(&mut session, wh);
        session
    }

    fn rule(by: &[GroupBy], bucket: BucketRule) -> SumRule {
        SumRule { by: by.to_vec(), bucket, zone: TimeZone::get("Europe/Berlin").unwrap() }
    }

    fn sums(sessions: &[ChargingSession], rule: &SumRule) -> Vec<String> {
        let records: Vec<_> = sessions.iter().cloned().map(Record::new).collect();
        let choice = Choice::of(&records);
        let mut summary = Summary::default();
        records.iter().for_each(|record| summary.add(record, &choice, rule));
        let groups = summary.groups.iter().map(|((_, group), sum)| {
            let cost: Vec<_> = sum.cost.values().map(ToString::to_string).collect();
            format!("{} {} {} {}", group.join("/"), sum.sessions, sum.energy.as_wh(), cost.join("+"))
        });
        groups.chain(summary.left_out.iter().map(|(why, n)| format!("{n} {why}"))).collect()
    }

    #[test]
    fn months_are_those_of_the_zone() {
        // Half past eleven in Berlin on the last day of October, and half past midnight on the first of November.
        let sessions = [
            session("a", "2026-10-31T22:30:00Z", "2026-10-31T22:45:00Z", 1000),
            session("b", "2026-10-31T23:30:00Z", "2026-10-31T23:45:00Z", 2000),
        ];
        assert_eq!(
            sums(&sessions, &rule(&[GroupBy::Month], BucketRule::Start)),
            ["2026-10 1 1000 3", "2026-11 1 2000 3"]
        );
    }

    #[test]
    fn a_session_over_a_border_goes_where_the_rule_says() {
        let mut over = session("a", "2026-10-31T22:00:00Z", "2026-11-01T02:00:00Z", 4000);
        let by_month = |bucket| rule(&[GroupBy::Month], bucket);
        assert_eq!(sums(&[over.clone()], &by_month(BucketRule::Start)), ["2026-10 1 4000 3"]);
        assert_eq!(sums(&[over.clone()], &by_month(BucketRule::End)), ["2026-11 1 4000 3"]);
        assert_eq!(
            sums(&[over.clone()], &by_month(BucketRule::Split)),
            ["1 over a border, without intervals to split by"]
        );
        // An hour before midnight in Berlin, and one that reaches half an hour over it.
        let interval = |start: &str, seconds, wh| {
            let mut interval = Interval::lasting(start.parse().ok(), Some(seconds));
            interval.energy = Energy::from_wh(wh);
            interval
        };
        over.set_intervals(vec![
            interval("2026-10-31T22:00:00Z", 1800, 1000),
            interval("2026-10-31T22:30:00Z", 3600, 2000),
        ]);
        assert_eq!(
            sums(&[over], &by_month(BucketRule::Split)),
            ["2026-10 1 2666.667 2", "2026-11 1 1333.333 1"]
        );
    }

    #[test]
    fn what_ends_at_midnight_reaches_over_no_border() {
        let until = session("a", "2026-10-31T22:00:00Z", "2026-10-31T23:00:00Z", 4000);
        assert_eq!(sums(&[until], &rule(&[GroupBy::Month], BucketRule::Split)), ["2026-10 1 4000 3"]);
    }

    #[test]
    fn the_longest_and_the_shortest_day_are_one_day_each() {
        // 25 hours in October, 23 in March: both ends of each in Berlin.
        let sessions = [
            session("a", "2026-10-24T22:00:00Z", "2026-10-24T22:10:00Z", 1),
            session("b", "2026-10-25T22:59:59Z", "2026-10-25T23:10:00Z", 2),
            session("c", "2026-03-28T23:00:00Z", "2026-03-28T23:10:00Z", 4),
            session("d", "2026-03-29T21:59:59Z", "2026-03-29T22:10:00Z", 8),
        ];
        assert_eq!(
            sums(&sessions, &rule(&[GroupBy::Day], BucketRule::Start)),
            ["2026-03-29 2 12 6", "2026-10-25 2 3 6"]
        );
    }

    #[test]
    fn what_is_left_out_is_counted_with_the_reason() {
        let mut active = session("a", "2026-10-01T00:00:00Z", "", 1);
        active.state.status = SessionStatus::Active;
        let no_start = session("b", "", "2026-10-01T00:00:00Z", 1);
        assert_eq!(
            sums(&[active, no_start], &rule(&[GroupBy::Month], BucketRule::Start)),
            ["1 still active", "1 without a start"]
        );
    }

    #[test]
    fn without_a_time_in_the_groups_no_instant_is_needed() {
        let sessions = [session("a", "", "", 1), session("b", "2026-10-01T00:00:00Z", "", 2)];
        assert_eq!(
            sums(&sessions, &rule(&[GroupBy::Provider, GroupBy::Vehicle], BucketRule::Start)),
            ["x/ 2 3 6"]
        );
    }
}
