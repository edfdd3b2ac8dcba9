//! Where a session took place.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::open_enum;
use crate::{Percent, Sensitive};

/// Where a session took place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Place {
    /// The location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The provider's labels for the session's place or time, for example a service territory. Open words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// A location. What tells where somebody lives is [`Sensitive`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
#[serde(default)]
pub struct Location {
    /// Its name at the provider, for example `Home`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What kind of place it is, if the provider says so. Never read from the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<LocationCategory>,
    /// How sure the provider is that this is the location.
    #[serde(rename = "match_accuracy_percent", skip_serializing_if = "Option::is_none")]
    pub match_accuracy: Option<Percent>,
    /// Street and house.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Sensitive<String>>,
    /// Postal code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<Sensitive<String>>,
    /// Coordinates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<Sensitive<Coordinates>>,
}

/// WGS 84 coordinates, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Coordinates {
    /// Degrees north, −90 to 90.
    pub latitude: f64,
    /// Degrees east, −180 to 180.
    pub longitude: f64,
}

impl Coordinates {
    /// A place on earth; `None` if it is not one.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        ((-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude))
            .then_some(Self { latitude, longitude })
    }
}

open_enum! {
    /// What kind of place a location is.
    LocationCategory {
        /// Where the user lives.
        Home = "home",
        /// Where the user works.
        Work = "work",
        /// A public charge point.
        Public = "public",
    } else
    /// Something else.
    Other = "other"
}
