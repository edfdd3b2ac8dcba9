//! The contract, held against the sandbox over real HTTP.

use std::time::Duration;

use charging_sessions_core::Result;
use charging_sessions_ev_energy::{Config, EvEnergy};
use charging_sessions_testkit::{
    conformance::{Parts, Subject, conformance, identifiers},
    sandbox::{Running, ev_energy::EvEnergySandbox},
};

async fn start() -> Running<EvEnergySandbox> {
    EvEnergySandbox::builder()
        .seed(7)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .days(21)
        .rate_limit(1_000_000, Duration::from_secs(3600))
        .build()
        .start()
        .await
        .unwrap()
}

fn source(sandbox: &Running<EvEnergySandbox>) -> impl Fn(Parts) -> Result<EvEnergy> + use<> {
    let mut config = Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = sandbox.base_url().parse().unwrap();
    move |parts| {
        let mut config = config.clone();
        config.policy = parts.policy;
        EvEnergy::with_transport(config, parts.transport)
    }
}

#[tokio::test]
async fn keeps_the_contract() {
    let sandbox = start().await;
    let subject = Subject::new(source(&sandbox), identifiers(&sandbox.truth(), "/id"))
        .with_intervals()
        .with_secrets([sandbox.client_secret()]);
    conformance(&subject).await;
}

#[tokio::test]
async fn plug_ins_keep_the_contract() {
    let sandbox = start().await;
    let truth = sandbox.plug_in_truth();
    let mut records = identifiers(&truth, "/id");
    for part in truth.as_array().unwrap().iter().flat_map(|stay| stay["sub_sessions"].as_array().unwrap()) {
        records.insert(part.as_str().unwrap().rsplit('/').next().unwrap().to_owned());
    }
    let source = source(&sandbox);
    let subject = Subject::new(move |parts| Ok(source(parts)?.plug_ins()), records);
    conformance(&subject.with_secrets([sandbox.client_secret()])).await;
}
