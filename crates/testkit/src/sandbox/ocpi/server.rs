//! The routes, and what every request passes on its way to them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Extension, Path, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Links, Module, Order, TokenForm, data::Account, view::view};
use crate::sandbox::{
    fault::{FaultQueue, PageFault, Target},
    gate::Gate,
    limit::RateLimiter,
    query::Query,
    record::Recorder,
    token::TokenEndpoint,
};

const LIMIT: usize = 50;

/// What the routes and the handle have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) account: RwLock<Account>,
    pub(super) now: i64,
    pub(super) token: String,
    pub(super) form: TokenForm,
    pub(super) frank: bool,
    pub(super) versions: Vec<&'static str>,
    pub(super) page_cap: usize,
    pub(super) links: Links,
    pub(super) order: Order,
    pub(super) totals: bool,
    pub(super) small: bool,
    pub(super) slashes: bool,
    pub(super) limiter: Option<RateLimiter>,
    /// Nobody signs in here, but the gate that all sandboxes share asks for one.
    pub(super) tokens: TokenEndpoint,
    pub(super) faults: FaultQueue,
    pub(super) recorder: Recorder,
    pub(super) latency: Duration,
    pub(super) last_pages: Mutex<HashMap<String, (HeaderMap, Bytes)>>,
}

/// What a fault does to a listing, if it does anything.
type Fault = Option<Extension<PageFault>>;

/// All routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/ocpi/versions", get(versions))
        .route("/ocpi/{version}", get(details))
        .route("/ocpi/{version}/{module}", get(listing))
        .route("/ocpi/{version}/{module}/", get(listing))
        .fallback(async || refusal(StatusCode::NOT_FOUND, 2000, "There is no such address."))
        .layer(middleware::from_fn_with_state(shared.clone(), gate))
        .with_state(shared)
}

async fn gate(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let records = if path.ends_with("sessions") || path.ends_with("cdrs") { "/data" } else { "" };
    let gate = Gate {
        recorder: &shared.recorder,
        tokens: &shared.tokens,
        faults: &shared.faults,
        latency: shared.latency,
        sign_in: "/sign-in/",
        token: "/sign-in/token",
    };
    let answer =
        async |_: Target, request: Request| match shared.admit(request.headers(), request.uri().path()) {
            Ok(()) => next.run(request).await,
            Err(refused) => *refused,
        };
    gate.pass(request, records, answer).await
}

impl Shared {
    pub(super) fn account(&self) -> RwLockReadGuard<'_, Account> {
        self.account.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, headers: &HeaderMap, path: &str) -> Result<(), Box<Response>> {
        let refused = |status, code, text: &str| Err(Box::new(refusal(status, code, text)));
        let sent =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let sent = sent.strip_prefix("Token ").unwrap_or_default();
        let decoded = BASE64_STANDARD.decode(sent).ok();
        let as_is = match self.form {
            TokenForm::Raw => true,
            TokenForm::Base64 => false,
            TokenForm::ByVersion => path.contains("2.1.1"),
        };
        // A list of versions is for all of them.
        let either = self.form == TokenForm::ByVersion && path == "/ocpi/versions";
        let is_right = (as_is || either) && sent == self.token
            || (!as_is || either) && decoded.as_deref() == Some(self.token.as_bytes());
        match (is_right, self.frank) {
            (true, _) => {}
            (false, true) => return refused(StatusCode::UNAUTHORIZED, 2001, "The token is not known."),
            (false, false) if !as_is && decoded.is_none() => {
                return Err(Box::new(answer(&json!([]), 3000, "Generic server error")));
            }
            (false, false) => {
                let mut response = Response::new(Body::from(json!({"detail": "Forbidden"}).to_string()));
                *response.status_mut() = StatusCode::FORBIDDEN;
                return Err(Box::new(response));
            }
        }
        for name in ["x-request-id", "x-correlation-id"] {
            if headers.get(name).is_none() {
                return refused(StatusCode::BAD_REQUEST, 2001, &format!("{name} is missing."));
            }
        }
        match self.limiter.as_ref().map(RateLimiter::take) {
            Some(Err(wait)) => {
                let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, 2000, "Too many requests.");
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                Err(Box::new(response))
            }
            _ => Ok(()),
        }
    }
}

fn base(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("cpo.example");
    format!("http://{host}/ocpi")
}

async fn versions(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let base = base(&headers);
    let list: Vec<_> =
        shared.versions.iter().map(|it| json!({"version": it, "url": format!("{base}/{it}")})).collect();
    answer(&json!(list), 1000, "")
}

async fn details(
    State(shared): State<Arc<Shared>>,
    Path(version): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !shared.versions.contains(&version.as_str()) {
        return refusal(StatusCode::NOT_FOUND, 2000, "There is no such version.");
    }
    let slash = if shared.slashes { "/" } else { "" };
    let endpoint = |module: &str, role: &str| {
        let mut endpoint =
            json!({"identifier": module, "url": format!("{}/{version}/{module}{slash}", base(&headers))});
        if version != "2.1.1" {
            endpoint["role"] = role.into();
        }
        endpoint
    };
    let mut endpoints = vec![endpoint("sessions", "SENDER"), endpoint("cdrs", "SENDER")];
    if version != "2.1.1" {
        let mut tokens = endpoint("cdrs", "RECEIVER");
        tokens["url"] = "https://elsewhere.example/cdrs".into();
        endpoints.insert(0, tokens);
    }
    answer(&json!({"version": version, "endpoints": endpoints}), 1000, "")
}

async fn listing(
    State(shared): State<Arc<Shared>>,
    Path((version, module)): Path<(String, String)>,
    fault: Fault,
    uri: Uri,
) -> Response {
    let fault = fault.map(|Extension(fault)| fault);
    let module = match module.as_str() {
        "sessions" => Module::Sessions,
        "cdrs" => Module::Cdrs,
        _ => return refusal(StatusCode::NOT_FOUND, 2000, "There is no such module."),
    };
    let Some(version) = shared.versions.iter().find(|it| **it == version) else {
        return refusal(StatusCode::NOT_FOUND, 2000, "There is no such version.");
    };
    if shared.slashes && !uri.path().ends_with('/') {
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        let there = HeaderValue::from_str(&format!("{}/{query}", uri.path()));
        response.headers_mut().insert(header::LOCATION, there.expect("it came in a request"));
        return response;
    }
    let query = Query::parse(uri.query().unwrap_or_default().as_bytes());
    match page(&shared, module, version, &query, uri.path(), fault) {
        Ok(response) => response,
        Err(why) => refusal(StatusCode::BAD_REQUEST, 2001, &why),
    }
}

fn page(
    shared: &Shared,
    module: Module,
    version: &str,
    query: &Query,
    path: &str,
    fault: Option<PageFault>,
) -> Result<Response, String> {
    let mut last_pages = shared.last_pages.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Some(PageFault::Repeat), Some((headers, body))) = (fault, last_pages.get(path)) {
        let mut response = Response::new(Body::from(body.clone()));
        *response.headers_mut() = headers.clone();
        return Ok(response);
    }
    let bound = |name: &str| {
        query
            .get(name)
            .map(|text| text.parse::<Timestamp>().map_err(|_| format!("{name} is no instant")))
            .transpose()
    };
    let number = |name: &str, otherwise: usize| {
        query
            .get(name)
            .map_or(Ok(otherwise), |text| text.parse::<usize>().map_err(|_| format!("{name} is no number")))
    };
    let (from, to) = (bound("date_from")?, bound("date_to")?);
    if from.is_none() && module == Module::Sessions && version != "2.1.1" && query.get("after").is_none() {
        return Err("date_from is missing".to_owned());
    }
    let (mut offset, limit) = (number("offset", 0)?, number("limit", LIMIT)?);
    if limit == 0 {
        return Err("limit is nothing".to_owned());
    }
    if shared.links == Links::ByWord {
        offset = number("after", 0)?;
    }
    match fault {
        Some(PageFault::Shift(by)) => offset = offset.saturating_sub(by),
        Some(PageFault::Skip(by)) => offset += by,
        _ => {}
    }
    let account = shared.account();
    let listed = account.list(module).iter().map(|it| (updated(it), it));
    let mut matches: Vec<(Option<Timestamp>, &Map<String, Value>)> = listed
        .filter(|(at, _)| {
            // Older words leave open whether the bound is included; this server does not.
            let after =
                |from: Timestamp| if version == "2.1.1" { *at > Some(from) } else { *at >= Some(from) };
            from.is_none_or(after) && to.is_none_or(|to| *at < Some(to))
        })
        .collect();
    if shared.order == Order::Updated {
        matches.sort_by_key(|(at, _)| *at);
    }
    let cap = match fault {
        Some(PageFault::Size(records)) => records,
        _ => limit.min(shared.page_cap),
    };
    let records: Vec<_> = matches
        .iter()
        .skip(offset)
        .take(cap)
        .map(|(_, it)| view(it, module, version, shared.small))
        .collect();
    let end = offset + records.len();
    let mut response = answer(&json!(records), 1000, "");
    let headers = response.headers_mut();
    if shared.totals {
        headers.insert("x-total-count", HeaderValue::from(matches.len()));
        headers.insert("x-limit", HeaderValue::from(shared.page_cap));
    }
    let link =
        |host: &str, rest: &str| HeaderValue::from_str(&format!("<{host}{path}?{rest}>; rel=\"next\""));
    let more = end < matches.len();
    let next = query.rewritten(
        &["offset", "limit", "after"],
        &[("offset", &end.to_string()), ("limit", &limit.to_string())],
    );
    let link = match shared.links {
        Links::Right if more => link("http://cpo.example", &next).ok(),
        Links::Elsewhere if more => link("https://elsewhere.example:8443/other", &next).ok(),
        Links::Unusable if more => {
            link("https://VersionNumber", &format!("date_from=None&date_to=None&offset={end}&limit=None"))
                .ok()
        }
        Links::ByWord if more => link("http://cpo.example", &format!("after={end}")).ok(),
        Links::Unusable => Some(HeaderValue::from_static("")),
        _ => None,
    };
    if let Some(link) = link {
        headers.insert(header::LINK, link);
    }
    let (parts, _) = response.into_parts();
    let body = Bytes::from(body(&json!(records), 1000, ""));
    last_pages.insert(path.to_owned(), (parts.headers.clone(), body.clone()));
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// As servers read it that keep what they were given: without a `Z` it is UTC.
fn updated(record: &Map<String, Value>) -> Option<Timestamp> {
    let text = record.get("last_updated")?.as_str()?;
    text.parse().ok().or_else(|| format!("{text}Z").parse().ok())
}

fn body(data: &Value, code: i64, message: &str) -> String {
    let mut envelope = json!({"data": data, "status_code": code, "timestamp": "2026-11-20T12:00:00Z"});
    if !message.is_empty() {
        envelope["status_message"] = message.into();
    }
    envelope.to_string()
}

fn answer(data: &Value, code: i64, message: &str) -> Response {
    json_response(StatusCode::OK, body(data, code, message))
}

fn refusal(status: StatusCode, code: i64, message: &str) -> Response {
    let envelope =
        json!({"status_code": code, "status_message": message, "timestamp": "2026-11-20T12:00:00Z"});
    json_response(status, envelope.to_string())
}

fn json_response(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
