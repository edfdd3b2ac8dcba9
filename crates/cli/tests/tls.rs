//! Servers that cannot prove who they are, and one that can, at each provider.

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::atomic::Ordering};

use charging_sessions_testkit::conformance::identifiers;
use serde_json::Value;

mod common;
#[path = "common/place.rs"]
mod place;
#[path = "common/tls.rs"]
mod tls;

use common::{program, run_beside};
use place::{SECRET, places};
use tls::{Authority, Flaw};

fn with(home: &Path, authority: &Authority, arguments: &[&str]) -> Command {
    let mut program = program(home);
    program.args(["--config", "config.toml"]).args(arguments).env("SECRET", SECRET);
    program.env("SSL_CERT_FILE", &authority.file).env_remove("SSL_CERT_DIR");
    program
}

async fn stored(home: &Path, authority: &Authority) -> BTreeSet<String> {
    let ran = run_beside(with(home, authority, &["sessions", "--format", "jsonl"])).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let records: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    identifiers(&records.into(), "/identity/key/source_id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_prove_who_it_is_is_told_nothing_at_every_provider() {
    for place in places().await {
        for (flaw, words) in [
            (Flaw::Expired, "the server's certificate has expired: check the clock of this machine"),
            (Flaw::NotYetValid, "the server's certificate is not valid yet: check the clock of this machine"),
            (Flaw::OtherName, "the server's certificate is for another name: check the address"),
            (
                Flaw::SelfSigned,
                "from nobody whom this machine trusts: if the server is yours, add who signed",
            ),
        ] {
            let name = format!("{}, {flaw:?}", place.provider);
            let home = tempfile::tempdir().unwrap();
            let authority = Authority::new(home.path());
            let (origin, connections) = authority.before(place.address, flaw).await;
            let text = "store = 'sessions.sqlite'\n".to_owned() + &place.account("home", &origin);
            fs::write(home.path().join("config.toml"), text).unwrap();
            let ran = run_beside(with(home.path(), &authority, &["sync"])).await;
            assert_eq!(ran.code, 1, "{name}: {}", ran.err);
            let said = ran.out.clone() + &ran.err;
            let told: Vec<_> = said.lines().filter(|line| line.contains("certificate")).collect();
            assert!(!told.is_empty() && told.iter().all(|line| line.contains(words)), "{name}: {said}");
            let tried = connections.load(Ordering::Relaxed);
            assert!((1..=2).contains(&tried), "{name}: {tried} connections");
            assert_eq!((place.requests)(), 0, "{name}: something was asked");
            assert_eq!(stored(home.path(), &authority).await, BTreeSet::new(), "{name}");
        }
    }
}

#[cfg(target_os = "linux")] // Elsewhere the certificates are those of the system alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_read_whose_private_authority_the_user_trusts() {
    for place in places().await {
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new(home.path());
        let (origin, _) = authority.before(place.address, Flaw::None).await;
        let text = "store = 'sessions.sqlite'\n".to_owned() + &place.account("home", &origin);
        fs::write(home.path().join("config.toml"), text).unwrap();
        let ran = run_beside(with(home.path(), &authority, &["sync"])).await;
        assert_eq!(ran.code, 0, "{}: {}", place.provider, ran.err);
        assert_eq!(stored(home.path(), &authority).await, place.records, "{}", place.provider);
    }
}
