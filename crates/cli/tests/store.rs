//! Where the program keeps sessions, if not in a file.

mod common;

use std::{fs, path::Path, process::Command};

use common::program;

fn command(home: &Path, config: &str, arguments: &[&str]) -> Command {
    fs::write(home.join("config.toml"), config).unwrap();
    let mut program = program(home);
    program.args(["--config", "config.toml"]).args(arguments).env("SECRET", "s3cret-of-the-client");
    program
}

#[test]
fn the_address_of_a_store_is_not_shown_by_the_help() {
    let home = tempfile::tempdir().unwrap();
    let mut help = command(home.path(), "", &["sessions", "--help"]);
    let ran = common::run(help.env("CHARGING_SESSIONS_STORE", "postgres://u:s3cret@db/d"));
    assert!(ran.out.contains("CHARGING_SESSIONS_STORE"), "{}", ran.out);
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_program_that_was_built_without_it_says_how_to_build_it() {
    let home = tempfile::tempdir().unwrap();
    let ran = common::run(&mut command(home.path(), "store = 'postgres://u@db/d'", &["sessions"]));
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("built without PostgreSQL: build it with `--features postgres`"), "{}", ran.err);
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::{env, time::Duration};

    use charging_sessions_testkit::{
        conformance::identifiers,
        sandbox::ev_energy::{EvEnergySandbox, Mutation},
    };
    use common::{Ran, run_beside};
    use serde_json::{Value, json};
    use tokio_postgres::NoTls;

    use super::*;

    async fn client(address: &url::Url) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(address.as_str(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs a PostgreSQL server; cargo xtask ci starts one"]
    async fn a_copy_is_kept_in_a_database_and_looked_at() {
        let variable = "CHARGING_SESSIONS_TEST_POSTGRES";
        let address = env::var(variable).unwrap_or_else(|_| panic!("{variable} names no server"));
        let mut address: url::Url = address.parse().unwrap();
        // The password stands in the configuration nowhere, and must not show.
        address.set_password(Some("s3cret-of-the-store")).unwrap();
        let name = format!("test_cli_{}", std::process::id());
        let admin = client(&env::var(variable).unwrap().parse().unwrap()).await;
        let make =
            format!("CREATE DATABASE {name}; CREATE ROLE {name} LOGIN PASSWORD 's3cret-of-the-store';");
        for sql in make.split_inclusive(';') {
            admin.batch_execute(sql).await.unwrap();
        }
        admin.batch_execute(&format!("ALTER DATABASE {name} OWNER TO {name}")).await.unwrap();
        address.set_username(&name).unwrap();
        address.set_path(&name);

        let sandbox = EvEnergySandbox::builder()
            .seed(7)
            .now("2026-11-20T12:00:00Z".parse().unwrap())
            .days(60)
            .dirt(false)
            .rate_limit(1_000_000, Duration::from_secs(3600))
            .credentials("client", "s3cret-of-the-client")
            .build()
            .start()
            .await
            .unwrap();
        let config = format!(
            "store_url = {{ env = 'SESSIONS_URL' }}\n[accounts.home]\nprovider = 'ev-energy'\nclient_id = 'client'\n\
             client_secret = {{ env = 'SECRET' }}\nbase_url = '{}'\n",
            sandbox.base_url()
        );
        let home = tempfile::tempdir().unwrap();
        let ran = async |arguments: &[&str]| -> Ran {
            let mut program = command(home.path(), &config, arguments);
            program.env("SESSIONS_URL", address.as_str());
            run_beside(program).await
        };
        let missing = ran(&["sessions"]).await;
        assert!(missing.code != 0 && missing.err.contains("sync into it first"), "{}", missing.err);

        let first = ran(&["sync", "--json"]).await;
        assert_eq!(first.code, 0, "{}", first.err);
        let truth = identifiers(&sandbox.truth(), "/id");
        let report: Value = serde_json::from_str(&first.out).unwrap();
        assert_eq!(report["new"], truth.len());
        let records = sandbox.truth();
        let corrected = records.as_array().unwrap().iter().find(|record| record["end"].is_string()).unwrap();
        let id = corrected["id"].as_str().unwrap().to_owned();
        let fields = json!({"energy_delivered_watt_hours": 4321});
        assert!(sandbox.mutate(Mutation::Correct { id: id.clone(), fields }));
        let second: Value = serde_json::from_str(&ran(&["sync", "--json"]).await.out).unwrap();
        assert_eq!((&second["new"], &second["changed"]), (&json!(0), &json!(1)), "{second}");

        let stored = ran(&["sessions", "--format", "jsonl"]).await;
        let stored: Vec<Value> = stored.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(identifiers(&stored.into(), "/identity/key/source_id"), truth);
        let diff = ran(&["diff", "--format", "json"]).await;
        assert!(diff.code == 0 && diff.out.contains(&id), "{} {}", diff.out, diff.err);
        for arguments in
            [&["quarantine"][..], &["check"], &["summary"], &["raw", "replay"], &["doctor", "--online"]]
        {
            let ran = ran(arguments).await;
            assert!(ran.code == 0, "{arguments:?}: {} {}", ran.out, ran.err);
        }
        address.set_password(Some("wr0ng")).unwrap();
        let mut program = command(home.path(), &config, &["sessions"]);
        program.env("SESSIONS_URL", address.as_str());
        let refused = run_beside(program).await;
        assert!(refused.err.contains("refuses the user or the password"), "{}", refused.err);
    }
}
