//! What is odd about a record, as data.

use std::{borrow::Cow, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SessionKey;

/// How grave an [`Issue`] is.
///
/// A record that cannot be stored at all is not an issue but a [rejected record](crate::RejectedRecord).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// A normal oddity, such as an inferred end. The record counts.
    Info,
    /// Suspicious but possible. The record counts, and reports mark it.
    Warning,
    /// A figure is impossible. The record is kept and left out of totals.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// The stable dotted name of a check, for example `energy.zero`.
///
/// Codes are never reused for another meaning. A code from a newer release is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct IssueCode(Cow<'static, str>);

impl IssueCode {
    /// A code known at compile time.
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IssueCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Something odd about one record. Machine-readable: the values are in fields, not in a sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Issue {
    /// Which check found it.
    pub code: IssueCode,
    /// How grave it is.
    pub severity: Severity,
    /// The field of [`ChargingSession`](crate::ChargingSession) concerned, dotted, for example `timing.period.end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The place in the provider's record, as a JSON pointer, for example `/location/timezone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
    /// What was found, with its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// What would have been right, with its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Other records concerned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<SessionKey>,
}

impl Issue {
    /// An issue of which only the code and the severity are known yet.
    pub fn new(code: IssueCode, severity: Severity) -> Self {
        Self {
            code,
            severity,
            field: None,
            source_path: None,
            observed: None,
            expected: None,
            related: Vec::new(),
        }
    }

    /// A word of the provider that this release does not know, kept beside the class `other`.
    pub fn unknown_word(field: impl Into<String>, pointer: impl Into<String>, word: &str) -> Self {
        Self::new(IssueCode::ENUM_UNKNOWN, Severity::Info)
            .with_field(field)
            .with_source_path(pointer)
            .with_observed(word)
    }

    /// An amount without a currency, or with one whose minor unit is not known. `pointer` is where the code stood
    /// or should have stood.
    pub fn no_currency(field: impl Into<String>, pointer: impl Into<String>, code: Option<&str>) -> Self {
        let what = match code {
            Some(_) => IssueCode::MONEY_CURRENCY_UNKNOWN,
            None => IssueCode::MONEY_CURRENCY_MISSING,
        };
        let mut issue = Self::new(what, Severity::Error).with_field(field).with_source_path(pointer);
        issue.observed = code.map(Into::into);
        issue
    }

    /// Names the field of the core record.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names the place in the provider's record.
    #[must_use]
    pub fn with_source_path(mut self, pointer: impl Into<String>) -> Self {
        self.source_path = Some(pointer.into());
        self
    }

    /// Says what was found.
    #[must_use]
    pub fn with_observed(mut self, observed: impl fmt::Display) -> Self {
        self.observed = Some(observed.to_string());
        self
    }

    /// Says what would have been right.
    #[must_use]
    pub fn with_expected(mut self, expected: impl fmt::Display) -> Self {
        self.expected = Some(expected.to_string());
        self
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity, self.code)?;
        if let Some(place) = self.field.as_ref().or(self.source_path.as_ref()) {
            write!(f, " at {place}")?;
        }
        if let Some(observed) = &self.observed {
            write!(f, ": {observed}")?;
        }
        if let Some(expected) = &self.expected {
            write!(f, ", expected {expected}")?;
        }
        Ok(())
    }
}

macro_rules! codes {
    ($($name:ident, $code:literal, $severity:literal, $meaning:literal;)*) => {
        impl IssueCode {
            $(#[doc = concat!("`", $code, "` (", $severity, "): ", $meaning, ".")]
            pub const $name: Self = Self::new($code);)*

            /// Every code that this release can report: the code, its severities, its meaning.
            pub const ALL: &'static [(&'static str, &'static str, &'static str)] =
                &[$(($code, $severity, $meaning),)*];
        }
    };
}

codes! {
    ID_MISSING, "id.missing", "reject", "the record has no usable identifier";
    RECORD_NOT_AN_OBJECT, "record.not_an_object", "reject", "the record is not a JSON object";
    RECORD_UNREADABLE, "record.unreadable", "reject", "the record could not be read even without its unreadable fields";
    FIELD_UNREADABLE, "field.unreadable", "warning", "one field had another shape than documented and was left out";
    FIELD_MISSING, "field.missing_required", "warning", "a field that the provider promises is absent";
    ENUM_UNKNOWN, "enum.unknown", "info", "a word that this release does not know";
    UNIT_UNKNOWN, "unit.unknown", "reject", "a figure in a unit that this release does not know";
    TIME_START_MISSING, "time.start_missing", "error", "no start, or a placeholder for one";
    TIME_SENTINEL, "time.sentinel", "info", "a placeholder instant (year before 2009) was turned into none";
    TIME_END_BEFORE_START, "time.end_before_start", "error above 5 minutes, else warning", "the end lies before the start";
    TIME_ORDER, "time.order", "warning", "plugged in, charging started, charging ended, unplugged are out of order by more than 5 minutes";
    TIME_FUTURE, "time.future", "warning", "the start lies more than 10 minutes after the record was fetched";
    TIME_NAIVE_ASSUMED, "time.naive_assumed", "info", "an instant had no zone and one was assumed";
    TIME_DST_AMBIGUOUS, "time.dst_ambiguous", "warning", "a local time that occurs twice";
    TIME_DST_GAP, "time.dst_gap", "warning", "a local time that does not occur";
    TIME_OPEN_TOO_LONG, "time.open_too_long", "warning", "active for more than 7 days";
    DURATION_SHORT, "duration.short", "info", "shorter than a minute";
    DURATION_LONG, "duration.long", "warning", "longer than the limit for its level";
    DURATION_CHARGING_GT_SESSION, "duration.charging_gt_session", "warning", "charged for longer than connected";
    ENERGY_NEGATIVE, "energy.negative", "error", "negative energy that was not declared as export or net";
    ENERGY_ZERO, "energy.zero", "info", "completed without energy";
    ENERGY_LOW, "energy.low", "info", "less than 0.5 kWh";
    ENERGY_HIGH, "energy.high", "warning above 250 kWh, error above 1 MWh", "more than a vehicle can take";
    ENERGY_ABOVE_POWER, "energy.above_power", "warning above 1.1 times, error above 3 times", "more energy than the power limit allows in the time";
    ENERGY_UNIT_SUSPECT, "energy.unit_suspect", "warning", "a thousandth or the thousandfold would be plausible";
    ENERGY_METER_MISMATCH, "energy.meter_mismatch", "warning", "meter registers and energy disagree";
    ENERGY_METER_RESET, "energy.meter_reset", "error", "the meter ran backwards, or the energy equals the whole register";
    ENERGY_PARTS_MISMATCH, "energy.parts_mismatch", "warning", "sources or intervals do not add up to the energy";
    ENERGY_VS_SOC, "energy.vs_soc", "info", "energy does not fit the battery and the change of its charge";
    ENERGY_CAPPED, "energy.capped", "info", "the provider says that it capped the energy";
    POWER_INCONSISTENT, "power.inconsistent", "info", "the average power exceeds the maximum";
    SOC_RANGE, "soc.range", "error", "a state of charge outside 0 to 100 %";
    SOC_DECREASE, "soc.decrease", "info", "the state of charge fell while energy was imported";
    MONEY_CURRENCY_MISSING, "money.currency_missing", "error", "an amount without a currency";
    MONEY_CURRENCY_UNKNOWN, "money.currency_unknown", "error", "an amount whose currency is not an ISO 4217 code";
    MONEY_PRICE_OUTLIER, "money.price_outlier", "warning, info if negative", "the price per kWh is out of the usual range";
    MONEY_COMPONENTS_MISMATCH, "money.components_mismatch", "warning", "the components do not add up to the cost";
    REL_OVERLAP, "rel.overlap", "warning", "two records of one provider at the same time at the same plug or vehicle";
    REL_CARRY_OVER, "rel.carry_over", "warning", "the energy of a record holds that of the one before";
    REL_DUPLICATE, "rel.duplicate", "warning", "two records of one provider that are the same but for their identifiers";
    REL_SAME_CHARGE, "rel.same_charge", "info", "records of two providers that tell of the same charge";
    REL_REGISTER_GAP, "rel.register_gap", "info", "a meter has counted between two records: one may be missing";
    REL_CREDIT_UNMATCHED, "rel.credit_unmatched", "warning", "a credit for a record that is not there";
    MONEY_TAX_UNKNOWN, "money.tax_unknown", "info", "it is not known whether the cost includes tax";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_dotted() {
        let mut seen = std::collections::BTreeSet::new();
        for (code, severity, meaning) in IssueCode::ALL {
            assert!(seen.insert(code), "{code} twice");
            assert!(code.split('.').count() == 2 && !meaning.is_empty() && !severity.is_empty(), "{code}");
        }
    }

    #[test]
    fn an_unknown_code_survives() {
        let json = r#"{"code":"energy.invented","severity":"info"}"#;
        let issue: Issue = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&issue).unwrap(), json);
    }

    #[test]
    fn the_text_says_what_where_and_how_much() {
        let issue = Issue::new(IssueCode::ENERGY_HIGH, Severity::Warning)
            .with_field("energy.readings[0]")
            .with_observed("300 kWh")
            .with_expected("at most 250 kWh");
        assert_eq!(
            issue.to_string(),
            "warning energy.high at energy.readings[0]: 300 kWh, expected at most 250 kWh"
        );
    }
}
