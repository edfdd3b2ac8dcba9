//! What is to be reimbursed for energy, with the evidence for it.

use std::{collections::BTreeMap, io};

use askama::Template;
use charging_sessions_core::{ChargingSession, Distance, Energy, Money};
use rust_decimal::{Decimal, RoundingStrategy};

use super::common::{self, Context, Digits, Page, Row, kwh};
use crate::{
    Entry, Grade, Ledger, LeftOut, Reason, Record, Why,
    export::{Cell, Column, ColumnKind, TableWriter, column},
    text::fixed,
    visible,
};

/// What is claimed together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// What one vehicle charged.
    #[default]
    Vehicle,
    /// What was authorised with one token, for example an RFID card.
    Token,
    /// What was charged at one place.
    Place,
}

/// What is reimbursed, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// What one kilowatt-hour is reimbursed with. Its currency has a [minor unit](charging_sessions_core::Currency::minor_digits).
    pub price_per_kwh: Money,
    /// What is claimed together.
    pub by: GroupBy,
}

#[derive(Template)]
#[template(path = "reimbursement.html")]
struct Reimbursement {
    page: Page,
    price: String,
    of: &'static str,
    claims: Vec<ClaimView>,
    energy: String,
    total: String,
}

struct ClaimView {
    name: String,
    rows: Vec<ClaimRow>,
    energy: String,
    exact: String,
    amount: String,
    odometer: String,
    /// Whether any row has readings of a meter.
    has_meter: bool,
    /// How many rows have each grade.
    grades: String,
}

impl ClaimView {
    /// How many columns stand before the energy.
    fn columns_before(&self) -> usize {
        4 + if self.has_meter { 2 } else { 0 } + usize::from(!self.odometer.is_empty())
    }
}

struct ClaimRow {
    row: Row,
    meter_start: String,
    meter_end: String,
    amount: String,
    odometer: String,
}

/// An entry with its number in the report and its energy.
type Numbered<'a> = (usize, &'a Entry, Energy);

/// What one vehicle, token or place is owed.
struct Claim<'a> {
    name: String,
    entries: Vec<Numbered<'a>>,
    energy: Energy,
    /// Energy times price.
    exact: Decimal,
    /// That, rounded.
    amount: Decimal,
}

impl GroupBy {
    const fn word(self) -> &'static str {
        match self {
            Self::Vehicle => "Vehicle",
            Self::Token => "Token",
            Self::Place => "Place",
        }
    }

    /// What tells one group from another, and how it is written.
    fn of(self, record: &Record) -> (String, String) {
        let (key, name) = match self {
            Self::Vehicle => (common::vehicle_key(record), common::vehicle(record)),
            Self::Token => {
                let token = record.session.parties.token.as_ref();
                let uid = token.and_then(|token| token.uid.as_ref()).map(|uid| uid.expose().as_str());
                let contract = token.and_then(|token| token.contract_id.clone());
                let name = contract.clone().or(uid.map(ending)).unwrap_or_default();
                (uid.map(str::to_owned).or(contract).unwrap_or_default(), name)
            }
            Self::Place => {
                let place = record.session.place.location.as_ref();
                let place = place.and_then(|place| place.label.clone()).unwrap_or_default();
                (place.clone(), place)
            }
        };
        (key, if name.is_empty() { "not said".into() } else { visible(&name).into_owned() })
    }
}

/// The last four characters: who knows all of a card's number can copy the card.
fn ending(uid: &str) -> String {
    let count = uid.chars().count();
    let shown = if count >= 8 { 4 } else { 0 };
    format!("…{}", uid.chars().skip(count - shown).collect::<String>())
}

fn claims<'a>(ledger: &'a Ledger, options: &Options) -> Vec<Claim<'a>> {
    // By what tells them apart, with the latest name.
    let mut groups: BTreeMap<String, (String, Vec<Numbered<'_>>)> = BTreeMap::new();
    for (number, entry) in (1..).zip(&ledger.entries) {
        if let Some(energy) = entry.energy {
            let (key, name) = options.by.of(&entry.record);
            let group = groups.entry(key).or_default();
            group.0 = name;
            group.1.push((number, entry, energy));
        }
    }
    let price = options.price_per_kwh;
    let digits = price.currency.minor_digits().unwrap_or(2);
    let claim = |(name, entries): (String, Vec<Numbered<'a>>)| {
        let energy: Energy = entries.iter().map(|(_, _, energy)| *energy).sum();
        let exact = energy.as_kwh().saturating_mul(price.amount).normalize();
        let amount = exact.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero);
        Claim { name, entries, energy, exact, amount }
    };
    groups.into_values().map(claim).collect()
}

/// What has no energy cannot be paid for by energy.
fn without_energy(ledger: &Ledger) -> Ledger {
    let mut ledger = ledger.clone();
    let (with, without): (Vec<_>, Vec<_>) =
        ledger.entries.into_iter().partition(|entry| entry.energy.is_some());
    ledger.entries = with;
    ledger.left_out.extend(without.into_iter().map(|entry| {
        let why = entry.standing.why().cloned();
        let why = why.unwrap_or(Why { reason: Reason::NoEnergy, other: None });
        LeftOut { record: entry.record, why }
    }));
    ledger
}

fn total(claims: &[Claim<'_>]) -> Decimal {
    claims.iter().fold(Decimal::ZERO, |sum, claim| sum.saturating_add(claim.amount))
}

/// Writes the page.
///
/// # Errors
///
/// If it cannot be written.
pub fn html(
    ledger: &Ledger,
    options: &Options,
    context: &Context,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let ledger = &without_energy(ledger);
    let price = options.price_per_kwh;
    let claims = claims(ledger, options);
    let (total, digits) = (total(&claims), Digits::of(ledger));
    let scale = price.currency.minor_digits().unwrap_or(2);
    let money = |amount: Decimal| format!("{} {}", fixed(amount, scale), price.currency);
    let rules = vec![
        (
            "Reimbursement",
            format!(
                "Each {} is reimbursed with its energy times {} per kWh, a price that was given for this report. The \
                 exact product is rounded once, half away from zero, to {scale} digits; the sum is that of the rounded \
                 amounts.",
                options.by.word().to_lowercase(),
                price
            ),
        ),
        (
            "What this is",
            "Figures and their evidence. It is not tax advice: whether an employer or a tax office takes a grade of \
             evidence, and which price is allowed, is for them to say."
                .into(),
        ),
    ];
    let page = Reimbursement {
        page: Page::new("Reimbursement of charging", ledger, context, rules),
        price: price.to_string(),
        of: options.by.word(),
        energy: kwh(ledger.energy(), digits.energy),
        total: money(total),
        claims: claims.iter().map(|claim| claim.view(ledger, options, &digits, money)).collect(),
    };
    page.write_into(out)
}

impl Claim<'_> {
    fn view(
        &self,
        ledger: &Ledger,
        options: &Options,
        digits: &Digits,
        money: impl Fn(Decimal) -> String,
    ) -> ClaimView {
        let price = options.price_per_kwh;
        let exact = |energy: Energy| energy.as_kwh().saturating_mul(price.amount).normalize();
        // All with the digits of the longest, so that they stand below each other and add up.
        let scale =
            self.entries.iter().map(|(_, _, energy)| exact(*energy).scale()).max().unwrap_or_default();
        let scale = scale.max(2);
        let rows = self.entries.iter().map(|(number, entry, energy)| {
            let session = &entry.record.session;
            let registers = &session.energy.registers;
            let register =
                |energy: Option<Energy>| energy.map(|it| kwh(it, digits.energy)).unwrap_or_default();
            ClaimRow {
                row: Row::of(entry, *number, digits, ledger.period.zone()),
                meter_start: register(registers.start),
                meter_end: register(registers.end),
                amount: fixed(exact(*energy), scale),
                odometer: odometer(session).map(|km| km.to_string()).unwrap_or_default(),
            }
        });
        let odometers = || self.entries.iter().filter_map(|(_, entry, _)| odometer(&entry.record.session));
        let odometer = odometers().min().zip(odometers().max());
        ClaimView {
            name: self.name.clone(),
            rows: rows.collect(),
            energy: kwh(self.energy, digits.energy),
            exact: fixed(self.exact, scale),
            amount: money(self.amount),
            odometer: odometer.map(|(from, until)| format!("{from} to {until} km")).unwrap_or_default(),
            has_meter: self.entries.iter().any(|(_, entry, _)| {
                let registers = &entry.record.session.energy.registers;
                registers.start.is_some() || registers.end.is_some()
            }),
            grades: self.grades(),
        }
    }
}

impl Claim<'_> {
    fn grades(&self) -> String {
        let count = |grade| self.entries.iter().filter(|(_, entry, _)| entry.grade == Some(grade)).count();
        let grades = Grade::ALL.map(|grade| (grade, count(grade)));
        let words =
            grades.iter().filter(|(_, count)| *count > 0).map(|(grade, count)| format!("{count} of {grade}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// In kilometres.
fn odometer(session: &ChargingSession) -> Option<Decimal> {
    session.driving.odometer.map(|distance| distance.as_km().round_dp(1).normalize())
}

/// The columns of [`table`], behind those that every report begins with.
const COLUMNS: [Column; 8] = [
    column("claim", ColumnKind::Text, "the vehicle, token or place that is claimed for"),
    column("meter_id", ColumnKind::Text, "the meter's identifier"),
    column("meter_start_kwh", ColumnKind::Decimal(6), "its register at the start"),
    column("meter_end_kwh", ColumnKind::Decimal(6), "its register at the end"),
    column("price_per_kwh_amount", ColumnKind::Decimal(10), "the price of this report"),
    column("amount_exact", ColumnKind::Decimal(10), "energy times price, not rounded to the minor unit"),
    column("amount_currency", ColumnKind::Text, "its currency, ISO 4217"),
    column("odometer_km", ColumnKind::Decimal(6), "the odometer"),
];

/// The columns of the rows that [`table`] writes.
pub fn columns() -> Vec<Column> {
    [&common::COLUMNS[..], &COLUMNS].concat()
}

/// Writes the sessions, claim by claim, and below them what does not count.
///
/// # Errors
///
/// If they cannot be written.
pub fn table(ledger: &Ledger, options: &Options, out: &mut dyn TableWriter) -> io::Result<()> {
    let ledger = &without_energy(ledger);
    let price = options.price_per_kwh;
    for claim in claims(ledger, options) {
        for (number, entry, energy) in &claim.entries {
            let (record, counts) = (&entry.record, entry.standing.as_str());
            let zone = ledger.period.zone();
            let remarks = common::remarks(entry);
            let mut cells = common::cells(*number, record, counts, remarks, entry.energy, zone);
            let registers = &record.session.energy.registers;
            cells.extend([
                Cell::text(Some(&claim.name)),
                Cell::text(registers.meter_id.as_ref()),
                Cell::decimal(registers.start.map(Energy::as_kwh)),
                Cell::decimal(registers.end.map(Energy::as_kwh)),
                Cell::Decimal(price.amount),
                Cell::Decimal(energy.as_kwh().saturating_mul(price.amount)),
                Cell::text(Some(price.currency)),
                Cell::decimal(record.session.driving.odometer.map(Distance::as_km)),
            ]);
            out.row(&cells)?;
        }
    }
    common::left_out_cells(ledger, columns().len()).try_for_each(|cells| out.row(&cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_card_only_the_end_of_its_number_shows() {
        assert_eq!(ending("04A1B2C3D4"), "…C3D4");
        assert_eq!(ending("1234567"), "…");
        assert_eq!(ending(""), "…");
    }
}
