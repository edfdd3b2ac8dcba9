//! Which record this is, and which others it belongs to.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::open_enum;
use crate::{Error, ErrorKind, Percent, ProviderId, Result};

/// Which record this is, and which others it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Identity {
    /// What to deduplicate by.
    pub key: SessionKey,
    /// The record that this one is a part of: a segment's stay at the plug, an invoice's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionKey>,
    /// Other records about the same thing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Relation>,
}

/// The primary key of a record. Two records with the same key are the same record at two moments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SessionKey {
    /// Who gave it.
    pub provider: ProviderId,
    /// Through which account. Some providers number their records per installation, so this is needed to
    /// tell them apart.
    pub account: AccountId,
    /// What level the record is about.
    pub kind: RecordKind,
    /// Its identifier at the provider.
    pub source_id: String,
}

/// The namespace of [`SessionKey::id`]: the version 5 UUID of `charging-sessions` in the OID namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x5968_1bd5_4a7c_5813_a73e_7b99_52ba_b2f7);

impl SessionKey {
    /// A key.
    pub fn new(
        provider: ProviderId,
        account: AccountId,
        kind: RecordKind,
        source_id: impl Into<String>,
    ) -> Self {
        Self { provider, account, kind, source_id: source_id.into() }
    }

    /// Fails unless the key is of this provider and level, for what can be asked of those records only.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] that says which records there are.
    pub fn require(&self, provider: ProviderId, kind: RecordKind) -> Result<()> {
        if self.provider == provider && self.kind == kind {
            return Ok(());
        }
        let message = format!("this can be asked of records of the kind `{kind}` of {provider} only");
        Err(Error::new(ErrorKind::Unsupported, message).with_provider(provider))
    }

    /// A short stable handle: the version 5 UUID of the key. Equal keys have equal handles, on every machine
    /// and in every release.
    pub fn id(&self) -> Uuid {
        // No part but the last can contain the separator.
        let name = format!("{}\0{}\0{}\0{}", self.provider, self.account, self.kind, self.source_id);
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.provider, self.account, self.kind, self.source_id)
    }
}

/// The user's own name for one account at a provider, for example `home`.
///
/// Cheap to clone, because every key holds one. One to 64 visible characters without `/`. It is part of every key, so renaming an account makes new records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AccountId {
    /// `default`, for those who have one account only.
    fn default() -> Self {
        Self("default".into())
    }
}

/// An account name was not well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAccountId;

impl fmt::Display for InvalidAccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an account name has 1 to 64 visible characters and no `/`")
    }
}

impl std::error::Error for InvalidAccountId {}

impl FromStr for AccountId {
    type Err = InvalidAccountId;

    fn from_str(name: &str) -> Result<Self, InvalidAccountId> {
        let visible = |c: char| c != '/' && !c.is_control() && !c.is_whitespace();
        if (1..=64).contains(&name.chars().count()) && name.chars().all(visible) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidAccountId)
        }
    }
}

impl TryFrom<String> for AccountId {
    type Error = InvalidAccountId;

    fn try_from(name: String) -> Result<Self, InvalidAccountId> {
        name.parse()
    }
}

impl From<AccountId> for String {
    fn from(account: AccountId) -> Self {
        account.0.as_ref().into()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

open_enum! {
    /// What level a record is about. Energy of different levels must never be added up: a stay at the plug
    /// contains its segments, and an invoice repeats both.
    RecordKind {
        /// From plugging in to unplugging.
        PlugIn = "plug_in",
        /// A part of a stay at the plug, for example while one charging mode was active.
        Segment = "segment",
        /// One span of energy flow, computed from readings, without knowledge of the cable.
        Charge = "charge",
        /// What was billed. Sealed; corrected by further records.
        BillingRecord = "billing_record",
    } else
    /// Something else.
    Other = "other"
}

/// A link to another record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Relation {
    /// The other record.
    pub key: SessionKey,
    /// What it is to this one.
    pub kind: RelationKind,
    /// How sure we are; `None` if the provider says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Percent>,
}

impl Relation {
    /// A link that the provider itself states.
    pub fn new(key: SessionKey, kind: RelationKind) -> Self {
        Self { key, kind, confidence: None }
    }
}

open_enum! {
    /// What another record is to this one.
    RelationKind {
        /// Another view of the same charge.
        SameCharge = "same_charge",
        /// This record corrects the other.
        Corrects = "corrects",
        /// This record takes the other's cost back.
        Credits = "credits",
        /// This record is a part of the other.
        PartOf = "part_of",
    } else
    /// Something else.
    Other = "other"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SessionKey {
        SessionKey::new(ProviderId::new("ev-energy"), AccountId::default(), RecordKind::Segment, "csub1")
    }

    #[test]
    fn the_handle_never_changes() {
        assert_eq!(NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_OID, b"charging-sessions"));
        // Computed by another implementation.
        assert_eq!(key().id().to_string(), "874c06b1-2af8-5103-bdae-00a8aa8f97fc");
        assert_eq!(key().id().get_version_num(), 5);
        assert_eq!(key().to_string(), "ev-energy/default/segment/csub1");
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let mut other = key();
        other.kind = RecordKind::PlugIn;
        assert_ne!(key().id(), other.id());
        let mut other = key();
        other.account = "work".parse().unwrap();
        assert_ne!(key().id(), other.id());
    }

    #[test]
    fn an_account_is_a_visible_name() {
        for name in ["", "a/b", "a b", "a\n", &"x".repeat(65)] {
            assert_eq!(name.parse::<AccountId>(), Err(InvalidAccountId), "{name:?}");
        }
        assert_eq!("büro-2".parse::<AccountId>().unwrap().as_str(), "büro-2");
        assert!(serde_json::from_str::<AccountId>("\"a b\"").is_err());
    }

    #[test]
    fn a_level_from_a_newer_release_reads_as_other() {
        assert_eq!(serde_json::from_str::<RecordKind>("\"reservation\"").unwrap(), RecordKind::Other);
    }
}
