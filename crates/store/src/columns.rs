//! What values look like in the columns of a database, whichever it is.

use charging_sessions_core::{AssetKind, AssetRef, ChargingSession, Money, RecordKind, TimeWindow};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IntoDeserializer as _};

use crate::{Reason, Slice};

/// What is stored does not read back.
#[derive(Debug)]
pub(crate) struct Damaged;

/// A slice as text that is the same for slices that are.
#[derive(Serialize, Deserialize)]
struct SliceText {
    window: Option<TimeWindow>,
    asset: Option<AssetRef>,
    kinds: Vec<RecordKind>,
}

pub(crate) fn slice_text(slice: &Slice) -> String {
    let text = SliceText { window: slice.window, asset: slice.asset.clone(), kinds: distinct(&slice.kinds) };
    serde_json::to_string(&text).expect("a slice is plain data")
}

/// Each kind once, in order.
pub(crate) fn distinct(kinds: &[RecordKind]) -> Vec<RecordKind> {
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

pub(crate) fn slice(text: &str) -> Result<Slice, Damaged> {
    let SliceText { window, asset, kinds } = json(text)?;
    Ok(Slice { window, asset, kinds })
}

pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T, Damaged> {
    json_bytes(text.as_bytes())
}

pub(crate) fn json_bytes<T: DeserializeOwned>(text: &[u8]) -> Result<T, Damaged> {
    serde_json::from_slice(text).map_err(|_| Damaged)
}

/// One of our words, or anything else that is written as a string.
pub(crate) fn word<T: DeserializeOwned>(text: &str) -> Result<T, Damaged> {
    T::deserialize(text.into_deserializer()).map_err(|_: serde::de::value::Error| Damaged)
}

impl Reason {
    pub(crate) fn parse(word: &str) -> Result<Self, Damaged> {
        let all = [Self::New, Self::Changed, Self::Vanished, Self::Returned, Self::Remapped];
        all.into_iter().find(|reason| reason.as_str() == word).ok_or(Damaged)
    }
}

pub(crate) fn instant(us: i64) -> Result<Timestamp, Damaged> {
    Timestamp::from_microsecond(us).map_err(|_| Damaged)
}

pub(crate) fn to_us(at: Timestamp) -> i64 {
    // Towards the past, also before 1970, so that order is kept.
    at.as_nanosecond().div_euclid(1000) as i64
}

/// The day on the clock of the place, as far as it is known.
pub(crate) fn local_day(start: Timestamp, zone: Option<&str>, otherwise: &TimeZone) -> String {
    let zone = zone.and_then(|name| TimeZone::get(name).ok());
    zone.as_ref().unwrap_or(otherwise).to_datetime(start).date().to_string()
}

/// An exact decimal and a currency.
pub(crate) fn split(money: Option<Money>) -> (Option<String>, Option<String>) {
    money.map(|money| (money.amount.to_string(), money.currency.code().to_owned())).unzip()
}

/// The column that holds the identifier of an asset of this kind.
pub(crate) const fn asset_column(kind: AssetKind) -> &'static str {
    match kind {
        AssetKind::Vehicle => "vehicle_id",
        AssetKind::ChargePoint => "charge_point_id",
    }
}

/// The identifiers of a session's vehicle and of its charge point.
pub(crate) fn asset_ids(session: &ChargingSession) -> [Option<&str>; 2] {
    let parties = &session.parties;
    [
        parties.vehicle.as_ref().and_then(|vehicle| vehicle.source_id.as_deref()),
        parties.charge_point.as_ref().and_then(|point| point.source_id.as_deref()),
    ]
}

/// The upper or lower bound of the handles that begin with these digits; `None` if they are none.
pub(crate) fn handle_bound(handle: &str, fill: &str) -> Option<[u8; 16]> {
    // With or without the hyphens of a UUID.
    let digits = handle.replace('-', "");
    if digits.len() > 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(&format!("{digits}{}", fill.repeat(32 - digits.len())), 16);
    number.ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_in_time_is_kept_before_1970_too() {
        let at = |text: &str| to_us(text.parse().unwrap());
        assert_eq!(at("1970-01-01T00:00:00.0000019Z"), 1);
        assert_eq!(at("1969-12-31T23:59:59.9999999Z"), -1);
        assert!(to_us(Timestamp::MIN) < 0 && to_us(Timestamp::MAX) > 0);
    }
}
