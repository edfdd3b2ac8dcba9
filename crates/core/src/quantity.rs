//! Quantities: the unit is in the name of the constructor, and nothing passes through float arithmetic.

use std::{borrow::Cow, fmt, iter::Sum};

use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The exact decimal that a JSON number was written as, as far as 15 significant digits go.
///
/// A parsed JSON number is the `f64` nearest to what was written; the shortest text that gives the same `f64`
/// is what was written, as long as that had at most 15 significant digits. Longer ones are the noise of the
/// sender's own floats, such as `0.30000000000000004`, and are rounded to 15. `None` if `value` is not finite, or
/// too large for a decimal.
///
/// ```
/// use charging_sessions_core::decimal_from_f64;
///
/// let written: f64 = serde_json::from_str("49.2450").unwrap();
/// assert_eq!(decimal_from_f64(written).unwrap().to_string(), "49.245");
/// ```
pub fn decimal_from_f64(value: f64) -> Option<Decimal> {
    if let Some(decimal) = short_decimal(value) {
        return Some(decimal);
    }
    // `Display` of a float is its shortest form and never has an exponent.
    let decimal: Decimal = value.is_finite().then(|| value.to_string().parse().ok())??;
    let noisy = decimal.mantissa().unsigned_abs() >= 10_u128.pow(15);
    if noisy { decimal.round_sf(15).map(|decimal| decimal.normalize()) } else { Some(decimal) }
}

/// The decimal that a text is, exactly: an optional sign, digits, and at most one point. `None` if it is anything else, an
/// exponent or a separator among them, or has more digits than a decimal holds.
///
/// ```
/// use charging_sessions_core::decimal_from_str;
///
/// assert_eq!(decimal_from_str("-49.2450").unwrap().to_string(), "-49.2450");
/// assert_eq!(decimal_from_str("1_000"), None);
/// ```
pub fn decimal_from_str(text: &str) -> Option<Decimal> {
    // Of underscores, `Decimal` would skip any number, each by a call within the call before it: a text of some thousands
    // of them would end the program.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    is_plain.then(|| Decimal::from_str_exact(text).ok())?
}

/// The decimal of at most four places and fifteen digits that `value` is the nearest float to, if there is one: there is
/// no other one as short. Most numbers of providers are, and to write and read them takes many times as long.
fn short_decimal(value: f64) -> Option<Decimal> {
    const LARGEST: f64 = 1e15;
    let times = [(0, 1.0), (1, 10.0), (2, 100.0), (3, 1000.0), (4, 10_000.0)];
    times.into_iter().find_map(|(places, factor)| {
        let digits = (value * factor).round();
        // Both are whole and exact, so that the quotient is the nearest float to the decimal.
        let is_it = digits.abs() < LARGEST && digits != 0.0 && (digits / factor).to_bits() == value.to_bits();
        is_it.then(|| Decimal::new(digits as i64, places))
    })
}

/// Writes a decimal as a string.
fn serialize_decimal<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    let digits = u64::try_from(value.mantissa().unsigned_abs());
    match digits {
        Ok(digits) if digits > 0 && value.scale() <= 9 => {
            serialize_digits(value.is_sign_negative(), digits, value.scale(), serializer)
        }
        _ => serializer.collect_str(value),
    }
}

/// Writes `digits`, of which the last `places` are after the point, as a string. At most nine places. The machinery of
/// `Display` takes several times as long, and records are full of numbers.
fn serialize_digits<S: Serializer>(
    negative: bool,
    mut digits: u64,
    places: u32,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    // A sign, twenty digits and a point are the most.
    let mut text = [b'0'; 24];
    let mut start = text.len();
    let mut put = |byte| {
        start -= 1;
        text[start] = byte;
    };
    let mut written = 0;
    while digits > 0 || written <= places {
        if written == places && places > 0 {
            put(b'.');
        }
        put(b'0' + (digits % 10) as u8);
        digits /= 10;
        written += 1;
    }
    if negative {
        put(b'-');
    }
    let text = std::str::from_utf8(&text[start..]).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(text)
}

/// Reads a decimal from a string or a number, whichever it was written as.
fn deserialize_decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Decimal;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a decimal number, as a string or a number")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
            decimal_from_str(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
        fn visit_i64<E: de::Error>(self, n: i64) -> Result<Decimal, E> {
            Ok(n.into())
        }
        fn visit_u64<E: de::Error>(self, n: u64) -> Result<Decimal, E> {
            Ok(n.into())
        }
        fn visit_f64<E: de::Error>(self, n: f64) -> Result<Decimal, E> {
            decimal_from_f64(n).ok_or_else(|| E::invalid_value(de::Unexpected::Float(n), &self))
        }
    }
    deserializer.deserialize_any(Visitor)
}

fn decimal_schema(description: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "description": description })
}

/// A signed integer of thousandths of a unit, read and written as a decimal string of whole units.
macro_rules! milli_quantity {
    (
        $(#[$doc:meta])* $name:ident, $schema:literal,
        milli: $from_milli:ident $as_milli:ident $milli_unit:literal,
        unit: $from_unit:ident $as_unit:ident $unit:literal,
        kilo: $from_kilo:ident $as_kilo:ident $kilo_unit:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Nothing, measured.
            pub const ZERO: Self = Self(0);

            #[doc = concat!("From whole ", $milli_unit, ".")]
            pub const fn $from_milli(milli: i64) -> Self {
                Self(milli)
            }

            #[doc = concat!("From whole ", $unit, ". `None` if it does not fit.")]
            pub const fn $from_unit(units: i64) -> Option<Self> {
                match units.checked_mul(1000) {
                    Some(milli) => Some(Self(milli)),
                    None => None,
                }
            }

            #[doc = concat!("From ", $kilo_unit, ", rounded half to even at a whole ", $milli_unit, ". `None` if it does not fit.")]
            pub fn $from_kilo(kilo: Decimal) -> Option<Self> {
                kilo.checked_mul(Decimal::from(1_000_000))?.round().to_i64().map(Self)
            }

            #[doc = concat!("From ", $unit, ", rounded half to even at a whole ", $milli_unit, ". `None` if it does not fit.")]
            fn from_decimal(units: Decimal) -> Option<Self> {
                units.checked_mul(Decimal::ONE_THOUSAND)?.round().to_i64().map(Self)
            }

            #[doc = concat!("As whole ", $milli_unit, ".")]
            pub const fn $as_milli(self) -> i64 {
                self.0
            }

            #[doc = concat!("As ", $unit, ", exact.")]
            pub fn $as_unit(self) -> Decimal {
                Decimal::new(self.0, 3).normalize()
            }

            #[doc = concat!("As ", $kilo_unit, ", exact.")]
            pub fn $as_kilo(self) -> Decimal {
                Decimal::new(self.0, 6).normalize()
            }

            /// The sum. `None` if it does not fit.
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The difference. `None` if it does not fit.
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// Whether it is below zero.
            pub const fn is_negative(self) -> bool {
                self.0 < 0
            }
        }

        impl Sum for $name {
            /// The sum, held at the limits of the type.
            fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
                values.fold(Self::ZERO, |sum, value| Self(sum.0.saturating_add(value.0)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.$as_kilo(), $kilo_unit)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let (mut digits, mut places) = (self.0.unsigned_abs(), 3);
                while places > 0 && digits % 10 == 0 {
                    (digits, places) = (digits / 10, places - 1);
                }
                serialize_digits(self.is_negative(), digits, places, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let units = deserialize_decimal(deserializer)?;
                Self::from_decimal(units).ok_or_else(|| de::Error::custom(concat!("too many ", $unit)))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                decimal_schema($schema)
            }
        }
    };
}

milli_quantity! {
    /// An amount of energy, exact to one milliwatt-hour. Negative amounts flow the other way.
    ///
    /// It serializes as a decimal string of watt-hours.
    ///
    /// ```
    /// use charging_sessions_core::Energy;
    ///
    /// let energy = Energy::from_kwh("49.2450".parse()?).unwrap();
    /// assert_eq!(energy, Energy::from_wh(49_245).unwrap());
    /// assert_eq!(energy.to_string(), "49.245 kWh");
    /// # Ok::<(), rust_decimal::Error>(())
    /// ```
    Energy, "Watt-hours, as a decimal string.",
    milli: from_mwh as_mwh "mWh",
    unit: from_wh as_wh "Wh",
    kilo: from_kwh as_kwh "kWh"
}

milli_quantity! {
    /// A power, exact to one milliwatt. Negative power flows the other way.
    ///
    /// It serializes as a decimal string of watts.
    Power, "Watts, as a decimal string.",
    milli: from_mw as_mw "mW",
    unit: from_w as_w "W",
    kilo: from_kw as_kw "kW"
}

milli_quantity! {
    /// A distance, exact to one millimetre.
    ///
    /// It serializes as a decimal string of metres.
    Distance, "Metres, as a decimal string.",
    milli: from_mm as_mm "mm",
    unit: from_m as_m "m",
    kilo: from_km as_km "km"
}

/// A decimal in a fixed unit, read from a string or a number and written as a string.
macro_rules! decimal_quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal, $schema:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Decimal);

        impl $name {
            /// From a decimal.
            pub const fn new(value: Decimal) -> Self {
                Self(value)
            }

            /// From a JSON number; see [`decimal_from_f64`].
            pub fn from_f64(value: f64) -> Option<Self> {
                decimal_from_f64(value).map(Self)
            }

            /// The decimal.
            pub const fn value(self) -> Decimal {
                self.0
            }
        }

        impl From<i64> for $name {
            fn from(value: i64) -> Self {
                Self(value.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.0, $unit)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize_decimal(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_decimal(deserializer).map(Self)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                decimal_schema($schema)
            }
        }
    };
}

decimal_quantity! {
    /// A share in percent: `80` means 80 %. Values outside 0 to 100 can be held, so that they can be reported.
    Percent, "%", "Percent, as a decimal string: 80 means 80 %."
}

decimal_quantity! {
    /// A mass in grams.
    Grams, "g", "Grams, as a decimal string."
}

/// An ISO 4217 code such as `EUR`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Parses three ASCII letters of any case. Codes that are well formed but not in use are kept.
    pub fn parse(code: &str) -> Option<Self> {
        let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
        letters
            .iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Self(letters.map(|letter| letter.to_ascii_uppercase())))
    }

    /// Parses a code that is in use, and whose minor unit is therefore known.
    pub fn in_use(code: &str) -> Option<Self> {
        Self::parse(code).filter(|currency| currency.minor_digits().is_some())
    }

    /// The upper-case code.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("ASCII by construction")
    }

    /// Digits after the decimal point in the minor unit: 2 for EUR, 0 for JPY, 3 for KWD. `None` for a code
    /// that is not in use, because a guess would be wrong by powers of ten.
    pub const fn minor_digits(&self) -> Option<u32> {
        // Codes in use. A test holds them against another source.
        Some(match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF"
            | b"UGX" | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"AED" | b"AFN" | b"ALL" | b"AMD" | b"ANG" | b"AOA" | b"ARS" | b"AUD" | b"AWG" | b"AZN"
            | b"BAM" | b"BBD" | b"BDT" | b"BGN" | b"BMD" | b"BND" | b"BOB" | b"BOV" | b"BRL" | b"BSD"
            | b"BTN" | b"BWP" | b"BYN" | b"BZD" | b"CAD" | b"CDF" | b"CHE" | b"CHF" | b"CHW" | b"CNY"
            | b"COP" | b"COU" | b"CRC" | b"CUC" | b"CUP" | b"CVE" | b"CZK" | b"DKK" | b"DOP" | b"DZD"
            | b"EGP" | b"ERN" | b"ETB" | b"EUR" | b"FJD" | b"FKP" | b"GBP" | b"GEL" | b"GHS" | b"GIP"
            | b"GMD" | b"GTQ" | b"GYD" | b"HKD" | b"HNL" | b"HRK" | b"HTG" | b"HUF" | b"IDR" | b"ILS"
            | b"INR" | b"IRR" | b"JMD" | b"KES" | b"KGS" | b"KHR" | b"KPW" | b"KYD" | b"KZT" | b"LAK"
            | b"LBP" | b"LKR" | b"LRD" | b"LSL" | b"MAD" | b"MDL" | b"MGA" | b"MKD" | b"MMK" | b"MNT"
            | b"MOP" | b"MRU" | b"MUR" | b"MVR" | b"MWK" | b"MXN" | b"MXV" | b"MYR" | b"MZN" | b"NAD"
            | b"NGN" | b"NIO" | b"NOK" | b"NPR" | b"NZD" | b"PAB" | b"PEN" | b"PGK" | b"PHP" | b"PKR"
            | b"PLN" | b"QAR" | b"RON" | b"RSD" | b"RUB" | b"SAR" | b"SBD" | b"SCR" | b"SDG" | b"SEK"
            | b"SGD" | b"SHP" | b"SLE" | b"SLL" | b"SOS" | b"SRD" | b"SSP" | b"STN" | b"SVC" | b"SYP"
            | b"SZL" | b"THB" | b"TJS" | b"TMT" | b"TOP" | b"TRY" | b"TTD" | b"TWD" | b"TZS" | b"UAH"
            | b"USD" | b"USN" | b"UYU" | b"UZS" | b"VED" | b"VES" | b"WST" | b"XAD" | b"XCD" | b"XCG"
            | b"YER" | b"ZAR" | b"ZMW" | b"ZWG" | b"ZWL" => 2,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => return None,
        })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&code).ok_or_else(|| de::Error::custom("a currency has three letters"))
    }
}

impl JsonSchema for Currency {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217 code." })
    }
}

/// An exact amount of one currency, in its major unit. Zero means free; unknown is `None` around it.
///
/// ```
/// use charging_sessions_core::{Currency, Money};
/// use rust_decimal::Decimal;
///
/// let pounds = Currency::parse("GBP").unwrap();
/// assert_eq!(Money::from_minor(634, pounds).unwrap().to_string(), "6.34 GBP");
/// let pence: Decimal = "21.3".parse()?;
/// assert_eq!(Money::from_minor(pence, pounds).unwrap().to_string(), "0.213 GBP");
/// # Ok::<(), rust_decimal::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Money {
    /// In the major unit, for example euros.
    #[serde(serialize_with = "serialize_decimal", deserialize_with = "deserialize_decimal")]
    #[schemars(schema_with = "amount_schema")]
    pub amount: Decimal,
    /// The currency.
    pub currency: Currency,
}

fn amount_schema(_: &mut SchemaGenerator) -> Schema {
    decimal_schema("In the major unit, as a decimal string.")
}

impl Money {
    /// From the major unit, for example euros.
    pub const fn new(amount: Decimal, currency: Currency) -> Self {
        Self { amount, currency }
    }

    /// From the minor unit, for example cents. `None` if the currency is not in use, or the amount has more
    /// digits than a decimal can hold.
    pub fn from_minor(minor: impl Into<Decimal>, currency: Currency) -> Option<Self> {
        let mut amount = minor.into();
        amount.set_scale(amount.scale() + currency.minor_digits()?).ok()?;
        Some(Self { amount, currency })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_of_any_length_is_a_decimal_or_none() {
        for text in ["0", "+1.5", "-0.07", ".5", "5.", "79228162514264337593543950335"] {
            assert_eq!(decimal_from_str(text), Decimal::from_str_exact(text).ok(), "{text}");
            assert!(decimal_from_str(text).is_some(), "{text}");
        }
        let long = |part: &str| part.repeat(1_000_000);
        for text in [
            long("_"),
            format!("1{}", long("_")),
            long("9"),
            long("."),
            long("-"),
            format!("0.{}", long("1")),
        ] {
            assert_eq!(decimal_from_str(&text), None);
            assert!(serde_json::from_str::<Energy>(&format!("\"{text}\"")).is_err());
        }
        assert!(
            ["", "1e3", "1_000", "1,5", " 1", "0x1", "1 000"]
                .into_iter()
                .all(|text| decimal_from_str(text).is_none())
        );
    }

    #[test]
    fn energy_keeps_every_digit() {
        let energy: Energy = serde_json::from_str("49245.0").unwrap();
        assert_eq!(energy, Energy::from_kwh("49.2450".parse().unwrap()).unwrap());
        assert_eq!(serde_json::to_string(&energy).unwrap(), "\"49245\"");
        assert_eq!(serde_json::to_string(&Energy::from_mwh(-1)).unwrap(), "\"-0.001\"");
        assert_eq!(Energy::from_kwh(decimal_from_f64(0.1 + 0.2).unwrap()).unwrap().to_string(), "0.3 kWh");
    }

    #[test]
    fn a_half_milliwatt_hour_rounds_to_even() {
        let mwh = |kwh: &str| Energy::from_kwh(kwh.parse().unwrap()).unwrap().as_mwh();
        assert_eq!((mwh("0.0000005"), mwh("0.0000015"), mwh("-0.0000025")), (0, 2, -2));
    }

    #[test]
    fn the_noise_of_floats_is_rounded_away() {
        for (noisy, meant) in [
            (0.1 + 0.2, "0.3"),
            (76.992_935_180_664_06, "76.9929351806641"),
            (12.299_999_999_999_999, "12.3"),
            (9_007_199_254_740_993.0, "9007199254740990"),
            (-1e-20, "-0.00000000000000000001"),
        ] {
            assert_eq!(decimal_from_f64(noisy).unwrap().to_string(), meant);
        }
    }

    #[test]
    fn what_does_not_fit_is_none_and_not_a_panic() {
        assert_eq!(Energy::from_wh(i64::MAX), None);
        assert_eq!(Energy::from_kwh(Decimal::MAX), None);
        assert_eq!(Energy::from_mwh(i64::MAX).checked_add(Energy::from_mwh(1)), None);
        assert_eq!([Energy::from_mwh(i64::MAX); 2].into_iter().sum::<Energy>(), Energy::from_mwh(i64::MAX));
        assert_eq!(decimal_from_f64(f64::NAN), None);
        assert_eq!(decimal_from_f64(f64::INFINITY), None);
        assert_eq!(decimal_from_f64(1e300), None);
        assert!(serde_json::from_str::<Energy>("\"1e400\"").is_err());
        assert!(serde_json::from_str::<Energy>("\"\"").is_err());
    }

    #[test]
    fn minor_units_follow_the_currency() {
        let text = |minor: i64, code: &str| {
            Money::from_minor(minor, Currency::parse(code).unwrap()).map(|money| money.to_string())
        };
        assert_eq!(text(634, "GBP").unwrap(), "6.34 GBP");
        assert_eq!(text(634, "jpy").unwrap(), "634 JPY");
        assert_eq!(text(634, "KWD").unwrap(), "0.634 KWD");
        assert_eq!(text(-5, "EUR").unwrap(), "-0.05 EUR");
        assert_eq!(text(i64::MIN, "CLF").unwrap(), "-922337203685477.5808 CLF");
        assert_eq!(text(1, "XYZ"), None, "a currency nobody uses has no known minor unit");
    }

    #[test]
    fn a_price_in_decimal_pence_is_exact() {
        let price = Money::from_minor("21.3".parse::<Decimal>().unwrap(), Currency::parse("GBP").unwrap());
        assert_eq!(serde_json::to_string(&price).unwrap(), r#"{"amount":"0.213","currency":"GBP"}"#);
        let too_long = Decimal::from_str_exact("0.0000000000000000000000000001").unwrap();
        assert_eq!(Money::from_minor(too_long, Currency::parse("GBP").unwrap()), None);
    }

    #[test]
    fn minor_digits_agree_with_another_source() {
        let differing: Vec<_> = <iso_currency::Currency as iso_currency::IntoEnumIterator>::iter()
            // Metals and test codes have no minor unit; ours leaves them out.
            .filter_map(|code| Some((code.code(), u32::from(code.exponent()?))))
            .filter(|(code, digits)| Currency::parse(code).unwrap().minor_digits() != Some(*digits))
            .collect();
        assert_eq!(differing, []);
        let letters = || b'A'..=b'Z';
        for code in letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c]))) {
            let ours = Currency(code);
            // Ours may know codes that the other source no longer or not yet has, but never disagrees.
            if let (Some(digits), Some(theirs)) =
                (ours.minor_digits(), iso_currency::Currency::from_code(ours.code()))
            {
                assert_eq!(theirs.exponent().map(u32::from), Some(digits), "{ours}");
            }
        }
    }

    #[test]
    fn a_currency_is_three_letters() {
        assert_eq!((Currency::in_use("XYZ"), Currency::in_use("eur")), (None, Currency::parse("EUR")));
        for code in ["", "EU", "EURO", "E1R", "€"] {
            assert_eq!(Currency::parse(code), None, "{code}");
        }
    }

    proptest! {
        #[test]
        fn fifteen_digits_survive_json(digits in 0..1_000_000_000_000_000_i64, scale in 0..16_u32, negative: bool) {
            let written = Decimal::new(if negative { -digits } else { digits }, scale);
            let parsed: f64 = serde_json::from_str(&written.to_string()).unwrap();
            prop_assert_eq!(decimal_from_f64(parsed).unwrap(), written);
        }

        #[test]
        fn a_short_decimal_is_the_one_that_the_shortest_form_says(digits: i64, places in 0..7_i32, value: f64) {
            let long = |value: f64| value.to_string().parse::<Decimal>().ok();
            for value in [(digits >> 20) as f64 / 10_f64.powi(places), digits as f64, value] {
                if let Some(short) = short_decimal(value) {
                    let long = long(value).unwrap();
                    prop_assert_eq!((short.mantissa(), short.scale()), (long.mantissa(), long.scale()));
                }
            }
            prop_assert!(short_decimal((digits >> 30) as f64 / 8.0 + 0.5).is_some() || digits >> 30 == -4);
        }

        #[test]
        fn decimals_are_written_as_they_are_shown(mantissa: i64, scale in 0..20_u32, small: i16) {
            for mantissa in [mantissa, small.into(), 0] {
                let value = Decimal::new(mantissa, scale);
                let written = serde_json::to_value(Percent(value)).unwrap();
                prop_assert_eq!(written, value.to_string());
                let energy = Energy::from_mwh(mantissa);
                prop_assert_eq!(serde_json::to_value(energy).unwrap(), energy.as_wh().to_string());
            }
        }

        #[test]
        fn every_energy_survives_serialization(mwh: i64) {
            let energy = Energy::from_mwh(mwh);
            let json = serde_json::to_string(&energy).unwrap();
            prop_assert_eq!(serde_json::from_str::<Energy>(&json).unwrap(), energy);
        }

        #[test]
        fn no_float_panics(value: f64) {
            let _ = decimal_from_f64(value);
            let _ = Percent::from_f64(value);
        }
    }
}
