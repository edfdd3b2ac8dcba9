//! A party that sends sessions and charge detail records over OCPI 2.1.1, 2.2.1 and 2.3.0.
//!
//! ```
//! use charging_sessions_testkit::sandbox::ocpi::OcpiSandbox;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let sandbox = OcpiSandbox::builder().seed(7).days(90).build().start().await?;
//! println!("{} lists the versions", sandbox.versions_url());
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it answers
//!
//! | path | notes |
//! |---|---|
//! | `/ocpi/versions` | those that it speaks |
//! | `/ocpi/{version}` | the modules `sessions` and `cdrs`; since 2.2 also one that it receives, on another host |
//! | `/ocpi/{version}/sessions`, `…/cdrs` | `date_from` (required for sessions since 2.2), `date_to`, `offset`, `limit` |
//!
//! A request passes, in this order: the token (401), `X-Request-ID` and `X-Correlation-ID` (400), the rate limit (429,
//! if there is one), the parameters (400). Refusals are envelopes with a `status_code` of 2000 or 2001.
//!
//! # Where the standard leaves it open, or servers do
//!
//! | question | here |
//! |---|---|
//! | how the token is written | as its version says, or [always in one way](OcpiSandboxBuilder::token_form) |
//! | what a wrong token is answered with | 401; or, [not frank](OcpiSandboxBuilder::frank), 403 in words of a framework, and 200 with 3000 if it is no Base64 |
//! | order of a listing | as they were made, or [by their last update](Order::Updated) |
//! | the link to the next page | right, but for another host; see [`Links`] |
//! | the largest page | 100, see [`page_cap`](OcpiSandboxBuilder::page_cap) |
//! | whether 2.1.1 includes `date_from` | it does not |
//! | case of identifiers | as they are, or [all small](OcpiSandboxBuilder::small) |
//! | a slash at the end of a module's address | none, or [required](OcpiSandboxBuilder::slashes) by a redirect |
//! | rate limit | none, see [`rate_limit`](OcpiSandboxBuilder::rate_limit) |
//!
//! # What the data looks like
//!
//! One to three charges a day at three places, one of them a home, each a session and a record of what was billed.
//! Among the sessions one is going on, one is pending, one a reservation and one void. Among the records one gave
//! energy back, and one was billed wrongly, taken back, and billed anew. Some have signed readings.
//!
//! The calendar stands still: nothing in the data moves on while the sandbox runs, unless
//! [`mutate`](OcpiSandbox::mutate) says so.
//!
//! Unless [`dirt`](OcpiSandboxBuilder::dirt) is switched off, each of these is there once, each in a record of its
//! own, if there are enough of them:
//!
//! | kind | how to know it |
//! |---|---|
//! | spelling of moments | no `Z`; an end of `1970-1-1T00:00:00Z` |
//! | nothing there | `#NA` for the charge point; `null` for optional fields; no `auth_method`, no `evse_uid` |
//! | unknown words | status `SUSPENDED`; a dimension `NL-TNM-SUNSHINE`; currency `COFFEE` |
//! | numbers | 12.299999999999999; `"7.5"` as text; a time of -1.5 hours; a price with VAT and none without |
//! | periods | in the wrong order |
//! | unknown fields | `total_discount`, `vat` |

mod data;
mod dirt;
mod server;
mod view;

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
use serde_json::{Map, Value};
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

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// Sessions.
    Sessions,
    /// What was billed.
    Cdrs,
}

/// How the token has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenForm {
    /// As the version says: as it is in 2.1.1, in Base64 since. For the list of versions, either.
    ByVersion,
    /// As it is.
    Raw,
    /// In Base64.
    Base64,
}

/// How the link to the next page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// As it should be, but for the name of the host.
    Right,
    /// Never.
    None,
    /// To another host, another port and another path.
    Elsewhere,
    /// With words in place of values, and empty on the last page.
    Unusable,
    /// Without an offset: where the next page begins is a word of its own.
    ByWord,
}

/// In which order records are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they were made, which OCPI recommends.
    Created,
    /// By their last update.
    Updated,
}

/// A party that answers. [`start`](Self::start) puts it on a port.
///
/// Clones are handles to the same sandbox.
#[derive(Clone)]
pub struct OcpiSandbox {
    shared: Arc<Shared>,
}

/// What a sandbox should be like. See the methods for what each value is without a call.
#[derive(Clone)]
pub struct OcpiSandboxBuilder {
    seed: u64,
    now: Timestamp,
    days: u32,
    charges: Option<u32>,
    dirt: bool,
    token: Option<String>,
    form: TokenForm,
    frank: bool,
    versions: Vec<&'static str>,
    page_cap: usize,
    links: Links,
    order: Order,
    totals: bool,
    small: bool,
    slashes: bool,
    rate_limit: Option<(usize, Duration)>,
    latency: Duration,
}

/// A change of the data while the sandbox runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mutation {
    /// Adds a record as 2.2.1 writes it, as the last that was made; one with the same `id` is replaced.
    Insert(Module, Value),
    /// Gives fields of a record other values. Unless they say when, it was updated at the moment the sandbox takes
    /// for now.
    Correct(Module, String, Value),
    /// Takes the record with this id away, which OCPI does not know.
    Remove(Module, String),
}

impl OcpiSandbox {
    /// A sandbox with 90 days of data and no limits.
    pub fn builder() -> OcpiSandboxBuilder {
        OcpiSandboxBuilder {
            seed: 0,
            now: DEFAULT_NOW,
            days: 90,
            charges: None,
            dirt: true,
            token: None,
            form: TokenForm::ByVersion,
            frank: true,
            versions: vec!["2.1.1", "2.2.1", "2.3.0"],
            page_cap: 100,
            links: Links::Right,
            order: Order::Created,
            totals: true,
            small: false,
            slashes: false,
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

    /// The token, as it is.
    pub fn token(&self) -> &str {
        &self.shared.token
    }

    /// Every record of a module, as 2.2.1 writes it, in the order in which they were made: what a complete reader must
    /// have seen.
    pub fn truth(&self, module: Module) -> Value {
        self.shared.account().list(module).iter().cloned().map(Value::Object).collect()
    }

    controls!("Faults of records and pages fit the listings of both modules.");

    /// Changes the data. False if nothing was changed: no such record, or no object with an id.
    pub fn mutate(&self, mutation: Mutation) -> bool {
        let mut account = self.shared.account.write().unwrap_or_else(PoisonError::into_inner);
        let at = |list: &[Map<String, Value>], id: &str| list.iter().position(|record| record["id"] == id);
        match mutation {
            Mutation::Insert(module, Value::Object(record)) => {
                let list = account.list_mut(module);
                let Some(id) = record.get("id").and_then(Value::as_str) else { return false };
                match at(list, id) {
                    Some(place) => list[place] = record,
                    None => list.push(record),
                }
                true
            }
            Mutation::Correct(module, id, Value::Object(fields)) => {
                let list = account.list_mut(module);
                let Some(place) = at(list, &id) else { return false };
                list[place].insert("last_updated".into(), data::text(self.shared.now).into());
                list[place].extend(fields);
                true
            }
            Mutation::Remove(module, id) => {
                let list = account.list_mut(module);
                let before = list.len();
                list.retain(|record| record["id"] != id.as_str());
                list.len() < before
            }
            Mutation::Insert(..) | Mutation::Correct(..) => false,
        }
    }
}

impl Running<OcpiSandbox> {
    /// `http://127.0.0.1:PORT/ocpi/versions`.
    pub fn versions_url(&self) -> String {
        format!("{}/ocpi/versions", self.origin())
    }
}

/// Without the token.
impl fmt::Debug for OcpiSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.shared.account();
        f.debug_struct("OcpiSandbox")
            .field("sessions", &account.sessions.len())
            .field("cdrs", &account.cdrs.len())
            .finish_non_exhaustive()
    }
}

/// Without the token.
impl fmt::Debug for OcpiSandboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OcpiSandboxBuilder")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("days", &self.days)
            .finish_non_exhaustive()
    }
}

impl OcpiSandboxBuilder {
    sets!(seed);
    sets!(now, "Evening of 10 November 2026");
    sets!(days);
    sets!(dirt);
    sets!(rate_limit, "Any number");
    sets!(latency);

    /// Just so many charges, evenly over the days, and all of them usual ones.
    pub fn charges(mut self, charges: u32) -> Self {
        self.charges = Some(charges);
        self
    }

    /// The token. Made up from the seed without a call.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// How the token has to be written. As the version says without a call.
    pub fn token_form(mut self, form: TokenForm) -> Self {
        self.form = form;
        self
    }

    /// Whether a wrong token is refused as the standard says. It is without a call.
    pub fn frank(mut self, frank: bool) -> Self {
        self.frank = frank;
        self
    }

    /// Which of 2.1.1, 2.2.1 and 2.3.0 it speaks. All without a call.
    pub fn versions(mut self, versions: &[&'static str]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    /// The most records of a page, whatever is asked for. 100 without a call.
    pub fn page_cap(mut self, cap: usize) -> Self {
        self.page_cap = cap;
        self
    }

    /// How the link to the next page is written. Right without a call.
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// In which order records are listed. As they were made without a call.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Whether it says how many records there are. It does without a call.
    pub fn totals(mut self, totals: bool) -> Self {
        self.totals = totals;
        self
    }

    /// Writes identifiers in small letters.
    pub fn small(mut self) -> Self {
        self.small = true;
        self
    }

    /// Redirects from addresses of modules that have no slash at their end to those that have.
    pub fn slashes(mut self) -> Self {
        self.slashes = true;
        self
    }

    /// Invents the data.
    pub fn build(self) -> OcpiSandbox {
        let plan = Plan {
            seed: self.seed,
            now: self.now.as_second(),
            days: self.days,
            charges: self.charges,
            dirt: self.dirt,
        };
        let made_up = || Random::new(&[plan.seed, u64::from_be_bytes(*b"an_ocpi_")]).word(36);
        let shared = Shared {
            account: RwLock::new(Account::invent(&plan)),
            now: plan.now,
            token: self.token.unwrap_or_else(made_up),
            form: self.form,
            frank: self.frank,
            versions: self.versions,
            page_cap: self.page_cap,
            links: self.links,
            order: self.order,
            totals: self.totals,
            small: self.small,
            slashes: self.slashes,
            limiter: self.rate_limit.map(|(limit, per)| RateLimiter::new(limit, per)),
            tokens: TokenEndpoint::new(String::new(), String::new(), Duration::ZERO, "", plan.seed),
            faults: FaultQueue::default(),
            recorder: Recorder::new(),
            latency: self.latency,
            last_pages: Mutex::new(HashMap::new()),
        };
        OcpiSandbox { shared: Arc::new(shared) }
    }
}
