//! Workers of the program, on a server that is really there.

// Not every test program needs all of this.
#![allow(dead_code)]

use std::{
    collections::HashMap,
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use charging_sessions_store::Hash;
use charging_sessions_testkit::sandbox::crowd::Crowd;
use tokio_postgres::{Client, NoTls};

use crate::common::program;

pub(crate) const VARIABLE: &str = "CHARGING_SESSIONS_TEST_POSTGRES";
/// A number of the environment, so that the same test can be run over a longer distance.
pub(crate) fn number(name: &str, otherwise: usize) -> usize {
    env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

pub(crate) async fn client(address: &str) -> Client {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match tokio_postgres::connect(address, NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return client;
            }
            // It is starting again.
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A database of its own on the server of the tests. Its address.
pub(crate) async fn database(name: &str) -> String {
    let address = env::var(VARIABLE).unwrap_or_else(|_| panic!("{VARIABLE} names no server"));
    client(&address).await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let mut address: url::Url = address.parse().unwrap();
    address.set_path(name);
    address.to_string()
}

pub(crate) fn command(home: &Path, store: &str, arguments: &[&str]) -> Command {
    let mut program = program(home);
    program.args(["--config", "config.toml"]).args(arguments);
    program.env("SECRET", "s3cret-of-the-client").env("STORE", store);
    program
}

/// A worker that does not outlive its test.
pub(crate) struct Hand(pub(crate) Child);

impl Drop for Hand {
    fn drop(&mut self) {
        // Also one that is stopped; of one that has ended, there is nothing to kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A worker that does so many jobs at the same time.
pub(crate) fn worker(home: &Path, store: &str, log: &str, concurrency: usize) -> Hand {
    let log = fs::File::options().create(true).append(true).open(home.join(log)).unwrap();
    let mut command = command(home, store, &["worker", "--concurrency", &concurrency.to_string()]);
    Hand(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

pub(crate) fn signal(Hand(child): &Hand, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

pub(crate) async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str) -> T {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Asks until something holds. The server may be away meanwhile.
pub(crate) async fn until(store: &str, what: &str, patience: Duration, sql: &str) {
    let began = Instant::now();
    loop {
        let connected = client(store).await;
        if let Ok(row) = connected.query_one(sql, &[]).await
            && row.get::<_, bool>(0)
        {
            return;
        }
        assert!(began.elapsed() < patience, "{what}: not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

pub(crate) const ALL_READ: &str =
    "SELECT count(*) > 0 AND bool_and(as_of_us IS NOT NULL) FROM charging_sessions_fleet.accounts";

/// Has all of them end by SIGTERM, and says how long it took.
pub(crate) async fn ended(mut workers: Vec<Hand>) -> Duration {
    let began = Instant::now();
    for worker in &workers {
        signal(worker, "-TERM");
    }
    for worker in &mut workers {
        loop {
            if let Some(status) = worker.0.try_wait().unwrap() {
                assert_eq!(status.code(), Some(0));
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(12), "a worker does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    began.elapsed()
}

/// Every record of each account that the store holds, by its number and the hash of its bytes. Each was written once.
pub(crate) async fn kept(client: &Client) -> HashMap<String, HashMap<String, Vec<u8>>> {
    let sql = "SELECT a.account, s.source_id, y.hash, s.revision, \
               (SELECT count(*) FROM charging_sessions.revisions r WHERE r.session_id = s.id) \
               FROM charging_sessions.sessions s JOIN charging_sessions.accounts a ON a.id = s.account_id \
               JOIN charging_sessions.revisions r ON r.id = s.revision_id \
               JOIN charging_sessions.payloads y ON y.id = r.payload_id WHERE s.missing_us IS NULL";
    let mut kept: HashMap<String, HashMap<String, Vec<u8>>> = HashMap::new();
    for row in client.query(sql, &[]).await.unwrap() {
        let (account, id, hash): (String, String, Vec<u8>) = (row.get(0), row.get(1), row.get(2));
        assert_eq!((row.get::<_, i64>(3), row.get::<_, i64>(4)), (1, 1), "{account} {id} was written twice");
        assert!(kept.entry(account).or_default().insert(id, hash).is_none());
    }
    kept
}

/// That the store holds what the server has, row by row, and each record once.
pub(crate) async fn is_the_truth(client: &Client, crowd: &Crowd, accounts: usize) {
    let mut kept = kept(client).await;
    for account in 0..accounts {
        let mut rows = kept.remove(&format!("a{account}")).unwrap_or_default();
        for (id, record) in crowd.truth(account) {
            let hash = rows.remove(&id).unwrap_or_else(|| panic!("a{account}: {id} is missing"));
            assert!(hash == Hash::of(record.as_bytes()).as_bytes(), "a{account}: {id} differs");
        }
        assert!(rows.is_empty(), "a{account} has more than there is");
    }
    assert!(kept.is_empty());
}
