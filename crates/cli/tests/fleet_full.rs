//! A database whose disk is full. `cargo xtask postgres` runs this where it may make a small file system.

#![cfg(all(target_os = "linux", feature = "fleet"))]

mod common;
#[path = "common/workers.rs"]
mod workers;

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use charging_sessions_testkit::sandbox::crowd::Crowd;
use common::{Ran, run_beside};
use workers::{ALL_READ, VARIABLE, client, command, ended, is_the_truth, kept, until, worker};

/// The folder that a small file system is mounted at.
const DISK: &str = "CHARGING_SESSIONS_TEST_POSTGRES_SMALL_DISK";

const FULL: &str = "cannot grow, because the server has no room left; make room and try again";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server and a small file system; cargo xtask postgres runs it"]
async fn a_full_database_is_a_sentence_and_loses_nothing() {
    let address = env::var(VARIABLE).unwrap_or_else(|_| panic!("{VARIABLE} names no server"));
    let disk = env::var(DISK).unwrap_or_else(|_| panic!("{DISK} names no folder"));
    let name = format!("full_{}", std::process::id());
    let admin = client(&address).await;
    for sql in [
        format!("CREATE TABLESPACE {name} LOCATION '{disk}'"),
        format!("CREATE DATABASE {name} TABLESPACE {name}"),
    ] {
        admin.batch_execute(&sql).await.unwrap();
    }
    let mut store: url::Url = address.parse().unwrap();
    store.set_path(&name);
    let crowd = Crowd::new(8_000, 100, "2026-11-20T12:00:00Z".parse().unwrap()).start().await.unwrap();
    let home = |account: usize| {
        let home = tempfile::tempdir().unwrap();
        let text = format!(
            "store_url = {{ env = 'STORE' }}\ntime_zone = 'UTC'\n[worker]\nevery = '720h'\n\
             [accounts.a{account}]\nprovider = 'ev-energy'\nclient_id = 'client-{account}'\nquota = '1000000/1h'\n\
             client_secret = {{ env = 'SECRET' }}\nbase_url = '{}/v2/'\n",
            crowd.origin()
        );
        fs::write(home.path().join("config.toml"), text).unwrap();
        home
    };
    let (of_worker, by_hand) = (home(0), home(1));

    // A worker fills the disk, says so, and waits.
    let mut waiting = worker(of_worker.path(), store.as_str(), "log", 2);
    let log = || fs::read_to_string(of_worker.path().join("log")).unwrap();
    let began = Instant::now();
    while !log().contains(FULL) {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "the worker does not say what is wrong: {}",
            log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Whoever else writes to it is told as well.
    let sync = async || -> Ran { run_beside(command(by_hand.path(), store.as_str(), &["sync"])).await };
    for _ in 0..3 {
        let full = sync().await;
        assert_eq!(full.code, 1, "{}", full.err);
        let said = full.err.lines().last().unwrap();
        assert!(said.contains(FULL) && said.contains(&name), "{}", full.err);
    }
    let rows = kept(&client(store.as_str()).await).await.remove("a0").unwrap_or_default();
    assert!(!rows.is_empty() && rows.len() < crowd.truth(0).len(), "{}", rows.len());
    assert!(waiting.0.try_wait().unwrap().is_none(), "the worker has ended: {}", log());

    let grown = Command::new("mount").args(["-o", "remount,size=400m", &disk]).status().unwrap();
    assert!(grown.success());
    until(store.as_str(), "there is room, and everything is read", Duration::from_secs(120), ALL_READ).await;
    ended(vec![waiting]).await;
    let again = sync().await;
    assert_eq!(again.code, 0, "{}", again.err);
    is_the_truth(&client(store.as_str()).await, &crowd, 2).await;
    assert!(!log().contains("s3cret") && !log().contains("panicked"), "{}", log());
}
