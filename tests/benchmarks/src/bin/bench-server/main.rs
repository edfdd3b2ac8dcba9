//! A server that costs next to nothing to ask, in a process of its own: its pages are slices of bytes that were made
//! before it listens.
//!
//! It says in one line of JSON where it listens and what a complete reader has, answers each line of its input with what
//! it was asked so far, and ends with its input.

mod podero;

use std::{
    convert::Infallible,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
    serve::ListenerExt as _,
};
use charging_sessions_testkit::sandbox::ev_energy::EvEnergySandbox;
use clap::Parser;
use jiff::Timestamp;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use workspace_benchmarks::{Asked, CLIENT, Figures, Ready};

/// What is served, and how.
#[derive(Parser)]
struct Arguments {
    /// Whose API.
    #[arg(long, default_value = "podero")]
    provider: String,
    /// How many users there are. Podero only.
    #[arg(long, default_value_t = 1)]
    users: usize,
    /// How many vehicles each user has. Podero only.
    #[arg(long, default_value_t = 1)]
    vehicles: usize,
    /// How many sessions each vehicle has; with ev.energy, how many there are.
    #[arg(long, default_value_t = 200_000)]
    sessions: usize,
    /// How long it takes for each answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// The span within which it counts requests, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    span: u64,
}

// One thread: the other processors are for who is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (router, truth) = match arguments.provider.as_str() {
        "podero" => podero::router(arguments.users, arguments.vehicles, arguments.sessions)?,
        "ev-energy" => ev_energy(arguments.sessions),
        other => anyhow::bail!("{other} is not served: name podero or ev-energy"),
    };
    let latency = Duration::from_millis(arguments.latency);
    let log = Arc::new(Log { latency, arrivals: Mutex::default() });
    let router = router.layer(middleware::from_fn_with_state(Arc::clone(&log), pass));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.context("no free port")?;
    let address = format!("http://{}", listener.local_addr()?);
    // Else an answer may wait for the acknowledgement of its head.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    say(&Ready { address, truth })?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let span = Duration::from_millis(arguments.span);
    let answers = async {
        while lines.next_line().await?.is_some() {
            say(&log.asked(span))?;
        }
        Ok(())
    };
    tokio::select! {
        ended = answers => ended,
        served = axum::serve(listener, router) => served.context("the server has ended"),
    }
}

fn say(what: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(what)?)?;
    Ok(out.flush()?)
}

/// When requests came.
struct Log {
    latency: Duration,
    arrivals: Mutex<Vec<Instant>>,
}

impl Log {
    fn asked(&self, span: Duration) -> Asked {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let most = (0..arrivals.len()).map(|last| {
            let first = arrivals.partition_point(|at| *at + span <= arrivals[last]);
            last + 1 - first
        });
        Asked { requests: arrivals.len(), most_in_span: most.max().unwrap_or(0) }
    }
}

async fn pass(State(log): State<Arc<Log>>, request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    log.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
    let answer = next.run(request).await;
    if !log.latency.is_zero() {
        // What it costs to make the answer is not counted as ours.
        tokio::time::sleep_until((arrived + log.latency).into()).await;
    }
    answer
}

/// The sandbox of ev.energy. Not prebuilt, and therefore for counting requests only.
fn ev_energy(sessions: usize) -> (Router, Figures) {
    let sandbox = EvEnergySandbox::builder()
        .now(Timestamp::now())
        .sessions(sessions)
        .dirt(false)
        .rate_limit(usize::MAX >> 1, Duration::from_secs(3600))
        .credentials(CLIENT.0, CLIENT.1)
        .build();
    let records = sandbox.truth();
    let records = records.as_array().map_or(&[][..], Vec::as_slice);
    let mut truth = Figures { sessions: records.len() as u64, first: i64::MAX, ..Figures::default() };
    for record in records {
        truth.energy_mwh += record["energy_delivered_watt_hours"].as_i64().unwrap_or(0) * 1000;
        truth.cost_cents += record["cost"].as_i64().unwrap_or(0);
        let start = record["start"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let start = start.unwrap_or_default().as_second();
        (truth.first, truth.last) = (truth.first.min(start), truth.last.max(start));
    }
    let answer = async move |request: Request| -> Result<Response, Infallible> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
        let answer = sandbox.call(Request::from_parts(parts, body)).await;
        Ok(answer.map_or_else(
            |error| Response::new(Body::from(error.to_string())),
            |answer| answer.map(Body::from),
        ))
    };
    (Router::new().fallback(answer), truth)
}
