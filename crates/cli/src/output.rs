//! What the program prints.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
};

use charging_sessions::{ChargingSession, Currency, Energy, Grams, RecordKind, SessionStatus, Severity};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::{Timestamp, tz::TimeZone};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::{
    args::Format,
    exit::{Code, Failure},
    read::Listing,
    text,
};

/// Prints a listing. What could not be read is told on standard error, whatever the format.
pub(crate) fn print(listing: &Listing, format: Format, zone: &TimeZone) -> Result<Code, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match format {
        Format::Table => table(&mut out, &listing.sessions, zone)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &listing.sessions).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Format::Jsonl => {
            for session in &listing.sessions {
                serde_json::to_writer(&mut out, session).map_err(io::Error::from)?;
                writeln!(out)?;
            }
        }
        Format::Csv => csv(&mut out, &listing.sessions)?,
    }
    out.flush()?;
    for record in &listing.rejected {
        eprintln!("left out: {}", text::visible(&record.to_string()));
    }
    Ok(if listing.rejected.is_empty() { Code::Done } else { Code::Rejects })
}

/// Prints one JSON value. The same on a terminal and off it.
pub(crate) fn json(value: &Value) -> Result<Code, Failure> {
    say(&format!("{value:#}\n"))
}

/// Prints a table for people.
pub(crate) fn rows(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<Code, Failure> {
    let mut table = plain();
    table.set_header(header);
    table.add_rows(
        rows.into_iter()
            .map(|row| row.into_iter().map(|cell| text::visible(&cell).into_owned()).collect::<Vec<_>>()),
    );
    say(&table.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>())
}

/// Prints text as it is.
pub(crate) fn say(text: &str) -> Result<Code, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Code::Done)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn table(out: &mut impl Write, sessions: &[ChargingSession], zone: &TimeZone) -> io::Result<()> {
    let mut table = plain();
    table.set_header(["start", "lasted", "kWh", "cost", "mode", "where", "vehicle", "state", "to look at"]);
    for session in sessions {
        let period = &session.timing.period;
        let lasted = period.start.zip(period.end).map(|(start, end)| duration(start, end));
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(period.start.map(|start| local(start, zone)).unwrap_or_default()),
            right(lasted.unwrap_or_default()),
            right(session.energy.headline().map(kwh).unwrap_or_default()),
            right(session.costs.cost.as_ref().map(|cost| cost.money.to_string()).unwrap_or_default()),
            Cell::new(word(session.state.mode.as_ref().map(|mode| mode.word.as_str()))),
            Cell::new(word(session.place.location.as_ref().and_then(|location| location.label.as_deref()))),
            Cell::new(word(vehicle(session))),
            Cell::new(session.state.status),
            Cell::new(remarkable(session)),
        ]);
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(out, "{}", Totals::of(sessions))?;
    writeln!(out, "Times in {}.", zone.iana_name().unwrap_or("the zone of this machine"))
}

fn word(text: Option<&str>) -> String {
    text.map(|text| text::visible(text).into_owned()).unwrap_or_default()
}

fn vehicle(session: &ChargingSession) -> Option<&str> {
    let vehicle = session.parties.vehicle.as_ref()?;
    vehicle.name.as_deref().or(vehicle.source_id.as_deref())
}

/// An instant with the abbreviation of its zone, for lines that stand alone.
pub(crate) fn moment(instant: Timestamp, zone: &TimeZone) -> String {
    instant.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

fn local(instant: Timestamp, zone: &TimeZone) -> String {
    instant.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn duration(start: Timestamp, end: Timestamp) -> String {
    let minutes = end.duration_since(start).as_secs() / 60;
    let sign = if minutes < 0 { "-" } else { "" };
    format!("{sign}{}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

fn kwh(energy: Energy) -> String {
    format!("{:.3}", energy.as_kwh())
}

/// The codes of issues that a person should look at.
fn remarkable(session: &ChargingSession) -> String {
    let mut codes: Vec<_> = session
        .issues
        .iter()
        .filter(|issue| issue.severity >= Severity::Warning)
        .map(|issue| issue.code.as_str())
        .collect();
    codes.dedup();
    codes.join(" ")
}

/// Sums by level of record, because records of different levels contain each other.
struct Totals {
    by_kind: BTreeMap<RecordKind, Sum>,
    active: usize,
    impossible: usize,
}

#[derive(Default)]
struct Sum {
    sessions: usize,
    energy: Energy,
    cost: BTreeMap<Currency, Decimal>,
    without_cost: usize,
}

impl Totals {
    fn of(sessions: &[ChargingSession]) -> Self {
        let mut totals = Self { by_kind: BTreeMap::new(), active: 0, impossible: 0 };
        for session in sessions {
            if !session.counts() {
                totals.impossible += 1;
                continue;
            }
            if session.state.status == SessionStatus::Active {
                totals.active += 1;
                continue;
            }
            let sum = totals.by_kind.entry(session.key().kind).or_default();
            sum.sessions += 1;
            sum.energy = [sum.energy].into_iter().chain(session.energy.headline()).sum();
            match &session.costs.cost {
                Some(cost) => *sum.cost.entry(cost.money.currency).or_default() += cost.money.amount,
                None => sum.without_cost += 1,
            }
        }
        totals
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (kind, sum) in &self.by_kind {
            write!(f, "{} ended ({kind}): {} kWh", sum.sessions, kwh(sum.energy))?;
            for (currency, amount) in &sum.cost {
                write!(f, ", {amount} {currency}")?;
            }
            if sum.without_cost > 0 {
                write!(f, ", {} without a cost", sum.without_cost)?;
            }
            writeln!(f, ".")?;
        }
        write!(
            f,
            "Not in the totals: {} still active, {} with impossible figures.",
            self.active, self.impossible
        )
    }
}

/// The columns of CSV. Names carry units; amounts are exact decimals.
const COLUMNS: [&str; 24] = [
    "provider",
    "account",
    "kind",
    "source_id",
    "status",
    "start",
    "end",
    "period_basis",
    "end_basis",
    "zone",
    "charging_seconds",
    "energy_wh",
    "energy_point",
    "energy_method",
    "grid_wh",
    "solar_wh",
    "cost_amount",
    "cost_currency",
    "mode",
    "vehicle_id",
    "charge_point_id",
    "location",
    "co2_grams",
    "issues",
];

fn csv(out: &mut impl Write, sessions: &[ChargingSession]) -> io::Result<()> {
    let mut rows = csv::Writer::from_writer(out);
    rows.write_record(COLUMNS)?;
    for session in sessions {
        let (key, timing) = (session.key(), &session.timing);
        let reading = session.energy.readings.first();
        let sources = &session.energy.sources;
        let money = session.costs.cost.as_ref().map(|cost| cost.money);
        let id = |id: Option<&String>| id.cloned().unwrap_or_default();
        let energy = |energy: Option<Energy>| text_of(energy.map(Energy::as_wh));
        let issues: Vec<_> = session.issues.iter().map(|issue| issue.code.as_str()).collect();
        let row: [String; COLUMNS.len()] = [
            key.provider.to_string(),
            key.account.to_string(),
            key.kind.to_string(),
            key.source_id.clone(),
            session.state.status.to_string(),
            text_of(timing.period.start),
            text_of(timing.period.end),
            timing.period.basis.to_string(),
            timing.period.end_basis.to_string(),
            id(timing.zone.as_ref().map(|zone| &zone.name)),
            text_of(timing.charging_for.map(|time| time.as_secs())),
            energy(reading.map(|reading| reading.energy)),
            text_of(reading.map(|reading| reading.point)),
            text_of(reading.map(|reading| reading.method)),
            energy(sources.grid),
            energy(sources.solar),
            text_of(money.map(|money| money.amount)),
            text_of(money.map(|money| money.currency)),
            id(session.state.mode.as_ref().map(|mode| &mode.word)),
            id(session.parties.vehicle.as_ref().and_then(|vehicle| vehicle.source_id.as_ref())),
            id(session.parties.charge_point.as_ref().and_then(|point| point.source_id.as_ref())),
            id(session.place.location.as_ref().and_then(|location| location.label.as_ref())),
            text_of(session.emissions.total.map(Grams::value)),
            issues.join(" "),
        ];
        rows.write_record(row.iter().map(|field| text::cell(field).into_owned()))?;
    }
    rows.flush()
}

fn text_of(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
