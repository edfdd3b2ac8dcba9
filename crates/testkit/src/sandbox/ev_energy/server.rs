//! The routes, and what every request passes on its way to them.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Path, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header, request::Parts};
use serde_json::Value;

use super::{
    RetryAfter,
    auth::{self, Caller},
    data::{Account, PlugIn, SubSession},
    filter::{Fields, Filter},
    paging::{Identified, Page, PageRequest},
    problem::Problem,
    view::{self, Expand, PriceShape, UsageRequest, View, id_in},
};
use crate::sandbox::{
    fault::{FaultQueue, PageFault, Target},
    gate::Gate,
    limit::RateLimiter,
    query::Query,
    record::Recorder,
    token::TokenEndpoint,
};

/// The version that every answer names.
const VERSION: HeaderValue = HeaderValue::from_static("2.0");

const TOKEN: &str = "/o/token/";

/// What the routes and the handle have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) account: RwLock<Account>,
    pub(super) tokens: TokenEndpoint,
    pub(super) limiter: RateLimiter,
    pub(super) faults: FaultQueue,
    pub(super) recorder: Recorder,
    pub(super) latency: Duration,
    pub(super) retry_after: RetryAfter,
    pub(super) prices: PriceShape,
    /// What URLs in records begin with.
    pub(super) base: String,
    /// What URLs in answers begin with, if they are to lead here.
    pub(super) own_base: OnceLock<String>,
    pub(super) last_pages: Mutex<HashMap<String, (Bytes, HeaderMap)>>,
}

type Answer = Result<Response, Problem>;

/// All routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(TOKEN, post(token))
        .route("/o/revoke_token/", post(revoke))
        // Without their slash these answer, but not with a token.
        .route("/o/token", any(not_allowed))
        .route("/o/revoke_token", any(not_allowed))
        .route("/v2/charging_sessions", get(plug_ins))
        .route("/v2/charging_sessions/{id}", get(plug_in))
        .route("/v2/charging_sub_sessions", get(sub_sessions))
        .route("/v2/charging_sub_sessions/{id}", get(sub_session))
        .route("/v2/charging_sub_sessions/{id}/energy_usage", get(energy_usage))
        .route("/v2/charging_sub_sessions/{id}/schedules", get(schedules))
        .route("/v2/charging_sub_sessions/{id}/flags", get(flags))
        .route("/v2/charging_sub_sessions/{id}/assessment", get(assessment))
        .route("/v2/charging_sub_sessions/{id}/debug_metadata", get(debug_metadata))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(shared.clone(), gate))
        .with_state(shared)
}

async fn not_allowed() -> Problem {
    Problem::method_not_allowed()
}

/// What every request passes.
async fn gate(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    // Lists are bare.
    let records = "";
    let gate = Gate {
        recorder: &shared.recorder,
        tokens: &shared.tokens,
        faults: &shared.faults,
        latency: shared.latency,
        sign_in: "/o/",
        token: TOKEN,
    };
    let answer = async |target, request: Request| match target {
        Target::Token => next.run(request).await,
        Target::Data => data(&shared, request, next).await,
    };
    gate.pass(request, records, answer).await
}

/// Answers a request for data.
async fn data(shared: &Shared, mut request: Request, next: Next) -> Response {
    if let Some(response) = auth::gateway(request.headers()) {
        return response;
    }
    let mut response = match admit(shared, request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert("evenergy-version", VERSION);
    headers.insert("x-ratelimit-limit", HeaderValue::from(shared.limiter.limit()));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(shared.limiter.remaining()));
    response
}

fn admit(shared: &Shared, headers: &HeaderMap) -> Result<Caller, Problem> {
    auth::negotiate(headers)?;
    auth::version(headers)?;
    let caller = auth::authenticate(headers, &shared.tokens)?;
    shared.limiter.take().map_err(|wait| Problem::too_many_requests(wait, shared.retry_after))?;
    Ok(caller)
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.tokens.answer(&headers, &body)
}

async fn revoke(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.tokens.revoke(&headers, &body)
}

/// A request that was let in.
struct Ask {
    path: String,
    query: Query,
    caller: Caller,
    fault: Option<PageFault>,
}

impl FromRequestParts<Arc<Shared>> for Ask {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Self, Infallible> {
        Ok(Self {
            path: parts.uri.path().to_owned(),
            query: Query::parse(parts.uri.query().unwrap_or_default().as_bytes()),
            caller: parts.extensions.get().cloned().unwrap_or_default(),
            fault: parts.extensions.get().copied(),
        })
    }
}

async fn sub_sessions(State(shared): State<Arc<Shared>>, ask: Ask) -> Answer {
    if let Some(page) = shared.repeated(&ask) {
        return Ok(page);
    }
    let account = shared.account();
    let expand = Expand::parse(&ask.query, &view::OF_SUB_SESSION)?;
    let page = PageRequest::parse(&ask.query, "csub")?;
    let filter = Filter::parse(&ask.query, &ask.caller, &account)?;
    let rows: Vec<&SubSession> = account.sub_sessions.iter().filter(|row| filter.admits(row)).collect();
    let view = shared.view(&account);
    Ok(shared.listing(&ask, &page.cut(&rows, ask.fault), |row| view.sub_session(row, &expand)))
}

async fn plug_ins(State(shared): State<Arc<Shared>>, ask: Ask) -> Answer {
    if let Some(page) = shared.repeated(&ask) {
        return Ok(page);
    }
    let account = shared.account();
    let expand = Expand::parse(&ask.query, &view::OF_PLUG_IN)?;
    let page = PageRequest::parse(&ask.query, "cses")?;
    let mine = |row: &&PlugIn| ask.caller.restricted_to().is_none_or(|user| row.user == user);
    let rows: Vec<&PlugIn> = account.plug_ins.iter().filter(mine).collect();
    let view = shared.view(&account);
    Ok(shared.listing(&ask, &page.cut(&rows, ask.fault), |row| view.plug_in(row, &expand)))
}

async fn plug_in(State(shared): State<Arc<Shared>>, Path(id): Path<String>, ask: Ask) -> Answer {
    let account = shared.account();
    let expand = Expand::parse(&ask.query, &view::OF_PLUG_IN)?;
    let row = account.plug_ins.iter().find(|row| row.id == id).ok_or_else(Problem::not_found)?;
    Ok(shared.json(shared.view(&account).plug_in(row, &expand)))
}

async fn sub_session(State(shared): State<Arc<Shared>>, Path(id): Path<String>, ask: Ask) -> Answer {
    let account = shared.account();
    let expand = Expand::parse(&ask.query, &view::OF_SUB_SESSION)?;
    let row = account.sub_session(&id).ok_or_else(Problem::not_found)?;
    Ok(shared.json(shared.view(&account).sub_session(row, &expand)))
}

async fn energy_usage(State(shared): State<Arc<Shared>>, Path(id): Path<String>, ask: Ask) -> Answer {
    let mut fields = Fields::new(&ask.query);
    let request = UsageRequest {
        merge: fields.boolean("merge_consecutive_intervals").unwrap_or(false),
        greater_than: fields.integer("energy_delivered_watt_hours__gt"),
    };
    let request = fields.check(request)?;
    shared.part(&id, &ask, |view, row| view.usage(row, request))
}

async fn schedules(State(shared): State<Arc<Shared>>, Path(id): Path<String>, ask: Ask) -> Answer {
    let mut fields = Fields::new(&ask.query);
    let bounds = (fields.moment("started_at__gte"), fields.moment("started_at__lte"));
    let (from, until) = fields.check(bounds)?;
    let admits = |interval: &Value| {
        let start: Option<jiff::Timestamp> =
            interval["started_at"].as_str().and_then(|text| text.parse().ok());
        from.is_none_or(|from| start >= Some(from))
            && until.is_none_or(|until| start.is_some_and(|start| start <= until))
    };
    shared.part(&id, &ask, |view, row| view.schedules(row, admits))
}

async fn flags(State(shared): State<Arc<Shared>>, Path(id): Path<String>, ask: Ask) -> Answer {
    shared.part(&id, &ask, |view, row| view.named_part(row, "flags"))
}

async fn assessment(State(shared): State<Arc<Shared>>, Path(id): Path<String>, ask: Ask) -> Answer {
    shared.part(&id, &ask, |view, row| view.named_part(row, "assessment"))
}

async fn debug_metadata(State(shared): State<Arc<Shared>>, Path(id): Path<String>, ask: Ask) -> Answer {
    shared.part(&id, &ask, |view, row| view.named_part(row, "debug_metadata"))
}

impl Shared {
    pub(super) fn account(&self) -> RwLockReadGuard<'_, Account> {
        self.account.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view<'a>(&'a self, account: &'a Account) -> View<'a> {
        View { account, base: &self.base, prices: self.prices }
    }

    /// What URLs in answers begin with.
    fn link_base(&self) -> &str {
        self.own_base.get().unwrap_or(&self.base)
    }

    /// A part of a sub-session.
    fn part(&self, id: &str, ask: &Ask, show: impl FnOnce(&View<'_>, &SubSession) -> Value) -> Answer {
        let account = self.account();
        let expand = Expand::parse(&ask.query, &view::OF_PART)?;
        let row = account.sub_session(id).ok_or_else(Problem::not_found)?;
        let view = self.view(&account);
        let part = show(&view, row);
        Ok(self.json(view.with_parent(part, row, &expand)))
    }

    fn listing<T: Identified>(
        &self,
        ask: &Ask,
        page: &Page<'_, T>,
        show: impl FnMut(&T) -> Value,
    ) -> Response {
        let path = ask.path.strip_prefix("/v2/").unwrap_or(&ask.path);
        let link = page.link(&format!("{}{path}", self.link_base()), &ask.query);
        let mut headers = HeaderMap::new();
        // A query is percent-encoded, so the header cannot be broken by it.
        headers.insert(header::LINK, HeaderValue::from_str(&link).expect("links are visible text"));
        let body = self.bytes(page.rows.iter().map(show).collect());
        let mut last_pages = self.last_pages.lock().unwrap_or_else(PoisonError::into_inner);
        last_pages.insert(ask.path.clone(), (body.clone(), headers.clone()));
        json_response(body, headers)
    }

    /// The last page of this listing once more, if a fault says so.
    fn repeated(&self, ask: &Ask) -> Option<Response> {
        if ask.fault != Some(PageFault::Repeat) {
            return None;
        }
        let last_pages = self.last_pages.lock().unwrap_or_else(PoisonError::into_inner);
        let (body, headers) = last_pages.get(&ask.path)?.clone();
        Some(json_response(body, headers))
    }

    fn json(&self, value: Value) -> Response {
        json_response(self.bytes(value), HeaderMap::new())
    }

    fn bytes(&self, mut value: Value) -> Bytes {
        if let Some(own) = self.own_base.get() {
            view::rebase(&mut value, &self.base, own);
        }
        Bytes::from(value.to_string())
    }
}

fn json_response(body: Bytes, headers: HeaderMap) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Whether `id` can be the id of a sub-session.
pub(super) fn is_sub_session_id(id: &str) -> bool {
    id_in(id, "csub") == Some(id)
}
