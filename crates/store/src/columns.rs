//! What values look like in the columns of a database, whichever it is.

#[cfg(feature = "sqlite")]
use std::ops::RangeInclusive;

use charging_sessions_core::{AssetKind, AssetRef, ChargingSession, Money, RecordKind, TimeWindow};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IntoDeserializer as _};
use zstd::bulk::{Compressor, Decompressor};

use crate::{Reason, Slice};

/// More than any answer that is read, in bytes.
const LARGEST_PAYLOAD: usize = 1 << 30;

/// How many bytes a dictionary may have: shorter ones have nothing to offer, and longer ones take longer to prepare than
/// they save.
#[cfg(feature = "sqlite")]
const DICTIONARIES: RangeInclusive<usize> = 128..=65_536;

/// How a dictionary begins that is more than an example. One of ours is nothing else.
#[cfg(feature = "sqlite")]
const MAGIC: [u8; 4] = 0xEC30_A437_u32.to_le_bytes();

/// The level is the fastest, because records are too short for higher ones to find more.
const COMPRESSION: i32 = 1;

/// With an example: what is not in it is little, and made no shorter by counting its letters.
#[cfg(feature = "sqlite")]
const COMPRESSION_BY_EXAMPLE: i32 = -1;

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

/// Makes payloads shorter, where they can be.
pub(crate) struct Packer(Compressor<'static>);

impl Packer {
    /// `None` if there is no memory.
    pub(crate) fn new() -> Option<Self> {
        Compressor::new(COMPRESSION).ok().map(Self)
    }

    /// Packs what is like `dictionary`, which is needed to unpack it. `None` if it is no use as one.
    #[cfg(feature = "sqlite")]
    pub(crate) fn like(dictionary: &[u8]) -> Option<Self> {
        let packer =
            Self::suits(dictionary).then(|| Compressor::with_dictionary(COMPRESSION_BY_EXAMPLE, dictionary));
        packer?.ok().map(Self)
    }

    /// Whether it is of use as a dictionary.
    #[cfg(feature = "sqlite")]
    pub(crate) fn suits(dictionary: &[u8]) -> bool {
        DICTIONARIES.contains(&dictionary.len()) && !dictionary.starts_with(&MAGIC)
    }

    /// Zstandard if it is shorter; else `None`.
    pub(crate) fn pack(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.compress(plain).ok().filter(|packed| packed.len() < plain.len())
    }
}

/// Unpacks what was packed by the same dictionary.
pub(crate) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    /// The dictionary is empty where there is none.
    pub(crate) fn like(dictionary: &[u8]) -> Result<Self, Damaged> {
        Decompressor::with_dictionary(dictionary).map(Self).map_err(|_| Damaged)
    }

    /// What had this size.
    pub(crate) fn unpack(&mut self, size: i64, bytes: &[u8]) -> Result<Vec<u8>, Damaged> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // A damaged number must not take all memory.
        if size > LARGEST_PAYLOAD {
            return Err(Damaged);
        }
        let plain = self.0.decompress(bytes, size).map_err(|_| Damaged)?;
        if plain.len() == size { Ok(plain) } else { Err(Damaged) }
    }
}

/// Whether what had this size was kept as it was, because packing it made it no shorter.
pub(crate) fn is_plain(size: i64, bytes: &[u8]) -> bool {
    usize::try_from(size) == Ok(bytes.len())
}

/// A payload of this size, as it was received. The dictionary is empty where there is none.
pub(crate) fn unpack(size: i64, bytes: &[u8], dictionary: &[u8]) -> Result<Vec<u8>, Damaged> {
    if is_plain(size, bytes) { Ok(bytes.to_vec()) } else { Unpacker::like(dictionary)?.unpack(size, bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "sqlite")]
    #[test]
    fn what_is_like_another_is_packed_to_what_is_different() {
        let body = |id: u32| {
            (0..40).map(|n| format!("\"{n} {}\": null, ", n * n)).collect::<String>() + &id.to_string()
        };
        let (one, two) = (body(1), body(2));
        let packed = Packer::like(one.as_bytes()).unwrap().pack(two.as_bytes()).unwrap();
        assert!(packed.len() < 40, "{}", packed.len());
        let size = two.len() as i64;
        assert_eq!(unpack(size, &packed, one.as_bytes()).unwrap(), two.as_bytes());
        assert!(unpack(size, &packed, b"").is_err());
        // What is too short, too long, or says that it is a dictionary of another kind.
        assert!(Packer::like(&[b'x'; 127]).is_none() && Packer::like(&[b'x'; 65_537]).is_none());
        assert!(Packer::like(&[&MAGIC[..], one.as_bytes()].concat()).is_none());
    }

    #[test]
    fn order_in_time_is_kept_before_1970_too() {
        let at = |text: &str| to_us(text.parse().unwrap());
        assert_eq!(at("1970-01-01T00:00:00.0000019Z"), 1);
        assert_eq!(at("1969-12-31T23:59:59.9999999Z"), -1);
        assert!(to_us(Timestamp::MIN) < 0 && to_us(Timestamp::MAX) > 0);
    }
}
