//! Messages that a provider sends by itself, signed as [Svix](https://docs.svix.com/receiving/verifying-payloads/how-manual)
//! and [Standard Webhooks](https://www.standardwebhooks.com) do. No server: bytes in, verdict out.
//!
//! ```
//! use charging_sessions_http::webhook::{Event, SeenDeliveries, Verifier};
//! # use charging_sessions_http::http::HeaderMap;
//!
//! # let mut headers = HeaderMap::new();
//! # headers.insert("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".parse()?);
//! # headers.insert("svix-timestamp", "1614265330".parse()?);
//! # headers.insert("svix-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".parse()?);
//! # let body = bytes::Bytes::from(r#"{"test": 2432232314}"#);
//! # let now = "2021-02-25T15:02:10Z".parse()?;
//! let verifier = Verifier::new(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into())?;
//! let mut seen = SeenDeliveries::default();
//!
//! let delivery = verifier.verify(&headers, &body, now)?;
//! if seen.is_new(&delivery, now) {
//!     let event = Event::read(&body);
//! #   assert!(event.is_err());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{collections::HashMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use charging_sessions_core::{Error, ErrorKind, Result};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;

/// How far the time of a delivery may be from now, either way.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Tells whether a message comes from who knows a secret.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<Hmac<Sha256>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} secrets)", self.keys.len())
    }
}

/// A message that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// What the sender calls the message. The same when it is sent again, so this is what to deduplicate by.
    pub id: String,
    /// When this attempt was sent.
    pub sent_at: Timestamp,
}

impl Verifier {
    /// For an endpoint's secret: `whsec_` and Base64.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it is something else. The error does not quote it.
    pub fn new(secret: &SecretString) -> Result<Self> {
        Self { keys: Vec::new() }.or(secret)
    }

    /// Accepts this secret, too: for the time while one is replaced by another.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn or(mut self, secret: &SecretString) -> Result<Self> {
        let wrong =
            || Error::new(ErrorKind::Config, "the secret of a webhook is `whsec_` followed by Base64");
        let encoded = secret.expose_secret().trim().strip_prefix("whsec_").ok_or_else(wrong)?;
        let key = STANDARD.decode(encoded).ok().filter(|key| !key.is_empty()).ok_or_else(wrong)?;
        self.keys.push(Hmac::new_from_slice(&key).map_err(|_| wrong())?);
        Ok(self)
    }

    /// Checks the signature and the age of a message. `body` is what arrived, byte for byte: JSON that was read and
    /// written again has another signature. Signatures are compared in constant time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Untrusted`] if a header is missing or cannot be read, if the message was sent more than
    /// [`TOLERANCE`] before or after `now`, or if none of its signatures was made with a secret of ours.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Delivery> {
        let header = |name: &str| {
            let value =
                headers.get(format!("svix-{name}")).or_else(|| headers.get(format!("webhook-{name}")));
            let text = value.and_then(|value| value.to_str().ok());
            text.ok_or_else(|| untrusted(format!("the webhook has no readable header `svix-{name}`")))
        };
        let (id, sent, signatures) = (header("id")?, header("timestamp")?, header("signature")?);
        let sent_at = sent.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let sent_at = sent_at.ok_or_else(|| untrusted("the time of the webhook is not in Unix seconds"))?;
        if now.duration_since(sent_at).abs() > TOLERANCE {
            let text =
                format!("the webhook was sent at {sent_at}, more than 5 minutes from {now} by this clock");
            return Err(untrusted(text));
        }
        let is_ours = |signature: &str| {
            let made = signature.strip_prefix("v1,").and_then(|encoded| STANDARD.decode(encoded).ok());
            made.is_some_and(|made| {
                self.keys.iter().any(|key| {
                    let mut key = key.clone();
                    for part in [id.as_bytes(), b".", sent.as_bytes(), b".", body] {
                        key.update(part);
                    }
                    key.verify_slice(&made).is_ok()
                })
            })
        };
        if !signatures.split(' ').any(is_ours) {
            let text = "no signature of the webhook was made with the secret of this endpoint";
            return Err(untrusted(text));
        }
        Ok(Delivery { id: id.to_owned(), sent_at })
    }
}

fn untrusted(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Untrusted, text)
}

/// Remembers deliveries for as long as they can be trusted, so that one that was recorded and played back is told from
/// a new one. What is played back later is refused for its age.
///
/// For one process. What is stored by [key](charging_sessions_core::SessionKey) needs no such memory: the same
/// message twice is then the same record twice.
#[derive(Clone, Debug, Default)]
pub struct SeenDeliveries {
    by_id: HashMap<String, Timestamp>,
}

impl SeenDeliveries {
    /// Whether this is the first time that the delivery is seen; remembers it.
    pub fn is_new(&mut self, delivery: &Delivery, now: Timestamp) -> bool {
        self.by_id.retain(|_, sent_at| now.duration_since(*sent_at) <= TOLERANCE);
        self.by_id.insert(delivery.id.clone(), delivery.sent_at).is_none()
    }
}

/// What a message says: something happened to a thing, at a time.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Event<'a> {
    /// What happened, in the provider's words.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The thing. A slice of the body.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

impl<'a> Event<'a> {
    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] that says what was found instead.
    pub fn read(body: &'a Bytes) -> Result<Self> {
        crate::json(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example that Svix publishes.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SENT: i64 = 1_614_265_330;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const WRONG: &str = "v1,Z0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn headers(prefix: &str, signature: &str) -> HeaderMap {
        let parts =
            [("id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("timestamp", "1614265330"), ("signature", signature)];
        let header = |(name, value): (&str, &str)| {
            (format!("{prefix}-{name}").parse().unwrap(), value.parse().unwrap())
        };
        parts.into_iter().map(header).collect()
    }

    fn verify(headers: &HeaderMap, body: &[u8], seconds_later: i64) -> Result<Delivery> {
        let now = Timestamp::from_second(SENT + seconds_later).unwrap();
        Verifier::new(&SECRET.into()).unwrap().verify(headers, body, now)
    }

    #[test]
    fn a_signed_message_is_trusted_under_both_spellings_of_its_headers() {
        for prefix in ["svix", "webhook"] {
            let delivery = verify(&headers(prefix, SIGNATURE), BODY, 0).unwrap();
            assert_eq!(delivery.id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
            assert_eq!(delivery.sent_at.as_second(), SENT);
        }
    }

    #[test]
    fn one_good_signature_among_several_is_enough() {
        for several in [format!("{WRONG} {SIGNATURE}"), format!("v1a,x {SIGNATURE} {WRONG}")] {
            assert!(verify(&headers("svix", &several), BODY, 0).is_ok(), "{several}");
        }
    }

    #[test]
    fn an_older_secret_is_accepted_beside_the_new_one() {
        let new = Verifier::new(&"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into()).unwrap();
        let now = Timestamp::from_second(SENT).unwrap();
        let headers = headers("svix", SIGNATURE);
        assert!(new.verify(&headers, BODY, now).is_err());
        assert!(new.or(&SECRET.into()).unwrap().verify(&headers, BODY, now).is_ok());
    }

    #[test]
    fn a_message_that_was_changed_is_not_trusted() {
        let good = headers("svix", SIGNATURE);
        let mut other_id = good.clone();
        other_id.insert("svix-id", "msg_other".parse().unwrap());
        let mut other_time = good.clone();
        other_time.insert("svix-timestamp", "1614265331".parse().unwrap());
        for (headers, body) in [
            (&good, &br#"{"test": 2432232315}"#[..]),
            (&good, b""),
            (&other_id, BODY),
            (&other_time, BODY),
            (&headers("svix", WRONG), BODY),
            (&headers("svix", ""), BODY),
            (&headers("svix", "v1,"), BODY),
            (&headers("svix", &SIGNATURE[3..]), BODY),
            (&headers("svix", &SIGNATURE.replace("v1", "v2")), BODY),
        ] {
            let error = verify(headers, body, 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Untrusted);
            assert!(error.to_string().contains("no signature"), "{error}");
        }
    }

    #[test]
    fn five_minutes_either_way_are_tolerated() {
        let headers = headers("svix", SIGNATURE);
        for (seconds, trusted) in [(300, true), (-300, true), (301, false), (-301, false), (864_000, false)] {
            let verdict = verify(&headers, BODY, seconds);
            assert_eq!(verdict.is_ok(), trusted, "{seconds}");
            if let Err(error) = verdict {
                assert!(error.to_string().contains("more than 5 minutes"), "{error}");
            }
        }
    }

    #[test]
    fn a_missing_or_unreadable_header_is_named() {
        for (name, value) in
            [("id", None), ("timestamp", None), ("signature", None), ("timestamp", Some("yesterday"))]
        {
            let mut headers = headers("svix", SIGNATURE);
            headers.remove(format!("svix-{name}"));
            if let Some(value) = value {
                headers.insert("svix-timestamp", value.parse().unwrap());
            }
            let error = verify(&headers, BODY, 0).unwrap_err();
            let words = if value.is_some() { "Unix seconds".to_owned() } else { format!("`svix-{name}`") };
            assert!(error.kind() == ErrorKind::Untrusted && error.to_string().contains(&words), "{error}");
        }
    }

    #[test]
    fn a_secret_of_another_form_is_refused_without_showing_it() {
        for secret in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!", "whsec_", ""] {
            let error = Verifier::new(&secret.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(secret.len() < 7 || !error.to_string().contains(secret), "{error}");
        }
        assert_eq!(format!("{:?}", Verifier::new(&SECRET.into()).unwrap()), "Verifier(1 secrets)");
    }

    #[test]
    fn a_message_that_is_played_back_is_not_new() {
        let delivery = verify(&headers("svix", SIGNATURE), BODY, 0).unwrap();
        let mut seen = SeenDeliveries::default();
        let at = |seconds| Timestamp::from_second(SENT + seconds).unwrap();
        assert!(seen.is_new(&delivery, at(0)));
        assert!(!seen.is_new(&delivery, at(1)));
        assert!(!seen.is_new(&delivery, at(300)));
        // Later it is refused for its age, so that nothing need be remembered for ever.
        assert!(verify(&headers("svix", SIGNATURE), BODY, 301).is_err());
        let other = Delivery { id: "msg_other".into(), sent_at: at(400) };
        assert!(seen.is_new(&other, at(400)));
        assert_eq!(seen.by_id.len(), 1);
    }

    #[test]
    fn an_event_is_read_or_refused_with_what_it_is() {
        let body = Bytes::from(r#"{"type":"a.b","timestamp":"2026-01-01T00:00:00Z","data":{"id":7}}"#);
        let event = Event::read(&body).unwrap();
        assert_eq!((event.kind.as_str(), event.data.get()), ("a.b", r#"{"id":7}"#));
        for body in ["", "[]", r#"{"type":"a.b"}"#, "<html>"] {
            let body = Bytes::from(body);
            assert_eq!(Event::read(&body).unwrap_err().kind(), ErrorKind::Protocol);
        }
    }
}
