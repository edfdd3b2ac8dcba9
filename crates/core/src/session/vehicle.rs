//! What the vehicle said about its battery and about driving.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Distance, Percent};

/// How full the battery was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct StateOfCharge {
    /// At the start.
    #[serde(rename = "start_percent", skip_serializing_if = "Option::is_none")]
    pub start: Option<Percent>,
    /// At the end.
    #[serde(rename = "end_percent", skip_serializing_if = "Option::is_none")]
    pub end: Option<Percent>,
    /// What was aimed for.
    #[serde(rename = "target_percent", skip_serializing_if = "Option::is_none")]
    pub target: Option<Percent>,
    /// What was added, as reported; never computed from start and end.
    #[serde(rename = "added_percent", skip_serializing_if = "Option::is_none")]
    pub added: Option<Percent>,
}

/// What the vehicle said about driving.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Driving {
    /// The odometer.
    #[serde(rename = "odometer_m", skip_serializing_if = "Option::is_none")]
    pub odometer: Option<Distance>,
    /// The range at the start.
    #[serde(rename = "range_start_m", skip_serializing_if = "Option::is_none")]
    pub range_start: Option<Distance>,
    /// The range at the end.
    #[serde(rename = "range_end_m", skip_serializing_if = "Option::is_none")]
    pub range_end: Option<Distance>,
}
