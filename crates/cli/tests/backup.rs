//! A copy of the store, made while a sync writes to it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use charging_sessions_testkit::{
    conformance::identifiers,
    sandbox::ocpi::{Module, OcpiSandbox},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

mod common;

use common::{program, run_beside};

const SECURITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");

fn with(home: &Path, store: &str, arguments: &[&str]) -> Command {
    let mut program = program(home);
    program.args(["--config", "config.toml", "--store", store]).args(arguments);
    program.env("SECRET", "s3cret-of-the-client");
    program
}

/// What is in a store, as the program prints it.
async fn stored(home: &Path, store: &str) -> BTreeSet<String> {
    let ran = run_beside(with(home, store, &["sessions", "--format", "jsonl"])).await;
    assert_eq!(ran.code, 0, "{store}: {}", ran.err);
    let records: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    identifiers(&records.into(), "/identity/key/source_id")
}

/// How many records a store has that somebody else is writing, once it has tables.
fn count(store: &Path) -> Option<i64> {
    let connection = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    connection.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_made_while_a_sync_writes_is_sound_and_can_be_gone_on_with() {
    let sandbox = OcpiSandbox::builder().seed(7).charges(2_000).page_cap(10).token("s3cret-of-the-client");
    let sandbox = sandbox.build().start().await.unwrap();
    let truth = identifiers(&sandbox.truth(Module::Sessions), "/id");
    let truth: BTreeSet<_> = truth.into_iter().map(|id| format!("be*bec*{}", id.to_lowercase())).collect();
    let home = tempfile::tempdir().unwrap();
    let config = format!(
        "[accounts.party]\nprovider = 'ocpi'\nclient_secret = {{ env = 'SECRET' }}\nbase_url = '{}'\n",
        sandbox.versions_url()
    );
    fs::write(home.path().join("config.toml"), config).unwrap();
    // As it stands there for people.
    let security = fs::read_to_string(SECURITY).unwrap();
    let documented = "sqlite3 sessions.sqlite \"VACUUM INTO 'copy.sqlite'\"";
    assert!(security.contains(documented), "docs/security.md tells another way");

    let store = home.path().join("sessions.sqlite");
    let mut sync = with(home.path(), "sessions.sqlite", &["sync"]);
    let mut sync = sync.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while count(&store).unwrap_or(0) == 0 {
        assert!(sync.try_wait().unwrap().is_none(), "the sync ended before anything could be copied");
        tokio::task::yield_now().await;
    }
    let mut copies = vec!["first.sqlite"];
    Connection::open(&store)
        .unwrap()
        .execute("VACUUM INTO ?1", [home.path().join("first.sqlite").to_str()])
        .unwrap();
    if Command::new("sqlite3").arg("--version").output().is_ok() {
        let copied = Command::new("sh").args(["-c", documented]).current_dir(home.path()).output().unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        copies.push("copy.sqlite");
    }
    assert!(sync.try_wait().unwrap().is_none(), "the sync ended while it was copied: give it more to do");
    let status = tokio::task::spawn_blocking(move || sync.wait().unwrap()).await.unwrap();
    assert!(status.success(), "copying has disturbed the sync: {status}");
    assert_eq!(stored(home.path(), "sessions.sqlite").await, truth);

    for copy in copies {
        let doctor = with(home.path(), copy, &["doctor", "--format", "json"]);
        let doctor = run_beside(doctor).await;
        assert_eq!(doctor.code, 0, "{copy}: {}{}", doctor.out, doctor.err);
        let kept = stored(home.path(), copy).await;
        assert!(
            !kept.is_empty() && kept.len() < truth.len() && kept.is_subset(&truth),
            "{copy}: {}",
            kept.len()
        );
        let go_on = run_beside(with(home.path(), copy, &["sync"])).await;
        assert_eq!(go_on.code, 0, "{copy}: {}", go_on.err);
        assert_eq!(stored(home.path(), copy).await, truth, "{copy}");
    }
}
