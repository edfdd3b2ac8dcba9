//! Whole syncs, from the provider's socket to the file of the store, against servers that misbehave.
//!
//! Each thing that can go wrong happens to each provider: once, and for as long as anybody asks. A sync then ends whole,
//! or with one error and the place to go on from; once the server behaves again, the next sync ends with the truth. The
//! outcomes stand in `docs/faults.md`, which is held against them.

#[path = "hostile/cases.rs"]
mod cases;
mod common;
#[path = "hostile/subject.rs"]
mod subject;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures_util::{FutureExt as _, StreamExt as _, stream};

use cases::{Act, Case, Lasts};
use charging_sessions_http::Limits;
use charging_sessions_testkit::hostile::{Trick, gzip_bomb, peak_memory};
use subject::{Outcome, Subject};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/faults.md");
const TABLE: &str = "| what happens | once | for as long as it is asked |\n|---|---|---|\n";
const BROKEN: &str = "BROKEN";
/// How many cases of one provider run at the same time. Most of them wait.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn every_sync_ends_whole_or_with_one_error_and_a_place_to_go_on_from() {
    let providers = subject::PROVIDERS.map(|provider| tokio::spawn(all_cases(provider)));
    let mut outcomes: BTreeMap<(&str, Lasts), Vec<Outcome>> = BTreeMap::new();
    for provider in providers {
        for (name, lasts, outcome) in provider.await.unwrap() {
            outcomes.entry((name, lasts)).or_default().push(outcome);
        }
    }
    let mut table = TABLE.to_owned();
    for case in cases::all() {
        let cell = |lasts| together(outcomes.get(&(case.name, lasts)).map_or(&[][..], Vec::as_slice));
        writeln!(table, "| {} | {} | {} |", case.name, cell(Lasts::Once), cell(Lasts::ForEver)).unwrap();
    }
    println!("{table}");
    assert!(!table.contains(BROKEN), "the promise was broken, see above");
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let begin = text.find(TABLE).expect("docs/faults.md has the table");
    let end = text[begin..].find("\n\n").map_or(text.len(), |end| begin + end + 1);
    let current = text[..begin].to_owned() + &table + &text[end..];
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(DOCUMENT, &current).unwrap();
    }
    assert!(
        fs::read_to_string(DOCUMENT).unwrap() == current,
        "the table in docs/faults.md is stale. Run `UPDATE_DOCS=1 cargo test -p charging-sessions-sync --test hostile` and \
         commit the result."
    );
}

async fn all_cases(provider: &'static str) -> Vec<(&'static str, Lasts, Outcome)> {
    let subject = Subject::start(provider).await;
    let both = |case| [(Arc::clone(&case), Lasts::Once), (case, Lasts::ForEver)];
    let cases = cases::all().into_iter().map(Arc::new).flat_map(both);
    let (shared, alone): (Vec<_>, Vec<_>) =
        cases.partition(|(case, _)| matches!((case.act)(&subject), Some(Act::Sandbox(_))));
    let suffer = |(case, lasts): (Arc<Case>, Lasts)| {
        let subject = &subject;
        async move {
            // One that breaks the promise does not hide the others.
            let outcome = AssertUnwindSafe(subject.suffers(&case, lasts)).catch_unwind().await;
            let outcome = outcome.unwrap_or(Some(Outcome { provider, text: BROKEN.to_owned() }));
            outcome.map(|outcome| (case.name, lasts, outcome))
        }
    };
    let alone: Vec<_> = stream::iter(alone.into_iter().map(&suffer)).buffered(AT_ONCE).collect().await;
    let shared: Vec<_> = stream::iter(shared.into_iter().map(&suffer)).buffered(1).collect().await;
    alone.into_iter().chain(shared).flatten().collect()
}

/// What the providers made of it, each outcome once.
fn together(outcomes: &[Outcome]) -> String {
    let mut by_text: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for outcome in outcomes {
        by_text.entry(&outcome.text).or_default().insert(outcome.provider);
    }
    if by_text.len() < 2 {
        return by_text.into_keys().next().unwrap_or("–").to_owned();
    }
    let told = by_text.into_iter().map(|(text, providers)| {
        let providers: Vec<_> = providers.into_iter().collect();
        format!("{}: {text}", providers.join(", "))
    });
    told.collect::<Vec<_>>().join("<br>")
}

/// Nothing of the table is left out because no provider has it.
#[test]
fn every_case_has_a_name_of_its_own() {
    let names: Vec<_> = cases::all().iter().map(|case: &Case| case.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

/// What is sent to make a process swell, each time on the first page.
fn swelling(kind: &str) -> Trick {
    let json = [("content-type", "application/json")];
    let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    // Just below the limit of a body, so that it is read whole and what is made of it counts.
    let below = |piece: &str| piece.repeat(((Limits::default().max_body - 100) / 2) / piece.len());
    let records = |record: &str| format!("[{}{record}]", below(&format!("{record},")));
    let items = |record: &str| {
        let records = records(record);
        format!("{{\"items\":{records},\"data\":{records},\"total\":1,\"status_code\":1000}}")
    };
    match kind {
        "a gzip bomb" => Trick::answer(200, &packed, gzip_bomb(1 << 30)),
        "an endless body" => Trick::endless(),
        "a length of a terabyte" => {
            Trick::says(*b"HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n[")
        }
        "500 with a gzip bomb" => Trick::answer(500, &packed, gzip_bomb(1 << 30)),
        "a long text" => Trick::answer(200, &json, format!("[{{\"id\":\"{}\"}}]", below("x"))),
        "millions of numbers" => Trick::answer(200, &json, records("1")),
        "empty records in an object" => Trick::answer(200, &json, items("{}")),
        "deep arrays" => Trick::answer(200, &json, below("[")),
        other => panic!("{other}"),
    }
}

const SWELLING: [&str; 8] = [
    "a gzip bomb",
    "an endless body",
    "a length of a terabyte",
    "500 with a gzip bomb",
    "a long text",
    "millions of numbers",
    "empty records in an object",
    "deep arrays",
];
/// MiB.
const MOST_MEMORY: u64 = 100;

/// What is measured: this test program once more, with this test alone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a process of its own, with what to do in its environment"]
async fn child() {
    let [provider, origin] = ["PROVIDER", "ORIGIN"].map(|name| std::env::var(name).unwrap());
    let error = subject::reads_by_default(&provider, &origin).await;
    println!("PEAK {} {error}", peak_memory(std::process::id()).unwrap_or(0) >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_makes_the_process_swell() {
    let mut swollen = Vec::new();
    for provider in subject::PROVIDERS {
        let subject = Subject::start(provider).await;
        for kind in SWELLING {
            let gateway = subject.gateway().await;
            gateway.play(swelling(kind).on_path(subject.listing).for_ever());
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["child", "--exact", "--ignored", "--nocapture"]);
            command.env("PROVIDER", provider).env("ORIGIN", gateway.origin());
            let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let out = String::from_utf8_lossy(&ran.stdout).into_owned();
            let said = out.split("PEAK ").nth(1).unwrap_or_else(|| panic!("{provider}, {kind}: {out}"));
            let (peak, error) = said.split_once(' ').unwrap();
            let error = error.lines().next().unwrap_or_default();
            println!("{provider:12} {kind:28} {peak:>5} MiB  {error:.150}");
            assert!(gateway.played() > 0, "{provider}, {kind}");
            if peak.parse::<u64>().unwrap() >= MOST_MEMORY {
                swollen.push(format!("{provider}, {kind}: {peak} MiB"));
            }
        }
    }
    assert!(swollen.is_empty(), "over {MOST_MEMORY} MiB: {swollen:#?}");
}
