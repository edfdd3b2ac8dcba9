//! Charging sessions from [ev.energy](https://developers.ev.energy), API version 2.
//!
//! This adapter reads *sub-sessions*: one record for each stretch of a stay at the plug during which one
//! charging mode was active. They are [segments](charging_sessions_core::RecordKind::Segment); their start and
//! end bound the mode, and are neither plug times nor the flow of energy.
//!
//! ```no_run
//! use charging_sessions_core::{ChargingSessionSourceExt as _, SessionQuery};
//! use charging_sessions_ev_energy::{Config, EvEnergy};
//! use futures_util::TryStreamExt as _;
//!
//! # async fn read() -> charging_sessions_core::Result<()> {
//! let source = EvEnergy::new(Config::new("client-id", "client-secret".into()))?;
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
//! | ev.energy | core record |
//! |---|---|
//! | `id` | `identity.key.source_id` |
//! | `start`, `end` | `timing.period`, basis `mode`; `state.status` is active while `end` is null |
//! | `mode` | `state.mode`; `UNMANAGED_HOME` and the two `…_OTG` also `place.location.category` |
//! | `vehicle`, `evse` | `parties.vehicle`, `parties.charge_point`: the identifier of the link; expanded also name, make, model, battery, user |
//! | `energy_delivered_watt_hours` | `energy.readings[0]`, net, at the vehicle's inlet |
//! | `grid_…`, `solar_energy_delivered_watt_hours` | `energy.sources` |
//! | `cost`, `currency` | `costs.cost`, by the provider's tariff, tax not known |
//! | `cost_per_kilowatt_hour` | `costs.price_per_kwh` |
//! | `savings_cost`, `incentive_earned` | `costs.savings`, `costs.incentive` |
//! | `total_points`, `total_points_missed` | `costs.points` |
//! | `total_co2_grams`, `co2_intensity_…`, `savings_co2_grams` | `emissions` |
//! | `duration_minutes` | `timing.charging_for` |
//! | `percentage_added` | `state_of_charge.added` |
//! | `location` | `place.location`; its `timezone` is `timing.zone` |
//! | `labels` | `place.labels` |
//! | `tariff` | `parties.tariff_id`; expanded also the name, and `extra` |
//! | `energy_usage` (expanded) | `details.intervals`, `timing.charging_started_at` and `…ended_at`, `provenance.source_updated_at` |
//! | `debug_metadata` (expanded) | the method of the reading, `state.end_reason`, the issue `energy.capped`, `extra` |
//! | `flags`, `schedules`, `carbon_feed`, `grid_feeds`, `solar_mode_type`, `grid_energy_delivered`, `solar_energy_delivered` | `extra`, under their own names |
//! | `url`, `assessment`, and what is not named here | the raw payload only |
//!
//! # Quirks
//!
//! | what | what we do | evidence |
//! |---|---|---|
//! | The unit of `cost` and `cost_per_kilowatt_hour` is not stated; neighbouring amounts are in minor units | minor units, or [`CostUnit::Major`] by configuration | [OpenAPI document](https://developers.ev.energy/_spec/ev.energy-API-v2.yaml) |
//! | It is not stated whether cost includes tax | tax unknown | the same |
//! | It is not stated whether savings came true or are estimated | `unknown` | the same |
//! | `energy_delivered_by_price` is one object in the schema and a list in the prose | both are read | the same |
//! | The price of a merged interval is a sum of prices | left out when intervals are merged | the same |
//! | Documentation of `page_before` and `page_after` contradicts itself | cursors are never made, only the `Link` header followed | [pagination](https://developers.ev.energy/docs/pagination) |
//! | Next-links may carry another host | only their query is read | the same |
//! | `start__gt` excludes its bound (from its name; not stated) | asked for one microsecond less, and what lies outside the window is left out here | the OpenAPI document |
//! | The wait after 429 is spelt `Retry-After` or `RetryAfter` | both are read | [rate limits](https://developers.ev.energy/docs/rate_limiting) |
//! | 1,000 requests in any rolling hour, shared by all client-credentials traffic | that is the default [`Policy`]; bursts are allowed | the same |
//! | Energy and cost may be corrected after the end, without a sign | no `updated_since`; read a window again after some days | [webhooks](https://developers.ev.energy/docs/webhooks) |
//! | `EvEnergy-User` is a user's URL in one place and an identifier in another | [`Config::acting_user`] is sent as given | [user header](https://developers.ev.energy/docs/user-header) |
//! | `end` is `null` while a sub-session runs, and figures are then partial | status active | the OpenAPI document |

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, dead_code, missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
mod generated;
mod map;
mod options;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use charging_sessions_core::{
    AssetKind, Capabilities, ChargingSessionSource, Cursor, Error, ErrorKind, IntervalSource, ProviderId,
    RecordKind, Result, SessionIntervals, SessionKey, SessionPage, SessionQuery,
};
use charging_sessions_http::{Client, Dialect, OAuth2, Policy, Quota, Transport, link, segment, token_url};
use http::{HeaderName, HeaderValue};
use jiff::{RoundMode, SignedDuration, TimestampRound, Unit};
use serde::{Deserialize, Serialize};

use generated::ListChargingSubSessionsQuery;
pub use map::{CostUnit, Mapping};
pub use options::{Config, Expand, Filter};

/// The stable name of this provider.
pub const PROVIDER: ProviderId = ProviderId::new("ev-energy");

const API_VERSION: &str = "2";
const CURSOR_VERSION: u8 = 1;
const MAX_PAGE_SIZE: u32 = 100;
/// What the source can do.
pub const CAPABILITIES: Capabilities = Capabilities::none()
    .window()
    .assets(&[AssetKind::Vehicle, AssetKind::ChargePoint])
    .finished()
    .active_sessions()
    .cost()
    .intervals()
    .look_back(SignedDuration::from_hours(7 * 24))
    .max_page_size(MAX_PAGE_SIZE);

const DIALECT: Dialect = Dialect::new()
    .with_retry_after(&["retry-after", "retryafter"])
    .with_remaining(&["x-ratelimit-remaining"]);

/// The limits that ev.energy documents: 1,000 requests in any rolling hour.
pub fn default_policy() -> Policy {
    Policy::default().with_quota(Some(Quota::new(1000, Duration::from_secs(3600))))
}

/// Sub-sessions of one ev.energy account.
///
/// Cheap to clone; clones share the sign-in and the quota.
#[derive(Clone, Debug)]
pub struct EvEnergy {
    client: Client,
    mapping: Mapping,
    /// What every listing is asked for.
    listing: ListChargingSubSessionsQuery,
    merge_intervals: bool,
}

impl EvEnergy {
    /// A source for `config` over the default HTTP stack. Sends nothing until the first page is fetched.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if a URL or the acting user cannot be used.
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
        let Config { client_id, client_secret, base_url, token_url: configured, acting_user, policy, .. } =
            config;
        let refused = |message: &str| Error::new(ErrorKind::Config, message).with_provider(PROVIDER);
        let token_url =
            token_url(configured, &base_url, "/o/token/").map_err(|error| error.with_provider(PROVIDER))?;
        let acting_user = acting_user
            .map(|user| HeaderValue::from_str(&user))
            .transpose()
            .map_err(|_| refused("the acting user is not usable in a header"))?;
        let mut client = Client::builder(PROVIDER, base_url)
            .transport(transport)
            .header(HeaderName::from_static("evenergy-version"), HeaderValue::from_static(API_VERSION))
            .auth(OAuth2::client_credentials(token_url, client_id, client_secret))
            .policy(policy)
            .dialect(DIALECT);
        if let Some(user) = acting_user {
            client = client.header(HeaderName::from_static("evenergy-user"), user);
        }
        let client = client.build()?;
        let mapping = Mapping { account: config.account, cost_unit: config.cost_unit };
        let listing = config.filter.into_conditions(&config.expand);
        Ok(Self { client, mapping, listing, merge_intervals: config.merge_intervals })
    }

    /// What a listing is asked for, apart from where in it.
    fn conditions(&self, query: &SessionQuery, asset: usize) -> Vec<(&'static str, String)> {
        let mut conditions = self.listing.clone();
        conditions.page_size = Some(query.page_size_within(MAX_PAGE_SIZE).into());
        if let Some(window) = query.window() {
            // Both bounds are excluded, and instants resolve microseconds. What is asked for too widely is clipped.
            let to_micros = TimestampRound::new().smallest(Unit::Microsecond);
            let from = window.from().round(to_micros.mode(RoundMode::Floor)).ok();
            conditions.start_gt = from.and_then(|from| from.checked_sub(SignedDuration::from_micros(1)).ok());
            conditions.start_lt = window.until().round(to_micros.mode(RoundMode::Ceil)).ok();
        }
        if let Some(asset) = query.assets().get(asset) {
            match asset.kind {
                AssetKind::Vehicle => conditions.vehicle_id = Some(asset.id.clone()),
                AssetKind::ChargePoint => conditions.evse_id = Some(asset.id.clone()),
            }
        }
        conditions.is_finished = query.finished();
        conditions.pairs()
    }
}

/// Where in a listing we are. The provider lists one asset at a time, so several are read one after another.
#[derive(Default, Serialize, Deserialize)]
struct Place {
    /// Which of the query's assets.
    asset: usize,
    /// The query of the provider's next-link; `None` at the start of an asset.
    next: Option<String>,
    /// The source's own options, because a place in one listing is none in another.
    options: String,
}

#[async_trait]
impl ChargingSessionSource for EvEnergy {
    fn provider(&self) -> ProviderId {
        PROVIDER
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        query.check(CAPABILITIES).map_err(|error| error.with_provider(PROVIDER))?;
        let options = link::with_conditions("", self.listing.pairs());
        let mut place = match cursor {
            None => Place { options, ..Place::default() },
            Some(cursor) => {
                let place: Place = cursor.decode(PROVIDER, CURSOR_VERSION, query)?;
                let assets = query.assets().len().max(1);
                if place.options != options || place.asset >= assets {
                    let message =
                        "the cursor belongs to a source with other options; start the listing again";
                    return Err(Error::new(ErrorKind::InvalidCursor, message).with_provider(PROVIDER));
                }
                place
            }
        };
        let conditions = self.conditions(query, place.asset);
        let asked = link::with_conditions(place.next.as_deref().unwrap_or_default(), conditions);
        let request = self.client.get_with_query("charging_sub_sessions", &asked)?;
        let (mut page, next) = self
            .client
            .send(request, |answer| {
                let page = self.mapping.sub_sessions(&answer.body, answer.received_at)?;
                Ok((page, link::next(&answer.headers)?))
            })
            .await?;
        query.clip(&mut page.sessions);
        place.asset += usize::from(next.is_none());
        place.next = next;
        if place.next.is_some() || place.asset < query.assets().len() {
            page.next = Some(Cursor::encode(PROVIDER, CURSOR_VERSION, query, &place));
        }
        Ok(page)
    }
}

#[async_trait]
impl IntervalSource for EvEnergy {
    async fn fetch_intervals(&self, session: &SessionKey) -> Result<SessionIntervals> {
        if session.provider != PROVIDER || session.kind != RecordKind::Segment {
            let message = "only sub-sessions of ev.energy have intervals here";
            return Err(Error::new(ErrorKind::Unsupported, message).with_provider(PROVIDER));
        }
        let path = format!("charging_sub_sessions/{}/energy_usage", segment(&session.source_id));
        let merged = self.merge_intervals;
        let conditions = generated::GetEnergyUsageQuery {
            merge_consecutive_intervals: merged.then_some(true),
            ..Default::default()
        };
        let request = self.client.get(&path, &conditions.pairs())?;
        self.client.send(request, |answer| self.mapping.energy_usage(&answer.body, merged)).await
    }
}
