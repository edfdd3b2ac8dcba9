//! How far a session has come and how it ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Classified, open_enum};

/// How far a session has come and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct State {
    /// How far it has come.
    pub status: SessionStatus,
    /// The provider's own word for the status, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_word: Option<String>,
    /// What came of the attempt to steer the charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Classified<Outcome>>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<Classified<EndReason>>,
    /// How charging was steered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Classified<ChargingMode>>,
    /// Set if the provider does not show this record to its own users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Hidden>,
}

impl State {
    /// A state of which only the status is known.
    pub fn new(status: SessionStatus) -> Self {
        Self { status, status_word: None, outcome: None, end_reason: None, mode: None, hidden: None }
    }
}

open_enum! {
    /// How far a session has come.
    SessionStatus {
        /// Announced; nothing has flowed yet.
        Pending = "pending",
        /// A reservation, not a charge.
        Reserved = "reserved",
        /// Still running. Figures may grow, and none of them is final.
        Active = "active",
        /// Ended. Figures may still be corrected.
        Completed = "completed",
        /// Declared void by the provider.
        Invalid = "invalid",
    } else
    /// Not known.
    Unknown = "unknown"
}

open_enum! {
    /// How charging was steered.
    ChargingMode {
        /// Optimised for price, carbon or the grid.
        Smart = "smart",
        /// Charging at once because the user asked for it.
        Boost = "boost",
        /// From own solar power.
        Solar = "solar",
        /// Not steered.
        Unmanaged = "unmanaged",
        /// Giving energy back.
        Discharge = "discharge",
    } else
    /// Something else.
    Other = "other"
}

open_enum! {
    /// What came of the attempt to steer a charge.
    Outcome {
        /// Steered as planned.
        Optimized = "optimized",
        /// Charged at once by choice.
        Immediate = "immediate",
        /// Still running.
        InProgress = "in_progress",
        /// Not steered, because something was not set up or not allowed.
        NotSteered = "not_steered",
        /// Steering was tried and failed.
        Failed = "failed",
        /// Unplugged before the plan was through.
        Interrupted = "interrupted",
    } else
    /// Something else.
    Other = "other"
}

open_enum! {
    /// Why a session ended.
    EndReason {
        /// The vehicle was unplugged.
        Unplugged = "unplugged",
        /// The user stopped it.
        StoppedByUser = "stopped_by_user",
        /// The battery was full or the target reached.
        Full = "full",
        /// The charging mode or a setting changed; another record goes on.
        ModeChanged = "mode_changed",
        /// Something failed.
        Fault = "fault",
        /// Somebody other than the user ended it.
        Remote = "remote",
    } else
    /// Something else.
    Other = "other"
}

/// Why the provider does not show a record to its own users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Hidden {
    /// The provider's word for the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Hidden {
    /// Hidden, for this reason if one was given.
    pub fn new(reason: Option<String>) -> Self {
        Self { reason }
    }
}
