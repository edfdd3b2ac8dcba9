//! What was charged in a month or a year: by day, by vehicle, by account, session by session.

use std::{collections::BTreeMap, io};

use askama::Template;
use charging_sessions_core::{Currency, Energy};
use rust_decimal::{Decimal, prelude::ToPrimitive as _};

use super::{
    chart::Chart,
    common::{self, Context, Digits, Page, Row, kwh, piece_word},
};
use crate::{
    Entry, Ledger,
    export::{Cell, Column, ColumnKind, TableWriter, column},
    ledger::costs,
};

#[derive(Template)]
#[template(path = "monthly.html")]
struct Monthly {
    page: Page,
    sessions: usize,
    energy: String,
    costs: Vec<String>,
    without_energy: usize,
    without_cost: usize,
    chart: Chart,
    piece: &'static str,
    groups: [Groups; 2],
    rows: Vec<Row>,
}

/// Sums by something.
struct Groups {
    title: &'static str,
    of: &'static str,
    rows: Vec<Group>,
}

struct Group {
    name: String,
    sessions: usize,
    energy: String,
    /// Of the highest, in percent.
    width: f64,
    costs: Vec<String>,
}

/// Writes the page.
///
/// # Errors
///
/// If it cannot be written.
pub fn html(ledger: &Ledger, context: &Context, out: &mut impl io::Write) -> io::Result<()> {
    let digits = Digits::of(ledger);
    let zone = ledger.period.zone();
    let entries = &ledger.entries;
    let account = |entry: &Entry| {
        let key = entry.record.session.key();
        format!("{}/{}", key.provider, key.account)
    };
    let page = Monthly {
        page: Page::new("Charging", ledger, context, Vec::new()),
        sessions: entries.iter().filter(|entry| entry.standing.energy()).count(),
        energy: kwh(ledger.energy(), digits.energy),
        costs: digits.costs(&ledger.cost()),
        without_energy: entries.iter().filter(|it| it.standing.energy() && it.energy.is_none()).count(),
        without_cost: entries.iter().filter(|it| it.standing.cost() && it.cost.is_none()).count(),
        chart: common::energy_chart(ledger, &digits),
        piece: piece_word(ledger),
        groups: [
            groups("By vehicle", "vehicle", ledger, &digits, |entry| {
                (common::vehicle_key(&entry.record), common::vehicle(&entry.record))
            }),
            groups("By account", "account", ledger, &digits, |entry| (account(entry), account(entry))),
        ],
        rows: entries.iter().zip(1..).map(|(entry, n)| Row::of(entry, n, &digits, zone)).collect(),
    };
    page.write_into(out)
}

fn groups(
    title: &'static str,
    of: &'static str,
    ledger: &Ledger,
    digits: &Digits,
    name: impl Fn(&Entry) -> (String, String),
) -> Groups {
    // By what tells them apart, with the latest name.
    let mut groups: BTreeMap<String, (String, Vec<&Entry>)> = BTreeMap::new();
    for entry in &ledger.entries {
        let (key, name) = name(entry);
        let group = groups.entry(key).or_default();
        group.0 = name;
        group.1.push(entry);
    }
    let energy = |entries: &[&Entry]| entries.iter().filter_map(|entry| entry.energy).sum::<Energy>();
    let most = groups.values().map(|(_, entries)| energy(entries)).max().unwrap_or_default().as_kwh();
    let rows = groups.into_values().map(|(name, entries)| {
        let sum = energy(&entries);
        let share = sum.as_kwh().max(Decimal::ZERO).checked_div(most).unwrap_or_default();
        Group {
            name: if name.is_empty() { "not said".into() } else { crate::visible(&name).into_owned() },
            sessions: entries.iter().filter(|entry| entry.standing.energy()).count(),
            energy: kwh(sum, digits.energy),
            width: share.to_f64().unwrap_or_default() * 100.0,
            costs: digits.costs(&costs(entries)),
        }
    });
    Groups { title, of, rows: rows.collect() }
}

/// The columns of [`table`], behind those that every report begins with.
const COLUMNS: [Column; 4] = [
    column("location", ColumnKind::Text, "the label of the place"),
    column("cost_amount", ColumnKind::Decimal(10), "the cost that counts in the period, in the major unit"),
    column("cost_currency", ColumnKind::Text, "its currency, ISO 4217"),
    column("revision", ColumnKind::Integer, "how often the record has changed, from 1"),
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
pub fn table(ledger: &Ledger, out: &mut dyn TableWriter) -> io::Result<()> {
    for (entry, number) in ledger.entries.iter().zip(1..) {
        let (record, zone) = (&entry.record, ledger.period.zone());
        let counts = entry.standing.as_str();
        let mut cells = common::cells(number, record, counts, common::remarks(entry), entry.energy, zone);
        let place = record.session.place.location.as_ref().and_then(|place| place.label.as_ref());
        let cost: Option<(Currency, Decimal)> = entry.cost;
        cells.extend([
            Cell::text(place),
            Cell::decimal(cost.map(|(_, amount)| amount)),
            Cell::text(cost.map(|(currency, _)| currency)),
            Cell::Integer(record.revision.into()),
        ]);
        out.row(&cells)?;
    }
    common::left_out_cells(ledger, columns().len()).try_for_each(|cells| out.row(&cells))
}
