//! A server shaped like the ev.energy API v2.
//!
//! ```
//! use charging_sessions_testkit::sandbox::ev_energy::EvEnergySandbox;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let sandbox = EvEnergySandbox::builder().seed(7).days(90).build().start().await?;
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
//! | `POST /o/token/` | `client_credentials`, `refresh_token` (replaced at each use), `authorization_code`; 405 without the slash |
//! | `POST /o/revoke_token/` | 405 without the slash |
//! | `/v2/charging_sub_sessions` | bare array, newest id first; `page_size`, `page_after`, `page_before`, `expand`, every documented filter |
//! | `/v2/charging_sub_sessions/{id}` | `expand` |
//! | `…/{id}/energy_usage` | half hours on :00 and :30; `merge_consecutive_intervals`, `energy_delivered_watt_hours__gt` |
//! | `…/{id}/schedules` | `started_at__gte`, `started_at__lte` |
//! | `…/{id}/flags`, `…/assessment`, `…/debug_metadata` | |
//! | `/v2/charging_sessions`, `/v2/charging_sessions/{id}` | plug-ins; none from before July 2026 |
//!
//! A request passes, in this order: the gateway (403 as plain text without `Authorization`), `Accept` (406),
//! `EvEnergy-Version` (400), the token (401), the rate limit (429). Only what comes that far is counted.
//! Errors are problem documents, and as with the real API their `type` is shared by different problems.
//!
//! Links, in the `Link` header and in records, lead to the public host as behind a gateway, not to the sandbox;
//! [`own_links`](EvEnergySandboxBuilder::own_links) changes that.
//!
//! # Where the documents leave it open
//!
//! | question | here |
//! |---|---|
//! | order of a listing | by id, so by creation, which is mostly seconds after the start, at times hours after or seconds before |
//! | a cursor that is unknown | keeps its place in the order, if it looks like an id; otherwise 400 |
//! | `page_after` together with `page_before` | the latter is ignored |
//! | bounds of time | excluded |
//! | a filter on `end` | drops what has no end |
//! | an unknown parameter, one without a value | ignored |
//! | `user_id=me` | the person of `EvEnergy-User`, else of the token, else the first of the account |
//! | `EvEnergy-User` | takes an id or a URL |
//! | `energy_delivered_by_price` | a list or an object, see [`PriceShape`] |
//! | spelling of `Retry-After` | see [`RetryAfter`] |
//! | a slash at the end of a data path | 404 |
//!
//! # What the data looks like
//!
//! Three people, four vehicles (40 to 100 kWh; 3.6, 7.4, 11 and 22 kW at home, 50 to 150 kW elsewhere) and two
//! chargers. People mostly plug in in the evening and leave in the morning; smart charging waits for the night,
//! in one household also for the sun. Winters need more. A plug-in has one to three sub-sessions, as the mode
//! changes. Energy costs a night rate (00:30 to 05:30 local time) or a day rate, and the cost of a sub-session
//! is the sum over its intervals, rounded once. At the moment the sandbox takes for now, one vehicle is
//! charging and one is waiting with no energy yet.
//!
//! The calendar stands still: nothing in the data moves on while the sandbox runs, unless
//! [`mutate`](EvEnergySandbox::mutate) says so.
//!
//! Always, as in real data: no charger on the road and for the vehicle that charges at an unknown one; unknown
//! cost (null) and no cost (0) on the road; labels that are null; one charger in another time zone
//! (`Atlantic/Azores`).
//!
//! Unless [`dirt`](EvEnergySandboxBuilder::dirt) is switched off, each of these is there at least once in 90
//! days, each in a record of its own:
//!
//! | kind | how to know it |
//! |---|---|
//! | no energy | finished, 0 Wh |
//! | shorter than a minute | 41 s, 3 Wh |
//! | clock skew | `end` is a minute before `start` |
//! | wrong unit | energy a thousand times too large; its intervals are right; flag `ENERGY_OVER_DELIVERY` |
//! | null in the location | `coordinates`; `postal_code` and `address_1`; `timezone` |
//! | unknown words | mode `GRID_SERVICES`; label `WINTER_PEAK` |
//! | cost | null, although energy flowed at home; 0, although energy flowed at home |
//! | minimal record | only the keys that are required, and a location with a name only |
//! | nobody known | `vehicle` null; `evse` null at a charger's address; both null |
//! | fractions of a second | in `start` and `end` |
//! | names | not ASCII; a spreadsheet formula; an escape sequence for terminals |

mod account;
mod auth;
mod charge;
mod compose;
mod data;
mod dirt;
mod filter;
mod paging;
mod problem;
mod server;
mod view;

use std::{
    fmt, io,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, Request, Response};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tower::ServiceExt as _;

use self::{
    data::{Account, Plan, Span},
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

pub use self::view::PriceShape;

/// 20 October 2026, 18:30 UTC: after dinner, with a change of the clocks five days ahead.
const DEFAULT_NOW: Timestamp = Timestamp::constant(1_792_521_000, 0);

/// 1 July 2026, 00:00 UTC.
const DEFAULT_PLUG_INS_SINCE: Timestamp = Timestamp::constant(1_782_864_000, 0);

const SCOPE: &str =
    "carbon:read charging_session:read debug:read evse:read tariff:read user:read vehicle:read";

/// An ev.energy account that answers. [`start`](Self::start) puts it on a port.
///
/// Clones are handles to the same sandbox.
#[derive(Clone)]
pub struct EvEnergySandbox {
    shared: Arc<Shared>,
    own_links: bool,
}

/// What a sandbox should be like. See the methods for what each value is without a call.
#[derive(Clone)]
pub struct EvEnergySandboxBuilder {
    seed: u64,
    now: Timestamp,
    span: Span,
    dirt: bool,
    currency: String,
    credentials: Option<(String, String)>,
    token_lifetime: Duration,
    rate_limit: Option<(usize, Duration)>,
    retry_after: RetryAfter,
    latency: Duration,
    prices: PriceShape,
    public_url: String,
    own_links: bool,
    plug_ins_since: Timestamp,
}

/// How the header with the wait is spelt on a 429. The documents of the API use both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryAfter {
    /// `Retry-After`, as HTTP spells it.
    #[default]
    Hyphenated,
    /// `RetryAfter`.
    Joined,
}

impl RetryAfter {
    fn header(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Hyphenated => "retry-after",
            Self::Joined => "retryafter",
        })
    }
}

/// A change of the data while the sandbox runs. Ids are those of sub-sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mutation {
    /// Adds a record with an `id`, see [`EvEnergySandbox::new_id`]; one that is there with this id is replaced.
    /// Its energy lies in its first half hour, and it belongs to the first user.
    Insert(Value),
    /// Gives fields of a record other values. Its intervals follow its energy.
    Correct {
        /// Which record.
        id: String,
        /// An object with the fields that change.
        fields: Value,
    },
    /// Takes a record away.
    Remove(String),
}

impl EvEnergySandbox {
    /// A sandbox with 90 days of data and the documented limits.
    pub fn builder() -> EvEnergySandboxBuilder {
        EvEnergySandboxBuilder {
            seed: 0,
            now: DEFAULT_NOW,
            span: Span::Days(90),
            dirt: true,
            currency: "GBP".to_owned(),
            credentials: None,
            token_lifetime: Duration::from_secs(36_000),
            rate_limit: None,
            retry_after: RetryAfter::default(),
            latency: Duration::ZERO,
            prices: PriceShape::default(),
            public_url: "https://api.ev.energy/v2/".to_owned(),
            own_links: false,
            plug_ins_since: DEFAULT_PLUG_INS_SINCE,
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
        let running = Running::start(self, router).await?;
        if running.own_links {
            // Only the first start decides; a second one would be another address for the same data.
            drop(running.shared.own_base.set(running.base_url()));
        }
        Ok(running)
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

    /// Every sub-session as it is sent without expansion, in the order of the listing: what a complete reader
    /// must have seen.
    pub fn truth(&self) -> Value {
        let account = self.shared.account();
        account.sub_sessions.iter().map(|row| Value::from(row.record.clone())).collect()
    }

    /// Every plug-in as it is sent without expansion, in the order of the listing.
    pub fn plug_in_truth(&self) -> Value {
        let account = self.shared.account();
        account.plug_ins.iter().map(|row| Value::from(row.record.clone())).collect()
    }

    /// The ids of the people of the account, the first of them being `me` to a client of its own.
    pub fn user_ids(&self) -> Vec<String> {
        self.shared.account().assets.users.iter().map(|user| user.id.clone()).collect()
    }

    controls!("Faults of records and pages fit the listings.", tokens);

    /// How much was asked so far, for whoever looks often.
    pub fn request_count(&self) -> usize {
        self.shared.recorder.count()
    }

    /// Changes the data. False if nothing was changed: no such record, or no object with an id.
    pub fn mutate(&self, mutation: Mutation) -> bool {
        let mut account = self.shared.account.write().unwrap_or_else(PoisonError::into_inner);
        match mutation {
            Mutation::Insert(Value::Object(record)) => insert(&mut account, record),
            Mutation::Correct { id, fields: Value::Object(fields) } => account.correct(&id, fields),
            Mutation::Remove(id) => account.remove(&id),
            Mutation::Insert(_) | Mutation::Correct { .. } => false,
        }
    }

    /// An id for a sub-session whose record was made at `created`, which decides its place in the listing.
    pub fn new_id(&self, created: Timestamp) -> String {
        let count = self.shared.account().sub_sessions.len();
        let mut random = Random::new(&[u64::from_be_bytes(*b"inserted"), count as u64]);
        format!("csub{}", random.ulid(created.as_millisecond()))
    }

    /// A refresh token, as if the first user had agreed in a browser before. It is replaced at each use.
    pub fn issue_refresh_token(&self) -> String {
        self.shared.tokens.issue_refresh_token(self.user_ids().into_iter().next())
    }

    /// A code, as if the first user had agreed in a browser just now. It can be exchanged once, within a minute.
    pub fn issue_authorization_code(&self) -> String {
        self.shared.tokens.issue_code(self.user_ids().into_iter().next())
    }
}

fn insert(account: &mut Account, record: Map<String, Value>) -> bool {
    let id = record.get("id").and_then(Value::as_str).filter(|id| server::is_sub_session_id(id));
    let Some(id) = id.map(ToOwned::to_owned) else {
        return false;
    };
    account.insert(&id, record);
    true
}

impl Running<EvEnergySandbox> {
    /// `http://127.0.0.1:PORT/v2/`.
    pub fn base_url(&self) -> String {
        format!("{}/v2/", self.origin())
    }

    /// `http://127.0.0.1:PORT/o/token/`.
    pub fn token_url(&self) -> String {
        format!("{}/o/token/", self.origin())
    }
}

/// Without the secret.
impl fmt::Debug for EvEnergySandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.shared.account().sub_sessions.len();
        f.debug_struct("EvEnergySandbox")
            .field("client_id", &self.client_id())
            .field("records", &records)
            .finish_non_exhaustive()
    }
}

/// Without the secret.
impl fmt::Debug for EvEnergySandboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvEnergySandboxBuilder")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}

impl EvEnergySandboxBuilder {
    sets!(seed);
    sets!(now, "Evening of 20 October 2026");
    sets!(dirt);
    sets!(credentials);
    sets!(token_lifetime, "Ten hours");
    sets!(rate_limit, "1000 in an hour");
    sets!(latency);

    /// How far back the data goes. 90 without a call.
    pub fn days(mut self, days: u32) -> Self {
        self.span = Span::Days(days);
        self
    }

    /// Exactly this many sub-sessions, over as many days as they need, instead of a number of days.
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.span = Span::Sessions(sessions);
        self
    }

    /// Three letters; prices are of a plausible size for EUR, GBP, JPY, KWD and USD. GBP without a call.
    pub fn account_currency(mut self, currency: impl Into<String>) -> Self {
        self.currency = currency.into();
        self
    }

    /// How a 429 spells its wait.
    pub fn retry_after(mut self, spelling: RetryAfter) -> Self {
        self.retry_after = spelling;
        self
    }

    /// How prices inside intervals are written.
    pub fn price_shape(mut self, shape: PriceShape) -> Self {
        self.prices = shape;
        self
    }

    /// What every URL in an answer begins with. `https://api.ev.energy/v2/` without a call, so that a client
    /// which follows the host of a link leaves the sandbox and fails.
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.public_url = url.into();
        self
    }

    /// Lets every URL in an answer lead to the sandbox itself.
    pub fn own_links(mut self) -> Self {
        self.own_links = true;
        self
    }

    /// Before this moment no plug-ins were recorded, only sub-sessions. July 2026 without a call.
    pub fn plug_ins_since(mut self, since: Timestamp) -> Self {
        self.plug_ins_since = since;
        self
    }

    /// Invents the data.
    pub fn build(self) -> EvEnergySandbox {
        let base = format!("{}/", self.public_url.trim_end_matches('/'));
        let account = Account::invent(&Plan {
            seed: self.seed,
            now: self.now.as_second(),
            span: self.span,
            dirt: self.dirt,
            currency: self.currency,
            base: base.clone(),
            plug_ins_since: self.plug_ins_since.as_second(),
        });
        let (client_id, client_secret) = self.credentials.unwrap_or_else(|| made_up(self.seed));
        let (limit, per) = self.rate_limit.unwrap_or((1000, Duration::from_secs(3600)));
        let shared = Shared {
            account: RwLock::new(account),
            tokens: TokenEndpoint::new(client_id, client_secret, self.token_lifetime, SCOPE, self.seed),
            limiter: RateLimiter::new(limit, per),
            faults: FaultQueue::default(),
            recorder: Recorder::new(),
            latency: self.latency,
            retry_after: self.retry_after,
            prices: self.prices,
            base,
            own_base: OnceLock::new(),
            last_pages: Mutex::default(),
        };
        EvEnergySandbox { shared: Arc::new(shared), own_links: self.own_links }
    }
}

/// Credentials that look like credentials.
fn made_up(seed: u64) -> (String, String) {
    let mut random = Random::new(&[seed, u64::from_be_bytes(*b"a_client")]);
    (format!("sandbox-{}", random.word(12)), random.word(40))
}
