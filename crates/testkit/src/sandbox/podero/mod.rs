//! A server shaped like the Podero Partner API v2.0.
//!
//! ```
//! use charging_sessions_testkit::sandbox::podero::PoderoSandbox;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let sandbox = PoderoSandbox::builder().seed(7).days(90).build().start().await?;
//! println!("{} is ready for {}", sandbox.base_url(), sandbox.client_id());
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it answers
//!
//! | path | notes |
//! |---|---|
//! | `POST /oauth2/token/` | HTTP Basic and `{"grant_type":"client_credentials"}` as JSON; a form is refused with 400 |
//! | `/api/partners/v2.0/org/{org}/users` | bare array; `include_deleted` |
//! | `…/users/{user}/electric-vehicles` | bare array |
//! | `…/electric-vehicles/{vehicle}/sessions` | `{total, items}`; `from` and `to` (required), `limit`, `offset`, `include_hidden` |
//! | `…/electric-vehicles/{vehicle}/sessions/current` | `{session}`, which is null if nothing is plugged in |
//!
//! A request passes, in this order: the token (401), the rate limit (429, if there is one), the ids of the path
//! (404), the parameters (422, naming all that are wrong). Errors are `{"detail": …}`.
//!
//! # Where the documents leave it open
//!
//! | question | here |
//! |---|---|
//! | what `from` and `to` select on | the UTC day of `plug_in_time`; both days included |
//! | `from` after `to` | nothing matches |
//! | the longest span | none |
//! | order of a listing | oldest first, or [newest first](PoderoSandboxBuilder::newest_first) |
//! | `total` | what matches, without hidden sessions unless they are asked for |
//! | a session in progress | listed like the others |
//! | a form at the token endpoint, credentials in the body | refused |
//! | an id that is no UUID, one of somebody else, a deleted user | 404 |
//! | an unknown parameter | ignored; one without a value counts as not sent |
//! | a slash at the end of a data path, none at the end of the token path | 404 |
//! | rate limit | none, see [`rate_limit`](PoderoSandboxBuilder::rate_limit); the wait is in `Retry-After` |
//!
//! # What the data looks like
//!
//! Three people with no, one and three vehicles (40 to 77 kWh, 3.7 to 11 kW), and a deleted one. People mostly
//! plug in in the evening and leave in the morning. At the moment the sandbox takes for now, the vehicle of the
//! second person is plugged in; no other vehicle is. Before some sessions there is a hidden one of less than
//! five minutes. In 90 days every documented outcome comes at least once, and every field that may be null is
//! null somewhere. About one record in eight has the older shape without `is_hidden`, `hidden_reason`,
//! `target_reachable` and `reachable_soc_pct`.
//!
//! Over each night in which clocks change, a vehicle is plugged in; the 90 days before the default moment have
//! one.
//!
//! The calendar stands still: nothing in the data moves on while the sandbox runs, unless
//! [`mutate`](PoderoSandbox::mutate) says so.
//!
//! Unless [`dirt`](PoderoSandboxBuilder::dirt) is switched off, each of these is there at least once in 90
//! days, each in a record of its own:
//!
//! | kind | how to know it |
//! |---|---|
//! | unknown words | outcome `grid_event_paused`; hidden reason `merged_into_other` |
//! | float noise | energy 12.299999999999999, cost 3.4500000000000006 |
//! | state of charge | `final_soc_pct` 100.5 |
//! | clock skew | `unplug_time` is a minute before `plug_in_time` |
//! | negative cost | -0.83 |
//! | ends of a day | plugged in at 00:00:00Z; at 23:59:59.999999Z |
//! | spelling of moments | fractions of a second; `+00:00` in place of `Z` |
//!
//! Always, as documented: energy is null if the battery's capacity is not known.

mod account;
mod data;
mod dirt;
mod filter;
mod problem;
mod server;

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use self::{
    data::{Account, Plan},
    server::Shared,
};
use super::{
    Fault, RecordedRequest, Running,
    fault::FaultQueue,
    limit::RateLimiter,
    offer::{controls, sets},
    random::Random,
    record::Recorder,
    token::TokenEndpoint,
};

/// 10 November 2026, 18:30 UTC: after dinner, with a change of the clocks sixteen days ago.
const DEFAULT_NOW: Timestamp = Timestamp::constant(1_794_335_400, 0);

const SCOPE: &str = "read write";

/// A Podero organization that answers. [`start`](Self::start) puts it on a port.
///
/// Clones are handles to the same sandbox.
#[derive(Clone)]
pub struct PoderoSandbox {
    shared: Arc<Shared>,
}

/// What a sandbox should be like. See the methods for what each value is without a call.
#[derive(Clone)]
pub struct PoderoSandboxBuilder {
    seed: u64,
    now: Timestamp,
    days: u32,
    dirt: bool,
    credentials: Option<(String, String)>,
    token_lifetime: Duration,
    rate_limit: Option<(usize, Duration)>,
    latency: Duration,
    page_cap: Option<usize>,
    newest_first: bool,
}

/// A change of the data while the sandbox runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mutation {
    /// Adds a session; one that is there with the same id is replaced.
    Insert {
        /// The id of the vehicle it belongs to.
        vehicle: String,
        /// An object with an `id`, see [`PoderoSandbox::new_id`], and a `plug_in_time`.
        session: Value,
    },
    /// Gives fields of a session other values. Its id stays.
    Correct {
        /// Which session.
        id: String,
        /// An object with the fields that change.
        fields: Value,
    },
    /// Takes the session with this id away.
    Remove(String),
}

impl PoderoSandbox {
    /// A sandbox with 90 days of data and no limits.
    pub fn builder() -> PoderoSandboxBuilder {
        PoderoSandboxBuilder {
            seed: 0,
            now: DEFAULT_NOW,
            days: 90,
            dirt: true,
            credentials: None,
            token_lifetime: Duration::from_secs(36_000),
            rate_limit: None,
            latency: Duration::ZERO,
            page_cap: None,
            newest_first: false,
        }
    }

    /// Serves on a loopback port that the system chooses.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start(self) -> io::Result<Running<Self>> {
        let router = server::router(self.shared.clone());
        Running::start(self, router).await
    }

    /// Answers one request without a socket, so that a paused clock stands still meanwhile. The host of the URL
    /// does not matter.
    ///
    /// # Errors
    ///
    /// If a fault breaks off the body.
    pub async fn call(&self, request: Request<Bytes>) -> io::Result<Response<Bytes>> {
        let router = server::router(self.shared.clone());
        let Ok(response) = router.oneshot(request.map(Body::from)).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
        Ok(Response::from_parts(parts, body))
    }

    /// The id of the organization, which is part of every path.
    pub fn org_id(&self) -> &str {
        &self.shared.organization
    }

    /// The ids of the people, in the order of their listing, without those who are deleted.
    pub fn user_ids(&self) -> Vec<String> {
        let account = self.shared.account();
        let users = account.assets.users.iter().filter(|user| !user.deleted);
        users.map(|user| user.id.clone()).collect()
    }

    /// The ids of the vehicles of one user, in the order of their listing; none if there is no such user.
    pub fn vehicle_ids(&self, user: &str) -> Vec<String> {
        let assets = &self.shared.account().assets;
        let vehicles = assets.vehicles.iter().filter(|vehicle| assets.users[vehicle.user].id == user);
        vehicles.map(|vehicle| vehicle.id.clone()).collect()
    }

    /// An array of `{user_id, electric_vehicle_id, session}` with every session, also the hidden ones: what a
    /// complete reader must have seen. Vehicle after vehicle, oldest first.
    ///
    /// Numbers are exact here. A reader that parses with `serde_json` as it is by default may be off by one
    /// unit in the last place for numbers of seventeen digits; who compares those should compare text, or parse
    /// this value's text in the same way.
    pub fn truth(&self) -> Value {
        let account = self.shared.account();
        let entry = |session: &data::Session| {
            let vehicle = &account.assets.vehicles[session.vehicle];
            json!({
                "user_id": account.assets.users[vehicle.user].id,
                "electric_vehicle_id": vehicle.id,
                "session": session.record,
            })
        };
        account.sessions.iter().map(entry).collect()
    }

    controls!("Faults of records and pages fit the listing of sessions.", tokens);

    /// Changes the data. False if nothing was changed: no such vehicle or session, or no object with an id and
    /// a plug-in.
    pub fn mutate(&self, mutation: Mutation) -> bool {
        let mut account = self.shared.account.write().unwrap_or_else(PoisonError::into_inner);
        match mutation {
            Mutation::Insert { vehicle, session: Value::Object(record) } => {
                let vehicle = account.assets.vehicles.iter().position(|it| it.id == vehicle);
                vehicle.is_some_and(|vehicle| account.put(vehicle, record))
            }
            Mutation::Correct { id, fields: Value::Object(fields) } => account.correct(&id, fields),
            Mutation::Remove(id) => account.remove(&id),
            Mutation::Insert { .. } | Mutation::Correct { .. } => false,
        }
    }

    /// An id for a session to insert. It is another one once a session was inserted.
    pub fn new_id(&self) -> String {
        let count = self.shared.account().sessions.len() as u64;
        account::uuid(&mut Random::new(&[u64::from_be_bytes(*b"inserted"), count]))
    }
}

impl Running<PoderoSandbox> {
    /// `http://127.0.0.1:PORT`. Paths begin with `/api/partners/v2.0/`.
    pub fn base_url(&self) -> String {
        self.origin()
    }

    /// `http://127.0.0.1:PORT/oauth2/token/`.
    pub fn token_url(&self) -> String {
        format!("{}{}", self.origin(), server::TOKEN)
    }
}

/// Without the secret.
impl fmt::Debug for PoderoSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.shared.account().sessions.len();
        f.debug_struct("PoderoSandbox")
            .field("client_id", &self.client_id())
            .field("records", &records)
            .finish_non_exhaustive()
    }
}

/// Without the secret.
impl fmt::Debug for PoderoSandboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoderoSandboxBuilder")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("days", &self.days)
            .finish_non_exhaustive()
    }
}

impl PoderoSandboxBuilder {
    sets!(seed);
    sets!(now, "Evening of 10 November 2026");
    sets!(days);
    sets!(dirt);
    sets!(credentials);
    sets!(token_lifetime, "Ten hours");
    sets!(rate_limit, "Any number");
    sets!(latency);

    /// The most sessions of a page, whatever is asked for. Not documented, and `None` without a call; but a
    /// reader that takes a short page for the last one loses data if it ever happens.
    pub fn page_cap(mut self, cap: Option<usize>) -> Self {
        self.page_cap = cap;
        self
    }

    /// Lists the newest session first. The documents do not say which it is; the oldest comes first without a
    /// call.
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// Invents the data.
    pub fn build(self) -> PoderoSandbox {
        let account = Account::invent(&Plan {
            seed: self.seed,
            now: self.now.as_second(),
            days: self.days,
            dirt: self.dirt,
        });
        let (client_id, client_secret) = self.credentials.unwrap_or_else(|| made_up(self.seed));
        let shared = Shared {
            organization: account.assets.organization.clone(),
            account: RwLock::new(account),
            tokens: TokenEndpoint::new(client_id, client_secret, self.token_lifetime, SCOPE, self.seed),
            limiter: self.rate_limit.map(|(limit, per)| RateLimiter::new(limit, per)),
            faults: FaultQueue::default(),
            recorder: Recorder::new(),
            latency: self.latency,
            page_cap: self.page_cap,
            newest_first: self.newest_first,
            last_pages: Mutex::new(HashMap::new()),
        };
        PoderoSandbox { shared: Arc::new(shared) }
    }
}

/// Credentials that look like credentials.
fn made_up(seed: u64) -> (String, String) {
    let mut random = Random::new(&[seed, u64::from_be_bytes(*b"a_client")]);
    (format!("sandbox-{}", random.word(12)), random.word(40))
}
