//! Reports in a real browser: what is drawn, what is fetched, what is printed. `cargo xtask ci` runs this with a browser.

mod common;

use std::{collections::HashSet, env, fs, path::Path, process::Command};

use charging_sessions::decimal_from_f64;
use charging_sessions_testkit::sandbox::ev_energy::{EvEnergySandbox, Mutation};
use common::{program, run, run_beside};
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// Would run, fetch and turn the line around, if it were more than a word.
const HOSTILE: &str = "=1+1</td></script><script>alert(1)</script><img src='http://127.0.0.1:9/x' onerror='alert(2)'>\u{202e}ab";

/// October 2026 in Berlin, in microseconds: 2026-09-30T22:00Z to 2026-10-31T23:00Z.
const OCTOBER: [i64; 2] = [1_790_805_600_000_000, 1_793_487_600_000_000];

/// What the store says by itself: the energy of October in kWh, its cost in GBP, and how many sessions that is.
fn truth(store: &Path) -> (Decimal, Decimal, u64) {
    let store = rusqlite::Connection::open(store).unwrap();
    let of_october = "FROM sessions WHERE missing_us IS NULL AND counts AND status <> 'active' AND start_us >= ?1 \
                      AND start_us < ?2";
    let one = |what: &str| {
        let sql = format!("SELECT {what} {of_october}");
        store.query_row(&sql, OCTOBER, |row| row.get::<_, i64>(0)).unwrap()
    };
    let energy = Decimal::new(one("sum(energy_mwh)"), 6);
    let mut costs = store
        .prepare(&format!("SELECT cost {of_october} AND cost IS NOT NULL AND currency = 'GBP'"))
        .unwrap();
    let costs = costs.query_map(OCTOBER, |row| row.get::<_, String>(0)).unwrap();
    let cost = costs.map(|cost| cost.unwrap().parse::<Decimal>().unwrap()).sum();
    (energy, cost, one("count(*)").try_into().unwrap())
}

/// What all places together are owed at 0.32 for each kWh.
fn claimed(store: &Path) -> Decimal {
    let store = rusqlite::Connection::open(store).unwrap();
    let sql = "SELECT sum(energy_mwh) FROM sessions WHERE missing_us IS NULL AND counts AND status <> 'active' \
               AND start_us >= ?1 AND start_us < ?2 AND energy_mwh IS NOT NULL GROUP BY location";
    let mut sums = store.prepare(sql).unwrap();
    let sums = sums.query_map(OCTOBER, |row| row.get::<_, i64>(0)).unwrap();
    let cents = sums.map(|sum| Decimal::new(sum.unwrap(), 6) * Decimal::from(32));
    let rounded = cents
        .map(|cents| cents.round_dp_with_strategy(0, rust_decimal::RoundingStrategy::MidpointAwayFromZero));
    rounded.sum::<Decimal>() / Decimal::ONE_HUNDRED
}

/// The carbon dioxide of October, as the provider says it in these lines of JSON.
fn kilograms(store: &Path, lines: &str) -> Decimal {
    let store = rusqlite::Connection::open(store).unwrap();
    let sql = "SELECT source_id FROM sessions WHERE missing_us IS NULL AND counts AND status <> 'active' \
               AND start_us >= ?1 AND start_us < ?2";
    let mut names = store.prepare(sql).unwrap();
    let names = names.query_map(OCTOBER, |row| row.get::<_, String>(0)).unwrap();
    let names: HashSet<String> = names.map(Result::unwrap).collect();
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_october =
        records.filter(|record| names.contains(record["identity"]["key"]["source_id"].as_str().unwrap()));
    let grams = |record: Value| record["emissions"]["total_grams"].as_str()?.parse::<Decimal>().ok();
    let sum: Decimal = of_october.filter_map(grams).sum();
    assert!(sum > Decimal::ZERO);
    (sum / Decimal::ONE_THOUSAND).round_dp(3)
}

/// What a browser sees of a page, and the text of the page as it is printed, page by page.
fn look(page: &Path, folder: &Path) -> (Value, Vec<String>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/browser/look.mjs");
    let output = Command::new("node").arg(script).arg(page).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text =
        Command::new("pdftotext").arg("-layout").arg(folder.join("page.pdf")).arg("-").output().unwrap();
    assert!(text.status.success(), "{}", String::from_utf8_lossy(&text.stderr));
    let text = String::from_utf8(text.stdout).unwrap();
    let pages = text.split_terminator('\u{c}').map(str::to_owned).collect();
    (serde_json::from_slice(&output.stdout).unwrap(), pages)
}

fn figure(text: &str) -> Decimal {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// What holds for every report.
fn is_sound(seen: &Value, printed: &[String]) {
    assert_eq!(seen["requests"], json!([seen["address"]]), "nothing but the page itself is asked for");
    assert_eq!(seen["said"], json!([]), "the console is silent, and nothing of a provider ran");
    assert_eq!((&seen["foreign"], &seen["language"]), (&json!(0), &json!("en")));
    for (name, view) in seen["views"].as_object().unwrap() {
        assert_eq!(view["clipped"], json!([]), "{name}");
        let at_least = |what: &str, least: f64| {
            let found = view[what].as_f64().unwrap_or(f64::INFINITY);
            assert!(found >= least, "{name}: {what} is {found}");
        };
        at_least("textContrast", 4.5);
        at_least("barContrast", 3.0);
        if name != "print" {
            assert_eq!(view["overflow"], 0, "{name}: the page is wider than the screen");
        }
    }
    assert_eq!(seen["paper"], "rgb(255, 255, 255)", "paper is white, also where screens are dark");
    assert!(!printed.is_empty());
    let words: Vec<&str> = seen["cells"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let shown = HOSTILE.replace('\u{202e}', "\\u{202e}");
    assert!(words.contains(&shown.as_str()), "the hostile name is not shown as it is");
}

/// The charts are drawn, and the tables behind them add up to what is said above them.
fn charts_are_drawn(seen: &Value, total: Decimal) {
    let boxes = |view: &str, what: &str| seen["views"][view][what].as_array().unwrap().clone();
    let size = |it: &Value, side: &str| it[side].as_f64().unwrap();
    for view in ["desktop", "dark", "phone", "print"] {
        let charts = boxes(view, "charts");
        assert_eq!(charts.len(), 1, "{view}");
        assert!(size(&charts[0], "width") > 300.0 && size(&charts[0], "height") > 80.0, "{view}: {charts:?}");
        let bars = boxes(view, "bars");
        assert_eq!(bars.len(), 31, "{view}: one for each day");
        let drawn = bars.iter().filter(|bar| size(bar, "width") > 2.0 && size(bar, "height") > 1.0);
        assert!(drawn.count() > 20, "{view}: {bars:?}");
    }
    let figures = seen["figures"][0].as_array().unwrap();
    let sum: Decimal = figures.iter().map(|row| figure(row[2].as_str().unwrap())).sum();
    assert_eq!((figures.len(), sum), (31, total));
    // The highest bar is the day with the most.
    let most = |values: Vec<Decimal>| values.iter().enumerate().max_by_key(|(_, value)| **value).unwrap().0;
    let heights =
        boxes("desktop", "bars").iter().map(|bar| decimal_from_f64(size(bar, "height")).unwrap()).collect();
    assert_eq!(most(heights), most(figures.iter().map(|row| figure(row[2].as_str().unwrap())).collect()));
    assert!(seen["titles"][0].as_str().unwrap().contains(" per day"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a browser: `cargo xtask ci` brings one"]
async fn reports_are_seen_as_they_are_meant() {
    for variable in ["PLAYWRIGHT", "CHROMIUM"] {
        assert!(env::var_os(variable).is_some(), "{variable} is not set: run `cargo xtask ci`");
    }
    let sandbox = EvEnergySandbox::builder()
        .seed(7)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .days(60)
        .credentials("client", "s3cret-of-the-client")
        .build()
        .start()
        .await
        .unwrap();
    let records = sandbox.truth();
    let in_october = |record: &&Value| {
        let day = |key: &str| record[key].as_str().is_some_and(|at| at.starts_with("2026-10-1"));
        day("start") && day("end")
    };
    let of_october = records.as_array().unwrap().iter().find(in_october).unwrap();
    let id = of_october["id"].as_str().unwrap().to_owned();
    assert!(sandbox.mutate(Mutation::Correct { id, fields: json!({"location": {"name": HOSTILE}}) }));

    let home = tempfile::tempdir().unwrap();
    let config = format!(
        "store = 'sessions.sqlite'\ntime_zone = 'Europe/Berlin'\n[accounts.home]\nprovider = 'ev-energy'\n\
         client_id = 'client'\nclient_secret = {{ env = 'SECRET' }}\nbase_url = '{}'\n",
        sandbox.base_url()
    );
    fs::write(home.path().join("config.toml"), config).unwrap();
    let command = |arguments: &[&str]| {
        let mut program = program(home.path());
        program.args(["--config", "config.toml"]).args(arguments).env("SECRET", "s3cret-of-the-client");
        program
    };
    let synced = run_beside(command(&["sync"])).await;
    assert_eq!(synced.code, 0, "{}", synced.err);

    let store = home.path().join("sessions.sqlite");
    let (energy, cost, sessions) = truth(&store);
    assert!(
        energy > Decimal::from(100) && cost > Decimal::ONE && sessions > 20,
        "{energy} {cost} {sessions}"
    );
    assert_eq!(run(&mut command(&["export", "-o", "all.jsonl"])).code, 0);
    let lines = fs::read_to_string(home.path().join("all.jsonl")).unwrap();
    // Pictures stay, for whoever wants to see.
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports");
    for (kind, arguments) in [
        ("monthly", &[][..]),
        ("reimbursement", &["--price-per-kwh", "0.32", "--currency", "EUR", "--by", "place"]),
        ("co2", &["--grams-per-kwh", "380", "--factor-name", "a test"]),
    ] {
        let file = format!("{kind}.html");
        let report = [&["report", kind, "--month", "2026-10", "-o", &file], arguments].concat();
        let ran = run(&mut command(&report));
        assert_eq!(ran.code, 0, "{}", ran.err);
        let folder = pictures.join(kind);
        fs::create_dir_all(&folder).unwrap();
        let (seen, printed) = look(&home.path().join(&file), &folder);
        is_sound(&seen, &printed);
        let text = |id: &str| seen["texts"][id].as_str().unwrap_or_else(|| panic!("{kind} has no {id}"));
        assert_eq!(figure(text("total-energy")), energy, "{kind}");
        assert!(printed[0].contains(text("total-energy")), "{kind}: {}", printed[0]);
        match kind {
            "monthly" => {
                charts_are_drawn(&seen, energy);
                assert_eq!(figure(text("total-cost")), cost);
                assert_eq!(figure(text("total-sessions")), Decimal::from(sessions));
                assert_eq!(seen["sessions"], sessions);
                assert!(printed[0].contains(&format!("{cost:.2} GBP")), "{}", printed[0]);
                // The head of the table is repeated where it goes on.
                let heads = printed.iter().filter(|page| page.contains("Lasted")).count();
                assert!(heads > 1, "{heads}");
            }
            "reimbursement" => {
                assert_eq!(figure(text("total-amount")), claimed(&store), "each place is rounded by itself");
                assert!(printed.iter().any(|page| page.contains("Who reimburses")), "lines to sign on");
            }
            _ => assert_eq!(figure(text("total-co2-1")), kilograms(&store, &lines), "as the provider says"),
        }
    }
}
