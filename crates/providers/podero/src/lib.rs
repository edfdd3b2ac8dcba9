//! Charging sessions from [Podero](https://developers.podero.com), Partner API 2.0.
//!
//! A session is a [stay at the plug](charging_sessions_core::RecordKind::PlugIn), as the vehicle's maker reports
//! it. The provider lists sessions by vehicle; this adapter walks the users of the organisation and their
//! vehicles, or reads only the vehicles that a query names.
//!
//! ```no_run
//! use charging_sessions_core::{ChargingSessionSourceExt as _, SessionQuery};
//! use charging_sessions_podero::{Config, Podero};
//! use futures_util::TryStreamExt as _;
//!
//! # async fn read() -> charging_sessions_core::Result<()> {
//! let source = Podero::new(Config::new("client-id", "client-secret".into(), "organisation-id"))?;
//! let mut sessions = source.sessions(SessionQuery::all());
//! while let Some(session) = sessions.try_next().await? {
//!     println!("{} {:?}", session.key(), session.energy.headline());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where each field goes
//!
//! | Podero | core record |
//! |---|---|
//! | `id` | `identity.key.source_id` |
//! | `plug_in_time`, `unplug_time` | `timing.plugged_in_at`, `timing.unplugged_at`; also `timing.period`, basis `plug_in` |
//! | `inferred_session_end` | `timing.period.end` where the unplugging was not seen, as an inferred end |
//! | `session_outcome` | `state.outcome`; `in_progress` makes the session active |
//! | `energy_charged_kwh` | `energy.readings[0]`, it is not known where and how measured |
//! | `avg_…`, `peak_charge_power_kw` | `power` |
//! | `initial_…`, `final_…`, `target_soc_pct` | `state_of_charge` |
//! | `actual_cost_eur` | `costs.cost` in euros, basis and tax not known |
//! | `actual_savings_eur`, `expected_savings_eur` | `costs.savings`, realised and expected |
//! | `is_at_home` | `place.location.category`: home, or other |
//! | `is_hidden`, `hidden_reason` | `state.hidden` |
//! | `desired_charging_…_time`, `charge_deadline` | `extra`: they are plans, not facts |
//! | `target_reachable`, `reachable_soc_pct` | `extra` |
//! | user and vehicle of the path | `parties.user_id`, `parties.vehicle.source_id` |
//!
//! # Quirks
//!
//! | what | what we do | evidence |
//! |---|---|---|
//! | The list of "completed" sessions has the outcome `in_progress` and ends that are null | active if in progress, else completed; the end is reported, inferred or unknown | [reference](https://developers.podero.com/api-reference/electric-vehicle-sessions/get-the-currently-active-charging-session-for-an-electric-vehicle) |
//! | `from` and `to` are UTC days, both included, and required | a window is widened to days and clipped to the instant; without a window, days from [`Config::history_from`] to tomorrow | the same |
//! | On which instant days select is not stated | taken to be `plug_in_time` | the same |
//! | Paging by offset, in an order that is not stated | each page repeats the last record of the one before; if that moved or `total` changed, the vehicle is read again | [decision 8](https://github.com/charging-sessions/charging-sessions/blob/main/docs/decisions/0008-offset-paging.md) |
//! | Sessions hidden from users are left out unless asked for | always asked for, and flagged, so that totals can be explained | the same |
//! | All money is in euros, also where the price zone has another currency | euros, as the names of the fields say | the same |
//! | What the cost covers, and the tax in it, is not stated | basis and tax not known | the same |
//! | The token endpoint wants HTTP Basic and a JSON body; documents name two addresses | `/oauth2/token/` at the base URL's origin, or [`Config::token_url`] | [authentication](https://developers.podero.com/partner-api/overview/authentication) |
//! | Limits are not documented | no quota; `Retry-After` is honoured | |

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, dead_code, missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
mod generated;
mod map;
mod walk;

use std::sync::Arc;

use async_trait::async_trait;
// Nearly every word of the contract is needed here.
use charging_sessions_core::*;
use charging_sessions_http::{BodyFormat, Client, OAuth2, Policy, Transport, segment, token_url};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::Offset};
use secrecy::SecretString;
use url::Url;

pub use map::Mapping;

use generated::ListSessionsQuery;
use walk::{Place, Roster};

/// The stable name of this provider.
pub const PROVIDER: ProviderId = ProviderId::new("podero");

const API_VERSION: &str = "2.0";
const CURSOR_VERSION: u8 = 1;
const MAX_PAGE_SIZE: u32 = 200;
/// What the source can do.
pub const CAPABILITIES: Capabilities = Capabilities::none()
    .window()
    .assets(&[AssetKind::Vehicle])
    .active_sessions()
    .cost()
    .asset_list()
    .look_back(SignedDuration::from_hours(3 * 24))
    .max_page_size(MAX_PAGE_SIZE);

/// How to reach the organisation's account.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The OAuth client's identifier.
    pub client_id: String,
    /// The OAuth client's secret.
    pub client_secret: SecretString,
    /// The organisation, as the provider's account manager names it.
    pub organisation_id: String,
    /// The user's own name for the account; part of every key.
    pub account: AccountId,
    /// The origin of the API.
    pub base_url: Url,
    /// Where tokens are issued; `/oauth2/token/` at the base URL's origin unless given.
    pub token_url: Option<Url>,
    /// Pacing and retry.
    pub policy: Policy,
    /// The first day that is asked for when a query has no window.
    pub history_from: Date,
}

impl Config {
    /// The live API.
    pub fn new(
        client_id: impl Into<String>,
        client_secret: SecretString,
        organisation_id: impl Into<String>,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret,
            organisation_id: organisation_id.into(),
            account: AccountId::default(),
            base_url: Url::parse("https://app.podero.com").expect("a valid URL"),
            token_url: None,
            policy: Policy::default(),
            history_from: Date::constant(2020, 1, 1),
        }
    }
}

/// Sessions of the vehicles of one organisation.
///
/// Cheap to clone; clones share the sign-in, and what is known of users and vehicles.
#[derive(Clone, Debug)]
pub struct Podero {
    client: Client,
    organisation: String,
    account: AccountId,
    history_from: Date,
    roster: Arc<tokio::sync::Mutex<Roster>>,
}

impl Podero {
    /// A source for `config` over the default HTTP stack. Sends nothing until the first page is fetched.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if a URL cannot be used.
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
        let token_url = token_url(config.token_url, &config.base_url, "/oauth2/token/")
            .map_err(|error| error.with_provider(PROVIDER))?;
        let auth = OAuth2::client_credentials(token_url, config.client_id, config.client_secret)
            .body_format(BodyFormat::Json);
        let client = Client::builder(PROVIDER, config.base_url)
            .transport(transport)
            .auth(auth)
            .policy(config.policy)
            .build()?;
        Ok(Self {
            client,
            organisation: segment(&config.organisation_id),
            account: config.account,
            history_from: config.history_from,
            roster: Arc::default(),
        })
    }

    /// The session that is going on at this vehicle, if there is one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the user or the vehicle is not known, any other kind if the request failed.
    pub async fn current_session(&self, user_id: &str, vehicle_id: &str) -> Result<Option<ChargingSession>> {
        let mapping = self.mapping(user_id, vehicle_id);
        let request = self.client.get(&(self.sessions_path(user_id, vehicle_id) + "/current"), &[])?;
        self.client.send(request, |answer| mapping.current(&answer.body, answer.received_at)).await
    }

    fn path(&self, below: &str) -> String {
        format!("api/partners/v{API_VERSION}/org/{}/users{below}", self.organisation)
    }

    fn sessions_path(&self, user_id: &str, vehicle_id: &str) -> String {
        self.path(&format!("/{}/electric-vehicles/{}/sessions", segment(user_id), segment(vehicle_id)))
    }

    fn mapping(&self, user_id: &str, vehicle_id: &str) -> Mapping {
        let (user_id, vehicle_id) = (Some(user_id.into()), Some(vehicle_id.into()));
        Mapping { account: self.account.clone(), user_id, vehicle_id }
    }
}

#[async_trait]
impl ChargingSessionSource for Podero {
    fn provider(&self) -> ProviderId {
        PROVIDER
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        query.check(CAPABILITIES).map_err(|error| error.with_provider(PROVIDER))?;
        let place: Option<Place> = match cursor {
            None => self.after(query, None).await?,
            Some(cursor) => Some(cursor.decode(PROVIDER, CURSOR_VERSION, query)?),
        };
        let Some(mut place) = place else { return Ok(SessionPage::default()) };
        let tomorrow = Offset::UTC.to_datetime(Timestamp::now() + SignedDuration::from_hours(24)).date();
        let (from, to) = query.window().map_or((self.history_from, tomorrow), |window| window.utc_days());
        let size = query.page_size_within(MAX_PAGE_SIZE);
        let path = self.sessions_path(&place.user, &place.vehicle);
        let ask = |offset: u64, overlap: u32| {
            let asked = ListSessionsQuery {
                from: Some(from),
                to: Some(to),
                // One more, because the first is the last of the page before.
                limit: Some((size + overlap).min(MAX_PAGE_SIZE).into()),
                offset: i64::try_from(offset).ok(),
                include_hidden: Some(true),
            };
            self.client.get(&path, &asked.pairs())
        };
        let request = ask(place.list.offset(), place.list.overlap())?;
        let mapping = self.mapping(&place.user, &place.vehicle);
        let (mut page, ids) =
            self.client.send(request, |answer| mapping.listed(&answer.body, answer.received_at)).await?;
        // If the listing moved under us, what came is delivered all the same, and once more when it is read again.
        place.list.take(&mut page, &ids).map_err(|error| error.with_provider(PROVIDER))?;
        self.client.expect(&format!("{path} {from} {to}"), place.list.ahead().map(|offset| ask(offset, 1)));
        let next = if place.list.is_done() { self.after(query, Some(&place)).await? } else { Some(place) };
        query.clip(&mut page.sessions);
        page.next = next.map(|place| Cursor::encode(PROVIDER, CURSOR_VERSION, query, &place));
        Ok(page)
    }
}
