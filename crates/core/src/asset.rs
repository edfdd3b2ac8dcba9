//! What sessions belong to: vehicles and charge points.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of thing an asset is.
///
/// Not `non_exhaustive`: a charge happens between these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssetKind {
    /// A vehicle.
    Vehicle,
    /// A charge point (EVSE): one place to plug in.
    ChargePoint,
}

/// One asset of an account, by the provider's identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct AssetRef {
    /// What it is.
    pub kind: AssetKind,
    /// Its identifier at the provider.
    pub id: String,
}

impl AssetRef {
    /// A vehicle.
    pub fn vehicle(id: impl Into<String>) -> Self {
        Self { kind: AssetKind::Vehicle, id: id.into() }
    }

    /// A charge point.
    pub fn charge_point(id: impl Into<String>) -> Self {
        Self { kind: AssetKind::ChargePoint, id: id.into() }
    }
}

impl fmt::Display for AssetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            AssetKind::Vehicle => "vehicle",
            AssetKind::ChargePoint => "charge point",
        };
        write!(f, "{kind} {}", self.id)
    }
}
