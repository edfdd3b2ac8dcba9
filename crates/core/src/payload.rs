//! The bytes a record was mapped from.

use std::fmt;

use bytes::Bytes;

/// One provider record, byte for byte as it was received.
///
/// A cheap handle: usually a slice of the page it arrived in, so cloning copies nothing. It is kept beside
/// the mapped record so that a later release can map it again without asking the provider.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Payload(Bytes);

impl Payload {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Into<Bytes>> From<T> for Payload {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Payload {
    // Payloads hold addresses and names of people; a log line does not need them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_does_not_show_its_content() {
        let payload = Payload::from("{\"vin\":\"W0L\"}");
        assert_eq!(format!("{payload:?}"), "Payload(13 bytes)");
        assert_eq!(payload.as_bytes(), b"{\"vin\":\"W0L\"}");
    }
}
