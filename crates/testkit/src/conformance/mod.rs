//! The promises of [`ChargingSessionSource`], as checks that every adapter runs.
//!
//! A check is a sentence of the contract. [`conformance`] runs all of them and reports every one that fails;
//! what a source does not declare in its [`Capabilities`](charging_sessions_core::Capabilities) is not asked
//! of it, except to refuse it. That each check can fail is proven in this crate's own tests by a source that
//! breaks just that promise.
//!
//! Every check builds the source anew, over a [`Transport`] of the suite that lies above the real one: it
//! counts requests, and lets some of them fail. So one account that answers well is all that an adapter needs.
//! Against a sandbox all checks take less than ten seconds; of odd answers, which are the most, a few thousand
//! are drawn evenly. Call the suite in a `#[tokio::test]`: what is logged on other threads is not seen.
//!
//! ```no_run
//! # use charging_sessions_core::{ChargingSessionSource, Result};
//! # use charging_sessions_http::{Policy, Transport};
//! # use charging_sessions_testkit::conformance::{Subject, conformance};
//! # use std::sync::Arc;
//! # #[derive(Clone)]
//! # struct Config { policy: Policy }
//! # fn with_transport(_: Config, _: Arc<dyn Transport>) -> Result<Arc<dyn ChargingSessionSource>> { unreachable!() }
//! # async fn keeps_the_contract(config: Config, records: Vec<String>) {
//! let subject = Subject::new(
//!     move |parts| {
//!         let mut config = config.clone();
//!         config.policy = parts.policy;
//!         with_transport(config, parts.transport)
//!     },
//!     records,
//! );
//! conformance(&subject.with_secrets(["the secret of the client"])).await;
//! # }
//! ```

mod claims;
mod faults;
mod line;
mod listing;
mod odd;
mod secrets;
mod sign_in;
mod trial;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use charging_sessions_core::{AssetSource, ChargingSessionSource, IntervalSource, Result};
use charging_sessions_http::{Policy, Request, Transport, default_transport};
use futures_core::future::BoxFuture;
use http::Method;
use serde_json::Value;
use tokio::time::timeout;

use trial::{Account, Source};

/// What a source under test is built with.
#[non_exhaustive]
pub struct Parts {
    /// What sends its requests: the suite's own, above the real one.
    pub transport: Arc<dyn Transport>,
    /// How it bounds and repeats them: without a quota, and with pauses that are hardly there.
    pub policy: Policy,
}

/// A source, seen as something else that it is.
type Face<S, T> = fn(Arc<S>) -> Arc<T>;

/// How to build a source, and what is known about the account behind it.
pub struct Subject<S> {
    build: Arc<dyn Fn(Parts) -> Result<S> + Send + Sync>,
    intervals: Option<Face<S, dyn IntervalSource>>,
    assets: Option<Face<S, dyn AssetSource>>,
    transport: Option<Arc<dyn Transport>>,
    is_sign_in: fn(&Request) -> bool,
    records: BTreeSet<String>,
    secrets: Vec<String>,
}

impl<S: ChargingSessionSource + 'static> Subject<S> {
    /// The source that `build` makes, of an account that holds just the records with these identifiers.
    ///
    /// `build` is called many times, and makes an independent source each time. For the checks to bite, the
    /// account holds at least three records, two of them finished, and answers as often as it is asked.
    pub fn new(
        build: impl Fn(Parts) -> Result<S> + Send + Sync + 'static,
        records: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            build: Arc::new(build),
            intervals: None,
            assets: None,
            transport: None,
            is_sign_in: |request| request.method() == Method::POST,
            records: records.into_iter().collect(),
            secrets: Vec::new(),
        }
    }

    /// The source also gives intervals.
    #[must_use]
    pub fn with_intervals(mut self) -> Self
    where
        S: IntervalSource,
    {
        self.intervals = Some(|source| source);
        self
    }

    /// The source also lists assets.
    #[must_use]
    pub fn with_assets(mut self) -> Self
    where
        S: AssetSource,
    {
        self.assets = Some(|source| source);
        self
    }

    /// Texts that must not show anywhere: client secrets, refresh tokens. Those that are sent or received
    /// in the course of the checks are known already.
    #[must_use]
    pub fn with_secrets<T: Into<String>>(mut self, secrets: impl IntoIterator<Item = T>) -> Self {
        self.secrets = secrets.into_iter().map(Into::into).collect();
        self
    }

    /// What really sends the requests. [`default_transport`] by default.
    #[must_use]
    pub fn with_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Which requests sign in. Every POST by default.
    #[must_use]
    pub fn with_sign_in(mut self, is_sign_in: fn(&Request) -> bool) -> Self {
        self.is_sign_in = is_sign_in;
        self
    }

    fn account(&self) -> Account {
        let Self { intervals, assets, is_sign_in, .. } = *self;
        let build = Arc::clone(&self.build);
        let transport = self.transport.clone();
        Account {
            build: Box::new(move |parts| {
                let source = Arc::new(build(parts)?);
                let intervals = intervals.map(|of| of(Arc::clone(&source)));
                let assets = assets.map(|of| of(Arc::clone(&source)));
                Ok(Source { sessions: source, intervals, assets })
            }),
            transport: transport.unwrap_or_else(|| default_transport().expect("a transport of this build")),
            is_sign_in,
            records: self.records.clone(),
            secrets: self.secrets.clone(),
        }
    }
}

/// The texts or numbers at this JSON pointer in each element of a list: the identifiers of the records that a sandbox
/// says are the truth.
///
/// # Panics
///
/// If `truth` is no list, or if there is neither in an element.
pub fn identifiers(truth: &Value, pointer: &str) -> BTreeSet<String> {
    let records = truth.as_array().expect("a list of records").iter();
    let id = |record: &Value| match record.pointer(pointer)? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    };
    records.map(|record| id(record).unwrap_or_else(|| panic!("no text at {pointer}: {record}"))).collect()
}

/// One promise: its name, and what tests it.
pub struct Check {
    /// The promise, as a sentence.
    pub name: &'static str,
    run: for<'a> fn(&'a Account) -> BoxFuture<'a, Outcome>,
}

/// Whether a promise holds, or why not.
type Outcome = Result<(), String>;

macro_rules! checks {
    ($($module:ident::$function:ident: $name:literal,)*) => {
        /// Every check, in the order in which they run.
        pub const CHECKS: &[Check] =
            &[$(Check { name: $name, run: |account| Box::pin($module::$function(account)) },)*];
    };
}

checks! {
    listing::goes_through_the_transport: "every request goes through the transport that the source is built with",
    listing::lists_everything: "a listing is complete under every page size",
    listing::respects_the_page_size: "a page holds no more records than the largest page declared",
    listing::resumes_at_every_cursor: "a listing goes on from every stored cursor, and the rest is the same",
    listing::resumes_in_another_source: "a listing that one source began is ended by another",
    listing::refuses_a_cursor_that_is_not_its_own: "a foreign, outdated, damaged or mismatched cursor is refused before any request",
    listing::refuses_what_it_does_not_declare: "a query beyond the capabilities is refused before any request",
    listing::keeps_the_bounds_of_a_window: "a window includes its first instant and excludes its last",
    listing::tells_finished_from_unfinished: "finished and unfinished sessions are told apart",
    listing::narrows_to_assets: "a query for assets gives the sessions of these assets and no others",
    listing::keeps_its_keys: "keys are the same in every listing, and carry the provider's name",
    listing::keeps_its_keys_in_another_source: "keys are the same in two sources that were built apart",
    listing::keeps_the_payload: "every session keeps the bytes it was mapped from",
    claims::reports_active_sessions_as_declared: "active sessions are reported if and only if declared",
    claims::reports_cost_as_declared: "costs are reported if and only if declared",
    claims::reports_totals_as_declared: "totals are reported if and only if declared",
    claims::gives_intervals_as_declared: "intervals can be read, oldest first, if and only if declared",
    claims::lists_assets_as_declared: "assets can be listed if and only if declared, and have all sessions between them",
    sign_in::signs_in_once: "many first pages at once cost one sign-in",
    sign_in::renews_once: "credentials refused in the middle of a listing are renewed once, and the listing is complete",
    sign_in::gives_up_refused_credentials: "credentials that keep being refused are reported as such, and soon no longer used",
    faults::tells_statuses_apart: "a status that refuses becomes an error of its kind, whatever the body",
    faults::gets_over_passing_faults: "a fault that passes is got over, and the listing is complete",
    faults::ends_at_lasting_faults: "a fault that lasts becomes an error of its kind after a few requests, and never a short listing",
    faults::waits_as_asked: "the wait that a provider asks for is kept, or reported if it is too long",
    faults::survives_being_dropped: "a page may be abandoned at any moment, and nothing hangs or is missing afterwards",
    odd::survives_odd_answers: "no odd answer makes the source panic or lose a record without a trace",
    secrets::hides_its_secrets: "no secret shows in the source, its cursors, sessions and errors, or in the log",
    secrets::hides_what_is_echoed: "no secret shows when the provider repeats it in an error",
}

/// No check takes nearly as long, unless it hangs.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Runs every check and gives the names and reasons of those that failed.
///
/// # Panics
///
/// If the source cannot be built.
pub async fn failures<S: ChargingSessionSource + 'static>(
    subject: &Subject<S>,
) -> BTreeMap<&'static str, String> {
    let account = subject.account();
    let mut failures = BTreeMap::new();
    for check in CHECKS {
        let run = timeout(TIME_LIMIT, (check.run)(&account)).await;
        if let Err(reason) = run.unwrap_or_else(|_| Err(format!("not done within {TIME_LIMIT:?}"))) {
            failures.insert(check.name, reason);
        }
    }
    failures
}

/// Runs every check.
///
/// # Panics
///
/// If one fails, with the sentences that do not hold and why. Also if the source cannot be built.
pub async fn conformance<S: ChargingSessionSource + 'static>(subject: &Subject<S>) {
    let failures = failures(subject).await;
    let mut report = String::new();
    for (name, reason) in &failures {
        let _ = write!(report, "\n- {name}: {reason}");
    }
    let provider = || subject.account().open().source.provider();
    assert!(failures.is_empty(), "{} does not keep the contract:{report}", provider());
}
