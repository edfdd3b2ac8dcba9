//! A process that syncs is killed at any moment, again and again, and nothing is lost.

mod common;

use std::{
    env,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use charging_sessions_core::{ChargingSessionSource as _, RecordKind};
use charging_sessions_ev_energy::{Config, EvEnergy};
use charging_sessions_store::{Account, SessionStore, SqliteStore};
use charging_sessions_sync::AccountSync;
use charging_sessions_testkit::sandbox::ev_energy::Mutation;
use serde_json::{Value, json};

const SESSIONS: usize = 3000;
const KILLS: usize = 24;

/// What is killed: this test program once more, with this test alone.
#[tokio::test]
#[ignore = "runs in a process of its own, with what to do in its environment"]
async fn child() {
    let [url, id, secret, path] = ["URL", "ID", "SECRET", "STORE"].map(|name| env::var(name).unwrap());
    let mut config = Config::new(id, secret.into());
    config.base_url = url.parse().unwrap();
    let source = Arc::new(EvEnergy::new(config).unwrap());
    let account = Account { provider: source.provider(), account: "default".parse().unwrap() };
    let store: Arc<dyn SessionStore> = Arc::new(SqliteStore::open(path).unwrap());
    let sync = AccountSync::new(source, store, account, &[RecordKind::Segment]);
    let report = sync.clock(|| common::NOW.parse().unwrap()).run().await.unwrap();
    assert!(report.complete, "{report}");
}

#[tokio::test]
async fn a_process_that_is_killed_again_and_again_ends_with_the_truth() {
    let subject = common::ev_energy(|sandbox| sandbox.sessions(SESSIONS)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let spawn = || {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["child", "--exact", "--ignored"]).stdout(Stdio::null());
        command.env("URL", subject.sandbox.base_url()).env("STORE", &path);
        command.env("ID", subject.sandbox.client_id()).env("SECRET", subject.sandbox.client_secret());
        command.spawn().unwrap()
    };
    let (mut killed, mut finished) = (0, 0);
    while killed < KILLS {
        let asked = subject.sandbox.requests().len();
        let mut child = spawn();
        // Half of them are killed while they read and write, the others wherever they are, also before that.
        let ready = fastrand::bool();
        while ready && subject.sandbox.requests().len() == asked && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..120))).await;
        if child.try_wait().unwrap().is_some() {
            finished += 1;
        } else {
            killed += 1;
        }
        // SIGKILL, on systems that have it.
        child.kill().unwrap();
        child.wait().unwrap();
        // What was read may change before the rest is.
        if killed == KILLS / 2 {
            let is_recent =
                |record: &Value| record["start"].as_str().is_some_and(|start| start > "2026-11-15");
            let truth = subject.truth();
            let (id, _) = truth.into_iter().find(|(_, record)| is_recent(record)).unwrap();
            let fields = json!({ "energy_delivered_watt_hours": 4321 });
            assert!(subject.sandbox.mutate(Mutation::Correct { id, fields }));
        }
    }
    assert!(subject.requests() > 0);
    // The first of them ends what was begun, the second one sees what has changed meanwhile.
    for _ in 0..2 {
        let mut child = spawn();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        assert!(status.success(), "{status}; {finished} had finished before");
    }
    let store = SqliteStore::open(&path).unwrap();
    let rows = common::rows(&store, &subject.account).await;
    let truth = subject.truth();
    assert_eq!(rows.len(), truth.len());
    assert!(rows == truth, "a row differs");
}
