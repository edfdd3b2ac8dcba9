//! The adapters against mock servers that Prism makes from the documents in `specs/`.
//!
//! `cargo xtask ci` starts the servers, names their addresses in `PRISM_<PROVIDER>`, runs these tests, and looks
//! afterwards whether Prism found a request that the document does not allow. Tokens come from our sandboxes.
//!
//! What Prism makes up is of the right shape and otherwise absurd: nothing may be rejected, everything may be odd.
//! Its listings have no end, so single pages are read.

use std::{env, num::NonZeroU32};

use charging_sessions::{
    AssetKind, AssetRef, AssetSource as _, ChargingSessionSource, ErrorKind, IntervalSource as _,
    RejectedRecord, SessionPage, SessionQuery, TimeWindow, der_connect, ev_energy, evcc, ocpi, podero,
};
use charging_sessions_http::Url;
use charging_sessions_testkit::sandbox::{
    der_connect::DerConnectSandbox, ev_energy::EvEnergySandbox, podero::PoderoSandbox,
};

/// A list that Prism makes up is empty now and then, but not this often in a row.
const TRIES: usize = 20;

fn prism(provider: &str) -> Url {
    let variable = format!("PRISM_{}", provider.to_uppercase().replace('-', "_"));
    let address = env::var(&variable);
    address.unwrap_or_else(|_| panic!("{variable} names no server; run `cargo xtask ci`")).parse().unwrap()
}

async fn page(source: &dyn ChargingSessionSource, query: &SessionQuery) -> SessionPage {
    let page = source.fetch_page(query, None).await.unwrap();
    // A made-up unit is none, and a figure without a unit is no figure.
    let may_be_odd = env::var_os("PRISM_MAKES_UP").is_some();
    let excused = |record: &&RejectedRecord| may_be_odd && record.code.as_str() == "unit.unknown";
    let rejected: Vec<_> = page.rejected.iter().filter(|record| !excused(record)).collect();
    assert!(rejected.is_empty(), "{rejected:?}");
    page
}

/// Reads a page for each kind of query that the source knows, and hands out the first page with a record.
async fn records(source: &dyn ChargingSessionSource, asset: Option<&AssetRef>) -> SessionPage {
    let of_asset = |query: SessionQuery| match asset {
        Some(asset) => query.with_asset(asset.clone()),
        None => query,
    };
    let (from, until) = ("2026-08-01T22:00:00Z", "2026-08-03T10:00:00.5Z");
    let window = TimeWindow::new(from.parse().unwrap(), until.parse().unwrap()).unwrap();
    let all = of_asset(SessionQuery::all());
    let queries = [
        of_asset(SessionQuery::started_in(window)),
        of_asset(SessionQuery::changed_since(window.from())),
        all.clone().with_page_size(NonZeroU32::MIN),
        all.clone().with_page_size(NonZeroU32::MAX),
        all.clone().with_finished(true),
        all.clone().with_finished(false),
    ];
    for query in queries.iter().filter(|query| query.check(source.capabilities()).is_ok()) {
        page(source, query).await;
    }
    for _ in 0..TRIES {
        let page = page(source, &all).await;
        if !page.sessions.is_empty() || !page.rejected.is_empty() {
            return page;
        }
    }
    panic!("no record came in {TRIES} pages");
}

#[tokio::test]
#[ignore = "`cargo xtask ci` starts the server"]
async fn der_connect() {
    let sandbox = DerConnectSandbox::builder().build().start().await.unwrap();
    let mut config = der_connect::Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = prism("der-connect");
    config.token_url = sandbox.token_url().parse().unwrap();
    let source = der_connect::DerConnect::new(config).unwrap();
    // The type of an entity is any word here, so that mostly none is one that has sessions.
    page(&source, &SessionQuery::all()).await;
    source.fetch_assets(None).await.unwrap();
    let entity = &sandbox.entity_ids()[0];
    for kind in [AssetKind::Vehicle, AssetKind::ChargePoint] {
        records(&source, Some(&AssetRef { kind, id: entity.clone() })).await;
    }
    source.capture_charge_sessions(entity).await.unwrap();
}

#[tokio::test]
#[ignore = "`cargo xtask ci` starts the server"]
async fn ev_energy() {
    let sandbox = EvEnergySandbox::builder().build().start().await.unwrap();
    let mut config = ev_energy::Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = prism("ev-energy");
    config.token_url = Some(sandbox.token_url().parse().unwrap());
    // What Prism says is left of the quota is as absurd as the rest, and would be waited for.
    config.policy = config.policy.with_quota(None);
    let mut odd = config.clone();
    odd.acting_user = sandbox.user_ids().pop();
    odd.expand = ev_energy::Expand::ALL.to_vec();
    odd.merge_intervals = true;
    odd.filter.mode = Some("SMART".to_owned());
    odd.filter.watt_hours_from = Some(1);
    odd.filter.watt_hours_to = Some(100_000);
    odd.filter.ended_after = Some("2026-01-01T00:00:00Z".parse().unwrap());
    odd.filter.ended_before = Some("2027-01-01T00:00:00Z".parse().unwrap());
    odd.filter.user_id = Some("me".to_owned());
    for config in [config, odd] {
        let source = ev_energy::EvEnergy::new(config).unwrap();
        records(&source, Some(&AssetRef::vehicle("vhcl01JVES8ED8SY0S6YYBAJXHBKB0"))).await;
        records(&source, Some(&AssetRef::charge_point("evse01JVES8FCGA3B30V7JZD76J3QW"))).await;
        let session = records(&source, None).await.sessions.remove(0);
        source.fetch_intervals(session.key()).await.unwrap();
        let id = &session.key().source_id;
        source.sub_session(id).await.unwrap();
        source.schedules(id).await.unwrap();
        source.flags(id).await.unwrap();
        records(&source.plug_ins(), None).await;
    }
}

#[tokio::test]
#[ignore = "`cargo xtask ci` starts the server"]
async fn evcc() {
    let token = evcc::Credentials::Bearer("t0ken".into());
    let basic = evcc::Credentials::Basic { user: "reader".into(), password: "s3cret".into() };
    for credentials in [evcc::Credentials::None, token, basic] {
        let mut config = evcc::Config::new(prism("evcc"));
        config.credentials = credentials;
        records(&evcc::Evcc::new(config).unwrap(), None).await;
    }
}

#[tokio::test]
#[ignore = "`cargo xtask ci` starts the server"]
async fn ocpi() {
    for version in ocpi::Version::ALL {
        let mut config = ocpi::Config::direct(version, "t0ken".into());
        let place = |path: &str| Some(prism("ocpi").join(path).unwrap());
        config.sessions_url = place(&format!("{version}/sessions"));
        config.cdrs_url = place(&format!("{version}/cdrs"));
        config.from = Some(ocpi::Party::new("NL", "TNM"));
        config.to = Some(ocpi::Party::new("BE", "BEC"));
        let party = ocpi::Ocpi::new(config.clone()).unwrap();
        records(&party, None).await;
        records(&party.cdrs(), None).await;
        // Where it says that its modules are, nothing is: it is asked all the same, and no token goes there.
        config.versions_url = place("versions");
        (config.sessions_url, config.cdrs_url) = (None, None);
        let error =
            ocpi::Ocpi::new(config).unwrap().fetch_page(&SessionQuery::all(), None).await.unwrap_err();
        assert!([ErrorKind::Config, ErrorKind::Protocol].contains(&error.kind()), "{error}");
    }
}

#[tokio::test]
#[ignore = "`cargo xtask ci` starts the server"]
async fn podero() {
    let sandbox = PoderoSandbox::builder().build().start().await.unwrap();
    let mut config =
        podero::Config::new(sandbox.client_id(), sandbox.client_secret().into(), sandbox.org_id());
    config.base_url = prism("podero");
    config.token_url = Some(sandbox.token_url().parse().unwrap());
    let source = podero::Podero::new(config).unwrap();
    // Whoever asks twice for the vehicles of a user gets others, so that none can be asked for by its name.
    records(&source, None).await;
    source.fetch_assets(None).await.unwrap();
    let user = &sandbox.user_ids()[1];
    source.current_session(user, &sandbox.vehicle_ids(user)[0]).await.unwrap();
}
