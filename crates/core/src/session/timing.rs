//! When a session took place.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{is_default, open_enum};

/// When a session took place.
///
/// Providers report one pair of instants and mean different things by it. [`period`](Self::period) is the
/// provider's pair with what it means; the four named instants are set only where the meaning is known. All
/// are instants in UTC; [`zone`](Self::zone) is where the clock on the wall was, for days and months.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Timing {
    /// What the provider calls start and end.
    #[serde(skip_serializing_if = "is_default")]
    pub period: Period,
    /// The cable went in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugged_in_at: Option<Timestamp>,
    /// Energy first flowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charging_started_at: Option<Timestamp>,
    /// Energy last flowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charging_ended_at: Option<Timestamp>,
    /// The cable came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unplugged_at: Option<Timestamp>,
    /// How long the vehicle was connected, as reported; never computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub connected_for: Option<SignedDuration>,
    /// How long energy flowed, as reported; never computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub charging_for: Option<SignedDuration>,
    /// The time zone of the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// The offset from UTC that the provider wrote beside its instants, in seconds east. For audits; the
    /// instants are in UTC already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_offset_seconds: Option<i32>,
    /// How far the clock that made the instants can be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_trust: Option<ClockTrust>,
}

/// What a provider calls start and end, and what it means by them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Period {
    /// The start. `None` if it was missing or a placeholder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// The end. `None` while the session runs, or if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// What start and end bound.
    pub basis: PeriodBasis,
    /// How the end came about.
    pub end_basis: EndBasis,
}

open_enum! {
    /// What a period's start and end bound.
    #[derive(Default)]
    PeriodBasis {
        /// Cable in, cable out.
        PlugIn = "plug_in",
        /// The flow of energy.
        Charging = "charging",
        /// While one charging mode was active, whether or not energy flowed.
        Mode = "mode",
        /// From authorisation to its end, as for billing.
        Authorisation = "authorisation",
    } else
    /// Not known.
    #[default]
    Unknown = "unknown"
}

open_enum! {
    /// How the end of a period came about.
    #[derive(Default)]
    EndBasis {
        /// The provider observed it.
        Reported = "reported",
        /// The provider inferred it, because it was not observed.
        Inferred = "inferred",
        /// There is none yet.
        Open = "open",
    } else
    /// Not known.
    #[default]
    Unknown = "unknown"
}

/// An IANA time zone and how it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Zone {
    /// The IANA name as given, for example `Europe/London`. Not checked against a zone database.
    pub name: String,
    /// How it is known.
    pub source: ZoneSource,
}

impl Zone {
    /// A zone by its IANA name.
    pub fn new(name: impl Into<String>, source: ZoneSource) -> Self {
        Self { name: name.into(), source }
    }
}

open_enum! {
    /// How a time zone is known.
    ZoneSource {
        /// The provider says so on the record.
        Provider = "provider",
        /// It follows from the location.
        Location = "location",
        /// The user configured it.
        Config = "config",
        /// Nothing is known, and UTC was taken.
        AssumedUtc = "assumed_utc",
    } else
    /// Something else.
    Other = "other"
}

open_enum! {
    /// How far a clock can be trusted.
    ClockTrust {
        /// Set from a reliable source.
        Synchronised = "synchronised",
        /// For information only.
        Informative = "informative",
        /// Counts from an unknown origin.
        Relative = "relative",
    } else
    /// Not known.
    Unknown = "unknown"
}
