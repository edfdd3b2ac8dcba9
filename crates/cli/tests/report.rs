//! Reports and exports, as a user asks for them.

mod common;

use std::{fs, path::Path, process::Command};

use charging_sessions_testkit::sandbox::{
    Running,
    ev_energy::{EvEnergySandbox, Mutation},
};
use common::{Ran, program, run, run_beside};
use rust_decimal::Decimal;
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a configuration and a store of an account.
async fn home() -> (TempDir, Running<EvEnergySandbox>) {
    let sandbox = EvEnergySandbox::builder()
        .seed(7)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .days(60)
        .credentials("client", "s3cret-of-the-client")
        .build()
        .start()
        .await
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let config = format!(
        "store = 'sessions.sqlite'\ntime_zone = 'Europe/London'\n[accounts.home]\nprovider = 'ev-energy'\n\
         client_id = 'client'\nclient_secret = {{ env = 'SECRET' }}\nbase_url = '{}'\n",
        sandbox.base_url()
    );
    fs::write(home.path().join("config.toml"), config).unwrap();
    let ran = run_beside(command(home.path(), &["sync"])).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    (home, sandbox)
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut program = program(home);
    program.args(["--config", "config.toml"]).args(arguments).env("SECRET", "s3cret-of-the-client");
    program
}

fn ran(home: &TempDir, arguments: &[&str]) -> Ran {
    run(&mut command(home.path(), arguments))
}

fn done(home: &TempDir, arguments: &[&str]) -> Ran {
    let ran = ran(home, arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    ran
}

/// The sum of a column of CSV.
fn sum(text: &str, name: &str) -> Decimal {
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let column = rows.headers().unwrap().iter().position(|column| column == name).unwrap();
    let cells = rows.records().map(|row| row.unwrap()[column].to_owned());
    cells.filter(|cell| !cell.is_empty()).map(|cell| cell.parse::<Decimal>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_adds_up_to_what_the_summary_says() {
    let (home, _sandbox) = home().await;
    let summary = done(&home, &["summary", "--month", "2026-10", "--by", "month", "--format", "json"]);
    let summary: Vec<Value> = serde_json::from_str(&summary.out).unwrap();
    let energy: Decimal =
        summary.iter().map(|it| it["energy_wh"].as_str().unwrap().parse::<Decimal>().unwrap()).sum();
    assert!(energy > Decimal::ZERO);

    let rows = done(&home, &["report", "monthly", "--month", "2026-10", "-o", "-", "--type", "csv"]);
    assert_eq!(sum(&rows.out, "energy_kwh") * Decimal::ONE_THOUSAND, energy);
    assert_eq!(sum(&rows.out, "cost_amount").to_string(), {
        let cost: Decimal =
            summary.iter().map(|it| it["cost"]["GBP"].as_str().unwrap().parse::<Decimal>().unwrap()).sum();
        cost.to_string()
    });
    // The zone of the configuration, and another one.
    let elsewhere = done(
        &home,
        &["--tz", "Asia/Tokyo", "report", "monthly", "--month", "2026-10", "-o", "-", "--type", "csv"],
    );
    assert!(elsewhere.out.contains(",Asia/Tokyo,") && rows.out.contains(",Europe/London,"));

    let page = done(&home, &["report", "monthly", "--month", "2026-10", "-o", "-"]);
    assert!(page.out.starts_with("<!doctype html>") && page.err.is_empty(), "{}", page.err);
    let kwh = format!("{:.3} kWh", energy / Decimal::ONE_THOUSAND);
    assert!(page.out.contains(&kwh), "{kwh}");
    let nothing = done(&home, &["report", "monthly", "--month", "2026-10", "--vehicle", "nobody", "-o", "-"]);
    assert!(
        nothing.out.contains("0.000 kWh") && nothing.out.contains("Only <bdi id=\"filters\">vehicle nobody")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_vanished_is_left_out_and_can_be_added_up_by_itself() {
    let (home, sandbox) = home().await;
    let ended = |record: &&Value| {
        let day = |key: &str| record[key].as_str().is_some_and(|at| at.starts_with("2026-11-1"));
        day("start") && day("end") && record["energy_delivered_watt_hours"].as_i64() > Some(1000)
    };
    let truth = sandbox.truth();
    let record = truth.as_array().unwrap().iter().find(ended).unwrap();
    assert!(sandbox.mutate(Mutation::Remove(record["id"].as_str().unwrap().to_owned())));
    assert_eq!(run_beside(command(home.path(), &["sync"])).await.code, 0);
    let vanished = done(&home, &["summary", "--vanished", "--format", "json"]);
    let sums: Vec<Value> = serde_json::from_str(&vanished.out).unwrap();
    assert_eq!(sums[0]["energy_wh"], record["energy_delivered_watt_hours"].to_string());
    let rows = done(&home, &["report", "monthly", "--month", "2026-11", "-o", "-", "--type", "csv"]);
    let left_out: Vec<_> =
        rows.out.lines().filter(|line| line.contains("no longer listed by the provider")).collect();
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(left_out[0].contains(record["id"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_whole_and_nothing_is_written_over() {
    let (home, _sandbox) = home().await;
    for (arguments, file, start) in [
        (&["report", "monthly", "--month", "2026-10"][..], "a.html", &b"<!doctype html>"[..]),
        (&["report", "monthly", "--month", "2026"], "a.xlsx", b"PK"),
        (&["report", "co2", "--month", "2026-10"], "b.CSV", b"number,start,end"),
        (
            &[
                "report",
                "reimbursement",
                "--month",
                "2026-10",
                "--price-per-kwh",
                "0.32",
                "--currency",
                "EUR",
            ],
            "c.html",
            b"<!doctype html>",
        ),
        (&["export"], "d.csv", b"session_id,provider"),
        (&["export", "--csv-dialect", "excel-de"], "e.csv", b"\xef\xbb\xbfsession_id;provider"),
        (&["export", "--month", "2026-10"], "f.xlsx", b"PK"),
        (&["export", "--type", "jsonl"], "g", b"{\"identity\""),
    ] {
        let arguments = [arguments, &["-o", file]].concat();
        let wrote = done(&home, &arguments);
        assert!(wrote.err.starts_with(&format!("Wrote {file}: ")), "{}", wrote.err);
        let path = home.path().join(file);
        assert!(fs::read(&path).unwrap().starts_with(start), "{file}");
        fs::write(&path, "mine").unwrap();
        let again = ran(&home, &arguments);
        assert_eq!(again.code, 2, "{file}");
        assert!(again.err.contains("is there already and stays as it is"), "{}", again.err);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        done(&home, &[&arguments[..], &["--force"]].concat());
        assert!(fs::read(&path).unwrap().starts_with(start), "{file}");
    }
    let names = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        names.filter(|name| name.to_string_lossy().starts_with(".charging-sessions-")).collect();
    assert!(left.is_empty(), "{left:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |name: &str| fs::metadata(home.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("a.html"), mode("config.toml"), "as any other file of the user");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_the_records_as_they_are() {
    let (home, _sandbox) = home().await;
    let keys = |text: &str| {
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut keys: Vec<_> = records
            .map(|mut record| {
                record.as_object_mut().unwrap().remove("stored");
                record.to_string()
            })
            .collect();
        keys.sort();
        keys
    };
    let lines = done(&home, &["export", "-o", "-", "--type", "jsonl"]);
    let sessions = done(&home, &["sessions", "--format", "jsonl"]);
    assert_eq!(keys(&lines.out), keys(&sessions.out));
    let rows = done(&home, &["export", "-o", "-", "--type", "csv"]);
    assert_eq!(rows.out.lines().count(), lines.out.lines().count() + 1);
}

#[cfg(feature = "parquet")]
#[tokio::test(flavor = "multi_thread")]
async fn an_export_can_be_parquet() {
    let (home, _sandbox) = home().await;
    done(&home, &["export", "-o", "a.parquet"]);
    let bytes = fs::read(home.path().join("a.parquet")).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
}

#[cfg(not(feature = "parquet"))]
#[tokio::test(flavor = "multi_thread")]
async fn without_parquet_a_sentence_says_so_and_no_file_is_made() {
    let (home, _sandbox) = home().await;
    let refused = ran(&home, &["export", "-o", "a.parquet"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("built without Parquet"), "{}", refused.err);
    assert!(!home.path().join("a.parquet").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_price_may_come_from_the_configuration() {
    let (home, _sandbox) = home().await;
    let report = ["report", "reimbursement", "--month", "2026-10", "-o", "-"];
    let without = ran(&home, &report);
    assert_eq!(without.code, 2);
    assert!(without.err.contains("Add --price-per-kwh 0.32 --currency EUR"), "{}", without.err);
    let file = home.path().join("config.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{config}[reimbursement]\nprice_per_kwh = \"0.34\"\ncurrency = \"EUR\"\n"))
        .unwrap();
    let with = done(&home, &report);
    assert!(with.out.contains("0.34 EUR per kWh"));
    let given = done(&home, &[&report[..], &["--price-per-kwh", "0.4", "--currency", "CHF"]].concat());
    assert!(given.out.contains("0.4 CHF per kWh") && !given.out.contains("0.34"));
    for (table, words) in [
        ("price_per_kwh = 0.34\ncurrency = \"EUR\"", "`price_per_kwh` must be text in quotes, not a number"),
        ("price_per_kwh = \"free\"\ncurrency = \"EUR\"", "not a number such as 0.32"),
        ("price_per_kwh = \"1\"\ncurrency = \"EURO\"", "not an ISO 4217 code"),
        ("price_per_kwh = \"1\"", "`currency` is missing"),
    ] {
        fs::write(&file, format!("{config}[reimbursement]\n{table}\n")).unwrap();
        let wrong = ran(&home, &report);
        assert_eq!(wrong.code, 2, "{table}");
        assert!(wrong.err.contains(words) && wrong.err.contains("config.toml:"), "{}", wrong.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_one_sentence_and_make_no_file() {
    let (home, _sandbox) = home().await;
    fs::create_dir(home.path().join("folder.html")).unwrap();
    let monthly = ["report", "monthly", "--month"];
    for (arguments, words) in [
        ([&monthly[..], &["october", "-o", "a.html"]].concat(), "--month is neither a month such as 2026-10"),
        ([&monthly[..], &["2026-10", "-o", "a.pdf"]].concat(), "end it with .html, .csv or .xlsx"),
        ([&monthly[..], &["2026-10", "-o", "no/where/a.html"]].concat(), "no file can be made in the folder"),
        ([&monthly[..], &["2026-10", "--force", "-o", "folder.html"]].concat(), "is a folder: name a file"),
        (vec!["export", "-o", "a"], "end it with .csv, .xlsx, .jsonl or .parquet"),
        (vec!["--store", "none.sqlite", "export", "-o", "a.csv"], "`charging-sessions sync` makes it"),
    ] {
        let ran = ran(&home, &arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(
            ran.err.contains(words) && ran.err.trim_end().lines().count() == 1,
            "{arguments:?}: {}",
            ran.err
        );
    }
    for name in ["a.html", "a.pdf", "a", "a.csv"] {
        assert!(!home.path().join(name).exists(), "{name}");
    }
}

#[test]
fn the_demo_writes_a_report() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(program(home.path()).args(["demo", "--days", "40", "--keep", "kept"]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let names: Vec<_> =
        fs::read_dir(home.path().join("kept")).unwrap().map(|it| it.unwrap().path()).collect();
    let page = names.iter().find(|path| path.extension().is_some_and(|it| it == "html")).expect("a page");
    assert!(ran.out.contains(page.file_name().unwrap().to_str().unwrap()), "{}", ran.out);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("podero/default") && page.contains("</html>"));
}
