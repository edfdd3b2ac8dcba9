//! The people, vehicles, chargers and prices of the invented account.

use std::sync::LazyLock;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::sandbox::random::Random;

/// When the account was opened, in milliseconds since 1970; the ids of its assets say so.
const OPENED: i64 = 1_718_000_000_000;

/// A time zone and the rule it follows.
///
/// The rule is written out because the library brings no zone database, and the one of the machine may be
/// missing or old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    pub(super) name: &'static str,
    rule: &'static LazyLock<TimeZone>,
}

static LONDON_RULE: LazyLock<TimeZone> = LazyLock::new(|| rule("GMT0BST,M3.5.0/1,M10.5.0"));
static AZORES_RULE: LazyLock<TimeZone> = LazyLock::new(|| rule("<-01>1<+00>,M3.5.0/0,M10.5.0/1"));

static LONDON: Zone = Zone { name: "Europe/London", rule: &LONDON_RULE };
static AZORES: Zone = Zone { name: "Atlantic/Azores", rule: &AZORES_RULE };

fn rule(posix: &str) -> TimeZone {
    TimeZone::posix(posix).expect("the rules above are well formed")
}

impl Zone {
    /// Month (1 to 12) and minute of the day that clocks show at `second` since 1970.
    pub(super) fn month_and_minute(self, second: i64) -> (usize, i64) {
        let local = self.rule.to_datetime(moment(second));
        let month = usize::try_from(local.month()).expect("months are positive");
        (month, i64::from(local.hour()) * 60 + i64::from(local.minute()))
    }

    /// The date at `second` since 1970.
    pub(super) fn date(self, second: i64) -> Date {
        self.rule.to_datetime(moment(second)).date()
    }

    /// The second since 1970 when clocks show this minute of the day and this second.
    pub(super) fn at(self, date: Date, minute: i64, second: i64) -> i64 {
        let part = |number: i64| i8::try_from(number).expect("a time of day");
        let local = date.at(part(minute / 60), part(minute % 60), part(second), 0);
        self.rule.to_timestamp(local).expect("a date of our time").as_second()
    }
}

/// A moment that is known to be in range.
pub(super) fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a second of our time")
}

/// Where charging happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) name: &'static str,
    /// Hundred-thousandths of a degree: latitude, longitude.
    pub(super) coordinates: (i64, i64),
    pub(super) postal_code: &'static str,
    pub(super) address: &'static str,
    pub(super) zone: &'static Zone,
}

/// Homes first.
pub(super) static PLACES: [Place; 8] = [
    place("Home", (5_152_417, -8_213), "ZZ1 4AB", "14 Example Terrace", &LONDON),
    place("Island house", (3_774_122, -2_566_841), "9500-000", "2 Example Lane", &AZORES),
    place("Flat", (5_347_905, -224_518), "ZZ7 2QX", "Flat 3, 80 Example Street", &LONDON),
    place("Harbour Retail Park", (5_145_310, -259_733), "ZZ2 9HP", "Quay Road", &LONDON),
    place("Northbound Services", (5_236_044, -117_206), "ZZ3 5NS", "Motorway junction 19", &LONDON),
    place("Old Mill Car Park", (5_220_071, 11_874), "ZZ4 1MC", "Mill Lane", &LONDON),
    place("Marina Car Park", (3_773_980, -2_566_310), "9500-001", "Example Avenue", &AZORES),
    place("Airport Short Stay", (3_774_530, -2_569_720), "9500-002", "Terminal Road", &AZORES),
];

/// Where the public places begin among [`PLACES`].
pub(super) const PUBLIC: usize = 3;

const fn place(
    name: &'static str,
    coordinates: (i64, i64),
    postal_code: &'static str,
    address: &'static str,
    zone: &'static Zone,
) -> Place {
    Place { name, coordinates, postal_code, address, zone }
}

/// Somebody who charges.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) place: usize,
}

/// A vehicle and the habits of its driver.
#[derive(Clone, Debug)]
pub(super) struct Vehicle {
    pub(super) id: String,
    pub(super) make: Named,
    pub(super) model: Named,
    pub(super) trim: Named,
    pub(super) user: usize,
    /// The charger at home, unless it is one the account does not know.
    pub(super) evse: Option<usize>,
    pub(super) place: usize,
    pub(super) battery_wh: i64,
    pub(super) ac_watts: i64,
    pub(super) dc_watts: i64,
    /// Whether the household has panels on its roof.
    pub(super) solar: bool,
    /// How many drivers of a hundred would have smart charging on.
    pub(super) smart_percent: u64,
    /// The chance to plug in on a day from Monday to Friday, and on one of the weekend.
    pub(super) plug_in_percent: (u64, u64),
}

/// A charger at home.
#[derive(Clone, Debug)]
pub(super) struct Evse {
    pub(super) id: String,
    pub(super) make: Named,
    pub(super) model: Named,
    pub(super) cpid: String,
    pub(super) user: usize,
    pub(super) place: usize,
    pub(super) watts: i64,
}

/// A name with an id of its own.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) name: &'static str,
}

/// What electricity costs, in hundredths of a minor unit per kilowatt-hour.
#[derive(Clone, Debug)]
pub(super) struct Tariff {
    pub(super) id: String,
    pub(super) supplier: Named,
    pub(super) feed: Named,
    pub(super) currency: String,
    pub(super) night: i64,
    pub(super) day: i64,
}

/// The minutes of the day between which electricity is cheap.
pub(super) const NIGHT: (i64, i64) = (30, 5 * 60 + 30);

impl Tariff {
    /// The price at a minute of the day.
    pub(super) fn price(&self, minute: i64) -> i64 {
        if (NIGHT.0..NIGHT.1).contains(&minute) { self.night } else { self.day }
    }

    /// How many decimal places the currency has.
    pub(super) fn minor_digits(&self) -> usize {
        match self.currency.as_str() {
            "CLP" | "ISK" | "JPY" | "KRW" | "VND" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            _ => 2,
        }
    }
}

/// Everything that is there before anybody charges.
#[derive(Clone, Debug)]
pub(super) struct Assets {
    pub(super) users: Vec<User>,
    pub(super) vehicles: Vec<Vehicle>,
    pub(super) evses: Vec<Evse>,
    pub(super) tariff: Tariff,
}

impl Assets {
    pub(super) fn invent(seed: u64, currency: &str) -> Self {
        let mut ids = Ids { random: Random::new(&[seed, u64::from_be_bytes(*b"account_")]) };
        let users = [
            ("Sam Example", "sam@example.org", 0),
            ("Ada Example", "ada@example.org", 1),
            ("Kim Example", "kim@example.org", 2),
        ]
        .map(|(name, email, place)| User { id: ids.next("user"), name, email, place });
        let (halden, corvane) = (ids.named("vmak", "Halden"), ids.named("vmak", "Corvane"));
        let charger_make = ids.named("emak", "Ohmstead");
        let fjord = ids.named("vmod", "Fjord");
        Self {
            vehicles: vec![
                Vehicle {
                    id: ids.next("vhcl"),
                    make: halden.clone(),
                    model: fjord.clone(),
                    trim: ids.named("trim", "Fjord 64"),
                    user: 0,
                    evse: Some(0),
                    place: 0,
                    battery_wh: 64_000,
                    ac_watts: 7_400,
                    dc_watts: 78_000,
                    solar: false,
                    smart_percent: 92,
                    plug_in_percent: (62, 38),
                },
                Vehicle {
                    id: ids.next("vhcl"),
                    make: halden,
                    model: fjord,
                    trim: ids.named("trim", "Fjord 77 Touring"),
                    user: 1,
                    evse: Some(1),
                    place: 1,
                    battery_wh: 77_000,
                    ac_watts: 11_000,
                    dc_watts: 135_000,
                    solar: true,
                    smart_percent: 85,
                    plug_in_percent: (55, 60),
                },
                Vehicle {
                    id: ids.next("vhcl"),
                    make: corvane.clone(),
                    model: ids.named("vmod", "Estate"),
                    trim: ids.named("trim", "Estate 100"),
                    user: 1,
                    evse: Some(1),
                    place: 1,
                    battery_wh: 100_000,
                    ac_watts: 22_000,
                    dc_watts: 150_000,
                    solar: true,
                    smart_percent: 60,
                    plug_in_percent: (34, 20),
                },
                Vehicle {
                    id: ids.next("vhcl"),
                    make: corvane,
                    model: ids.named("vmod", "Mite"),
                    trim: ids.named("trim", "Mite 40"),
                    user: 2,
                    evse: None,
                    place: 2,
                    battery_wh: 40_000,
                    ac_watts: 3_600,
                    dc_watts: 50_000,
                    solar: false,
                    smart_percent: 55,
                    plug_in_percent: (44, 30),
                },
            ],
            evses: vec![
                Evse {
                    id: ids.next("evse"),
                    make: charger_make.clone(),
                    model: ids.named("emod", "Solo 7"),
                    cpid: "OHM-0007-4411".to_owned(),
                    user: 0,
                    place: 0,
                    watts: 7_400,
                },
                Evse {
                    id: ids.next("evse"),
                    make: charger_make,
                    model: ids.named("emod", "Trio 22"),
                    cpid: "OHM-0022-9035".to_owned(),
                    user: 1,
                    place: 1,
                    watts: 22_000,
                },
            ],
            tariff: {
                let (night, day) = prices(currency);
                Tariff {
                    id: ids.next("tari"),
                    supplier: ids.named("supl", "Evergrid"),
                    feed: ids.named("cabf", "National mix"),
                    currency: currency.to_owned(),
                    night,
                    day,
                }
            },
            users: users.into(),
        }
    }
}

/// Prices of a plausible size, in hundredths of a minor unit: 7.5 and 24.86 pence, 18.5 and 34.12 yen.
fn prices(currency: &str) -> (i64, i64) {
    match currency {
        "EUR" => (1_420, 3_157),
        "USD" => (1_190, 2_965),
        "JPY" => (1_850, 3_412),
        "KWD" => (320, 525),
        _ => (750, 2_486),
    }
}

struct Ids {
    random: Random,
}

impl Ids {
    fn next(&mut self, prefix: &str) -> String {
        let millis = OPENED + self.random.between(0, 86_400_000);
        format!("{prefix}{}", self.random.ulid(millis))
    }

    fn named(&mut self, prefix: &str, name: &'static str) -> Named {
        Named { id: self.next(prefix), name }
    }
}
