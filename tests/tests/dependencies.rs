//! What a crate must not depend on, read from `cargo tree`.

use std::{collections::BTreeSet, process::Command};

/// The names of the crates that `arguments` pull in at run time.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn assert_without(arguments: &[&str], unwanted: &[&str]) {
    let crates = tree(arguments);
    assert!(crates.len() > 3, "{arguments:?} gives only {crates:?}");
    for name in unwanted {
        assert!(!crates.contains(*name), "{arguments:?} pulls in {name}");
    }
}

const PROVIDERS: [&str; 5] = [
    "charging-sessions-der-connect",
    "charging-sessions-ev-energy",
    "charging-sessions-evcc",
    "charging-sessions-ocpi",
    "charging-sessions-podero",
];

#[test]
fn core_knows_no_runtime_and_no_http() {
    assert_without(
        &["-p", "charging-sessions-core"],
        &["tokio", "hyper", "reqwest", "http", "charging-sessions-http"],
    );
}

#[test]
fn reports_know_no_store_no_runtime_and_no_http() {
    assert_without(
        &["-p", "charging-sessions-report", "--all-features"],
        &["charging-sessions-store", "charging-sessions-http", "tokio", "http", "rusqlite"],
    );
    assert_without(&["-p", "charging-sessions-cli"], &["parquet", "chrono"]);
}

#[test]
fn who_keeps_sessions_in_a_file_gets_nothing_of_workers() {
    assert_without(
        &["-p", "charging-sessions-cli"],
        &["charging-sessions-fleet", "graphile_worker", "tokio-postgres", "sqlx"],
    );
    assert_without(
        &["-p", "charging-sessions-cli", "--features", "postgres"],
        &["graphile_worker", "chrono"],
    );
    assert_without(&["-p", "charging-sessions-fleet"], &["sqlx", "reqwest"]);
}

#[test]
fn the_facade_alone_brings_no_provider() {
    assert_without(&["-p", "charging-sessions"], &PROVIDERS);
}

#[test]
fn one_feature_brings_one_provider() {
    for wanted in PROVIDERS {
        let feature = wanted.strip_prefix("charging-sessions-").unwrap();
        let others: Vec<_> = PROVIDERS.into_iter().filter(|other| *other != wanted).collect();
        let arguments = ["-p", "charging-sessions", "--features", feature];
        assert!(tree(&arguments).contains(wanted), "{feature} does not bring {wanted}");
        assert_without(&arguments, &others);
    }
}

#[test]
fn the_http_stack_can_be_left_out() {
    assert_without(
        &["-p", "charging-sessions-ev-energy", "--no-default-features"],
        &["reqwest", "hyper", "rustls"],
    );
}

#[test]
fn an_adapter_brings_neither_facade_nor_test_servers() {
    for provider in PROVIDERS {
        assert_without(&["-p", provider], &["charging-sessions", "charging-sessions-testkit", "axum"]);
    }
}
