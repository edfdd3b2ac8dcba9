//! The contract, held against the sandbox over real HTTP.

use std::{collections::BTreeSet, time::Duration};

use charging_sessions_core::{ChargingSessionSourceExt as _, SessionQuery, TimeWindow};
use charging_sessions_evcc::{Config, Credentials, Evcc};
use charging_sessions_testkit::{
    conformance::{Parts, Subject, conformance, identifiers},
    sandbox::{
        Running,
        evcc::{EvccSandbox, EvccSandboxBuilder, Mutation},
    },
};
use futures_util::TryStreamExt as _;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

const TOKEN: &str = "evcc_s3cret";

async fn start(
    change: impl FnOnce(EvccSandboxBuilder) -> EvccSandboxBuilder,
) -> (Config, Running<EvccSandbox>) {
    let builder = EvccSandbox::builder()
        .seed(7)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .days(40)
        .rate_limit(1_000_000, Duration::from_secs(3600));
    let sandbox = change(builder).build().start().await.unwrap();
    (Config::new(sandbox.base_url().parse().unwrap()), sandbox)
}

fn truth(sandbox: &EvccSandbox) -> BTreeSet<String> {
    identifiers(&sandbox.truth(), "/id")
}

fn subject(config: Config, sandbox: &EvccSandbox) -> Subject<Evcc> {
    let build = move |parts: Parts| {
        let mut config = config.clone();
        config.policy = parts.policy;
        Evcc::with_transport(config, parts.transport)
    };
    Subject::new(build, truth(sandbox))
}

#[tokio::test]
async fn keeps_the_contract() {
    let (config, sandbox) = start(|sandbox| sandbox).await;
    conformance(&subject(config, &sandbox)).await;
}

#[tokio::test]
async fn keeps_the_contract_behind_a_proxy_and_with_answers_of_an_older_release() {
    let (mut config, sandbox) = start(|sandbox| sandbox.bearer(TOKEN).wrapped(true)).await;
    config.credentials = Credentials::Bearer(TOKEN.into());
    conformance(&subject(config, &sandbox).with_secrets([TOKEN])).await;
}

async fn ids(source: &Evcc, query: SessionQuery) -> BTreeSet<String> {
    let sessions: Vec<_> = source.sessions(query).try_collect().await.unwrap();
    sessions.iter().map(|session| session.key().source_id.clone()).collect()
}

/// A month ends at a time that depends on where the server stands, which the adapter does not know.
#[tokio::test]
async fn a_window_is_whole_wherever_the_server_stands() {
    let zones = [
        ("CET-1CEST,M3.5.0,M10.5.0/3", false),
        ("CET-1CEST,M3.5.0,M10.5.0/3", true),
        ("<+14>-14", false),
        ("<-12>12", false),
        ("EST5EDT,M3.2.0,M11.1.0", false),
    ];
    let instants = [
        // The borders of March, of April and of the year, by the clocks of the zones above and by UTC.
        "2026-02-28T10:00:00Z",
        "2026-02-28T23:00:00Z",
        "2026-02-28T22:59:59.999Z",
        "2026-03-01T00:00:00Z",
        "2026-03-01T05:00:00Z",
        "2026-03-01T12:00:00Z",
        // The hours that are not there, or twice, in Europe.
        "2026-03-29T00:59:59Z",
        "2026-03-29T01:00:00Z",
        "2026-03-31T21:59:59.999Z",
        "2026-03-31T22:00:00Z",
        "2026-10-25T00:30:00Z",
        "2026-10-25T01:30:00Z",
        "2026-10-31T22:59:59Z",
        "2026-10-31T23:00:00Z",
        "2026-12-31T23:30:00Z",
        "2027-01-01T00:30:00Z",
    ];
    let instants = instants.map(|instant| instant.parse::<Timestamp>().unwrap());
    for (zone, in_utc) in zones {
        let zone = TimeZone::posix(zone).unwrap();
        let (config, sandbox) =
            start(|sandbox| sandbox.days(0).zone(zone.clone()).filtered_in_utc(in_utc)).await;
        for (id, instant) in (1000..).zip(instants) {
            let created = instant.display_with_offset(zone.to_offset(instant)).to_string();
            assert!(sandbox.mutate(Mutation::Insert(
                json!({"id": id, "created": created, "finished": created, "chargedEnergy": 7.5})
            )));
        }
        let source = Evcc::new(config).unwrap();
        for from in instants {
            for until in instants {
                let Some(window) = TimeWindow::new(from, until) else { continue };
                let expected: BTreeSet<_> = (1000..)
                    .zip(instants)
                    .filter(|(_, instant)| window.contains(*instant))
                    .map(|(id, _)| id.to_string())
                    .collect();
                let read = ids(&source, SessionQuery::started_in(window)).await;
                let read: BTreeSet<_> = read.into_iter().filter(|id| id.len() == 4).collect();
                assert_eq!(read, expected, "{window} {zone:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_proxy_wants_its_credentials() {
    let (mut config, sandbox) = start(|sandbox| sandbox.credentials("reader", "s3cret")).await;
    let refused = Evcc::new(config.clone()).unwrap();
    let error = refused.sessions(SessionQuery::all()).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    config.credentials = Credentials::Basic { user: "reader".into(), password: "s3cret".into() };
    let source = Evcc::new(config).unwrap();
    assert_eq!(ids(&source, SessionQuery::all()).await, truth(&sandbox));
}
