//! Every check of the suite is proven able to fail: a source that breaks just one promise trips it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use charging_sessions_core::*;
use charging_sessions_testkit::conformance::{CHECKS, Subject, failures};
use jiff::{SignedDuration, Timestamp};

const MEMORY: ProviderId = ProviderId::new("memory");
const SECRET: &str = "hunter2";

/// Which promise a source breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    Nothing,
    LosesTheLastOfAPage,
    OverfillsPages,
    RestartsOnResume,
    TrustsAnyCursor,
    IgnoresUndeclaredConditions,
    IncludesTheEndOfAWindow,
    ExcludesTheStartOfAWindow,
    IgnoresFinished,
    IgnoresAssets,
    ForgetsTheSecondAsset,
    HidesActiveSessions,
    ChangesKeys,
    DropsPayloads,
    GivesIntervalsBackwards,
    ShowsItsSecret,
}

/// An account in memory: ten sessions, an hour apart, the last of them active, of two vehicles.
struct Memory {
    breaks: Breaks,
    requests: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = if self.breaks == Breaks::ShowsItsSecret { SECRET } else { "[hidden]" };
        f.debug_struct("Memory").field("secret", &secret).finish()
    }
}

const COUNT: usize = 10;

fn start(n: usize) -> Timestamp {
    Timestamp::constant(1_790_000_000, 0) + SignedDuration::from_hours(n as i64)
}

impl Memory {
    fn session(&self, n: usize) -> ChargingSession {
        let id = match self.breaks {
            Breaks::ChangesKeys => format!("s{n}-{}", self.requests.load(Ordering::Relaxed)),
            _ => format!("s{n}"),
        };
        let key = SessionKey::new(MEMORY, AccountId::default(), RecordKind::PlugIn, id);
        let active = n == COUNT - 1 && self.breaks != Breaks::HidesActiveSessions;
        let status = if active { SessionStatus::Active } else { SessionStatus::Completed };
        let mut origin = Provenance::new(Endpoint::new("GET /sessions", None), start(20), 1);
        if self.breaks != Breaks::DropsPayloads {
            origin.payload = Some("{}".into());
        }
        let mut session = ChargingSession::new(key, status, origin);
        session.timing.period.start = Some(start(n));
        let mut vehicle = Vehicle::default();
        vehicle.source_id = Some(format!("v{}", n % 2));
        session.parties.vehicle = Some(vehicle);
        session
    }

    fn matches(&self, session: &ChargingSession, query: &SessionQuery) -> bool {
        let at = session.timing.period.start.unwrap();
        let in_window = query.window().is_none_or(|window| match self.breaks {
            Breaks::IncludesTheEndOfAWindow => window.from() <= at && at <= window.until(),
            Breaks::ExcludesTheStartOfAWindow => window.from() < at && at < window.until(),
            _ => window.contains(at),
        });
        let finished = session.state.status == SessionStatus::Completed;
        let as_finished = self.breaks == Breaks::IgnoresFinished
            || query.finished().is_none_or(|wanted| wanted == finished);
        let assets = match self.breaks {
            Breaks::IgnoresAssets => &[],
            Breaks::ForgetsTheSecondAsset => &query.assets()[..query.assets().len().min(1)],
            _ => query.assets(),
        };
        let vehicle = session.parties.vehicle.as_ref().and_then(|vehicle| vehicle.source_id.as_ref());
        let of_asset = assets.is_empty() || assets.iter().any(|asset| Some(&asset.id) == vehicle);
        in_window && as_finished && of_asset
    }
}

#[async_trait]
impl ChargingSessionSource for Memory {
    fn provider(&self) -> ProviderId {
        MEMORY
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
            .window()
            .assets(&[AssetKind::Vehicle])
            .finished()
            .active_sessions()
            .intervals()
            .max_page_size(4)
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        if self.breaks != Breaks::IgnoresUndeclaredConditions {
            query.check(self.capabilities())?;
        }
        let at: usize = match cursor {
            None => 0,
            Some(cursor) if self.breaks == Breaks::TrustsAnyCursor => {
                cursor.decode(MEMORY, 1, query).unwrap_or_default()
            }
            Some(cursor) => {
                let at = cursor.decode(MEMORY, 1, query)?;
                if self.breaks == Breaks::RestartsOnResume && at == 4 { 0 } else { at }
            }
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let most = if self.breaks == Breaks::OverfillsPages { 5 } else { 4 };
        let size = query.page_size().map_or(most, |n| (n.get() as usize).min(most));
        let all: Vec<_> =
            (0..COUNT).map(|n| self.session(n)).filter(|session| self.matches(session, query)).collect();
        let mut page = SessionPage::default();
        page.sessions = all.iter().skip(at).take(size).cloned().collect();
        let next = at + size;
        page.next = (next < all.len()).then(|| Cursor::encode(MEMORY, 1, query, &next));
        if self.breaks == Breaks::LosesTheLastOfAPage && page.sessions.len() == 4 {
            page.sessions.pop();
        }
        Ok(page)
    }
}

#[async_trait]
impl IntervalSource for Memory {
    async fn fetch_intervals(&self, _: &SessionKey) -> Result<SessionIntervals> {
        let interval = |n| {
            let mut interval = Interval::default();
            interval.start = Some(start(n));
            interval
        };
        let mut answer = SessionIntervals::default();
        answer.intervals = vec![interval(0), interval(1)];
        if self.breaks == Breaks::GivesIntervalsBackwards {
            answer.intervals.reverse();
        }
        Ok(answer)
    }
}

fn subject(breaks: Breaks) -> Subject {
    let requests = Arc::new(AtomicUsize::new(0));
    let source = Arc::new(Memory { breaks, requests: Arc::clone(&requests) });
    let records = (0..COUNT).map(|n| format!("s{n}"));
    Subject::new(source.clone(), records, move || requests.load(Ordering::Relaxed))
        .with_intervals(source)
        .with_secrets([SECRET])
}

#[tokio::test]
async fn a_source_that_keeps_every_promise_passes() {
    assert_eq!(failures(&subject(Breaks::Nothing)).await, [].into());
}

#[tokio::test]
async fn every_check_is_tripped_by_a_source_that_breaks_its_promise() {
    use Breaks::*;
    let cases = [
        (LosesTheLastOfAPage, "a listing is complete under every page size"),
        (OverfillsPages, "a page holds no more records than the largest page declared"),
        (RestartsOnResume, "a listing goes on from every stored cursor, and the rest is the same"),
        (TrustsAnyCursor, "a foreign, outdated, damaged or mismatched cursor is refused before any request"),
        (IgnoresUndeclaredConditions, "a query beyond the capabilities is refused before any request"),
        (IncludesTheEndOfAWindow, "a window includes its first instant and excludes its last"),
        (ExcludesTheStartOfAWindow, "a window includes its first instant and excludes its last"),
        (IgnoresFinished, "finished and unfinished sessions are told apart"),
        (IgnoresAssets, "a query for assets gives the sessions of these assets and no others"),
        (ForgetsTheSecondAsset, "a query for assets gives the sessions of these assets and no others"),
        (HidesActiveSessions, "active sessions are reported if and only if declared"),
        (ChangesKeys, "keys are the same in every listing, and carry the provider's name"),
        (DropsPayloads, "every session keeps the bytes it was mapped from"),
        (GivesIntervalsBackwards, "intervals can be read, oldest first, if and only if declared"),
        (ShowsItsSecret, "no secret shows in the source, its cursors or its errors"),
    ];
    for (breaks, check) in cases {
        let failures = failures(&subject(breaks)).await;
        assert!(failures.contains_key(check), "{breaks:?} trips {:?}", failures.keys());
    }
    for check in CHECKS {
        assert!(cases.iter().any(|(_, name)| *name == check.name), "nothing trips: {}", check.name);
    }
}
