//! The routes, and what every request passes on its way to them.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::data::{Database, Row};
use crate::sandbox::{
    fault::FaultQueue, gate::Gate, limit::RateLimiter, query::Query, record::Recorder, token::TokenEndpoint,
};

const SESSIONS: &str = "/api/sessions";

/// No path begins with it, so that nothing is taken for a sign-in.
const NO_SIGN_IN: &str = "none";

/// What the routes and the handle have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) database: RwLock<Database>,
    /// By whose clock years and months are.
    pub(super) filter_zone: TimeZone,
    pub(super) is_wrapped: bool,
    pub(super) currency: Option<String>,
    /// What a proxy wants to see.
    pub(super) authorization: Option<String>,
    pub(super) limiter: Option<RateLimiter>,
    pub(super) tokens: TokenEndpoint,
    pub(super) faults: FaultQueue,
    pub(super) recorder: Recorder,
    pub(super) latency: Duration,
}

/// All routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(SESSIONS, get(sessions))
        .route("/api/state", get(state))
        .fallback(async || text(StatusCode::NOT_FOUND, "404 page not found"))
        .layer(middleware::from_fn_with_state(shared.clone(), gate))
        .with_state(shared)
}

/// What every request passes.
async fn gate(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let records = match request.uri().path() {
        SESSIONS if shared.is_wrapped => "/result",
        _ => "",
    };
    let gate = Gate {
        recorder: &shared.recorder,
        tokens: &shared.tokens,
        faults: &shared.faults,
        latency: shared.latency,
        sign_in: NO_SIGN_IN,
        token: NO_SIGN_IN,
    };
    let answer = async |_, request: Request| match admit(&shared, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal,
    };
    gate.pass(request, records, answer).await
}

#[allow(clippy::result_large_err, reason = "an answer is an answer")]
fn admit(shared: &Shared, headers: &HeaderMap) -> Result<(), Response> {
    let shown = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let is_known = |wanted: &String| shown == Some(wanted.as_bytes());
    if !shared.authorization.as_ref().is_none_or(is_known) {
        return Err(text(StatusCode::UNAUTHORIZED, "unauthorized"));
    }
    let Some(Err(wait)) = shared.limiter.as_ref().map(RateLimiter::take) else { return Ok(()) };
    let mut refusal = text(StatusCode::TOO_MANY_REQUESTS, "too many requests");
    // A client that waits for the rounded-down time comes too early.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    Err(refusal)
}

async fn sessions(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let query = Query::parse(uri.query().unwrap_or_default().as_bytes());
    let database = shared.database();
    let is_asked_for = |row: &&Row| {
        let began = shared.filter_zone.to_datetime(row.created);
        let matches = |name: &str, value: i16| match query.get(name) {
            Some(text) => text.parse() == Ok(value),
            None => true,
        };
        let month = query.get("month").filter(|month| month.parse() != Ok(0)).is_none();
        // A month without a year is not looked at.
        query.get("year").is_none()
            || (matches("year", began.year()) && (month || matches("month", began.month().into())))
    };
    let rows = database.listed().filter(is_asked_for).map(|row| Value::from(row.record.clone()));
    shared.answer(rows.collect())
}

async fn state(State(shared): State<Arc<Shared>>) -> Response {
    let mut state = json!({
        "siteTitle": "Zuhause",
        "version": "0.311.0",
        "loadpoints": [{ "title": "Carport", "charging": true }, { "title": "Garage", "charging": false }],
    });
    if let Some(currency) = &shared.currency {
        state["currency"] = currency.as_str().into();
    }
    shared.answer(state)
}

impl Shared {
    pub(super) fn database(&self) -> RwLockReadGuard<'_, Database> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn database_mut(&self) -> RwLockWriteGuard<'_, Database> {
        self.database.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, body: Value) -> Response {
        let body = if self.is_wrapped { json!({ "result": body }) } else { body };
        answer(StatusCode::OK, "application/json", body.to_string())
    }
}

fn text(status: StatusCode, said: &'static str) -> Response {
    answer(status, "text/plain", said)
}

fn answer(status: StatusCode, media: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
