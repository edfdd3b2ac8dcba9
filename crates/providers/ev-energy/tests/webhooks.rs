//! A webhook from its bytes to a session: good, wrong, old and played back.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use charging_sessions_core::{ChargingSession, ErrorKind, Result, SessionStatus};
use charging_sessions_ev_energy::{
    Mapping,
    webhook::{SeenDeliveries, Verifier},
};
use charging_sessions_http::{Bytes, http::HeaderMap};
use charging_sessions_testkit::fixture;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

const KEY: &[u8] = b"a key that only the provider and the receiver know";

/// As the provider signs it.
fn delivery(id: &str, sent: Timestamp, key: &[u8], body: &[u8]) -> HeaderMap {
    let seconds = sent.as_second().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    [("svix-id", id), ("svix-timestamp", &seconds), ("svix-signature", &signature)]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

fn now() -> Timestamp {
    "2026-09-15T06:02:47Z".parse().unwrap()
}

fn body(name: &str) -> Bytes {
    let path = format!("{}/tests/fixtures/events/{name}.http", env!("CARGO_MANIFEST_DIR"));
    fixture::parse(&std::fs::read_to_string(path).unwrap()).unwrap().into_body()
}

fn receive(headers: &HeaderMap, body: &Bytes) -> Result<ChargingSession> {
    let secret = format!("whsec_{}", BASE64_STANDARD.encode(KEY));
    Verifier::new(&secret.into())?.verify(headers, body, now())?;
    Mapping::default().event(body, now())
}

#[test]
fn what_the_provider_signed_becomes_a_session() {
    for (name, status) in [("created", SessionStatus::Active), ("ended", SessionStatus::Completed)] {
        let body = body(name);
        let session = receive(&delivery("msg_1", now(), KEY, &body), &body).unwrap();
        assert_eq!(session.state.status, status);
        assert_eq!(session.provenance.fetched_at, now());
    }
}

#[test]
fn what_somebody_else_signed_or_changed_is_not_trusted() {
    let body = body("ended");
    let forged = delivery("msg_1", now(), b"another key", &body);
    let honest = delivery("msg_1", now(), KEY, &body);
    let changed = Bytes::from(String::from_utf8(body.to_vec()).unwrap().replace("21350", "99999"));
    assert_ne!(changed, body);
    for (headers, body) in [(&forged, &body), (&honest, &changed), (&HeaderMap::new(), &body)] {
        assert_eq!(receive(headers, body).unwrap_err().kind(), ErrorKind::Untrusted);
    }
}

#[test]
fn what_was_sent_long_ago_is_not_trusted() {
    let body = body("ended");
    let sent = now() - SignedDuration::from_secs(301);
    let error = receive(&delivery("msg_1", sent, KEY, &body), &body).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    assert!(error.to_string().contains("more than 5 minutes"), "{error}");
}

#[test]
fn what_is_played_back_is_told_from_what_is_new() {
    let body = body("ended");
    let secret = format!("whsec_{}", BASE64_STANDARD.encode(KEY));
    let verifier = Verifier::new(&secret.into()).unwrap();
    let mut seen = SeenDeliveries::default();
    let first = verifier.verify(&delivery("msg_1", now(), KEY, &body), &body, now()).unwrap();
    let other = verifier.verify(&delivery("msg_2", now(), KEY, &body), &body, now()).unwrap();
    let fresh: Vec<_> = [&first, &first, &other].map(|delivery| seen.is_new(delivery, now())).into();
    assert_eq!(fresh, [true, false, true]);
}
