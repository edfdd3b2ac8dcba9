//! What exists beyond one line per session.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::is_default;
use crate::{Energy, Grams, Money, Percent, Power};

/// What exists beyond one line per session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Details {
    /// When energy flowed, piece by piece.
    #[serde(skip_serializing_if = "is_default")]
    pub intervals: Detail<Vec<Interval>>,
    /// Signed meter readings, byte for byte.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signed: Vec<SignedRecord>,
}

/// A detail that costs another request. Not asked for is not the same as not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "state", content = "value")]
pub enum Detail<T> {
    /// Nobody asked.
    #[default]
    NotFetched,
    /// The provider has none.
    None,
    /// Here it is.
    Some(T),
}

impl<T> Detail<T> {
    /// The value, if it was fetched and exists.
    pub fn as_ref(&self) -> Option<&T> {
        match self {
            Self::Some(value) => Some(value),
            Self::None | Self::NotFetched => None,
        }
    }
}

/// A piece of a session: `start <= t < end`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Interval {
    /// The start, included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// The end, excluded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// How much energy, measured as the session's headline figure is.
    #[serde(rename = "energy_wh", skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// How much energy the supply of the building gave for it, losses included.
    #[serde(rename = "supply_energy_wh", skip_serializing_if = "Option::is_none")]
    pub supply_energy: Option<Energy>,
    /// How much energy would have flowed without steering.
    #[serde(rename = "unsteered_energy_wh", skip_serializing_if = "Option::is_none")]
    pub unsteered_energy: Option<Energy>,
    /// The share that came from the public grid.
    #[serde(rename = "grid_share_percent", skip_serializing_if = "Option::is_none")]
    pub grid_share: Option<Percent>,
    /// The highest power.
    #[serde(rename = "max_power_w", skip_serializing_if = "Option::is_none")]
    pub max_power: Option<Power>,
    /// The state of charge at its end.
    #[serde(rename = "state_of_charge_percent", skip_serializing_if = "Option::is_none")]
    pub state_of_charge: Option<Percent>,
    /// The energy by the price that was paid for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<PricedEnergy>,
    /// The price of one kilowatt-hour as the provider states it for the whole piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_kwh: Option<Money>,
    /// Carbon dioxide of the electricity, per kilowatt-hour.
    #[serde(rename = "emissions_grams_per_kwh", skip_serializing_if = "Option::is_none")]
    pub emissions_per_kwh: Option<Grams>,
}

impl Interval {
    /// A piece that starts then and lasts so many seconds, as far as both are given.
    pub fn lasting(start: Option<Timestamp>, seconds: Option<i64>) -> Self {
        let length = seconds.map(SignedDuration::from_secs);
        let end = start.zip(length).and_then(|(start, length)| start.checked_add(length).ok());
        Self { start, end, ..Self::default() }
    }
}

/// Energy that was paid for at one price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct PricedEnergy {
    /// The price of one kilowatt-hour.
    pub price_per_kwh: Money,
    /// How much energy.
    #[serde(rename = "energy_wh")]
    pub energy: Energy,
}

impl PricedEnergy {
    /// Energy at a price.
    pub fn new(price_per_kwh: Money, energy: Energy) -> Self {
        Self { price_per_kwh, energy }
    }
}

/// A signed meter reading. Its bytes are evidence: they are kept as received and checked by other programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct SignedRecord {
    /// The format, in the provider's word, for example `OCMF`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The public key, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// What was signed. Base64 in JSON.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    #[schemars(with = "String")]
    pub plain: Vec<u8>,
    /// The signature. Base64 in JSON; empty if it is part of `plain`.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    #[schemars(with = "String")]
    pub signature: Vec<u8>,
    /// What the reading is of, in the provider's word, for example `Start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nature: Option<String>,
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    BASE64_STANDARD.decode(&*text).map_err(de::Error::custom)
}
