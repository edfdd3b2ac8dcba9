//! How to reach an account, and what only ev.energy can be asked for.

use std::fmt;

use charging_sessions_core::{AccountId, Energy};
use charging_sessions_http::Policy;
use jiff::Timestamp;
use rust_decimal::prelude::ToPrimitive as _;
use secrecy::SecretString;
use url::Url;

use crate::{CostUnit, default_policy, generated::ListChargingSubSessionsQuery};

/// How to reach an ev.energy account.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The OAuth client's identifier.
    pub client_id: String,
    /// The OAuth client's secret.
    pub client_secret: SecretString,
    /// The user's own name for the account; part of every key.
    pub account: AccountId,
    /// The root of the API. Serves production and sandbox: the kind of credentials decides.
    pub base_url: Url,
    /// Where tokens are issued; `/o/token/` at the base URL's origin unless given.
    pub token_url: Option<Url>,
    /// The user to act as, sent as `EvEnergy-User`: an identifier such as `user01HN2…`, or the user's URL.
    pub acting_user: Option<String>,
    /// Pacing and retry; [`default_policy`] unless changed.
    pub policy: Policy,
    /// The unit of `cost` and `cost_per_kilowatt_hour`.
    pub cost_unit: CostUnit,
    /// Conditions that only ev.energy knows.
    pub filter: Filter,
    /// What to receive as an object instead of a link. Each needs its scope.
    pub expand: Vec<Expand>,
    /// Ask for intervals of equal price and flow to be merged. Their prices per kilowatt-hour are then lost.
    pub merge_intervals: bool,
}

impl Config {
    /// The live API with its documented limits.
    pub fn new(client_id: impl Into<String>, client_secret: SecretString) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret,
            account: AccountId::default(),
            base_url: Url::parse("https://api.ev.energy/v2/").expect("a valid URL"),
            token_url: None,
            acting_user: None,
            policy: default_policy(),
            cost_unit: CostUnit::default(),
            filter: Filter::default(),
            expand: Vec::new(),
            merge_intervals: false,
        }
    }
}

/// Conditions on a listing that only ev.energy knows. A sub-session must meet all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Only this mode, in the provider's word, for example `SMART`.
    pub mode: Option<String>,
    /// At least this much energy, included. Rounded up to whole watt-hours.
    pub energy_from: Option<Energy>,
    /// At most this much energy, included. Rounded down to whole watt-hours.
    pub energy_to: Option<Energy>,
    /// Ended after this instant, excluded.
    pub ended_after: Option<Timestamp>,
    /// Ended before this instant, excluded.
    pub ended_before: Option<Timestamp>,
    /// Only this user's, by identifier, or `me`.
    pub user_id: Option<String>,
}

impl Filter {
    pub(crate) fn into_conditions(self, expand: &[Expand]) -> ListChargingSubSessionsQuery {
        ListChargingSubSessionsQuery {
            mode: self.mode,
            energy_delivered_watt_hours_gte: self
                .energy_from
                .and_then(|energy| energy.as_wh().ceil().to_i64()),
            energy_delivered_watt_hours_lte: self
                .energy_to
                .and_then(|energy| energy.as_wh().floor().to_i64()),
            end_gt: self.ended_after,
            end_lt: self.ended_before,
            user_id: self.user_id,
            expand: expand.iter().map(ToString::to_string).collect(),
            ..Default::default()
        }
    }
}

macro_rules! expansions {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Something that ev.energy gives as a link, or, if asked, as an object in its place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Expand {
            $($(#[$doc])* $name,)*
        }

        impl Expand {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }

        impl fmt::Display for Expand {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $word,)*
                })
            }
        }
    };
}

expansions! {
    /// The charge point. Needs `evse:read`.
    ChargePoint = "evse",
    /// The charge point's model.
    ChargePointModel = "evse.model",
    /// The maker of the charge point's model.
    ChargePointMake = "evse.model.make",
    /// The charge point's user. Needs `user:read`.
    ChargePointUser = "evse.user",
    /// The vehicle. Needs `vehicle:read`.
    Vehicle = "vehicle",
    /// The vehicle's trim.
    VehicleTrim = "vehicle.trim",
    /// The vehicle's model.
    VehicleModel = "vehicle.trim.model",
    /// The maker of the vehicle's model.
    VehicleMake = "vehicle.trim.model.make",
    /// The vehicle's user. Needs `user:read`.
    VehicleUser = "vehicle.user",
    /// Intervals of energy and price. Saves one request for each sub-session.
    EnergyUsage = "energy_usage",
    /// When the provider wanted energy to flow.
    Schedules = "schedules",
    /// What the provider found odd.
    Flags = "flags",
    /// How energy was measured and why the sub-session ended. Needs `debug:read`.
    DebugMetadata = "debug_metadata",
    /// The tariff. Needs `tariff:read`.
    Tariff = "tariff",
}
