//! The contract, held against the sandbox over real HTTP.

use std::sync::Arc;

use charging_sessions_ev_energy::{Config, EvEnergy};
use charging_sessions_testkit::{
    conformance::{Subject, conformance},
    sandbox::ev_energy::EvEnergySandbox,
};

#[tokio::test]
async fn keeps_the_contract() {
    let sandbox = EvEnergySandbox::builder()
        .seed(7)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .days(21)
        .rate_limit(1_000_000, std::time::Duration::from_secs(3600))
        .build()
        .start()
        .await
        .unwrap();
    let mut config = Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = sandbox.base_url().parse().unwrap();
    config.policy = config.policy.with_quota(None);
    let secret = sandbox.client_secret().to_owned();
    let source = Arc::new(EvEnergy::new(config).unwrap());
    let truth = sandbox.truth();
    let records = truth.as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned());
    let records: Vec<_> = records.collect();
    let counter = sandbox.clone();
    let subject =
        Subject::new(source.clone(), records, move || counter.requests().len() + counter.token_requests())
            .with_intervals(source)
            .with_secrets([secret]);
    conformance(&subject).await;
}
