//! Charging sessions from [evcc](https://evcc.io), the energy management that runs at home.
//!
//! A session is a [stay at the plug](charging_sessions_core::RecordKind::PlugIn), of which the start and the end of
//! charging are known, and not those of the cable. The server is the user's own: there is no account and no sign-in,
//! unless a proxy in front of it asks for one.
//!
//! ```no_run
//! use charging_sessions_core::{ChargingSessionSourceExt as _, SessionQuery};
//! use charging_sessions_evcc::{Config, Evcc, PlainHttp};
//! use futures_util::TryStreamExt as _;
//!
//! # async fn read() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::new("http://evcc.local:7070".parse()?);
//! // The server has no certificate, and this network is ours.
//! config.plain_http = PlainHttp::WithoutCredentials;
//! let source = Evcc::new(config)?;
//! let mut sessions = source.sessions(SessionQuery::all());
//! while let Some(session) = sessions.try_next().await? {
//!     println!("{} {:?}", session.key(), session.energy.headline());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Two servers
//!
//! A session's number is that of a row in one server's database, and the next server has the same numbers.
//! [`Config::account`] tells them apart: it is part of every key, so two servers whose sessions meet in one place need
//! two names. A server that begins with a new database, after a reset, needs a new name as well.
//!
//! # Where each field goes
//!
//! | evcc | core record |
//! |---|---|
//! | `id` | `identity.key.source_id` |
//! | `created`, `finished` | `timing.charging_started_at`, `timing.charging_ended_at`; also `timing.period`, basis `charging`; the offset of `created` is `timing.source_offset_seconds` |
//! | `chargeDuration` | `timing.charging_for` |
//! | `chargedEnergy` | `energy.readings[0]`, it is not known where and how measured |
//! | `meterStart`, `meterStop` | `energy.registers` |
//! | `solarPercentage` | `energy.sources.solar`: that share of `chargedEnergy`, rounded half to even at a milliwatt-hour; the percentage itself in `extra`. The rest is not said to come from the grid |
//! | `price` | `costs.cost` in the currency of the site, basis `opportunity`, tax not known |
//! | `pricePerKWh`, `referencePricePerKWh` | `costs.price_per_kwh`, `costs.reference_price_per_kwh` |
//! | `co2PerKWh` | `emissions.intensity_per_kwh`; no total, because none is stated |
//! | `referenceCo2PerKWh`, `addedRange` | `extra` |
//! | `socStart`, `socEnd` | `state_of_charge` |
//! | `odometer` | `driving.odometer` |
//! | `loadpoint`, `vehicle` | the names in `parties.charge_point` and `parties.vehicle`; empty is none |
//! | `identifier` | `parties.token.uid`; empty is none |
//!
//! # Quirks
//!
//! | what | what we do | evidence |
//! |---|---|---|
//! | Sessions are not paged, and cannot be asked for by an instant: the filter is a year, or a month of it, by the clock of the server, whose zone is not known; before May 2026 by UTC | the months that a window may touch in any zone, a request and a page for each, the latest first, clipped to the window; more than two years are read as everything at once | [handler](https://github.com/evcc-io/evcc/blob/b29b49e3056ead3c99ff1f4711b2bb17083114b0/server/http_session_handler.go), [correction](https://github.com/evcc-io/evcc/pull/29676) |
//! | `created` is the first flow of energy, `finished` the last so far: charging that goes on before the cable is out moves it | a plug-in session whose period has the basis `charging`; a long stay may change after the look-back of 3 days, which a full sync sees | [source](https://github.com/evcc-io/evcc/blob/b29b49e3056ead3c99ff1f4711b2bb17083114b0/core/loadpoint_session.go) |
//! | A session without an end has one in the year 1; some are never closed, after a restart | active, with an open end | [session](https://github.com/evcc-io/evcc/blob/b29b49e3056ead3c99ff1f4711b2bb17083114b0/core/session/db.go), [report](https://github.com/evcc-io/evcc/issues/14222) |
//! | Users change the vehicle, the charge point and the odometer of a session, or delete it, at any time and without a trace | the look-back sees it for 3 days, a full sync at any time: as a revision, or as vanished | the handler |
//! | Vehicle and charge point are titles, not identifiers | names; a title that is changed divides the history, and no query can name one | [session](https://github.com/evcc-io/evcc/blob/b29b49e3056ead3c99ff1f4711b2bb17083114b0/core/session/session.go) |
//! | Sessions below 0.05 kWh are never listed | nothing; they are in no total, as they are in none of evcc | the handler |
//! | Amounts are without a currency; `/api/state` names that of the site | asked for once, before the first page; [`Config::currency`] instead. Without either, amounts stay in `extra`, with an issue | the session |
//! | A price is no expense: own solar power counts as what feeding it in would have earned | cost basis `opportunity` | [report](https://github.com/evcc-io/evcc/issues/33251) |
//! | The solar share may count what came out of a battery | taken as solar | [report](https://github.com/evcc-io/evcc/issues/32280) |
//! | Energy can hold that of the row before, if charging went on after a stop or a restart | kept; the relations of records side by side show it | [report](https://github.com/evcc-io/evcc/issues/13640) |
//! | Energy and the registers of the meter do not always agree | both kept, with an issue | [report](https://github.com/evcc-io/evcc/issues/13942) |
//! | Older releases wrap each answer into `{"result": …}` | both are read | [change](https://github.com/evcc-io/evcc/pull/22299) |
//! | The project's own document lacks eleven of the fields | a document of ours | [document](https://github.com/evcc-io/evcc/blob/b29b49e3056ead3c99ff1f4711b2bb17083114b0/server/openapi.yaml) |
//! | 400 also says that the database is offline | an error that may pass, as a 503 | the handler |
//! | The server has no certificate | plain `http` to another machine has to be allowed, and once more with credentials: [`Config::plain_http`] | |
//! | Limits are not documented | no quota | |

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, dead_code, missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
mod generated;
mod map;

use std::sync::Arc;

use async_trait::async_trait;
// Nearly every word of the contract is needed here.
use charging_sessions_core::*;
use charging_sessions_http::{Client, Dialect, Policy, StaticHeader, Transport, problem};
use jiff::{SignedDuration, civil::Date};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use url::Url;

pub use charging_sessions_http::PlainHttp;
pub use map::Mapping;

use generated::ListSessionsQuery;

/// The stable name of this provider.
pub const PROVIDER: ProviderId = ProviderId::new("evcc");

const CURSOR_VERSION: u8 = 1;
/// A window that touches more months is read as everything at once. Two years are a few hundred sessions.
const MOST_MONTHS: i32 = 24;
/// No zone is further from UTC.
const FURTHEST_ZONE: SignedDuration = SignedDuration::from_hours(24);

/// What the source can do.
pub const CAPABILITIES: Capabilities =
    Capabilities::none().window().active_sessions().cost().look_back(SignedDuration::from_hours(3 * 24));

/// How to reach an evcc server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The root of the server, for example `http://evcc.local:7070`.
    pub base_url: Url,
    /// What may be asked if `base_url` is plain `http` on another machine. Nothing, because everybody on the way could
    /// read when somebody is at home; in a network of one's own that may be fine.
    pub plain_http: PlainHttp,
    /// What a proxy in front of the server wants to see. Nothing.
    pub credentials: Credentials,
    /// The user's own name for the server; part of every key, and different for each server.
    pub account: AccountId,
    /// The currency of the site. `None`: the one that the server names.
    pub currency: Option<Currency>,
    /// The IANA time zone of the site, for days and months. It does not change what is asked for.
    pub zone: Option<String>,
    /// Pacing and retry.
    pub policy: Policy,
}

impl Config {
    /// Where a server at home is, unless it was set up otherwise.
    pub const LOCAL: &str = "http://evcc.local:7070/";

    /// The server at [`LOCAL`](Self::LOCAL). Plain `http` to it has still to be allowed.
    pub fn local() -> Self {
        Self::new(Self::LOCAL.parse().expect("a valid URL"))
    }

    /// A server without a proxy, which is reached by `https` or on this machine.
    pub fn new(base_url: Url) -> Self {
        Self {
            base_url,
            plain_http: PlainHttp::default(),
            credentials: Credentials::default(),
            account: AccountId::default(),
            currency: None,
            zone: None,
            policy: Policy::default(),
        }
    }
}

/// What a proxy in front of the server wants to see.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// Nothing: whoever reaches the server may read.
    #[default]
    None,
    /// `Authorization: Bearer …`.
    Bearer(SecretString),
    /// `Authorization: Basic …`.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: SecretString,
    },
}

/// Sessions of one evcc server. Cheap to clone; clones share what is known of the site.
#[derive(Clone, Debug)]
pub struct Evcc {
    client: Client,
    config: Arc<Config>,
    /// As the server names it, once it was asked.
    currency: Arc<OnceCell<Option<String>>>,
}

impl Evcc {
    /// A source for `config` over the default HTTP stack. Sends nothing until the first page is fetched.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the URL cannot be used, or is plain `http` and that is not allowed.
    #[cfg(feature = "reqwest")]
    pub fn new(config: Config) -> Result<Self> {
        Self::with_transport(config, charging_sessions_http::default_transport()?)
    }

    /// As [`new`](Self::new), over another HTTP stack.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_transport(config: Config, transport: Arc<dyn Transport>) -> Result<Self> {
        let client = Client::builder(PROVIDER, config.base_url.clone())
            .plain_http(config.plain_http)
            .transport(transport)
            .policy(config.policy)
            .dialect(Dialect::new().with_classify(classify));
        let client = match &config.credentials {
            Credentials::None => client,
            Credentials::Bearer(token) => client.auth(StaticHeader::bearer(token)),
            Credentials::Basic { user, password } => client.auth(StaticHeader::basic(user, password)),
        };
        Ok(Self { client: client.build()?, config: Arc::new(config), currency: Arc::default() })
    }

    /// What the mapping must know of the site. Asks the server the first time, unless the configuration says it.
    async fn mapping(&self) -> Result<Mapping> {
        let currency = match self.config.currency {
            Some(currency) => Some(currency.to_string()),
            None => self.currency.get_or_try_init(|| self.stated_currency()).await?.clone(),
        };
        Ok(Mapping { account: self.config.account.clone(), currency, zone: self.config.zone.clone() })
    }

    /// Not being able to ask is no answer: amounts would lose their currency today, and have it back tomorrow.
    async fn stated_currency(&self) -> Result<Option<String>> {
        let request = self.client.get("api/state", &[])?;
        self.client.send(request, |answer| map::currency(&answer.body)).await.map_err(unstated)
    }
}

/// Says what to do where the state in particular is kept from view.
fn unstated(error: Error) -> Error {
    if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) {
        return error;
    }
    let message = "the currency cannot be read from `/api/state`; check the address, or configure `currency`";
    let mut told = Error::new(error.kind(), message).with_provider(PROVIDER);
    if let Some(status) = error.status() {
        told = told.with_status(status);
    }
    match error.problem() {
        Some(problem) => told.with_problem(problem.clone()),
        None => told,
    }
}

/// The one refusal that is no fault of the request.
fn classify(answer: &charging_sessions_http::Response) -> Option<ErrorKind> {
    let said = || problem(answer)?.title;
    let is_offline = answer.status() == 400 && said().as_deref() == Some("database offline");
    is_offline.then_some(ErrorKind::Unavailable)
}

/// Months of a window by any clock, counted from the year 0.
#[derive(Clone, Copy)]
struct Months {
    first: i32,
    last: i32,
}

impl Months {
    /// `None` if it is better to ask for everything.
    fn touched_by(window: TimeWindow) -> Option<Self> {
        let month = |day: Date| i32::from(day.year()) * 12 + i32::from(day.month()) - 1;
        let from = window.from().saturating_sub(FURTHEST_ZONE).ok()?;
        let until = window.until().saturating_add(FURTHEST_ZONE).ok()?;
        let (first, last) = TimeWindow::new(from, until)?.utc_days();
        let (first, last) = (month(first), month(last));
        (last - first < MOST_MONTHS).then_some(Self { first, last })
    }

    fn query(month: i32) -> ListSessionsQuery {
        ListSessionsQuery {
            year: Some(month.div_euclid(12).into()),
            month: Some((month.rem_euclid(12) + 1).into()),
        }
    }
}

/// Where in the listing we are.
#[derive(Serialize, Deserialize)]
struct Place {
    /// The month to be read next, counted as in [`Months`].
    month: i32,
}

#[async_trait]
impl ChargingSessionSource for Evcc {
    fn provider(&self) -> ProviderId {
        PROVIDER
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        query.check(CAPABILITIES).map_err(|error| error.with_provider(PROVIDER))?;
        let months = query.window().and_then(Months::touched_by);
        let month = match cursor {
            None => months.map(|months| months.last),
            Some(cursor) => {
                let Place { month } = cursor.decode(PROVIDER, CURSOR_VERSION, query)?;
                if !months.is_some_and(|months| (months.first..months.last).contains(&month)) {
                    let message = "the cursor belongs to another listing; start the listing again";
                    return Err(Error::new(ErrorKind::InvalidCursor, message).with_provider(PROVIDER));
                }
                Some(month)
            }
        };
        let mapping = self.mapping().await?;
        let asked = month.map(Months::query).unwrap_or_default();
        let request = self.client.get("api/sessions", &asked.pairs())?;
        let read = self.client.send(request, |answer| mapping.page(&answer.body, answer.received_at));
        let mut page = read.await?;
        query.clip(&mut page.sessions);
        let earlier = month.zip(months).filter(|(month, months)| *month > months.first);
        page.next = earlier
            .map(|(month, _)| Cursor::encode(PROVIDER, CURSOR_VERSION, query, &Place { month: month - 1 }));
        Ok(page)
    }
}
