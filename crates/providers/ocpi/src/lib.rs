//! Charging sessions and charge detail records over [OCPI](https://evroaming.org/ocpi), versions 2.1.1, 2.2.1 and
//! 2.3.0.
//!
//! The other side is a party that *sends*: a charge point operator, or a hub. This adapter is the receiver that
//! reads, and does nothing else: it registers nowhere and changes nothing. It needs a token that the party has given
//! out, and where the party lists its versions.
//!
//! ```no_run
//! use charging_sessions_core::{ChargingSessionSourceExt as _, SessionQuery};
//! use charging_sessions_ocpi::{Config, Ocpi};
//! use futures_util::TryStreamExt as _;
//!
//! # async fn read() -> charging_sessions_core::Result<()> {
//! let versions = "https://cpo.example/ocpi/versions".parse().expect("an address");
//! let party = Ocpi::new(Config::new(versions, "token".into()))?;
//! let billed = party.cdrs();
//! let mut records = billed.sessions(SessionQuery::all());
//! while let Some(record) = records.try_next().await? {
//!     println!("{} {:?}", record.key(), record.costs.cost);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A source lists [sessions](charging_sessions_core::RecordKind::PlugIn); another one of the same party,
//! [`Ocpi::cdrs`], lists [what was billed](charging_sessions_core::RecordKind::BillingRecord). Never add up the two.
//! A record that takes another back has no energy here, and a negative cost: so sums of energy count nothing twice, and
//! sums of cost come out right.
//!
//! # Where each field goes
//!
//! | OCPI | core record |
//! |---|---|
//! | `country_code`, `party_id`, `id` | `identity.key.source_id`, in small letters; as they were written in `extra` |
//! | `start_date_time`, `end_date_time`, and what 2.1.1 calls them | `timing.period`, basis `authorisation` |
//! | `status` | `state.status` |
//! | `kwh`, `total_energy` | `energy.readings[0]`, at the output of the charge point; of a record that takes another back in `extra` |
//! | `total_time`, and less `total_parking_time` | `timing.connected_for`, `timing.charging_for` |
//! | `charging_periods` | `details.intervals`: ENERGY, MAX_POWER, STATE_OF_CHARGE; also `timing.charging_started_at` and `…ended_at`, `power.max`, `state_of_charge` |
//! | other dimensions of `charging_periods` | the raw payload only |
//! | `total_cost`, `currency` | `costs.cost`, without tax; the tax and its kinds in `costs.components` and `extra` |
//! | `total_energy_cost` and its kin | `costs.components`, without tax |
//! | `tariffs`, `charging_periods[].tariff_id` | `parties.tariff_id`: the first; rules of prices stay in the raw payload |
//! | `session_id` | `identity.parent` |
//! | `credit`, `credit_reference_id` | `identity.related`: takes back the cost of the other |
//! | `cdr_token`, `auth_id` | `parties.token` |
//! | `location`, `cdr_location`, `evse_uid`, `connector_id` | `place.location`, `parties.charge_point`, `extra` |
//! | `home_charging_compensation` | `place.location.category` is home; `extra` |
//! | `meter_id` | `energy.registers.meter_id` |
//! | `signed_data` | `details.signed`, byte for byte |
//! | `last_updated` | `provenance.source_updated_at` |
//! | `auth_method`, `authorization_reference`, `remark`, `invoice_reference_id` | `extra` |
//! | what no version knows, such as `total_discount` | `extra`, under its own name |
//!
//! # Quirks
//!
//! | what | what we do | evidence |
//! |---|---|---|
//! | The filter is on `last_updated`; there is none by start | changes since an instant, and no windows | [sessions](https://github.com/ocpi/ocpi/blob/3979887793d934cdc64e2ca2c78b89cbbf79d56f/mod_sessions.asciidoc) |
//! | A record that is updated while a client pages moves its neighbours, and one is passed over | the listing is held still at [`Config::lag`] before its begin, each page repeats a record of the one before, and what was changed since comes at the end | [transport](https://github.com/ocpi/ocpi/blob/3979887793d934cdc64e2ca2c78b89cbbf79d56f/transport_and_format.asciidoc) |
//! | `date_from` is included, and in 2.1.1 it is "after" | asked for a second earlier there, and clipped | [2.1.1](https://github.com/ocpi/ocpi/tree/release-2.1.1-bugfixes) |
//! | `Link` may be empty, name another host, or hold `None` | only its `offset` is read; without one, `X-Total-Count` and the records themselves tell | seen of a server |
//! | HTTP 200 is no success: `status_code` is, and an empty list may come with 3000 | an error of its kind | transport |
//! | A wrong token may be answered with 403 in a framework's own words | refused credentials | seen of a server |
//! | The token is sent as it is in 2.1.1, in Base64 since 2.2, and many mix that up | [`TokenForm::Auto`] tries both | the same |
//! | The worked example encodes a line end | never part of the token | the same |
//! | Identifiers compare without case, and some servers write all small | the key is in small letters | seen of a server |
//! | 2.1.1 names no owner | the key is the identifier alone, so that another version makes other records | |
//! | Addresses in the list of versions may have another scheme or port | only their path is read; one on another host is refused, because the token is not meant for it | seen of a server |
//! | The `Z` may be missing, and `1970-1-1T00:00:00Z` stands for not known | UTC; left out with an issue | [types](https://github.com/ocpi/ocpi/blob/3979887793d934cdc64e2ca2c78b89cbbf79d56f/types.asciidoc) |
//! | Servers of 2.1.1 write `end_date_time` for `stop_date_time`, as later versions do | read where the right one is not given | seen of a server |
//! | `#NA` stands for an identifier that does not exist | left out | transport |
//! | A credit record repeats the energy of the one that it takes back | kept in `extra`, not as energy | [records](https://github.com/ocpi/ocpi/blob/3979887793d934cdc64e2ca2c78b89cbbf79d56f/mod_cdrs.asciidoc) |
//! | Prices are net in 2.1.1, net and gross in 2.2.1, net and taxes in 2.3.0 | net in all of them, with the tax beside it | types |
//! | Required fields are missing, optional ones null | read as far as they are there | seen of a server |
//! | Requests are to be hours apart | that is up to the caller; no quota | transport |

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod common;
mod config;
mod envelope;
#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, dead_code, missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
mod generated;
mod map;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
// Nearly every word of the contract is needed here.
use charging_sessions_core::*;
use charging_sessions_http::{
    Authenticator, Client, EitherHeader, NextPage, SlidingPlace, StaticHeader, Transport, link, unique_id,
};
use http::{HeaderName, header};
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use url::Url;

pub use config::{Config, Module, Party, TokenForm, Version};
pub use map::Mapping;

use generated::{ListSessions221Query, VersionDetails};

/// The stable name of this provider.
pub const PROVIDER: ProviderId = ProviderId::new("ocpi");

const CURSOR_VERSION: u8 = 1;
const MAX_PAGE_SIZE: u32 = 100;
/// The parameters of a request that its links repeat.
const OWN: [&str; 3] = ["date_from", "date_to", "limit"];
/// What the source of sessions can do, with the page size of [`Config::new`].
pub const CAPABILITIES: Capabilities =
    Capabilities::none().updated_since().active_sessions().cost().max_page_size(MAX_PAGE_SIZE);
/// What the source of [charge detail records](Ocpi::cdrs) can do.
pub const CDR_CAPABILITIES: Capabilities =
    Capabilities::none().updated_since().cost().max_page_size(MAX_PAGE_SIZE);

/// Sessions of one party, or its [charge detail records](Self::cdrs).
///
/// Cheap to clone; clones share how the token is written, and what is known of the party's versions.
#[derive(Clone, Debug)]
pub struct Ocpi {
    client: Client,
    config: Arc<Config>,
    module: Module,
    found: Arc<OnceCell<Found>>,
}

/// The version that is spoken, and the addresses of its modules, as they are written.
#[derive(Clone, Debug, Default)]
struct Found {
    version: Option<Version>,
    modules: BTreeMap<Module, String>,
}

impl Ocpi {
    /// A source of sessions for `config` over the default HTTP stack. Sends nothing until the first page is fetched.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if an address, a party or the lag cannot be used.
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
        let origin = origin(&config).map_err(named)?;
        let mut client = Client::builder(PROVIDER, origin)
            .transport(transport)
            .auth(sign_in(&config))
            .identified_by(HeaderName::from_static("x-request-id"))
            // All that one source asks belongs together.
            .header_text(HeaderName::from_static("x-correlation-id"), unique_id().as_str())
            .policy(config.policy)
            .dialect(envelope::DIALECT);
        let routes = [
            ("ocpi-from-country-code", "ocpi-from-party-id", &config.from),
            ("ocpi-to-country-code", "ocpi-to-party-id", &config.to),
        ];
        for (country, code, party) in routes {
            let Some(party) = party else { continue };
            client = client
                .header_text(HeaderName::from_static(country), party.country_code.as_str())
                .header_text(HeaderName::from_static(code), party.party_id.as_str());
        }
        Ok(Self {
            client: client.build()?,
            config: Arc::new(config),
            module: Module::Sessions,
            found: Arc::default(),
        })
    }

    /// The same party, listing charge detail records instead: what was billed. They name their session as their
    /// parent, and records that they take back as related.
    #[must_use]
    pub fn cdrs(&self) -> Self {
        Self { module: Module::Cdrs, ..self.clone() }
    }

    /// What it lists.
    pub fn module(&self) -> Module {
        self.module
    }

    /// The version to speak and the path of the module in it.
    async fn endpoint(&self) -> Result<(Version, String)> {
        let module = self.module.as_str();
        let found = self.found.get_or_try_init(|| self.discover()).await?;
        let Some(version) = found.version else {
            return Err(wrong("there is no version: give one, or the address of the versions".into()));
        };
        let Some(address) = found.modules.get(&self.module) else {
            return Err(wrong(format!("the party sends no `{module}` in its version {version}")));
        };
        Ok((version, link::path(self.client.base_url(), Some(address), module).map_err(named)?))
    }

    /// Asks where things are, as far as the configuration does not say.
    async fn discover(&self) -> Result<Found> {
        let config = &self.config;
        let given = [(Module::Sessions, &config.sessions_url), (Module::Cdrs, &config.cdrs_url)];
        let given =
            given.into_iter().filter_map(|(module, url)| Some((module, url.as_ref()?.path().to_owned())));
        let mut found = Found { version: config.version, modules: given.collect() };
        let is_known = found.version.is_some() && found.modules.len() == Module::ALL.len();
        let Some(versions_url) = config.versions_url.as_ref().filter(|_| !is_known) else { return Ok(found) };
        let versions: Vec<generated::Version> = self.read(versions_url.path()).await?;
        let offer = |wanted: Version| {
            versions.iter().find(|offer| offer.version.as_deref().and_then(Version::named) == Some(wanted))
        };
        let chosen = match config.version {
            Some(version) => offer(version).map(|offer| (version, offer)),
            None => Version::ALL.into_iter().find_map(|version| Some((version, offer(version)?))),
        };
        let Some((version, offer)) = chosen else {
            let offered: Vec<_> = versions.iter().filter_map(|offer| offer.version.as_deref()).collect();
            let wanted =
                config.version.map_or("2.1.1, 2.2.1 and 2.3.0".to_owned(), |version| version.to_string());
            let offered: String = offered.join(", ").chars().take(100).collect();
            let offered = if offered.is_empty() { "no version" } else { &offered };
            return Err(wrong(format!("the party speaks {}, and we {wanted}", offered.escape_debug())));
        };
        found.version = Some(version);
        let path =
            link::path(versions_url, offer.url.as_deref(), "the details of its version").map_err(named)?;
        let details: VersionDetails = self.read(&path).await?;
        for endpoint in details.endpoints.unwrap_or_default() {
            let is_sender = endpoint.role.is_none_or(|role| role.eq_ignore_ascii_case("SENDER"));
            let identifier = endpoint.identifier.as_deref().map(str::to_ascii_lowercase);
            let module =
                Module::ALL.into_iter().find(|module| identifier.as_deref() == Some(module.as_str()));
            if let (Some(module), Some(url)) = (module.filter(|_| is_sender), endpoint.url) {
                found.modules.entry(module).or_insert(url);
            }
        }
        Ok(found)
    }

    async fn read<T: serde::de::DeserializeOwned + Default>(&self, path: &str) -> Result<T> {
        let request = self.client.get(path, &[])?;
        self.client.send(request, |answer| envelope::data(&answer.body)).await
    }

    /// Where a listing begins.
    fn start(&self, query: &SessionQuery, version: Version) -> Place {
        let from = query.updated_since().unwrap_or(self.config.history_from);
        let until = (self.config.now)().checked_sub(self.config.lag).map(to_second).ok();
        let until = until.filter(|until| *until > from);
        Place { module: self.module, version, from, until, link: None, list: SlidingPlace::default() }
    }
}

/// Where in a listing we are.
///
/// It has two parts. The first ends at a fixed instant that has passed: a record that is changed meanwhile leaves it,
/// and nothing joins. The second begins there and has no end: a record that is changed joins it, and nothing leaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    module: Module,
    version: Version,
    /// When what is listed was last updated, at the earliest.
    from: Timestamp,
    /// The end of the first part.
    until: Option<Timestamp>,
    /// The query of the link to the next page, where the provider pages by something other than offsets.
    link: Option<String>,
    list: SlidingPlace,
}

impl Place {
    fn ask(&self, size: u32, largest: u32, offset: u64) -> ListSessions221Query {
        // Older words for the bound leave open whether it is included.
        let earlier = SignedDuration::from_secs(if self.version == Version::V2_1_1 { 1 } else { 0 });
        let from = self.from.checked_sub(earlier).map_or(self.from, to_second);
        let overlap = self.list.overlap();
        let limit = size.saturating_add(overlap).min(largest).max(overlap + 1);
        ListSessions221Query {
            date_from: Some(to_second(from).to_string()),
            date_to: self.until.map(|until| until.to_string()),
            offset: i64::try_from(offset).ok(),
            limit: Some(limit.into()),
        }
    }

    /// What follows the part of the listing that was read to its end.
    fn after(self) -> Option<Self> {
        let from = self.until?;
        Some(Self { from, until: None, link: None, list: SlidingPlace::default(), ..self })
    }
}

#[async_trait]
impl ChargingSessionSource for Ocpi {
    fn provider(&self) -> ProviderId {
        PROVIDER
    }

    fn capabilities(&self) -> Capabilities {
        let capabilities = if self.module == Module::Cdrs { CDR_CAPABILITIES } else { CAPABILITIES };
        capabilities.max_page_size(self.config.max_page_size)
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        query.check(self.capabilities()).map_err(named)?;
        let stored: Option<Place> =
            cursor.map(|cursor| cursor.decode(PROVIDER, CURSOR_VERSION, query)).transpose()?;
        let elsewhere = |what: &str| {
            let text = format!("the cursor belongs to a listing of {what}; start the listing again");
            named(Error::new(ErrorKind::InvalidCursor, text))
        };
        if stored.as_ref().is_some_and(|place| place.module != self.module) {
            return Err(elsewhere("another module"));
        }
        let (version, path) = self.endpoint().await?;
        let mut place = stored.unwrap_or_else(|| self.start(query, version));
        if place.version != version {
            return Err(elsewhere("another version"));
        }
        let largest = self.config.max_page_size;
        let size = query.page_size_within(largest);
        let asked = place.ask(size, largest, place.list.offset());
        let request = match &place.link {
            None => self.client.get(&path, &asked.pairs())?,
            Some(link) => {
                let conditions = asked.pairs().into_iter().filter(|(name, _)| *name != "offset");
                self.client.get_with_query(&path, &link::with_conditions(link, conditions))?
            }
        };
        let mapping = Mapping { account: self.config.account.clone(), ..Mapping::new(self.module, version) };
        let read = self.client.send(request, |answer| {
            let total = answer.headers.get("x-total-count");
            let total = total.and_then(|total| total.to_str().ok()?.trim().parse().ok());
            Ok((
                mapping.listed(&answer.body, answer.received_at)?,
                NextPage::of(&answer.headers, &OWN),
                total,
            ))
        });
        let ((mut page, ids), next, total) = read.await?;
        let is_done = match next {
            // Whoever pages by a word of its own knows where it ends.
            NextPage::Query(link) if place.link.as_ref() != Some(&link) => {
                place.link = Some(link);
                false
            }
            NextPage::Query(_) => {
                let message = "the listing does not move: a page names itself as its next";
                return Err(named(Error::new(ErrorKind::Protocol, message)));
            }
            NextPage::Unsaid if place.link.is_some() => true,
            NextPage::Unsaid | NextPage::Offset(_) => {
                let end = place.list.offset().saturating_add(asked.limit.map_or(0, i64::unsigned_abs));
                place.list.take(&mut page, &ids, total, next.offset_up_to(end)).map_err(named)?;
                let ask = |offset| self.client.get(&path, &place.ask(size, largest, offset).pairs());
                let listing = format!("{path} {:?} {:?}", place.from, place.until);
                self.client.expect(&listing, place.list.ahead().map(ask));
                place.list.is_done()
            }
        };
        if let Some(since) = query.updated_since() {
            // The bound is asked for in whole seconds, and by some a little earlier.
            let is_old =
                |session: &ChargingSession| session.provenance.source_updated_at.is_some_and(|at| at < since);
            page.sessions.retain(|session| !is_old(session));
        }
        let next = if is_done { place.after() } else { Some(place) };
        page.next = next.map(|place| Cursor::encode(PROVIDER, CURSOR_VERSION, query, &place));
        Ok(page)
    }
}

fn wrong(text: String) -> Error {
    named(Error::new(ErrorKind::Config, text))
}

fn named(error: Error) -> Error {
    error.with_provider(PROVIDER)
}

/// The token in the form that was configured, or found out: in Base64 first, because a server that expects it as it is
/// says no to that, while one that expects Base64 may fail in odd ways.
fn sign_in(config: &Config) -> Arc<dyn Authenticator> {
    // The worked example of the standard encodes a line end, which servers refuse.
    let raw = config.token.expose_secret().trim_end_matches(['\r', '\n']);
    let written = |token: &str| StaticHeader::new(header::AUTHORIZATION, format!("Token {token}").into());
    let encoded = || written(&BASE64_STANDARD.encode(raw));
    match config.token_form {
        TokenForm::Raw => Arc::new(written(raw)),
        TokenForm::Base64 => Arc::new(encoded()),
        TokenForm::Auto => Arc::new(EitherHeader::new(encoded(), written(raw))),
    }
}

/// The second that holds an instant: not every server reads parts of one.
fn to_second(instant: Timestamp) -> Timestamp {
    instant.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor)).unwrap_or(instant)
}

/// The one origin of all addresses of the configuration, because there is one token.
fn origin(config: &Config) -> Result<Url> {
    const MOST_LAG: SignedDuration = SignedDuration::from_hours(1);
    if config.lag.is_negative() || config.lag > MOST_LAG {
        return Err(wrong("the lag is not between nothing and an hour".into()));
    }
    let urls = [&config.versions_url, &config.sessions_url, &config.cdrs_url];
    let mut urls = urls.into_iter().flatten();
    let first = urls.next().ok_or_else(|| {
        wrong("there is no address: give that of the versions, or of the module that is to be read".into())
    })?;
    if urls.clone().any(|url| url.origin() != first.origin()) {
        return Err(wrong(
            "the addresses have different origins, and there is one token: configure one of them".into(),
        ));
    }
    if urls.chain([first]).any(|url| url.query().is_some()) {
        return Err(wrong("an address has a query; give it without".into()));
    }
    if config.versions_url.is_none() && config.version.is_none() {
        return Err(wrong("without the address of the versions, the version must be given".into()));
    }
    let mut origin = first.clone();
    origin.set_path("/");
    Ok(origin)
}
