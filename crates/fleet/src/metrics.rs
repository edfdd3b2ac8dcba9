//! What can be watched: health and counters over HTTP.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use charging_sessions_core::{Error, ErrorKind, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Fleet, beat::Beat};

macro_rules! counters {
    ($($(#[doc = $help:literal])* $name:ident),* $(,)?) => {
        /// What one worker has done since it began.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[doc = $help])* pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            fn write(&self, text: &mut String) {
                $(metric(
                    text,
                    concat!("charging_sessions_worker_", stringify!($name), "_total"),
                    "counter",
                    concat!($($help),*).trim(),
                    &[(String::new(), self.$name.load(Ordering::Relaxed) as f64)],
                );)*
            }
        }
    };
}

counters! {
    /// Jobs that were begun.
    jobs,
    /// Jobs that ended with a failure of the provider or the account.
    failures,
    /// Pages that were written.
    pages,
    /// Requests that were sent, sign-in and retries included.
    requests,
    /// Records that were new.
    new,
    /// Records that were changed.
    changed,
    /// Records that were vanished.
    vanished,
    /// Requests that were put off because a limit was reached.
    limited,
    /// Writes that were refused because another worker had taken over.
    refused,
    /// Jobs that ended after they had been given to another worker.
    superseded,
    /// Requests that were not sent because the heartbeat was late.
    held,
    /// Jobs of dead workers that this one has set free.
    taken_over,
    /// Times that the connection to the database was lost.
    shifts,
}

pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str, values: &[(String, f64)]) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

#[derive(Clone)]
struct Watched {
    fleet: Fleet,
    counters: Arc<Counters>,
    beat: Arc<Beat>,
}

/// Answers `/health` and `/metrics` until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    fleet: Fleet,
    counters: Arc<Counters>,
    beat: Arc<Beat>,
    stop: CancellationToken,
) -> Result<()> {
    let router = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(Watched { fleet, counters, beat });
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
    served.await.map_err(|e| Error::new(ErrorKind::Config, "the metrics cannot be served").with_source(e))
}

async fn health(State(watched): State<Watched>) -> impl IntoResponse {
    match watched.beat.is_fresh() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}

async fn metrics(State(watched): State<Watched>) -> impl IntoResponse {
    let mut text = String::new();
    watched.counters.write(&mut text);
    let alive = u8::from(watched.beat.is_fresh());
    let name = "charging_sessions_worker_alive";
    metric(
        &mut text,
        name,
        "gauge",
        "Whether the heartbeat of this worker is in time.",
        &[plain(alive.into())],
    );
    // What concerns all workers is only there while the database answers.
    if let Ok(sums) = watched.fleet.sums().await {
        let mut gauge = |name: &str, help: &str, value: f64| {
            metric(&mut text, &format!("charging_sessions_fleet_{name}"), "gauge", help, &[plain(value)]);
        };
        gauge("workers", "Workers whose heartbeat is in time.", sums.workers as f64);
        gauge("accounts", "Accounts that are read.", sums.accounts as f64);
        gauge(
            "accounts_parked",
            "Accounts that are not read until somebody sees to them.",
            sums.parked as f64,
        );
        gauge("accounts_failing", "Accounts whose last job failed.", sums.failing as f64);
        gauge("accounts_never_read", "Accounts that were never read as a whole.", sums.never as f64);
        gauge(
            "lag_seconds_max",
            "The longest time since what is known of an account was complete.",
            sums.lag,
        );
        gauge("jobs_due", "Jobs that wait for a worker.", sums.due as f64);
    }
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], text)
}

fn plain(value: f64) -> (String, f64) {
    (String::new(), value)
}
