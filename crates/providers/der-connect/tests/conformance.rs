//! The contract, held against the sandbox over real HTTP.

use std::{collections::BTreeSet, time::Duration};

use charging_sessions_core::{ChargingSessionSourceExt as _, Energy, SessionQuery};
use charging_sessions_der_connect::{Activation, Config, DerConnect};
use charging_sessions_testkit::{
    conformance::{Parts, Subject, conformance, identifiers},
    sandbox::{
        Running,
        der_connect::{DerConnectSandbox, DerConnectSandboxBuilder},
    },
};
use futures_util::TryStreamExt as _;

async fn start(
    change: impl FnOnce(DerConnectSandboxBuilder) -> DerConnectSandboxBuilder,
) -> (Config, Running<DerConnectSandbox>) {
    let builder = DerConnectSandbox::builder()
        .seed(7)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .days(40)
        .rate_limit(1_000_000, Duration::from_secs(3600));
    let sandbox = change(builder).build().start().await.unwrap();
    let mut config = Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = sandbox.base_url().parse().unwrap();
    config.token_url = sandbox.token_url().parse().unwrap();
    (config, sandbox)
}

fn truth(sandbox: &DerConnectSandbox) -> BTreeSet<String> {
    identifiers(&sandbox.truth(), "/session/id")
}

#[tokio::test]
async fn keeps_the_contract() {
    let (config, sandbox) = start(|sandbox| sandbox).await;
    let build = move |parts: Parts| {
        let mut config = config.clone();
        config.policy = parts.policy;
        DerConnect::with_transport(config, parts.transport)
    };
    let subject = Subject::new(build, truth(&sandbox)).with_assets().with_secrets([sandbox.client_secret()]);
    conformance(&subject).await;
}

#[tokio::test]
async fn a_server_that_caps_its_pages_loses_nothing() {
    let (config, sandbox) = start(|sandbox| sandbox.page_cap(Some(3))).await;
    let source = DerConnect::new(config).unwrap();
    let pages: Vec<_> = source.pages(SessionQuery::all()).try_collect().await.unwrap();
    let mapped = pages.iter().flat_map(|page| &page.sessions).map(|session| session.key().source_id.clone());
    let rejected = pages.iter().flat_map(|page| &page.rejected).filter_map(|record| record.id.clone());
    assert_eq!(mapped.chain(rejected).collect::<BTreeSet<_>>(), truth(&sandbox));
}

#[tokio::test]
async fn capturing_wants_the_capacity_of_a_vehicle_first() {
    let (config, sandbox) = start(|sandbox| sandbox).await;
    let source = DerConnect::new(config).unwrap();
    let mut wanted = 0;
    for entity in sandbox.entity_ids() {
        if let Ok(Activation::NeedsBatteryCapacity) = source.capture_charge_sessions(&entity).await {
            wanted += 1;
            source.set_battery_capacity(&entity, Energy::from_wh(77_400).unwrap()).await.unwrap();
            assert_eq!(source.capture_charge_sessions(&entity).await.unwrap(), Activation::Active);
        }
    }
    assert!(wanted > 0, "no vehicle of the sandbox wants its capacity");
}
