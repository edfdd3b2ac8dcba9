//! The transport that the suite puts between a source and its provider.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use charging_sessions_core::{Error, ErrorKind, Result};
use charging_sessions_http::{Bytes, Limits, Request, Response, Transport};
use http::{HeaderName, HeaderValue, header};
use serde_json::Value;
use tokio::{task::yield_now, time::Instant};

/// Counts requests, keeps answers, and lets requests fail.
pub(super) struct Line {
    below: Arc<dyn Transport>,
    is_sign_in: fn(&Request) -> bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sent: Vec<Sent>,
    secrets: BTreeSet<String>,
    fault: Option<Fault>,
    /// What was hit, for faults that hit each request once.
    hit: BTreeSet<String>,
    hits: usize,
    replay: Arc<BTreeMap<String, Response>>,
}

/// A request, and what was answered.
#[derive(Clone)]
pub(super) struct Sent {
    /// What tells it from others: method, path, query and body.
    pub(super) target: String,
    pub(super) is_sign_in: bool,
    pub(super) at: Instant,
    pub(super) answer: Option<Response>,
}

/// Something that goes wrong.
#[derive(Clone)]
pub(super) struct Fault {
    effect: Effect,
    what: What,
    when: When,
}

#[derive(Clone)]
pub(super) enum Effect {
    /// Is answered like this, and not sent.
    Answer(Response),
    /// Is answered with this status and all that it held.
    Echo(u16),
    /// Is sent, and the answer arrives changed.
    Change(fn(Response) -> Response),
    /// The connection fails.
    Lost,
    /// Never is answered.
    Silent,
}

#[derive(Clone, Copy)]
enum What {
    All,
    Data,
    SignIn,
}

#[derive(Clone)]
enum When {
    /// The first of each.
    FirstOfEach,
    /// Those that are alike this one.
    Target(String),
    /// From this one on, counted from 0.
    From(usize),
    /// Just this one.
    At(usize),
}

impl Fault {
    fn new(effect: Effect, what: What, when: When) -> Self {
        Self { effect, what, when }
    }

    /// Befalls each request once, sign-ins included.
    pub(super) fn first_of_each(effect: Effect) -> Self {
        Self::new(effect, What::All, When::FirstOfEach)
    }

    /// Befalls the request for data with this number, counted from 0.
    pub(super) fn at(at: usize, effect: Effect) -> Self {
        Self::new(effect, What::Data, When::At(at))
    }

    /// Befalls every request for data from this one on, counted from 0.
    pub(super) fn from(from: usize, effect: Effect) -> Self {
        Self::new(effect, What::Data, When::From(from))
    }

    /// Befalls every sign-in.
    pub(super) fn sign_in(effect: Effect) -> Self {
        Self::new(effect, What::SignIn, When::From(0))
    }

    /// Befalls every request with this [target](Sent::target).
    pub(super) fn of(target: String, effect: Effect) -> Self {
        Self::new(effect, What::All, When::Target(target))
    }
}

/// An answer of this status.
pub(super) fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response {
    let answer = http::Response::builder().status(status).header("content-type", content_type);
    answer.body(body.into()).expect("a status and a header that are valid")
}

impl Line {
    pub(super) fn new(below: Arc<dyn Transport>, is_sign_in: fn(&Request) -> bool) -> Self {
        Self { below, is_sign_in, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this goes wrong, and nothing else. Requests are counted anew.
    pub(super) fn fail(&self, fault: Fault) {
        let mut state = self.state();
        state.sent.clear();
        state.hit.clear();
        state.hits = 0;
        state.fault = Some(fault);
    }

    /// What is found here by its target is answered from here.
    pub(super) fn replay(&self, answers: Arc<BTreeMap<String, Response>>) {
        self.state().replay = answers;
    }

    /// What was sent, in order.
    pub(super) fn sent(&self) -> Vec<Sent> {
        self.state().sent.clone()
    }

    /// How many requests were sent, sign-ins included.
    pub(super) fn requests(&self) -> usize {
        self.state().sent.len()
    }

    /// How many requests for data were sent.
    pub(super) fn data_requests(&self) -> usize {
        self.requests() - self.sign_ins()
    }

    /// How many sign-ins were sent.
    pub(super) fn sign_ins(&self) -> usize {
        self.state().sent.iter().filter(|sent| sent.is_sign_in).count()
    }

    /// How often the fault befell a request.
    pub(super) fn hits(&self) -> usize {
        self.state().hits
    }

    /// The credentials that were sent so far.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.state().secrets.iter().cloned().collect()
    }

    /// Takes note of a request, and gives its number and what befalls it.
    fn begin(&self, request: &Request) -> (usize, Option<Effect>) {
        let is_sign_in = (self.is_sign_in)(request);
        let target =
            format!("{} {} {}", request.method(), request.uri(), String::from_utf8_lossy(request.body()));
        let state = &mut *self.state();
        let is_secret = |(name, value): &(&HeaderName, &HeaderValue)| {
            value.is_sensitive() || *name == header::AUTHORIZATION || *name == header::COOKIE
        };
        for (_, value) in request.headers().iter().filter(is_secret) {
            let value = value.to_str().unwrap_or_default();
            // The scheme, such as `Bearer`, is no secret.
            state.secrets.insert(value.rsplit(' ').next().unwrap_or_default().to_owned());
        }
        let alike = state.sent.iter().filter(|sent| sent.is_sign_in == is_sign_in).count();
        let befalls = |fault: &&Fault| {
            (match fault.what {
                What::All => true,
                What::Data => !is_sign_in,
                What::SignIn => is_sign_in,
            }) && match &fault.when {
                When::FirstOfEach => state.hit.insert(target.clone()),
                When::Target(wanted) => target == *wanted,
                When::From(from) => alike >= *from,
                When::At(at) => alike == *at,
            }
        };
        let effect = state.fault.as_ref().filter(befalls).map(|fault| fault.effect.clone());
        state.hits += usize::from(effect.is_some());
        state.sent.push(Sent { target, is_sign_in, at: Instant::now(), answer: None });
        (state.sent.len() - 1, effect)
    }

    /// Takes note of an answer.
    fn end(&self, number: usize, answer: &Response) {
        let state = &mut *self.state();
        let Some(sent) = state.sent.get_mut(number) else { return };
        sent.answer = Some(answer.clone());
        if let (true, Ok(Value::Object(grant))) = (sent.is_sign_in, serde_json::from_slice(answer.body())) {
            let tokens = grant.into_iter().filter(|(name, _)| name.ends_with("token"));
            state.secrets.extend(tokens.filter_map(|(_, token)| token.as_str().map(str::to_owned)));
        }
    }

    async fn pass(&self, number: usize, request: Request, limits: &Limits) -> Result<Response> {
        let replayed = {
            let state = self.state();
            state.sent.get(number).and_then(|sent| state.replay.get(&sent.target)).cloned()
        };
        match replayed {
            Some(answer) => Ok(answer),
            None => self.below.send(request, limits).await,
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

#[async_trait]
impl Transport for Line {
    async fn send(&self, request: Request, limits: &Limits) -> Result<Response> {
        let (number, effect) = self.begin(&request);
        // Moments at which the caller may be dropped, whatever the transport below is.
        yield_now().await;
        let answer = match effect {
            None => self.pass(number, request, limits).await,
            Some(Effect::Answer(answer)) => Ok(answer),
            Some(Effect::Echo(status)) => Ok(echo(status, &request)),
            Some(Effect::Change(change)) => self.pass(number, request, limits).await.map(change),
            Some(Effect::Lost) => Err(Error::new(ErrorKind::Network, "the connection was lost")),
            Some(Effect::Silent) => future::pending().await,
        };
        yield_now().await;
        if let Ok(answer) = &answer {
            self.end(number, answer);
        }
        answer
    }
}

fn echo(status: u16, request: &Request) -> Response {
    let headers = request.headers().iter();
    let headers: Vec<_> =
        headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default())).collect();
    let body = String::from_utf8_lossy(request.body());
    let said = serde_json::json!({
        "error": "invalid_request",
        "detail": format!("{} {} {body}", request.method(), request.uri()),
        "title": headers.join(" "),
    });
    if (400..500).contains(&status) {
        answer(status, "application/json", said.to_string())
    } else {
        answer(status, "text/plain", format!("{} {body}", headers.join("\n")))
    }
}
