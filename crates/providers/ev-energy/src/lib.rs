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
//! Stays at the plug are listed by [`EvEnergy::plug_ins`]. Webhooks are verified by [`webhook::Verifier`] and read by
//! [`Mapping::event`], without a server:
//!
//! ```
//! use charging_sessions_core::{ChargingSession, Result};
//! use charging_sessions_ev_energy::{Mapping, webhook::Verifier};
//! # use charging_sessions_http::{Bytes, http::HeaderMap};
//! use jiff::Timestamp;
//!
//! fn received(verifier: &Verifier, headers: &HeaderMap, body: &Bytes) -> Result<ChargingSession> {
//!     let now = Timestamp::now();
//!     verifier.verify(headers, body, now)?;
//!     Mapping::default().event(body, now)
//! }
//! ```
//!
//! # Where each field goes
//!
//! | ev.energy | core record |
//! |---|---|
//! | `id` | `identity.key.source_id` |
//! | `start`, `end` | `timing.period`, basis `mode`; `state.status` is active while `end` is null |
//! | `start`, `end` of a plug-in session | `timing.plugged_in_at`, `timing.unplugged_at`; also `timing.period`, basis `plug_in` |
//! | `sub_sessions` of a plug-in session | records of their own, with the plug-in session as `identity.parent` |
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
//! | `debug_metadata` (expanded) | the method of the reading, `state.end_reason`, the issue `energy.capped`; all of it in `extra` |
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
//! | 1,000 requests in any rolling hour, shared by all client-credentials traffic | that is the default of [`Config::policy`]; bursts are allowed | the same |
//! | Plug-in sessions have no filters and are listed newest first, by which instant is not stated | a listing of a window goes on until a page began [`Config::longest_stay`] before it | the OpenAPI document |
//! | Only a plug-in session knows its sub-sessions, and there are none from before July 2026 | they are listed with it and get it as their parent | the same |
//! | Webhooks get lost, and none tells of corrections | they do not replace listings | [webhooks](https://developers.ev.energy/docs/webhooks) |
//! | Energy and cost may be corrected after the end, without a sign | no `updated_since`; read a window again after some days | [webhooks](https://developers.ev.energy/docs/webhooks) |
//! | `EvEnergy-User` is a user's URL in one place and an identifier in another | [`Config::acting_user`] is sent as given | [user header](https://developers.ev.energy/docs/user-header) |
//! | `end` is `null` while a sub-session runs, and figures are then partial | status active | the OpenAPI document |

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, dead_code, missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
mod generated;
mod details;
mod map;
mod options;

use std::sync::Arc;

use async_trait::async_trait;
// Nearly every word of the contract is needed here.
use charging_sessions_core::*;
use charging_sessions_http::{Bytes, Client, Dialect, LinkPlace, OAuth2, Transport, link, token_url};
use http::HeaderName;
use jiff::{SignedDuration, Timestamp, Unit};

pub use charging_sessions_http::webhook;
pub use details::{Flag, Schedule};
use generated::{ListChargingSessionsQuery, ListChargingSubSessionsQuery};
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

/// What the source of [plug-in sessions](EvEnergy::plug_ins) can do. A page holds as many of them as asked for, and
/// besides the sub-sessions in them.
pub const PLUG_IN_CAPABILITIES: Capabilities =
    Capabilities::none().window().active_sessions().cost().look_back(SignedDuration::from_hours(7 * 24));

const DIALECT: Dialect = Dialect::new()
    .with_retry_after(&["retry-after", "retryafter"])
    .with_remaining(&["x-ratelimit-remaining"]);

/// What a source lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    SubSessions,
    PlugIns,
}

/// Sub-sessions of one ev.energy account, or its [plug-in sessions](Self::plug_ins).
///
/// Cheap to clone; clones share the sign-in and the quota.
#[derive(Clone, Debug)]
pub struct EvEnergy {
    client: Client,
    config: Arc<Config>,
    level: Level,
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
        let token_url = token_url(config.token_url.clone(), &config.base_url, "/o/token/")
            .map_err(|error| error.with_provider(PROVIDER))?;
        let (id, secret) = (config.client_id.clone(), config.client_secret.clone());
        let client = Client::builder(PROVIDER, config.base_url.clone())
            .transport(transport)
            .header_text(HeaderName::from_static("evenergy-version"), API_VERSION)
            .header_text(HeaderName::from_static("evenergy-user"), config.acting_user.as_deref())
            .auth(OAuth2::client_credentials(token_url, id, secret))
            .policy(config.policy)
            .dialect(DIALECT)
            .build()?;
        Ok(Self { client, config: Arc::new(config), level: Level::SubSessions })
    }

    /// The same account, listing plug-in sessions instead: each stay at the plug, followed by the sub-sessions in it,
    /// which name it as their parent. The account's sub-sessions themselves do not know where they belong.
    ///
    /// ev.energy keeps plug-in sessions since July 2026, and they have no energy and no cost of their own. Of the
    /// source's own options, none applies.
    #[must_use]
    pub fn plug_ins(&self) -> Self {
        Self { level: Level::PlugIns, ..self.clone() }
    }

    fn mapping(&self) -> Mapping {
        Mapping { account: self.config.account.clone(), cost_unit: self.config.cost_unit }
    }

    /// What a listing is asked for, apart from where in it. The source's own options, if `query` asks for nothing.
    fn conditions(&self, query: &SessionQuery, asset: usize) -> Vec<(&'static str, String)> {
        let page_size = Some(query.page_size_within(MAX_PAGE_SIZE).into());
        if self.level == Level::PlugIns {
            let expand = vec!["sub_sessions".to_owned()];
            return ListChargingSessionsQuery { page_size, expand, ..Default::default() }.pairs();
        }
        let bounds = query.window().map(|window| window.open_bounds(Unit::Microsecond));
        let asset = query.assets().get(asset);
        let only = |kind| asset.filter(|asset| asset.kind == kind).map(|asset| asset.id.clone());
        let filter = &self.config.filter;
        let conditions = ListChargingSubSessionsQuery {
            page_size,
            expand: self.expand(),
            vehicle_id: only(AssetKind::Vehicle),
            evse_id: only(AssetKind::ChargePoint),
            user_id: filter.user_id.clone(),
            energy_delivered_watt_hours_gte: filter.watt_hours_from,
            energy_delivered_watt_hours_lte: filter.watt_hours_to,
            is_finished: query.finished(),
            mode: filter.mode.clone(),
            start_gt: bounds.map(|(after, _)| after),
            start_lt: bounds.map(|(_, before)| before),
            end_gt: filter.ended_after,
            end_lt: filter.ended_before,
            ..Default::default()
        };
        conditions.pairs()
    }

    fn expand(&self) -> Vec<String> {
        self.config.expand.iter().map(ToString::to_string).collect()
    }

    /// Whether plug-in sessions, newest first, have got so far back that nothing of the window can follow.
    fn is_behind(&self, query: &SessionQuery, page: &SessionPage) -> bool {
        let far = query.window().and_then(|window| window.from().checked_sub(self.config.longest_stay).ok());
        far.filter(|_| self.level == Level::PlugIns && page.rejected.is_empty()).is_some_and(|far| {
            let starts = page.sessions.iter().map(|session| session.timing.period.start);
            starts.flatten().all(|start| start < far)
        })
    }
}

#[async_trait]
impl ChargingSessionSource for EvEnergy {
    fn provider(&self) -> ProviderId {
        PROVIDER
    }

    fn capabilities(&self) -> Capabilities {
        if self.level == Level::PlugIns { PLUG_IN_CAPABILITIES } else { CAPABILITIES }
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        let named = |error: Error| error.with_provider(PROVIDER);
        query.check(self.capabilities()).map_err(named)?;
        // The provider lists one asset at a time, so several are read one after another.
        let lists = query.assets().len().max(1);
        let stored = cursor.map(|cursor| cursor.decode(PROVIDER, CURSOR_VERSION, query)).transpose()?;
        let options = link::with_conditions("", self.conditions(&SessionQuery::all(), 0));
        let place = LinkPlace::resume(stored, options, lists).map_err(named)?;
        let asked = place.ask(self.conditions(query, place.list()));
        let (path, map): (_, fn(&Mapping, &Bytes, Timestamp) -> Result<SessionPage>) = match self.level {
            Level::SubSessions => ("charging_sub_sessions", Mapping::sub_sessions),
            Level::PlugIns => ("charging_sessions", Mapping::plug_ins),
        };
        let request = self.client.get_with_query(path, &asked)?;
        let mapping = self.mapping();
        let read = self.client.send(request, |answer| {
            Ok((map(&mapping, &answer.body, answer.received_at)?, link::next(&answer.headers)?))
        });
        let (mut page, next) = read.await?;
        let next = next.filter(|_| !self.is_behind(query, &page));
        query.clip(&mut page.sessions);
        let next = place.after(next, lists);
        page.next = next.map(|next| Cursor::encode(PROVIDER, CURSOR_VERSION, query, &next));
        Ok(page)
    }
}

#[async_trait]
impl IntervalSource for EvEnergy {
    async fn fetch_intervals(&self, session: &SessionKey) -> Result<SessionIntervals> {
        session.require(PROVIDER, RecordKind::Segment)?;
        let path = details::path(&session.source_id) + "/energy_usage";
        let merged = self.config.merge_intervals;
        let conditions = generated::GetEnergyUsageQuery {
            merge_consecutive_intervals: merged.then_some(true),
            ..Default::default()
        };
        let request = self.client.get(&path, &conditions.pairs())?;
        self.client.send(request, |answer| self.mapping().energy_usage(&answer.body, merged)).await
    }
}
