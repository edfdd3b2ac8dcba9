//! How to reach a party, and how it wants to be spoken to.

use std::fmt;

use charging_sessions_core::{AccountId, RecordKind};
use charging_sessions_http::Policy;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

/// How to reach a party that sends sessions and charge detail records.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The token that the party gave out for us (token C). One that is for registration only will not do.
    pub token: SecretString,
    /// How the token is written in a header.
    pub token_form: TokenForm,
    /// The user's own name for the account; part of every key.
    pub account: AccountId,
    /// Where the party lists its versions. Needed unless the address of each module that is read is given.
    pub versions_url: Option<Url>,
    /// The version to speak. Without it, the latest that the party and we know; needed without
    /// [`versions_url`](Self::versions_url).
    pub version: Option<Version>,
    /// Where sessions are, if not where the party's versions say. Of the same origin as the other addresses.
    pub sessions_url: Option<Url>,
    /// Where charge detail records are, as for [`sessions_url`](Self::sessions_url).
    pub cdrs_url: Option<Url>,
    /// Who we are, behind a hub.
    pub from: Option<Party>,
    /// Whose records are wanted, behind a hub.
    pub to: Option<Party>,
    /// Pacing and retry. OCPI states no limits.
    pub policy: Policy,
    /// The first instant that is asked for when a query has no [`updated_since`](charging_sessions_core::SessionQuery):
    /// sessions cannot be asked for without one.
    pub history_from: Timestamp,
    /// How far back from now a listing is held still. What was changed later is listed at its end. 5 minutes.
    pub lag: SignedDuration,
    /// The most records to ask for at once; a party gives fewer if it likes. 100.
    pub max_page_size: u32,
    /// What the time is. The clock of the machine, unless a test says otherwise.
    pub now: fn() -> Timestamp,
}

impl Config {
    /// A party whose versions are listed at `versions_url`.
    pub fn new(versions_url: Url, token: SecretString) -> Self {
        Self { versions_url: Some(versions_url), ..Self::bare(token) }
    }

    /// A party whose modules are known: set [`sessions_url`](Self::sessions_url), [`cdrs_url`](Self::cdrs_url) or
    /// both.
    pub fn direct(version: Version, token: SecretString) -> Self {
        Self { version: Some(version), ..Self::bare(token) }
    }

    fn bare(token: SecretString) -> Self {
        Self {
            token,
            token_form: TokenForm::default(),
            account: AccountId::default(),
            versions_url: None,
            version: None,
            sessions_url: None,
            cdrs_url: None,
            from: None,
            to: None,
            policy: Policy::default(),
            // 2014-01-01T00:00:00Z, before the first version of OCPI.
            history_from: Timestamp::constant(1_388_534_400, 0),
            lag: SignedDuration::from_mins(5),
            max_page_size: crate::MAX_PAGE_SIZE,
            now: Timestamp::now,
        }
    }
}

/// A role of a party: a country and a code of three characters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Party {
    /// The country, in two letters.
    pub country_code: String,
    /// The party in it.
    pub party_id: String,
}

impl Party {
    /// The party with this code in this country.
    pub fn new(country_code: impl Into<String>, party_id: impl Into<String>) -> Self {
        Self { country_code: country_code.into(), party_id: party_id.into() }
    }
}

/// How the token is written in a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenForm {
    /// In Base64; as it is if that is refused; and from then on as it was accepted.
    #[default]
    Auto,
    /// As it is, which is right for 2.1.1.
    Raw,
    /// In Base64, which is right since 2.2.
    Base64,
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Module {
    /// Sessions, live and past. They change until they are completed.
    Sessions,
    /// Charge detail records: what was billed. Sealed; corrected by further ones.
    Cdrs,
}

impl Module {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sessions, Self::Cdrs];

    /// Its identifier in OCPI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Cdrs => "cdrs",
        }
    }

    /// The level of its records.
    pub const fn kind(self) -> RecordKind {
        match self {
            Self::Sessions => RecordKind::PlugIn,
            Self::Cdrs => RecordKind::BillingRecord,
        }
    }
}

/// A version of OCPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Version {
    /// 2.1.1
    V2_1_1,
    /// 2.2.1
    V2_2_1,
    /// 2.3.0
    V2_3_0,
}

impl Version {
    /// All that are known, the latest first.
    pub const ALL: [Self; 3] = [Self::V2_3_0, Self::V2_2_1, Self::V2_1_1];

    /// As OCPI writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2_1_1 => "2.1.1",
            Self::V2_2_1 => "2.2.1",
            Self::V2_3_0 => "2.3.0",
        }
    }

    /// The version of this number, if it is known.
    pub fn named(number: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == number.trim())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
