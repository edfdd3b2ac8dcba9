//! Any number of accounts on one server, told apart by their credentials, which are counted one by one.
//!
//! For programs that read thousands of accounts at once. Records are those of [`bulk`](super::bulk), with the number of
//! the account in their identifiers; they are computed when they are asked for. The client `client-7` sees the account 7.
//! Nobody is refused: what a provider would refuse is counted, so that a test can say how often it would have.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    response::IntoResponse,
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{
    Running,
    bulk::{Bulk, STEP, id, number},
    query::Query,
};

/// How the clients of all accounts begin.
const CLIENT: &str = "client-";

/// Many accounts with as many sessions each.
#[derive(Clone, Debug)]
pub struct Crowd {
    sessions: usize,
    page: usize,
    now: Timestamp,
    step: SignedDuration,
    latency: Duration,
    per: Duration,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    accounts: HashMap<usize, Counted>,
    all: Window,
}

/// What was asked by one credential.
#[derive(Debug, Default)]
struct Counted {
    window: Window,
    pages: HashMap<Option<usize>, u64>,
    last: Option<Instant>,
    longest_gap: Duration,
}

/// How many requests came within the latest stretch, and the most that ever did.
#[derive(Debug, Default)]
struct Window {
    starts: VecDeque<Instant>,
    most: usize,
    total: u64,
}

impl Window {
    fn count(&mut self, now: Instant, per: Duration) {
        while self.starts.front().is_some_and(|start| now - *start >= per) {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
        self.most = self.most.max(self.starts.len());
        self.total += 1;
    }
}

impl Crowd {
    /// Accounts with `sessions` records each, the last one ending at `now`, on pages of `page` records at most.
    pub fn new(sessions: usize, page: usize, now: Timestamp) -> Self {
        let (latency, per) = (Duration::ZERO, Duration::from_secs(1));
        Self { sessions, page: page.max(1), now, step: STEP, latency, per, seen: Arc::default() }
    }

    /// How long after a session of an account the next one ends, instead of five minutes.
    #[must_use]
    pub fn step(mut self, step: SignedDuration) -> Self {
        self.step = step;
        self
    }

    /// How long each page takes.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// The stretch of time within which requests are counted. A second without a call.
    #[must_use]
    pub fn counted_per(mut self, per: Duration) -> Self {
        self.per = per;
        self
    }

    /// Serves on a loopback port that the system chooses.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub async fn start(self) -> io::Result<Running<Self>> {
        let router = Router::new()
            .route("/o/token/", post(token))
            .route("/v2/charging_sub_sessions", get(sub_sessions))
            .with_state(self.clone());
        Running::start(self, router).await
    }

    /// The most requests that one credential made within any stretch of time, sign-ins included.
    pub fn most_of_one(&self) -> usize {
        self.seen().accounts.values().map(|counted| counted.window.most).max().unwrap_or_default()
    }

    /// The most that all made together.
    pub fn most_of_all(&self) -> usize {
        self.seen().all.most
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.seen().all.total
    }

    /// How many pages were asked for again that had been asked for before.
    pub fn repeated(&self) -> u64 {
        let seen = self.seen();
        seen.accounts.values().flat_map(|counted| counted.pages.values()).map(|times| times - 1).sum()
    }

    /// The longest that any account waited from one request to its next.
    pub fn longest_gap(&self) -> Duration {
        self.seen().accounts.values().map(|counted| counted.longest_gap).max().unwrap_or_default()
    }

    /// Every record of an account, with its identifier and letter by letter as it is sent.
    pub fn truth(&self, account: usize) -> Vec<(String, String)> {
        let bulk = self.bulk();
        let record = |number| {
            let mut text = String::new();
            bulk.write(&tag(account), number, &mut text);
            (id(&tag(account), number), text)
        };
        (0..self.sessions).map(record).collect()
    }

    fn bulk(&self) -> Bulk {
        Bulk { step: self.step, ..Bulk::new(self.sessions, self.now) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request, and if it is for a page, after which record that begins.
    fn count(&self, account: usize, page: Option<Option<usize>>) {
        let now = Instant::now();
        let mut seen = self.seen();
        seen.all.count(now, self.per);
        let counted = seen.accounts.entry(account).or_default();
        counted.window.count(now, self.per);
        if let Some(page) = page {
            *counted.pages.entry(page).or_default() += 1;
        }
        if let Some(last) = counted.last.replace(now) {
            counted.longest_gap = counted.longest_gap.max(now - last);
        }
    }
}

/// Four letters for an account.
fn tag(account: usize) -> String {
    format!("{account:04X}")
}

/// Whose credential this is: of a form, of a header for a name and a password, or of a token.
fn account(text: &str) -> Option<usize> {
    let rest = &text[text.find(CLIENT)? + CLIENT.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

fn authorization(headers: &HeaderMap) -> Option<usize> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    match value.split_once(' ')? {
        ("Basic", packed) => account(std::str::from_utf8(&BASE64_STANDARD.decode(packed).ok()?).ok()?),
        (_, token) => account(token),
    }
}

async fn token(State(crowd): State<Crowd>, headers: HeaderMap, body: String) -> impl IntoResponse {
    let Some(account) = account(&body).or_else(|| authorization(&headers)) else {
        return Err((StatusCode::UNAUTHORIZED, "no client of this server"));
    };
    crowd.count(account, None);
    let body = format!(r#"{{"access_token":"{CLIENT}{account}.","token_type":"Bearer","expires_in":36000}}"#);
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

/// The numbers of the newest session in the window of a query, and of the one after its oldest.
fn within(bulk: &Bulk, query: &Query) -> Result<(usize, usize), jiff::Error> {
    let bound = |name| query.get(name).map(str::parse::<Timestamp>).transpose();
    let (after, before) = (bound("start__gt")?, bound("start__lt")?);
    // They begin the earlier the higher their numbers are.
    let first = |is_past: &dyn Fn(Timestamp) -> bool| {
        let (mut low, mut high) = (0, bulk.sessions);
        while low < high {
            let middle = low.midpoint(high);
            if is_past(bulk.begins(middle)) { high = middle } else { low = middle + 1 }
        }
        low
    };
    let newest = first(&|start| before.is_none_or(|before| start < before));
    Ok((newest, first(&|start| after.is_some_and(|after| start <= after))))
}

async fn sub_sessions(
    State(crowd): State<Crowd>,
    headers: HeaderMap,
    query: axum::extract::RawQuery,
) -> impl IntoResponse {
    let Some(account) = authorization(&headers) else {
        return Err((StatusCode::UNAUTHORIZED, "no token of this server"));
    };
    let query = Query::parse(query.0.unwrap_or_default().as_bytes());
    let size = query.get("page_size").and_then(|size| size.parse().ok()).unwrap_or(25).clamp(1, crowd.page);
    let after = query.get("page_after").map(number);
    let Some(after) = after.map_or(Some(None), |after| after.map(Some)) else {
        return Err((StatusCode::BAD_REQUEST, "page_after is no identifier of this account"));
    };
    let (tag, bulk) = (tag(account), crowd.bulk());
    let Ok((newest, oldest)) = within(&bulk, &query) else {
        return Err((StatusCode::BAD_REQUEST, "a bound of the window is no instant"));
    };
    let first = after.map_or(0, |last| last + 1).max(newest);
    let end = oldest.min(first + size);
    crowd.count(account, Some(after));
    tokio::time::sleep(crowd.latency).await;
    let mut body = String::from("[");
    for number in first..end {
        if number > first {
            body.push(',');
        }
        bulk.write(&tag, number, &mut body);
    }
    body.push(']');
    let next = match first < end && end < oldest {
        true => {
            let query = query.rewritten(&["page_after"], &[("page_after", &id(&tag, end - 1))]);
            format!("https://api.ev.energy/v2/charging_sub_sessions?{query}")
        }
        false => "about:blank".to_owned(),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::LINK, format!("<about:blank>; rel=\"previous\", <{next}>; rel=\"next\"")),
        (header::HeaderName::from_static("evenergy-version"), "2.0".to_owned()),
    ];
    Ok((headers, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_told_apart_by_any_kind_of_credential() {
        assert_eq!(account("grant_type=client_credentials&client_id=client-12&client_secret=x"), Some(12));
        assert_eq!(account("client-7."), Some(7));
        assert_eq!(account("client-"), None);
        let mut headers = HeaderMap::new();
        let packed = BASE64_STANDARD.encode("client-31:secret");
        headers.insert(header::AUTHORIZATION, format!("Basic {packed}").parse().unwrap());
        assert_eq!(authorization(&headers), Some(31));
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_requests_of_any_stretch_are_known() {
        let crowd = Crowd::new(10, 2, Timestamp::UNIX_EPOCH);
        for (account, wait) in [(1, 0), (1, 400), (2, 400), (1, 300), (1, 2000)] {
            tokio::time::advance(Duration::from_millis(wait)).await;
            crowd.count(account, Some(None));
        }
        assert_eq!((crowd.most_of_one(), crowd.most_of_all()), (2, 3));
        assert_eq!((crowd.requests(), crowd.repeated()), (5, 3));
        assert_eq!(crowd.longest_gap(), Duration::from_secs(2));
    }

    #[test]
    fn a_window_holds_what_begins_between_its_bounds() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let bulk = Bulk { step: SignedDuration::from_hours(12), ..Bulk::new(10, now) };
        let asked = |text: &str| within(&bulk, &Query::parse(text.as_bytes()));
        assert_eq!(asked("").unwrap(), (0, 10));
        assert_eq!(bulk.begins(2), "2026-11-19T09:06:00Z".parse().unwrap());
        assert_eq!(asked("start__gt=2026-11-19T09:06:00Z").unwrap(), (0, 2));
        assert_eq!(asked("start__gt=2026-11-19T09:05:59Z").unwrap(), (0, 3));
        assert_eq!(asked("start__lt=2026-11-19T09:06:00Z").unwrap(), (3, 10));
        assert_eq!(asked("start__gt=2026-11-21T00:00:00Z").unwrap(), (0, 0));
        assert!(asked("start__gt=yesterday").is_err());
    }

    #[test]
    fn the_truth_of_two_accounts_differs() {
        let crowd = Crowd::new(3, 2, Timestamp::UNIX_EPOCH);
        assert_ne!(crowd.truth(1), crowd.truth(2));
        assert_eq!(number(&crowd.truth(1)[2].0), Some(2));
    }
}
