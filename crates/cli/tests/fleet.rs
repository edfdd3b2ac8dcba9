//! Workers that share a store, on a server that is really there: killed, stopped, and with the server taken away.
//! `cargo xtask fleet` runs these.

#![cfg(all(unix, feature = "fleet"))]

mod common;
#[path = "common/workers.rs"]
mod workers;

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use charging_sessions_testkit::sandbox::{Running, crowd::Crowd};
use common::{Ran, run_beside};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use workers::{
    ALL_READ, Hand, client, command, database, ended, is_the_truth, number, one, signal, until, worker,
};

/// How many jobs a worker does at the same time.
const CONCURRENCY: usize = 8;
/// What one credential may send within two seconds.
const OF_ONE: usize = 6;

/// What all of them may send together within two seconds.
fn of_all() -> usize {
    number("FLEET_OF_ALL", 120)
}

/// A folder with a configuration of so many accounts.
fn home(server: &str, accounts: usize, worker: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let mut text = format!(
        "store_url = {{ env = 'STORE' }}\ntime_zone = 'UTC'\n[worker]\nevery = '720h'\n{worker}\n\
         [limits.everybody]\nquota = '{}/2s'\nprovider = 'ev-energy'\n",
        of_all()
    );
    for account in 0..accounts {
        text.push_str(&format!(
            "[accounts.a{account}]\nprovider = 'ev-energy'\nclient_id = 'client-{account}'\n\
             client_secret = {{ env = 'SECRET' }}\nquota = '{OF_ONE}/2s'\nbase_url = '{server}'\n"
        ));
    }
    fs::write(home.path().join("config.toml"), text).unwrap();
    home
}

/// What a run did to its workers.
#[derive(Default)]
struct Harm {
    kills: usize,
    stops: usize,
    crashes: usize,
    /// Lets go on who was stopped last, by and by, whatever becomes of the others meanwhile.
    stopped: Option<JoinHandle<()>>,
}

/// Kills, stops and takes the server away, as the seed says, until all is read.
async fn harm(seed: u64, home: &Path, store: &str, workers: &mut [Hand], most: usize) -> Harm {
    let crash = env::var("CHARGING_SESSIONS_TEST_POSTGRES_CRASH").ok();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut harm = Harm::default();
    for _ in 0..most {
        tokio::time::sleep(Duration::from_millis(random.u64(1_500..5_000))).await;
        if client(store).await.query_one(ALL_READ, &[]).await.is_ok_and(|row| row.get(0)) {
            break;
        }
        let victim = random.usize(..workers.len());
        let span = Duration::from_millis(random.u64(12_000..17_000));
        let is_one_stopped = harm.stopped.as_ref().is_some_and(|one| !one.is_finished());
        match (random.u8(..6), &crash) {
            (3 | 4, _) if is_one_stopped => {}
            (0..=2, _) => {
                // It is killed as it is dropped.
                workers[victim] = worker(home, store, &format!("worker-{victim}.log"), CONCURRENCY);
                harm.kills += 1;
            }
            // For so long that others take over, and then it goes on.
            (3 | 4, _) | (_, None) => {
                signal(&workers[victim], "-STOP");
                let id = workers[victim].0.id();
                harm.stopped = Some(tokio::spawn(async move {
                    tokio::time::sleep(span).await;
                    // It may have been killed.
                    drop(
                        Command::new("kill").args(["-CONT", &id.to_string()]).stderr(Stdio::null()).status(),
                    );
                }));
                harm.stops += 1;
            }
            (_, Some(crash)) => {
                let crash = crash.clone();
                let ran = move || Command::new("sh").args(["-c", &crash]).stdout(Stdio::null()).status();
                assert!(tokio::task::spawn_blocking(ran).await.unwrap().unwrap().success());
                harm.crashes += 1;
            }
        }
    }
    harm
}

async fn trial(seed: u64, accounts: usize) {
    let sessions = number("FLEET_SESSIONS", 300);
    let crowd = Crowd::new(sessions, 10, "2026-11-20T12:00:00Z".parse().unwrap())
        .latency(Duration::from_millis(50))
        .counted_per(Duration::from_secs(2));
    let crowd: Running<Crowd> = crowd.start().await.unwrap();
    let store = database(&format!("fleet_{seed}_{}", std::process::id())).await;
    let home = home(&format!("{}/v2/", crowd.origin()), accounts, "pages = 7\ntime = '5s'");
    let began = Instant::now();
    let mut workers: Vec<_> = (0..3)
        .map(|number| worker(home.path(), &store, &format!("worker-{number}.log"), CONCURRENCY))
        .collect();
    let ready = "SELECT to_regclass('charging_sessions_fleet.accounts') IS NOT NULL";
    until(&store, "the workers begin", Duration::from_secs(60), ready).await;
    let mut harm = harm(seed, home.path(), &store, &mut workers, number("FLEET_HARM", 8)).await;
    let patience = Duration::from_secs(number("FLEET_PATIENCE", 600) as u64);
    until(&store, "everything is read", patience, ALL_READ).await;
    let took = began.elapsed();
    if let Some(stopped) = harm.stopped.take() {
        stopped.await.unwrap();
    }
    // The last of them may still be on its way out.
    let idle = "SELECT count(*) = 0 FROM charging_sessions_jobs._private_jobs \
                WHERE run_at <= now() OR locked_at IS NOT NULL OR attempts >= max_attempts";
    until(&store, "no job is left", Duration::from_secs(30), idle).await;
    // One that was just starting when the server crashed says so and ends; whoever looks after it starts it again.
    for (number, hand) in workers.iter_mut().enumerate() {
        if hand.0.try_wait().unwrap().is_some() {
            let name = format!("worker-{number}.log");
            let log = fs::read_to_string(home.path().join(&name)).unwrap();
            let last = log.lines().last().unwrap_or_default();
            let by_crash =
                ["broke off the connection", "does not answer"].iter().any(|why| last.contains(why));
            assert!(by_crash && harm.crashes > 0, "worker {number} has ended by itself:\n{log}");
            *hand = worker(home.path(), &store, &name, CONCURRENCY);
        }
    }
    // Who was killed just now is missed by the others after a while, and by nobody once they have ended; and who came in
    // its place may still be starting.
    let alive = format!(
        "SELECT count(*) = {} AND bool_and(heartbeat_at > clock_timestamp() - interval '5 s') \
         FROM charging_sessions_fleet.workers",
        workers.len()
    );
    until(&store, "the dead are missed", Duration::from_secs(30), &alive).await;
    let ending = ended(workers).await;

    let client = client(&store).await;
    is_the_truth(&client, &crowd, accounts).await;
    let waiting: i64 = one(&client, "SELECT count(*) FROM charging_sessions_jobs._private_jobs").await;
    assert_eq!(waiting, accounts as i64, "one job of each account waits for its time");
    let locked =
        "SELECT count(*) FROM charging_sessions_jobs._private_job_queues WHERE locked_at IS NOT NULL";
    assert_eq!(one::<i64>(&client, locked).await, 0);
    let parked = "SELECT count(*) FROM charging_sessions_fleet.accounts WHERE parked_us IS NOT NULL";
    assert_eq!(one::<i64>(&client, parked).await, 0);
    let left = "SELECT count(*) FROM charging_sessions_fleet.workers";
    assert_eq!(one::<i64>(&client, left).await, 0, "workers that end say so");
    let total = async |name: &str| -> i64 {
        let sql = format!(
            "SELECT coalesce((SELECT value FROM charging_sessions_fleet.totals WHERE name = '{name}'), 0)"
        );
        one(&client, &sql).await
    };
    let (refused, superseded, taken) =
        (total("refused").await, total("superseded").await, total("taken_over").await);
    let jobs: i64 = one(&client, "SELECT sum(jobs)::bigint FROM charging_sessions_fleet.accounts").await;

    assert!(crowd.most_of_one() <= OF_ONE, "{} requests of one credential in 2 s", crowd.most_of_one());
    let of_all = of_all();
    assert!(crowd.most_of_all() <= of_all, "{} requests in 2 s", crowd.most_of_all());
    // Each job has one page on its way. A machine with too much to do makes workers look dead that nobody has touched.
    let lost = (harm.kills + harm.stops).max(usize::try_from(total("buried").await).unwrap());
    let in_flight = (lost + 3 * harm.crashes) * CONCURRENCY;
    assert!(
        crowd.repeated() <= in_flight as u64,
        "{} pages were read again, and {in_flight} were under way: {} kills, {} stops, {} crashes, {} held to be dead",
        crowd.repeated(),
        harm.kills,
        harm.stops,
        harm.crashes,
        total("buried").await
    );
    println!(
        "| {seed} | {accounts} | {sessions} | {} | {} | {} | {jobs} | {taken} | {refused} | {superseded} | {} of {in_flight} | \
         {} of {OF_ONE} | {} of {of_all} | {:.0} s | {:.1} s |",
        harm.kills,
        harm.stops,
        harm.crashes,
        crowd.repeated(),
        crowd.most_of_one(),
        crowd.most_of_all(),
        took.as_secs_f64(),
        ending.as_secs_f64(),
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server, and minutes; cargo xtask fleet runs it"]
async fn workers_that_are_killed_and_stopped_end_with_the_truth() {
    let first = number("FLEET_FIRST_SEED", 1) as u64;
    for seed in first..first + number("FLEET_SEEDS", 1) as u64 {
        trial(seed, number("FLEET_ACCOUNTS", 60)).await;
    }
}

async fn ran(home: &TempDir, store: &str, arguments: &[&str]) -> Ran {
    run_beside(command(home.path(), store, arguments)).await
}

async fn status(home: &TempDir, store: &str) -> Value {
    let ran = ran(home, store, &["worker", "status", "--json"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server; cargo xtask fleet runs it"]
async fn a_bad_account_is_parked_blocks_nobody_and_can_be_unparked() {
    let crowd = Crowd::new(30, 10, "2026-11-20T12:00:00Z".parse().unwrap()).start().await.unwrap();
    let store = database(&format!("fleet_parked_{}", std::process::id())).await;
    let home = home(&format!("{}/v2/", crowd.origin()), 2, "");
    let path = home.path().join("config.toml");
    let mut text = fs::read_to_string(&path).unwrap();
    // Of these two, one is refused, and the other has the same credential.
    for name in ["stranger", "friend"] {
        text.push_str(&format!(
            "[accounts.{name}]\nprovider = 'ev-energy'\nclient_id = 'nobody'\ncredential = 'shared'\n\
             client_secret = {{ env = 'SECRET' }}\nbase_url = '{}/v2/'\n",
            crowd.origin()
        ));
    }
    fs::write(&path, text).unwrap();

    let before = ran(&home, &store, &["worker", "enqueue", "a1"]).await;
    assert!(before.code != 0 && before.err.contains("no worker has an account `a1` yet"), "{}", before.err);
    let mut started = command(home.path(), &store, &["worker", "--metrics", "127.0.0.1:0"]);
    let log = fs::File::create(home.path().join("log")).unwrap();
    let worker = Hand(started.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let read = "SELECT count(*) = 2 FROM charging_sessions_fleet.accounts WHERE as_of_us IS NOT NULL";
    let ready = "SELECT to_regclass('charging_sessions_fleet.accounts') IS NOT NULL";
    until(&store, "the worker begins", Duration::from_secs(60), ready).await;
    until(&store, "the others are read", Duration::from_secs(60), read).await;
    let parked = "SELECT count(*) = 2 FROM charging_sessions_fleet.accounts WHERE parked_us IS NOT NULL";
    until(&store, "those are parked", Duration::from_secs(60), parked).await;

    let told = status(&home, &store).await;
    let account = |name: &str| {
        told["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|account| account["account"] == name)
            .unwrap()
            .clone()
    };
    assert!(account("a0")["lag_seconds"].is_u64() && account("a0")["next_at"].is_string(), "{told:#}");
    assert_eq!(account("a0")["requests_left"].as_u64().map(|left| left <= OF_ONE as u64), Some(true));
    assert!(account("stranger")["parked_because"].is_string() && account("stranger")["next_at"].is_null());
    assert_eq!(told["workers"].as_array().unwrap().len(), 1);
    let shown = ran(&home, &store, &["worker", "status"]).await;
    assert!(shown.out.contains("parked since") && shown.out.contains("heartbeat"), "{}", shown.out);

    // Many hints are one reading.
    let jobs = account("a1")["jobs"].as_u64().unwrap();
    for _ in 0..3 {
        assert_eq!(ran(&home, &store, &["worker", "enqueue", "a0", "a1"]).await.code, 0);
    }
    let again = format!("SELECT jobs > {jobs} FROM charging_sessions_fleet.accounts WHERE name = 'a1'");
    until(&store, "it is read again", Duration::from_secs(30), &again).await;
    assert_eq!(ran(&home, &store, &["worker", "unpark", "stranger"]).await.code, 0);
    let tried = "SELECT jobs > 1 AND parked_us IS NOT NULL FROM charging_sessions_fleet.accounts WHERE name = 'stranger'";
    until(&store, "it is tried, and parked again", Duration::from_secs(30), tried).await;

    let told = fs::read_to_string(home.path().join("log")).unwrap();
    let address = told.split("metrics at ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let (metrics, health) =
        tokio::task::spawn_blocking(move || (fetch(&address, "/metrics"), fetch(&address, "/health")))
            .await
            .unwrap();
    assert!(health.contains("200 OK") && health.ends_with("ok\n"), "{health}");
    for line in ["charging_sessions_worker_jobs_total", "charging_sessions_fleet_accounts_parked 2"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(ended(vec![worker]).await < Duration::from_secs(10));
    let log = fs::read_to_string(home.path().join("log")).unwrap();
    assert!(!log.contains("s3cret"), "a secret shows");
    assert!(log.contains("account=\"stranger\""), "{log}");
}

/// An answer over HTTP, head and all.
fn fetch(address: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let authority = address.trim_start_matches("http://").split('/').next().unwrap();
    let mut stream = std::net::TcpStream::connect(authority).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_store_in_a_file_is_not_for_workers() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("config.toml"), "store = 'x.sqlite'\n").unwrap();
    let ran = run_beside(command(home.path(), "", &["worker", "status"])).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("workers share a store in a database of PostgreSQL"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server; cargo xtask fleet runs it"]
async fn a_worker_takes_the_next_job_as_soon_as_it_has_room() {
    const ACCOUNTS: usize = 60;
    let crowd = Crowd::new(5, 10, "2026-11-20T12:00:00Z".parse().unwrap()).start().await.unwrap();
    let store = database(&format!("fleet_room_{}", std::process::id())).await;
    let home = home(&format!("{}/v2/", crowd.origin()), ACCOUNTS, "");
    let worker = worker(home.path(), &store, "log", 1);
    let ready = "SELECT to_regclass('charging_sessions_fleet.accounts') IS NOT NULL";
    until(&store, "the worker begins", Duration::from_secs(60), ready).await;
    until(&store, "all are read", Duration::from_secs(120), ALL_READ).await;
    // Of one that waits for its next look after each job, the pause would be several times a job.
    let sql = "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY (ended_us - began_us)::float8), \
               percentile_cont(0.5) WITHIN GROUP (ORDER BY pause_us::float8) FROM \
               (SELECT began_us, ended_us, began_us - lag(ended_us) OVER (ORDER BY began_us) AS pause_us \
               FROM charging_sessions.runs) AS r";
    let row = client(&store).await.query_one(sql, &[]).await.unwrap();
    let (job, pause): (f64, f64) = (row.get(0), row.get(1));
    assert!(pause < 2.0 * job, "a job takes {job} µs, and {pause} µs are between two of them");
    ended(vec![worker]).await;
    is_the_truth(&client(&store).await, &crowd, ACCOUNTS).await;
}

#[tokio::test]
async fn a_worker_that_waits_for_its_database_ends_when_it_is_told_to() {
    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = home("http://127.0.0.1:9/", 1, "");
    let store = format!("postgres://u:s3cret@{}/d", silent.local_addr().unwrap());
    let waiting = worker(home.path(), &store, "log", CONCURRENCY);
    let _connection = tokio::task::spawn_blocking(move || silent.accept()).await.unwrap().unwrap();
    assert!(ended(vec![waiting]).await < Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_sentence() {
    let home = home("http://127.0.0.1:9/", 1, "");
    let ran = run_beside(command(home.path(), "postgres://u:s3cret@127.0.0.1:9/d", &["worker"])).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("does not answer; check that the server runs"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server; cargo xtask fleet runs it"]
async fn a_database_that_cannot_be_used_is_one_sentence() {
    let name = format!("fleet_unusable_{}", std::process::id());
    let store = database(&name).await;
    let home = home("http://127.0.0.1:9/", 1, "");
    let empty = status(&home, &store).await;
    assert_eq!(empty["accounts"].as_array().map(Vec::len), Some(0));
    let newer = "UPDATE charging_sessions_fleet.layout SET version = 99";
    client(&store).await.batch_execute(newer).await.unwrap();
    let refused = ran(&home, &store, &["worker"]).await;
    assert_eq!((refused.code, refused.err.lines().count()), (1, 1), "{}", refused.err);
    assert!(refused.err.contains("made by a newer release; update this program"), "{}", refused.err);
    let store = database(&format!("{name}_read_only")).await;
    let alter = format!("ALTER DATABASE {name}_read_only SET default_transaction_read_only = on");
    client(&store).await.batch_execute(&alter).await.unwrap();
    let refused = ran(&home, &store, &["worker"]).await;
    assert_eq!((refused.code, refused.err.lines().count()), (1, 1), "{}", refused.err);
    assert!(refused.err.contains("can only be read from"), "{}", refused.err);
}
