//! What all reports have.

use std::collections::BTreeMap;

use charging_sessions_core::{Currency, Energy, Severity};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use rust_decimal::Decimal;

use super::chart::Chart;
use crate::{
    Entry, Grade, Ledger, LeftOut, Period, Record, Width,
    export::{Cell, Column, ColumnKind, column},
    text::fixed,
    visible,
};

/// What a report says about itself.
#[derive(Clone, Debug)]
pub struct Context {
    /// When it is made.
    pub made_at: Timestamp,
    /// The program that makes it, with its version.
    pub made_by: String,
    /// Which records were asked for, such as `account home`; all, if there is nothing.
    pub filters: Vec<String>,
}

/// The parts that are the same in all reports.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) period: String,
    pub(super) zone: String,
    pub(super) made_at: String,
    pub(super) made_by: String,
    pub(super) filters: String,
    /// What was decided, as a term and a sentence.
    pub(super) rules: Vec<(&'static str, String)>,
    pub(super) grades: Vec<(&'static str, &'static str, usize)>,
    pub(super) left_out: Vec<LeftOutRow>,
    pub(super) annex: Vec<AnnexRow>,
}

pub(super) struct LeftOutRow {
    pub(super) number: usize,
    pub(super) start: String,
    pub(super) record: String,
    pub(super) vehicle: String,
    pub(super) energy: String,
    pub(super) reason: String,
}

/// What a row can be checked against.
pub(super) struct AnnexRow {
    pub(super) number: usize,
    pub(super) record: String,
    pub(super) revision: u32,
    pub(super) read_at: String,
    pub(super) payload: String,
}

impl Page {
    pub(super) fn new(
        title: &str,
        ledger: &Ledger,
        context: &Context,
        rules: Vec<(&'static str, String)>,
    ) -> Self {
        let zone = ledger.period.zone();
        let count = |grade| ledger.entries.iter().filter(|entry| entry.grade == Some(grade)).count();
        let entries = ledger.entries.iter().map(|entry| &entry.record);
        let all = entries.chain(ledger.left_out.iter().map(|left| &left.record));
        let first_left_out = ledger.entries.len() + 1;
        let left_out = ledger.left_out.iter().zip(first_left_out..);
        let mut every_rule = rules_of(ledger);
        every_rule.extend(rules);
        Self {
            title: title.to_owned(),
            period: period(&ledger.period),
            zone: ledger.period.zone_name().to_owned(),
            made_at: local(context.made_at, zone),
            made_by: context.made_by.clone(),
            filters: context.filters.iter().map(|filter| visible(filter)).collect::<Vec<_>>().join(", "),
            rules: every_rule,
            grades: Grade::ALL.map(|grade| (grade.as_str(), grade.meaning(), count(grade))).into(),
            left_out: left_out.map(|(left, number)| LeftOutRow::of(left, number, zone)).collect(),
            annex: all.zip(1..).map(|(record, number)| AnnexRow::of(record, number, zone)).collect(),
        }
    }
}

fn rules_of(ledger: &Ledger) -> Vec<(&'static str, String)> {
    let window = ledger.period.window();
    vec![
        (
            "Period",
            format!(
                "{} in {}: from {} up to, and without, {}. {} Days of the change of the clock have 23 or 25 hours, and \
                 times of those days are written with their offset.",
                period(&ledger.period),
                ledger.period.zone_name(),
                window.from(),
                window.until(),
                ledger.rule.meaning()
            ),
        ),
        (
            "What counts",
            "Each charge counts once. Of a billing record and the session that it bills, the billing record counts; a \
             credit adds its negative cost and no energy; of a stay at the plug and its parts, the stay counts. What has \
             vanished at its provider, goes on, was declared void or has impossible figures does not count. Records of \
             different accounts are not compared: where a charge point and a vehicle both tell of a charge, take one of \
             the accounts."
                .into(),
        ),
        (
            "Energy",
            "The provider's headline figure of each record. Between the supply and the battery a tenth to a fifth is \
             lost, so that figures measured at different places differ; the evidence grade says where."
                .into(),
        ),
        (
            "Money",
            "Amounts are exact decimals in the currency of the provider. Amounts of different currencies are never added \
             up. A cost that is not known is empty, and is not zero."
                .into(),
        ),
    ]
}

impl LeftOutRow {
    fn of(left: &LeftOut, number: usize, zone: &TimeZone) -> Self {
        let session = &left.record.session;
        Self {
            number,
            start: session.timing.period.start.map(|start| local(start, zone)).unwrap_or_default(),
            record: visible(&session.key().to_string()).into_owned(),
            vehicle: vehicle(&left.record),
            energy: session.energy.headline().map(|energy| kwh(energy, 3)).unwrap_or_default(),
            reason: visible(&left.why.to_string()).into_owned(),
        }
    }
}

impl AnnexRow {
    fn of(record: &Record, number: usize, zone: &TimeZone) -> Self {
        let key = record.session.key();
        Self {
            number,
            record: visible(&key.to_string()).into_owned(),
            revision: record.revision,
            read_at: local(record.session.provenance.fetched_at, zone),
            payload: record.payload_hex().unwrap_or_default(),
        }
    }
}

/// One session as reports list it.
pub(super) struct Row {
    pub(super) number: usize,
    pub(super) start: String,
    /// In UTC, for programs that read the page.
    pub(super) start_utc: String,
    pub(super) end: String,
    pub(super) lasted: String,
    pub(super) vehicle: String,
    pub(super) place: String,
    pub(super) account: String,
    pub(super) energy: String,
    pub(super) cost: String,
    pub(super) grade: &'static str,
    pub(super) remarks: String,
}

/// How many digits figures are written with, so that they stand below each other and none is cut off.
pub(super) struct Digits {
    pub(super) energy: u32,
    cost: BTreeMap<Currency, u32>,
}

impl Digits {
    pub(super) fn of(ledger: &Ledger) -> Self {
        let energy = ledger.entries.iter().filter_map(|entry| entry.energy);
        let energy = energy.map(|energy| energy.as_kwh().scale()).max().unwrap_or_default().max(3);
        let mut cost: BTreeMap<Currency, u32> = BTreeMap::new();
        for (currency, amount) in ledger.entries.iter().filter_map(|entry| entry.cost) {
            let digits = cost.entry(currency).or_insert(currency.minor_digits().unwrap_or(2));
            *digits = amount.normalize().scale().max(*digits);
        }
        Self { energy, cost }
    }

    pub(super) fn money(&self, currency: Currency, amount: Decimal) -> String {
        let digits = self.cost.get(&currency).copied().or(currency.minor_digits()).unwrap_or(2);
        format!("{} {currency}", fixed(amount, digits))
    }

    pub(super) fn costs(&self, costs: &BTreeMap<Currency, Decimal>) -> Vec<String> {
        costs.iter().map(|(currency, amount)| self.money(*currency, *amount)).collect()
    }
}

impl Row {
    pub(super) fn of(entry: &Entry, number: usize, digits: &Digits, zone: &TimeZone) -> Self {
        let session = &entry.record.session;
        let period = &session.timing.period;
        let place = session.place.location.as_ref().and_then(|location| location.label.as_deref());
        let key = session.key();
        Self {
            number,
            start: period.start.map(|start| local(start, zone)).unwrap_or_default(),
            start_utc: period.start.map(|start| start.to_string()).unwrap_or_default(),
            end: period.end.map(|end| local(end, zone)).unwrap_or_default(),
            lasted: period.start.zip(period.end).map(|(start, end)| lasted(start, end)).unwrap_or_default(),
            vehicle: vehicle(&entry.record),
            place: place.map(|place| visible(place).into_owned()).unwrap_or_default(),
            account: visible(&format!("{}/{}", key.provider, key.account)).into_owned(),
            energy: entry.energy.map(|energy| kwh(energy, digits.energy)).unwrap_or_default(),
            cost: entry.cost.map(|(currency, amount)| digits.money(currency, amount)).unwrap_or_default(),
            grade: entry.grade.map(Grade::as_str).unwrap_or_default(),
            remarks: remarks(entry),
        }
    }
}

/// What a person should know about a row.
pub(super) fn remarks(entry: &Entry) -> String {
    let mut remarks: Vec<String> =
        entry.standing.why().map(|why| visible(&why.to_string()).into_owned()).into_iter().collect();
    if entry.is_part {
        remarks.push("the part in this period".into());
    }
    let issues = entry.record.session.issues.iter().filter(|issue| issue.severity >= Severity::Warning);
    for issue in issues {
        let code = visible(issue.code.as_str()).into_owned();
        if !remarks.contains(&code) {
            remarks.push(code);
        }
    }
    remarks.join("; ")
}

/// The energy of a period, piece by piece.
pub(super) fn energy_chart(ledger: &Ledger, digits: &Digits) -> Chart {
    let mut pieces: BTreeMap<String, (Energy, usize)> = BTreeMap::new();
    for (label, energy) in ledger.entries.iter().flat_map(|entry| &entry.pieces) {
        let piece = pieces.entry(label.clone()).or_default();
        piece.0 = [piece.0, *energy].into_iter().sum();
        piece.1 += 1;
    }
    let pieces: Vec<_> = ledger
        .period
        .piece_labels()
        .into_iter()
        .map(|label| {
            let (energy, sessions) = pieces.get(&label).copied().unwrap_or_default();
            (label, energy.as_kwh(), sessions)
        })
        .collect();
    Chart::new(format!("Energy per {}", piece_word(ledger)), "kWh", digits.energy, &pieces)
}

pub(super) fn piece_word(ledger: &Ledger) -> &'static str {
    if ledger.period.pieces() == Width::Month { "month" } else { "day" }
}

pub(super) fn kwh(energy: Energy, digits: u32) -> String {
    fixed(energy.as_kwh(), digits)
}

fn period(period: &Period) -> String {
    let format = if period.width() == Width::Year { "%Y" } else { "%B %Y" };
    period.window().from().to_zoned(period.zone().clone()).strftime(format).to_string()
}

/// A time on the clock of the zone; with the offset on days on which the clock is changed.
pub(super) fn local(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    let begins = |day: Option<Date>| Some(day?.to_zoned(zone.clone()).ok()?.timestamp());
    let day = begins(Some(at.date())).zip(begins(at.date().tomorrow().ok()));
    let changes = day.is_none_or(|(begin, end)| end.duration_since(begin) != SignedDuration::from_hours(24));
    at.strftime(if changes { "%Y-%m-%d %H:%M %:z" } else { "%Y-%m-%d %H:%M" }).to_string()
}

fn lasted(start: Timestamp, end: Timestamp) -> String {
    let lasted: SignedDuration = end.duration_since(start);
    let minutes = lasted.as_secs() / 60;
    let sign = if minutes < 0 { "-" } else { "" };
    format!("{sign}{}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// What tells one vehicle from another: two may have one name, and one may be given another name.
pub(super) fn vehicle_key(record: &Record) -> String {
    let vehicle = record.session.parties.vehicle.as_ref();
    let id = vehicle.and_then(|vehicle| vehicle.source_id.as_deref().or(vehicle.name.as_deref()));
    // Identifiers are those of one provider.
    id.map(|id| format!("{}/{id}", record.session.key().provider)).unwrap_or_default()
}

pub(super) fn vehicle(record: &Record) -> String {
    let vehicle = record.session.parties.vehicle.as_ref();
    let word = vehicle.and_then(|vehicle| vehicle.name.as_deref().or(vehicle.source_id.as_deref()));
    word.map(|word| visible(word).into_owned()).unwrap_or_default()
}

/// The columns that the rows of every report begin with.
pub(super) const COLUMNS: [Column; 16] = [
    column("number", ColumnKind::Integer, "the number of the row in the report"),
    column("start", ColumnKind::Instant, "the start, in UTC"),
    column("end", ColumnKind::Instant, "the end, in UTC"),
    column("start_local", ColumnKind::Local, "the start on the clock of `time_zone`"),
    column("end_local", ColumnKind::Local, "the end on the clock of `time_zone`"),
    column("time_zone", ColumnKind::Text, "an IANA zone"),
    column("provider", ColumnKind::Text, "who gave the record"),
    column("account", ColumnKind::Text, "through which account"),
    column("kind", ColumnKind::Text, "the level of the record"),
    column("source_id", ColumnKind::Text, "its identifier at the provider"),
    column("vehicle", ColumnKind::Text, "the vehicle's name, or else its identifier"),
    column("counts", ColumnKind::Text, "`yes`, `no`, `energy_only` or `cost_only`"),
    column("remark", ColumnKind::Text, "why it does not count, and what is odd about it"),
    column("energy_kwh", ColumnKind::Decimal(6), "the energy that counts in the period"),
    column("evidence", ColumnKind::Text, "the evidence grade, `A` to `E`"),
    column("payload_sha256", ColumnKind::Text, "the hash of the bytes that the record was read from"),
];

/// What the rows of every report begin with.
pub(super) fn cells(
    number: usize,
    record: &Record,
    counts: &str,
    remark: String,
    energy: Option<Energy>,
    zone: &TimeZone,
) -> Vec<Cell> {
    let (session, key) = (&record.session, record.session.key());
    let period = &session.timing.period;
    let on_clock = |at: Option<Timestamp>| Cell::local(at.map(|at| at.to_zoned(zone.clone()).datetime()));
    vec![
        Cell::Integer(number as i64),
        Cell::instant(period.start),
        Cell::instant(period.end),
        on_clock(period.start),
        on_clock(period.end),
        Cell::text(zone.iana_name()),
        Cell::text(Some(key.provider)),
        Cell::text(Some(&key.account)),
        Cell::text(Some(key.kind)),
        Cell::text(Some(&key.source_id)),
        Cell::text(Some(vehicle(record)).filter(|word| !word.is_empty())),
        Cell::text(Some(counts)),
        Cell::text(Some(remark).filter(|remark| !remark.is_empty())),
        Cell::decimal(energy.map(Energy::as_kwh)),
        Cell::text(Grade::of(session)),
        Cell::text(record.payload_hex()),
    ]
}

/// The rows of what does not count, to stand below those that do. Filled up with nothing to `width` cells.
pub(super) fn left_out_cells(ledger: &Ledger, width: usize) -> impl Iterator<Item = Vec<Cell>> {
    let first = ledger.entries.len() + 1;
    ledger.left_out.iter().zip(first..).map(move |(left, number)| {
        let remark = left.why.to_string();
        let mut cells = cells(number, &left.record, "no", remark, None, ledger.period.zone());
        cells.resize(width, Cell::Empty);
        cells
    })
}
