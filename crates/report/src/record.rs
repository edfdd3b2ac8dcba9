//! A session with what a store knows about it besides.

use charging_sessions_core::ChargingSession;
use jiff::Timestamp;

/// A session with what a store knows about it besides. A session without a store is a record, too: of its first
/// revision, and there.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The session.
    pub session: ChargingSession,
    /// How often it has changed, from 1.
    pub revision: u32,
    /// Since when the provider no longer lists it, if it has vanished.
    pub missing_since: Option<Timestamp>,
    /// The SHA-256 of the bytes that it was read from.
    pub payload_sha256: Option<[u8; 32]>,
}

impl Record {
    /// The first revision of a session that is there.
    pub fn new(session: ChargingSession) -> Self {
        Self { session, revision: 1, missing_since: None, payload_sha256: None }
    }

    /// A session with what a store keeps beside it.
    pub fn stored(
        session: ChargingSession,
        revision: u32,
        missing_since: Option<Timestamp>,
        payload_sha256: Option<[u8; 32]>,
    ) -> Self {
        Self { session, revision, missing_since, payload_sha256 }
    }

    /// The hash of its payload as 64 hexadecimal digits.
    pub fn payload_hex(&self) -> Option<String> {
        use std::fmt::Write as _;
        let bytes = self.payload_sha256?;
        Some(bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }
}
