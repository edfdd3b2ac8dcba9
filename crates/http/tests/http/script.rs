//! A transport that answers from a script and remembers what it was sent, and when.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use charging_sessions_core::{Error, ErrorKind, ProviderId, Result};
use charging_sessions_http::{
    Answer, Client, ClientBuilder, Limits, Policy, Request, Response, Transport, json,
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::log;

/// One request, as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Milliseconds since the script began.
    pub(crate) at: u64,
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn bearer(&self) -> &str {
        self.headers.get("authorization").map_or("", |v| v.to_str().unwrap().trim_start_matches("Bearer "))
    }
}

/// What comes back, and after how long.
pub(crate) struct Reply(pub(crate) Duration, pub(crate) Result<Response>);

impl Reply {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.1.as_mut().unwrap().headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.0 = wait;
        self
    }
}

pub(crate) fn status(status: u16) -> Reply {
    body(status, "")
}

pub(crate) fn body(status: u16, body: &str) -> Reply {
    let response = http::Response::builder().status(status).body(body.to_owned().into()).unwrap();
    Reply(Duration::ZERO, Ok(response))
}

pub(crate) fn ok() -> Reply {
    body(200, "[]")
}

pub(crate) fn broken(kind: ErrorKind) -> Reply {
    Reply(Duration::ZERO, Err(Error::new(kind, "the wire is cut")))
}

type Handler = dyn Fn(usize, &Call) -> Reply + Send + Sync;

pub(crate) struct Script {
    began: Instant,
    handler: Box<Handler>,
    calls: Mutex<Vec<Call>>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl Script {
    /// Answers the n-th request, counted from 0.
    pub(crate) fn new(handler: impl Fn(usize, &Call) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        log::install();
        Arc::new(Self {
            began: Instant::now(),
            handler: Box::new(handler),
            calls: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        })
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn times(&self) -> Vec<u64> {
        self.calls().iter().map(|call| call.at).collect()
    }

    /// Requests whose path ends so.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.calls().iter().filter(|call| call.uri.split('?').next().unwrap().ends_with(path)).count()
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Transport for Script {
    async fn send(&self, request: Request, _: &Limits) -> Result<Response> {
        let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let _in_flight = InFlight(&self.in_flight);
        self.most_in_flight.fetch_max(in_flight, Ordering::SeqCst);
        let call = Call {
            at: self.began.elapsed().as_millis() as u64,
            method: request.method().to_string(),
            uri: request.uri().to_string(),
            headers: request.headers().clone(),
            body: String::from_utf8(request.body().to_vec()).unwrap(),
        };
        let n = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call.clone());
            calls.len() - 1
        };
        let Reply(wait, response) = (self.handler)(n, &call);
        if !wait.is_zero() {
            sleep(wait).await;
        }
        response
    }
}

pub(crate) const PROVIDER: ProviderId = ProviderId::new("test");
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// When scripts begin, by the wall clock, which then keeps step with the other one.
const NOON: &str = "2026-09-01T12:00:00Z";

/// A client over `script` whose pauses are as long as they may be.
pub(crate) fn builder(script: &Arc<Script>) -> ClientBuilder {
    Client::builder(PROVIDER, "https://api.example/v2/".parse().unwrap())
        .transport(script.clone())
        .clock({
            let began = script.began;
            Arc::new(move || NOON.parse::<Timestamp>().unwrap() + began.elapsed())
        })
        .jitter(Arc::new(|ceiling| ceiling))
}

pub(crate) fn client(script: &Arc<Script>, policy: Policy) -> Client {
    builder(script).policy(policy).build().unwrap()
}

/// Reads a list, as an adapter would.
pub(crate) async fn get(client: &Client) -> Result<Vec<u8>> {
    get_path(client, "items").await
}

pub(crate) async fn get_path(client: &Client, path: &str) -> Result<Vec<u8>> {
    client.send(client.get(path, &[])?, list).await
}

pub(crate) fn list(answer: &Answer) -> Result<Vec<u8>> {
    json(&answer.body)
}
