//! Charging sessions from [DER-Connect](https://docs.der-connect.dev), version 1.
//!
//! A session is a span of [charging](charging_sessions_core::RecordKind::Charge), computed once a day from
//! readings or measured by the maker; nothing is known of the cable. The provider lists sessions by entity; this
//! adapter walks the entities that can charge, or reads only those that a query names.
//!
//! ```no_run
//! use charging_sessions_core::{ChargingSessionSourceExt as _, SessionQuery};
//! use charging_sessions_der_connect::{Config, DerConnect};
//! use futures_util::TryStreamExt as _;
//!
//! # async fn read() -> charging_sessions_core::Result<()> {
//! let source = DerConnect::new(Config::new("client-id", "client-secret".into()))?;
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
//! | DER-Connect | core record |
//! |---|---|
//! | `id` | `identity.key.source_id` |
//! | `entityId` | `parties.vehicle` or `parties.charge_point`, by the type of the entity |
//! | `created` | `provenance.source_created_at` |
//! | `data.start`, `data.end` | `timing.charging_started_at`, `timing.charging_ended_at`; also `timing.period`, basis `charging` |
//! | `data.charge.total.total` | `energy.readings[0]`, it is not known where and how measured |
//! | `data.charge.total.t1` to `t4` | `extra`, as they came |
//! | `data.charge.averagePower` | `power.average` |
//! | `data.charge.start`, `data.charge.end` | `state_of_charge` |
//! | `data.range` | `driving.range_start`, `driving.range_end` |
//! | `data.location` | `place.location` |
//! | `data.locationMatches` | the label of the best one in `place.location`; all of them in `extra` |
//!
//! # Quirks
//!
//! | what | what we do | evidence |
//! |---|---|---|
//! | Units stand beside each value | read; a record with a unit that is not known is rejected with its name | [charge sessions](https://docs.der-connect.dev/api-reference/endpoint/charge-sessions-api/list-charging-records-1) |
//! | Average power does not agree with energy over time | kept; what it is taken over is not known | the same |
//! | Sessions appear up to 24 hours after their end, never while they go on | no active sessions; read a window again after a day | the same |
//! | Whether `end` bounds starts or ends is not stated | asked for [`Config::longest_session`] later, and clipped to the window by start | the same |
//! | Whether `start` itself is included is not stated | asked for a millisecond earlier, and clipped | the same |
//! | The largest page is not stated | 25, the default, unless [`Config::max_page_size`] says more | the same |
//! | The list of entities is documented nowhere; it is taken to be `/v1/entities` | [`Config::entities`] names them instead | [entity object](https://docs.der-connect.dev/api-reference/endpoint/core-resources/entities/entity-object) |
//! | Types are `EV` or `CP` in the guide, `ChargePoint` in the reference, `ChargePole` in an older one | all are read; other types have no sessions | the same |
//! | The accuracy of a location match has no stated unit | kept as it came, not turned into percent | the guide |
//! | Verb and path for the battery capacity are not documented | [`Config::battery_capacity_path`], with `PUT` | |
//! | Host names have changed twice | [`Config::base_url`], [`Config::token_url`], [`Config::scope`] | [authentication](https://docs.der-connect.dev/guides/authenticate.md) |
//! | Limits are not documented | no quota; `Retry-After` is honoured | |

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, dead_code, missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
mod generated;
mod map;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
// Nearly every word of the contract is needed here.
use charging_sessions_core::*;
use charging_sessions_http::{Client, CredentialsIn, OAuth2, Policy, Transport, complete, segment};
use jiff::{SignedDuration, Timestamp, Unit};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

pub use map::Mapping;
pub use settings::Activation;

use generated::{ListChargeSessionsQuery, ListEntitiesQuery};
use map::Envelope;

/// The stable name of this provider.
pub const PROVIDER: ProviderId = ProviderId::new("der-connect");

const API_VERSION: &str = "1";
const CURSOR_VERSION: u8 = 1;
const MAX_PAGE_SIZE: u32 = 25;
const LONGEST_SESSION: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Sessions are computed once a day.
const LATENCY: SignedDuration = SignedDuration::from_hours(24);
/// What the source can do, with the page size and the longest session of [`Config::new`].
pub const CAPABILITIES: Capabilities = Capabilities::none()
    .window()
    .assets(&[AssetKind::Vehicle, AssetKind::ChargePoint])
    .asset_list()
    .max_page_size(MAX_PAGE_SIZE)
    .look_back(SignedDuration::from_secs(LONGEST_SESSION.as_secs() + LATENCY.as_secs()));

/// How to reach a DER-Connect account.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The OAuth client's identifier.
    pub client_id: String,
    /// The OAuth client's secret.
    pub client_secret: SecretString,
    /// The user's own name for the account; part of every key.
    pub account: AccountId,
    /// The root of the API.
    pub base_url: Url,
    /// Where tokens are issued.
    pub token_url: Url,
    /// The scope to ask for; none unless given.
    pub scope: Option<String>,
    /// Pacing and retry.
    pub policy: Policy,
    /// The entities to read when a query names none. Empty: those that the provider lists.
    pub entities: Vec<AssetRef>,
    /// The first instant that is asked for when a query has no window.
    pub history_from: Timestamp,
    /// The longest that a session is expected to last. 7 days.
    pub longest_session: SignedDuration,
    /// The largest page that the provider accepts. 25.
    pub max_page_size: u32,
    /// Where the battery capacity is set; `{entityId}` stands for the entity.
    pub battery_capacity_path: String,
}

impl Config {
    /// The live API.
    pub fn new(client_id: impl Into<String>, client_secret: SecretString) -> Self {
        let url = |url: &str| Url::parse(url).expect("a valid URL");
        Self {
            client_id: client_id.into(),
            client_secret,
            account: AccountId::default(),
            base_url: url("https://api.traxes.io/connect/"),
            token_url: url("https://signin.energy/am/oauth2/realms/root/realms/difesp/access_token"),
            scope: None,
            policy: Policy::default(),
            entities: Vec::new(),
            // 2015-01-01T00:00:00Z, before the first of the provider's services.
            history_from: Timestamp::constant(1_420_070_400, 0),
            longest_session: LONGEST_SESSION,
            max_page_size: MAX_PAGE_SIZE,
            battery_capacity_path: "v1/entities/{entityId}/battery-capacity".into(),
        }
    }
}

/// Charge sessions of the entities of one account. Cheap to clone; clones share the sign-in.
#[derive(Clone, Debug)]
pub struct DerConnect {
    client: Client,
    config: Arc<Config>,
}

impl DerConnect {
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
        let secret = config.client_secret.clone();
        let mut auth = OAuth2::client_credentials(config.token_url.clone(), config.client_id.clone(), secret)
            .credentials_in(CredentialsIn::Body);
        if let Some(scope) = &config.scope {
            auth = auth.scope(scope);
        }
        let client = Client::builder(PROVIDER, config.base_url.clone())
            .transport(transport)
            .auth(auth)
            .policy(config.policy)
            .build()?;
        Ok(Self { client, config: Arc::new(config) })
    }

    /// One page of the entities that can charge.
    async fn entities(&self, token: Option<String>) -> Result<(Vec<Asset>, Option<String>)> {
        let asked = ListEntitiesQuery { page_size: None, continuation_token: token.clone() };
        let request = self.client.get("v1/entities", &asked.pairs())?;
        let read = self.client.send(request, |answer| {
            let (entities, next) = Envelope::read(&answer.body)?;
            let read = |entity: &mut generated::Entity| entity.id.take();
            let entities = complete(&answer.body, &entities, "/data", "entities", read)?;
            Ok((entities.into_iter().filter_map(|(id, entity)| asset(id, entity)).collect(), next))
        });
        let (entities, next) = read.await?;
        Ok((entities, moved(token.as_deref(), next)?))
    }
}

#[async_trait]
impl AssetSource for DerConnect {
    async fn fetch_assets(&self, cursor: Option<&Cursor>) -> Result<AssetPage> {
        let all = SessionQuery::all();
        let token = cursor.map(|cursor| cursor.decode(PROVIDER, CURSOR_VERSION, &all)).transpose()?;
        if !self.config.entities.is_empty() {
            return Ok(AssetPage::new(self.config.entities.iter().cloned().map(Asset::new).collect(), None));
        }
        let (entities, next) = self.entities(token).await?;
        Ok(AssetPage::new(entities, next.map(|next| Cursor::encode(PROVIDER, CURSOR_VERSION, &all, &next))))
    }
}

/// What an entity is to a session; `None` if it has none.
fn asset(id: String, from: generated::Entity) -> Option<Asset> {
    let kind = match from.type_.as_deref()? {
        "EV" => AssetKind::Vehicle,
        "ChargePoint" | "CP" | "ChargePole" => AssetKind::ChargePoint,
        _ => return None,
    };
    let mut asset = Asset::new(AssetRef { kind, id });
    (asset.name, asset.make) = (from.name, from.brand);
    Some(asset)
}

fn references(assets: Vec<Asset>) -> Vec<AssetRef> {
    assets.into_iter().map(|asset| asset.reference).collect()
}

/// A token that is given again would lead in a circle.
fn moved(before: Option<&str>, next: Option<String>) -> Result<Option<String>> {
    if next.is_some() && next.as_deref() == before {
        let message = "the listing does not move: a page names itself as its next";
        return Err(Error::new(ErrorKind::Protocol, message).with_provider(PROVIDER));
    }
    Ok(next)
}

/// Where in the walk we are.
#[derive(Default, Serialize, Deserialize)]
struct Place {
    /// The entities that are still to be read, the first one now.
    entities: Vec<AssetRef>,
    /// The token of that entity's next page.
    token: Option<String>,
    /// The token of the next page of entities.
    more: Option<String>,
}

#[async_trait]
impl ChargingSessionSource for DerConnect {
    fn provider(&self) -> ProviderId {
        PROVIDER
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
            .max_page_size(self.config.max_page_size)
            .look_back(self.config.longest_session.saturating_add(LATENCY))
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        query.check(CAPABILITIES).map_err(|error| error.with_provider(PROVIDER))?;
        let named = if query.assets().is_empty() { &self.config.entities } else { query.assets() };
        let mut place: Place = match cursor {
            Some(cursor) => cursor.decode(PROVIDER, CURSOR_VERSION, query)?,
            None if !named.is_empty() => Place { entities: named.to_vec(), ..Place::default() },
            None => {
                let (entities, more) = self.entities(None).await?;
                Place { entities: references(entities), token: None, more }
            }
        };
        let mut page = SessionPage::default();
        if let Some(entity) = place.entities.first().cloned() {
            let longest = self.config.longest_session;
            let (start, end) = query.window().map_or((self.config.history_from, None), |window| {
                let (after, before) = window.open_bounds(Unit::Millisecond);
                (after, before.checked_add(longest).ok())
            });
            let asked = ListChargeSessionsQuery {
                start: Some(start),
                end,
                page_size: Some(query.page_size_within(self.config.max_page_size).into()),
                continuation_token: place.token.clone(),
            };
            let path = format!("v1/entities/{}/charge-sessions", segment(&entity.id));
            let request = self.client.get(&path, &asked.pairs())?;
            let mapping = Mapping { account: self.config.account.clone(), entity_kind: Some(entity.kind) };
            let read = self.client.send(request, |answer| {
                let (records, next) = Envelope::read(&answer.body)?;
                Ok((mapping.records(&answer.body, &records, answer.received_at), next))
            });
            let (read, next) = read.await?;
            page = read;
            place.token = moved(place.token.as_deref(), next)?;
        }
        query.clip(&mut page.sessions);
        if place.token.is_none() && !place.entities.is_empty() {
            place.entities.remove(0);
        }
        if place.entities.is_empty() && place.more.is_some() {
            let (entities, more) = self.entities(place.more).await?;
            (place.entities, place.more) = (references(entities), more);
        }
        if !place.entities.is_empty() || place.more.is_some() {
            page.next = Some(Cursor::encode(PROVIDER, CURSOR_VERSION, query, &place));
        }
        Ok(page)
    }
}
