//! What stands in headers: links to the next page, how long to wait, and who has signed a message.
#![no_main]

use std::time::Duration;

use charging_sessions_core::{ProviderId, Result};
use charging_sessions_fuzz::{FETCHED_AT, block_on};
use charging_sessions_http::{
    Bytes, Client, Limits, NextPage, Policy, Request, Response, Transport,
    http::{HeaderMap, HeaderValue},
    link,
    webhook::{Event, Verifier},
};

/// Asks for a wait in the words of the input.
#[derive(Debug)]
struct Busy(HeaderValue);

#[async_trait::async_trait]
impl Transport for Busy {
    async fn send(&self, _request: Request, _limits: &Limits) -> Result<Response> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = charging_sessions_http::http::StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert("retry-after", self.0.clone());
        Ok(response)
    }
}

async fn asks_for_a_wait(value: HeaderValue) {
    let place = "https://provider.example/".parse().expect("an address");
    let policy = Policy::default().with_max_attempts(1).with_attempt_timeout(Duration::from_secs(5));
    let client = Client::builder(ProviderId::new("fuzz"), place).policy(policy);
    let client = client.transport(std::sync::Arc::new(Busy(value))).build().expect("a client");
    let request = client.get("x", &[]).expect("a request");
    assert!(client.send(request, |_| Ok(())).await.is_err());
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let parts: Vec<&[u8]> = data.splitn(4, |byte| *byte == b'\n').collect();
    let Ok(value) = HeaderValue::from_bytes(parts[0]) else { return };
    let headers = HeaderMap::from_iter([("link".parse().expect("a name"), value.clone())]);
    if let Ok(Some(query)) = link::next(&headers) {
        drop(link::with_conditions(&query, [("a", "b".to_owned())]));
    }
    drop(NextPage::of(&headers, &["limit"]));
    if let Ok(text) = value.to_str() {
        let ours = "https://provider.example/ocpi/".parse().expect("an address");
        drop(link::path(&ours, Some(text), "it"));
    }
    block_on(asks_for_a_wait(value));

    let mut signed = HeaderMap::new();
    for (name, part) in ["svix-id", "svix-timestamp", "svix-signature"].into_iter().zip(&parts) {
        let Ok(value) = HeaderValue::from_bytes(part) else { return };
        signed.insert(name, value);
    }
    let body = Bytes::copy_from_slice(parts.last().copied().unwrap_or_default());
    let verifier = Verifier::new(&"whsec_c2VjcmV0LW9mLXRoZS13ZWJob29r".into()).expect("a secret");
    assert!(verifier.verify(&signed, &body, FETCHED_AT).is_err(), "nobody has signed this");
    drop(Event::read(&body));
});
