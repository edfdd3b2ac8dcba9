//! How much carbon dioxide a session caused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::open_enum;
use crate::Grams;

/// How much carbon dioxide a session caused, as the provider reckons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Emissions {
    /// In all.
    #[serde(rename = "total_grams", skip_serializing_if = "Option::is_none")]
    pub total: Option<Grams>,
    /// Per kilowatt-hour.
    #[serde(rename = "intensity_grams_per_kwh", skip_serializing_if = "Option::is_none")]
    pub intensity_per_kwh: Option<Grams>,
    /// The provider's word for the intensity, for example `low`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intensity_word: Option<String>,
    /// Saved against charging without steering.
    #[serde(rename = "saved_grams", skip_serializing_if = "Option::is_none")]
    pub saved: Option<Grams>,
    /// How it was reckoned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<EmissionsMethod>,
}

open_enum! {
    /// How emissions were reckoned; the GHG Protocol wants it said.
    EmissionsMethod {
        /// The average of the grid at the place.
        LocationAverage = "location_average",
        /// What one more kilowatt-hour causes.
        Marginal = "marginal",
        /// By the contract for the electricity.
        Market = "market",
    } else
    /// Not known.
    Unknown = "unknown"
}
