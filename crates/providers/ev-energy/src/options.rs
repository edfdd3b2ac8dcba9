//! How to reach an account, and what only ev.energy can be asked for.

use std::{fmt, time::Duration};

use charging_sessions_core::AccountId;
use charging_sessions_http::{Policy, Quota};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use url::Url;

use crate::CostUnit;

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
    /// Pacing and retry. The documented limit unless changed: 1,000 requests in any rolling hour.
    pub policy: Policy,
    /// The unit of `cost` and `cost_per_kilowatt_hour`.
    pub cost_unit: CostUnit,
    /// Conditions that only ev.energy knows.
    pub filter: Filter,
    /// What to receive as an object instead of a link. Each needs its scope.
    pub expand: Vec<Expand>,
    /// The longest that a vehicle is expected to stay at the plug. 30 days. Only for plug-in sessions, which cannot be
    /// asked for by time: a listing of a window goes on until all of a page began this much before it.
    pub longest_stay: SignedDuration,
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
            policy: Policy::default().with_quota(Some(Quota::new(1000, Duration::from_secs(3600)))),
            cost_unit: CostUnit::default(),
            filter: Filter::default(),
            expand: Vec::new(),
            longest_stay: SignedDuration::from_hours(30 * 24),
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
    /// At least this much energy in watt-hours, included.
    pub watt_hours_from: Option<i64>,
    /// At most this much energy in watt-hours, included.
    pub watt_hours_to: Option<i64>,
    /// Ended after this instant, excluded.
    pub ended_after: Option<Timestamp>,
    /// Ended before this instant, excluded.
    pub ended_before: Option<Timestamp>,
    /// Only this user's, by identifier, or `me`.
    pub user_id: Option<String>,
}

/// Something that ev.energy gives as a link, or, if asked, as an object in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expand(&'static str);

impl fmt::Display for Expand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! expansions {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {
        impl Expand {
            $($(#[$doc])* pub const $name: Self = Self($word);)*
            /// All of them.
            pub const ALL: &[Self] = &[$(Self($word),)*];
        }
    };
}

expansions! {
    /// The charge point. Needs `evse:read`.
    CHARGE_POINT = "evse";
    /// The charge point's model.
    CHARGE_POINT_MODEL = "evse.model";
    /// The maker of the charge point's model.
    CHARGE_POINT_MAKE = "evse.model.make";
    /// The charge point's user. Needs `user:read`.
    CHARGE_POINT_USER = "evse.user";
    /// The vehicle. Needs `vehicle:read`.
    VEHICLE = "vehicle";
    /// The vehicle's trim.
    VEHICLE_TRIM = "vehicle.trim";
    /// The vehicle's model.
    VEHICLE_MODEL = "vehicle.trim.model";
    /// The maker of the vehicle's model.
    VEHICLE_MAKE = "vehicle.trim.model.make";
    /// The vehicle's user. Needs `user:read`.
    VEHICLE_USER = "vehicle.user";
    /// Intervals of energy and price. Saves one request for each sub-session.
    ENERGY_USAGE = "energy_usage";
    /// When the provider wanted energy to flow.
    SCHEDULES = "schedules";
    /// What the provider found odd.
    FLAGS = "flags";
    /// How energy was measured and why the sub-session ended. Needs `debug:read`.
    DEBUG_METADATA = "debug_metadata";
    /// The tariff. Needs `tariff:read`.
    TARIFF = "tariff";
}
