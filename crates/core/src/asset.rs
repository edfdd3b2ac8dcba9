//! What sessions belong to: vehicles and charge points.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Cursor, Energy};

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

/// A vehicle or charge point of an account, as the provider describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Asset {
    /// What to ask for its sessions with.
    #[serde(flatten)]
    pub reference: AssetRef,
    /// The identifier of the user whom it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Its name at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub make: Option<String>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How much its battery holds.
    #[serde(rename = "battery_capacity_wh", default, skip_serializing_if = "Option::is_none")]
    pub battery_capacity: Option<Energy>,
}

impl Asset {
    /// An asset of which nothing else is known.
    pub fn new(reference: AssetRef) -> Self {
        Self { reference, user_id: None, name: None, make: None, model: None, battery_capacity: None }
    }
}

/// Some assets of an account, and where to go on from them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AssetPage {
    /// In the provider's order. May be empty even when `next` is `Some`.
    pub assets: Vec<Asset>,
    /// Where the next page starts; `None` means that the end was reached.
    pub next: Option<Cursor>,
}

impl AssetPage {
    /// A page with its assets and its successor.
    pub fn new(assets: Vec<Asset>, next: Option<Cursor>) -> Self {
        Self { assets, next }
    }
}
