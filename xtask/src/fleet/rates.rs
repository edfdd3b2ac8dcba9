//! `cargo xtask fleet rates`: how many sessions a second, what each costs, and what is the limit.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
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
#[derive(Clone, Copy, Debug, Deserialize)]
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

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Figures {
    History(History),
    Kept(Kept),
    Quiet(Quiet),
    QuietWithMany(Quiet),
}

/// Measures, and writes what was measured and what follows from it to the page.
pub(super) fn run(root: &Path) -> Result<()> {
    let figures = measure(root)?;
    let histories: Vec<History> = figures
        .iter()
        .filter_map(|figures| if let Figures::History(history) = figures { Some(*history) } else { None })
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
    let mut figures = Vec::new();
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        println!("{line}");
        if let Some((_, text)) = line.split_once("FIGURES ") {
            figures.push(serde_json::from_str(text).context("the test has printed something else")?);
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "the rates could not be measured; the server said:\n{}", server.log());
    Ok(figures)
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
            limit(history, histories),
        ]);
    }
    format!("Shares are of all processors.\n\n{table}")
}

/// What keeps it from being faster, as far as the figures tell.
fn limit(history: &History, all: &[History]) -> String {
    if history.all >= 0.85 * history.seconds * history.cores {
        return "the processors".to_owned();
    }
    let rate = |history: &History| history.requests / history.seconds;
    if history.latency_ms > 0 {
        let most = f64::from(history.workers * history.concurrency * 1000) / f64::from(history.latency_ms);
        let share = 100.0 * rate(history) / most;
        return format!(
            "the answers: {share:.0} % of what {} at once allow",
            history.workers * history.concurrency
        );
    }
    let same = |other: &&History| {
        !other.fsync
            && (other.workers, other.concurrency, other.latency_ms)
                == (history.workers, history.concurrency, history.latency_ms)
    };
    match all.iter().find(same) {
        Some(other) if history.fsync && rate(other) > 1.15 * rate(history) => "the disk".to_owned(),
        _ => "waiting: neither the processors nor the answers".to_owned(),
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
                history = Some(*one);
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
    };

    #[test]
    fn the_limit_is_what_there_is_no_more_of() {
        assert_eq!(limit(&IDLE, &[]), "the answers: 94 % of what 16 at once allow");
        assert_eq!(limit(&History { all: 1.9, ..IDLE }, &[]), "the processors");
        let fast = History { latency_ms: 0, ..IDLE };
        let without = History { fsync: false, requests: 900.0, ..fast };
        assert_eq!(limit(&fast, &[fast, without]), "the disk");
        assert!(limit(&fast, &[fast, History { requests: 310.0, ..without }]).starts_with("waiting"));
    }

    #[test]
    fn shares_are_of_all_processors() {
        let text = rates(&[IDLE]);
        assert!(text.contains("| 2 × 8 ") && text.contains(" 30000 "), "{text}");
        // A tenth of a second of two processors is a twentieth, and 1.4 of two seconds were idle.
        assert!(text.contains(" 5 % |") && text.contains(" 70 % |"), "{text}");
    }
}
