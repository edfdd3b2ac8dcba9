//! How cost grows with accounts, and with what is in the store already.

use anyhow::{Result, ensure};

use super::{
    account::{Home, figures},
    child::{Figures, Programs, Server, Used},
    table::{Each, Table, figure, mebibytes},
};

/// More than this for each session than with a tenth of them is more than linear.
const MOST: f64 = 1.3;

/// How far.
#[derive(Clone, Debug)]
pub(crate) struct Distance {
    pub(crate) accounts: Vec<usize>,
    /// Sessions of each of these accounts.
    pub(crate) sessions: usize,
    /// Vehicles of one account, of 1,000 sessions each.
    pub(crate) vehicles: Vec<usize>,
}

pub(crate) fn run(programs: &Programs, distance: &Distance) -> Result<String> {
    let sessions = distance.sessions.to_string();
    let mut server = Server::start(programs, &["--sessions", &sessions])?;
    let mut by_accounts = Growth::new("accounts");
    for accounts in &distance.accounts {
        by_accounts.run(programs, &mut server, *accounts, accounts.to_string())?;
    }
    drop(server);
    let mut by_store = Growth::new("sessions");
    for vehicles in &distance.vehicles {
        let vehicles = vehicles.to_string();
        let mut server = Server::start(programs, &["--sessions", "1000", "--vehicles", &vehicles])?;
        let sessions = server.truth.sessions.to_string();
        by_store.run(programs, &mut server, 1, sessions)?;
    }
    Ok(format!(
        "Each row is one store: the first sync fills it, the second finds nothing new. Of the history of almost seven \
         years, the second reads the month or two that may still change.\n\nAccounts in one configuration, {} sessions \
         each:\n\n{}\nOne account, with vehicles of 1,000 sessions each:\n\n{}",
        distance.sessions,
        by_accounts.finish(),
        by_store.finish()
    ))
}

/// A table, and what of it is more than linear.
struct Growth {
    table: Table,
    /// µs per session on the clock, first and second sync.
    last: Option<[f64; 2]>,
    findings: Vec<String>,
}

impl Growth {
    fn new(what: &str) -> Self {
        let table = Table::new([
            what,
            "first: µs per session",
            "of processor",
            "MiB",
            "second: seconds",
            "µs per session in the store",
            "requests",
            "MiB",
        ]);
        Self { table, last: None, findings: Vec::new() }
    }

    fn run(&mut self, programs: &Programs, server: &mut Server, accounts: usize, what: String) -> Result<()> {
        let home = Home::podero(accounts, server)?;
        let first = home.sync(programs)?;
        let truth = times(server.truth, accounts);
        let expect = |when: &str| -> Result<()> {
            let found = figures(programs, "ours", &home.store())?;
            ensure!(found == truth, "after the {when} sync, {found:?} is stored, and {truth:?} was served");
            Ok(())
        };
        expect("first")?;
        let before = server.asked()?.requests;
        let second = home.sync(programs)?;
        let requests = server.asked()?.requests - before;
        expect("second")?;
        eprintln!("{what}: {:.2} s, then {:.2} s", first.wall.as_secs_f64(), second.wall.as_secs_f64());
        self.add(what, truth.sessions, first, second, requests);
        Ok(())
    }

    fn add(&mut self, what: String, sessions: u64, first: Used, second: Used, requests: usize) {
        let of = |used: Used| Each::of(&[used], sessions);
        let walls = [of(first).wall.median, of(second).wall.median];
        if let Some(last) = self.last.replace(walls) {
            for ((now, before), sync) in walls.iter().zip(last).zip(["first", "second"]) {
                let grown = now / before;
                if grown > MOST {
                    self.findings.push(format!(
                        "the {sync} sync at {what} takes {} times as long for each session as in the row before",
                        figure(grown)
                    ));
                }
            }
        }
        self.table.row([
            what,
            figure(walls[0]),
            figure(of(first).processor.median),
            figure(mebibytes(first.memory)),
            figure(second.wall.as_secs_f64()),
            figure(walls[1]),
            requests.to_string(),
            figure(mebibytes(second.memory)),
        ]);
    }

    fn finish(self) -> String {
        let findings = if self.findings.is_empty() {
            "Nothing grows faster than what is read.\n".to_owned()
        } else {
            format!("**More than linear:** {}.\n", self.findings.join("; "))
        };
        format!("{}\n{findings}", self.table)
    }
}

/// As many accounts that read the same.
fn times(one: Figures, accounts: usize) -> Figures {
    let signed = i64::try_from(accounts).unwrap_or(i64::MAX);
    Figures {
        sessions: one.sessions * accounts as u64,
        energy_mwh: one.energy_mwh * signed,
        cost_cents: one.cost_cents * signed,
        ..one
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_grows_faster_than_the_sessions_is_pointed_out() {
        let used =
            |millis| Used { wall: Duration::from_millis(millis), processor: Duration::ZERO, memory: 1 << 20 };
        let mut growth = Growth::new("accounts");
        growth.add("1".to_owned(), 1_000, used(100), used(10), 1);
        growth.add("10".to_owned(), 10_000, used(1_200), used(300), 10);
        let text = growth.finish();
        assert!(text.contains("**More than linear:** the second sync at 10 takes 3.00 times"), "{text}");
        assert!(!text.contains("the first sync at"), "{text}");
    }
}
