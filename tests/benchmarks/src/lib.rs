//! What the server, the hand-written reader and the comparison of what was stored have in common.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a set of sessions adds up to. Whoever has read all of them, and each once, has the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// How many there are.
    pub sessions: u64,
    /// Their energy in milliwatt-hours, without those of which none is known.
    pub energy_mwh: i64,
    /// Their cost in hundredths of a euro, without those of which none is known.
    pub cost_cents: i64,
    /// The first plug-in, in seconds since 1970.
    pub first: i64,
    /// The last plug-in, in seconds since 1970.
    pub last: i64,
}

/// What the server says of itself once it listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    /// What a complete reader has.
    pub truth: Figures,
}

/// What the server was asked so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Asked {
    /// How many requests came, sign-ins included.
    pub requests: usize,
    /// The most that came within any stretch of the span that it was told to watch.
    pub most_in_span: usize,
}

/// What a program has used, from its start to its end, with those that it has started itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Used {
    /// On the clock.
    pub wall: Duration,
    /// Of all processors, in user and in system mode.
    pub processor: Duration,
    /// The largest resident set, in bytes.
    pub memory: u64,
}

/// The organisation of the account.
pub const ORGANISATION: &str = "5f0c2b1e-6d0a-4c1e-9b0e-0d9b7a1c0000";
/// What the server takes as credentials, as it takes everything.
pub const CLIENT: (&str, &str) = ("benchmark", "not-a-secret");
/// The largest page of the API.
pub const MAX_PAGE: usize = 200;
/// The first day of the history.
pub const FIRST_DAY: &str = "2020-01-01";
