//! What must hold for any bytes, whichever provider they claim to come from.

use charging_sessions_core::{ChargingSession, Result, SessionPage, checks};
use charging_sessions_http::{Bytes, Limits, RawValue, Request, Response, Transport};
use jiff::Timestamp;
use serde::Deserialize;

/// The longest listing that is read.
const MOST_RECORDS: usize = 50_000;

/// When everything was fetched.
pub const FETCHED_AT: Timestamp = Timestamp::constant(1_795_176_000, 0);

/// Where the records of a listing are.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, alias = "items", alias = "result")]
    data: Option<Vec<&'a RawValue>>,
}

/// Holds a page against the body that it was read from: no record is lost, and what was read can be written and read
/// again.
///
/// # Panics
///
/// If that is not so.
pub fn hold(body: &Bytes, page: Result<SessionPage>) {
    let Ok(page) = page else { return };
    let records = serde_json::from_slice::<Vec<&RawValue>>(body)
        .ok()
        .or_else(|| serde_json::from_slice::<Envelope<'_>>(body).ok()?.data);
    let told = page.sessions.len() + page.rejected.len();
    if let Some(records) = records.filter(|records| records.len() <= MOST_RECORDS) {
        assert!(told >= records.len(), "{told} of {} records", records.len());
    }
    page.sessions.into_iter().for_each(hold_one);
}

/// As [`hold`], for one session.
///
/// # Panics
///
/// If it cannot be written and read again as it was.
pub fn hold_one(mut session: ChargingSession) {
    checks::screen(&mut session, &checks::Limits::default());
    // The bytes are kept apart from the session.
    session.provenance.payload = None;
    let text = serde_json::to_string(&session).expect("a session can be written");
    let again: ChargingSession = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(again, session);
}

/// A provider that has nothing to say, in the words of all of them.
#[derive(Debug)]
pub struct Silence;

#[async_trait::async_trait]
impl Transport for Silence {
    async fn send(&self, request: Request, _limits: &Limits) -> Result<Response> {
        let body = match request.uri().path() {
            path if path.contains("token") => r#"{"access_token":"t","expires_in":60,"token_type":"Bearer"}"#,
            path if path.ends_with("/charging_sub_sessions") || path.starts_with("/api/") => "[]",
            _ => r#"{"data":[],"items":[],"total":0,"status_code":1000}"#,
        };
        Ok(Response::new(Bytes::from_static(body.as_bytes())))
    }
}

/// Runs what waits, as if no wait took any time.
///
/// # Panics
///
/// As `future` does.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Each time another clock, because waits may be of years.
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(future)
}
