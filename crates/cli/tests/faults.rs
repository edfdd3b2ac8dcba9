//! What goes wrong at each provider, and what the program makes of it: one sentence, and a code that tells.

use std::{collections::BTreeSet, path::Path};

use charging_sessions_testkit::sandbox::Fault;
use serde_json::{Value, json};

mod common;
#[path = "common/place.rs"]
mod place;

use common::{Ran, run_beside};
use place::{Place, SECRET, places};

/// The identifiers of the sessions that were printed.
fn ids(ran: &Ran) -> BTreeSet<String> {
    let id = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["identity"]["key"]["source_id"].as_str().unwrap().to_owned()
    };
    ran.out.lines().map(id).collect()
}

/// Runs `fetch` against the sandbox while this fault waits there.
async fn fetch(place: &Place, fault: Option<Fault>, arguments: &[&str], secret: &str) -> Ran {
    if let Some(fault) = fault {
        (place.inject)(fault);
    }
    let mut program = common::program(Path::new(env!("CARGO_TARGET_TMPDIR")));
    program
        .args(["fetch", "--provider", place.provider, "--format", "jsonl"])
        .args(place.arguments())
        .args(arguments)
        .env("CHARGING_SESSIONS_CLIENT_SECRET", secret);
    run_beside(program).await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_are_got_over_at_every_provider() {
    for place in places().await {
        let on_listing = |fault: Fault| Some(fault.on_path(place.listing));
        for (name, fault) in [
            ("nothing", None),
            ("a burst of 503", on_listing(Fault::status(503).times(2))),
            ("a cut body", on_listing(Fault::cut_body(50))),
            ("a wait", on_listing(Fault::too_many_requests("retry-after", 1))),
            ("a token taken back", on_listing(Fault::revoke_tokens())),
            ("another content type", on_listing(Fault::content_type("text/plain"))),
            ("a page twice", on_listing(Fault::repeat_page().after(1))),
            ("an unknown field", on_listing(Fault::set_field(0, "new_in_2027", json!({"x": [1]})))),
            ("late", on_listing(Fault::latency(std::time::Duration::from_millis(300)))),
        ] {
            let ran = fetch(&place, fault, &[], SECRET).await;
            assert_eq!(ran.code, 0, "{}, {name}: {}", place.provider, ran.err);
            assert_eq!(ids(&ran), place.records, "{}, {name}", place.provider);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_is_told_at_every_provider() {
    for place in places().await {
        for (name, fault) in [
            ("no identifier", Fault::remove_field(0, "id")),
            ("null for an identifier", Fault::set_field(0, "id", Value::Null)),
            ("no record", Fault::replace_record(0, json!("gone"))),
        ] {
            let ran = fetch(&place, Some(fault.on_path(place.listing)), &[], SECRET).await;
            assert_eq!(ran.code, 4, "{}, {name}: {}", place.provider, ran.err);
            assert_eq!(ids(&ran).len(), place.records.len() - 1, "{}, {name}", place.provider);
            assert!(ran.err.contains("left out: record"), "{}, {name}: {}", place.provider, ran.err);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lasts_is_told_with_its_code_at_every_provider() {
    for place in places().await {
        let cases = [
            ("a wrong secret", None, "wr0ng-secret", 3, "refused"),
            ("a page for people", Some(Fault::html().times(100)), SECRET, 1, "found an HTML page"),
            (
                "a long wait",
                Some(Fault::too_many_requests("retry-after", 3600)),
                SECRET,
                5,
                "come back in 3600 s",
            ),
            ("a refusal", Some(Fault::status(403).times(100)), SECRET, 3, "HTTP 403"),
            ("gone", Some(Fault::status(404).times(100)), SECRET, 1, "HTTP 404"),
        ];
        for (name, fault, secret, code, words) in cases {
            // Each begins with a sandbox in which no fault of the one before waits.
            let fresh = places().await.into_iter().find(|fresh| fresh.provider == place.provider).unwrap();
            let ran = fetch(&fresh, fault, &[], secret).await;
            assert_eq!(ran.code, code, "{}, {name}: {}", place.provider, ran.err);
            assert!(ran.err.contains(words), "{}, {name}: {}", place.provider, ran.err);
            assert!(ran.err.starts_with(&format!("error: {}: ", place.provider)), "{}", ran.err);
        }
    }
}

/// Some providers are asked for vehicles before they are asked for sessions, and some for versions.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_could_not_begin_says_why_at_every_provider() {
    for place in places().await {
        let home = tempfile::tempdir().unwrap();
        let text = "store = 'sessions.sqlite'\n".to_owned() + &place.account("home", &place.origin());
        std::fs::write(home.path().join("config.toml"), text).unwrap();
        (place.inject)(Fault::status(418).times(100));
        let mut program = common::program(home.path());
        program.args(["--config", "config.toml", "sync"]).env("SECRET", SECRET);
        let ran = run_beside(program).await;
        assert_eq!(ran.code, 1, "{}: {}", place.provider, ran.err);
        assert!(
            ran.err.contains("the provider refused the request (HTTP 418)"),
            "{}: {}",
            place.provider,
            ran.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vehicle_that_does_not_exist_is_told() {
    for place in places().await {
        let nobody = "5f0c2b1e-6d0a-4c1e-9b0e-0d9b7a1cffff";
        let ran = fetch(&place, None, &["--vehicle", nobody], SECRET).await;
        match place.provider {
            // A filter that nothing meets is an empty listing there, if it is well formed.
            "ev-energy" => assert!(ran.code == 1 && ran.err.contains("vehicle_id"), "{}", ran.err),
            // Vehicles have names only there, or nobody tells of them.
            "evcc" | "ocpi" => {
                assert!(ran.code == 2 && ran.err.contains("cannot be asked for one vehicle"), "{}", ran.err);
            }
            _ => assert!(ran.code == 1 && ran.err.starts_with("error: "), "{}: {}", place.provider, ran.err),
        }
        assert_eq!(ran.out, "");
    }
}
