//! How much carbon dioxide charging caused, each method by itself.

use std::{collections::BTreeMap, io};

use askama::Template;
use charging_sessions_core::{EmissionsMethod, Energy, Grams};
use rust_decimal::Decimal;

use super::{
    chart::Chart,
    common::{self, Context, Digits, Page, Row, kwh, piece_word},
};
use crate::{
    Entry, Ledger,
    export::{Cell, Column, ColumnKind, TableWriter, column},
    text::fixed,
    visible,
};

/// A factor for what the provider does not say.
#[derive(Clone, Debug, PartialEq)]
pub struct Factor {
    /// Grams of each kilowatt-hour.
    pub grams_per_kwh: Decimal,
    /// Where it comes from, for whoever reads the report.
    pub name: String,
    /// What it stands for, if that is known.
    pub method: Option<EmissionsMethod>,
}

/// How emissions are reckoned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// For sessions of which the provider gives no grams. Without it they are listed without.
    pub factor: Option<Factor>,
}

/// Where the grams of a session come from. Grams of different bases are never added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Basis {
    Provider(Option<EmissionsMethod>),
    Factor,
}

impl Basis {
    fn name(self, options: &Options) -> String {
        let method = |method: Option<EmissionsMethod>| match method {
            Some(EmissionsMethod::LocationAverage) => "location-based, average of the grid",
            Some(EmissionsMethod::Marginal) => "location-based, marginal",
            Some(EmissionsMethod::Market) => "market-based",
            _ => "method not stated",
        };
        match (self, &options.factor) {
            (Self::Provider(stated), _) => format!("as the provider says, {}", method(stated)),
            (Self::Factor, Some(factor)) => format!(
                "by the factor {} g/kWh, {} ({})",
                factor.grams_per_kwh.normalize(),
                visible(&factor.name),
                method(factor.method)
            ),
            (Self::Factor, None) => "by a factor".into(),
        }
    }
}

#[derive(Template)]
#[template(path = "emissions.html")]
struct EmissionsPage {
    page: Page,
    energy: String,
    bases: Vec<BasisView>,
    without: usize,
    without_energy: String,
    piece: &'static str,
    rows: Vec<GramsRow>,
}

struct BasisView {
    name: String,
    sessions: usize,
    energy: String,
    grams: String,
    chart: Chart,
}

struct GramsRow {
    row: Row,
    grams: String,
    basis: String,
}

/// The grams of a session in the period, and where they come from.
fn grams(entry: &Entry, options: &Options) -> Option<(Basis, Decimal)> {
    // What adds no energy adds no emissions: they are those of another record.
    let energy = entry.standing.energy().then_some(entry.energy);
    let emissions = &entry.record.session.emissions;
    if let Some(total) = emissions.total.map(Grams::value) {
        energy?;
        return Some((Basis::Provider(emissions.method), entry.share_of(total)?));
    }
    let factor = options.factor.as_ref()?;
    Some((Basis::Factor, energy??.as_kwh().checked_mul(factor.grams_per_kwh)?))
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
    let digits = Digits::of(ledger);
    let mut bases: BTreeMap<Basis, Vec<(&Entry, Decimal)>> = BTreeMap::new();
    let mut without = Vec::new();
    for entry in ledger.entries.iter().filter(|entry| entry.standing.energy()) {
        match grams(entry, options) {
            Some((basis, grams)) => bases.entry(basis).or_default().push((entry, grams)),
            None => without.push(entry),
        }
    }
    let energy =
        |entries: &mut dyn Iterator<Item = &Entry>| entries.filter_map(|it| it.energy).sum::<Energy>();
    let view = |(basis, entries): (&Basis, &Vec<(&Entry, Decimal)>)| {
        let sum = entries.iter().fold(Decimal::ZERO, |sum, (_, grams)| sum.saturating_add(*grams));
        let name = basis.name(options);
        BasisView {
            sessions: entries.len(),
            energy: kwh(energy(&mut entries.iter().map(|(entry, _)| *entry)), digits.energy),
            grams: kilograms(sum),
            chart: chart(ledger, format!("Carbon dioxide per {}, {name}", piece_word(ledger)), entries),
            name,
        }
    };
    let row = |(entry, number)| {
        let found = grams(entry, options);
        GramsRow {
            row: Row::of(entry, number, &digits, ledger.period.zone()),
            grams: found.map(|(_, grams)| kilograms(grams)).unwrap_or_default(),
            basis: found.map(|(basis, _)| basis.name(options)).unwrap_or_default(),
        }
    };
    let rules = vec![(
        "Carbon dioxide",
        "The grams that the provider gives, with its method. For a session without, energy times the factor that was \
         given for this report, if one was. Methods are never added up: location-based and market-based figures are two \
         accounts of the same energy."
            .into(),
    )];
    let page = EmissionsPage {
        page: Page::new("Carbon dioxide of charging", ledger, context, rules),
        energy: kwh(ledger.energy(), digits.energy),
        bases: bases.iter().map(view).collect(),
        without: without.len(),
        without_energy: kwh(energy(&mut without.iter().copied()), digits.energy),
        piece: piece_word(ledger),
        rows: ledger.entries.iter().zip(1..).map(row).collect(),
    };
    page.write_into(out)
}

fn kilograms(grams: Decimal) -> String {
    fixed(grams / Decimal::ONE_THOUSAND, 3)
}

/// Grams lie in the pieces of a period as the energy does.
fn chart(ledger: &Ledger, title: String, entries: &[(&Entry, Decimal)]) -> Chart {
    let mut pieces: BTreeMap<&str, (Decimal, usize)> = BTreeMap::new();
    for (entry, grams) in entries {
        let whole = entry.energy.unwrap_or_default().as_kwh();
        for (label, energy) in &entry.pieces {
            let share = energy.as_kwh().checked_div(whole).unwrap_or(Decimal::ONE);
            let piece = pieces.entry(label.as_str()).or_default();
            let grams = grams.checked_mul(share).unwrap_or_default();
            piece.0 = piece.0.saturating_add(grams / Decimal::ONE_THOUSAND);
            piece.1 += 1;
        }
    }
    let labels = ledger.period.piece_labels();
    let pieces: Vec<_> = labels
        .into_iter()
        .map(|label| {
            let (kilograms, sessions) = pieces.get(label.as_str()).copied().unwrap_or_default();
            (label, kilograms, sessions)
        })
        .collect();
    Chart::new(title, "kg", 3, &pieces)
}

/// The columns of [`table`], behind those that every report begins with.
const COLUMNS: [Column; 4] = [
    column("co2_grams", ColumnKind::Decimal(6), "carbon dioxide of the energy that counts in the period"),
    column("co2_basis", ColumnKind::Text, "where the figure comes from; never add up different ones"),
    column("factor_grams_per_kwh", ColumnKind::Decimal(6), "the factor, if the figure comes from one"),
    column("factor_name", ColumnKind::Text, "where the factor comes from"),
];

/// The columns of the rows that [`table`] writes.
pub fn columns() -> Vec<Column> {
    [&common::COLUMNS[..], &COLUMNS].concat()
}

/// Writes the sessions, and below them what does not count.
///
/// # Errors
///
/// If they cannot be written.
pub fn table(ledger: &Ledger, options: &Options, out: &mut dyn TableWriter) -> io::Result<()> {
    for (entry, number) in ledger.entries.iter().zip(1..) {
        let (record, counts) = (&entry.record, entry.standing.as_str());
        let remarks = common::remarks(entry);
        let mut cells = common::cells(number, record, counts, remarks, entry.energy, ledger.period.zone());
        let found = grams(entry, options);
        let factor =
            options.factor.as_ref().filter(|_| found.is_some_and(|(basis, _)| basis == Basis::Factor));
        cells.extend([
            Cell::decimal(found.map(|(_, grams)| grams)),
            Cell::text(found.map(|(basis, _)| basis.name(options))),
            Cell::decimal(factor.map(|factor| factor.grams_per_kwh)),
            Cell::text(factor.map(|factor| &factor.name)),
        ]);
        out.row(&cells)?;
    }
    common::left_out_cells(ledger, columns().len()).try_for_each(|cells| out.row(&cells))
}
