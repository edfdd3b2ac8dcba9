//! What a session costs a fleet: requests, processors, rows and bytes. `cargo xtask fleet rates` runs this, and says what
//! follows from it.

#![cfg(all(target_os = "linux", feature = "fleet"))]

mod common;
#[path = "common/workers.rs"]
mod workers;

use std::{
    collections::HashMap,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use charging_sessions_testkit::sandbox::{Running, crowd::Crowd};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tempfile::TempDir;
use tokio_postgres::Client;
use workers::{ALL_READ, Hand, client, database, ended, number, one, until, worker};

/// Between two looks at who has used how much.
const LOOK: Duration = Duration::from_millis(100);

/// How much of the processors was used since they began, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    postgres: f64,
    workers: f64,
    /// The API, and this test that holds it.
    api: f64,
    /// By anybody, these included.
    all: f64,
}

/// Ticks of the clock in a second.
fn ticks() -> f64 {
    let output = Command::new("getconf").arg("CLK_TCK").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// The parent of a process, what it has used, and with it those of its children that have ended. In ticks.
fn process(id: &str) -> Option<(u32, f64, f64)> {
    let line = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before may hold anything.
    let fields: Vec<_> = line[line.rfind(')')? + 2..].split(' ').collect();
    let ticks = |from: usize| Some(fields[from].parse::<f64>().ok()? + fields[from + 1].parse::<f64>().ok()?);
    let own = ticks(11)?;
    Some((fields[1].parse().ok()?, own, own + ticks(13)?))
}

fn used(postmaster: u32, workers: &[Hand]) -> Used {
    let mut used = Used::default();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((parent, own, with_ended)) = process(&name) else { continue };
        if name == postmaster.to_string() {
            used.postgres += with_ended;
        } else if parent == postmaster {
            used.postgres += own;
        } else if name == std::process::id().to_string() {
            used.api += own;
        } else if workers.iter().any(|worker| worker.0.id().to_string() == name) {
            used.workers += own;
        }
    }
    let machine = fs::read_to_string("/proc/stat").unwrap();
    let spent: Vec<f64> =
        machine.lines().next().unwrap().split_whitespace().skip(1).flat_map(str::parse).collect();
    // User, nice and system, and what interrupts have taken.
    used.all = spent[0] + spent[1] + spent[2] + spent[5] + spent[6];
    let ticks = ticks();
    let Used { postgres, workers, api, all } = used;
    Used { postgres: postgres / ticks, workers: workers / ticks, api: api / ticks, all: all / ticks }
}

/// What the server's processes are at: computing, or waiting for what.
const WAITING: &str = "SELECT coalesce(wait_event_type || ' ' || wait_event, 'computing'), count(*) FROM pg_stat_activity \
                       WHERE state = 'active' AND pid <> pg_backend_pid() AND datname = current_database() GROUP BY 1";

const LOG: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";

/// One situation that is measured.
#[derive(Clone, Copy)]
struct Course {
    workers: usize,
    concurrency: usize,
    latency: Duration,
    accounts: usize,
    sessions: usize,
    step: SignedDuration,
}

/// Workers with a store and an API.
struct Site {
    course: Course,
    crowd: Running<Crowd>,
    store: String,
    client: Client,
    postmaster: u32,
    /// How long the log of the server was.
    log: i64,
    workers: Vec<Hand>,
    home: TempDir,
}

impl Site {
    /// Begins to read everything.
    async fn begin(course: Course) -> Self {
        let Course { accounts, latency, step, .. } = course;
        let crowd = Crowd::new(course.sessions, 100, Timestamp::now()).step(step).latency(latency);
        let crowd = crowd.start().await.unwrap();
        let store = database(&format!("rates_{}", fastrand::u32(..))).await;
        let home = tempfile::tempdir().unwrap();
        let mut text =
            "store_url = { env = 'STORE' }\ntime_zone = 'UTC'\n[worker]\nevery = '720h'\n".to_owned();
        for account in 0..accounts {
            text.push_str(&format!(
                "[accounts.a{account}]\nprovider = 'ev-energy'\nclient_id = 'client-{account}'\nquota = '1000000/1m'\n\
                 client_secret = {{ env = 'SECRET' }}\nbase_url = '{}/v2/'\n",
                crowd.origin()
            ));
        }
        fs::write(home.path().join("config.toml"), text).unwrap();
        let own = client(&store).await;
        let backend: i32 = one(&own, "SELECT pg_backend_pid()").await;
        let (postmaster, ..) = process(&backend.to_string()).expect("the server runs on another machine");
        let log = one(&own, LOG).await;
        let start = |number| worker(home.path(), &store, &format!("worker-{number}.log"), course.concurrency);
        let workers = (0..course.workers).map(start).collect();
        Self { course, crowd, client: own, postmaster, log, workers, home, store }
    }

    /// The rate while the middle four fifths of all requests are made, and what was used meanwhile.
    async fn history(&self, fsync: bool) {
        let (mut samples, mut waits) = (Vec::new(), HashMap::<String, u64>::new());
        let began = Instant::now();
        let ready = "SELECT to_regclass('charging_sessions_fleet.accounts') IS NOT NULL";
        until(&self.store, "the workers begin", Duration::from_secs(60), ready).await;
        loop {
            samples.push((Instant::now(), self.crowd.requests(), used(self.postmaster, &self.workers)));
            if one::<bool>(&self.client, ALL_READ).await {
                break;
            }
            for row in self.client.query(WAITING, &[]).await.unwrap() {
                *waits.entry(row.get(0)).or_default() += u64::try_from(row.get::<_, i64>(1)).unwrap();
            }
            assert!(began.elapsed() < Duration::from_secs(600), "not everything is read");
            tokio::time::sleep(LOOK).await;
        }
        let requests = self.crowd.requests();
        let reach = |share: u64| samples.iter().find(|(_, made, _)| made * 10 >= requests * share).unwrap();
        let ((from, before, first), (to, after, last)) = (reach(1), reach(9));
        let sessions = self.course.accounts * self.course.sessions;
        let kept: i64 = one(&self.client, "SELECT count(*) FROM charging_sessions.sessions").await;
        assert_eq!(kept, sessions as i64);
        let seconds = (*to - *from).as_secs_f64();
        let share = (after - before) as f64 / requests as f64;
        let figures = json!({
            "kind": "history",
            "workers": self.course.workers,
            "concurrency": self.course.concurrency,
            "latency_ms": self.course.latency.as_millis() as u64,
            "fsync": fsync,
            "sessions": sessions as f64 * share,
            "requests": (after - before),
            "seconds": seconds,
            "postgres": last.postgres - first.postgres,
            "api": last.api - first.api,
            "fleet": last.workers - first.workers,
            "all": last.all - first.all,
            "waits": waits,
            "cores": std::thread::available_parallelism().unwrap().get(),
        });
        println!("FIGURES {figures}");
    }

    /// What is kept: rows, bytes of tables with their indexes, and how much was written to the log of the server.
    async fn kept(&self) -> [i64; 3] {
        let tables = "SELECT c.relname::text FROM pg_class c \
                      WHERE c.relkind = 'r' AND c.relnamespace = 'charging_sessions'::regnamespace";
        let mut rows = 0;
        for table in self.client.query(tables, &[]).await.unwrap() {
            let sql = format!("SELECT count(*) FROM charging_sessions.{}", table.get::<_, String>(0));
            rows += one::<i64>(&self.client, &sql).await;
        }
        let bytes = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c \
                     WHERE c.relkind = 'r' AND c.relnamespace = 'charging_sessions'::regnamespace";
        let log: i64 = one(&self.client, LOG).await;
        [rows, one(&self.client, bytes).await, log - self.log]
    }

    /// What it costs to look at every account so often, when there is nothing new.
    async fn quiet(&self, rounds: usize, name: &str) {
        let idle = "SELECT count(*) = 0 FROM charging_sessions_jobs._private_jobs \
                    WHERE run_at <= clock_timestamp() OR locked_at IS NOT NULL";
        let due = "UPDATE charging_sessions_jobs._private_jobs SET run_at = clock_timestamp()";
        let patience = Duration::from_secs(300);
        until(&self.store, "the last ones have ended", patience, idle).await;
        let round = async || {
            let (began, first) = (Instant::now(), used(self.postmaster, &self.workers));
            self.client.execute(due, &[]).await.unwrap();
            while !one::<bool>(&self.client, idle).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let (seconds, last) = (began.elapsed().as_secs_f64(), used(self.postmaster, &self.workers));
            // What the server does by itself every minute, so that what is kept is what stays.
            self.client.batch_execute("VACUUM ANALYZE").await.unwrap();
            (seconds, last.postgres - first.postgres, last.workers - first.workers)
        };
        // The first look leaves room that the others use.
        round().await;
        let (before, requests, pages) = (self.kept().await, self.crowd.requests(), self.pages().await);
        let (mut seconds, mut postgres, mut fleet) = (0.0, 0.0, 0.0);
        for _ in 0..rounds {
            let spent = round().await;
            (seconds, postgres, fleet) = (seconds + spent.0, postgres + spent.1, fleet + spent.2);
        }
        let after = self.kept().await;
        // What a look finds lies within the days that the adapter looks back.
        let days = SignedDuration::from_hours(7 * 24);
        let known = (days.as_secs() / self.course.step.as_secs()).min(self.course.sessions as i64);
        let figures = json!({
            "kind": name,
            "looks": rounds * self.course.accounts,
            "known": known,
            "requests": self.crowd.requests() - requests,
            "pages": self.pages().await - pages,
            "seconds": seconds,
            "postgres": postgres,
            "fleet": fleet,
            "rows": after[0] - before[0],
            "bytes": after[1] - before[1],
            "log": after[2] - before[2],
        });
        println!("FIGURES {figures}");
    }

    async fn pages(&self) -> i64 {
        one(&self.client, "SELECT sum(pages)::bigint FROM charging_sessions_fleet.accounts").await
    }

    async fn end(self) {
        ended(self.workers).await;
        drop(self.home);
        self.client.batch_execute("CHECKPOINT").await.unwrap();
    }
}

/// Whether the server waits for its disk before it says that something is written.
async fn wait_for_the_disk(does: bool) {
    let address = std::env::var(workers::VARIABLE).unwrap();
    let admin = client(&address).await;
    let value = if does { "on" } else { "off" };
    admin.batch_execute(&format!("ALTER SYSTEM SET fsync = {value}")).await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for minutes on a server of its own; cargo xtask fleet rates runs it"]
async fn what_a_session_costs_is_measured() {
    let (accounts, sessions) = (number("FLEET_ACCOUNTS", 200), number("FLEET_SESSIONS", 1000));
    let (slow, none) = (Duration::from_millis(50), Duration::ZERO);
    let twice_a_day = SignedDuration::from_hours(12);
    let course = |workers, concurrency, latency| Course {
        workers,
        concurrency,
        latency,
        accounts,
        sessions,
        step: twice_a_day,
    };
    for (workers, concurrency, latency) in
        [(1, 8, slow), (2, 8, slow), (3, 8, slow), (1, 8, none), (2, 8, none), (3, 8, none), (3, 24, none)]
    {
        let site = Site::begin(course(workers, concurrency, latency)).await;
        site.history(true).await;
        site.end().await;
    }
    wait_for_the_disk(false).await;
    let site = Site::begin(course(3, 24, none)).await;
    site.history(false).await;
    site.end().await;
    wait_for_the_disk(true).await;

    // What is kept of each session, and what a look costs that finds few known ones.
    let site = Site::begin(course(2, 8, none)).await;
    site.history(true).await;
    let [rows, bytes, log] = site.kept().await;
    let figures =
        json!({"kind": "kept", "sessions": accounts * sessions, "rows": rows, "bytes": bytes, "log": log});
    println!("FIGURES {figures}");
    site.quiet(number("FLEET_ROUNDS", 10), "quiet").await;
    site.end().await;

    // And one that finds many.
    let busy =
        Course { accounts: accounts.div_ceil(10), step: SignedDuration::from_mins(10), ..course(2, 8, none) };
    let site = Site::begin(Course { sessions: busy.sessions + 100, ..busy }).await;
    site.history(true).await;
    site.quiet(number("FLEET_ROUNDS", 10), "quiet_with_many").await;
    site.end().await;
}
