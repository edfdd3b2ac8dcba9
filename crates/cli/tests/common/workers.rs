//! Workers of the program, on a server that is really there.

// Not every test program needs all of this.
#![allow(dead_code)]

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

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
