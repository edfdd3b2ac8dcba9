//! The contract, and listings that change while they are read, held against the sandbox over real HTTP.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use charging_sessions_core::{
    ChargingSession, ChargingSessionSource as _, ChargingSessionSourceExt as _, RelationKind, SessionQuery,
};
use charging_sessions_ocpi::{Config, Ocpi, TokenForm, Version};
use charging_sessions_testkit::{
    conformance::{Parts, Subject, conformance},
    sandbox::{
        Fault, Running,
        ocpi::{self as sandbox, Links, Module, Mutation, OcpiSandbox, OcpiSandboxBuilder, Order},
    },
};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

const NOW: &str = "2026-11-20T12:00:00Z";
const VERSIONS: [(&str, Version); 3] =
    [("2.1.1", Version::V2_1_1), ("2.2.1", Version::V2_2_1), ("2.3.0", Version::V2_3_0)];

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

async fn start(
    change: impl FnOnce(OcpiSandboxBuilder) -> OcpiSandboxBuilder,
) -> (Config, Running<OcpiSandbox>) {
    let builder =
        OcpiSandbox::builder().seed(7).now(now()).days(15).rate_limit(1_000_000, Duration::from_secs(3600));
    let sandbox = change(builder).build().start().await.unwrap();
    let mut config = Config::new(sandbox.versions_url().parse().unwrap(), sandbox.token().into());
    config.now = now;
    (config, sandbox)
}

fn id_of(record: &Value, version: Version) -> String {
    let text = |name: &str| record[name].as_str().unwrap();
    let id = match version {
        Version::V2_1_1 => text("id").to_owned(),
        _ => format!("{}*{}*{}", text("country_code"), text("party_id"), text("id")),
    };
    id.to_lowercase()
}

fn truth(sandbox: &OcpiSandbox, module: Module, version: Version) -> BTreeSet<String> {
    sandbox.truth(module).as_array().unwrap().iter().map(|record| id_of(record, version)).collect()
}

fn source(party: Ocpi, module: Module) -> Ocpi {
    match module {
        Module::Sessions => party,
        Module::Cdrs => party.cdrs(),
    }
}

async fn keeps_the_contract(module: Module, (number, version): (&'static str, Version)) {
    let (config, sandbox) = start(|sandbox| sandbox.versions(&[number])).await;
    let build = move |parts: Parts| {
        let mut config = config.clone();
        config.policy = parts.policy;
        Ok(source(Ocpi::with_transport(config, parts.transport)?, module))
    };
    let subject = Subject::new(build, truth(&sandbox, module, version)).with_secrets([sandbox.token()]);
    conformance(&subject).await;
}

#[tokio::test]
async fn sessions_of_2_1_1_keep_the_contract() {
    keeps_the_contract(Module::Sessions, VERSIONS[0]).await;
}

#[tokio::test]
async fn sessions_of_2_2_1_keep_the_contract() {
    keeps_the_contract(Module::Sessions, VERSIONS[1]).await;
}

#[tokio::test]
async fn sessions_of_2_3_0_keep_the_contract() {
    keeps_the_contract(Module::Sessions, VERSIONS[2]).await;
}

#[tokio::test]
async fn cdrs_of_2_1_1_keep_the_contract() {
    keeps_the_contract(Module::Cdrs, VERSIONS[0]).await;
}

#[tokio::test]
async fn cdrs_of_2_2_1_keep_the_contract() {
    keeps_the_contract(Module::Cdrs, VERSIONS[1]).await;
}

#[tokio::test]
async fn cdrs_of_2_3_0_keep_the_contract() {
    keeps_the_contract(Module::Cdrs, VERSIONS[2]).await;
}

async fn read(source: &Ocpi, query: SessionQuery) -> Vec<ChargingSession> {
    source.sessions(query).try_collect().await.unwrap()
}

fn ids(sessions: &[ChargingSession]) -> BTreeSet<String> {
    sessions.iter().map(|session| session.key().source_id.clone()).collect()
}

/// What a listing costs: each kind of link, with and without totals, in both orders, in short pages.
#[tokio::test]
async fn a_listing_is_complete_whatever_the_links_are() {
    let links = [Links::Right, Links::None, Links::Elsewhere, Links::Unusable, Links::ByWord];
    for (links, totals, order) in links.into_iter().flat_map(|links| {
        [(links, true, Order::Created), (links, false, Order::Created), (links, true, Order::Updated)]
    }) {
        let (config, sandbox) =
            start(|sandbox| sandbox.links(links).totals(totals).order(order).page_cap(7)).await;
        for module in [Module::Sessions, Module::Cdrs] {
            let source = source(Ocpi::new(config.clone()).unwrap(), module);
            let sessions = read(&source, SessionQuery::all()).await;
            assert_eq!(
                ids(&sessions),
                truth(&sandbox, module, Version::V2_3_0),
                "{links:?} {totals} {order:?}"
            );
            assert_eq!(
                sessions.len(),
                ids(&sessions).len(),
                "{links:?} {totals}: a list that stands repeats nothing"
            );
        }
    }
}

/// Ten thousand sessions, of which some are updated, removed or added between any two pages.
async fn nothing_is_lost_while_the_list_moves(order: Order, links: Links) {
    const COUNT: u32 = 10_000;
    let (mut config, sandbox) =
        start(|sandbox| sandbox.days(400).dirt(false).charges(COUNT).order(order).links(links).page_cap(250))
            .await;
    config.max_page_size = 250;
    config.version = Some(Version::V2_2_1);
    let source = Ocpi::new(config).unwrap();
    let before = truth(&sandbox, Module::Sessions, Version::V2_2_1);
    assert_eq!(before.len(), COUNT as usize);
    let at_first: Vec<Value> = sandbox.truth(Module::Sessions).as_array().unwrap().clone();
    let id = |turn: usize| at_first[turn % at_first.len()]["id"].as_str().unwrap().to_owned();
    let query = SessionQuery::all();
    let (mut cursor, mut read, mut delivered, mut turn) = (None, BTreeSet::new(), 0, 0_usize);
    loop {
        let page = source.fetch_page(&query, cursor.as_ref()).await.unwrap();
        assert!(page.rejected.is_empty());
        delivered += page.sessions.len();
        read.extend(ids(&page.sessions));
        turn += 1;
        assert!(turn < 400, "the listing does not end");
        // What was read and what was not, at its begin, in its middle and near where the reader is.
        let near = turn * 249;
        for place in [turn * 7919, near, near + 3, near.saturating_sub(5)] {
            let fields = json!({"kwh": 1, "last_updated": "2026-11-20T12:00:30Z"});
            sandbox.mutate(Mutation::Correct(Module::Sessions, id(place), fields));
        }
        for place in [turn * 104_729 + 1, near + 11, near.saturating_sub(2)] {
            sandbox.mutate(Mutation::Remove(Module::Sessions, id(place)));
        }
        let mut new = at_first[turn % at_first.len()].clone();
        new["id"] = format!("new-{turn}").into();
        new["last_updated"] = "2026-11-20T12:00:40Z".into();
        sandbox.mutate(Mutation::Insert(Module::Sessions, new));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let stayed: BTreeSet<_> =
        truth(&sandbox, Module::Sessions, Version::V2_2_1).intersection(&before).cloned().collect();
    assert!(stayed.len() > 9_000 && stayed.len() < 10_000, "{}", stayed.len());
    let lost: Vec<_> = stayed.difference(&read).collect();
    assert_eq!(lost, [] as [&String; 0]);
    // Repetitions are few, and the key tells them.
    assert!(delivered < 11_000, "{delivered} delivered for {} records", read.len());
}

#[tokio::test]
async fn nothing_is_lost_while_a_list_by_age_moves() {
    nothing_is_lost_while_the_list_moves(Order::Created, Links::Right).await;
}

#[tokio::test]
async fn nothing_is_lost_while_a_list_by_update_moves() {
    nothing_is_lost_while_the_list_moves(Order::Updated, Links::None).await;
}

#[tokio::test]
async fn one_malformed_record_of_a_page_costs_that_record() {
    for (_, version) in VERSIONS {
        let (mut config, sandbox) = start(|sandbox| sandbox.charges(50).dirt(false)).await;
        config.version = Some(version);
        let cdrs = Ocpi::new(config).unwrap().cdrs();
        let path = format!("{version}/cdrs");
        sandbox.inject(Fault::replace_record(17, json!("no record")).on_path(&path));
        let page = cdrs.fetch_page(&SessionQuery::all(), None).await.unwrap();
        assert_eq!((page.sessions.len(), page.rejected.len()), (49, 1), "{version}");
        assert_eq!(page.rejected[0].path, "/data/17");
    }
}

/// Each way to write the token against each way to expect it.
#[tokio::test]
async fn the_token_is_found_out_once_and_remembered() {
    for (form, frank, number) in [
        (sandbox::TokenForm::Raw, true, "2.3.0"),
        (sandbox::TokenForm::Raw, false, "2.2.1"),
        (sandbox::TokenForm::Base64, true, "2.1.1"),
        (sandbox::TokenForm::Base64, false, "2.2.1"),
        (sandbox::TokenForm::ByVersion, false, "2.1.1"),
        (sandbox::TokenForm::ByVersion, true, "2.2.1"),
    ] {
        let (config, sandbox) =
            start(|sandbox| sandbox.token_form(form).frank(frank).versions(&[number]).page_cap(5)).await;
        let source = Ocpi::new(config).unwrap();
        let sessions = read(&source, SessionQuery::all()).await;
        assert!(!sessions.is_empty());
        let refused = sandbox.requests().iter().filter(|request| request.status >= 400).count();
        assert!(refused <= 1, "{form:?} {frank} {number}: {refused} requests were refused");
    }
    let (mut config, sandbox) = start(|sandbox| sandbox.token_form(sandbox::TokenForm::Raw)).await;
    config.token_form = TokenForm::Base64;
    let error = Ocpi::new(config).unwrap().fetch_page(&SessionQuery::all(), None).await.unwrap_err();
    assert_eq!(error.kind(), charging_sessions_core::ErrorKind::Unauthenticated);
    assert_eq!(sandbox.requests().len(), 1, "what is configured is not tried otherwise");
}

#[tokio::test]
async fn a_redirect_to_a_slash_is_followed() {
    let (mut config, sandbox) = start(OcpiSandboxBuilder::slashes).await;
    config.version = Some(Version::V2_2_1);
    config.sessions_url = Some(format!("{}/ocpi/2.2.1/sessions", sandbox.origin()).parse().unwrap());
    let sessions = read(&Ocpi::new(config).unwrap(), SessionQuery::all()).await;
    assert_eq!(ids(&sessions), truth(&sandbox, Module::Sessions, Version::V2_2_1));
    assert!(sandbox.requests().iter().any(|request| request.status == 307));
}

#[tokio::test]
async fn identifiers_in_small_letters_are_the_same_records() {
    let (config, _one) = start(|sandbox| sandbox).await;
    let (small, _other) = start(OcpiSandboxBuilder::small).await;
    for module in [Module::Sessions, Module::Cdrs] {
        let as_written = read(&source(Ocpi::new(config.clone()).unwrap(), module), SessionQuery::all()).await;
        let in_small = read(&source(Ocpi::new(small.clone()).unwrap(), module), SessionQuery::all()).await;
        assert_eq!(ids(&as_written), ids(&in_small));
        let parents = |sessions: &[ChargingSession]| -> Vec<_> {
            sessions.iter().map(|session| session.identity.parent.clone()).collect()
        };
        assert_eq!(parents(&as_written), parents(&in_small));
    }
}

/// A record that is taken back and billed anew counts once, in all versions that know how to.
#[tokio::test]
async fn what_is_taken_back_counts_no_energy_twice_and_its_cost_away() {
    for (_, version) in &VERSIONS[1..] {
        let (mut config, sandbox) = start(|sandbox| sandbox.dirt(false)).await;
        config.version = Some(*version);
        let party = Ocpi::new(config).unwrap();
        let cdrs = read(&party.cdrs(), SessionQuery::all()).await;
        let credit = cdrs
            .iter()
            .find(|cdr| cdr.identity.related.iter().any(|relation| relation.kind == RelationKind::Credits))
            .unwrap();
        let original = &credit.identity.related[0].key;
        let original = cdrs.iter().find(|cdr| cdr.key() == original).unwrap();
        let cost = |cdr: &ChargingSession| cdr.costs.cost.as_ref().unwrap().money.amount;
        assert_eq!(cost(credit), -cost(original));
        assert_eq!((credit.energy.readings.len(), original.energy.readings.len()), (0, 1));
        assert_eq!(
            credit.extra["total_energy"],
            json!(original.energy.headline().unwrap().as_kwh().to_string().parse::<f64>().unwrap())
        );
        // Every session that was billed is one that is listed.
        let sessions = ids(&read(&party, SessionQuery::all()).await);
        let parents: Vec<_> = cdrs.iter().map(|cdr| cdr.identity.parent.clone().unwrap().source_id).collect();
        assert!(parents.iter().all(|parent| sessions.contains(parent)));
        drop(sandbox);
    }
}

#[tokio::test]
async fn changes_since_an_instant_include_it_and_nothing_older() {
    for (_, version) in VERSIONS {
        let (mut config, sandbox) = start(|sandbox| sandbox.dirt(false)).await;
        config.version = Some(version);
        let source = Ocpi::new(config).unwrap();
        let mut updates: Vec<Timestamp> = sandbox
            .truth(Module::Sessions)
            .as_array()
            .unwrap()
            .iter()
            .map(|record| record["last_updated"].as_str().unwrap().parse().unwrap())
            .collect();
        updates.sort();
        let since = updates[updates.len() / 2];
        for (since, expected) in [
            (since, updates.iter().filter(|at| **at >= since).count()),
            (since + jiff::SignedDuration::from_nanos(1), updates.iter().filter(|at| **at > since).count()),
        ] {
            let query = SessionQuery::changed_since(since).with_page_size(NonZeroU32::new(3).unwrap());
            assert_eq!(ids(&read(&source, query).await).len(), expected, "{version}");
        }
    }
}

#[tokio::test]
async fn every_request_has_an_identifier_of_its_own_and_names_the_parties() {
    let (mut config, sandbox) = start(|sandbox| sandbox).await;
    config.from = Some(charging_sessions_ocpi::Party::new("NL", "TNM"));
    config.to = Some(charging_sessions_ocpi::Party::new("BE", "BEC"));
    sandbox.inject(Fault::status(503).on_path("sessions"));
    read(&Ocpi::new(config).unwrap(), SessionQuery::all().with_page_size(NonZeroU32::new(9).unwrap())).await;
    let requests = sandbox.requests();
    let unique: BTreeSet<_> =
        requests.iter().map(|request| request.header("x-request-id").unwrap()).collect();
    assert_eq!(unique.len(), requests.len());
    for (name, value) in [
        ("ocpi-from-country-code", "NL"),
        ("ocpi-from-party-id", "TNM"),
        ("ocpi-to-country-code", "BE"),
        ("ocpi-to-party-id", "BEC"),
    ] {
        assert!(requests.iter().all(|request| request.header(name) == Some(value)), "{name}");
    }
}

#[tokio::test]
async fn a_long_list_is_asked_for_several_pages_at_once_and_each_page_once() {
    let latency = Duration::from_millis(100);
    let (mut config, sandbox) = start(|sandbox| sandbox.versions(&["2.2.1"]).latency(latency)).await;
    config.max_page_size = 3;
    let source = Ocpi::new(config).unwrap();
    let sessions = read(&source, SessionQuery::all()).await;
    assert_eq!(ids(&sessions), truth(&sandbox, Module::Sessions, Version::V2_2_1));
    let pages: Vec<_> =
        sandbox.requests().into_iter().filter(|asked| asked.query.contains("offset")).collect();
    let different: BTreeSet<_> = pages.iter().map(|page| (&page.path, &page.query)).collect();
    assert_eq!(different.len(), pages.len());
    let at_once = pages.windows(2).filter(|pages| pages[1].at < pages[0].at + latency).count();
    assert!(at_once > 0, "{} pages one after the other", pages.len());
}
