//! A server shaped like the charge sessions of DER-Connect.
//!
//! ```
//! use charging_sessions_testkit::sandbox::der_connect::DerConnectSandbox;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let sandbox = DerConnectSandbox::builder().seed(7).days(90).build().start().await?;
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
//! | `POST /am/oauth2/realms/root/realms/difesp/access_token` | form with `grant_type=client_credentials`, `client_id` and `client_secret`; HTTP Basic will do for the last two |
//! | `GET /connect/v1/entities` | `pageSize`, `continuationToken` |
//! | `GET /connect/v1/entities/{id}/charge-sessions` | `start` (required), `end`, `pageSize`, `continuationToken` |
//! | `PATCH /connect/v1/entities/{id}/features` | `{"feature":"CaptureChargeSessions","enabled":true}`; an array of what is on and off |
//! | `PUT /connect/v1/entities/{id}/battery-capacity` | `{"batteryCapacity":77.4}`, in kilowatt-hours |
//!
//! Listings are `{data, links: {next}, meta: {continuationToken, pageSize}}`. A request for data passes, in this
//! order: the token (401), the rate limit (429, if there is one), the entity (404), the parameters or the body
//! (400). Errors are `{"code", "message"}`; those of the token endpoint are as in RFC 6749.
//!
//! # Where the documents leave it open
//!
//! | question | here |
//! |---|---|
//! | verb, path and answer for the capacity of a battery | `PUT` and `battery-capacity`, both a guess; the entity and the number come back |
//! | the listing of entities | its path and its envelope are a guess as well |
//! | `start` and `end` | a session that began at `start` or later, and before `end`; without `end` there is no bound |
//! | `end` before `start` | nothing matches |
//! | the spelling of a moment | RFC 3339 with an offset; a space in place of the `T` is fine |
//! | order of a listing | oldest first |
//! | `pageSize` | above 100 counts as 100; zero and what is no number is 400 |
//! | a continuation token | belongs to one entity, `start` and `end`, else 400; the page size may change |
//! | records that come or go while somebody reads | a token stands for the last record seen, so nothing is skipped |
//! | the last page | `continuationToken` and `next` are null, or missing if there is no record at all; see [`older_envelope`](DerConnectSandboxBuilder::older_envelope) |
//! | lifetime of a token | an hour, see [`token_lifetime`](DerConnectSandboxBuilder::token_lifetime) |
//! | scope | none, see [`scope`](DerConnectSandboxBuilder::scope) |
//! | an entity that does not capture | lists what was captured before |
//! | fields of a feature's status and of an error | as above |
//! | rate limit | none, see [`rate_limit`](DerConnectSandboxBuilder::rate_limit); the wait is in `Retry-After` |
//!
//! # What the data looks like
//!
//! | entity | sessions | feature |
//! |---|---|---|
//! | `EV` of 77 kWh | all days, now and then at a fast charger | on |
//! | `EV` of 50 kWh, which is not known | the oldest two fifths of the days | off; 400 `BatteryCapacityMissing` until somebody sets it |
//! | `EV` of a brand that says too little | none | 400 `NotSupported` |
//! | `ChargePoint` | all days | on |
//! | `CP` | mostly working days | on |
//! | `Battery` | none | 400 `NotSupported` |
//! | `Heatpump2`, a word that nobody knows, and no more fields than must be | none | 400 `NotSupported` |
//!
//! Sessions are computed once a day, in the minutes after half past one UTC; what would be computed later than
//! the moment the sandbox takes for now is not there, and neither is one that goes on. The power is that of the
//! time in which electricity flowed, so energy divided by duration is less. State of charge and range are there
//! for vehicles only, tiers in some sessions of charge points, which add up; `location` almost never.
//! `locationMatches` is missing or empty away from home.
//!
//! The calendar stands still: nothing in the data moves on while the sandbox runs, unless
//! [`mutate`](DerConnectSandbox::mutate) says so. Switching the feature on brings no sessions.
//!
//! Unless [`dirt`](DerConnectSandboxBuilder::dirt) is switched off, each of these is there once in 90 days, each
//! in a record of its own:
//!
//! | kind | how to know it |
//! |---|---|
//! | another unit | energy in `Wh`; power in `W` |
//! | a unit that nobody knows | energy in `MWh?` |
//! | tiers that do not add up | `t1` 1.25, `t2` 0.5 |
//! | gaps | no `charge`; `averagePower` null |
//! | computed too early | `created` is before `end` |
//! | spelling of moments | a space in place of the `T` |
//!
//! With dirt, the second page of the first entity also begins with the last record of its first page, whatever
//! the size of the pages.

mod account;
mod data;
mod dirt;
mod paging;
mod problem;
mod server;

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, RwLock},
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

/// 10 November 2026, 18:30 UTC.
const DEFAULT_NOW: Timestamp = Timestamp::constant(1_794_335_400, 0);

/// A DER-Connect account that answers. [`start`](Self::start) puts it on a port.
///
/// Clones are handles to the same sandbox.
#[derive(Clone)]
pub struct DerConnectSandbox {
    shared: Arc<Shared>,
}

/// What a sandbox should be like. See the methods for what each value is without a call.
#[derive(Clone)]
pub struct DerConnectSandboxBuilder {
    seed: u64,
    now: Timestamp,
    days: u32,
    dirt: bool,
    credentials: Option<(String, String)>,
    scope: Option<String>,
    token_lifetime: Duration,
    rate_limit: Option<(usize, Duration)>,
    latency: Duration,
    page_cap: Option<usize>,
    older_envelope: bool,
}

/// A change of the data while the sandbox runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mutation {
    /// Adds a session; one that is there with the same id is replaced.
    Insert {
        /// The id of the entity it belongs to.
        entity: String,
        /// An object with an `id`, see [`DerConnectSandbox::new_id`], and a start in its `data`.
        session: Value,
    },
    /// Gives fields of a session other values. Its id stays.
    Correct {
        /// Which session.
        id: String,
        /// An object with the fields that change. What is an object on both sides is merged, so
        /// `{"data": {"charge": {"averagePower": null}}}` changes the power alone.
        fields: Value,
    },
    /// Takes the session with this id away.
    Remove(String),
}

impl DerConnectSandbox {
    /// A sandbox with 90 days of data and no limits.
    pub fn builder() -> DerConnectSandboxBuilder {
        DerConnectSandboxBuilder {
            seed: 0,
            now: DEFAULT_NOW,
            days: 90,
            dirt: true,
            credentials: None,
            scope: None,
            token_lifetime: Duration::from_secs(3600),
            rate_limit: None,
            latency: Duration::ZERO,
            page_cap: None,
            older_envelope: false,
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

    /// The ids of the entities, in the order of their listing.
    pub fn entity_ids(&self) -> Vec<String> {
        self.shared.account().entities.iter().map(|entity| entity.id.clone()).collect()
    }

    /// An array of `{entity_id, session}` with every session: what a complete reader must have seen. Entity
    /// after entity, oldest first, and none twice.
    pub fn truth(&self) -> Value {
        let account = self.shared.account();
        let entry = |session: &data::Session| json!({ "entity_id": account.entities[session.entity].id, "session": session.record });
        account.sessions.iter().map(entry).collect()
    }

    controls!("Faults of records and pages fit the listings.", tokens);

    /// Changes the data. False if nothing was changed: no such entity or session, or no object with an id and a
    /// start.
    pub fn mutate(&self, mutation: Mutation) -> bool {
        let mut account = self.shared.account_mut();
        match mutation {
            Mutation::Insert { entity, session: Value::Object(record) } => {
                let entity = account.entities.iter().position(|it| it.id == entity);
                entity.is_some_and(|entity| account.put(entity, record))
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

impl Running<DerConnectSandbox> {
    /// `http://127.0.0.1:PORT/connect/`. Paths go on with `v1/`.
    pub fn base_url(&self) -> String {
        format!("{}{}", self.origin(), server::BASE)
    }

    /// `http://127.0.0.1:PORT/am/oauth2/realms/root/realms/difesp/access_token`.
    pub fn token_url(&self) -> String {
        format!("{}{}", self.origin(), server::TOKEN)
    }
}

/// Without the secret.
impl fmt::Debug for DerConnectSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.shared.account().sessions.len();
        f.debug_struct("DerConnectSandbox")
            .field("client_id", &self.client_id())
            .field("records", &records)
            .finish_non_exhaustive()
    }
}

/// Without the secret.
impl fmt::Debug for DerConnectSandboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerConnectSandboxBuilder")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("days", &self.days)
            .finish_non_exhaustive()
    }
}

impl DerConnectSandboxBuilder {
    sets!(seed);
    sets!(now, "Evening of 10 November 2026");
    sets!(days);
    sets!(dirt);
    sets!(credentials);
    sets!(token_lifetime, "An hour");
    sets!(rate_limit, "Any number");
    sets!(latency);

    /// What the client has to ask for at the token endpoint; 400 `invalid_scope` if it does not. Nothing without a
    /// call, and then any scope is ignored.
    pub fn scope(mut self, scope: Option<&str>) -> Self {
        self.scope = scope.map(str::to_owned);
        self
    }

    /// The most records of a page, whatever is asked for. Not documented, and `None` without a call; but a
    /// reader that takes a short page for the last one loses data if it ever happens.
    pub fn page_cap(mut self, cap: Option<usize>) -> Self {
        self.page_cap = cap;
        self
    }

    /// Whether the last page says so with empty texts in `continuationToken` and `next`. Otherwise, and without a
    /// call, both are null, and missing in a listing without any record.
    pub fn older_envelope(mut self, older: bool) -> Self {
        self.older_envelope = older;
        self
    }

    /// Invents the data.
    pub fn build(self) -> DerConnectSandbox {
        let account = Account::invent(&Plan {
            seed: self.seed,
            now: self.now.as_second(),
            days: self.days,
            dirt: self.dirt,
        });
        let (client_id, client_secret) = self.credentials.unwrap_or_else(|| made_up(self.seed));
        let shared = Shared {
            account: RwLock::new(account),
            tokens: TokenEndpoint::new(client_id, client_secret, self.token_lifetime, "", self.seed),
            scope: self.scope,
            limiter: self.rate_limit.map(|(limit, per)| RateLimiter::new(limit, per)),
            faults: FaultQueue::default(),
            recorder: Recorder::new(),
            latency: self.latency,
            page_cap: self.page_cap,
            older_envelope: self.older_envelope,
            dirt: self.dirt,
            last_pages: Mutex::new(HashMap::new()),
        };
        DerConnectSandbox { shared: Arc::new(shared) }
    }
}

/// Credentials that look like credentials.
fn made_up(seed: u64) -> (String, String) {
    let mut random = Random::new(&[seed, u64::from_be_bytes(*b"a_client")]);
    (format!("sandbox-{}", random.word(12)), random.word(40))
}
