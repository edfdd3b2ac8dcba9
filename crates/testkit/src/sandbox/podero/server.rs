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
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    data::{Account, Session},
    filter::{Filter, Parameters},
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

pub(super) const TOKEN: &str = "/oauth2/token/";

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// What the routes and the handle have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) organization: String,
    pub(super) account: RwLock<Account>,
    pub(super) tokens: TokenEndpoint,
    pub(super) limiter: Option<RateLimiter>,
    pub(super) faults: FaultQueue,
    pub(super) recorder: Recorder,
    pub(super) latency: Duration,
    pub(super) page_cap: Option<usize>,
    pub(super) newest_first: bool,
    pub(super) last_pages: Mutex<HashMap<String, Bytes>>,
}

type Answer = Result<Response, Problem>;

/// What a fault does to a listing, if it does anything.
type Fault = Option<Extension<PageFault>>;

/// All routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    const USERS: &str = "/api/partners/v2.0/org/{organization}/users";
    let vehicles = format!("{USERS}/{{user}}/electric-vehicles");
    Router::new()
        .route(TOKEN, post(token))
        .route(USERS, get(users))
        .route(&vehicles, get(electric_vehicles))
        .route(&format!("{vehicles}/{{vehicle}}/sessions"), get(sessions))
        .route(&format!("{vehicles}/{{vehicle}}/sessions/current"), get(current))
        .fallback(async || Problem::not_found("address"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(shared.clone(), gate))
        .with_state(shared)
}

/// What every request passes.
async fn gate(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let records = match request.uri().path() {
        path if path.ends_with("/sessions") => "/items",
        path if path.ends_with("/sessions/current") => "/session",
        _ => "",
    };
    let gate = Gate {
        recorder: &shared.recorder,
        tokens: &shared.tokens,
        faults: &shared.faults,
        latency: shared.latency,
        sign_in: "/oauth2/",
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

/// The body is JSON here, while the endpoint that the sandboxes share reads a form. Only the grant is handed
/// on, so that credentials in the body are not seen.
async fn token(State(shared): State<Arc<Shared>>, mut headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.remove(header::CONTENT_TYPE);
    let kind = kind.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json =
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    let document =
        serde_json::from_slice::<Value>(&body).ok().filter(|document| is_json && document.is_object());
    let mut form = form_urlencoded::Serializer::new(String::new());
    // Without a content type the endpoint says that the request is invalid.
    if let Some(document) = document {
        headers.insert(header::CONTENT_TYPE, FORM);
        if let Some("client_credentials") = document["grant_type"].as_str() {
            form.append_pair("grant_type", "client_credentials");
        }
    }
    shared.tokens.answer(&headers, form.finish().as_bytes())
}

async fn users(State(shared): State<Arc<Shared>>, Path(organization): Path<String>, uri: Uri) -> Answer {
    shared.check(&organization)?;
    let query = query(&uri);
    let mut parameters = Parameters::new(&query);
    let include_deleted = parameters.boolean("include_deleted");
    let include_deleted = parameters.check(include_deleted)?;
    let assets = &shared.account().assets;
    let shown = (0..assets.users.len()).filter(|index| include_deleted || !assets.users[*index].deleted);
    Ok(json_response(shown.map(|index| assets.user_record(index)).collect::<Value>().to_string()))
}

async fn electric_vehicles(
    State(shared): State<Arc<Shared>>,
    Path((organization, user)): Path<(String, String)>,
) -> Answer {
    shared.check(&organization)?;
    let assets = &shared.account().assets;
    let user = assets.users.iter().position(|it| it.id == user && !it.deleted);
    let user = user.ok_or_else(|| Problem::not_found("user"))?;
    let vehicles: Value = assets.vehicles_of(user).map(|(_, vehicle)| vehicle.record()).collect();
    Ok(json_response(vehicles.to_string()))
}

async fn sessions(
    State(shared): State<Arc<Shared>>,
    Path(ids): Path<(String, String, String)>,
    fault: Fault,
    uri: Uri,
) -> Answer {
    let fault = fault.map(|Extension(fault)| fault);
    let account = shared.account();
    let vehicle = shared.vehicle(&account, &ids)?;
    let filter = Filter::parse(&query(&uri))?;
    let mut last_pages = shared.last_pages.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Some(PageFault::Repeat), Some(page)) = (fault, last_pages.get(uri.path())) {
        return Ok(json_response(page.clone()));
    }
    let mut matches: Vec<&Session> =
        account.sessions.iter().filter(|it| it.vehicle == vehicle && filter.admits(it)).collect();
    if shared.newest_first {
        matches.reverse();
    }
    let offset = match fault {
        Some(PageFault::Shift(by)) => filter.offset.saturating_sub(by),
        Some(PageFault::Skip(by)) => filter.offset + by,
        _ => filter.offset,
    };
    let limit = match fault {
        Some(PageFault::Size(records)) => records,
        _ => shared.page_cap.map_or(filter.limit, |cap| filter.limit.min(cap)),
    };
    let items: Vec<_> = matches.iter().skip(offset).take(limit).map(|it| &it.record).collect();
    let page = Bytes::from(json!({ "total": matches.len(), "items": items }).to_string());
    last_pages.insert(uri.path().to_owned(), page.clone());
    Ok(json_response(page))
}

async fn current(State(shared): State<Arc<Shared>>, Path(ids): Path<(String, String, String)>) -> Answer {
    let account = shared.account();
    let vehicle = shared.vehicle(&account, &ids)?;
    let mut of_vehicle = account.sessions.iter().filter(|it| it.vehicle == vehicle);
    let session = of_vehicle.rfind(|it| it.is_open()).map(|it| &it.record);
    Ok(json_response(json!({ "session": session }).to_string()))
}

impl Shared {
    pub(super) fn account(&self) -> RwLockReadGuard<'_, Account> {
        self.account.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, organization: &str) -> Result<(), Problem> {
        if organization == self.organization { Ok(()) } else { Err(Problem::not_found("organization")) }
    }

    /// The place of a vehicle in the list of all, if organization, user and vehicle belong together.
    fn vehicle(&self, account: &Account, ids: &(String, String, String)) -> Result<usize, Problem> {
        let (organization, user, vehicle) = ids;
        self.check(organization)?;
        let assets = &account.assets;
        let user = assets.users.iter().position(|it| it.id == *user && !it.deleted);
        let user = user.ok_or_else(|| Problem::not_found("user"))?;
        let mut vehicles = assets.vehicles_of(user);
        let found = vehicles.find(|(_, it)| it.id == *vehicle).map(|(index, _)| index);
        found.ok_or_else(|| Problem::not_found("electric vehicle"))
    }
}

fn query(uri: &Uri) -> Query {
    Query::parse(uri.query().unwrap_or_default().as_bytes())
}

fn json_response(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
