//! The routes, and what every request passes on its way to them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Extension, Path, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, patch, post, put},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::{
    account::Kind,
    data::{Account, Session},
    paging::{Filter, PageRequest, Row},
    problem::Problem,
};
use crate::sandbox::{
    fault::{FaultQueue, PageFault, Target},
    gate::Gate,
    limit::RateLimiter,
    query::Query,
    record::Recorder,
    token::TokenEndpoint,
};

pub(super) const BASE: &str = "/connect/";
pub(super) const TOKEN: &str = "/am/oauth2/realms/root/realms/difesp/access_token";

const FEATURE: &str = "CaptureChargeSessions";

/// More than any vehicle holds, in kilowatt-hours.
const MAX_CAPACITY: f64 = 2000.0;

/// What the routes and the handle have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) account: RwLock<Account>,
    pub(super) tokens: TokenEndpoint,
    pub(super) scope: Option<String>,
    pub(super) limiter: Option<RateLimiter>,
    pub(super) faults: FaultQueue,
    pub(super) recorder: Recorder,
    pub(super) latency: Duration,
    pub(super) page_cap: Option<usize>,
    pub(super) older_envelope: bool,
    pub(super) dirt: bool,
    pub(super) last_pages: Mutex<HashMap<String, Bytes>>,
}

type Answer = Result<Response, Problem>;

/// What a fault does to a listing, if it does anything.
type Fault = Option<Extension<PageFault>>;

/// All routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    const ENTITIES: &str = "/connect/v1/entities";
    Router::new()
        .route(TOKEN, post(token))
        .route(ENTITIES, get(entities))
        .route(&format!("{ENTITIES}/{{entity}}/charge-sessions"), get(charge_sessions))
        .route(&format!("{ENTITIES}/{{entity}}/features"), patch(set_feature))
        .route(&format!("{ENTITIES}/{{entity}}/battery-capacity"), put(set_capacity))
        .fallback(async || Problem::not_found("address"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(shared.clone(), gate))
        .with_state(shared)
}

/// What every request passes.
async fn gate(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_listing = path.ends_with("/charge-sessions") || path.ends_with("/entities");
    let records = if is_listing { "/data" } else { "" };
    let gate = Gate {
        recorder: &shared.recorder,
        tokens: &shared.tokens,
        faults: &shared.faults,
        latency: shared.latency,
        sign_in: "/am/",
        token: TOKEN,
    };
    let answer = async |target, request: Request| match target {
        Target::Token => next.run(request).await,
        Target::Data => match admit(&shared, request.headers()) {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        },
    };
    gate.pass(request, records, answer).await
}

fn admit(shared: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    if !shared.tokens.is_known(headers) {
        return Err(Problem::unauthorized());
    }
    match &shared.limiter {
        Some(limiter) => limiter.take().map_err(Problem::too_many_requests),
        None => Ok(()),
    }
}

/// The endpoint that the sandboxes share knows one scope for ever; here it is a setting, or there is none.
async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let response = shared.tokens.answer(&headers, &body);
    if response.status() != StatusCode::OK {
        return response;
    }
    let form = Query::parse(&body);
    let is_asked_for =
        |scope: &String| form.get("scope").is_some_and(|asked| asked.split(' ').any(|it| it == scope));
    if !shared.scope.as_ref().is_none_or(is_asked_for) {
        let mut refusal = json_response(json!({ "error": "invalid_scope" }).to_string());
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return refusal;
    }
    let (parts, body) = response.into_parts();
    // The body is in memory and has no limit to break.
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (&shared.scope, &mut answer) {
        (Some(scope), answer) => answer["scope"] = scope.as_str().into(),
        (None, Value::Object(fields)) => drop(fields.remove("scope")),
        _ => {}
    }
    Response::from_parts(parts, Body::from(answer.to_string()))
}

async fn entities(State(shared): State<Arc<Shared>>, headers: HeaderMap, fault: Fault, uri: Uri) -> Answer {
    let query = query(&uri);
    let request = PageRequest::parse(&query, uri.path(), shared.page_cap)?;
    let account = shared.account();
    let rows: Vec<Row<'_>> =
        (0_i128..).zip(&account.entities).map(|(rank, entity)| Row { rank, id: &entity.id }).collect();
    Ok(shared.page(&headers, &uri, &query, fault, &request, &rows, false, |index| {
        account.entities[index].record()
    }))
}

async fn charge_sessions(
    State(shared): State<Arc<Shared>>,
    Path(entity): Path<String>,
    headers: HeaderMap,
    fault: Fault,
    uri: Uri,
) -> Answer {
    let account = shared.account();
    let entity = find(&account, &entity)?;
    let query = query(&uri);
    let filter = Filter::parse(&query)?;
    let listing = format!("{}?{}", uri.path(), filter.text());
    let request = PageRequest::parse(&query, &listing, shared.page_cap)?;
    let matches: Vec<&Session> =
        account.sessions.iter().filter(|it| it.entity == entity && filter.admits(it)).collect();
    let rows: Vec<Row<'_>> =
        matches.iter().map(|it| Row { rank: it.start.as_nanosecond(), id: &it.id }).collect();
    let is_overlapping = shared.dirt && entity == 0;
    Ok(shared.page(&headers, &uri, &query, fault, &request, &rows, is_overlapping, |index| {
        matches[index].record.clone().into()
    }))
}

async fn set_feature(State(shared): State<Arc<Shared>>, Path(entity): Path<String>, body: Bytes) -> Answer {
    let mut account = shared.account_mut();
    let entity = find(&account, &entity)?;
    let entity = &mut account.entities[entity];
    let body = object(&body)?;
    let Some(enabled) = body["enabled"].as_bool() else {
        return Err(Problem::body("enabled is neither true nor false."));
    };
    if body["feature"] != FEATURE {
        return Err(Problem::body("feature is not one that there is."));
    }
    if enabled && !entity.is_capable {
        return Err(Problem::not_supported("this feature"));
    }
    if enabled && entity.kind == Kind::Vehicle && entity.capacity.is_none() {
        return Err(Problem::capacity_missing());
    }
    entity.captures = enabled;
    Ok(json_response(json!([{ "feature": FEATURE, "enabled": enabled }]).to_string()))
}

async fn set_capacity(State(shared): State<Arc<Shared>>, Path(entity): Path<String>, body: Bytes) -> Answer {
    let mut account = shared.account_mut();
    let entity = find(&account, &entity)?;
    let entity = &mut account.entities[entity];
    let body = object(&body)?;
    let capacity = body["batteryCapacity"].as_f64().filter(|it| *it > 0.0 && *it <= MAX_CAPACITY);
    let Some(capacity) = capacity else {
        return Err(Problem::body("batteryCapacity is no sensible number of kilowatt-hours."));
    };
    if entity.kind != Kind::Vehicle {
        return Err(Problem::not_supported("a capacity"));
    }
    entity.capacity = Some(capacity);
    Ok(json_response(json!({ "entityId": entity.id, "batteryCapacity": capacity }).to_string()))
}

impl Shared {
    pub(super) fn account(&self) -> RwLockReadGuard<'_, Account> {
        self.account.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn account_mut(&self) -> RwLockWriteGuard<'_, Account> {
        self.account.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// One page of a listing, or the one before it if a fault wants that.
    #[allow(clippy::too_many_arguments, reason = "the two listings differ in all of them")]
    fn page(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        query: &Query,
        fault: Fault,
        request: &PageRequest,
        rows: &[Row<'_>],
        is_overlapping: bool,
        record: impl Fn(usize) -> Value,
    ) -> Response {
        let fault = fault.map(|Extension(fault)| fault);
        let mut last_pages = self.last_pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(PageFault::Repeat), Some(page)) = (fault, last_pages.get(uri.path())) {
            return json_response(page.clone());
        }
        let cut = request.cut(rows, fault, is_overlapping);
        let records = (cut.from..cut.to).map(record).collect();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let path = host.map_or_else(String::new, |host| format!("http://{host}")) + uri.path();
        let page = request.envelope(&cut, records, &path, query, self.older_envelope);
        let page = Bytes::from(page.to_string());
        last_pages.insert(uri.path().to_owned(), page.clone());
        json_response(page)
    }
}

/// The place of an entity in the list of all.
fn find(account: &Account, id: &str) -> Result<usize, Problem> {
    let found = account.entities.iter().position(|entity| entity.id == id);
    found.ok_or_else(|| Problem::not_found("entity"))
}

fn object(body: &Bytes) -> Result<Value, Problem> {
    let body = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
    body.ok_or_else(|| Problem::body("This is no JSON object."))
}

fn query(uri: &Uri) -> Query {
    Query::parse(uri.query().unwrap_or_default().as_bytes())
}

fn json_response(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
