//! What the versions say in different words, in one form: one conversion for each.

use charging_sessions_core::CostComponentKind;

use crate::generated as wire;

/// A text and where it stood, as a JSON pointer.
#[derive(Default)]
pub(crate) struct At {
    pub(crate) text: Option<String>,
    pub(crate) pointer: &'static str,
}

fn at(pointer: &'static str, text: Option<String>) -> At {
    At { text, pointer }
}

/// A session, or what was billed for one.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) country_code: Option<String>,
    pub(crate) party_id: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) start: At,
    pub(crate) end: At,
    pub(crate) last_updated: Option<String>,
    /// Of a session.
    pub(crate) status: Option<String>,
    /// The name of the figure, and kilowatt-hours.
    pub(crate) energy: (&'static str, Option<f64>),
    pub(crate) total_time: Option<f64>,
    pub(crate) total_parking_time: Option<f64>,
    pub(crate) token: Option<wire::CdrToken>,
    pub(crate) auth_method: Option<String>,
    pub(crate) authorization_reference: Option<String>,
    pub(crate) place: wire::CdrLocation,
    pub(crate) time_zone: Option<String>,
    pub(crate) meter_id: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) total_cost: Option<Price>,
    /// What the cost is made of, with the name of each part.
    pub(crate) parts: Vec<(&'static str, CostComponentKind, Option<Price>)>,
    pub(crate) tariffs: Option<Vec<wire::Tariff>>,
    pub(crate) charging_periods: Option<Vec<wire::ChargingPeriod>>,
    pub(crate) signed_data: Option<wire::SignedData>,
    pub(crate) session_id: Option<String>,
    pub(crate) remark: Option<String>,
    pub(crate) invoice_reference_id: Option<String>,
    pub(crate) credit: Option<bool>,
    pub(crate) credit_reference_id: Option<String>,
    pub(crate) home_charging_compensation: Option<bool>,
}

/// An amount of money, as far as its parts are given.
#[derive(Clone, Default)]
pub(crate) struct Price {
    pub(crate) net: Option<f64>,
    pub(crate) gross: Option<f64>,
    pub(crate) taxes: Vec<wire::TaxAmount>,
}

impl From<f64> for Price {
    fn from(net: f64) -> Self {
        Self { net: Some(net), ..Self::default() }
    }
}

impl From<wire::Price221> for Price {
    fn from(from: wire::Price221) -> Self {
        Self { net: from.excl_vat, gross: from.incl_vat, taxes: Vec::new() }
    }
}

impl From<wire::Price230> for Price {
    fn from(from: wire::Price230) -> Self {
        Self { net: from.before_taxes, gross: None, taxes: from.taxes.unwrap_or_default() }
    }
}

/// A record with the fields that have the same name, and then the others.
macro_rules! record {
    ($from:ident, $($same:ident)*; $($others:tt)*) => {
        Self { $($same: $from.$same,)* total_cost: $from.total_cost.map(Into::into), $($others)* ..Self::default() }
    };
}

impl From<wire::Session211> for Record {
    fn from(from: wire::Session211) -> Self {
        let (place, time_zone) = location(from.location);
        record!(from, id last_updated status auth_method meter_id currency charging_periods;
            start: at("/start_datetime", from.start_datetime.or(from.start_date_time)),
            end: at("/end_datetime", from.end_datetime.or(from.end_date_time)),
            energy: ("kwh", from.kwh),
            token: contract(from.auth_id),
            place, time_zone,
        )
    }
}

impl From<wire::Cdr211> for Record {
    fn from(from: wire::Cdr211) -> Self {
        let (place, time_zone) = location(from.location);
        record!(from, id last_updated auth_method meter_id currency charging_periods total_time total_parking_time
            tariffs remark;
            start: at("/start_date_time", from.start_date_time),
            end: at("/stop_date_time", from.stop_date_time.or(from.end_date_time)),
            energy: ("total_energy", from.total_energy),
            token: contract(from.auth_id),
            place, time_zone,
        )
    }
}

/// 2.2.1 and 2.3.0 differ in their prices, and otherwise in nothing that is read here.
macro_rules! later {
    ($($session:ident, $cdr:ident;)*) => {$(
        impl From<wire::$session> for Record {
            fn from(from: wire::$session) -> Self {
                let place = wire::CdrLocation {
                    id: from.location_id,
                    evse_uid: from.evse_uid,
                    connector_id: from.connector_id,
                    ..Default::default()
                };
                record!(from, country_code party_id id last_updated status auth_method authorization_reference
                    meter_id currency charging_periods;
                    start: at("/start_date_time", from.start_date_time),
                    end: at("/end_date_time", from.end_date_time),
                    energy: ("kwh", from.kwh),
                    token: from.cdr_token,
                    place,
                )
            }
        }

        impl From<wire::$cdr> for Record {
            fn from(from: wire::$cdr) -> Self {
                let parts = vec![
                    ("total_fixed_cost", CostComponentKind::Fixed, from.total_fixed_cost.map(Into::into)),
                    ("total_energy_cost", CostComponentKind::Energy, from.total_energy_cost.map(Into::into)),
                    ("total_time_cost", CostComponentKind::Time, from.total_time_cost.map(Into::into)),
                    ("total_parking_cost", CostComponentKind::Parking, from.total_parking_cost.map(Into::into)),
                    ("total_reservation_cost", CostComponentKind::Reservation, from.total_reservation_cost.map(Into::into)),
                ];
                record!(from, country_code party_id id last_updated auth_method authorization_reference meter_id
                    currency charging_periods total_time total_parking_time tariffs signed_data session_id remark
                    invoice_reference_id credit credit_reference_id home_charging_compensation;
                    start: at("/start_date_time", from.start_date_time),
                    end: at("/end_date_time", from.end_date_time),
                    energy: ("total_energy", from.total_energy),
                    token: from.cdr_token,
                    place: from.cdr_location.unwrap_or_default(),
                    parts,
                )
            }
        }
    )*};
}

later! {
    Session221, Cdr221;
    Session230, Cdr230;
}

/// 2.1.1 knows the contract alone.
fn contract(auth_id: Option<String>) -> Option<wire::CdrToken> {
    auth_id.map(|id| wire::CdrToken { contract_id: Some(id), ..Default::default() })
}

/// 2.1.1 repeats the location, with the charge point and the connector that were used.
fn location(from: Option<wire::Location>) -> (wire::CdrLocation, Option<String>) {
    let from = from.unwrap_or_default();
    let evse = from.evses.and_then(|evses| evses.into_iter().next()).unwrap_or_default();
    let connector = evse.connectors.and_then(|connectors| connectors.into_iter().next()).unwrap_or_default();
    let place = wire::CdrLocation {
        id: from.id,
        name: from.name,
        address: from.address,
        city: from.city,
        postal_code: from.postal_code,
        state: None,
        country: from.country,
        coordinates: from.coordinates,
        evse_uid: evse.uid,
        evse_id: evse.evse_id,
        connector_id: connector.id,
        connector_standard: connector.standard,
        connector_format: connector.format,
        connector_power_type: connector.power_type,
    };
    (place, from.time_zone)
}
