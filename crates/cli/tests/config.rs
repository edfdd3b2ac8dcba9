//! The configuration and the commands around it, as a user meets them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use charging_sessions_testkit::sandbox::{Running, ev_energy::EvEnergySandbox};
use serde_json::{Value, json};

mod common;

use common::{Ran, program, run, run_beside};

const SECRET: &str = "s3cret-of-the-client";

/// A sandbox whose clock is the machine's, so that the last day has something in it.
async fn sandbox() -> Running<EvEnergySandbox> {
    EvEnergySandbox::builder()
        .seed(7)
        .sessions(40)
        .credentials("client", SECRET)
        .build()
        .start()
        .await
        .unwrap()
}

fn account(name: &str, base_url: &str, variable: &str) -> String {
    format!(
        "[accounts.{name}]\nprovider = 'ev-energy'\nclient_id = 'client'\nbase_url = '{base_url}'\n\
         client_secret = {{ env = '{variable}' }}\n"
    )
}

fn with(home: &Path, arguments: &[&str]) -> Command {
    let mut program = program(home);
    program.args(arguments).env("SECRET", SECRET).env("WRONG", "wr0ng");
    let file = home.join("config.toml");
    if file.exists() {
        program.env("CHARGING_SESSIONS_CONFIG", file);
    }
    program
}

fn parsed(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {} {}", ran.out, ran.err))
}

#[tokio::test(flavor = "multi_thread")]
async fn from_init_to_sessions() {
    let (home, sandbox) = (tempfile::tempdir().unwrap(), sandbox().await);
    let init = || run(&mut with(home.path(), &["init", "--provider", "ev-energy", "--client-id", "client"]));
    let first = init();
    let file = home.path().join(if cfg!(target_os = "macos") {
        "Library/Application Support/charging-sessions/config.toml"
    } else {
        "charging-sessions/config.toml"
    });
    assert_eq!((first.code, first.out.as_str()), (0, ""), "{}", first.err);
    assert!(first.err.starts_with(&format!("Wrote {}.\n", file.display())), "{}", first.err);

    let text = fs::read_to_string(&file).unwrap();
    let again = init();
    assert_eq!(again.code, 2);
    assert!(again.err.contains("is there already and stays as it is"), "{}", again.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    // As it is, only the secret is missing.
    let ran = run(&mut with(home.path(), &["fetch", "home"]));
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("set the environment variable EV_ENERGY_CLIENT_SECRET"), "{}", ran.err);

    let address = format!("base_url = \"{}\"", sandbox.base_url());
    fs::write(&file, text.replace("#base_url = \"https://api.example.com/\"", &address)).unwrap();
    let mut fetch = with(home.path(), &["fetch", "home", "--format", "jsonl"]);
    fetch.env("EV_ENERGY_CLIENT_SECRET", SECRET);
    let ran = run_beside(fetch).await;
    assert_eq!((ran.code, ran.out.lines().count()), (0, 40), "{}", ran.err);
    assert!(ran.out.lines().all(|line| line.contains("\"account\":\"home\"")));

    // Options come before those of the file, and `since` bounds what is read if nothing else does.
    let mut fetch =
        with(home.path(), &["fetch", "home", "--format", "jsonl", "--base-url", "http://127.0.0.1:1/"]);
    fetch.env("EV_ENERGY_CLIENT_SECRET", SECRET);
    assert_eq!(run_beside(fetch).await.code, 5);
    let text = fs::read_to_string(&file).unwrap().replace("#since = 2024-01-01", "since = 2999-01-01");
    fs::write(&file, text.replace("2999", "2026")).unwrap();
    let mut fetch = with(home.path(), &["fetch", "home", "--format", "jsonl"]);
    fetch.env("EV_ENERGY_CLIENT_SECRET", SECRET);
    assert_eq!(run_beside(fetch).await.code, 0);
    let asked =
        sandbox.requests().into_iter().rev().find(|it| it.path.contains("charging_sub_sessions")).unwrap();
    assert!(format!("{asked:?}").contains("start__gt"), "{asked:?}");
}

#[test]
fn init_prints_and_names_what_it_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    for provider in ["der-connect", "ev-energy", "evcc", "ocpi", "podero"] {
        let arguments =
            ["init", "--provider", provider, "--client-id", "c", "--account", "a.b", "--path", "-"];
        let ran = run(&mut with(home.path(), &arguments));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.err);
        assert!(ran.out.contains("[accounts.\"a.b\"]"), "{}", ran.out);
        let file = home.path().join(format!("{provider}.toml"));
        fs::write(&file, ran.out.replace("organisation = \"\"", "organisation = \"o\"")).unwrap();
        let ran = run(&mut with(home.path(), &["auth", "status", "--config", file.to_str().unwrap()]));
        assert!(ran.code == 2 && ran.out.contains("_CLIENT_SECRET"), "{}{}", ran.out, ran.err);
    }
    // A server at home needs nothing to be filled in.
    let ran = run(&mut with(home.path(), &["init", "--provider", "evcc", "--path", "evcc/c.toml"]));
    assert!(ran.code == 0 && !ran.err.contains("SECRET"), "{}", ran.err);
    let ran = run(&mut with(home.path(), &["auth", "status", "--config", "evcc/c.toml"]));
    assert!(ran.code == 0 && ran.out.contains("it needs no secret"), "{}{}", ran.out, ran.err);
    // What has to be filled in says so, with its line.
    assert_eq!(
        run(&mut with(home.path(), &["init", "--provider", "podero", "--path", "new/c.toml"])).code,
        0
    );
    let ran = run(&mut with(home.path(), &["auth", "status", "--config", "new/c.toml"]));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_eq!(ran.err, "error: new/c.toml:21: `client_id` is empty: write it here\n");
}

#[test]
fn flag_then_environment_then_project_then_user() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str| -> PathBuf {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("store = '{}.db'\n", path.file_stem().unwrap().display())).unwrap();
        path
    };
    let stored = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut program = with(home.path(), &["doctor", "--format", "json"]);
        let ran = run(program.args(arguments).envs(variables.iter().copied()));
        let findings = parsed(&ran);
        let store = findings.as_array().unwrap().iter().find(|it| it["subject"] == "store").unwrap();
        let (path, _) = store["found"].as_str().unwrap().split_once(", ").unwrap();
        Path::new(path).file_name().unwrap().to_str().unwrap().to_owned()
    };

    assert_eq!(stored(&[], &[]), "sessions.sqlite");
    if !cfg!(target_os = "macos") {
        write("charging-sessions/config.toml");
        assert_eq!(stored(&[], &[]), "config.db");
    }
    write("charging-sessions.toml");
    assert_eq!(stored(&[], &[]), "charging-sessions.db");
    write("variable.toml");
    let variable = [("CHARGING_SESSIONS_CONFIG", "variable.toml")];
    assert_eq!(stored(&[], &variable), "variable.db");
    write("flag.toml");
    assert_eq!(stored(&["--config", "flag.toml"], &variable), "flag.db");
    let store = [("CHARGING_SESSIONS_STORE", "variable"), ("CHARGING_SESSIONS_CONFIG", "variable.toml")];
    assert_eq!(stored(&[], &store), "variable");
    assert_eq!(stored(&["--store", "flag"], &store), "flag");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_tried() {
    let (home, sandbox) = (tempfile::tempdir().unwrap(), sandbox().await);
    let url = sandbox.base_url();
    let text =
        account("good", &url, "SECRET") + &account("wrong", &url, "WRONG") + &account("unset", &url, "UNSET");
    fs::write(home.path().join("config.toml"), text).unwrap();
    let status = |arguments: &'static [&'static str]| {
        let mut program = with(home.path(), &["auth", "status", "--format", "json"]);
        program.args(arguments);
        run_beside(program)
    };

    let offline = status(&["good", "wrong"]).await;
    assert_eq!(offline.code, 0, "{}", offline.err);
    assert_eq!(
        parsed(&offline)[0],
        json!({
            "account": "good", "provider": "ev-energy", "ok": true, "requests": 0, "problem": null
        })
    );
    assert_eq!(sandbox.requests().len(), 0);
    assert_eq!(status(&["unset"]).await.code, 2);
    assert_eq!(status(&[]).await.code, 6);

    let online = status(&["good", "--online"]).await;
    assert_eq!((online.code, &parsed(&online)[0]["requests"]), (0, &json!(2)), "{}", online.out);
    assert_eq!(sandbox.requests().len(), 2);
    let wrong = status(&["wrong", "--online"]).await;
    assert_eq!(wrong.code, 3);
    assert!(parsed(&wrong)[0]["problem"].as_str().unwrap().starts_with("ev-energy: "), "{}", wrong.out);
    assert_eq!(status(&["good", "wrong", "--online"]).await.code, 6);
    let nobody = status(&["nobody"]).await;
    assert_eq!((nobody.code, nobody.out.as_str()), (2, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_is_wrong() {
    let (home, sandbox) = (tempfile::tempdir().unwrap(), sandbox().await);
    let found = |ran: &Ran| -> Vec<(String, bool, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let findings = parsed(ran);
        let findings = findings.as_array().unwrap().iter();
        findings.map(|it| (text(&it["subject"]), it["ok"].as_bool().unwrap(), text(&it["found"]))).collect()
    };
    let doctor = |arguments: &'static [&'static str]| {
        let mut program = with(home.path(), &["doctor", "--format", "json", "--tz", "Europe/London"]);
        program.args(arguments);
        run_beside(program)
    };

    let none = doctor(&[]).await;
    assert_eq!(none.code, 1);
    let problems: Vec<_> = found(&none).into_iter().filter(|(_, ok, _)| !ok).collect();
    assert!(problems.len() == 1 && problems[0].2.contains("charging-sessions init"), "{problems:?}");

    let file = home.path().join("config.toml");
    fs::write(&file, "store = 'kept/here.db'\n".to_owned() + &account("home", &sandbox.base_url(), "SECRET"))
        .unwrap();
    let well = doctor(&["--online"]).await;
    assert_eq!(well.code, 0, "{}", well.out);
    let subjects: Vec<_> = found(&well).into_iter().map(|(subject, ..)| subject).collect();
    assert_eq!(subjects, ["program", "configuration", "store", "time zone", "account home", "clock of home"]);
    assert!(!home.path().join("kept").exists(), "the doctor leaves nothing behind");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    let table = run_beside(with(home.path(), &["doctor", "--tz", "Europe/London"])).await;
    assert!(table.code == 0 && table.out.contains("the secret can be read"), "{}", table.out);

    fs::write(&file, "stor = 'x'").unwrap();
    let broken = doctor(&[]).await;
    assert_eq!(broken.code, 1);
    assert!(
        found(&broken).iter().any(|(_, ok, text)| !ok && text.ends_with("did you mean `store`?")),
        "{}",
        broken.out
    );
    fs::write(home.path().join("a-file"), "").unwrap();
    fs::write(&file, "store = 'a-file/store.db'").unwrap();
    assert!(doctor(&[]).await.out.contains("cannot be written ("));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_shows_however_much_is_logged() {
    let (home, sandbox) = (tempfile::tempdir().unwrap(), sandbox().await);
    let url = sandbox.base_url();
    fs::write(
        home.path().join("config.toml"),
        account("home", &url, "SECRET") + &account("wrong", &url, "WRONG"),
    )
    .unwrap();
    for (arguments, code) in [
        (&["fetch", "home"][..], 0),
        (&["fetch", "wrong"], 3),
        (&["auth", "status", "--online"], 6),
        (&["doctor", "--online"], 1),
    ] {
        // `common::run` looks for secrets in all that is printed.
        let mut program = with(home.path(), arguments);
        program.env("CHARGING_SESSIONS_LOG", "trace");
        let ran = run_beside(program).await;
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("TRACE") || ran.err.contains("DEBUG"), "nothing was logged");
    }
    for line in ["client_secret = 's3cret'", "client_secret = s3cret", "client_secret = { env = 's3cret/x' }"]
    {
        fs::write(
            home.path().join("c.toml"),
            format!("[accounts.a]\nprovider = 'podero'\nclient_id = 'c'\n{line}\n"),
        )
        .unwrap();
        let ran = run(&mut with(home.path(), &["auth", "status", "--config", "c.toml"]));
        assert_eq!(ran.code, 2);
        assert!(ran.err.starts_with("error: c.toml:4: ") && ran.err.lines().count() == 1, "{}", ran.err);
    }
}

#[test]
fn a_file_of_the_working_directory_runs_nothing() {
    let home = tempfile::tempdir().unwrap();
    let secret = "client_secret = { command = 'touch ran; echo x' }";
    let text = format!("[accounts.home]\nprovider = 'ev-energy'\nclient_id = 'client'\n{secret}\n");
    fs::write(home.path().join("charging-sessions.toml"), text).unwrap();
    assert_eq!(run(&mut with(home.path(), &["auth", "status"])).code, 2);
    assert!(!home.path().join("ran").exists());
    let trusted = &["auth", "status", "--config", "charging-sessions.toml"];
    assert_eq!(run(&mut with(home.path(), trusted)).code, 0);
    assert!(home.path().join("ran").exists());
}

#[test]
fn providers_are_told() {
    let home = tempfile::tempdir().unwrap();
    let list = run(&mut with(home.path(), &["provider", "list", "--format", "json"]));
    assert_eq!(list.code, 0);
    let names: Vec<_> = parsed(&list).as_array().unwrap().iter().map(|it| it["provider"].clone()).collect();
    assert_eq!(names, ["der-connect", "ev-energy", "evcc", "ocpi", "podero"]);
    let show = parsed(&run(&mut with(home.path(), &["provider", "show", "ev-energy", "--format", "json"])));
    assert_eq!(show, parsed(&list)[1]);
    assert_eq!(show["quota"], json!({"requests": 1000, "per_seconds": 3600}));
    assert_eq!((&show["max_page_size"], &show["look_back_hours"]), (&json!(100), &json!(168)));
    for arguments in [&["provider", "list"][..], &["provider", "show", "podero"]] {
        let ran = run(&mut with(home.path(), arguments));
        assert!(ran.code == 0 && ran.out.contains("Podero"), "{}", ran.out);
    }
    assert_eq!(run(&mut with(home.path(), &["provider", "show", "octopus"])).code, 2);
}

#[test]
fn the_program_tells_about_itself() {
    let home = tempfile::tempdir().unwrap();
    let schema = run(&mut with(home.path(), &["schema"]));
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/charging-session.schema.json");
    assert_eq!(
        parsed(&schema),
        serde_json::from_str::<Value>(&fs::read_to_string(published).unwrap()).unwrap()
    );
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(&mut with(home.path(), &["completion", shell]));
        assert!(ran.code == 0 && ran.out.contains("charging-sessions"), "{shell}");
    }
    for (arguments, words) in
        [(&["man"][..], ".TH charging-sessions"), (&["man", "fetch"], "charging\\-sessions\\-fetch")]
    {
        let ran = run(&mut with(home.path(), arguments));
        assert!(ran.code == 0 && ran.out.contains(words), "{}", ran.out);
    }
    assert_eq!(run(&mut with(home.path(), &["man", "nothing"])).code, 2);
}
