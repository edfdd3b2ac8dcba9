//! Who and what took part in a session.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Energy, Power, Sensitive};

/// Who and what took part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Parties {
    /// The charge point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge_point: Option<ChargePoint>,
    /// The vehicle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vehicle: Option<Vehicle>,
    /// The user's identifier at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What the user authorised the charge with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The identifier of the tariff at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tariff_id: Option<String>,
    /// The name of the tariff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tariff_name: Option<String>,
}

/// A charge point (EVSE): one place to plug in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct ChargePoint {
    /// Its identifier at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Its eMI³ or other public identifier, for example `DE*ABC*E1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evse_id: Option<String>,
    /// Which connector of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connector_id: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub make: Option<String>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The most it can give.
    #[serde(rename = "max_power_w", skip_serializing_if = "Option::is_none")]
    pub max_power: Option<Power>,
}

impl ChargePoint {
    /// The charge point with this identifier at the provider.
    pub fn of(source_id: impl Into<String>) -> Self {
        Self { source_id: Some(source_id.into()), ..Self::default() }
    }
}

/// A vehicle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Vehicle {
    /// Its identifier at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Its identification number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vin: Option<Sensitive<String>>,
    /// Its name at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub make: Option<String>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How much its battery holds.
    #[serde(rename = "battery_capacity_wh", skip_serializing_if = "Option::is_none")]
    pub battery_capacity: Option<Energy>,
}

impl Vehicle {
    /// The vehicle with this identifier at the provider.
    pub fn of(source_id: impl Into<String>) -> Self {
        Self { source_id: Some(source_id.into()), ..Self::default() }
    }
}

/// What a user authorised a charge with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Token {
    /// Its number, for example of an RFID card. Who knows it can copy the card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Sensitive<String>>,
    /// What it is, in the provider's word, for example `RFID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The contract it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract_id: Option<String>,
}
