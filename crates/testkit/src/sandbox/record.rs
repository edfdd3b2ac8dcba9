//! What a sandbox was asked.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, Request, StatusCode, header};
use tokio::time::Instant;

/// Headers worth keeping: they decide what is answered.
const OF_INTEREST: [&str; 13] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-type",
    "evenergy-user",
    "evenergy-version",
    "ocpi-from-country-code",
    "ocpi-from-party-id",
    "ocpi-to-country-code",
    "ocpi-to-party-id",
    "user-agent",
    "x-correlation-id",
    "x-request-id",
];

/// One request, in the order of arrival. Bodies are not kept, because those of token requests are secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The query as sent, without its question mark; empty if there was none.
    pub query: String,
    /// Names in small letters. Of `authorization` only the scheme is kept.
    pub headers: Vec<(String, String)>,
    /// What the sandbox answered; 0 while it is still at it, or if nobody waited for the answer. Some faults
    /// spoil the body of a 200.
    pub status: u16,
    /// When it came, since the sandbox was built. Tells whether a client waited between two attempts.
    pub at: Duration,
}

impl RecordedRequest {
    /// The value of a header that was kept; `name` in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// `GET /path?query -> 200`.
impl fmt::Display for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.query.is_empty() { "" } else { "?" };
        write!(f, "{} {}{mark}{} -> {}", self.method, self.path, self.query, self.status)
    }
}

/// Collects requests.
#[derive(Debug)]
pub(crate) struct Recorder {
    since: Instant,
    requests: Mutex<Vec<RecordedRequest>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), requests: Mutex::default() }
    }

    /// Notes a request that has just arrived; hand it to [`finish`](Self::finish) with what was answered.
    pub(crate) fn begin<B>(&self, request: &Request<B>) -> usize {
        let recorded = RecordedRequest {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: of_interest(request.headers()),
            status: 0,
            at: Instant::now() - self.since,
        };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(recorded);
        requests.len() - 1
    }

    pub(crate) fn finish(&self, place: usize, status: StatusCode) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests[place].status = status.as_u16();
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn of_interest(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for name in OF_INTEREST {
        for value in headers.get_all(name) {
            let value = String::from_utf8_lossy(value.as_bytes());
            let shown = if name == header::AUTHORIZATION.as_str() {
                value.split(' ').next().unwrap_or_default().to_owned()
            } else {
                value.into_owned()
            };
            kept.push((name.to_owned(), shown));
        }
    }
    kept
}
