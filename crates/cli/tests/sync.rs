//! A copy of an account, kept by the program: made, brought up to date, looked at, and what stands in the way.

mod common;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use charging_sessions::{
    ChargingSession, Endpoint, Energy, EnergyReading, IssueCode, MeasuringPoint, Provenance, ProviderId,
    RecordContext, RecordKind, RejectedRecord, SessionKey, SessionStatus, ev_energy, evcc,
};
use charging_sessions_store::{Account, Batch, SessionStore as _, Slice, SqliteStore};
use charging_sessions_testkit::{
    conformance::identifiers,
    sandbox::{
        Fault, Running,
        ev_energy::{EvEnergySandbox, Mutation},
        evcc::EvccSandbox,
        ocpi::{Module, OcpiSandbox},
    },
};
use common::{Ran, program, run, run_beside};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

async fn sandbox() -> Running<EvEnergySandbox> {
    EvEnergySandbox::builder()
        .seed(7)
        .now("2026-11-20T12:00:00Z".parse().unwrap())
        .days(60)
        .dirt(false)
        .rate_limit(1_000_000, Duration::from_secs(3600))
        .credentials("client", "s3cret-of-the-client")
        .build()
        .start()
        .await
        .unwrap()
}

/// A user's folder with a configuration of accounts at this address. Without a first day, the history is one listing.
fn home(accounts: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let mut text = "store = 'sessions.sqlite'\ntime_zone = 'Europe/London'\n".to_owned();
    for (name, address) in accounts {
        text += &format!(
            "[accounts.{name}]\nprovider = 'ev-energy'\nclient_id = 'client'\nclient_secret = {{ env = 'SECRET' }}\n\
             base_url = '{address}'\n"
        );
    }
    fs::write(home.path().join("config.toml"), text).unwrap();
    home
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut program = program(home);
    program.args(["--config", "config.toml"]).args(arguments).env("SECRET", "s3cret-of-the-client");
    program
}

async fn ran(home: &TempDir, arguments: &[&str]) -> Ran {
    run_beside(command(home.path(), arguments)).await
}

/// The report of a sync, which has to end well.
async fn synced(home: &TempDir, arguments: &[&str]) -> Value {
    let ran = ran(home, &[&["sync", "--json"], arguments].concat()).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

async fn stored(home: &TempDir) -> BTreeSet<String> {
    let ran = ran(home, &["sessions", "--format", "jsonl"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let records = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    identifiers(&records.into(), "/identity/key/source_id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_kept_and_looked_at() {
    let sandbox = sandbox().await;
    let home = home(&[("home", &sandbox.base_url())]);
    let first = synced(&home, &[]).await;
    let truth = identifiers(&sandbox.truth(), "/id");
    assert_eq!(first["new"], truth.len());
    assert_eq!(stored(&home).await, truth);

    // Nothing is new: nothing is written, and what is settled is not asked for.
    let again = synced(&home, &[]).await;
    assert_eq!((&again["new"], &again["changed"], &again["vanished"]), (&json!(0), &json!(0), &json!(0)));
    assert!(again["requests"].as_u64() < first["requests"].as_u64(), "{first} {again}");

    let records = sandbox.truth();
    let ended = |record: &&Value| record["end"].is_string();
    let mut late = records.as_array().unwrap().iter().filter(ended);
    let (corrected, removed) = (late.next().unwrap(), late.next().unwrap());
    let id = |record: &Value| record["id"].as_str().unwrap().to_owned();
    let fields = json!({"energy_delivered_watt_hours": 4321});
    assert!(sandbox.mutate(Mutation::Correct { id: id(corrected), fields }));
    assert!(sandbox.mutate(Mutation::Remove(id(removed))));
    let dry = synced(&home, &["--dry-run"]).await;
    let changed = synced(&home, &[]).await;
    for report in [&dry, &changed] {
        assert_eq!((&report["changed"], &report["vanished"]), (&json!(1), &json!(1)), "{report}");
    }
    assert_eq!(stored(&home).await, identifiers(&sandbox.truth(), "/id"));
    let vanished = ran(&home, &["sessions", "--vanished", "--format", "jsonl"]).await;
    assert!(vanished.out.contains(&id(removed)) && vanished.out.lines().count() == 1, "{}", vanished.out);

    let key = format!("ev-energy/home/segment/{}", id(corrected));
    let diff = ran(&home, &["diff", "--format", "json"]).await;
    assert_eq!(diff.code, 0, "{}", diff.err);
    let diff: Vec<Value> = diff.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |reason: &str| diff.iter().find(|change| change["reason"] == reason).unwrap();
    assert_eq!(diff.len(), 2, "{diff:?}");
    assert_eq!(told("changed")["key"]["source_id"], id(corrected));
    let energy =
        |change: &Value| change["place"] == "energy.readings.0.energy_wh" && change["after"] == "4321";
    assert!(told("changed")["changes"].as_array().unwrap().iter().any(energy), "{diff:?}");
    assert_eq!(told("vanished")["key"]["source_id"], id(removed));
    let diff = ran(&home, &["diff", "--since", "2026-01-01", "--no-new"]).await;
    assert_eq!(
        diff.out.lines().filter(|line| line.starts_with("changed ev-energy/home/segment/")).count(),
        1
    );
    let all = ran(&home, &["diff", "--since", "2026-01-01", "--format", "json"]).await;
    assert_eq!(all.out.lines().count(), truth.len() + 2, "{}", all.err);

    let shown = ran(&home, &["show", &key, "--revisions"]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.contains("energy.readings.0.energy_wh: "), "{}", shown.out);
    assert!(shown.out.contains("-> 4321"), "{}", shown.out);
    let raw = ran(&home, &["show", &key, "--raw"]).await;
    assert_eq!(serde_json::from_str::<Value>(&raw.out).unwrap()["id"], id(corrected));
    let handle = ran(&home, &["show", &key, "--json"]).await;
    let handle: Value = serde_json::from_str(&handle.out).unwrap();
    let by_handle = ran(&home, &["show", &handle["handle"].as_str().unwrap()[..13], "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&by_handle.out).unwrap(), handle);

    let sums = ran(&home, &["summary", "--by", "month,vehicle", "--format", "json"]).await;
    let sums: Vec<Value> = serde_json::from_str(&sums.out).unwrap();
    let counted: u64 = sums.iter().map(|sum| sum["sessions"].as_u64().unwrap()).sum();
    assert!(counted > 0 && sums.iter().all(|sum| sum["time_zone"] == "Europe/London"), "{sums:?}");

    let replayed = ran(&home, &["raw", "replay"]).await;
    assert_eq!(replayed.code, 0, "{}", replayed.err);
    assert!(replayed.out.starts_with("0 would change"), "{}", replayed.out);
    assert_eq!(ran(&home, &["check"]).await.code, 0);
}

/// What the payload does not say, a replay takes from the record before and from the configuration.
#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_of_a_server_without_a_currency_are_given_one_by_a_replay() {
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    for stated in [Some("SEK"), None] {
        let sandbox = EvccSandbox::builder().seed(7).now(now).currency(stated).build().start().await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let write = |more: &str| {
            let account =
                format!("[accounts.house]\nprovider = 'evcc'\nbase_url = '{}'\n", sandbox.base_url());
            let text =
                format!("store = 'sessions.sqlite'\n{account}site_time_zone = 'Europe/Berlin'\n{more}");
            fs::write(home.path().join("config.toml"), text).unwrap();
        };
        write("");
        synced(&home, &[]).await;
        assert_eq!(stored(&home).await, identifiers(&sandbox.truth(), "/id"));
        let replayed = ran(&home, &["raw", "replay"]).await;
        assert!(replayed.out.starts_with("0 would change"), "{}", replayed.out);
        let priced = async || {
            let ran = ran(&home, &["sessions", "--format", "jsonl"]).await;
            assert!(ran.out.lines().all(|line| line.contains("Europe/Berlin")), "{}", ran.out);
            ran.out.lines().filter(|line| line.contains("\"currency\":\"SEK\"")).count()
        };
        let prices = sandbox.truth().as_array().unwrap().iter().filter(|it| it["price"].is_number()).count();
        assert!(prices > 20);
        assert_eq!(priced().await, if stated.is_some() { prices } else { 0 });
        write("currency = 'SEK'\n");
        let replayed = ran(&home, &["raw", "replay", "--apply"]).await;
        assert_eq!(replayed.code, 0, "{}", replayed.err);
        let written = if stated.is_some() { 0 } else { prices };
        assert!(replayed.out.contains(&format!("{written} written")), "{}", replayed.out);
        assert_eq!(priced().await, prices);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_told_and_kept() {
    let sandbox = sandbox().await;
    let home = home(&[("home", &sandbox.base_url())]);
    sandbox.inject(Fault::replace_record(0, json!({"start": "2026-11-01T00:00:00Z"})));
    let ran_with = ran(&home, &["sync"]).await;
    assert_eq!(ran_with.code, 4, "{}", ran_with.err);
    let kept = ran(&home, &["quarantine", "--json"]).await;
    let kept: Value = serde_json::from_str(&kept.out).unwrap();
    assert_eq!((&kept["code"], &kept["account"]), (&json!("id.missing"), &json!("home")));
    let retried = ran(&home, &["quarantine", "retry"]).await;
    assert_eq!(retried.code, 4, "{}", retried.err);
    assert!(retried.out.starts_with("ev-energy/home: 0 read now, 1 stay in quarantine"), "{}", retried.out);
}

/// As an earlier release would have left it: records that this one can read, and one that was kept without its context.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_quarantine_are_tried_again() {
    let sandbox = sandbox().await;
    let home = home(&[("home", &sandbox.base_url())]);
    let account = Account { provider: ev_energy::PROVIDER, account: "home".parse().unwrap() };
    let at = |minute: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
    let origin = Provenance::new(Endpoint::new("GET /charging_sub_sessions", Some("2")), at(1), 0);
    let record = |energy: u32| {
        json!({"id": "early", "start": "2026-09-01T01:00:00Z", "energy_delivered_watt_hours": energy})
            .to_string()
    };
    {
        let store = SqliteStore::open(home.path().join("sessions.sqlite")).unwrap();
        let lease = store.begin(&account, at(1)).await.unwrap();
        let rejected = |bytes: String| {
            RejectedRecord::new(IssueCode::RECORD_UNREADABLE, "/0", "the record is no object", bytes)
        };
        let context = RecordContext::new(RecordKind::Segment, &origin);
        let mut from = None;
        // The same session in two states: the later one counts.
        for (minute, rejects) in [
            (2, vec![rejected(record(7000)).with_context(&context), rejected("{}".to_owned())]),
            (3, vec![rejected(record(9000)).with_context(&context)]),
        ] {
            let slice = Slice { window: None, asset: None, kinds: vec![RecordKind::Segment] };
            let mut batch = Batch::new(slice, from.take(), at(minute));
            batch.next = Some("more".into());
            from.clone_from(&batch.next);
            batch.rejected = rejects;
            store.commit(&*lease, batch).await.unwrap();
        }
    }
    let dry = ran(&home, &["quarantine", "retry", "--dry-run"]).await;
    assert!(dry.out.starts_with("ev-energy/home: 2 would be read now, 1 stay in quarantine"), "{}", dry.out);
    assert_eq!(stored(&home).await.len(), 0);
    let synced = ran(&home, &["sync"]).await;
    assert!(synced.err.contains("home: 2 records of the quarantine can be read now"), "{}", synced.err);
    let shown = ran(&home, &["show", "ev-energy/home/segment/early", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["session"]["energy"]["readings"][0]["energy_wh"], "9000", "{shown}");
    assert_eq!(ran(&home, &["quarantine", "--json"]).await.out.lines().count(), 1);
}

/// A party that lists what was charged and what was billed for it, some of it taken back and billed anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_billed_and_taken_back_counts_once() {
    let sandbox = OcpiSandbox::builder().seed(3).dirt(false).token("s3cret-of-the-client").build();
    let sandbox = sandbox.start().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let text = format!(
        "store = 'sessions.sqlite'\ntime_zone = 'Europe/London'\n\
         [accounts.party]\nprovider = 'ocpi'\nclient_secret = {{ env = 'SECRET' }}\nmodule = 'both'\n\
         ocpi_version = '2.2.1'\nbase_url = '{}'\n",
        sandbox.versions_url()
    );
    fs::write(home.path().join("config.toml"), text).unwrap();
    let synced = ran(&home, &["sync", "--json"]).await;
    assert_eq!((synced.code, synced.out.lines().count()), (0, 2), "{}{}", synced.out, synced.err);

    // By hand, from the records as they are: kWh, and money without tax.
    let (sessions, cdrs) = (sandbox.truth(Module::Sessions), sandbox.truth(Module::Cdrs));
    let (sessions, cdrs) = (sessions.as_array().unwrap(), cdrs.as_array().unwrap());
    let text = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let taken_back: BTreeSet<_> = cdrs.iter().map(|cdr| text(cdr, "credit_reference_id")).collect();
    let billed: BTreeSet<_> = cdrs.iter().map(|cdr| text(cdr, "session_id")).collect();
    let energy = |record: &Value, name: &str| (record[name].as_f64().unwrap() * 1e6).round() as i64;
    let bills = cdrs.iter().filter(|cdr| cdr["credit"] != true && !taken_back.contains(&text(cdr, "id")));
    let mut expected: i64 = bills.map(|cdr| energy(cdr, "total_energy")).sum();
    let ended = |session: &&Value| session["status"] == "COMPLETED";
    let unbilled = sessions.iter().filter(|session| !billed.contains(&text(session, "id"))).filter(ended);
    let unbilled: Vec<_> = unbilled.collect();
    expected += unbilled.iter().map(|session| energy(session, "kwh")).sum::<i64>();
    let cost = |record: &&Value| {
        (record["total_cost"]["excl_vat"].as_f64().unwrap_or_default() * 1e4).round() as i64
    };
    let expected_cost =
        cdrs.iter().map(|cdr| cost(&cdr)).sum::<i64>() + unbilled.iter().map(cost).sum::<i64>();
    assert!(taken_back.len() > 1 && billed.len() > 1, "the sandbox takes bills back");

    let sums = ran(&home, &["summary", "--by", "provider", "--format", "json"]).await;
    let sums: Vec<Value> = serde_json::from_str(&sums.out).unwrap();
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let sum: f64 = sums.iter().map(|sum| number(&sum["energy_wh"])).sum();
    assert_eq!((sum * 1e3).round() as i64, expected, "{sums:?}");
    let costs = sums.iter().flat_map(|sum| sum["cost"].as_object().unwrap().values());
    assert_eq!(costs.map(|cost| (number(cost) * 1e4).round() as i64).sum::<i64>(), expected_cost, "{sums:?}");
}

/// The same charge as the vehicle's provider and the charger at home tell it.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_two_providers_tell_of_is_linked_and_the_link_stays() {
    let home = home(&[]);
    let at = |minute: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
    let write = async |provider: ProviderId, kind: RecordKind, kwh: i64, minute: i64| {
        let store = SqliteStore::open(home.path().join("sessions.sqlite")).unwrap();
        let account = Account { provider, account: "home".parse().unwrap() };
        let key = SessionKey::new(provider, account.account.clone(), kind, "1");
        let origin = Provenance::new(Endpoint::new("GET /", None), at(minute), 1);
        let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
        session.timing.period.start = Some("2026-06-01T20:00:00Z".parse().unwrap());
        session.timing.period.end = Some("2026-06-01T23:00:00Z".parse().unwrap());
        let energy = Energy::from_kwh(kwh.into()).unwrap();
        session.energy.readings.push(EnergyReading::import(energy, MeasuringPoint::Unknown));
        let mut batch = Batch::new(Slice { window: None, asset: None, kinds: vec![kind] }, None, at(minute));
        batch.sessions.push(session);
        let lease = store.begin(&account, at(minute)).await.unwrap();
        store.commit(&*lease, batch).await.unwrap()
    };
    write(ev_energy::PROVIDER, RecordKind::Segment, 9, 1).await;
    write(evcc::PROVIDER, RecordKind::PlugIn, 10, 1).await;
    let seen = ran(&home, &["check", "--all"]).await;
    assert!(seen.out.contains("rel.same_charge"), "{}", seen.out);
    for new in [1, 0] {
        let linked = ran(&home, &["check", "--link"]).await;
        assert_eq!(linked.code, 0, "{}", linked.err);
        assert!(linked.err.contains(&format!("{new} links are new")), "{}", linked.err);
    }
    // The providers know nothing of it, and say the same again.
    for (provider, kind, kwh) in
        [(ev_energy::PROVIDER, RecordKind::Segment, 9), (evcc::PROVIDER, RecordKind::PlugIn, 10)]
    {
        assert_eq!(write(provider, kind, kwh, 2).await.unchanged, 1);
    }
    let records = ran(&home, &["sessions", "--format", "json"]).await;
    let records: Value = serde_json::from_str(&records.out).unwrap();
    let related = |record: &Value| record["identity"]["related"].as_array().cloned().unwrap_or_default();
    let related: Vec<_> = records.as_array().unwrap().iter().flat_map(related).collect();
    assert_eq!(related.len(), 1, "{records}");
    assert_eq!((&related[0]["kind"], &related[0]["confidence"]), (&json!("same_charge"), &json!("90")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_tells_what_has_been_read() {
    let sandbox = sandbox().await;
    let home = home(&[("home", &sandbox.base_url())]);
    let backfill = ran(&home, &["backfill", "--from", "2026-10-01", "--until", "2026-11-01"]).await;
    assert_eq!(backfill.code, 0, "{}", backfill.err);
    // Windows of 30 days, whose borders are the same in every run.
    let read = "ev-energy/home: has been read: 2026-09-04 01:00 BST to 2026-11-03 00:00 GMT";
    assert!(backfill.out.lines().any(|line| line == read), "{}", backfill.out);
    let some = stored(&home).await.len();
    let more = ran(&home, &["backfill", "home", "--from", "2026-08-01", "--json"]).await;
    assert_eq!(more.code, 0, "{}", more.err);
    let lines: Vec<Value> = more.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let parts = lines[1]["read"].as_array().unwrap();
    assert_eq!((lines.len(), parts.len()), (2, 1), "neighbours are one: {lines:?}");
    assert!(parts[0]["from"].as_str().unwrap() < "2026-08-01T00:00:00Z", "{parts:?}");
    let truth = identifiers(&sandbox.truth(), "/id");
    assert!(some > 0 && some < truth.len());
    assert_eq!(stored(&home).await, truth);
    let wrong = ran(&home, &["backfill", "--from", "2026-10-01", "--until", "2026-09-01"]).await;
    assert_eq!((wrong.code, wrong.err.trim()), (2, "error: --until must be after --from"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_that_fails_does_not_stop_the_others() {
    let sandbox = sandbox().await;
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("http://127.0.0.1:{port}/v2/");
    let home = home(&[("broken", &nobody), ("home", &sandbox.base_url())]);
    let both = ran(&home, &["sync"]).await;
    assert_eq!(both.code, 6, "{}", both.err);
    assert_eq!(stored(&home).await, identifiers(&sandbox.truth(), "/id"));
    let alone = ran(&home, &["sync", "broken"]).await;
    assert_eq!(alone.code, 5, "{}", alone.err);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_keeps_what_has_come_and_the_next_run_goes_on() {
    let sandbox = sandbox().await;
    let home = home(&[("home", &sandbox.base_url())]);
    // The first page comes, the second one takes its time.
    sandbox
        .inject(Fault::latency(Duration::from_secs(20)).on_path("charging_sub_sessions").after(1).times(9));
    let mut program = command(home.path(), &["sync"]);
    let child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    while !home.path().join("sessions.sqlite").exists() || stored(&home).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("the same command goes on where this one ended"), "{said}");
    let kept = stored(&home).await;
    let truth = identifiers(&sandbox.truth(), "/id");
    assert!(!kept.is_empty() && kept.len() < truth.len(), "{} of {}", kept.len(), truth.len());
    sandbox.clear_faults();
    synced(&home, &[]).await;
    assert_eq!(stored(&home).await, truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_do_not_write_to_one_account() {
    let sandbox = sandbox().await;
    let home = home(&[("home", &sandbox.base_url())]);
    sandbox.inject(Fault::latency(Duration::from_secs(3)).on_path("charging_sub_sessions"));
    let mut first = command(home.path(), &["sync"]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while sandbox.faults_waiting() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let second = ran(&home, &["sync"]).await;
    assert_eq!(second.code, 5, "{}", second.err);
    assert!(second.err.contains("is being written to by process"), "{}", second.err);
    let ended = tokio::task::spawn_blocking(move || first.wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    assert_eq!(stored(&home).await, identifiers(&sandbox.truth(), "/id"));
}

#[test]
fn a_store_that_cannot_be_used_is_one_sentence() {
    let home = home(&[("home", "http://127.0.0.1:9/v2/")]);
    let at = |name: &str| home.path().join(name).display().to_string();
    fs::write(
        home.path().join("text.sqlite"),
        "this is no database, but it is long enough to be one".repeat(99),
    )
    .unwrap();
    fs::create_dir(home.path().join("folder.sqlite")).unwrap();
    for (store, arguments, code, words) in [
        ("none.sqlite", &["sessions"][..], 2, "`charging-sessions sync` makes it"),
        ("text.sqlite", &["sessions"], 1, "text.sqlite"),
        ("text.sqlite", &["sync"], 1, "text.sqlite"),
        ("folder.sqlite", &["sync"], 1, "folder.sqlite"),
    ] {
        let store = at(store);
        let ran = run(&mut command(home.path(), &[&["--store", &store], arguments].concat()));
        assert_eq!(ran.code, code, "{store} {arguments:?}: {}", ran.err);
        assert!(ran.err.contains(words) && ran.err.starts_with("error: "), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.err.trim_end().lines().count(), 1, "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_store_is_told() {
    let sandbox = sandbox().await;
    let home = home(&[("home", &sandbox.base_url())]);
    synced(&home, &[]).await;
    for (arguments, code, words) in [
        (&["show", "ffffffffffff"][..], 1, "the store has no session ffffffffffff"),
        (&["show", "ev-energy/home/segment/nobody"], 1, "the store has no session"),
        (&["show", "a/b/c/d"], 1, "the store has no session"),
        (&["sessions", "--month", "october"], 2, "--month is neither"),
        (&["sessions", "--kind", "plugin"], 2, "not a word"),
        (&["sync", "nobody"], 2, "there is no account `nobody`"),
    ] {
        let ran = ran(&home, arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(words), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn the_demo_shows_a_correction_a_loss_and_a_late_arrival() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("demo.sqlite").display().to_string();
    let ran = run(program(home.path()).args(["--store", &store, "demo", "--days", "30"]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let second = ran.out.split("The second run:").nth(1).unwrap();
    let changed = second.lines().filter(|line| line.contains("1 new, 1 changed")).count();
    let vanished = second.lines().filter(|line| line.contains("1 vanished")).count();
    // OCPI knows no removal.
    assert_eq!((changed, vanished), (5, 4), "{}", ran.out);
    assert!(ran.out.contains('█'), "{}", ran.out);
}
