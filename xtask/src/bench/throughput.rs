//! From an API into a table: our program against what else one would write or take.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{
    account::{Home, ORGANISATION, check},
    child::{Programs, Server, Used},
    table::{Each, Table, figure, verdict},
};
use crate::python::Python;

/// Who reads, and how the sessions then lie in the file.
struct Contender {
    name: &'static str,
    layout: &'static str,
    run: Run,
}

enum Run {
    Ours,
    /// The hand-written reader, with these words.
    Floor(&'static [&'static str]),
    /// A script of tests/benchmarks/python.
    Python(&'static str),
}

const CONTENDERS: [Contender; 6] = [
    Contender { name: "charging-sessions sync", layout: "ours", run: Run::Ours },
    Contender { name: "by hand: reqwest, serde_json, rusqlite", layout: "seconds", run: Run::Floor(&[]) },
    Contender {
        name: "the same, keeping payloads and versions",
        layout: "seconds",
        run: Run::Floor(&["--payloads"]),
    },
    Contender { name: "httpx and msgspec", layout: "text", run: Run::Python("httpx_msgspec.py") },
    Contender { name: "httpx and pydantic", layout: "text", run: Run::Python("httpx_pydantic.py") },
    Contender { name: "dlt, rest_api with merge", layout: "text", run: Run::Python("dlt_rest_api.py") },
];

/// How much is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance {
    pub(crate) rounds: usize,
    pub(crate) sessions: usize,
    /// How many vehicles our program reads in the end, once with as many sessions and once with as many each, to see how
    /// memory grows.
    pub(crate) vehicles: usize,
}

/// Every contender that is there, in an order that rotates, each from nothing to the same rows.
pub(crate) fn run(
    root: &Path,
    programs: &Programs,
    python: Option<&Python>,
    distance: Distance,
) -> Result<String> {
    let sessions = distance.sessions.to_string();
    let server = Server::start(programs, &["--sessions", &sessions])?;
    let stage = Stage { root, programs, python, server: &server };
    let there: Vec<&Contender> =
        CONTENDERS.iter().filter(|who| python.is_some() || !matches!(who.run, Run::Python(_))).collect();
    let mut runs = vec![Vec::new(); there.len()];
    for round in 0..distance.rounds {
        for turn in 0..there.len() {
            let place = (round + turn) % there.len();
            let used = stage.run(there[place])?;
            eprintln!(
                "round {} of {}: {}: {:.2} s",
                round + 1,
                distance.rounds,
                there[place].name,
                used.wall.as_secs_f64()
            );
            runs[place].push(used);
        }
    }
    let truth = server.truth.sessions;
    drop(server);
    let each: Vec<Each> = runs.iter().map(|runs| Each::of(runs, truth)).collect();
    let ours = &each[0];
    let mut table = Table::new([
        "who",
        "µs per session",
        "to ours",
        "µs of processor",
        "to ours",
        "memory, MiB",
        "sessions per second",
    ]);
    for (who, each) in there.iter().zip(&each) {
        table.row([
            who.name.to_owned(),
            each.wall.with_spread(),
            figure(each.wall.median / ours.wall.median),
            each.processor.with_spread(),
            figure(each.processor.median / ours.processor.median),
            figure(each.memory.most),
            format!("{:.0}", 1e6 / each.wall.median),
        ]);
    }
    let mut text = format!(
        "{truth} sessions of one vehicle in pages of 200, {} each; medians, and the least and the most. Every file was \
         compared with what was served: sessions, energy, cost, first and last start.\n\n{table}\n",
        rounds(distance.rounds),
    );
    let mut goals = Table::new(["goal", "asked", "is", ""]);
    goals.row(verdict(
        "time on the clock, to the one by hand",
        ours.wall.median / each[1].wall.median,
        1.0,
        true,
    ));
    goals.row(verdict("processor, µs per session", ours.processor.median, 12.0, true));
    let to = |script: &str| {
        let place = there.iter().position(|who| matches!(who.run, Run::Python(name) if name == script));
        place.map(|place| each[place].wall.median / ours.wall.median)
    };
    if let (Some(pydantic), Some(dlt)) = (to("httpx_pydantic.py"), to("dlt_rest_api.py")) {
        goals.row(verdict("times as fast as httpx and pydantic", pydantic, 4.0, false));
        goals.row(verdict("times as fast as dlt", dlt, 15.0, false));
    }
    goals.row(verdict("memory, MiB", ours.memory.most, 40.0, true));
    // As many as before of all vehicles, and as many as before of each.
    let (few, with_few) = of_vehicles(programs, distance.sessions / distance.vehicles, distance.vehicles)?;
    let (many, with_many) = of_vehicles(programs, distance.sessions, distance.vehicles)?;
    goals.row(verdict(&format!("memory with {many} sessions, MiB"), with_many.memory.most, 40.0, true));
    let grown = with_many.memory.most / with_few.memory.most;
    goals.row(verdict(&format!("that, to the memory with {few}"), grown, 1.1, true));
    for (sessions, each) in [(few, &with_few), (many, &with_many)] {
        text += &format!(
            "{sessions} sessions of {} vehicles, once: {} µs per session, {} µs of processor, {} MiB.\n\n",
            distance.vehicles,
            figure(each.wall.median),
            figure(each.processor.median),
            figure(each.memory.most)
        );
    }
    Ok(format!("{text}{goals}"))
}

fn rounds(number: usize) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

/// Our program with so many vehicles of so many sessions each.
fn of_vehicles(programs: &Programs, sessions: usize, vehicles: usize) -> Result<(u64, Each)> {
    let numbers = [sessions, vehicles].map(|number| number.to_string());
    let server = Server::start(programs, &["--sessions", &numbers[0], "--vehicles", &numbers[1]])?;
    let home = Home::podero(1, &server)?;
    let used = home.sync(programs)?;
    check(programs, "ours", &home.store(), server.truth, "charging-sessions sync")?;
    eprintln!("{} sessions of {vehicles} vehicles: {:.1} s", server.truth.sessions, used.wall.as_secs_f64());
    Ok((server.truth.sessions, Each::of(&[used], server.truth.sessions)))
}

/// What every contender finds.
struct Stage<'a> {
    root: &'a Path,
    programs: &'a Programs,
    python: Option<&'a Python>,
    server: &'a Server,
}

impl Stage<'_> {
    /// From an empty folder to a file that holds everything.
    fn run(&self, who: &Contender) -> Result<Used> {
        if let Run::Ours = who.run {
            let home = Home::podero(1, self.server)?;
            let used = home.sync(self.programs)?;
            self.check(who, &home.store())?;
            return Ok(used);
        }
        let folder = tempfile::tempdir()?;
        let store = folder.path().join("sessions.sqlite");
        let mut command = match (&who.run, self.python) {
            (Run::Python(script), Some(python)) => {
                let mut command = python.command();
                command.arg(self.root.join("tests/benchmarks/python").join(script));
                command
            }
            (Run::Floor(words), _) => {
                let mut command = self.programs.command("bench-floor");
                command.args(*words);
                command
            }
            _ => anyhow::bail!("{} cannot be run", who.name),
        };
        self.arguments(&mut command, &store).current_dir(folder.path());
        let used = self.programs.measure(&command, who.name)?;
        self.check(who, &store)?;
        Ok(used)
    }

    fn arguments<'c>(&self, command: &'c mut Command, store: &PathBuf) -> &'c mut Command {
        command.args(["--address", &self.server.address]).arg("--store").arg(store);
        command.env("BENCHMARK_ORGANISATION", ORGANISATION)
    }

    fn check(&self, who: &Contender, store: &Path) -> Result<()> {
        check(self.programs, who.layout, store, self.server.truth, who.name)
    }
}
