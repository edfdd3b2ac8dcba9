//! The store in SQLite: the suite for all stores, and what can go wrong with a file.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use charging_sessions_core::{
    AssetRef, ChargePoint, Energy, ErrorKind, IssueCode, Payload, RecordKind, RejectedRecord, Result,
    SessionKey, Vehicle, Zone, ZoneSource,
};
use charging_sessions_store::{Batch, Filter, Hash, RunReport, SessionStore, Slice, SqliteStore};
use jiff::tz::TimeZone;
use rusqlite::Connection;
use suite::{PROVIDER, account, all, at, home, key, page, part, rejected, session, window, with_energy};
use tempfile::TempDir;

mod suite;

macro_rules! both {
    ($($test:ident,)*) => {
        mod file {
            use super::*;
            $(#[tokio::test] async fn $test() {
                let folder = tempfile::tempdir().unwrap();
                suite::$test(&SqliteStore::open(folder.path().join("sessions.db")).unwrap()).await;
            })*
        }
        mod memory {
            use super::*;
            $(#[tokio::test] async fn $test() {
                suite::$test(&SqliteStore::open_in_memory().unwrap()).await;
            })*
        }
    };
}
each_test!(both);

fn scratch() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    (folder, path)
}

/// The message of a refusal that names the file.
fn refusal(result: Result<SqliteStore>, path: &Path) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    text
}

async fn fill(store: &SqliteStore, number: i64) {
    let sessions: Vec<_> = (0..number).map(|number| session(&number.to_string(), number)).collect();
    let lease = store.begin(&home(), at(0)).await.unwrap();
    store.commit(&*lease, page(&sessions, 1)).await.unwrap();
}

/// Ends a run, which enters keys that wait.
async fn end_run(store: &SqliteStore) {
    let lease = store.begin(&home(), at(0)).await.unwrap();
    store.log_run(&*lease, &RunReport::default()).await.unwrap();
}

#[tokio::test]
async fn a_store_is_there_when_it_is_opened_again() {
    let (_folder, path) = scratch();
    fill(&SqliteStore::open(&path).unwrap(), 3).await;
    for store in [SqliteStore::open(&path).unwrap(), SqliteStore::open_read_only(&path).unwrap()] {
        assert_eq!(store.sessions(&Filter::default(), None, 9).await.unwrap().len(), 3);
        assert_eq!(store.accounts().await.unwrap(), [home()]);
    }
    let db = Connection::open(&path).unwrap();
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((number("user_version"), number("application_id")), (1, 0x4368_5365));
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn a_store_that_was_closed_is_one_file() {
    let (_folder, path) = scratch();
    let store = SqliteStore::open(&path).unwrap();
    fill(&store, 300).await;
    // Connections for reading are kept for the next time.
    assert_eq!(store.sessions(&Filter::default(), None, 999).await.unwrap().len(), 300);
    drop(store);
    let folder = path.parent().unwrap();
    let beside = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut beside: Vec<_> = beside.filter(|name| !name.contains("-lock-")).collect();
    beside.sort();
    assert_eq!(beside, [path.file_name().unwrap().to_str().unwrap()]);
    let copy = folder.join("copy.sqlite");
    fs::copy(&path, &copy).unwrap();
    SqliteStore::open_read_only(&copy).unwrap().verify().await.unwrap();
}

#[tokio::test]
async fn what_is_opened_for_reading_is_not_written_to() {
    let (_folder, path) = scratch();
    let missing = refusal(SqliteStore::open_read_only(&path), &path);
    assert!(missing.contains("does not exist"), "{missing}");
    assert!(!path.exists());
    fill(&SqliteStore::open(&path).unwrap(), 1).await;
    let store = SqliteStore::open_read_only(&path).unwrap();
    let error = store.begin(&home(), at(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("reading only"), "{error}");
}

#[test]
fn an_empty_file_becomes_a_store_and_many_may_open_it_at_once() {
    let (_folder, path) = scratch();
    fs::write(&path, "").unwrap();
    assert!(refusal(SqliteStore::open_read_only(&path), &path).contains("is empty"));
    std::thread::scope(|scope| {
        let all = [(); 8].map(|()| scope.spawn(|| SqliteStore::open(&path).map(drop)));
        for one in all {
            one.join().unwrap().unwrap();
        }
    });
    SqliteStore::open_read_only(&path).unwrap();
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_alone() {
    let (_folder, path) = scratch();
    fs::write(&path, "this is a letter, and much longer than the header of a database would be. ".repeat(20))
        .unwrap();
    let before = fs::read(&path).unwrap();
    assert!(refusal(SqliteStore::open(&path), &path).contains("not an SQLite database"));
    assert_eq!(fs::read(&path).unwrap(), before);

    let (_folder, path) = scratch();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE photos (id)").unwrap();
    let before = fs::read(&path).unwrap();
    for result in [SqliteStore::open(&path), SqliteStore::open_read_only(&path)] {
        assert!(refusal(result, &path).contains("another program"));
    }
    assert_eq!(fs::read(&path).unwrap(), before);

    let (_folder, path) = scratch();
    fill(&SqliteStore::open(&path).unwrap(), 1).await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    for result in [SqliteStore::open(&path), SqliteStore::open_read_only(&path)] {
        let text = refusal(result, &path);
        assert!(text.contains("newer release (version 2") && text.contains("update"), "{text}");
    }
}

#[test]
fn where_there_is_nothing_to_open_the_message_says_what_to_do() {
    let (folder, path) = scratch();
    let path = path.join("below").join("sessions.db");
    assert!(refusal(SqliteStore::open(&path), &path).contains("make it first"));
    assert!(refusal(SqliteStore::open(folder.path()), folder.path()).contains("cannot be opened"));
}

#[cfg(unix)]
#[test]
fn a_folder_that_must_not_be_written_to_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, path) = scratch();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Nothing is forbidden to the superuser.
    if fs::write(folder.path().join("probe"), "").is_err() {
        let text = refusal(SqliteStore::open(&path), &path);
        assert!(text.contains("may be read and written"), "{text}");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn damage_is_an_error_and_no_panic() {
    let (_folder, path) = scratch();
    fill(&SqliteStore::open(&path).unwrap(), 300).await;
    let mut of_asset = session("of_asset", 0);
    of_asset.parties.vehicle = Some(Vehicle::of("v"));
    let slice = Slice { asset: Some(AssetRef::vehicle("v")), ..all() };
    let store = SqliteStore::open(&path).unwrap();
    let lease = store.begin(&home(), at(0)).await.unwrap();
    let mut last = part(&slice, "", "", &[of_asset], 2);
    last.rejected = vec![rejected(Some("odd"), "{\"odd\": true}")];
    store.commit(&*lease, last).await.unwrap();
    drop((store, lease));
    end_run(&SqliteStore::open(&path).unwrap()).await;
    let whole = fs::read(&path).unwrap();
    SqliteStore::open_read_only(&path).unwrap().verify().await.unwrap();
    let mut worst = 0;
    for start in (0..whole.len()).step_by(4096).chain([100, 5000]) {
        let mut bytes = whole.clone();
        let end = whole.len().min(start + 3000);
        bytes[start..end].fill(0x55);
        worst += i32::from(reads_with_an_error(&path, &bytes).await);
    }
    assert!(worst > 5, "{worst}");
    assert!(reads_with_an_error(&path, &whole[..whole.len() / 2]).await);
    // Sound as a database, and not as a store.
    for damage in [
        "UPDATE revisions SET bytes = x'7b', payload_size = 0, record_size = 1",
        "UPDATE revisions SET record_size = -1",
        "UPDATE revisions SET record_size = 9223372036854775807",
        "UPDATE revisions SET payload_size = -1",
        "UPDATE revisions SET payload_size = 9223372036854775807",
        "UPDATE revisions SET payload_size = payload_size + 1, record_size = record_size - 1",
        "UPDATE revisions SET example_id = NULL",
        "UPDATE revisions SET example_id = 99999 WHERE id > 1",
        "UPDATE accounts SET example_id = 99999",
        "DELETE FROM sessions_entered",
        "UPDATE sessions SET first_seen_us = 9223372036854775807",
        "UPDATE revisions SET payload_size = 100000",
        "UPDATE payloads SET size = 9223372036854775807",
        "UPDATE payloads SET size = -1",
        "UPDATE payloads SET size = 100000",
        "UPDATE sessions SET content = x'00'",
        "UPDATE accounts SET account = 'a b'",
        "UPDATE revisions SET reason = 'else'",
        "DROP TABLE revisions",
    ] {
        fs::write(&path, &whole).unwrap();
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        db.execute_batch(damage).unwrap();
        drop(db);
        let bytes = fs::read(&path).unwrap();
        assert!(reads_with_an_error(&path, &bytes).await, "{damage}");
    }
    // What only shows to whoever looks for it.
    for (damage, words) in [
        (
            "UPDATE revisions SET bytes = x'7b', payload_size = 0, record_size = 1, payload_id = NULL, \
             payload_hash = NULL",
            "the record ev-energy/home/segment/",
        ),
        ("UPDATE sessions SET content = x'00'", "the record ev-energy/home/segment/"),
        ("DELETE FROM accounts", "belongs to none of accounts"),
        ("UPDATE revisions SET payload_hash = randomblob(32)", "bytes that were received are others now"),
        ("UPDATE revisions SET payload_size = payload_size + 1", "is damaged"),
        (
            "UPDATE revisions SET payload_hash = NULL WHERE id = 1",
            "bytes that a record was read from are missing",
        ),
        (
            "UPDATE revisions SET payload_id = 99999 WHERE id = 1",
            "bytes that a record was read from are missing",
        ),
        ("UPDATE payloads SET hash = randomblob(32)", "bytes that were received are others now"),
        ("UPDATE payloads SET size = size + 1", "is damaged"),
        ("DELETE FROM new_payload_places", "not found by their hash"),
        ("DELETE FROM handles", "not found by its handle"),
        ("UPDATE handles SET first_id = 2 WHERE first_id = 1", "not found by its handle"),
        ("UPDATE session_keys SET session_id = 1", "not found by its key"),
        ("UPDATE session_keys SET source_id = 'x' WHERE session_id = 3", "not found by its key"),
        ("DELETE FROM session_keys WHERE session_id = 3", "not found by its key"),
        ("UPDATE sessions_entered SET session_id = 0", "not found by its key"),
        (
            "DELETE FROM session_keys; UPDATE sessions_entered SET session_id = 0; \
          UPDATE sessions SET source_id = '4' WHERE source_id = '3'",
            "two records have the same key",
        ),
        ("DELETE FROM session_starts WHERE session_id = 3", "not found by its start"),
        ("UPDATE session_starts SET start_us = start_us + 1 WHERE session_id = 3", "not found by its start"),
        ("DELETE FROM asset_runs", "not found by its vehicle"),
        ("UPDATE asset_runs SET first_id = first_id + 1, last_id = last_id + 1", "not found by its vehicle"),
        (
            "UPDATE sessions SET charge_point_id = 'p' WHERE id = 1",
            "not found by its vehicle or charge point",
        ),
        ("DELETE FROM revision_times", "not found by when it was written"),
        ("UPDATE revisions SET number = 2", "a revision is not found from the one after it"),
    ] {
        fs::write(&path, &whole).unwrap();
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        db.execute_batch(damage).unwrap();
        drop(db);
        let error = SqliteStore::open_read_only(&path).unwrap().verify().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains(words), "{damage}: {error}");
    }
}

/// Whether reading everything from a file of these bytes fails, and as it should.
async fn reads_with_an_error(path: &Path, bytes: &[u8]) -> bool {
    for beside in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        let _ = fs::remove_file(name);
    }
    fs::write(path, bytes).unwrap();
    let everything = async {
        let store = SqliteStore::open(path)?;
        store.accounts().await?;
        for stored in store.sessions(&Filter::default(), None, 1000).await? {
            store.revisions(stored.session.key()).await?;
            store.session(stored.session.key()).await?;
            if let Some(hash) = &stored.payload {
                store.payload(hash).await?;
            }
        }
        store.quarantine(None).await?;
        let lease = store.begin(&home(), at(0)).await?;
        store.commit(&*lease, page(&[session("new", 0)], 1)).await.map(drop)
    };
    match everything.await {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            true
        }
    }
}

#[tokio::test]
async fn a_lock_of_another_program_is_an_error_that_says_so() {
    let (_folder, path) = scratch();
    let store = SqliteStore::open(&path).unwrap().with_busy_timeout(Duration::from_millis(20)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.begin(&home(), at(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("locked by another program"), "{error}");
    // Reading goes on.
    assert!(store.accounts().await.unwrap().is_empty());
    other.execute_batch("COMMIT").unwrap();
    store.begin(&home(), at(0)).await.unwrap();
}

#[tokio::test]
async fn readers_see_whole_batches_while_a_writer_writes() {
    let (_folder, path) = scratch();
    let store = SqliteStore::open(&path).unwrap();
    let reader = SqliteStore::open_read_only(&path).unwrap();
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            let lease = store.begin(&home(), at(0)).await.unwrap();
            for number in 0..50 {
                store.commit(&*lease, numbered(number)).await.unwrap();
            }
        }
    });
    let (mut last, mut changed) = (0, 0);
    loop {
        let ended = writing.is_finished();
        for store in [&store, &reader] {
            let number = store.sessions(&Filter::default(), None, 10_000).await.unwrap().len();
            assert_eq!(number % BATCH, 0);
            assert!(number >= last);
            changed += i32::from(number > last);
            last = number;
        }
        if ended {
            break;
        }
    }
    writing.await.unwrap();
    assert_eq!(last, 50 * BATCH);
    assert!(changed > 0);
}

#[tokio::test]
async fn payloads_are_not_kept_again_as_long_as_they_stay_the_same() {
    let (_folder, path) = scratch();
    let store = SqliteStore::open(&path).unwrap();
    let bodies: Vec<_> =
        (0..8200).map(|number| format!("{{\"number\": {number}}} {}", "x".repeat(200))).collect();
    for wh in [1, 2] {
        let with = |(number, body): (usize, &String)| {
            let mut session = with_energy(session(&number.to_string(), 0), wh);
            session.provenance.payload = Some(Payload::from(body.clone()));
            session
        };
        let sessions: Vec<_> = bodies.iter().enumerate().map(with).collect();
        let lease = store.begin(&home(), at(0)).await.unwrap();
        for sessions in sessions.chunks(4096) {
            // Of no kind that would vanish.
            let slice = Slice { kinds: vec![], ..all() };
            store.commit(&*lease, part(&slice, "", "", sessions, 1)).await.unwrap();
        }
    }
    // Each of both revisions says which bytes it was read from.
    for number in [0, 8199] {
        let hash = Hash::of(bodies[number].as_bytes());
        let states = store.revisions(&key(&number.to_string())).await.unwrap();
        assert_eq!(states.iter().map(|state| state.payload).collect::<Vec<_>>(), [Some(hash); 2]);
    }
    // What came first, what came last before places are merged, and what came after.
    for body in [&bodies[0], &bodies[8190], &bodies[8191], &bodies[8192], &bodies[8199]] {
        let payload = store.payload(&Hash::of(body.as_bytes())).await.unwrap().unwrap();
        assert_eq!(payload.as_bytes(), body.as_bytes());
    }
    store.verify().await.unwrap();
    let db = Connection::open(&path).unwrap();
    let with_payload = "revisions WHERE payload_hash IS NOT NULL";
    for (table, rows) in
        [("revisions", 16_400), (with_payload, 8200), ("payload_places", 8192), ("new_payload_places", 1)]
    {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let counted = db.query_row(&format!("SELECT count(*) FROM {table}"), [], count).unwrap();
        assert_eq!(counted, rows, "{table}");
    }
}

#[tokio::test]
async fn the_log_is_copied_into_the_file_while_the_store_is_open() {
    const MIB: u64 = 1 << 20;
    let (_folder, path) = scratch();
    let store = SqliteStore::open(&path).unwrap();
    let lease = store.begin(&home(), at(0)).await.unwrap();
    let log = path.with_file_name("sessions.db-wal");
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    // What cannot be packed.
    let mut state = 1_u64;
    let mut bytes: Vec<u8> = (0..MIB)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    let mut largest = 0;
    for number in 0..160 {
        let mut session = session(&number.to_string(), 0);
        bytes[0] = number as u8;
        session.provenance.payload = Some(Payload::from(bytes.clone()));
        store.commit(&*lease, part(&all(), "", "", &[session], number)).await.unwrap();
        largest = largest.max(size(&log));
    }
    assert!(size(&path) > 64 * MIB, "{} MiB", size(&path) / MIB);
    assert!(largest < 128 * MIB, "{} MiB", largest / MIB);
    store.verify().await.unwrap();
}

#[tokio::test]
async fn what_another_one_has_written_is_known() {
    let (_folder, path) = scratch();
    let stores = [SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap()];
    let count = || {
        let db = Connection::open(&path).unwrap();
        let count = |table| {
            let sql = format!("SELECT count(*) FROM {table}");
            db.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        ["sessions", "revisions WHERE payload_hash IS NOT NULL", "new_payload_places"].map(count)
    };
    let mut from = String::new();
    // Who writes, which bytes, under which names, and what there is afterwards. The second one merges places that the
    // first one has written, and enters keys that wait with the first one.
    for (turn, (store, numbers, name, expected)) in [
        (0, 0..5000, "a", [5000, 5000, 1]),
        (1, 5000..9000, "a", [9000, 9000, 0]),
        (0, 0..9000, "b", [18_000, 18_000, 0]),
        (0, 9000..9100, "a", [18_100, 18_100, 1]),
        (1, 9050..9200, "b", [18_250, 18_250, 2]),
        (0, 0..9100, "a", [18_250, 18_250, 2]),
        (1, 9100..9200, "a", [18_350, 18_350, 3]),
        (0, 9200..18_000, "a", [27_150, 27_150, 0]),
        (0, 0..1, "a", [27_150, 27_150, 0]),
        (1, 18_000..26_200, "a", [35_350, 35_350, 0]),
        (0, 18_000..18_100, "b", [35_450, 35_450, 1]),
    ]
    .into_iter()
    .enumerate()
    {
        let sessions: Vec<_> = numbers
            .map(|number| {
                let mut session = session(&format!("{name} {number}"), 0);
                session.provenance.payload = Some(Payload::from(format!("{{\"number\": {number}}}")));
                session
            })
            .collect();
        let next = turn.to_string();
        let lease = stores[store].begin(&home(), at(0)).await.unwrap();
        stores[store].commit(&*lease, part(&all(), &from, &next, &sessions, 1)).await.unwrap();
        drop(lease);
        assert_eq!(count(), expected, "{turn}");
        from = next;
    }
    stores[0].verify().await.unwrap();
}

#[tokio::test]
async fn records_are_found_whether_their_keys_wait_or_not() {
    let (_folder, path) = scratch();
    // Two that write to the same file, and so learn of what the other one does.
    let stores = [SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap()];
    let name = |number: i64| format!("{:02}", number * 37 % 100);
    let mut sessions = Vec::new();
    for turn in 0..10 {
        let store = &stores[turn as usize % 2];
        let some: Vec<_> = (turn * 10..turn * 10 + 10).map(|number| session(&name(number), number)).collect();
        sessions.extend(some);
        let lease = store.begin(&home(), at(0)).await.unwrap();
        // All that were there are known, and the rest is new.
        let changes = store.commit(&*lease, page(&sessions, turn)).await.unwrap();
        assert_eq!((changes.new.len(), changes.unchanged), (10, turn as u64 * 10));
        drop(lease);
        if turn == 3 || turn == 6 {
            end_run(&stores[usize::from(turn == 3)]).await;
        }
        store.verify().await.unwrap();
        for store in &stores {
            for session in &sessions {
                assert!(store.session(session.key()).await.unwrap().is_some(), "{}", session.key());
            }
            assert!(store.session(&key("none")).await.unwrap().is_none());
            for window in [None, window(0, 1000)] {
                let (mut after, mut listed) = (None, Vec::new());
                loop {
                    let mut filter = Filter::default();
                    filter.window = window;
                    let page = store.sessions(&filter, after.as_ref(), 7).await.unwrap();
                    after = page.last().map(|row| row.session.key().clone());
                    listed.extend(page.iter().map(|row| row.session.key().source_id.clone()));
                    if page.len() < 7 {
                        break;
                    }
                }
                let mut expected: Vec<_> = (0..sessions.len() as i64).map(name).collect();
                expected.sort();
                assert_eq!(listed, expected);
            }
        }
    }
    let rejected = RejectedRecord::new(IssueCode::UNIT_UNKNOWN, "x", "y", Payload::from("{"));
    let mut last = page(&[], 99);
    last.rejected = vec![rejected.clone().with_id(Some(name(0))), rejected.with_id(Some(name(99)))];
    let lease = stores[0].begin(&home(), at(0)).await.unwrap();
    // Of the two that could not be read, one has its key entered, and the other one not.
    assert_eq!(stores[0].commit(&*lease, last).await.unwrap().vanished.len(), 98);
}

#[tokio::test]
async fn what_starts_at_another_time_now_is_found_there() {
    let (_folder, path) = scratch();
    let store = SqliteStore::open(&path).unwrap();
    fill(&store, 30).await;
    end_run(&store).await;
    // Two that are entered and one that is not, of which one loses its start and one finds it again.
    let started = |id: &str, start: Option<i64>| {
        let mut session = session(id, 0);
        session.timing.period.start = start.map(at);
        session
    };
    let pages = [
        vec![started("5", Some(500)), started("6", None), started("x", None)],
        vec![started("x", Some(501))],
    ];
    for (turn, (from, next)) in [("", "1"), ("1", "2")].into_iter().enumerate() {
        let lease = store.begin(&home(), at(0)).await.unwrap();
        store.commit(&*lease, part(&all(), from, next, &pages[turn], 40)).await.unwrap();
        drop(lease);
        store.verify().await.unwrap();
        if turn == 0 {
            end_run(&store).await;
            store.verify().await.unwrap();
        }
    }
    let listed = async |from, until| {
        let mut filter = Filter::default();
        filter.window = window(from, until);
        let page = store.sessions(&filter, None, 99).await.unwrap();
        page.into_iter().map(|row| row.session.key().source_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed(400, 600).await, ["5", "x"]);
    assert_eq!(listed(4, 8).await, ["4", "7"]);
    let slice = Slice { window: window(4, 600), ..all() };
    let lease = store.begin(&home(), at(0)).await.unwrap();
    let changes = store.commit(&*lease, part(&slice, "", "", &[], 41)).await.unwrap();
    // All but the first four and the one without a start.
    assert_eq!(changes.vanished.len(), 30 + 1 - 4 - 1);
    let changes = store.commit(&*lease, part(&all(), "2", "", &[], 42)).await.unwrap();
    assert_eq!(changes.vanished.len(), 4, "the first four, and not what came while all were listed");
}

#[tokio::test]
async fn what_is_of_an_asset_is_found_whether_it_waits_or_has_moved() {
    let (_folder, path) = scratch();
    // Two that write to the same file, and so learn of what the other one does.
    let stores = [SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap()];
    let write = async |store: &SqliteStore, batch: Batch| {
        let lease = store.begin(&home(), at(0)).await.unwrap();
        store.commit(&*lease, batch).await.unwrap()
    };
    let of = |number: i64, vehicle: &str, point: &str| {
        let mut session = session(&format!("{number:02}"), number);
        session.parties.vehicle = Some(Vehicle::of(vehicle));
        session.parties.charge_point = Some(ChargePoint::of(point));
        session
    };
    let listing = |asset: &AssetRef, window| Slice { asset: Some(asset.clone()), window, ..all() };
    let (v, w, p) = (AssetRef::vehicle("v"), AssetRef::vehicle("w"), AssetRef::charge_point("p"));
    // 00 to 29, now of one and now of the other, and half of them entered.
    let mut pages: Vec<Vec<_>> = (0..6)
        .map(|turn| {
            let (vehicle, point) = if turn % 2 == 0 { ("v", "p") } else { ("w", "q") };
            (turn * 5..turn * 5 + 5).map(|number| of(number, vehicle, point)).collect()
        })
        .collect();
    // One that is entered and one that waits are of others from now on, and one for a while.
    pages.extend(
        [of(0, "w", "q"), of(20, "w", "q"), of(1, "w", "p"), of(1, "v", "p")].map(|moved| vec![moved]),
    );
    let mut from = String::new();
    for (turn, sessions) in (0..).zip(&pages) {
        let next = format!("page {turn}");
        write(&stores[turn as usize % 2], part(&all(), &from, &next, sessions, turn)).await;
        from = next;
        if turn == 2 {
            end_run(&stores[0]).await;
        }
    }
    stores[0].verify().await.unwrap();
    let of_v: Vec<_> = (1..5).chain(10..15).chain(21..25).collect();
    let of_w: Vec<_> = [0].into_iter().chain(5..10).chain(15..21).chain(25..30).collect();
    for (asset, expected) in [(&v, &of_v), (&p, &of_v), (&w, &of_w), (&AssetRef::vehicle("p"), &vec![])] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let mut filter = Filter::default();
            filter.asset = Some(asset.clone());
            let page = stores[1].sessions(&filter, after.as_ref(), 4).await.unwrap();
            after = page.last().map(|row| row.session.key().clone());
            found.extend(page.iter().map(|row| row.session.key().source_id.parse::<i64>().unwrap()));
            if page.len() < 4 {
                break;
            }
        }
        assert_eq!(&found, expected, "{asset:?}");
    }
    let mut gone = Vec::new();
    for (store, asset, window) in [
        (&stores[0], &p, window(0, 2)),
        (&stores[0], &v, window(2, 4)),
        (&stores[0], &v, window(0, 100)),
        (&stores[0], &w, window(5, 8)),
        (&stores[1], &w, None),
    ] {
        let changes = write(store, part(&listing(asset, window), "", "", &[], 20)).await;
        let ids = changes.vanished.iter().map(|key| key.source_id.parse::<i64>().unwrap());
        gone.push(ids.collect::<Vec<_>>());
    }
    let expected: [Vec<i64>; 5] = [
        vec![1],
        vec![2, 3],
        [4].into_iter().chain(10..15).chain(21..25).collect(),
        vec![5, 6, 7],
        [0, 8, 9].into_iter().chain(15..21).chain(25..30).collect(),
    ];
    assert_eq!(gone, expected);
    end_run(&stores[1]).await;
    stores[0].verify().await.unwrap();
    let db = Connection::open(&path).unwrap();
    let runs: i64 = db.query_row("SELECT count(*) FROM asset_runs", [], |row| row.get(0)).unwrap();
    assert_eq!(runs, 6 * 2 + 6, "of six pages, each of a vehicle and a charge point, and of six moves");
}

#[tokio::test]
async fn many_keys_do_not_wait_for_the_end_of_the_run() {
    const MANY: i64 = 15_000;
    let (_folder, path) = scratch();
    let store = SqliteStore::open(&path).unwrap();
    let sessions: Vec<_> = (0..MANY)
        .map(|number| {
            let mut session = session(&number.to_string(), 0);
            session.provenance.payload = None;
            session
        })
        .collect();
    for known in [false, true] {
        let lease = store.begin(&home(), at(0)).await.unwrap();
        for (turn, sessions) in (0..).zip(sessions.chunks(5000)) {
            let changes = store.commit(&*lease, page(sessions, turn)).await.unwrap();
            assert_eq!(changes.new.is_empty(), known);
        }
    }
    let db = Connection::open(&path).unwrap();
    let entered: i64 = db.query_row("SELECT count(*) FROM session_keys", [], |row| row.get(0)).unwrap();
    assert_eq!(entered, MANY, "since the last page, which made them more than 14,336");
    store.verify().await.unwrap();
}

#[tokio::test]
async fn records_are_packed_by_the_first_of_their_account() {
    let (_folder, path) = scratch();
    let store = SqliteStore::open(&path).unwrap();
    fill(&store, 300).await;
    // Another account is another provider's, perhaps, and has an example of its own; one record has nothing to gain.
    let other = account("other");
    let lease = store.begin(&other, at(0)).await.unwrap();
    let mut sessions: Vec<_> = (0..2).map(|number| session(&number.to_string(), number)).collect();
    for session in &mut sessions {
        session.identity.key = SessionKey::new(PROVIDER, other.account.clone(), RecordKind::Segment, "x");
        session.identity.key.source_id = session.timing.period.start.unwrap().to_string();
    }
    store.commit(&*lease, page(&sessions, 1)).await.unwrap();
    let changed: Vec<_> = sessions.iter().map(|session| with_energy(session.clone(), 5)).collect();
    store.commit(&*lease, page(&changed, 2)).await.unwrap();
    for session in &changed {
        let states = store.revisions(session.key()).await.unwrap();
        let energies: Vec<_> = states.iter().map(|state| state.session.energy.headline().unwrap()).collect();
        assert_eq!(energies, [Energy::from_mwh(7_000_001), Energy::from_wh(5).unwrap()]);
    }
    let db = Connection::open(&path).unwrap();
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM revisions WHERE example_id = 1"), 299);
    assert_eq!(number("SELECT count(*) FROM revisions WHERE example_id = 301"), 3);
    assert_eq!(number("SELECT count(DISTINCT example_id) FROM revisions"), 2);
    let halves =
        "SELECT count(*) FROM revisions WHERE example_id AND length(bytes) * 3 > payload_size + record_size";
    assert_eq!(number(halves), 0, "a third is left, or less");
    store.verify().await.unwrap();
}

#[tokio::test]
async fn what_is_prepared_beforehand_is_stored_as_what_is_not() {
    let (_folders, paths): (Vec<_>, Vec<_>) = (0..2).map(|_| scratch()).unzip();
    let stores = [0, 1].map(|number: usize| SqliteStore::open(&paths[number]).unwrap());
    let slice = Slice { kinds: vec![], ..all() };
    let sessions: Vec<_> = (0..40)
        .map(|number| {
            let mut session = session(&number.to_string(), number);
            // Some without bytes, and one that is like none before it.
            session.provenance.payload = (number % 5 != 0).then(|| format!("{{\"id\": {number}}}").into());
            if number == 25 {
                let words: String = (0..200).map(|n: i32| Hash::of(&n.to_le_bytes()).to_string()).collect();
                session.provenance.payload = Some(words.into());
            }
            session
        })
        .collect();
    // New, seen again, changed with the same bytes; the last of them twice.
    let again = |wh| sessions.iter().map(move |session| with_energy(session.clone(), wh));
    let mut twice: Vec<_> = again(2).collect();
    twice.push(with_energy(twice[39].clone(), 3));
    let rounds =
        [sessions[..10].to_vec(), sessions[10..].to_vec(), sessions.clone(), again(1).collect(), twice];
    let mut helped = 0;
    for (prepares, store) in stores.iter().enumerate() {
        let lease = store.begin(&home(), at(0)).await.unwrap();
        for (now, round) in (1..).zip(&rounds) {
            let mut batch = part(&slice, "", "", round, now);
            if prepares == 1 {
                // As two pages that come together. The last of one store is given to the other.
                let (one, two) = round.split_at(round.len() / 2);
                batch.prepared = store.prepare(&home(), one);
                batch.prepared.append(if now == 5 { &stores[0] } else { store }.prepare(&home(), two));
                helped += i32::from(now < 5);
            }
            store.commit(&*lease, batch).await.unwrap();
        }
        store.verify().await.unwrap();
    }
    assert_eq!(helped, 4);
    for session in &sessions {
        let [one, two] = [&stores[0], &stores[1]].map(|store| store.revisions(session.key()));
        let (one, two) = (one.await.unwrap(), two.await.unwrap());
        assert_eq!(one, two);
        assert!(one.len() >= 3);
        let hash = session.provenance.payload.as_ref().map(|payload| Hash::of(payload.as_bytes()));
        assert!(two.iter().all(|state| state.payload == hash));
        if let Some(hash) = hash {
            let payload = stores[1].payload(&hash).await.unwrap().unwrap();
            assert_eq!(Some(payload), session.provenance.payload);
        }
    }
}

#[tokio::test]
async fn views_are_for_people() {
    let (_folder, path) = scratch();
    let store = SqliteStore::open(&path).unwrap().with_zone(TimeZone::get("America/New_York").unwrap());
    let zoned = |id: &str, zone: Option<&str>| {
        // 2026-03-01T00:30:00Z
        let mut session = session(id, 30);
        session.timing.zone = zone.map(|zone| Zone::new(zone, ZoneSource::Provider));
        session
    };
    let all = [
        zoned("tokyo", Some("Asia/Tokyo")),
        zoned("else", None),
        zoned("odd", Some("Mars/Olympus")),
        zoned("gone", None),
    ];
    let lease = store.begin(&home(), at(0)).await.unwrap();
    store.commit(&*lease, page(&all, 1)).await.unwrap();
    store.commit(&*lease, page(&all[..3], 2)).await.unwrap();
    let db = Connection::open(&path).unwrap();
    let text = |sql: &str| {
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap().join(" ")
    };
    let sql = "SELECT source_id || ':' || local_day || ':' || local_month FROM v_sessions ORDER BY source_id";
    assert_eq!(text(sql), "else:2026-02-28:2026-02 odd:2026-02-28:2026-02 tokyo:2026-03-01:2026-03");
    let sql = "SELECT start_utc || ' ' || end_utc || ' ' || energy_kwh || ' ' || duration_minutes FROM v_sessions LIMIT 1";
    assert_eq!(text(sql), "2026-03-01T00:30:00Z 2026-03-01T01:30:00Z 7.000001 60.0");
    let handle = all[0].key().id().to_string();
    assert_eq!(text("SELECT handle FROM v_sessions WHERE source_id = 'tokyo'"), handle);
    let sql = "SELECT local_month || ' ' || sessions || ' ' || energy_kwh FROM v_months ORDER BY local_month";
    assert_eq!(text(sql), "2026-02 2 14.000002 2026-03 1 7.000001");
}

/// Records in each batch of the processes below.
const BATCH: usize = 20;

/// One page of a listing without end: its place is its number.
fn numbered(number: i64) -> Batch {
    let sessions: Vec<_> = (0..BATCH).map(|it| session(&format!("{number}-{it}"), number)).collect();
    let from = if number == 0 { String::new() } else { number.to_string() };
    part(&all(), &from, &(number + 1).to_string(), &sessions, number)
}

/// Not a test: what [`start`] runs as a process of its own. Writes pages and says so after each.
#[tokio::test]
#[ignore = "is run by other tests"]
async fn another_process() {
    let Ok(path) = std::env::var("STORE_OF_ANOTHER_PROCESS") else { return };
    let store = SqliteStore::open(path).unwrap();
    let place = store.place(&home(), &all()).await.unwrap();
    let first = place.map_or(0, |place| place.as_str().parse().unwrap());
    let lease = store.begin(&home(), at(0)).await.unwrap();
    println!("\nwritten {first}");
    for number in first.. {
        store.commit(&*lease, numbered(number)).await.unwrap();
        println!("\nwritten {}", number + 1);
    }
}

fn start(path: &Path) -> (Child, impl Iterator<Item = i64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "another_process", "--ignored", "--nocapture"])
        .env("STORE_OF_ANOTHER_PROCESS", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.filter_map(|line| line.unwrap().strip_prefix("written ")?.parse().ok()))
}

#[tokio::test]
async fn a_process_that_is_killed_loses_nothing_that_it_said_was_written() {
    let (_folder, path) = scratch();
    for pages in [1, 7, 20, 3, 11] {
        let (mut child, mut written) = start(&path);
        let mut acknowledged = written.nth(pages).unwrap();
        // Killed by the system wherever it is, most likely in the middle of a write.
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = written.last().unwrap_or(acknowledged);

        let store = SqliteStore::open(&path).unwrap();
        let place: i64 = store.place(&home(), &all()).await.unwrap().unwrap().as_str().parse().unwrap();
        // At most one was written of which it could not speak any more.
        assert!(place == acknowledged || place == acknowledged + 1, "{place} {acknowledged}");
        let stored = store.sessions(&Filter::default(), None, u32::MAX).await.unwrap();
        assert_eq!(stored.len(), usize::try_from(place).unwrap() * BATCH);
        let db = Connection::open(&path).unwrap();
        let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        assert!(!db.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap());
    }
}

#[tokio::test]
async fn two_processes_do_not_write_to_one_account() {
    let (_folder, path) = scratch();
    let (mut child, mut written) = start(&path);
    written.next().unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let error = store.begin(&home(), at(9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("process {}", child.id())), "{error}");
    // Another account is written to beside it.
    let lease = store.begin(&account("work"), at(9)).await.unwrap();
    for now in 0..10 {
        store.commit(&*lease, page(&[], now)).await.unwrap();
    }
    // However the process ends, the right to write is free.
    child.kill().unwrap();
    child.wait().unwrap();
    let lease = store.begin(&home(), at(10)).await.unwrap();
    assert_eq!(lease.epoch(), 2);
}
