//! `cargo xtask fleet rates`: how many sessions a second, what each costs, and what is the limit.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use super::{PAGE, simulation};
use crate::{
    bench::{
        document,
        table::{Table, figure},
    },
    ci::program,
    postgres,
};

/// What was measured while accounts were read that the store knew nothing of.
#[derive(Clone, Debug, Deserialize)]
struct History {
    workers: u32,
    concurrency: u32,
    latency_ms: u32,
    /// Whether the server waits for its disk at each commit.
    fsync: bool,
    sessions: f64,
    requests: f64,
    seconds: f64,
    /// Seconds of a processor.
    postgres: f64,
    fleet: f64,
    api: f64,
    /// By everybody on the machine.
    all: f64,
    cores: f64,
    /// How often a process of the server was seen to wait for something, by what.
    waits: BTreeMap<String, u64>,
}

/// What was there of so many sessions afterwards.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Kept {
    sessions: f64,
    rows: f64,
    bytes: f64,
    log: f64,
}

/// Looks at accounts that have nothing new.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Quiet {
    looks: f64,
    known: f64,
    requests: f64,
    seconds: f64,
    postgres: f64,
    fleet: f64,
    rows: f64,
    bytes: f64,
    log: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Figures {
    History(History),
    Kept(Kept),
    Quiet(Quiet),
    QuietWithMany(Quiet),
}

#[derive(Args)]
pub(crate) struct Options {
    /// Take what an earlier run has printed instead of measuring.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Measures, and writes what was measured and what follows from it to the page.
pub(super) fn run(root: &Path, options: &Options) -> Result<()> {
    let figures = match &options.from {
        Some(path) => {
            let text =
                fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
            text.lines().filter_map(figures).collect::<Result<_>>()?
        }
        None => measure(root)?,
    };
    let histories: Vec<History> = figures
        .iter()
        .filter_map(
            |figures| if let Figures::History(history) = figures { Some(history.clone()) } else { None },
        )
        .collect();
    let rates = rates(&histories);
    println!("{rates}");
    let server = postgres::programs()?.join("postgres");
    document::write(root, PAGE, "rates", &rates, &["rustc", &server.to_string_lossy()])?;
    let costs = costs(&figures)?;
    println!("{costs}");
    document::write(root, PAGE, "costs", &costs, &[])?;
    simulation::run(root, &simulation::Options::default())
}

fn measure(root: &Path) -> Result<Vec<Figures>> {
    // Three workers with 24 jobs each have more connections than a server has by default.
    let server = postgres::Server::start_with(postgres::programs()?, &["max_connections=300"])?;
    let mut cargo = Command::new(program());
    cargo
        .args([
            "test",
            "--release",
            "-p",
            "charging-sessions-cli",
            "--features",
            "fleet",
            "--test",
            "fleet_rates",
        ])
        .args(["--", "--ignored", "--nocapture"])
        .env("CHARGING_SESSIONS_TEST_POSTGRES", server.address())
        .current_dir(root)
        .stdout(Stdio::piped());
    let mut child = cargo.spawn().context("cargo cannot be started")?;
    let mut found = Vec::new();
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        println!("{line}");
        found.extend(figures(&line).transpose()?);
    }
    let status = child.wait()?;
    ensure!(status.success(), "the rates could not be measured; the server said:\n{}", server.log());
    Ok(found)
}

/// What a line of the test says, if it does.
fn figures(line: &str) -> Option<Result<Figures>> {
    let (_, text) = line.split_once("FIGURES ")?;
    Some(serde_json::from_str(text).context("the test has printed something else"))
}

fn rates(histories: &[History]) -> String {
    let mut table = Table::new([
        "workers × jobs at once",
        "answers take",
        "disk",
        "sessions/s",
        "requests/s",
        "PostgreSQL",
        "workers",
        "API",
        "others",
        "idle",
        "the server's processes",
        "limit",
    ]);
    for history in histories {
        let of = |seconds: f64| format!("{:.0} %", 100.0 * seconds / (history.seconds * history.cores));
        let others = (history.all - history.postgres - history.fleet - history.api).max(0.0);
        table.row([
            format!("{} × {}", history.workers, history.concurrency),
            format!("{} ms", history.latency_ms),
            if history.fsync { "waited for" } else { "not waited for" }.to_owned(),
            figure(history.sessions / history.seconds),
            figure(history.requests / history.seconds),
            of(history.postgres),
            of(history.fleet),
            of(history.api),
            of(others),
            of((history.seconds * history.cores - history.all).max(0.0)),
            waits(history)
                .iter()
                .filter(|(_, share)| *share >= 1.0)
                .map(|(kind, share)| format!("{share:.0} % {kind}"))
                .collect::<Vec<_>>()
                .join(", "),
            limit(history),
        ]);
    }
    format!("Shares are of all processors.\n\n{table}")
}

/// What keeps a process of the server that has something to do, by what the server calls it.
fn wait(event: &str) -> &'static str {
    match event {
        "computing" => "compute",
        "Lock transactionid" | "Lock tuple" | "LWLock LockManager" => ROWS,
        event if event.contains("WAL") => "wait for the log",
        _ => "wait for something else",
    }
}

const ROWS: &str = "wait for another to write";

/// What the processes of the server that had something to do were seen at, in hundredths, the most first.
fn waits(history: &History) -> Vec<(&'static str, f64)> {
    let all: u64 = history.waits.values().sum();
    let mut shares: Vec<(&str, f64)> = Vec::new();
    for (event, times) in &history.waits {
        let share = 100.0 * *times as f64 / all.max(1) as f64;
        match shares.iter_mut().find(|(known, _)| *known == wait(event)) {
            Some((_, sum)) => *sum += share,
            None => shares.push((wait(event), share)),
        }
    }
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

/// What keeps it from being faster, as far as the figures tell.
fn limit(history: &History) -> String {
    let rate = history.requests / history.seconds;
    let at_once = f64::from(history.workers * history.concurrency);
    let most = at_once * 1000.0 / f64::from(history.latency_ms);
    if rate > 0.6 * most {
        return format!("the answers: {:.0} % of what {at_once} at once allow", 100.0 * rate / most);
    }
    match waits(history).first() {
        Some((ROWS, _)) => "writes wait for each other".to_owned(),
        _ if history.all >= 0.85 * history.seconds * history.cores => "the processors".to_owned(),
        _ => "not known".to_owned(),
    }
}

/// What a session costs, and a look, each in a row that the simulation reads.
fn costs(figures: &[Figures]) -> Result<String> {
    let mut table = Table::new([
        simulation::FIRST,
        "PostgreSQL, µs",
        "workers, µs",
        "rows",
        "bytes",
        "bytes of log",
        "requests",
    ]);
    let mut history = None;
    let mut seen = String::new();
    for one in figures {
        let (name, of, cells) = match one {
            Figures::History(one) => {
                history = Some(one);
                continue;
            }
            Figures::Kept(kept) => {
                let history = history.context("nothing was measured before")?;
                let requests = history.requests / history.sessions;
                let [postgres, fleet] =
                    [history.postgres, history.fleet].map(|seconds| seconds * 1e6 / history.sessions);
                let each = [kept.rows, kept.bytes, kept.log].map(|number| number / kept.sessions);
                (simulation::SESSION.to_owned(), 1.0, [postgres, fleet, each[0], each[1], each[2], requests])
            }
            Figures::Quiet(quiet) | Figures::QuietWithMany(quiet) => {
                seen.push_str(&format!(
                    " {:.0} looks a second were made that each found {:.0}.",
                    quiet.looks / quiet.seconds,
                    quiet.known
                ));
                (
                    format!("{} {}", simulation::LOOK, quiet.known),
                    quiet.looks,
                    [
                        quiet.postgres * 1e6,
                        quiet.fleet * 1e6,
                        quiet.rows,
                        quiet.bytes,
                        quiet.log,
                        quiet.requests,
                    ],
                )
            }
        };
        table.row([name].into_iter().chain(cells.iter().map(|cell| figure(cell / of))));
    }
    Ok(format!("{table}\nBy two workers with eight jobs each, and without a wait for answers.{seen}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: History = History {
        workers: 2,
        concurrency: 8,
        latency_ms: 50,
        fsync: true,
        sessions: 30_000.0,
        requests: 300.0,
        seconds: 1.0,
        postgres: 0.2,
        fleet: 0.2,
        api: 0.1,
        all: 0.6,
        cores: 2.0,
        waits: BTreeMap::new(),
    };

    #[test]
    fn the_limit_is_what_there_is_no_more_of() {
        assert_eq!(limit(&IDLE), "the answers: 94 % of what 16 at once allow");
        let slow = History { requests: 100.0, ..IDLE };
        assert_eq!(limit(&History { all: 1.9, ..slow.clone() }), "the processors");
        assert_eq!(limit(&History { latency_ms: 0, ..slow.clone() }), "not known");
        let waits = [("computing".to_owned(), 1), ("Lock tuple".to_owned(), 2)].into();
        assert_eq!(limit(&History { all: 1.9, waits, ..slow }), "writes wait for each other");
    }

    #[test]
    fn what_the_server_waits_for_is_told_in_words() {
        let seen = [("computing", 50), ("Lock tuple", 25), ("Lock transactionid", 5), ("IO WALSync", 20)];
        let history = History { waits: seen.map(|(event, times)| (event.to_owned(), times)).into(), ..IDLE };
        let told: Vec<_> = waits(&history).iter().map(|(kind, share)| format!("{share:.0} {kind}")).collect();
        assert_eq!(told, ["50 compute", "30 wait for another to write", "20 wait for the log"]);
    }

    #[test]
    fn shares_are_of_all_processors() {
        let text = rates(&[IDLE]);
        assert!(text.contains("| 2 × 8 ") && text.contains(" 30000 "), "{text}");
        // A tenth of a second of two processors is a twentieth, and 1.4 of two seconds were idle.
        assert!(text.contains(" 5 % |") && text.contains(" 70 % |"), "{text}");
    }
}
