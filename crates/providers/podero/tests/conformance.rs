//! The contract, and listings that change while they are read, held against the sandbox over real HTTP.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use charging_sessions_core::{ChargingSessionSource as _, ChargingSessionSourceExt as _, SessionQuery};
use charging_sessions_podero::{Config, Podero};
use charging_sessions_testkit::{
    conformance::{Parts, Subject, conformance, identifiers},
    sandbox::{
        Running,
        podero::{Mutation, PoderoSandbox, PoderoSandboxBuilder},
    },
};
use futures_util::TryStreamExt as _;

async fn start(
    change: impl FnOnce(PoderoSandboxBuilder) -> PoderoSandboxBuilder,
) -> (Config, Running<PoderoSandbox>) {
    let builder = PoderoSandbox::builder()
        .seed(7)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .days(40)
        .rate_limit(1_000_000, Duration::from_secs(3600));
    let sandbox = change(builder).build().start().await.unwrap();
    let mut config = Config::new(sandbox.client_id(), sandbox.client_secret().into(), sandbox.org_id());
    config.base_url = sandbox.base_url().parse().unwrap();
    (config, sandbox)
}

fn truth(sandbox: &PoderoSandbox) -> BTreeSet<String> {
    identifiers(&sandbox.truth(), "/session/id")
}

#[tokio::test]
async fn keeps_the_contract() {
    let (config, sandbox) = start(|sandbox| sandbox).await;
    let build = move |parts: Parts| {
        let mut config = config.clone();
        config.policy = parts.policy;
        Podero::with_transport(config, parts.transport)
    };
    let subject = Subject::new(build, truth(&sandbox)).with_assets().with_secrets([sandbox.client_secret()]);
    conformance(&subject).await;
}

#[tokio::test]
async fn a_server_that_caps_its_pages_loses_nothing() {
    for newest_first in [false, true] {
        let (config, sandbox) = start(|sandbox| {
            let sandbox = sandbox.page_cap(Some(3));
            if newest_first { sandbox.newest_first() } else { sandbox }
        })
        .await;
        let source = Podero::new(config).unwrap();
        let sessions: Vec<_> = source.sessions(SessionQuery::all()).try_collect().await.unwrap();
        let read: BTreeSet<_> = sessions.iter().map(|session| session.key().source_id.clone()).collect();
        assert_eq!(read, truth(&sandbox));
        assert_eq!(read.len(), sessions.len(), "a listing that holds still repeats nothing");
    }
}

/// A session is removed between two pages, and another is added before what was read: the total stays.
#[tokio::test]
async fn nothing_is_skipped_when_the_list_moves_under_the_reader() {
    for newest_first in [false, true] {
        let (config, sandbox) =
            start(|sandbox| if newest_first { sandbox.newest_first() } else { sandbox }).await;
        let source = Podero::new(config).unwrap();
        let query = SessionQuery::all().with_page_size(NonZeroU32::new(4).unwrap());
        let mut read = BTreeSet::new();
        let (mut cursor, mut turn) = (None, 0);
        loop {
            let page = source.fetch_page(&query, cursor.as_ref()).await.unwrap();
            read.extend(page.sessions.iter().map(|session| session.key().source_id.clone()));
            // Of what this page gave, one goes: what follows moves up by one.
            if turn % 3 == 0
                && turn < 12
                && let Some(session) = page.sessions.first()
            {
                assert!(sandbox.mutate(Mutation::Remove(session.key().source_id.clone())));
            }
            turn += 1;
            assert!(turn < 1000, "the listing does not end");
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let missing: Vec<_> = truth(&sandbox).difference(&read).cloned().collect();
        assert_eq!(missing, [] as [String; 0], "newest first: {newest_first}");
    }
}

#[tokio::test]
async fn a_long_list_is_asked_for_several_pages_at_once_and_each_page_once() {
    let latency = Duration::from_millis(100);
    let (config, sandbox) = start(|sandbox| sandbox.latency(latency)).await;
    let source = Podero::new(config).unwrap();
    let query = SessionQuery::all().with_page_size(NonZeroU32::new(4).unwrap());
    let sessions: Vec<_> = source.sessions(query).try_collect().await.unwrap();
    assert_eq!(sessions.len(), truth(&sandbox).len());
    let pages: Vec<_> =
        sandbox.requests().into_iter().filter(|asked| asked.path.ends_with("/sessions")).collect();
    let different: BTreeSet<_> = pages.iter().map(|page| (&page.path, &page.query)).collect();
    assert_eq!(different.len(), pages.len());
    let at_once = pages.windows(2).filter(|pages| pages[1].at < pages[0].at + latency).count();
    assert!(at_once > 0, "{} pages one after the other", pages.len());
}
