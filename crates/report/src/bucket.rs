//! Where a session belongs that reaches over the border of a year, a month or a day.

use std::collections::BTreeMap;

use charging_sessions_core::{ChargingSession, Detail};
use jiff::{Timestamp, tz::TimeZone};
use rust_decimal::Decimal;

use crate::choice::Reason;

/// Where a session belongs that reaches over the border of a year, a month or a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BucketRule {
    /// Where it starts.
    #[default]
    Start,
    /// Where it ends.
    End,
    /// Part here, part there, as its intervals say. A session without intervals that reaches over a border is left
    /// out, and said so.
    Split,
}

impl BucketRule {
    /// A stable lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Split => "split",
        }
    }

    /// What it means, in a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Start => "A session belongs where it starts.",
            Self::End => "A session belongs where it ends.",
            Self::Split => "A session over a border is divided as its intervals are.",
        }
    }
}

/// How long a bucket is. Days, months and years are those of a time zone: a day has 23 or 25 hours twice a year in
/// many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// A day.
    Day,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Width {
    /// The bucket that an instant is in, such as `2026-10`. In the order of time as text.
    pub fn label(self, at: Timestamp, zone: &TimeZone) -> String {
        let format = match self {
            Self::Year => "%Y",
            Self::Month => "%Y-%m",
            Self::Day => "%Y-%m-%d",
        };
        at.to_zoned(zone.clone()).strftime(format).to_string()
    }

    /// The first instant of the bucket after the one that `at` is in. `None` at the end of time.
    pub fn border_after(self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let day = at.to_zoned(zone.clone()).date();
        let next = match self {
            Self::Year => day.last_of_year().tomorrow(),
            Self::Month => day.last_of_month().tomorrow(),
            Self::Day => day.tomorrow(),
        };
        Some(next.ok()?.to_zoned(zone.clone()).ok()?.timestamp())
    }
}

/// A part of a session: an instant in its bucket, and how much of the whole it is, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) at: Timestamp,
    pub(crate) share: Share,
}

/// How much of a whole: `before` of it lies in earlier parts, and `until` of it in those and this one. So that the
/// parts of an exact figure add up to it exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share {
    before: Decimal,
    until: Decimal,
}

impl Share {
    pub(crate) const WHOLE: Self = Self { before: Decimal::ZERO, until: Decimal::ONE };

    /// This share of a figure, to so many digits after the point. All shares together give the figure.
    pub(crate) fn of(self, figure: Decimal, digits: u32) -> Option<Decimal> {
        if self == Self::WHOLE {
            return Some(figure);
        }
        // The last share takes what is left of the figure, digits and all.
        let cut = |part: Decimal| {
            if part == Decimal::ONE {
                return Some(figure);
            }
            figure.checked_mul(part).map(|part| part.round_dp(digits))
        };
        cut(self.until)?.checked_sub(cut(self.before)?).map(|part| part.normalize())
    }
}

/// The parts of a session in the order of time, or why it belongs nowhere.
pub(crate) fn parts(
    session: &ChargingSession,
    width: Width,
    rule: BucketRule,
    zone: &TimeZone,
) -> Result<Vec<Part>, Reason> {
    let period = &session.timing.period;
    let start = || period.start.ok_or(Reason::NoStart);
    let end = || period.end.ok_or(Reason::NoEnd);
    let whole = |at| Ok(vec![Part { at, share: Share::WHOLE }]);
    match rule {
        BucketRule::Start => whole(start()?),
        BucketRule::End => whole(end()?),
        BucketRule::Split => {
            let (start, end) = (start()?, end()?);
            // What ends at midnight reaches over no border.
            if end <= start || width.border_after(start, zone).is_none_or(|border| end <= border) {
                return whole(start);
            }
            split(session, width, zone).ok_or(Reason::NoIntervals)
        }
    }
}

/// The parts of a session as its intervals say. `None` if it has none, or none with energy in them.
pub(crate) fn split(session: &ChargingSession, width: Width, zone: &TimeZone) -> Option<Vec<Part>> {
    let Detail::Some(intervals) = &session.details.intervals else { return None };
    // By the word of the bucket, which sorts as time does.
    let mut buckets: BTreeMap<String, (Timestamp, Decimal)> = BTreeMap::new();
    let mut total = Decimal::ZERO;
    for interval in intervals {
        let (Some(from), Some(until), Some(energy)) = (interval.start, interval.end, interval.energy) else {
            continue;
        };
        if energy.is_negative() {
            continue;
        }
        total += energy.as_wh();
        for (at, share) in pieces(from, until, width, zone) {
            buckets.entry(width.label(at, zone)).or_insert((at, Decimal::ZERO)).1 += energy.as_wh() * share;
        }
    }
    if total <= Decimal::ZERO {
        return None;
    }
    let last = buckets.len() - 1;
    let mut before = Decimal::ZERO;
    let mut energy = Decimal::ZERO;
    let parts = buckets.into_values().enumerate().map(|(index, (at, part))| {
        energy += part;
        let until = if index == last { Decimal::ONE } else { (energy / total).min(Decimal::ONE) };
        Part { at, share: Share { before: std::mem::replace(&mut before, until), until } }
    });
    Some(parts.collect())
}

/// The parts of a span of time in each bucket, as an instant in it and a share of the whole.
fn pieces(from: Timestamp, until: Timestamp, width: Width, zone: &TimeZone) -> Vec<(Timestamp, Decimal)> {
    let whole = until.duration_since(from).as_nanos();
    if whole <= 0 {
        return vec![(from, Decimal::ONE)];
    }
    let mut pieces = Vec::new();
    let mut at = from;
    while at < until {
        let end = width.border_after(at, zone).map_or(until, |border| border.min(until));
        let part = decimal(end.duration_since(at).as_nanos()) / decimal(whole);
        pieces.push((at, part));
        at = end;
    }
    pieces
}

/// Nanoseconds of all of jiff's time fit a decimal many times over.
fn decimal(nanoseconds: i128) -> Decimal {
    Decimal::try_from_i128_with_scale(nanoseconds, 0).unwrap_or(Decimal::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_and_the_shortest_day_are_one_day_each() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let day = |at: &str| Width::Day.border_after(at.parse().unwrap(), &zone).unwrap().to_string();
        assert_eq!(day("2026-10-24T22:00:00Z"), "2026-10-25T23:00:00Z", "25 hours");
        assert_eq!(day("2026-03-28T23:00:00Z"), "2026-03-29T22:00:00Z", "23 hours");
    }

    #[test]
    fn days_begin_at_their_first_instant_where_midnight_does_not_occur() {
        // The clock went from midnight to one.
        let zone = TimeZone::get("America/Sao_Paulo").unwrap();
        let border = Width::Day.border_after("2018-11-03T12:00:00Z".parse().unwrap(), &zone).unwrap();
        assert_eq!(border.to_string(), "2018-11-04T03:00:00Z");
        assert_eq!(Width::Day.label(border, &zone), "2018-11-04");
    }

    #[test]
    fn the_parts_of_a_figure_add_up_to_it() {
        let third = Decimal::ONE / Decimal::from(3);
        let shares = [
            Share { before: Decimal::ZERO, until: third },
            Share { before: third, until: third + third },
            Share { before: third + third, until: Decimal::ONE },
        ];
        let figure: Decimal = "10.000001".parse().unwrap();
        let parts: Vec<_> = shares.iter().map(|share| share.of(figure, 6).unwrap()).collect();
        assert_eq!(parts.iter().sum::<Decimal>(), figure);
        assert_eq!(parts[0].to_string(), "3.333334");
    }
}
