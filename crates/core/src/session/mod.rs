//! The session record, the same for every provider.
//!
//! It is built of small groups, each of which answers one question. Two rules hold everywhere:
//!
//! - **`None` is "not given", zero is a measurement.** Only the [key](SessionKey), the [status](SessionStatus)
//!   and the [provenance](Provenance) are always there.
//! - **Our word stands beside theirs.** Where we classify something, [`Classified`] keeps the provider's own
//!   word, so that a word we do not know is never lost.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Energy, Issue, IssueCode, Severity};

mod costs;
mod details;
mod emissions;
mod energy;
mod identity;
mod parties;
mod place;
mod provenance;
mod state;
mod timing;
mod vehicle;

pub use costs::{
    Cost, CostBasis, CostComponent, CostComponentKind, Costs, Points, Saving, SavingKind, TaxBasis,
};
pub use details::{Detail, Details, Interval, PricedEnergy, SignedRecord};
pub use emissions::{Emissions, EmissionsMethod};
pub use energy::{
    EnergyDirection, EnergyFigures, EnergyReading, EnergySources, MeasurementMethod, MeasuringPoint,
    MeterRegisters, PowerAverageBasis, PowerFigures,
};
pub use identity::{AccountId, Identity, RecordKind, Relation, RelationKind, SessionKey};
pub use parties::{ChargePoint, Parties, Token, Vehicle};
pub use place::{Coordinates, Location, LocationCategory, Place};
pub use provenance::{Endpoint, Provenance};
pub use state::{ChargingMode, EndReason, Hidden, Outcome, SessionStatus, State};
pub use timing::{ClockTrust, EndBasis, Period, PeriodBasis, Timing, Zone, ZoneSource};
pub use vehicle::{Driving, StateOfCharge};

/// One record about a charge, as a provider gave it, in our words.
///
/// What one record is about differs: a whole stay at the plug, one stretch of it, an invoice. See
/// [`RecordKind`], and never add up records of different kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ChargingSession {
    /// Which record this is, and which others it belongs to.
    pub identity: Identity,
    /// How far it has come and how it ended.
    pub state: State,
    /// When.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timing: Timing,
    /// How much energy, measured where and how.
    #[serde(default, skip_serializing_if = "is_default")]
    pub energy: EnergyFigures,
    /// How much power.
    #[serde(default, skip_serializing_if = "is_default")]
    pub power: PowerFigures,
    /// How full the battery was.
    #[serde(default, skip_serializing_if = "is_default")]
    pub state_of_charge: StateOfCharge,
    /// What the vehicle said about driving.
    #[serde(default, skip_serializing_if = "is_default")]
    pub driving: Driving,
    /// What it cost, saved and earned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub costs: Costs,
    /// How much carbon dioxide.
    #[serde(default, skip_serializing_if = "is_default")]
    pub emissions: Emissions,
    /// Where.
    #[serde(default, skip_serializing_if = "is_default")]
    pub place: Place,
    /// Who and what took part.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parties: Parties,
    /// What exists beyond one line: intervals, signed readings.
    #[serde(default, skip_serializing_if = "is_default")]
    pub details: Details,
    /// Where the record comes from.
    pub provenance: Provenance,
    /// What is odd about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Issue>,
    /// Provider fields that have no place above, under their own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, serde_json::Value>,
}

impl ChargingSession {
    /// A record of which only the key, the status and the origin are known. Set the other fields directly.
    pub fn new(key: SessionKey, status: SessionStatus, provenance: Provenance) -> Self {
        Self {
            identity: Identity { key, parent: None, related: Vec::new() },
            state: State::new(status),
            timing: Timing::default(),
            energy: EnergyFigures::default(),
            power: PowerFigures::default(),
            state_of_charge: StateOfCharge::default(),
            driving: Driving::default(),
            costs: Costs::default(),
            emissions: Emissions::default(),
            place: Place::default(),
            parties: Parties::default(),
            details: Details::default(),
            provenance,
            issues: Vec::new(),
            extra: BTreeMap::new(),
        }
    }

    /// The key to deduplicate by.
    pub fn key(&self) -> &SessionKey {
        &self.identity.key
    }

    /// What the record says, apart from how it reached us: two records with the same content tell the same. It
    /// serializes; what is not given takes no place, so that a field of a later release changes no older content.
    ///
    /// Left out are the provenance, because reading a record again is no change; the issues, because they follow from
    /// the rest; and key and relations, because those are known from other records as well.
    pub fn content(&self) -> impl Serialize + '_ {
        // Named one by one, so that a new field is not forgotten here.
        let Self {
            identity: _,
            state,
            timing,
            energy,
            power,
            state_of_charge,
            driving,
            costs,
            emissions,
            place,
            parties,
            details,
            provenance: _,
            issues: _,
            extra,
        } = self;
        Content {
            state,
            timing,
            energy,
            power,
            state_of_charge,
            driving,
            costs,
            emissions,
            place,
            parties,
            details,
            extra,
        }
    }

    /// What [`content`](Self::content) leaves out: whose record it is, how it reached us, and what is odd about it. The
    /// fields of both are those of the record, each once, so that who needs the content and the whole need not
    /// serialize anything twice.
    pub fn circumstances(&self) -> impl Serialize + '_ {
        Circumstances { identity: &self.identity, provenance: &self.provenance, issues: &self.issues }
    }

    /// Keeps a provider field that has no place in the record, under the provider's name for it. `None` is
    /// nothing to keep.
    pub fn keep<T: Serialize>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value.and_then(|value| serde_json::to_value(value).ok()) {
            self.extra.insert(name.to_owned(), value);
        }
    }

    /// What `convert` makes of a provider's number. One that our types cannot hold is kept under the provider's name
    /// for it, with an issue.
    pub fn fit<V: Serialize + Copy, T>(
        &mut self,
        name: &str,
        value: Option<V>,
        convert: impl Fn(V) -> Option<T>,
    ) -> Option<T> {
        let fits = convert(value?);
        if fits.is_none() {
            self.keep(name, value);
            let issue = Issue::new(IssueCode::FIELD_UNREADABLE, Severity::Warning);
            let pointer = format!("/{}", name.replace('.', "/"));
            self.issues.push(issue.with_source_path(pointer));
        }
        fits
    }

    /// Takes the intervals of the session, in order of time. They tell when energy first and last flowed.
    pub fn set_intervals(&mut self, mut intervals: Vec<Interval>) {
        intervals.sort_by_key(|interval| interval.start);
        let flow = |interval: &&Interval| interval.energy.is_some_and(|energy| energy > Energy::ZERO);
        let flowing = || intervals.iter().filter(flow);
        self.timing.charging_started_at = flowing().filter_map(|interval| interval.start).min();
        self.timing.charging_ended_at = flowing().filter_map(|interval| interval.end).max();
        self.details.intervals = if intervals.is_empty() { Detail::None } else { Detail::Some(intervals) };
    }

    /// Whether no figure of the record is known to be impossible, so that it may be added to a total.
    pub fn counts(&self) -> bool {
        self.issues.iter().all(|issue| issue.severity < Severity::Error)
    }
}

#[derive(Serialize)]
struct Content<'a> {
    state: &'a State,
    #[serde(skip_serializing_if = "says_nothing")]
    timing: &'a Timing,
    #[serde(skip_serializing_if = "says_nothing")]
    energy: &'a EnergyFigures,
    #[serde(skip_serializing_if = "says_nothing")]
    power: &'a PowerFigures,
    #[serde(skip_serializing_if = "says_nothing")]
    state_of_charge: &'a StateOfCharge,
    #[serde(skip_serializing_if = "says_nothing")]
    driving: &'a Driving,
    #[serde(skip_serializing_if = "says_nothing")]
    costs: &'a Costs,
    #[serde(skip_serializing_if = "says_nothing")]
    emissions: &'a Emissions,
    #[serde(skip_serializing_if = "says_nothing")]
    place: &'a Place,
    #[serde(skip_serializing_if = "says_nothing")]
    parties: &'a Parties,
    #[serde(skip_serializing_if = "says_nothing")]
    details: &'a Details,
    #[serde(skip_serializing_if = "says_nothing")]
    extra: &'a BTreeMap<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Circumstances<'a> {
    identity: &'a Identity,
    provenance: &'a Provenance,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    issues: &'a [Issue],
}

fn says_nothing<T: Default + PartialEq>(value: &&T) -> bool {
    is_default(*value)
}

/// Our class for something, beside the provider's own word for it.
///
/// ```
/// use charging_sessions_core::{ChargingMode, Classified};
///
/// let mode = Classified::new(ChargingMode::Smart, "SMART");
/// assert_eq!((mode.class, mode.word.as_str()), (ChargingMode::Smart, "SMART"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Classified<T> {
    /// What it means, in our words.
    pub class: T,
    /// What the provider wrote.
    pub word: String,
}

impl<T> Classified<T> {
    /// A class beside its word.
    pub fn new(class: T, word: impl Into<String>) -> Self {
        Self { class, word: word.into() }
    }
}

impl<T> fmt::Display for Classified<T> {
    /// The provider's word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.word)
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An open set of words of ours: a word from a newer release reads as `Other` instead of failing.
macro_rules! open_enum {
    (
        $(#[$doc:meta])* $name:ident {
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)*
        } else $(#[$other_doc:meta])* $other:ident = $other_word:literal
    ) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
            schemars::JsonSchema,
        )]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
            $(#[$other_doc])* #[serde(rename = $other_word, other)] $other,
        }

        impl $name {
            /// The word it is written as.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::$other => $other_word,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use open_enum;
