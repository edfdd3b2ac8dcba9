//! Which sessions to read.

use std::{fmt, num::NonZeroU32};

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit, civil::Date, tz::Offset};
use serde::{Deserialize, Serialize};

use crate::{AssetKind, AssetRef, Capabilities, ChargingSession, Error, ErrorKind, Result};

/// A half-open span of time: `from <= t < until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bounds", into = "Bounds")]
pub struct TimeWindow {
    from: Timestamp,
    until: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Bounds {
    from: Timestamp,
    until: Timestamp,
}

impl TimeWindow {
    /// A window, unless it would be empty or reversed.
    pub fn new(from: Timestamp, until: Timestamp) -> Option<Self> {
        (from < until).then_some(Self { from, until })
    }

    /// First instant inside.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// First instant after.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Bounds for a provider that includes neither of them, and whose instants resolve this much. They hold the window,
    /// and less than one unit more at its end.
    pub fn open_bounds(&self, resolution: Unit) -> (Timestamp, Timestamp) {
        let round = |instant: Timestamp, mode| {
            let rounded = instant.round(TimestampRound::new().smallest(resolution).mode(mode));
            rounded.unwrap_or(instant)
        };
        let before = self.from.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(self.from);
        (round(before, RoundMode::Floor), round(self.until, RoundMode::Ceil))
    }

    /// The first and the last day in UTC that it reaches into, for providers that are asked by whole days.
    pub fn utc_days(&self) -> (Date, Date) {
        let day = |instant| Offset::UTC.to_datetime(instant).date();
        (day(self.from), day(self.until - SignedDuration::from_nanos(1)))
    }

    /// Whether `instant` is inside.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.from <= instant && instant < self.until
    }
}

impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.from, self.until)
    }
}

impl TryFrom<Bounds> for TimeWindow {
    type Error = &'static str;

    fn try_from(Bounds { from, until }: Bounds) -> Result<Self, &'static str> {
        Self::new(from, until).ok_or("`until` is not after `from`")
    }
}

impl From<TimeWindow> for Bounds {
    fn from(TimeWindow { from, until }: TimeWindow) -> Self {
        Self { from, until }
    }
}

/// Which sessions to read. The same for every provider; what only one provider can do is an option of its
/// source.
///
/// Conditions are combined: a session must meet all of them. A source refuses a query that needs more than
/// its [`Capabilities`] declare, before it sends anything.
///
/// ```
/// use charging_sessions_core::{SessionQuery, TimeWindow};
///
/// let june = TimeWindow::new("2026-06-01T00:00:00Z".parse()?, "2026-07-01T00:00:00Z".parse()?).unwrap();
/// let query = SessionQuery::started_in(june).with_finished(true);
/// assert!(query.window().is_some_and(|w| w.contains("2026-06-30T23:59:59Z".parse().unwrap())));
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<TimeWindow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assets: Vec<AssetRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_size: Option<NonZeroU32>,
}

impl SessionQuery {
    /// Everything the account can see.
    pub fn all() -> Self {
        Self::default()
    }

    /// Sessions whose [`Period::start`](crate::Period) lies in `window`.
    pub fn started_in(window: TimeWindow) -> Self {
        Self { window: Some(window), ..Self::default() }
    }

    /// Sessions created or changed at or after `instant`.
    pub fn changed_since(instant: Timestamp) -> Self {
        Self { updated_since: Some(instant), ..Self::default() }
    }

    /// Only sessions of this vehicle or charge point. Call again to add another: any of them matches.
    #[must_use]
    pub fn with_asset(mut self, asset: AssetRef) -> Self {
        // In order and without repetition, so that equal queries are equal values.
        if let Err(place) = self.assets.binary_search(&asset) {
            self.assets.insert(place, asset);
        }
        self
    }

    /// Only sessions that have ended (`true`) or have not (`false`).
    #[must_use]
    pub fn with_finished(mut self, finished: bool) -> Self {
        self.finished = Some(finished);
        self
    }

    /// Asks for pages of about `n` records. A hint: a source caps it at what its provider accepts.
    #[must_use]
    pub fn with_page_size(mut self, n: NonZeroU32) -> Self {
        self.page_size = Some(n);
        self
    }

    /// Sessions that started inside this window.
    pub fn window(&self) -> Option<TimeWindow> {
        self.window
    }

    /// Sessions changed at or after this instant.
    pub fn updated_since(&self) -> Option<Timestamp> {
        self.updated_since
    }

    /// Sessions of any of these assets; of all assets if empty. Sorted, without repetition.
    pub fn assets(&self) -> &[AssetRef] {
        &self.assets
    }

    /// Sessions that have ended, or have not.
    pub fn finished(&self) -> Option<bool> {
        self.finished
    }

    /// The wanted page size.
    pub fn page_size(&self) -> Option<NonZeroU32> {
        self.page_size
    }

    /// The size of the pages to ask for, where the provider accepts no more than `largest`: as wanted, or the largest.
    pub fn page_size_within(&self, largest: u32) -> u32 {
        self.page_size.map_or(largest, |wanted| wanted.get().min(largest))
    }

    /// Leaves out the sessions that start outside the window, for sources whose provider can only be asked for more.
    /// A session without a start stays, because it cannot be placed.
    pub fn clip(&self, sessions: &mut Vec<ChargingSession>) {
        if let Some(window) = self.window {
            let inside = |start| window.contains(start);
            sessions.retain(|session| session.timing.period.start.is_none_or(inside));
        }
    }

    /// Fails if the query needs something that `capabilities` lack. Sources call this before anything else.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] naming the condition.
    pub fn check(&self, capabilities: Capabilities) -> Result<()> {
        let missing = if self.window.is_some() && !capabilities.window {
            "a time window"
        } else if self.updated_since.is_some() && !capabilities.updated_since {
            "changes since an instant"
        } else if self.finished.is_some() && !capabilities.finished {
            "finished or unfinished sessions only"
        } else if let Some(asset) = self.assets.iter().find(|a| !capabilities.assets.contains(&a.kind)) {
            match asset.kind {
                AssetKind::Vehicle => "one vehicle",
                AssetKind::ChargePoint => "one charge point",
            }
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Unsupported, format!("this provider cannot be asked for {missing}")))
    }

    /// A short digest of the conditions, without the page size. Two queries with the same digest ask for
    /// the same sessions; a [`Cursor`](crate::Cursor) carries it so that it cannot continue another query.
    pub fn fingerprint(&self) -> String {
        let conditions = Self { page_size: None, ..self.clone() };
        let text = serde_json::to_string(&conditions).expect("conditions are plain data");
        // FNV-1a: a guard against mistakes, not against forgery.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountId, Endpoint, Provenance, ProviderId, RecordKind, SessionKey, SessionStatus};

    fn window() -> TimeWindow {
        TimeWindow::new("2026-03-01T00:00:00Z".parse().unwrap(), "2026-04-01T00:00:00Z".parse().unwrap())
            .unwrap()
    }

    #[test]
    fn a_window_includes_its_start_and_not_its_end() {
        assert!(window().contains(window().from()));
        assert!(!window().contains(window().until()));
        assert_eq!(TimeWindow::new(window().until(), window().from()), None);
        assert_eq!(TimeWindow::new(window().from(), window().from()), None);
    }

    #[test]
    fn a_window_reaches_into_the_days_of_its_first_and_last_instant() {
        let days = |from: &str, until: &str| {
            let window = TimeWindow::new(from.parse().unwrap(), until.parse().unwrap()).unwrap();
            let (first, last) = window.utc_days();
            format!("{first} {last}")
        };
        assert_eq!(days("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"), "2026-03-01 2026-03-01");
        assert_eq!(days("2026-03-01T00:00:00Z", "2026-03-02T00:00:00.000000001Z"), "2026-03-01 2026-03-02");
        assert_eq!(days("2026-02-28T23:59:59Z", "2026-03-01T00:00:01Z"), "2026-02-28 2026-03-01");
    }

    #[test]
    fn open_bounds_lie_just_outside_the_window() {
        let bounds = |from: &str, until: &str, resolution| {
            let window = TimeWindow::new(from.parse().unwrap(), until.parse().unwrap()).unwrap();
            let (after, before) = window.open_bounds(resolution);
            format!("{after} {before}")
        };
        assert_eq!(
            bounds("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", Unit::Millisecond),
            "2026-02-28T23:59:59.999Z 2026-04-01T00:00:00Z"
        );
        assert_eq!(
            bounds("2026-03-01T00:00:00.0000015Z", "2026-03-01T00:00:00.0000025Z", Unit::Microsecond),
            "2026-03-01T00:00:00.000001Z 2026-03-01T00:00:00.000003Z"
        );
    }

    #[test]
    fn pages_are_as_wanted_up_to_the_largest() {
        let sized = |n| SessionQuery::all().with_page_size(NonZeroU32::new(n).unwrap());
        assert_eq!(SessionQuery::all().page_size_within(25), 25);
        assert_eq!(sized(7).page_size_within(25), 7);
        assert_eq!(sized(70).page_size_within(25), 25);
    }

    #[test]
    fn what_starts_outside_the_window_is_clipped() {
        let starts = ["2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z", "", "2026-04-01T00:00:00Z"];
        let all = starts.map(|start| {
            let key = SessionKey::new(ProviderId::new("x"), AccountId::default(), RecordKind::Charge, start);
            let origin = Provenance::new(Endpoint::new("GET /", None), Timestamp::UNIX_EPOCH, 1);
            let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
            session.timing.period.start = start.parse().ok();
            session
        });
        let left = |query: SessionQuery| {
            let mut sessions = all.to_vec();
            query.clip(&mut sessions);
            sessions.into_iter().map(|session| session.identity.key.source_id).collect::<Vec<_>>()
        };
        assert_eq!(left(SessionQuery::all()), starts);
        assert_eq!(left(SessionQuery::started_in(window())), ["2026-03-01T00:00:00Z", ""]);
    }

    #[test]
    fn a_reversed_window_cannot_be_read_back() {
        let json = r#"{"from":"2026-04-01T00:00:00Z","until":"2026-03-01T00:00:00Z"}"#;
        let error = serde_json::from_str::<TimeWindow>(json).unwrap_err();
        assert_eq!(error.to_string(), "`until` is not after `from`");
    }

    #[test]
    fn assets_are_a_set() {
        let (a, b) = (AssetRef::vehicle("a"), AssetRef::charge_point("b"));
        let one = SessionQuery::all().with_asset(a.clone()).with_asset(b.clone()).with_asset(a.clone());
        assert_eq!(one, SessionQuery::all().with_asset(b).with_asset(a));
        assert_eq!(one.assets().len(), 2);
    }

    #[test]
    fn what_is_not_declared_is_refused_by_name() {
        let none = Capabilities::none();
        for (query, words) in [
            (SessionQuery::started_in(window()), "a time window"),
            (SessionQuery::changed_since(window().from()), "changes since an instant"),
            (SessionQuery::all().with_finished(true), "finished or unfinished"),
            (SessionQuery::all().with_asset(AssetRef::vehicle("v")), "one vehicle"),
            (SessionQuery::all().with_asset(AssetRef::charge_point("c")), "one charge point"),
        ] {
            let error = query.check(none).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(words), "{error}");
        }
        SessionQuery::all().check(none).unwrap();
    }

    #[test]
    fn the_fingerprint_ignores_the_page_size_only() {
        let query = SessionQuery::started_in(window());
        let sized = query.clone().with_page_size(NonZeroU32::MIN);
        assert_eq!(query.fingerprint(), sized.fingerprint());
        assert_ne!(query.fingerprint(), SessionQuery::all().fingerprint());
        assert_ne!(query.fingerprint(), query.clone().with_finished(true).fingerprint());
    }

    #[test]
    fn a_query_survives_serialization() {
        let query =
            SessionQuery::started_in(window()).with_asset(AssetRef::vehicle("v")).with_finished(false);
        let json = serde_json::to_string(&query).unwrap();
        assert_eq!(serde_json::from_str::<SessionQuery>(&json).unwrap(), query);
    }
}
