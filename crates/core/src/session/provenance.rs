//! Where a record comes from.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Payload;

/// Where a record comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Provenance {
    /// Which operation gave it.
    pub endpoint: Endpoint,
    /// When the answer arrived.
    pub fetched_at: Timestamp,
    /// Which version of the adapter's mapping made it. A higher one may map the same payload better.
    pub mapping_version: u32,
    /// When the provider says that it made the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_created_at: Option<Timestamp>,
    /// When the provider says that it last changed the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_updated_at: Option<Timestamp>,
    /// The record as it was received. Not part of the serialized form: a store keeps it apart, and not
    /// again as long as it stays the same.
    #[serde(skip)]
    pub payload: Option<Payload>,
}

/// An operation of a provider's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Endpoint {
    /// Its name, for example `GET /charging_sub_sessions`.
    pub operation: Cow<'static, str>,
    /// The version of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<Cow<'static, str>>,
}

impl Endpoint {
    /// An operation of an API that has a version.
    pub const fn new(operation: &'static str, api_version: Option<&'static str>) -> Self {
        // `Option::map` is not `const`.
        let api_version = match api_version {
            Some(version) => Some(Cow::Borrowed(version)),
            None => None,
        };
        Self { operation: Cow::Borrowed(operation), api_version }
    }
}

impl Provenance {
    /// A record that `endpoint` gave at `fetched_at`, mapped by this version of the adapter's mapping.
    pub fn new(endpoint: Endpoint, fetched_at: Timestamp, mapping_version: u32) -> Self {
        Self {
            endpoint,
            fetched_at,
            mapping_version,
            source_created_at: None,
            source_updated_at: None,
            payload: None,
        }
    }

    /// Adds the record as it was received.
    #[must_use]
    pub fn with_payload(mut self, payload: Payload) -> Self {
        self.payload = Some(payload);
        self
    }
}
