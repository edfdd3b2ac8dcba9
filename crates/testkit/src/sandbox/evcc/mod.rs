//! A server shaped like evcc, as it runs in a home.
//!
//! ```
//! use charging_sessions_testkit::sandbox::evcc::EvccSandbox;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let sandbox = EvccSandbox::builder().seed(7).days(90).build().start().await?;
//! println!("{} is ready", sandbox.base_url());
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it answers
//!
//! | path | notes |
//! |---|---|
//! | `GET /api/sessions` | `year`, and `month` with it; the newest first, and all of them at once |
//! | `GET /api/state` | a few of the members of the real one, among them `currency` |
//!
//! Nobody has to sign in, unless [`bearer`](EvccSandboxBuilder::bearer) or
//! [`credentials`](EvccSandboxBuilder::credentials) puts a proxy in front, which answers 401 with a line of text. Errors of the server itself are `{"error": …}`.
//!
//! Year and month are those in which a session began by the clock of the server, in
//! [`zone`](EvccSandboxBuilder::zone). Sessions below 0.05 kWh are in the database and are not listed.
//!
//! # Where the documents leave it open
//!
//! | question | here |
//! |---|---|
//! | a year or a month that is no number | no session matches, as no text of a date does |
//! | a month of 0 | as if it were not given |
//! | `format` other than JSON | JSON all the same |
//! | what else is in the state | a few members, and no more |
//! | the answer of a proxy | as above |
//! | rate limit | none, see [`rate_limit`](EvccSandboxBuilder::rate_limit); the wait is in `Retry-After` |
//!
//! # What the data looks like
//!
//! Two charge points, two vehicles, and guests. Cars come home in the evening, and some stand in the sun on a weekend;
//! the share of the sun follows the hour. Rows are numbered as they begin. Times have the offset of the server's clock
//! on that day. A session goes on at the moment the sandbox takes for now.
//!
//! Numbers are what floating point makes of them: a price is a product, and has its noise.
//!
//! Unless [`dirt`](EvccSandboxBuilder::dirt) is switched off, each of these is there once in 90 days, each in a record
//! of its own:
//!
//! | kind | how to know it |
//! |---|---|
//! | never closed | `finished` in the year 1, although a later session is at the same charge point |
//! | of an older release | null wherever null may be |
//! | no odometer | `odometer` 0 |
//! | energy that is not that of the meter | `meterStop` 1.5 kWh too high |
//! | energy of the row before in it | 6.2 kWh more than the registers tell |
//! | a clock that was set back | `finished` two minutes before `created` |
//! | a price below zero | `price` and `pricePerKWh` negative |

mod data;
mod server;

use std::{
    fmt, io,
    sync::{Arc, RwLock},
    time::Duration,
};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use tower::ServiceExt as _;

use self::{
    data::{Database, Plan},
    server::Shared,
};
use super::{
    Fault, RecordedRequest, Running,
    fault::FaultQueue,
    limit::RateLimiter,
    offer::{controls, sets},
    record::Recorder,
    token::TokenEndpoint,
};

/// 10 November 2026, 18:30 UTC.
const DEFAULT_NOW: Timestamp = Timestamp::constant(1_794_335_400, 0);

/// Central Europe, as a rule, because there is no database of zones here.
const DEFAULT_ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// An evcc server that answers. [`start`](Self::start) puts it on a port.
///
/// Clones are handles to the same sandbox.
#[derive(Clone)]
pub struct EvccSandbox {
    shared: Arc<Shared>,
}

/// What a sandbox should be like. See the methods for what each value is without a call.
#[derive(Clone)]
pub struct EvccSandboxBuilder {
    seed: u64,
    now: Timestamp,
    days: u32,
    dirt: bool,
    zone: TimeZone,
    is_filtered_in_utc: bool,
    is_wrapped: bool,
    currency: Option<String>,
    authorization: Option<String>,
    rate_limit: Option<(usize, Duration)>,
    latency: Duration,
}

/// A change of the data while the sandbox runs, as a user makes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mutation {
    /// Adds a session; one that is there with the same id is replaced.
    /// The object has an `id`, see [`EvccSandbox::new_id`], and a `created`.
    Insert(Value),
    /// Gives fields of a session other values. Its id stays.
    Correct {
        /// Which session.
        id: i64,
        /// An object with the fields that change.
        fields: Value,
    },
    /// Takes the session with this id away.
    Remove(i64),
}

impl EvccSandbox {
    /// A sandbox with 90 days of data, in euros, and without a proxy.
    pub fn builder() -> EvccSandboxBuilder {
        EvccSandboxBuilder {
            seed: 0,
            now: DEFAULT_NOW,
            days: 90,
            dirt: true,
            zone: TimeZone::posix(DEFAULT_ZONE).expect("a rule for a zone"),
            is_filtered_in_utc: false,
            is_wrapped: false,
            currency: Some("EUR".to_owned()),
            authorization: None,
            rate_limit: None,
            latency: Duration::ZERO,
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

    /// An array of every session that is listed: what a complete reader must have seen. The newest first.
    pub fn truth(&self) -> Value {
        self.shared.database().listed().map(|row| Value::from(row.record.clone())).collect()
    }

    controls!("Faults of records fit the listing, and those of tokens fit nothing.");

    /// Changes the data. False if nothing was changed: no such session, or no object with an id and a start.
    pub fn mutate(&self, mutation: Mutation) -> bool {
        let mut database = self.shared.database_mut();
        match mutation {
            Mutation::Insert(Value::Object(record)) => database.put(record),
            Mutation::Correct { id, fields: Value::Object(fields) } => database.correct(id, fields),
            Mutation::Remove(id) => database.remove(id),
            Mutation::Insert(_) | Mutation::Correct { .. } => false,
        }
    }

    /// An id for a session to insert. It is another one once a session was inserted.
    pub fn new_id(&self) -> i64 {
        self.shared.database().next_id()
    }
}

impl Running<EvccSandbox> {
    /// `http://127.0.0.1:PORT/`.
    pub fn base_url(&self) -> String {
        format!("{}/", self.origin())
    }
}

/// Without the credentials of the proxy.
impl fmt::Debug for EvccSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.shared.database().listed().count();
        f.debug_struct("EvccSandbox").field("records", &records).finish_non_exhaustive()
    }
}

/// Without the credentials of the proxy.
impl fmt::Debug for EvccSandboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvccSandboxBuilder")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("days", &self.days)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

impl EvccSandboxBuilder {
    sets!(seed);
    sets!(now, "Evening of 10 November 2026");
    sets!(days);
    sets!(dirt);
    sets!(rate_limit, "Any number");
    sets!(latency);

    /// Where the clock of the server stands. In Central Europe without a call.
    pub fn zone(mut self, zone: TimeZone) -> Self {
        self.zone = zone;
        self
    }

    /// Whether years and months are those of UTC, as they were before May 2026. They are not without a call.
    pub fn filtered_in_utc(mut self, is_filtered_in_utc: bool) -> Self {
        self.is_filtered_in_utc = is_filtered_in_utc;
        self
    }

    /// Whether answers are wrapped into `{"result": …}`, as they were in older releases. They are not without a call.
    pub fn wrapped(mut self, is_wrapped: bool) -> Self {
        self.is_wrapped = is_wrapped;
        self
    }

    /// What the state says the currency is; `None` if it says nothing. EUR without a call.
    pub fn currency(mut self, currency: Option<&str>) -> Self {
        self.currency = currency.map(str::to_owned);
        self
    }

    /// The token that a proxy in front wants to see. There is none without a call.
    pub fn bearer(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }

    /// The name and the password that a proxy in front wants to see, as HTTP Basic. There is none without a call.
    pub fn credentials(mut self, user: &str, password: &str) -> Self {
        self.authorization = Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        self
    }

    /// Invents the data.
    pub fn build(self) -> EvccSandbox {
        let database = Database::invent(&Plan {
            seed: self.seed,
            now: self.now.as_second(),
            days: self.days,
            dirt: self.dirt,
            zone: &self.zone,
        });
        let shared = Shared {
            database: RwLock::new(database),
            filter_zone: if self.is_filtered_in_utc { TimeZone::UTC } else { self.zone },
            is_wrapped: self.is_wrapped,
            currency: self.currency,
            authorization: self.authorization,
            limiter: self.rate_limit.map(|(limit, per)| RateLimiter::new(limit, per)),
            // Nobody asks for tokens here; but whatever is asked passes the same gate.
            tokens: TokenEndpoint::new(String::new(), String::new(), Duration::ZERO, "", 0),
            faults: FaultQueue::default(),
            recorder: Recorder::new(),
            latency: self.latency,
        };
        EvccSandbox { shared: Arc::new(shared) }
    }
}
