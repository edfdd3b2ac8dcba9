//! What content hashes to.

#[cfg(feature = "sqlite")]
use std::ops::Range;
use std::{fmt, str::FromStr};

use charging_sessions_core::ChargingSession;
use sha2::{Digest as _, Sha256};

/// A SHA-256 hash. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text was not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHash;

impl fmt::Display for InvalidHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hash has 64 hexadecimal digits")
    }
}

impl std::error::Error for InvalidHash {}

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(InvalidHash);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| InvalidHash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidHash)?;
        }
        Ok(Self(bytes))
    }
}

/// The hash of the [content](ChargingSession::content) of a record.
///
/// # Panics
///
/// Never: a session always serializes.
pub fn content_hash(session: &ChargingSession) -> Hash {
    write_content(session, &mut Vec::with_capacity(1024))
}

/// Adds the content of a session to `text`. The hash of it.
pub(crate) fn write_content(session: &ChargingSession, text: &mut Vec<u8>) -> Hash {
    let start = text.len();
    serde_json::to_writer(&mut *text, &session.content()).expect("a session is plain data");
    // At once, because a hash of many small pieces takes longer.
    Hash::of(&text[start..])
}

/// Adds the whole of a session to `text`, where its content is already.
#[cfg(feature = "sqlite")]
pub(crate) fn write_record(session: &ChargingSession, content: Range<usize>, text: &mut Vec<u8>) {
    serde_json::to_writer(&mut *text, &session.circumstances()).expect("a session is plain data");
    // Two objects that have members become one.
    text.pop();
    text.push(b',');
    text.extend_from_within(content.start + 1..content.end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use charging_sessions_core::{
        AccountId, Endpoint, Energy, EnergyReading, Issue, IssueCode, MeasuringPoint, Provenance, ProviderId,
        RecordKind, SessionKey, SessionStatus, Severity,
    };
    use jiff::Timestamp;

    fn session() -> ChargingSession {
        let key = SessionKey::new(ProviderId::new("x"), AccountId::default(), RecordKind::Charge, "1");
        let origin = Provenance::new(Endpoint::new("GET /", None), Timestamp::UNIX_EPOCH, 1);
        ChargingSession::new(key, SessionStatus::Completed, origin)
    }

    #[test]
    fn only_what_a_record_says_counts() {
        let plain = content_hash(&session());
        let mut other = session();
        other.provenance.fetched_at = Timestamp::MAX;
        other.provenance.mapping_version = 9;
        other.identity.parent = Some(other.identity.key.clone());
        other.issues.push(Issue::new(IssueCode::ENERGY_CAPPED, Severity::Info));
        assert_eq!(content_hash(&other), plain);
        let energy = Energy::from_wh(1).unwrap();
        other.energy.readings.push(EnergyReading::import(energy, MeasuringPoint::Unknown));
        assert_ne!(content_hash(&other), plain);
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn content_and_circumstances_are_the_record() {
        let mut full = session();
        full.identity.parent = Some(full.identity.key.clone());
        full.issues.push(Issue::new(IssueCode::ENERGY_CAPPED, Severity::Info));
        full.keep("\"odd\"}", Some("{"));
        let mut text = b"of another".to_vec();
        for session in [session(), full] {
            let start = text.len();
            let hash = write_content(&session, &mut text);
            let content = start..text.len();
            assert_eq!(hash, Hash::of(&text[content.clone()]));
            write_record(&session, content.clone(), &mut text);
            let record = &text[content.end..];
            let read: serde_json::Value = serde_json::from_slice(record).unwrap();
            assert_eq!(read, serde_json::to_value(&session).unwrap());
            // No member twice, which reading into a value would not show.
            assert_eq!(record.len(), serde_json::to_vec(&session).unwrap().len());
        }
    }

    #[test]
    fn a_hash_is_read_back_from_its_text() {
        let hash = Hash::of(b"abc");
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for text in ["", "ba78", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(text.parse::<Hash>(), Err(InvalidHash));
        }
    }
}
