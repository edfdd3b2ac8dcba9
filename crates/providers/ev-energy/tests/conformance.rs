//! The contract, held against the sandbox over real HTTP.

use std::time::Duration;

use charging_sessions_ev_energy::{Config, EvEnergy};
use charging_sessions_testkit::{
    conformance::{Parts, Subject, conformance, identifiers},
    sandbox::ev_energy::EvEnergySandbox,
};

#[tokio::test]
async fn keeps_the_contract() {
    let sandbox = EvEnergySandbox::builder()
        .seed(7)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .days(21)
        .rate_limit(1_000_000, Duration::from_secs(3600))
        .build()
        .start()
        .await
        .unwrap();
    let mut config = Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = sandbox.base_url().parse().unwrap();
    let build = move |parts: Parts| {
        let mut config = config.clone();
        config.policy = parts.policy;
        EvEnergy::with_transport(config, parts.transport)
    };
    let subject = Subject::new(build, identifiers(&sandbox.truth(), "/id"))
        .with_intervals()
        .with_secrets([sandbox.client_secret()]);
    conformance(&subject).await;
}
