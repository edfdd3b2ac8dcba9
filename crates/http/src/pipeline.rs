//! What happens to one request, in one order: retry > permit > quota > sign-in > time limit > transport.
//!
//! A request that waits to be tried again holds no permit; every attempt, every hop of a redirect and every token
//! request is paid for from the quota; waiting for either never counts against the time limit.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use charging_sessions_core::{Error, ErrorKind, Result};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};
use url::{Origin, Url};

use crate::{
    Authenticator, Dialect, Policy, Request, Response, SignIn, Transport,
    ahead::Early,
    auth::{Refused, secrets_in},
    client::unique_id,
    dialect::{by_status, is_retried, sentence},
    oauth::MOST_REFUSALS,
    policy::Budget,
    quota::{Gate, millis},
};

/// An answer with a success status, as it is handed to whoever reads it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, decompressed. Payloads of records are slices of it.
    pub body: Bytes,
    /// When the answer had arrived, by the clock of the client.
    pub received_at: Timestamp,
    /// How long it took from the start of the request, without any waiting of ours.
    pub took: Duration,
}

impl Answer {
    /// An answer that did not come over the wire, for tests and for stored bodies.
    pub fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: impl Into<Bytes>,
        received_at: Timestamp,
    ) -> Self {
        Self { status, headers, body: body.into(), received_at, took: Duration::ZERO }
    }
}

pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Draws a pause, given its ceiling.
pub(crate) type Jitter = Arc<dyn Fn(Duration) -> Duration + Send + Sync>;

/// The way to a token endpoint: what lies below sign-in, for [`Authenticator`]s.
///
/// A cheap handle that can be moved into a task.
#[derive(Clone)]
pub struct Channel(pub(crate) Arc<Lower>);

/// Quota, time limit and transport, shared by requests and sign-in.
pub(crate) struct Lower {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) policy: Policy,
    pub(crate) dialect: Dialect,
    pub(crate) gate: Gate,
    pub(crate) clock: Clock,
    pub(crate) sign_in_origins: Vec<Origin>,
    /// Also for token requests: some gateways turn away whoever does not say what it is.
    pub(crate) user_agent: HeaderValue,
    /// The header that tells one sending of a request from another.
    pub(crate) identified_by: Option<HeaderName>,
}

impl Channel {
    /// Sends a token request: once, paid for from the quota, within the time limit of an attempt. Any status is an
    /// answer; redirects are not followed.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Config`] if the address has none of the origins that
    ///   [`Authenticator::endpoints`] names.
    /// - [`ErrorKind::RateLimited`] if the account is held back for longer than is waited for.
    /// - Whatever the [`Transport`] reports, and [`ErrorKind::Timeout`].
    pub async fn send(&self, request: Request) -> Result<Answer> {
        let origin = Url::parse(&request.uri().to_string()).map(|url| url.origin());
        if !origin.is_ok_and(|origin| self.0.sign_in_origins.contains(&origin)) {
            let text = "a sign-in request was about to leave the configured origins and was not sent";
            return Err(Error::new(ErrorKind::Config, text));
        }
        self.0.gate.pass().await?.spend();
        let (response, took) = self.0.exchange(request, self.0.policy.attempt_timeout).await?;
        Ok(self.0.answer(response, took))
    }

    /// The error for an answer that refuses: with its status, the wait it asks for, and what it says, without
    /// `secrets`.
    pub fn refusal(&self, kind: ErrorKind, text: &str, answer: &Answer, secrets: &[SecretString]) -> Error {
        let mut response = Response::new(answer.body.clone());
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers.clone();
        self.0.refusal(kind, text, &response, secrets)
    }

    /// The time limit of an attempt, of which sign-in is a part.
    pub fn time_limit(&self) -> Duration {
        self.0.policy.attempt_timeout
    }

    /// The time, by the clock of the client.
    pub fn now(&self) -> Timestamp {
        (self.0.clock)()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

impl Lower {
    /// The innermost two stages. Also says how long they took.
    async fn exchange(&self, mut request: Request, limit: Duration) -> Result<(Response, Duration)> {
        request.headers_mut().entry(header::USER_AGENT).or_insert_with(|| self.user_agent.clone());
        if let (Some(name), Ok(id)) = (&self.identified_by, HeaderValue::from_str(&unique_id())) {
            request.headers_mut().insert(name, id);
        }
        let began = Instant::now();
        let sent = timeout(limit, self.transport.send(request, &self.policy.limits)).await;
        let response = sent.map_err(|_| {
            let text = format!("no whole answer within {:?}", self.policy.attempt_timeout);
            Error::new(ErrorKind::Timeout, text)
        })??;
        Ok((response, began.elapsed()))
    }

    fn answer(&self, response: Response, took: Duration) -> Answer {
        let (parts, body) = response.into_parts();
        let received_at = (self.clock)();
        Answer { status: parts.status, headers: parts.headers, body, received_at, took }
    }

    fn refusal(&self, kind: ErrorKind, text: &str, response: &Response, secrets: &[SecretString]) -> Error {
        let mut error = Error::new(kind, text).with_status(response.status().as_u16());
        if let Some(wait) = self.dialect.wait(response.headers(), (self.clock)()) {
            error = error.with_retry_after(wait);
        }
        match self.dialect.said(response, secrets) {
            Some(problem) => error.with_problem(problem),
            None => error,
        }
    }
}

/// Everything above the lower stages.
pub(crate) struct Pipeline {
    pub(crate) lower: Arc<Lower>,
    pub(crate) auth: Box<dyn Authenticator>,
    pub(crate) origin: Origin,
    pub(crate) permits: Semaphore,
    pub(crate) budget: Budget,
    pub(crate) jitter: Jitter,
    /// Answers in a row that refused the credentials.
    pub(crate) refusals: AtomicU32,
}

/// Why an attempt failed, and whether the next may succeed.
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) again: bool,
}

impl From<Error> for Failure {
    /// Of what happens before or below an answer, only what is transient is tried again.
    fn from(error: Error) -> Self {
        Self { again: error.is_retryable(), error }
    }
}

/// How many redirects of one request are followed.
const MOST_REDIRECTS: usize = 5;
/// A wait that somebody who watches would take for a program that hangs.
pub(crate) const LONG: Duration = Duration::from_secs(5);
/// How often one hop may find its credentials gone again before it has used them.
const MOST_RENEWALS: usize = 3;

impl Pipeline {
    /// Tries `request` until `read` is content with an answer or the policy says that it is enough. `early` is a first
    /// attempt that has begun already.
    pub(crate) async fn run<T>(
        &self,
        request: &Request,
        mut early: Option<Early>,
        read: impl Fn(&Answer) -> Result<T>,
    ) -> Result<T> {
        self.stays(request.uri())?;
        self.budget.earn();
        let mut paused = Duration::ZERO;
        let mut attempt = 1;
        let mut may_renew = true;
        loop {
            let begun = match early.take() {
                Some(early) => early.end().await,
                None => None,
            };
            let attempted = match begun {
                Some(attempted) => attempted,
                None => self.attempt(request, &mut may_renew).await,
            };
            let tried = match attempted {
                Ok(answer) => match read(&answer) {
                    Ok(value) => return Ok(value),
                    Err(error) => {
                        let status = error.status().unwrap_or(answer.status.as_u16());
                        let again = error.kind() == ErrorKind::Protocol && request.method() == Method::GET;
                        Failure { error: error.with_status(status), again }
                    }
                },
                Err(failure) => failure,
            };
            let Failure { error, again } = tried;
            let asked = error.retry_after();
            // Also if we give up.
            self.hold(&error);
            let pause = if again { self.pause(&error, attempt, paused) } else { Err("final") };
            let wait = match pause {
                Ok(wait) => wait,
                Err(why) => {
                    debug!(
                        attempt,
                        reason = error.kind().as_str(),
                        status = error.status(),
                        why,
                        "giving up"
                    );
                    let is_final = again || error.kind().is_transient();
                    return Err(if is_final { error.exhausted() } else { error });
                }
            };
            let (wait_ms, reason, status) = (millis(wait), error.kind().as_str(), error.status());
            if wait >= LONG {
                warn!(attempt, wait_ms, reason, status, "trying again, after a while");
            } else {
                debug!(attempt, wait_ms, reason, status, "trying again");
            }
            if asked.is_none() {
                paused = paused.saturating_add(wait);
                if error.kind() == ErrorKind::RateLimited {
                    self.lower.gate.hold(wait);
                }
            }
            sleep(wait).await;
            attempt += 1;
        }
    }

    /// One attempt, before anybody asked for it.
    pub(crate) async fn early(&self, request: &Request) -> Result<Answer, Failure> {
        self.stays(request.uri())?;
        let attempted = self.attempt(request, &mut true).await;
        if let Err(Failure { error, .. }) = &attempted {
            self.hold(error);
        }
        attempted
    }

    /// Holds the account back as the provider asked: the others must not run into the same wall.
    fn hold(&self, error: &Error) {
        if let (ErrorKind::RateLimited, Some(wait), false) =
            (error.kind(), error.retry_after(), error.is_exhausted())
        {
            self.lower.gate.hold(wait);
        }
    }

    /// How long to wait after this attempt, or why not to.
    fn pause(&self, error: &Error, attempt: u32, paused: Duration) -> Result<Duration, &'static str> {
        let policy = &self.lower.policy;
        if attempt >= policy.max_attempts {
            return Err("attempts used up");
        }
        let wait = match error.retry_after() {
            Some(wait) if wait > policy.max_retry_after => return Err("the wait asked for is too long"),
            Some(wait) => wait,
            None => {
                let ceiling = policy.ceiling(attempt);
                let wait = (self.jitter)(ceiling).min(ceiling);
                if paused.saturating_add(wait) > policy.max_total_wait {
                    return Err("pauses used up");
                }
                wait
            }
        };
        let is_free = error.kind() == ErrorKind::RateLimited && error.retry_after().is_some();
        if !is_free && !self.budget.spend() {
            return Err("retry budget used up");
        }
        Ok(wait)
    }

    /// One attempt: as many requests as redirects, and one renewal of the credentials, make of it.
    async fn attempt(&self, request: &Request, may_renew: &mut bool) -> Result<Answer, Failure> {
        let Lower { dialect, gate, policy, .. } = &*self.lower;
        if self.refusals.load(Ordering::Relaxed) >= MOST_REFUSALS {
            let text = format!(
                "these credentials were refused {MOST_REFUSALS} times in a row and are no longer used; \
                 correct them and start anew"
            );
            return Err(Error::new(ErrorKind::Unauthenticated, text).into());
        }
        let closed = || Error::new(ErrorKind::Config, "the client is closed");
        let _permit = self.permits.acquire().await.map_err(|_| closed())?;
        let mut left = policy.attempt_timeout;
        let mut target = request.clone();
        let mut redirects = 0;
        loop {
            let (headers, response, took) = self.signed(&target, &mut left).await?;
            if let Some(remaining) = dialect.left(response.headers()) {
                gate.learn(remaining);
            }
            let status = response.status();
            let classified = (dialect.classify)(&response);
            if classified.is_none() && is_redirect(status) {
                redirects += 1;
                target = self.follow(&target, &response, redirects)?;
                continue;
            }
            let Some(kind) = classified.or_else(|| by_status(status)) else {
                self.refusals.store(0, Ordering::Relaxed);
                self.auth.accepted(&headers);
                return Ok(self.lower.answer(response, took));
            };
            if kind == ErrorKind::Unauthenticated {
                if std::mem::take(may_renew) && self.auth.refused(&headers) {
                    debug!(status = status.as_u16(), "the credentials are stale");
                    target = request.clone();
                    target.extensions_mut().insert(Refused(headers));
                    redirects = 0;
                    continue;
                }
                self.refusals.fetch_add(1, Ordering::Relaxed);
            } else {
                self.refusals.store(0, Ordering::Relaxed);
            }
            let mut secrets = self.auth.secrets();
            secrets.extend(secrets_in(&headers));
            let error = self.lower.refusal(kind, sentence(kind), &response, &secrets);
            // Only reading is safe to repeat.
            let may_pass = classified.map_or(is_retried(status), ErrorKind::is_transient);
            return Err(Failure { error, again: may_pass && request.method() == Method::GET });
        }
    }

    /// Sends `target` as soon as the quota lets it pass and there are credentials for it. Also gives the headers it
    /// went with. `left` of the time limit is what remains for the attempt.
    async fn signed(
        &self,
        target: &Request,
        left: &mut Duration,
    ) -> Result<(HeaderMap, Response, Duration), Failure> {
        let mut request = target.clone();
        for renewals in 0..=MOST_RENEWALS {
            let slot = self.lower.gate.pass().await?;
            if self.auth.sign(&mut request, renewals > 0)? == SignIn::Done {
                slot.spend();
                let headers = request.headers().clone();
                let is_read = request.method() == Method::GET;
                let sent = self.lower.exchange(request, *left).await;
                let (response, took) = sent.map_err(|error| {
                    let Failure { error, again } = error.into();
                    // Whatever else went out may have arrived.
                    Failure { again: again && is_read, error }
                })?;
                *left = left.saturating_sub(took);
                return Ok((headers, response, took));
            }
            // Sign-in pays for itself; a request that waits for it takes its place anew.
            drop(slot);
            let renewed = self.auth.renew(&Channel(self.lower.clone())).await;
            let took = renewed.map_err(|error| {
                let again = error.is_retryable() || error.kind() == ErrorKind::Protocol;
                Failure { error, again }
            })?;
            *left = left.saturating_sub(took);
        }
        let text = "the credentials were refused again and again before they could be used";
        Err(Error::new(ErrorKind::Unauthenticated, text).into())
    }

    /// The request that a redirect asks for.
    fn follow(&self, request: &Request, response: &Response, redirects: usize) -> Result<Request> {
        let status = response.status().as_u16();
        let wrong = |text: String| Error::new(ErrorKind::Protocol, text).with_status(status);
        if request.method() != Method::GET {
            return Err(wrong(format!("a redirect of a {} request is not followed", request.method())));
        }
        if redirects > MOST_REDIRECTS {
            return Err(wrong(format!("more than {MOST_REDIRECTS} redirects in a row")));
        }
        let here =
            Url::parse(&request.uri().to_string()).map_err(|_| wrong("a redirect from nowhere".into()))?;
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let there = location.and_then(|location| here.join(location).ok());
        let mut there = there.ok_or_else(|| wrong("a redirect without a readable address".into()))?;
        if there.origin() != self.origin {
            let name = |url: &Url| url.origin().ascii_serialization();
            let text = format!("a redirect from {} to {} is not followed", name(&here), name(&there));
            return Err(wrong(text));
        }
        there.set_fragment(None);
        // A name and a password in the address would become a header that nobody asked for.
        let _ = there.set_username("").and_then(|()| there.set_password(None));
        let mut request = request.clone();
        *request.uri_mut() = there
            .as_str()
            .parse()
            .map_err(|_| wrong("a redirect to an address that is not readable".into()))?;
        Ok(request)
    }

    /// Refuses an address that the credentials are not meant for.
    fn stays(&self, uri: &Uri) -> Result<()> {
        let url = Url::parse(&uri.to_string()).ok();
        if url.is_some_and(|url| {
            url.origin() == self.origin && url.username().is_empty() && url.password().is_none()
        }) {
            return Ok(());
        }
        let text = "the request was about to leave the configured origin and was not sent";
        Err(Error::new(ErrorKind::Config, text))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
