//! The name of a provider.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The stable short name of a provider, for example `ev-energy`.
///
/// One to [`MAX_LEN`](Self::MAX_LEN) lower-case ASCII letters, digits and `-`. It is part of every
/// [key](crate::SessionKey), so an adapter never changes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId {
    // Inline, so that the type is `Copy`, can be a constant, and can still be read from a file.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl ProviderId {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 31;

    /// A name known at compile time.
    ///
    /// # Panics
    ///
    /// If `name` is not well formed; in a `const` this is a compile error.
    pub const fn new(name: &'static str) -> Self {
        match Self::parse(name.as_bytes()) {
            Some(id) => id,
            None => panic!("a provider name has 1 to 31 lower-case ASCII letters, digits and `-`"),
        }
    }

    const fn parse(name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.len() > Self::MAX_LEN {
            return None;
        }
        let mut bytes = [0; Self::MAX_LEN];
        let mut i = 0;
        while i < name.len() {
            if !(name[i].is_ascii_lowercase() || name[i].is_ascii_digit() || name[i] == b'-') {
                return None;
            }
            bytes[i] = name[i];
            i += 1;
        }
        Some(Self { bytes, len: name.len() as u8 })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("ASCII by construction")
    }
}

/// A provider name was not well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidProviderId;

impl fmt::Display for InvalidProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a provider name has 1 to 31 lower-case ASCII letters, digits and `-`")
    }
}

impl std::error::Error for InvalidProviderId {}

impl FromStr for ProviderId {
    type Err = InvalidProviderId;

    fn from_str(name: &str) -> Result<Self, InvalidProviderId> {
        Self::parse(name.as_bytes()).ok_or(InvalidProviderId)
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for ProviderId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProviderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ProviderId {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ProviderId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[a-z0-9-]{1,31}$",
            "description": "Stable short name of the provider, for example `ev-energy`."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EV_ENERGY: ProviderId = ProviderId::new("ev-energy");

    #[test]
    fn a_name_is_what_was_given() {
        assert_eq!(EV_ENERGY.as_str(), "ev-energy");
        assert_eq!(format!("{EV_ENERGY:>12}|{EV_ENERGY:?}"), "   ev-energy|\"ev-energy\"");
        assert_eq!(serde_json::to_string(&EV_ENERGY).unwrap(), "\"ev-energy\"");
        assert_eq!(serde_json::from_str::<ProviderId>("\"ev-energy\"").unwrap(), EV_ENERGY);
    }

    #[test]
    fn a_bad_name_is_refused() {
        for name in ["", "Ev", "ev energy", "é", "a-name-that-is-longer-than-allowed"] {
            assert_eq!(name.parse::<ProviderId>(), Err(InvalidProviderId), "{name}");
        }
        assert!(serde_json::from_str::<ProviderId>("\"EV\"").is_err());
    }

    #[test]
    fn names_sort_as_text() {
        assert!(ProviderId::new("evcc") < ProviderId::new("podero"));
        assert!(ProviderId::new("ev") < ProviderId::new("evcc"));
    }
}
