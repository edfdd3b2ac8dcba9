//! `cargo xtask fleet simulate`: what a fleet of vehicles would ask of workers and a database for a day, reckoned from
//! what `cargo xtask fleet rates` has measured.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser};
use jiff::SignedDuration;

use super::PAGE;
use crate::bench::{
    document,
    table::{Table, figure},
};

/// What the columns and rows of measured costs begin with.
pub(super) const FIRST: &str = "each";
pub(super) const SESSION: &str = "new session, in pages of 100";
pub(super) const LOOK: &str = "look that finds nothing new, known sessions:";

/// What is assumed.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How many vehicles there are.
    #[arg(long, default_value_t = 10_000_000.0)]
    vehicles: f64,
    /// How often each is charged in a day.
    #[arg(long, default_value_t = 1.0)]
    sessions: f64,
    /// How many of them one account of a provider shows.
    #[arg(long, default_value_t = 1_000.0)]
    vehicles_per_account: f64,
    /// How often each account is read.
    #[arg(long, default_value = "15m")]
    every: SignedDuration,
    /// How many days a look goes back with a provider that cannot be asked for what has changed.
    #[arg(long, default_value_t = 7.0)]
    look_back: f64,
    /// How many sessions a page holds.
    #[arg(long, default_value_t = 100.0)]
    page: f64,
    /// How many milliseconds an answer takes.
    #[arg(long, default_value_t = 50.0)]
    latency: f64,
    /// How many jobs a worker does at once.
    #[arg(long, default_value_t = 8.0)]
    concurrency: f64,
    /// Print only, and leave the page as it is.
    #[arg(long)]
    dry_run: bool,
}

impl Default for Options {
    fn default() -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            options: Options,
        }
        Alone::parse_from(["simulate"]).options
    }
}

/// What one session or look costs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    /// Seconds of a processor.
    postgres: f64,
    workers: f64,
    rows: f64,
    bytes: f64,
    log: f64,
    requests: f64,
}

impl Cost {
    fn each(self, other: Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            postgres: of(self.postgres, other.postgres),
            workers: of(self.workers, other.workers),
            rows: of(self.rows, other.rows),
            bytes: of(self.bytes, other.bytes),
            log: of(self.log, other.log),
            requests: of(self.requests, other.requests),
        }
    }
}

/// What was measured: a new session, and two looks by how many known sessions they find.
#[derive(Clone, Copy, Debug)]
struct Costs {
    session: Cost,
    looks: [(f64, Cost); 2],
}

impl Costs {
    /// Reads the table of a page.
    fn of(page: &str) -> Result<Self> {
        let rows = |name: &str| {
            let rows = page.lines().filter_map(|line| line.trim().strip_prefix("| ")?.strip_prefix(name));
            rows.map(str::to_owned).collect::<Vec<_>>()
        };
        let cost = |row: &str| -> Result<(f64, Cost)> {
            let mut cells = row.split('|').map(str::trim);
            let known = cells.next().unwrap_or_default().parse().unwrap_or_default();
            let numbers: Vec<f64> = cells.filter_map(|cell| cell.parse().ok()).collect();
            let &[postgres, workers, rows, bytes, log, requests] = numbers.as_slice() else {
                anyhow::bail!("a cost in {PAGE} is not six numbers: {row}");
            };
            let (postgres, workers) = (postgres / 1e6, workers / 1e6);
            Ok((known, Cost { postgres, workers, rows, bytes, log, requests }))
        };
        let cure = || format!("{PAGE} has no costs: run `cargo xtask fleet rates`");
        let (sessions, looks) = (rows(SESSION), rows(LOOK));
        let (_, session) = cost(sessions.first().with_context(cure)?)?;
        let [few, many] = looks.as_slice() else { anyhow::bail!(cure()) };
        let looks = [cost(few)?, cost(many)?];
        ensure!(looks[0].0 < looks[1].0, "the second look in {PAGE} finds no more than the first");
        Ok(Self { session, looks })
    }

    /// A look that finds so many known sessions, on the line through the two that were measured.
    fn look(&self, known: f64) -> Cost {
        let [(few, least), (many, most)] = self.looks;
        // A provider that can be asked for what has changed shows fewer than the first, and the look is no cheaper.
        let along = ((known - few) / (many - few)).max(0.0);
        least.each(most, |least, most| least + (most - least).max(0.0) * along)
    }
}

/// What a day costs.
struct Day {
    looks: f64,
    requests: f64,
    rows: f64,
    bytes: f64,
    log: f64,
    /// Processors that are busy all the time.
    postgres: f64,
    workers: f64,
    in_flight: f64,
    number: f64,
}

const SECONDS: f64 = 86_400.0;
/// How much of its jobs a worker should be busy with on average.
const BUSY: f64 = 0.7;

impl Options {
    fn day(&self, costs: &Costs, days: f64) -> Day {
        let looks = self.vehicles / self.vehicles_per_account * SECONDS / self.every.as_secs_f64();
        let look = costs.look(self.vehicles_per_account * self.sessions * days);
        let new = self.vehicles * self.sessions;
        // A page is never emptier than one request, and how many fit on one was measured with 100.
        let requests = looks * (1.0 + (look.requests - 1.0).max(0.0) * 100.0 / self.page);
        let sum = |of: fn(&Cost) -> f64| looks * of(&look) + new * of(&costs.session);
        let workers = sum(|cost| cost.workers) / SECONDS;
        let in_flight = requests / SECONDS * self.latency / 1e3;
        Day {
            looks,
            requests,
            rows: sum(|cost| cost.rows),
            bytes: sum(|cost| cost.bytes),
            log: sum(|cost| cost.log),
            postgres: sum(|cost| cost.postgres) / SECONDS,
            workers,
            in_flight,
            number: ((in_flight + workers) / (self.concurrency * BUSY)).max(workers / BUSY).ceil().max(1.0),
        }
    }
}

/// Reckons, prints, and writes it to the page.
pub(super) fn run(root: &Path, options: &Options) -> Result<()> {
    let numbers = [
        options.vehicles,
        options.sessions,
        options.vehicles_per_account,
        options.every.as_secs_f64(),
        options.page,
        options.concurrency,
    ];
    let sound = numbers.iter().all(|number| number.is_finite() && *number > 0.0);
    ensure!(
        sound && options.look_back >= 0.0 && options.latency >= 0.0,
        "what is assumed must be above zero"
    );
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("{PAGE} cannot be read"))?;
    let text = text(options, &Costs::of(&page)?);
    println!("{text}");
    if options.dry_run { Ok(()) } else { document::write(root, PAGE, "simulation", &text, &[]) }
}

fn text(options: &Options, costs: &Costs) -> String {
    // What a provider shows that is asked for changes since the last look, less an hour.
    let changes = 1.0 / 24.0 + options.every.as_secs_f64() / SECONDS;
    let days = [options.day(costs, changes), options.day(costs, options.look_back)];
    let back = format!("it is read back {} days", options.look_back);
    let mut table = Table::new(["of a day", "the provider tells what has changed", back.as_str()]);
    let mut row = |name: &str, of: &dyn Fn(&Day) -> String| {
        table.row([name.to_owned()].into_iter().chain(days.iter().map(of)));
    };
    row("looks", &|day| count(day.looks));
    row("requests", &|day| count(day.requests));
    row("requests a second", &|day| figure(day.requests / SECONDS));
    row("new sessions", &|_| count(options.vehicles * options.sessions));
    row("new sessions a second", &|_| figure(options.vehicles * options.sessions / SECONDS));
    row("rows", &|day| count(day.rows));
    row("storage", &|day| size(day.bytes));
    row("storage of a year", &|day| size(day.bytes * 365.0));
    row("log of the server", &|day| size(day.log));
    row("processors of PostgreSQL", &|day| figure(day.postgres));
    row("processors of the workers", &|day| figure(day.workers));
    row("requests under way", &|day| figure(day.in_flight));
    row("workers", &|day| format!("{:.0}", day.number));
    format!(
        "**This is reckoned and not measured**: from the costs above, for {} vehicles that are charged {} × a day each, \
         {} of them in an account, each account read every {:#}, pages of {} sessions, and answers that take {} ms. A \
         worker does {} jobs at once and is busy {:.0} % of the time; loads are the average of a day.\n\n{table}",
        count(options.vehicles),
        options.sessions,
        options.vehicles_per_account,
        options.every,
        options.page,
        options.latency,
        options.concurrency,
        BUSY * 100.0,
    )
}

/// A number that nobody reads to the last digit.
fn count(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{} thousand million", figure(n / 1e9)),
        n if n >= 1e6 => format!("{} million", figure(n / 1e6)),
        n if n >= 1e4 => format!("{} thousand", figure(n / 1e3)),
        n => figure(n),
    }
}

fn size(bytes: f64) -> String {
    match bytes {
        b if b >= 1e12 => format!("{} TB", figure(b / 1e12)),
        b if b >= 1e9 => format!("{} GB", figure(b / 1e9)),
        b => format!("{} MB", figure(b / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
| each | PostgreSQL, µs | workers, µs | rows | bytes | bytes of log | requests |
| ---- | ---: |
| new session, in pages of 100 | 100 | 50.0 | 2.00 | 1000 | 2000 | 0.01 |
| look that finds nothing new, known sessions: 10 | 5000 | 2000 | 1.00 | 300 | 9000 | 1.00 |
| look that finds nothing new, known sessions: 1010 | 25000 | 12000 | 1.00 | 300 | 19000 | 11.0 |
";

    #[test]
    fn what_was_measured_is_read_from_the_page() {
        let costs = Costs::of(PAGE).unwrap();
        assert!((costs.session.postgres - 1e-4).abs() < 1e-12);
        let [(few, _), (many, most)] = costs.looks;
        assert_eq!(format!("{few} {many} {}", most.requests), "10 1010 11");
        assert!(Costs::of("nothing").unwrap_err().to_string().contains("cargo xtask fleet rates"));
        assert!(Costs::of(&PAGE.replace("| 1.00 | 300", "| a | 300")).is_err());
    }

    #[test]
    fn a_look_costs_more_the_more_it_finds_and_never_less_than_one_that_finds_little() {
        let costs = Costs::of(PAGE).unwrap();
        assert!((costs.look(510.0).postgres - 0.015).abs() < 1e-9);
        assert!((costs.look(510.0).requests - 6.0).abs() < 1e-9);
        assert_eq!(costs.look(0.0), costs.look(10.0));
    }

    #[test]
    fn a_day_is_the_sum_of_its_looks_and_sessions() {
        let costs = Costs::of(PAGE).unwrap();
        let options = Options {
            vehicles: 86_400.0,
            vehicles_per_account: 10.0,
            every: SignedDuration::from_secs(100),
            ..Options::default()
        };
        let day = options.day(&costs, 1.0);
        // 8,640 accounts, 864 looks each; 86.4 a second, one request each, for 50 ms.
        assert!((day.looks - 7_464_960.0).abs() < 1e-3);
        assert!((day.requests - day.looks).abs() < 1e-3);
        assert!((day.in_flight - 4.32).abs() < 1e-9);
        // 86.4 × 5 ms, and one new session a second for 100 µs.
        assert!((day.postgres - 0.4321).abs() < 1e-9);
        assert!((day.rows - (day.looks + 2.0 * 86_400.0)).abs() < 1e-3);
        // 4.32 under way and 0.173 of a processor, by eight jobs of which 70 % are busy.
        assert!((day.number - 1.0).abs() < 1e-9);
    }
}
