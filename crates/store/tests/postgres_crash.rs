//! The store on a PostgreSQL server that crashes. On its own, because no other test can use that server meanwhile.
//!
//! `cargo xtask ci` names in `CHARGING_SESSIONS_TEST_POSTGRES_CRASH` a command that ends the server at once, as a loss
//! of power would, and starts it again.

use std::{env, process::Command, sync::Arc, time::Duration};

use charging_sessions_core::{
    ChargingSession, Cursor, Endpoint, ErrorKind, Payload, Provenance, ProviderId, RecordKind, SessionKey,
    SessionStatus,
};
use charging_sessions_store::{
    Account, Batch, Filter, PostgresOptions, PostgresStore, SessionStore as _, Slice,
};
use jiff::Timestamp;
use server::{address, client, text};

#[path = "common/server.rs"]
mod server;

/// Records in each batch.
const BATCH: usize = 20;

fn account() -> Account {
    Account { provider: ProviderId::new("x"), account: "home".parse().unwrap() }
}

fn all() -> Slice {
    Slice { window: None, asset: None, kinds: vec![RecordKind::Charge] }
}

/// One page of a listing without end: its place is its number.
fn numbered(number: i64) -> Batch {
    let cursor = |number: i64| Cursor::from(number.to_string().as_str());
    let mut batch = Batch::new(all(), (number > 0).then(|| cursor(number)), Timestamp::UNIX_EPOCH);
    batch.next = Some(cursor(number + 1));
    batch.sessions = (0..BATCH)
        .map(|it| {
            let Account { provider, account } = account();
            let key = SessionKey::new(provider, account, RecordKind::Charge, format!("{number}-{it}"));
            let origin = Provenance::new(Endpoint::new("GET /", None), Timestamp::UNIX_EPOCH, 1);
            let payload = Payload::from(format!("{number}-{it}"));
            ChargingSession::new(key, SessionStatus::Completed, origin.with_payload(payload))
        })
        .collect();
    batch
}

/// Writes pages until something fails. How many were written, as far as is known, and what failed.
async fn write(store: Arc<PostgresStore>, first: i64) -> (i64, charging_sessions_core::Error) {
    let lease = store.begin(&account(), Timestamp::UNIX_EPOCH).await.unwrap();
    for number in first.. {
        if let Err(error) = store.commit(&*lease, numbered(number)).await {
            return (number, error);
        }
    }
    unreachable!("there is always another page")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server that may crash; cargo xtask ci starts one"]
async fn a_server_that_crashes_loses_nothing_that_it_said_was_written() {
    let crash = "CHARGING_SESSIONS_TEST_POSTGRES_CRASH";
    let crash = env::var(crash).unwrap_or_else(|_| panic!("{crash} names no command; run `cargo xtask ci`"));
    let schema = format!("test_crash_{}", std::process::id());
    let options = PostgresOptions::new(address().into()).schema(schema.as_str());
    let store = Arc::new(PostgresStore::connect(options).await.unwrap());
    let mut first = 0;
    for _ in 0..3 {
        let writing = tokio::spawn(write(Arc::clone(&store), first));
        // In the middle: after some pages, and at any place of the next ones.
        tokio::time::timeout(Duration::from_secs(60), async {
            let enough = Cursor::from((first + 5).to_string().as_str());
            let far = |place: Option<Cursor>| place.is_some_and(|place| number(&place) >= number(&enough));
            while !far(store.place(&account(), &all()).await.unwrap()) {}
        })
        .await
        .unwrap();
        let command = crash.clone();
        let crashed = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &command]).status());
        assert!(crashed.await.unwrap().unwrap().success());
        let (acknowledged, error) = writing.await.unwrap();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert!(error.to_string().contains("what was written before is safe"), "{error}");

        // The same store goes on, with new connections.
        first = number(&store.place(&account(), &all()).await.unwrap().unwrap());
        // At most one was written of which the server could not speak any more.
        assert!(first == acknowledged || first == acknowledged + 1, "{first} {acknowledged}");
        let stored = store.sessions(&Filter::default(), None, u32::MAX).await.unwrap();
        assert_eq!(stored.len(), usize::try_from(first).unwrap() * BATCH);
        let history = store.history(None, Timestamp::MIN, None, u32::MAX).await.unwrap();
        assert_eq!(history.len(), stored.len());
        let loose = format!(
            "SELECT count(*)::text FROM {schema}.sessions s LEFT JOIN {schema}.revisions r \
             ON r.id = s.revision_id AND r.session_id = s.id AND r.number = s.revision WHERE r.payload_id IS NULL"
        );
        assert_eq!(text(&client().await, &loose).await, "0");
    }
}

fn number(place: &Cursor) -> i64 {
    place.as_str().parse().unwrap()
}
