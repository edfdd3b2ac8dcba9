//! The store in PostgreSQL: the suite for all stores, and what can go wrong with a server.
//!
//! `cargo xtask ci` starts a server, and names its address, of a superuser with a password, in
//! `CHARGING_SESSIONS_TEST_POSTGRES`. Each test makes a schema of its own.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use charging_sessions_core::{AssetRef, ChargePoint, ErrorKind, Result, Vehicle, Zone, ZoneSource};
use charging_sessions_store::{Batch, Filter, PostgresOptions, PostgresStore, SessionStore, Slice};
use futures_util::future::join_all;
use jiff::{Timestamp, tz::TimeZone};
use server::{address, client, text};
use suite::{account, all, at, home, key, page, part, session, window};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_postgres::Client;

#[path = "common/server.rs"]
mod server;
mod suite;

macro_rules! on_a_server {
    ($($test:ident,)*) => {
        mod on_a_server {
            use super::*;
            $(#[tokio::test]
            #[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
            async fn $test() {
                suite::$test(&open(&scratch()).await).await;
            })*
        }
    };
}
each_test!(on_a_server);

/// The name of a schema that nobody has.
fn scratch() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn options(schema: &str) -> PostgresOptions {
    PostgresOptions::new(address().into()).schema(schema)
}

async fn open(schema: &str) -> PostgresStore {
    PostgresStore::connect(options(schema)).await.unwrap()
}

/// The address with another part in the place of one of its own.
fn otherwise(set: impl FnOnce(&mut url::Url)) -> PostgresOptions {
    let mut url: url::Url = address().parse().unwrap();
    set(&mut url);
    PostgresOptions::new(url.to_string().into()).schema(scratch())
}

/// The message of a refusal, which names the store and no password.
fn refusal(result: Result<PostgresStore>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    let text = error.to_string();
    assert!(text.contains("the store test_"), "{text}");
    let url: url::Url = address().parse().unwrap();
    for password in ["not-this-one", url.password().unwrap()] {
        assert!(!format!("{error:?} {text}").contains(password), "{error:?}");
    }
    text
}

async fn fill(store: &dyn SessionStore, number: i64) {
    let sessions: Vec<_> = (0..number).map(|number| session(&number.to_string(), number)).collect();
    let lease = store.begin(&home(), at(0)).await.unwrap();
    store.commit(&*lease, page(&sessions, 1)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn a_store_is_there_when_it_is_opened_again() {
    let schema = scratch();
    fill(&open(&schema).await, 3).await;
    for store in [open(&schema).await, PostgresStore::connect_read_only(options(&schema)).await.unwrap()] {
        assert_eq!(store.sessions(&Filter::default(), None, 9).await.unwrap().len(), 3);
        assert_eq!(store.accounts().await.unwrap(), [home()]);
    }
    let layout = format!("SELECT application || ' ' || version FROM {schema}.layout");
    assert_eq!(text(&client().await, &layout).await, "charging-sessions 1");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn what_is_opened_for_reading_is_not_written_to() {
    let schema = scratch();
    let missing = refusal(PostgresStore::connect_read_only(options(&schema)).await);
    assert!(missing.contains("does not exist"), "{missing}");
    fill(&open(&schema).await, 1).await;
    let store = PostgresStore::connect_read_only(options(&schema)).await.unwrap();
    let error = store.begin(&home(), at(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("reading only"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn many_may_make_a_store_at_once() {
    let schema = scratch();
    let all = (0..8).map(|_| tokio::spawn(PostgresStore::connect(options(&schema))));
    for one in join_all(all).await {
        one.unwrap().unwrap();
    }
    PostgresStore::connect_read_only(options(&schema)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn what_is_not_ours_is_refused_and_left_alone() {
    let admin = client().await;
    for table in ["photos (id INT)", "layout (version INT)"] {
        let schema = scratch();
        admin.batch_execute(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.{table}")).await.unwrap();
        for result in [
            PostgresStore::connect(options(&schema)).await,
            PostgresStore::connect_read_only(options(&schema)).await,
        ] {
            assert!(refusal(result).contains("another program"));
        }
        let tables = format!("SELECT count(*)::text FROM pg_tables WHERE schemaname = '{schema}'");
        assert_eq!(text(&admin, &tables).await, "1");
    }
    let schema = scratch();
    fill(&open(&schema).await, 1).await;
    admin.execute(&format!("UPDATE {schema}.layout SET version = 2"), &[]).await.unwrap();
    for result in [
        PostgresStore::connect(options(&schema)).await,
        PostgresStore::connect_read_only(options(&schema)).await,
    ] {
        let text = refusal(result);
        assert!(text.contains("newer release (version 2") && text.contains("update"), "{text}");
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn where_there_is_nothing_to_open_the_message_says_what_to_do() {
    let connect = async |set: fn(&mut url::Url)| refusal(PostgresStore::connect(otherwise(set)).await);
    let absent = connect(|url| url.set_port(Some(1)).unwrap()).await;
    assert!(absent.contains("does not answer; check that the server runs"), "{absent}");
    let password = connect(|url| url.set_password(Some("not-this-one")).unwrap()).await;
    assert!(password.contains("refuses the user or the password"), "{password}");
    let user = connect(|url| url.set_username("nobody").unwrap()).await;
    assert!(user.contains("refuses the user or the password"), "{user}");
    let none = connect(|url| url.set_password(None).unwrap()).await;
    assert!(none.contains("check the user and the password"), "{none}");
    let database = connect(|url| url.set_path("/nowhere")).await;
    assert!(database.contains("make the database first") && database.contains("nowhere"), "{database}");
    let tls = connect(|url| url.set_query(Some("sslmode=require"))).await;
    assert!(tls.contains("TLS"), "{tls}");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let options = otherwise(|url| url.set_port(Some(port)).unwrap());
    let text = refusal(PostgresStore::connect(options).await);
    assert!(text.contains("does not answer"), "{text}");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn a_user_needs_no_more_rights_than_it_uses() {
    let (schema, admin) = (scratch(), client().await);
    fill(&open(&schema).await, 1).await;
    let database = text(&admin, "SELECT current_database()::text").await;
    let sql = format!(
        "CREATE ROLE {schema} LOGIN PASSWORD 'p'; REVOKE CREATE ON DATABASE {database} FROM PUBLIC; \
         GRANT USAGE ON SCHEMA {schema} TO {schema}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}"
    );
    admin.batch_execute(&sql).await.unwrap();
    let user = || {
        otherwise(|url| {
            url.set_username(&schema).unwrap();
            url.set_password(Some("p")).unwrap();
        })
    };
    let text = refusal(PostgresStore::connect(user()).await);
    assert!(text.contains("grant it the schema, or CREATE on the database"), "{text}");
    let store = PostgresStore::connect_read_only(user().schema(schema.as_str())).await.unwrap();
    assert_eq!(store.sessions(&Filter::default(), None, 9).await.unwrap().len(), 1);
    // It is there already, so it need not be made.
    let store = PostgresStore::connect(user().schema(schema.as_str())).await.unwrap();
    let error = store.begin(&home(), at(0)).await.unwrap_err();
    assert!(error.to_string().contains("must not be used like this by its user"), "{error}");
    let writes = format!("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}");
    admin.batch_execute(&writes).await.unwrap();
    let lease = store.begin(&home(), at(0)).await.unwrap();
    store.commit(&*lease, page(&[session("new", 0)], 2)).await.unwrap();
    let sql = format!("ALTER ROLE {schema} SET default_transaction_read_only = on");
    admin.batch_execute(&sql).await.unwrap();
    let store = PostgresStore::connect(user().schema(schema.as_str())).await.unwrap();
    let error = store.begin(&account("work"), at(0)).await.unwrap_err();
    assert!(error.to_string().contains("can only be read from"), "{error}");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn a_database_that_holds_no_unicode_is_refused() {
    let name = scratch();
    let sql = format!("CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
    client().await.batch_execute(&sql).await.unwrap();
    let text = refusal(PostgresStore::connect(otherwise(|url| url.set_path(&name))).await);
    assert!(text.contains("SQL_ASCII") && text.contains("ENCODING 'UTF8'"), "{text}");
    client().await.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn damage_is_an_error_and_no_panic() {
    let admin = client().await;
    for damage in [
        "UPDATE revisions SET record = '{}'",
        "UPDATE sessions SET first_seen_us = 9223372036854775807",
        "UPDATE sessions SET revision = -1",
        "UPDATE sessions SET mapping_version = 5000000000",
        "UPDATE payloads SET size = 9223372036854775807",
        "UPDATE payloads SET size = -1",
        "UPDATE payloads SET size = 100000",
        "UPDATE sessions SET content = '\\x00'",
        "UPDATE sessions SET source_id = chr(1) || 'x'",
        "UPDATE accounts SET account = 'a b'",
        "UPDATE revisions SET reason = 'else'",
        "DELETE FROM layout",
        "ALTER TABLE payloads ALTER COLUMN size TYPE TEXT",
        "DROP TABLE revisions CASCADE",
    ] {
        let schema = scratch();
        fill(&open(&schema).await, 5).await;
        admin.batch_execute(&format!("SET search_path = {schema}; {damage}")).await.unwrap();
        let everything = async {
            let store = PostgresStore::connect(options(&schema)).await?;
            store.accounts().await?;
            store.find("").await?;
            for stored in store.sessions(&Filter::default(), None, 1000).await? {
                store.revisions(stored.session.key()).await?;
                if let Some(hash) = &stored.payload {
                    store.payload(hash).await?;
                }
            }
            Ok::<_, charging_sessions_core::Error>(())
        };
        let error = everything.await.expect_err(damage);
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert!(error.to_string().contains(&schema), "{damage}: {error}");
        assert!(!error.to_string().contains("mistake in this program"), "{damage}: {error}");
    }
    // What only shows to whoever looks for it.
    for (damage, words) in [
        ("UPDATE revisions SET record = '{}'", "the record ev-energy/home/segment/"),
        ("UPDATE sessions SET content = '\\x00'", "the record ev-energy/home/segment/"),
        ("UPDATE sessions SET revision_id = 0", "the record ev-energy/home/segment/"),
        ("UPDATE payloads SET hash = sha256(hash)", "bytes that were received are others now"),
        ("UPDATE payloads SET size = size + 1", "is damaged"),
    ] {
        let schema = scratch();
        let store = open(&schema).await;
        fill(&store, 1500).await;
        store.verify().await.unwrap();
        let last = damage.replace("UPDATE ", &format!("UPDATE {schema}."));
        admin.batch_execute(&last).await.unwrap();
        let error = store.verify().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains(words), "{damage}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn a_lock_of_another_program_is_an_error_that_says_so() {
    let schema = scratch();
    let store = open(&schema).await;
    fill(&store, 1).await;
    let mut admin = client().await;
    let t = admin.transaction().await.unwrap();
    t.batch_execute(&format!("LOCK TABLE {schema}.accounts IN SHARE ROW EXCLUSIVE MODE")).await.unwrap();
    let error = store.begin(&home(), at(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("locked by another program"), "{error}");
    // Reading goes on.
    assert_eq!(store.accounts().await.unwrap().len(), 1);
    t.commit().await.unwrap();
    store.begin(&home(), at(0)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn who_loses_the_connection_loses_the_account_to_the_next_one() {
    let schema = scratch();
    let (first, second) = (open(&schema).await, open(&schema).await);
    let lease = first.begin(&home(), at(0)).await.unwrap();
    first.commit(&*lease, part(&all(), "", "2", &[session("a", 0)], 1)).await.unwrap();
    let error = second.begin(&home(), at(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    // Another account is written to beside it.
    second.begin(&account("work"), at(1)).await.unwrap();

    // The connection that holds the account is cut, as by a network that fails.
    let admin = client().await;
    let cut = format!(
        "SELECT count(pg_terminate_backend(l.pid))::text FROM pg_locks l \
         WHERE l.locktype = 'advisory' AND l.granted \
         AND l.classid::bigint << 32 | l.objid::bigint = {}",
        lock_of(&schema)
    );
    assert_eq!(text(&admin, &cut).await, "1");
    let taken = second.begin(&home(), at(2)).await.unwrap();
    assert!(taken.epoch() > lease.epoch());
    let error = first.commit(&*lease, part(&all(), "2", "3", &[session("b", 0)], 3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("another run has begun"), "{error}");
    second.commit(&*taken, part(&all(), "2", "3", &[session("c", 0)], 3)).await.unwrap();
    let ids: Vec<_> = second.sessions(&Filter::default(), None, 9).await.unwrap();
    let ids: Vec<_> = ids.iter().map(|stored| stored.session.key().source_id.as_str()).collect();
    assert_eq!(ids, ["a", "c"]);
    // And after it, the connection of the second is as good as any.
    drop(taken);
    first.begin(&home(), at(4)).await.unwrap();
}

/// The number of the lock of an account, which is a part of the protocol between releases.
fn lock_of(schema: &str) -> i64 {
    let name = format!("charging-sessions\0{schema}\0lease\0ev-energy\0home");
    let hash = charging_sessions_store::Hash::of(name.as_bytes());
    i64::from_be_bytes(hash.as_bytes()[..8].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn readers_see_whole_batches_and_a_history_without_gaps_while_others_write() {
    let schema = scratch();
    let store = Arc::new(open(&schema).await);
    let reader = PostgresStore::connect_read_only(options(&schema)).await.unwrap();
    // Two accounts are written to at once.
    let writing = ["home", "work"].map(|name| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let lease = store.begin(&account(name), at(0)).await.unwrap();
            for number in 0..50 {
                store.commit(&*lease, numbered(name, number)).await.unwrap();
            }
        })
    });
    let (mut last, mut changed, mut after, mut seen) = (0, 0, None, 0);
    loop {
        let ended = writing.iter().all(tokio::task::JoinHandle::is_finished);
        let number = reader.sessions(&Filter::default(), None, 10_000).await.unwrap().len();
        assert_eq!(number % BATCH, 0);
        assert!(number >= last);
        changed += i32::from(number > last);
        last = number;
        let page = reader.history(None, Timestamp::MIN, after, 10_000).await.unwrap();
        seen += page.len();
        after = page.last().map(|recorded| recorded.position).or(after);
        if ended {
            break;
        }
    }
    for one in writing {
        one.await.unwrap();
    }
    assert_eq!((last, seen), (100 * BATCH, 100 * BATCH));
    assert!(changed > 0);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn views_are_for_people() {
    let schema = scratch();
    let zone = TimeZone::get("America/New_York").unwrap();
    let store = open(&schema).await.with_zone(zone);
    let zoned = |id: &str, zone: Option<&str>| {
        // 2026-03-01T00:30:00Z
        let mut session = session(id, 30);
        session.timing.zone = zone.map(|zone| Zone::new(zone, ZoneSource::Provider));
        session
    };
    let mut early = zoned("early", None);
    (early.timing.period.start, early.timing.period.end) = (Some(Timestamp::MIN), Some(Timestamp::MAX));
    let all = [
        zoned("tokyo", Some("Asia/Tokyo")),
        zoned("else", None),
        zoned("odd", Some("Mars/Olympus")),
        early,
        zoned("gone", None),
    ];
    let lease = store.begin(&home(), at(0)).await.unwrap();
    store.commit(&*lease, page(&all, 1)).await.unwrap();
    store.commit(&*lease, page(&all[..4], 2)).await.unwrap();
    let db = client().await;
    db.batch_execute(&format!("SET search_path = {schema}; SET timezone = 'Asia/Kolkata'")).await.unwrap();
    let sql = "SELECT string_agg(source_id || ':' || local_day || ':' || local_month, ' ' ORDER BY source_id) \
               FROM v_sessions WHERE source_id <> 'early'";
    let expected = "else:2026-02-28:2026-02 odd:2026-02-28:2026-02 tokyo:2026-03-01:2026-03";
    assert_eq!(text(&db, sql).await, expected);
    let sql = "SELECT concat_ws(' ', start_utc, end_utc, energy_kwh, duration_minutes) FROM v_sessions \
               WHERE source_id = 'else'";
    assert_eq!(text(&db, sql).await, "2026-03-01T00:30:00Z 2026-03-01T01:30:00Z 7.000001 60");
    let handle = all[0].key().id().to_string();
    assert_eq!(text(&db, "SELECT handle FROM v_sessions WHERE source_id = 'tokyo'").await, handle);
    let sql = "SELECT string_agg(concat_ws(' ', local_month, sessions, energy_kwh), ' ' ORDER BY local_month) \
               FROM v_months WHERE local_month LIKE '2026%'";
    assert_eq!(text(&db, sql).await, "2026-02 2 14.000002 2026-03 1 7.000001");
    // What no calendar of the database holds is left out, and takes no other row along.
    let sql =
        "SELECT concat_ws(' ', start_utc, local_month, energy_kwh) FROM v_sessions WHERE source_id = 'early'";
    assert_eq!(text(&db, sql).await, "-009999-01 7.000001");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn views_have_the_columns_that_they_have_in_sqlite() {
    let schema = scratch();
    open(&schema).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    charging_sessions_store::SqliteStore::open(&path).unwrap();
    let sqlite = rusqlite::Connection::open(&path).unwrap();
    for view in ["v_sessions", "v_months"] {
        let statement = sqlite.prepare(&format!("SELECT * FROM {view}")).unwrap();
        // A list with rusqlite 0.39, and an iterator with 0.41.
        let columns = statement.column_names().into_iter().collect::<Vec<_>>().join(" ");
        let sql = format!(
            "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute \
             WHERE attrelid = '{schema}.{view}'::regclass AND attnum > 0"
        );
        assert_eq!(text(&client().await, &sql).await, columns);
    }
}

/// Passes on what goes to and from the server, and counts how often the one waits for the other.
async fn counted(rounds: Arc<AtomicU32>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server: url::Url = address().parse().unwrap();
    let server = (server.host_str().unwrap().to_owned(), server.port().unwrap());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(&server).await.unwrap();
            let rounds = Arc::clone(&rounds);
            tokio::spawn(async move {
                let (mut up, mut down) = (vec![0; 1 << 20], vec![0; 1 << 20]);
                let mut answered = true;
                loop {
                    tokio::select! {
                        Ok(number @ 1..) = near.read(&mut up) => {
                            rounds.fetch_add(u32::from(answered), Ordering::Relaxed);
                            answered = false;
                            far.write_all(&up[..number]).await.unwrap();
                        }
                        Ok(number @ 1..) = far.read(&mut down) => {
                            answered = true;
                            near.write_all(&down[..number]).await.unwrap();
                        }
                        else => return,
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn a_page_costs_a_handful_of_round_trips_however_long_it_is() {
    let rounds = Arc::new(AtomicU32::new(0));
    let port = counted(Arc::clone(&rounds)).await;
    let options = otherwise(|url| url.set_port(Some(port)).unwrap()).connections(1);
    let store = PostgresStore::connect(options).await.unwrap();
    let lease = store.begin(&home(), at(0)).await.unwrap();
    let records = |number: i64| -> Vec<_> {
        let related = |mut session: charging_sessions_core::ChargingSession| {
            session.identity.parent = Some(key("parent"));
            session
        };
        (0..number).map(|it| related(session(&format!("{number}-{it}"), it))).collect()
    };
    // The first page prepares the statements.
    store.commit(&*lease, page(&records(5), 1)).await.unwrap();
    let mut costs = Vec::new();
    for number in [1, 200] {
        for _ in ["new", "again"] {
            let place = store.place(&home(), &all()).await.unwrap();
            let from = place.as_ref().map_or("", |place| place.as_str());
            let before = rounds.load(Ordering::Relaxed);
            store.commit(&*lease, part(&all(), from, "next", &records(number), 2)).await.unwrap();
            costs.push(rounds.load(Ordering::Relaxed) - before);
        }
    }
    // A long answer may be read while a long question is still sent, which counts twice.
    assert!(costs.iter().all(|cost| *cost <= 8), "{costs:?}");
    assert!(costs.iter().all(|cost| *cost >= 3), "{costs:?}");
}

/// How many rows of the table of sessions were read, once the server knows of so many that were written anew.
async fn rows_read(admin: &Client, schema: &str, updated: u64) -> i64 {
    let sql = "SELECT n_tup_upd, seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables \
               WHERE schemaname = $1 AND relname = 'sessions'";
    let counted = async {
        loop {
            let row = admin.query_one(sql, &[&schema]).await.unwrap();
            if row.get::<_, i64>(0) == i64::try_from(updated).unwrap() {
                return row.get(1);
            }
        }
    };
    // A server says what a connection has done when that ends, or a second later.
    tokio::time::timeout(Duration::from_secs(60), counted).await.expect("the statistics of the server")
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn what_is_read_to_write_does_not_grow_with_the_account_nor_wait_for_statistics() {
    const ASSETS: i64 = 400;
    const EACH: i64 = 10;
    let (schema, admin) = (scratch(), client().await);
    let connect = async || PostgresStore::connect(options(&schema).connections(1)).await.unwrap();
    let store = connect().await;
    for table in ["sessions", "revisions"] {
        let sql = format!("ALTER TABLE {schema}.{table} SET (autovacuum_enabled = off)");
        admin.batch_execute(&sql).await.unwrap();
    }
    let slice = |asset: AssetRef, window| Slice { window, asset: Some(asset), kinds: all().kinds };
    let of = |asset: i64| -> Vec<_> {
        let of_asset = |number: i64| {
            let mut session = session(&format!("{asset}-{number}"), number);
            session.parties.vehicle = Some(Vehicle::of(format!("v{asset}")));
            session.parties.charge_point = Some(ChargePoint::of(format!("p{asset}")));
            session
        };
        (0..EACH).map(of_asset).collect()
    };
    let list = async |store: &PostgresStore, slice: Slice, asset: i64| {
        let lease = store.begin(&home(), at(0)).await.unwrap();
        let mut batch = Batch::new(slice, None, at(1));
        batch.sessions = of(asset);
        store.commit(&*lease, batch).await.unwrap()
    };
    let lease = store.begin(&home(), at(0)).await.unwrap();
    let sessions: Vec<_> = (0..ASSETS).flat_map(of).collect();
    store.commit(&*lease, page(&sessions, 1)).await.unwrap();
    drop(lease);
    // A connection that wrote and ends says so at once.
    let end = async |store: PostgresStore| {
        store.session(&key("0-0")).await.unwrap().unwrap();
        drop(store);
    };
    let touched = async |store: &PostgresStore| {
        let changes = list(store, slice(AssetRef::charge_point("p7"), window(0, 1_000_000)), 7).await;
        assert_eq!((changes.unchanged, changes.vanished.len()), (EACH as u64, 0));
    };
    touched(&store).await;
    end(store).await;
    let before = rows_read(&admin, &schema, EACH as u64).await;
    let store = connect().await;
    touched(&store).await;
    let changes = list(&store, slice(AssetRef::vehicle("v3"), None), 3).await;
    assert_eq!((changes.unchanged, changes.vanished.len()), (EACH as u64, 0));
    end(store).await;
    let read = rows_read(&admin, &schema, 3 * EACH as u64).await - before;
    // To know them, to mark them, and to see that none is missing, twice; a look at one.
    assert!((2 * EACH..=7 * EACH).contains(&read), "{read} rows were read to see {} again", 2 * EACH);
}

/// Records in each batch of the writers here.
const BATCH: usize = 20;

/// One page of a listing without end: its place is its number.
fn numbered(name: &str, number: i64) -> Batch {
    let sessions: Vec<_> = (0..BATCH)
        .map(|it| {
            let mut session = session(&format!("{number}-{it}"), number);
            session.identity.key.account = name.parse().unwrap();
            session
        })
        .collect();
    let from = if number == 0 { String::new() } else { number.to_string() };
    let slice = Slice { window: None, ..all() };
    part(&slice, &from, &(number + 1).to_string(), &sessions, number)
}

/// Not a test: what [`start`] runs as a process of its own. Writes pages and says so after each.
#[tokio::test]
#[ignore = "is run by other tests"]
async fn another_process() {
    let Ok(schema) = std::env::var("SCHEMA_OF_ANOTHER_PROCESS") else { return };
    let store = open(&schema).await;
    let place = store.place(&home(), &all()).await.unwrap();
    let first = place.map_or(0, |place| place.as_str().parse().unwrap());
    let lease = store.begin(&home(), at(0)).await.unwrap();
    println!("\nwritten {first}");
    for number in first.. {
        store.commit(&*lease, numbered("home", number)).await.unwrap();
        println!("\nwritten {}", number + 1);
    }
}

fn start(schema: &str) -> (Child, impl Iterator<Item = i64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "another_process", "--ignored", "--nocapture"])
        .env("SCHEMA_OF_ANOTHER_PROCESS", schema)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.filter_map(|line| line.unwrap().strip_prefix("written ")?.parse().ok()))
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
async fn a_process_that_is_killed_frees_its_account_and_loses_nothing_that_it_said_was_written() {
    let schema = scratch();
    for pages in [1, 7, 3] {
        let (mut child, mut written) = start(&schema);
        let mut acknowledged = written.nth(pages).unwrap();
        let store = open(&schema).await;
        let error = store.begin(&home(), at(9)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(&format!("process {}", child.id())), "{error}");
        // Killed by the system wherever it is, most likely in the middle of a write.
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = written.last().unwrap_or(acknowledged);

        drop(store.begin(&home(), at(10)).await.unwrap());
        let place: i64 = store.place(&home(), &all()).await.unwrap().unwrap().as_str().parse().unwrap();
        // At most one was written of which it could not speak any more.
        assert!(place == acknowledged || place == acknowledged + 1, "{place} {acknowledged}");
        let stored = store.sessions(&Filter::default(), None, u32::MAX).await.unwrap();
        assert_eq!(stored.len(), usize::try_from(place).unwrap() * BATCH);
    }
}
