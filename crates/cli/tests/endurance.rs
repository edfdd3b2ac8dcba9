//! The program over a long distance: killed, cut off, out of space, and with a million sessions. Minutes, not seconds:
//! `cargo xtask endurance` runs these, with a program that was built for release.

#![cfg(unix)]

mod common;

use std::{
    collections::BTreeMap,
    env, fs, io,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use charging_sessions_store::{Filter, SessionStore as _, SqliteStore};
use charging_sessions_testkit::{
    hostile::peak_memory,
    sandbox::{
        Running,
        bulk::Bulk,
        ev_energy::{EvEnergySandbox, Mutation},
    },
};
use common::{Ran, program, run_beside};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

/// A number of the environment, so that the same tests can be run over a shorter distance.
fn number(name: &str, otherwise: usize) -> usize {
    env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

async fn sandbox(sessions: usize) -> Running<EvEnergySandbox> {
    EvEnergySandbox::builder()
        .seed(11)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .sessions(sessions)
        .dirt(false)
        .rate_limit(10_000_000, Duration::from_secs(3600))
        .credentials("client", "s3cret-of-the-client")
        .build()
        .start()
        .await
        .unwrap()
}

/// A folder with a configuration of one account at this address.
fn home(address: &str, store: &Path) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let text = format!(
        "store = '{}'\ntime_zone = 'Europe/London'\n\
         [accounts.home]\nprovider = 'ev-energy'\nclient_id = 'client'\nclient_secret = {{ env = 'SECRET' }}\n\
         quota = '1000000/1h'\nbase_url = '{address}'\n",
        store.display(),
    );
    fs::write(home.path().join("config.toml"), text).unwrap();
    home
}

fn command(home: &TempDir, arguments: &[&str]) -> Command {
    let mut program = program(home.path());
    program.args(["--config", "config.toml"]).args(arguments).env("SECRET", "s3cret-of-the-client");
    program
}

async fn ran(home: &TempDir, arguments: &[&str]) -> Ran {
    run_beside(command(home, arguments)).await
}

fn spawn(home: &TempDir) -> Child {
    command(home, &["sync", "--json"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Every record of the store that is still listed, as it was received, by its identifier.
async fn rows(store: &Path) -> BTreeMap<String, Value> {
    let store = SqliteStore::open_read_only(store).unwrap();
    let (mut rows, mut after) = (BTreeMap::new(), None);
    let mut filter = Filter::default();
    filter.vanished = Some(false);
    loop {
        let page = store.sessions(&filter, after.as_ref(), 10_000).await.unwrap();
        let Some(last) = page.last() else { return rows };
        after = Some(last.session.key().clone());
        for row in page {
            let payload = store.payload(&row.payload.unwrap()).await.unwrap().unwrap();
            let record = serde_json::from_slice(payload.as_bytes()).unwrap();
            let twice = rows.insert(row.session.key().source_id.clone(), record);
            assert!(twice.is_none());
        }
    }
}

/// What the store must hold.
fn truth(sandbox: &EvEnergySandbox) -> BTreeMap<String, Value> {
    // As the records of the store are read: some numbers have a digit too many for the parser.
    let truth: Value = serde_json::from_str(&sandbox.truth().to_string()).unwrap();
    let Value::Array(records) = truth else { panic!("no list") };
    records.into_iter().map(|record| (record["id"].as_str().unwrap().to_owned(), record)).collect()
}

/// That nothing is wrong with the store, down to each payload.
async fn healthy(home: &TempDir) {
    let ran = ran(home, &["doctor"]).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; cargo xtask endurance runs it"]
async fn a_program_that_is_killed_again_and_again_ends_with_the_truth() {
    let (sessions, kills) = (number("ENDURANCE_SESSIONS", 50_000), number("ENDURANCE_KILLS", 50));
    let sandbox = sandbox(sessions).await;
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("sessions.sqlite");
    let home = home(&sandbox.base_url(), &store);
    // The pages of the whole listing, spread over the kills, so that the last one still finds work to break off.
    let pages = (sessions / 100 / kills).max(1) as u64;
    let (mut while_reading, began) = (0, Instant::now());
    for kill in 0..kills {
        let mut child = spawn(&home);
        let before = sandbox.request_count();
        let wanted = fastrand::u64(0..2 * pages);
        while sandbox.request_count() < before + wanted as usize && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..20_000))).await;
        while_reading += usize::from(child.try_wait().unwrap().is_none());
        // SIGKILL: nothing of the program runs after it.
        child.kill().unwrap();
        child.wait().unwrap();
        // What was read may change before the rest is.
        if kill == kills / 2 {
            let records = sandbox.truth();
            let recent = |record: &&Value| record["start"].as_str().is_some_and(|at| at > "2026-11-15");
            let id =
                records.as_array().unwrap().iter().find(recent).unwrap()["id"].as_str().unwrap().to_owned();
            let fields = json!({ "energy_delivered_watt_hours": 4321 });
            assert!(sandbox.mutate(Mutation::Correct { id, fields }));
        }
    }
    println!(
        "{kills} kills, {while_reading} of them while it was reading, in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert!(while_reading * 10 > kills * 9, "{while_reading} of {kills} killed a program that was at work");
    // The first ends what was begun, the second sees what has changed meanwhile, the third has nothing to do.
    let mut last = Value::Null;
    for _ in 0..3 {
        let ran = ran(&home, &["sync", "--json"]).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        last = serde_json::from_str(&ran.out).unwrap();
    }
    assert_eq!((&last["new"], &last["changed"], &last["vanished"]), (&json!(0), &json!(0), &json!(0)));
    let (rows, truth) = (rows(&store).await, truth(&sandbox));
    assert_eq!(rows.len(), truth.len());
    assert!(rows == truth, "a row differs");
    // A record is there once, with one revision, except for the corrected one.
    let diff = ran(&home, &["diff", "--since", "2020-01-01", "--format", "json"]).await;
    assert_eq!(diff.out.lines().count(), truth.len() + 1);
    healthy(&home).await;
}

/// Passes bytes on, until it is cut.
struct Wire {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Wire {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                if is_cut.load(Ordering::Relaxed) {
                    continue;
                }
                let is_cut = Arc::clone(&is_cut);
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    let cut = async {
                        while !is_cut.load(Ordering::Relaxed) {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = cut => {}
                    }
                });
            }
        });
        Self { address, cut }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; cargo xtask endurance runs it"]
async fn a_network_that_is_cut_ends_the_run_with_a_sentence_and_the_next_one_goes_on() {
    let sandbox = sandbox(number("ENDURANCE_SESSIONS", 50_000)).await;
    let wire = Wire::to(sandbox.address()).await;
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("sessions.sqlite");
    let home = home(&format!("http://{}/v2/", wire.address), &store);
    for cut in 1..=5 {
        wire.cut.store(false, Ordering::Relaxed);
        let before = sandbox.request_count();
        let mut child = command(&home, &["sync"]);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while sandbox.request_count() < before + 5 + 2 * cut {
            assert!(child.try_wait().unwrap().is_none(), "it has ended before the cut");
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        wire.cut.store(true, Ordering::Relaxed);
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains("failed: ") && !said.contains("s3cret"), "{said}");
        println!("{}", said.lines().last().unwrap());
        healthy(&home).await;
    }
    wire.cut.store(false, Ordering::Relaxed);
    let kept = rows(&store).await.len();
    assert!(kept > 0, "nothing was kept");
    assert_eq!(ran(&home, &["sync"]).await.code, 0);
    assert!(rows(&store).await == truth(&sandbox), "a row differs");
}

/// A file system of a few megabytes, as long as it lives.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn of(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        let mount = mount.unwrap();
        let said = String::from_utf8_lossy(&mount.stderr).into_owned();
        assert!(mount.status.success(), "a small file system is needed, and only root may make one: {said}");
        Self(folder)
    }

    fn grow(&self, megabytes: u32) {
        let size = format!("remount,size={megabytes}m");
        assert!(Command::new("mount").args(["-o", &size]).arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root for a small file system; cargo xtask endurance runs it"]
async fn a_full_disk_is_a_sentence_and_the_store_stays_whole() {
    let sandbox = sandbox(number("ENDURANCE_SESSIONS", 50_000) / 5).await;
    let disk = SmallDisk::of(3);
    let store = disk.0.path().join("sessions.sqlite");
    let home = home(&sandbox.base_url(), &store);
    for _ in 0..3 {
        let full = ran(&home, &["sync"]).await;
        assert_eq!(full.code, 1, "{}", full.err);
        let said = full.err.lines().last().unwrap();
        println!("{said}");
        assert!(said.contains("full") && said.contains("sessions.sqlite"), "{}", full.err);
        healthy(&home).await;
    }
    let kept = rows(&store).await;
    let truth = truth(&sandbox);
    assert!(!kept.is_empty() && kept.len() < truth.len(), "{} of {}", kept.len(), truth.len());
    assert!(kept.iter().all(|(id, record)| truth.get(id) == Some(record)), "a row differs");
    disk.grow(200);
    assert_eq!(ran(&home, &["sync"]).await.code, 0);
    assert!(rows(&store).await == truth, "a row differs");
    healthy(&home).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; cargo xtask endurance runs it"]
async fn memory_does_not_grow_with_the_number_of_sessions() {
    let most = number("ENDURANCE_MOST", 1_000_000);
    let mut peaks = Vec::new();
    for sessions in [most / 10, most] {
        let bulk = Bulk::new(sessions, "2026-11-20T12:00:00Z".parse().unwrap()).start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("sessions.sqlite");
        let home = home(&format!("{}/v2/", bulk.origin()), &store);
        for round in ["all new", "nothing new"] {
            let mut arguments = vec!["sync", "--json"];
            arguments.extend((round == "nothing new").then_some("--full"));
            let began = Instant::now();
            let mut child = command(&home, &arguments).stdout(Stdio::piped()).spawn().unwrap();
            let mut most: f64 = 0.0;
            let status = loop {
                let peak = peak_memory(child.id()).unwrap_or_default();
                most = most.max(peak as f64 / f64::from(1 << 20));
                match child.try_wait().unwrap() {
                    Some(status) => break status,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            assert!(status.success(), "{status}");
            let report: Value =
                serde_json::from_str(&io::read_to_string(child.stdout.unwrap()).unwrap()).unwrap();
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "{sessions} sessions, {round}: {seconds:.1} s, {:.0} sessions/s, {most:.0} MB at most, {} requests",
                sessions as f64 / seconds,
                report["requests"]
            );
            let expected = if round == "all new" { "new" } else { "unchanged" };
            assert_eq!(report[expected], sessions, "{report}");
            peaks.push(most);
        }
        let size = fs::metadata(&store).unwrap().len();
        println!("{sessions} sessions: {} bytes each in the store", size / sessions as u64);
        let sums = ran(&home, &["summary", "--by", "provider", "--format", "json"]).await;
        let sums: Value = serde_json::from_str(&sums.out).unwrap();
        let sum = &sums.as_array().unwrap()[0];
        let energy = bulk.energy_watt_hours().to_string();
        assert_eq!((&sum["sessions"], &sum["energy_wh"]), (&json!(sessions), &json!(energy)), "{sums}");
    }
    // Ten times as many sessions fill what SQLite keeps of the file in memory, which is 24 MB at most, and nothing else.
    assert!(peaks[2] < peaks[0] + 24.0 && peaks[3] < peaks[1] + 24.0, "{peaks:?}");
}
