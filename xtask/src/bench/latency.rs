//! With a provider that takes 50 ms for each answer: how near to what its limits allow.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    account::{Home, check},
    child::{Programs, Server},
    table::{Table, figure},
};

/// What the server takes for each answer.
const WAIT: Duration = Duration::from_millis(50);
/// How many requests of one account may be in flight, by the default of `Policy`.
const CONCURRENCY: usize = 4;
/// What is asked for, at most, of the time that the limits allow.
const GOAL: f64 = 1.1;

/// How much less than the span of a quota the server watches. Our side counts when a request starts, the server when it
/// looks at it, and the first one has to connect before.
const ON_THE_WAY: Duration = Duration::from_millis(10);

/// One listing, or one walk.
struct Course {
    name: String,
    provider: &'static str,
    server: Vec<String>,
    /// How many requests can be in flight: one, where each answer has to be read to know what to ask for next.
    in_flight: usize,
    /// Requests within a rolling span of time.
    quota: Option<(usize, Duration)>,
}

/// How far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance {
    pub(crate) pages: usize,
    pub(crate) assets: usize,
    /// Pages of the account with a quota, and how many requests that is in how long a time.
    pub(crate) bursts: (usize, usize, Duration),
    /// Whether it is an error that the quota was exceeded. On a machine that is busy with other things, a request may be
    /// on its way for long, and then the server counts another one than we do.
    pub(crate) strict: bool,
}

pub(crate) fn run(programs: &Programs, distance: Distance) -> Result<String> {
    let mut table = Table::new([
        "what",
        "requests",
        "seconds",
        "limit, s",
        "to the limit",
        "most in the span",
        "goal ≤ 1.1",
    ]);
    for course in courses(distance) {
        course.run(programs, distance.strict, &mut table)?;
    }
    Ok(format!(
        "The server answers each request after 50 ms, and counts them. The limit is computed: all requests, divided by \
         the {CONCURRENCY} that may be in flight, times 50 ms; with a quota, the instant at which it lets the last burst \
         begin, and the time of that burst. In the account with a quota only one request can be in flight, because each \
         page names the next one by its last record. A run that asked more often than its quota allows in any stretch \
         of time, less 10 ms on the way, fails.\n\n\
         {table}"
    ))
}

fn courses(Distance { pages, assets, bursts: (quota_pages, quota, span), .. }: Distance) -> [Course; 3] {
    let words = |words: &[(&str, usize)]| {
        words.iter().flat_map(|(name, value)| [format!("--{name}"), value.to_string()]).collect::<Vec<_>>()
    };
    // Each page but the first repeats a record.
    let sessions = 1 + pages * 199;
    let users = assets.div_ceil(20);
    [
        Course {
            name: format!("a listing of {pages} offset pages"),
            provider: "podero",
            server: words(&[("sessions", sessions)]),
            in_flight: CONCURRENCY,
            quota: None,
        },
        Course {
            name: format!("a walk over {} vehicles of {users} users", users * 20),
            provider: "podero",
            server: words(&[("users", users), ("vehicles", 20), ("sessions", 5)]),
            in_flight: CONCURRENCY,
            quota: None,
        },
        Course {
            name: format!("{quota_pages} pages with a quota of {quota} in {} s", span.as_secs()),
            provider: "ev-energy",
            server: words(&[
                ("sessions", quota_pages * 100),
                ("span", (span - ON_THE_WAY).as_millis() as usize),
            ]),
            in_flight: 1,
            quota: Some((quota, span)),
        },
    ]
}

impl Course {
    fn run(&self, programs: &Programs, strict: bool, table: &mut Table) -> Result<()> {
        let mut words = vec!["--provider".to_owned(), self.provider.to_owned()];
        words.extend(["--latency".to_owned(), WAIT.as_millis().to_string()]);
        words.extend(self.server.iter().cloned());
        let mut server = Server::start(programs, &words)?;
        let home = match self.quota {
            Some((quota, span)) => Home::ev_energy(&server, &format!("{quota}/{}s", span.as_secs()))?,
            None => Home::podero(1, &server)?,
        };
        let used = home.sync(programs)?;
        check(programs, "ours", &home.store(), server.truth, &self.name)?;
        let asked = server.asked()?;
        let limit = limit(asked.requests, self.in_flight, self.quota);
        let (seconds, limit) = (used.wall.as_secs_f64(), limit.as_secs_f64());
        eprintln!("{}: {seconds:.1} s, the limit is {limit:.1} s", self.name);
        let most = match self.quota {
            Some((quota, span)) => {
                ensure!(
                    asked.most_in_span <= quota || !strict,
                    "{} requests came within {} s, and the quota is {quota}",
                    asked.most_in_span,
                    span.as_secs()
                );
                format!("{} of {quota}", asked.most_in_span)
            }
            None => "–".to_owned(),
        };
        table.row([
            self.name.clone(),
            asked.requests.to_string(),
            figure(seconds),
            figure(limit),
            figure(seconds / limit),
            most,
            if seconds / limit <= GOAL { "met" } else { "**not met**" }.to_owned(),
        ]);
        Ok(())
    }
}

/// The least time that so many requests take.
fn limit(requests: usize, in_flight: usize, quota: Option<(usize, Duration)>) -> Duration {
    let flight = |requests: usize| WAIT * u32::try_from(requests.div_ceil(in_flight)).unwrap_or(u32::MAX);
    let Some((quota, span)) = quota else { return flight(requests) };
    let before = requests.saturating_sub(1) / quota;
    let by_quota = span * u32::try_from(before).unwrap_or(u32::MAX) + flight(requests - before * quota);
    by_quota.max(flight(requests))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_of_what_is_in_flight_or_of_the_quota() {
        assert_eq!(limit(1_000, 4, None), Duration::from_millis(12_500));
        assert_eq!(limit(5, 4, None), Duration::from_millis(100));
        let quota = Some((100, Duration::from_secs(5)));
        assert_eq!(limit(100, 4, quota), Duration::from_millis(1_250));
        assert_eq!(limit(101, 4, quota), Duration::from_millis(5_050));
        assert_eq!(limit(250, 4, quota), Duration::from_millis(10_650));
        assert_eq!(limit(250, 1, quota), Duration::from_millis(12_500));
    }
}
