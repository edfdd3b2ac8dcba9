//! Where secrets must not be: in what the program prints and in what it writes, whatever a provider does with them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use charging_sessions_store::{Filter, SessionStore as _, SqliteStore};
use charging_sessions_testkit::sandbox::Fault;

mod common;
#[path = "common/place.rs"]
mod place;
#[path = "common/tls.rs"]
mod tls;

use common::{program, run_beside};
use place::{Place, places_with};
use tls::{Authority, Flaw};

/// With what has to be written in another way in a form, a header and an address.
const SECRET: &str = "s3cret/of+the=client";

/// A secret, and what it looks like when it is packed in a usual way.
fn looks(secret: &str) -> Vec<String> {
    let mut looks = vec![secret.to_owned()];
    let hex = |upper: bool, before: &str| -> String {
        let byte = |byte| if upper { format!("{before}{byte:02X}") } else { format!("{before}{byte:02x}") };
        secret.bytes().map(byte).collect()
    };
    looks.extend([hex(true, "%"), hex(false, "%"), hex(true, ""), hex(false, "")]);
    looks.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
    // In Base64 three bytes are four letters, so it depends on what stands before; the letters at its ends depend on its
    // neighbours.
    for before in 0..3 {
        let packed = BASE64_STANDARD.encode("x".repeat(before) + secret);
        let packed = packed.trim_end_matches('=');
        let own = packed[before.div_ceil(3) * 4..packed.len() - 1].to_owned();
        looks.extend([own.replace('+', "-").replace('/', "_"), own]);
    }
    // A rest that is too short to be told from chance is no evidence.
    looks.retain(|look| look.len() > 10);
    looks
}

/// Panics with where a secret is, not with the secret.
fn search(place: &Place, text: &str, wherein: &str) {
    for secret in [vec![SECRET.to_owned()], (place.tokens)()].concat() {
        for look in looks(&secret) {
            if let Some(at) = text.find(&look) {
                let around: String = text[..at].chars().rev().take(80).collect();
                let around: String = around.chars().rev().collect();
                panic!("{}: a secret is in {wherein}, behind: {around}", place.provider);
            }
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn with(home: &Path, config: &str, arguments: &[&str]) -> Command {
    let mut program = program(home);
    program.args(["--config", config]).args(arguments).env("SECRET", SECRET);
    program.env("CHARGING_SESSIONS_LOG", "trace");
    program
}

async fn ran(place: &Place, home: &Path, config: &str, arguments: &[&str], name: &str) -> i32 {
    let ran = run_beside(with(home, config, arguments)).await;
    let name = format!("{name}, {arguments:?}");
    search(place, &ran.out, &format!("standard output: {name}"));
    search(place, &ran.err, &format!("standard error: {name}"));
    ran.code
}

/// What can go wrong, with the credentials of the request in it where that is possible.
fn faults() -> Vec<(&'static str, Fault)> {
    let elsewhere = |place: &str| Fault::status(302).header("location", place);
    let mut faults = vec![(
        "a redirect",
        elsewhere("https://elsewhere.example/s3cret/of+the=client?s3cret/of+the=client"),
    )];
    for (name, status) in
        [("200", 200), ("400", 400), ("401", 401), ("403", 403), ("404", 404), ("429", 429), ("500", 500)]
    {
        faults.push((name, Fault::echo(status)));
        faults.push((name, Fault::echo(status).on_token()));
    }
    faults
}

async fn keeps_its_secrets(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let head = "store = 'sessions.sqlite'\ntime_zone = 'Europe/London'\n";
    fs::write(home.join("config.toml"), head.to_owned() + &place.account("home", &place.origin())).unwrap();
    let good = async |arguments: &[&str]| {
        let code = ran(&place, home, "config.toml", arguments, "nothing wrong").await;
        assert_eq!(code, 0, "{}: {arguments:?}", place.provider);
    };
    good(&["sync"]).await;
    // As long as somebody else has it open, the log of the store stays beside it.
    let open = rusqlite::Connection::open(home.join("sessions.sqlite")).unwrap();
    open.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())).unwrap();
    for arguments in [
        &["sync", "--full"][..],
        &["fetch", "home", "--format", "jsonl"],
        &["auth", "status", "--online"],
        &["doctor", "--online"],
        &["sessions", "--format", "jsonl"],
        &["export", "--output", "all.csv"],
        &["export", "--output", "all.jsonl"],
        &["report", "monthly", "--month", "2026-11", "--output", "month.html"],
        &["report", "monthly", "--month", "2026-11", "--output", "month.csv"],
    ] {
        good(arguments).await;
    }
    let mut failed = 0;
    for (name, fault) in faults() {
        (place.inject)(fault.times(40));
        for arguments in [&["sync", "--full"][..], &["auth", "status", "--online"]] {
            failed += usize::from(ran(&place, home, "config.toml", arguments, name).await != 0);
        }
        (place.calm)();
    }
    assert!(failed > 12, "{}: {failed} runs failed", place.provider);
    let authority = Authority::new(home);
    let (origin, _) = authority.before(place.address, Flaw::SelfSigned).await;
    fs::write(home.join("tls.toml"), head.to_owned() + &place.account("home", &origin)).unwrap();
    assert_ne!(ran(&place, home, "tls.toml", &["sync"], "a certificate of its own").await, 0);
    good(&["sync"]).await;

    let signs_in = !["evcc", "ocpi"].contains(&place.provider);
    assert_eq!(signs_in, !(place.tokens)().is_empty(), "{}: no token to look for", place.provider);
    let left = files(home);
    for name in ["sessions.sqlite", "sessions.sqlite-wal", "all.csv", "all.jsonl", "month.html", "month.csv"]
    {
        assert!(left.iter().any(|path| path.ends_with(name)), "{name} is not in {left:?}");
    }
    for path in left {
        search(&place, &String::from_utf8_lossy(&fs::read(&path).unwrap()), &path.display().to_string());
    }
    // The bytes of records are packed in the store.
    let store = SqliteStore::open(home.join("sessions.sqlite")).unwrap();
    let mut payloads = 0;
    for row in store.sessions(&Filter::default(), None, 100_000).await.unwrap() {
        let Some(payload) = store.payload(&row.payload.unwrap()).await.unwrap() else { continue };
        search(&place, &String::from_utf8_lossy(payload.as_bytes()), "a payload");
        payloads += 1;
    }
    assert_eq!(payloads, place.records.len());
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_provider_gets_a_secret_into_what_is_printed_or_written() {
    let places = places_with(SECRET).await;
    let tasks: Vec<_> = places.into_iter().map(|place| tokio::spawn(keeps_its_secrets(place))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// The search above would find what it is for.
#[test]
fn a_secret_is_found_however_it_is_packed() {
    let found = |text: &str| looks(SECRET).iter().any(|look| text.contains(look));
    assert!(found(&format!("a {SECRET}.")) && !found("s3cret"));
    for before in ["", "a", "ab", "client:", "client12:"] {
        assert!(found(&BASE64_STANDARD.encode(format!("{before}{SECRET}"))), "{before}");
        assert!(found(&BASE64_STANDARD.encode(format!("{before}{SECRET} and more"))), "{before}");
    }
    assert!(found("secret=s3cret%2Fof%2Bthe%3Dclient&x"));
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_what_init_writes() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = tempfile::tempdir().unwrap();
    let ran = common::run(program(home.path()).args(["init", "--provider", "podero", "--path", "c.toml"]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mode = fs::metadata(home.path().join("c.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
