//! The month or the year that a report is about.

use std::fmt;

use charging_sessions_core::TimeWindow;
use jiff::{ToSpan as _, Zoned, civil::Date, tz::TimeZone};

use crate::Width;

/// The month or the year that a report is about, in a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Period {
    label: String,
    width: Width,
    window: TimeWindow,
    zone: TimeZone,
}

/// A text was neither a month nor a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPeriod;

impl fmt::Display for InvalidPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither a month such as 2026-10 nor a year such as 2026")
    }
}

impl std::error::Error for InvalidPeriod {}

impl Period {
    /// Parses a month such as `2026-10` or a year such as `2026`, which begin and end in `zone`.
    ///
    /// # Errors
    ///
    /// If it is neither.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, InvalidPeriod> {
        let day = |text: String| text.parse::<Date>().ok();
        let month = day(format!("{text}-01")).map(|first| (first, 1.month(), Width::Month));
        let span = month.or_else(|| day(format!("{text}-01-01")).map(|first| (first, 1.year(), Width::Year)));
        let period = span.and_then(|(first, length, width)| {
            let at = |day: Date| day.to_zoned(zone.clone()).ok().map(|at: Zoned| at.timestamp());
            let window = TimeWindow::new(at(first)?, at(first.checked_add(length).ok()?)?)?;
            Some((window, width))
        });
        let (window, width) = period.ok_or(InvalidPeriod)?;
        Ok(Self { label: text.to_owned(), width, window, zone })
    }

    /// As it is written, such as `2026-10`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A month or a year.
    pub fn width(&self) -> Width {
        self.width
    }

    /// What it is divided into: the days of a month, the months of a year.
    pub fn pieces(&self) -> Width {
        if self.width == Width::Year { Width::Month } else { Width::Day }
    }

    /// From its first instant, included, to that of the next one, excluded.
    pub fn window(&self) -> TimeWindow {
        self.window
    }

    /// The zone whose days and months are meant.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The zone's IANA name.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("the zone of this machine")
    }

    /// The words of all its pieces, in the order of time.
    pub fn piece_labels(&self) -> Vec<String> {
        let mut labels = Vec::new();
        let mut at = Some(self.window.from());
        while let Some(start) = at.filter(|start| *start < self.window.until()) {
            labels.push(self.pieces().label(start, &self.zone));
            at = self.pieces().border_after(start, &self.zone);
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> Result<Period, InvalidPeriod> {
        Period::parse(text, TimeZone::get("Europe/Berlin").unwrap())
    }

    #[test]
    fn months_and_years_begin_and_end_in_the_zone() {
        let shown = |text| period(text).unwrap().window().to_string();
        assert_eq!(shown("2026-10"), "[2026-09-30T22:00:00Z, 2026-10-31T23:00:00Z)");
        assert_eq!(shown("2026"), "[2025-12-31T23:00:00Z, 2026-12-31T23:00:00Z)");
        for text in ["october", "2026-13", "", "2026-10-01", "9999-12"] {
            assert_eq!(period(text), Err(InvalidPeriod), "{text}");
        }
    }

    #[test]
    fn a_month_has_all_its_days_and_a_year_its_months() {
        let days = period("2026-10").unwrap().piece_labels();
        assert_eq!((days.len(), days[0].as_str(), days[30].as_str()), (31, "2026-10-01", "2026-10-31"));
        assert_eq!(period("2026-03").unwrap().piece_labels().len(), 31);
        assert_eq!(period("2024").unwrap().piece_labels().len(), 12);
    }
}
