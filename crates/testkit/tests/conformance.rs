//! Every check of the suite is proven able to fail: a source that breaks just one promise trips it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use charging_sessions_core::*;
use charging_sessions_http::{
    Answer, Authenticator, Bytes, Channel, Client, Dialect, Limits, OAuth2, Request, Response, SecretString,
    SignIn, Transport, Url, items,
};
use charging_sessions_testkit::conformance::{CHECKS, Parts, Subject, failures};
use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const MEMORY: ProviderId = ProviderId::new("memory");
const SECRET: &str = "hunter2 & co";
const COUNT: usize = 10;

/// Which promise a source breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    Nothing,
    BringsItsOwnTransport,
    LosesTheLastOfAPage,
    OverfillsPages,
    RestartsOnResume,
    KnowsOnlyItsOwnCursors,
    TrustsAnyCursor,
    TrustsAnyCursorOfAssets,
    IgnoresUndeclaredConditions,
    IncludesTheEndOfAWindow,
    ExcludesTheStartOfAWindow,
    IgnoresFinished,
    IgnoresAssets,
    ForgetsTheSecondAsset,
    ChangesKeys,
    ChangesKeysWhenBuiltAnew,
    DropsPayloads,
    HidesActiveSessions,
    HidesCosts,
    CostsWithoutSayingSo,
    HidesTotals,
    CountsWrongly,
    GivesIntervalsBackwards,
    ListsOneAssetOnly,
    ListsNoAssets,
    SignsInForEachPage,
    NeverRenews,
    TakesNotFoundForEmpty,
    GivesUpAtOnce,
    TakesAnErrorForTheEnd,
    TriesForEver,
    IgnoresWaits,
    IsNotDoneWhenDropped,
    PanicsOnOddFields,
    DropsOddRecords,
    FailsThePageForARecord,
    RejectsWithoutContext,
    TakesAnythingForAPage,
    TakesAnyJsonForAPage,
    ShowsItsSecret,
    LogsItsSecret,
    LogsRefusals,
}

fn start(n: usize) -> Timestamp {
    Timestamp::constant(1_790_000_000, 0) + SignedDuration::from_hours(n as i64)
}

/// The provider: ten sessions, an hour apart, the last of them active, of two vehicles. It answers only those
/// who have signed in.
#[derive(Debug, Default)]
struct Provider {
    sign_ins: AtomicUsize,
}

impl Provider {
    fn answer(&self, request: &Request) -> (u16, Value) {
        let headers = request.headers();
        if request.uri().path() == "/token" {
            let body = String::from_utf8_lossy(request.body());
            assert!(headers.contains_key(header::AUTHORIZATION) && body.contains("client_credentials"));
            let number = self.sign_ins.fetch_add(1, Ordering::Relaxed);
            return (200, json!({"access_token": format!("t0ken-{number}"), "expires_in": 3600}));
        }
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if !token.is_some_and(|token| token.starts_with("Bearer t0ken-")) {
            return (401, json!({}));
        }
        let session = |n: usize| {
            let active = n == COUNT - 1;
            json!({"id": format!("s{n}"), "start": start(n), "active": active, "vehicle": format!("v{}", n % 2),
                "cost": 1.5})
        };
        let asked = |name: &str| -> usize {
            let query = request.uri().query().unwrap_or_default().split('&');
            query
                .filter_map(|pair| pair.split_once('='))
                .find(|(n, _)| *n == name)
                .unwrap()
                .1
                .parse()
                .unwrap()
        };
        match request.uri().path() {
            "/vehicles" => (200, json!(["v0", "v1"])),
            "/intervals" => (200, json!([start(0), start(1)])),
            "/sessions" => (200, (0..COUNT).map(session).skip(asked("at")).take(asked("size")).collect()),
            _ => (404, json!({})),
        }
    }
}

#[async_trait]
impl Transport for Provider {
    async fn send(&self, request: Request, _: &Limits) -> Result<Response> {
        let (status, body) = self.answer(&request);
        let answer = http::Response::builder().status(status).header("content-type", "application/json");
        Ok(answer.body(body.to_string().into()).unwrap())
    }
}

/// Logs what is refused.
#[derive(Debug)]
struct Chatty(Arc<dyn Transport>);

#[async_trait]
impl Transport for Chatty {
    async fn send(&self, request: Request, limits: &Limits) -> Result<Response> {
        let answer = self.0.send(request, limits).await?;
        if !answer.status().is_success() {
            tracing::debug!(body = ?answer.body(), "refused");
        }
        Ok(answer)
    }
}

/// Takes each refusal for final.
#[derive(Debug)]
struct Stubborn(OAuth2);

#[async_trait]
impl Authenticator for Stubborn {
    fn endpoints(&self) -> Vec<Url> {
        self.0.endpoints()
    }
    fn sign(&self, request: &mut Request, renewed: bool) -> Result<SignIn> {
        self.0.sign(request, renewed)
    }
    async fn renew(&self, channel: &Channel) -> Result<std::time::Duration> {
        self.0.renew(channel).await
    }
    fn refused(&self, _: &HeaderMap) -> bool {
        false
    }
    fn accepted(&self, _: &HeaderMap) {}
    fn secrets(&self) -> Vec<SecretString> {
        self.0.secrets()
    }
}

fn client(breaks: Breaks, parts: &Parts) -> Client {
    let base: Url = "https://memory.example".parse().unwrap();
    let auth = OAuth2::client_credentials(base.join("token").unwrap(), "id", SECRET.into());
    let transport: Arc<dyn Transport> = match breaks {
        Breaks::BringsItsOwnTransport => Arc::new(Provider::default()),
        Breaks::LogsRefusals => Arc::new(Chatty(Arc::clone(&parts.transport))),
        _ => Arc::clone(&parts.transport),
    };
    let policy = match breaks {
        Breaks::GivesUpAtOnce => parts.policy.with_max_attempts(1),
        _ => parts.policy,
    };
    let client = Client::builder(MEMORY, base).transport(transport).policy(policy);
    let client = match breaks {
        Breaks::IgnoresWaits => client.dialect(Dialect::new().with_retry_after(&[])),
        _ => client,
    };
    let client = if breaks == Breaks::NeverRenews { client.auth(Stubborn(auth)) } else { client.auth(auth) };
    client.build().unwrap()
}

/// The source of that provider.
struct Memory {
    breaks: Breaks,
    parts: Parts,
    client: Client,
    /// Tells sources apart, where they should not be told apart.
    number: usize,
    pages: AtomicUsize,
    /// The furthest that a listing has come.
    furthest: AtomicUsize,
    busy: AtomicBool,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = if self.breaks == Breaks::ShowsItsSecret { SECRET } else { "[hidden]" };
        f.debug_struct("Memory").field("secret", &secret).finish()
    }
}

impl Memory {
    fn build(breaks: Breaks, parts: Parts) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (pages, furthest, busy) = Default::default();
        Self { breaks, client: client(breaks, &parts), parts, number, pages, furthest, busy }
    }

    async fn get<T>(
        &self,
        path: &str,
        query: &[(&str, String)],
        read: impl Fn(&Answer) -> Result<T>,
    ) -> Result<T> {
        let client = match self.breaks {
            Breaks::SignsInForEachPage => client(self.breaks, &self.parts),
            _ => self.client.clone(),
        };
        let tries = if self.breaks == Breaks::TriesForEver { 50 } else { 1 };
        let mut answer = Err(Error::new(ErrorKind::Network, "not sent yet"));
        for _ in 0..tries {
            answer = client.send(client.get(path, query)?, &read).await;
            if answer.is_ok() {
                break;
            }
        }
        answer
    }

    /// The sessions of an answer, and how many records it has.
    fn sessions(&self, answer: &Answer) -> Result<(SessionPage, usize)> {
        let records = match self.breaks {
            Breaks::TakesAnythingForAPage => items(&answer.body).unwrap_or_default(),
            Breaks::TakesAnyJsonForAPage => {
                charging_sessions_http::json::<Value>(&answer.body)?;
                items(&answer.body).unwrap_or_default()
            }
            _ => items(&answer.body)?,
        };
        let mut page = SessionPage::default();
        for record in &records {
            let payload = answer.body.slice_ref(record.get().as_bytes());
            let record: Value = serde_json::from_str(record.get()).unwrap();
            let Some(id) = record["id"].as_str() else {
                if self.breaks == Breaks::FailsThePageForARecord {
                    return Err(Error::new(ErrorKind::Protocol, "a record has no `id`"));
                }
                let code = IssueCode::ID_MISSING;
                let origin = Provenance::new(Endpoint::new("GET /sessions", None), answer.received_at, 1);
                let context = RecordContext::new(RecordKind::PlugIn, &origin);
                let rejected = RejectedRecord::new(code, "/id", "there is no `id`", payload);
                page.rejected.push(match self.breaks {
                    Breaks::RejectsWithoutContext => rejected,
                    _ => rejected.with_context(&context),
                });
                continue;
            };
            let start = record["start"].as_str().and_then(|start| start.parse().ok());
            match self.breaks {
                Breaks::DropsOddRecords if start.is_none() => continue,
                Breaks::PanicsOnOddFields => assert!(start.is_some(), "a start that cannot be read"),
                _ => {}
            }
            page.sessions.push(self.session(id, start, &record, payload, answer.received_at));
        }
        Ok((page, records.len()))
    }

    fn session(
        &self,
        id: &str,
        start: Option<Timestamp>,
        record: &Value,
        payload: Bytes,
        at: Timestamp,
    ) -> ChargingSession {
        let id = match self.breaks {
            Breaks::ChangesKeys => format!("{id}-{}", self.pages.load(Ordering::Relaxed)),
            Breaks::ChangesKeysWhenBuiltAnew => format!("{id}-{}", self.number),
            _ => id.to_owned(),
        };
        let key = SessionKey::new(MEMORY, AccountId::default(), RecordKind::PlugIn, id);
        let active = record["active"] == true && self.breaks != Breaks::HidesActiveSessions;
        let status = if active { SessionStatus::Active } else { SessionStatus::Completed };
        let mut origin = Provenance::new(Endpoint::new("GET /sessions", None), at, 1);
        origin.payload = (self.breaks != Breaks::DropsPayloads).then(|| payload.into());
        let mut session = ChargingSession::new(key, status, origin);
        session.timing.period.start = start;
        let mut vehicle = Vehicle::default();
        vehicle.source_id = record["vehicle"].as_str().map(str::to_owned);
        session.parties.vehicle = Some(vehicle);
        let cost = record["cost"].as_f64().and_then(decimal_from_f64).zip(Currency::in_use("EUR"));
        session.costs.cost = cost
            .filter(|_| self.breaks != Breaks::HidesCosts)
            .map(|(amount, euro)| Cost::new(Money::new(amount, euro), CostBasis::Unknown));
        session
    }

    fn matches(&self, session: &ChargingSession, query: &SessionQuery) -> bool {
        let in_window =
            query.window().zip(session.timing.period.start).is_none_or(|(window, at)| match self.breaks {
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

    fn place(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<usize> {
        let Some(cursor) = cursor else {
            self.furthest.store(0, Ordering::Relaxed);
            return Ok(0);
        };
        let (at, number): (usize, usize) = match cursor.decode(MEMORY, 1, query) {
            Err(_) if self.breaks == Breaks::TrustsAnyCursor => (0, 0),
            place => place?,
        };
        match self.breaks {
            Breaks::RestartsOnResume if at <= self.furthest.swap(at, Ordering::Relaxed) => Ok(0),
            Breaks::KnowsOnlyItsOwnCursors if number != self.number => {
                Err(Error::new(ErrorKind::InvalidCursor, "the cursor is not known"))
            }
            _ => Ok(at),
        }
    }
}

#[async_trait]
impl ChargingSessionSource for Memory {
    fn provider(&self) -> ProviderId {
        MEMORY
    }

    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::none()
            .window()
            .assets(&[AssetKind::Vehicle])
            .finished()
            .active_sessions()
            .intervals()
            .asset_list()
            .total()
            .max_page_size(4);
        if self.breaks == Breaks::CostsWithoutSayingSo { capabilities } else { capabilities.cost() }
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        if self.breaks != Breaks::IgnoresUndeclaredConditions {
            query.check(self.capabilities())?;
        }
        let at = self.place(query, cursor)?;
        match self.breaks {
            Breaks::LogsItsSecret => tracing::trace!(secret = SECRET, "reading a page"),
            Breaks::IsNotDoneWhenDropped if self.busy.swap(true, Ordering::Relaxed) => {
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        self.pages.fetch_add(1, Ordering::Relaxed);
        let most = if self.breaks == Breaks::OverfillsPages { 5 } else { 4 };
        let size = query.page_size().map_or(most, |n| (n.get() as usize).min(most));
        let asked = [("at", at.to_string()), ("size", size.to_string())];
        let (mut page, received) = match self.get("sessions", &asked, |answer| self.sessions(answer)).await {
            Err(error) if self.breaks == Breaks::TakesNotFoundForEmpty && error.status() == Some(404) => {
                (SessionPage::default(), 0)
            }
            Err(_) if self.breaks == Breaks::TakesAnErrorForTheEnd => (SessionPage::default(), 0),
            read => read?,
        };
        self.busy.store(false, Ordering::Relaxed);
        let last = self.breaks == Breaks::LosesTheLastOfAPage && page.sessions.len() == 4;
        page.sessions.truncate(if last { 3 } else { usize::MAX });
        page.sessions.retain(|session| self.matches(session, query));
        page.next =
            (received == size).then(|| Cursor::encode(MEMORY, 1, query, &(at + received, self.number)));
        page.total = match self.breaks {
            Breaks::HidesTotals => None,
            Breaks::CountsWrongly => Some(received as u64),
            _ => Some(COUNT as u64),
        };
        Ok(page)
    }
}

#[async_trait]
impl IntervalSource for Memory {
    async fn fetch_intervals(&self, _: &SessionKey) -> Result<SessionIntervals> {
        let starts: Vec<Timestamp> =
            self.get("intervals", &[], |answer| charging_sessions_http::json(&answer.body)).await?;
        let mut answer = SessionIntervals::default();
        for start in starts {
            let mut interval = Interval::default();
            interval.start = Some(start);
            answer.intervals.push(interval);
        }
        if self.breaks == Breaks::GivesIntervalsBackwards {
            answer.intervals.reverse();
        }
        Ok(answer)
    }
}

#[async_trait]
impl AssetSource for Memory {
    async fn fetch_assets(&self, cursor: Option<&Cursor>) -> Result<AssetPage> {
        if cursor.is_some() && self.breaks != Breaks::TrustsAnyCursorOfAssets {
            // There is one page only, so that no cursor was ever made here.
            return Err(Error::new(ErrorKind::InvalidCursor, "the list of assets has one page"));
        }
        let mut ids: Vec<String> =
            self.get("vehicles", &[], |answer| charging_sessions_http::json(&answer.body)).await?;
        ids.truncate(if self.breaks == Breaks::ListsOneAssetOnly { 1 } else { usize::MAX });
        Ok(AssetPage::new(ids.into_iter().map(|id| Asset::new(AssetRef::vehicle(id))).collect(), None))
    }
}

fn subject(breaks: Breaks) -> Subject<Memory> {
    let records = (0..COUNT).map(|n| format!("s{n}"));
    let subject = Subject::new(move |parts| Ok(Memory::build(breaks, parts)), records)
        .with_transport(Arc::new(Provider::default()))
        .with_intervals()
        .with_secrets([SECRET]);
    if breaks == Breaks::ListsNoAssets { subject } else { subject.with_assets() }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_keeps_every_promise_passes() {
    assert_eq!(failures(&subject(Breaks::Nothing)).await, [].into());
}

#[tokio::test(start_paused = true)]
async fn every_check_is_tripped_by_a_source_that_breaks_its_promise() {
    use Breaks::*;
    let cases = [
        (BringsItsOwnTransport, "every request goes through the transport that the source is built with"),
        (LosesTheLastOfAPage, "a listing is complete under every page size"),
        (OverfillsPages, "a page holds no more records than the largest page declared"),
        (RestartsOnResume, "a listing goes on from every stored cursor, and the rest is the same"),
        (KnowsOnlyItsOwnCursors, "a listing that one source began is ended by another"),
        (TrustsAnyCursor, "a foreign, outdated, damaged or mismatched cursor is refused before any request"),
        (
            TrustsAnyCursorOfAssets,
            "a foreign, outdated, damaged or mismatched cursor is refused before any request",
        ),
        (IgnoresUndeclaredConditions, "a query beyond the capabilities is refused before any request"),
        (IncludesTheEndOfAWindow, "a window includes its first instant and excludes its last"),
        (ExcludesTheStartOfAWindow, "a window includes its first instant and excludes its last"),
        (IgnoresFinished, "finished and unfinished sessions are told apart"),
        (IgnoresAssets, "a query for assets gives the sessions of these assets and no others"),
        (ForgetsTheSecondAsset, "a query for assets gives the sessions of these assets and no others"),
        (ChangesKeys, "keys are the same in every listing, and carry the provider's name"),
        (ChangesKeysWhenBuiltAnew, "keys are the same in two sources that were built apart"),
        (DropsPayloads, "every session keeps the bytes it was mapped from"),
        (HidesActiveSessions, "active sessions are reported if and only if declared"),
        (HidesCosts, "costs are reported if and only if declared"),
        (CostsWithoutSayingSo, "costs are reported if and only if declared"),
        (HidesTotals, "totals are reported if and only if declared"),
        (CountsWrongly, "totals are reported if and only if declared"),
        (GivesIntervalsBackwards, "intervals can be read, oldest first, if and only if declared"),
        (ListsNoAssets, "assets can be listed if and only if declared, and have all sessions between them"),
        (
            ListsOneAssetOnly,
            "assets can be listed if and only if declared, and have all sessions between them",
        ),
        (SignsInForEachPage, "many first pages at once cost one sign-in"),
        (
            NeverRenews,
            "credentials refused in the middle of a listing are renewed once, and the listing is complete",
        ),
        (
            SignsInForEachPage,
            "credentials that keep being refused are reported as such, and soon no longer used",
        ),
        (TakesNotFoundForEmpty, "a status that refuses becomes an error of its kind, whatever the body"),
        (GivesUpAtOnce, "a fault that passes is got over, and the listing is complete"),
        (
            TakesAnErrorForTheEnd,
            "a fault that lasts becomes an error of its kind after a few requests, and never a short listing",
        ),
        (
            TriesForEver,
            "a fault that lasts becomes an error of its kind after a few requests, and never a short listing",
        ),
        (IgnoresWaits, "the wait that a provider asks for is kept, or reported if it is too long"),
        (
            IsNotDoneWhenDropped,
            "a page may be abandoned at any moment, and nothing hangs or is missing afterwards",
        ),
        (PanicsOnOddFields, "no odd answer makes the source panic or lose a record without a trace"),
        (DropsOddRecords, "no odd answer makes the source panic or lose a record without a trace"),
        (FailsThePageForARecord, "no odd answer makes the source panic or lose a record without a trace"),
        (RejectsWithoutContext, "no odd answer makes the source panic or lose a record without a trace"),
        (TakesAnythingForAPage, "no odd answer makes the source panic or lose a record without a trace"),
        (TakesAnyJsonForAPage, "no odd answer makes the source panic or lose a record without a trace"),
        (ShowsItsSecret, "no secret shows in the source, its cursors, sessions and errors, or in the log"),
        (LogsItsSecret, "no secret shows in the source, its cursors, sessions and errors, or in the log"),
        (LogsRefusals, "no secret shows when the provider repeats it in an error"),
    ];
    for (breaks, check) in cases {
        let failures = failures(&subject(breaks)).await;
        assert!(failures.contains_key(check), "{breaks:?} trips {:?}", failures.keys());
    }
    for check in CHECKS {
        assert!(cases.iter().any(|(_, name)| *name == check.name), "nothing trips: {}", check.name);
    }
}
