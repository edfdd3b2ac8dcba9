//! Records as files for programs: CSV, JSON Lines, XLSX and, by the feature `parquet`, Parquet.
//!
//! [`COLUMNS`] says what each column is; the names end in the unit. JSON Lines hold the whole record. All but XLSX write
//! a row when it comes and keep at most a group of rows in memory; XLSX keeps them in a temporary file.

use std::{fmt::Display, io};

use charging_sessions_core::{Distance, Energy, EnergyReading, Grams, Percent, Power, SessionKey};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use rust_decimal::Decimal;

use crate::{Grade, Record, Standing};

mod csv;
mod json;
#[cfg(feature = "parquet")]
mod parquet;
mod xlsx;

#[cfg(feature = "parquet")]
pub use self::parquet::ParquetTable;
pub use self::{
    csv::{CsvDialect, CsvTable},
    json::JsonLines,
    xlsx::XlsxTable,
};

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Column {
    /// Its name. Lower case, with the unit at the end.
    pub name: &'static str,
    /// What its cells are.
    pub kind: ColumnKind,
    /// What it means.
    pub meaning: &'static str,
}

/// What the cells of a column are. Any may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A decimal with at most so many digits after the point; what has more is rounded, half to even.
    Decimal(u8),
    /// An instant.
    Instant,
    /// A date and a time on the clock of a zone.
    Local,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Not given.
    Empty,
    /// Text, as the provider wrote it. What is dangerous in a format, that format makes harmless.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// An exact decimal.
    Decimal(Decimal),
    /// An instant.
    Instant(Timestamp),
    /// A date and a time on the clock of a zone.
    Local(DateTime),
}

impl Cell {
    /// Text, or nothing.
    pub fn text(text: Option<impl Display>) -> Self {
        text.map_or(Self::Empty, |text| Self::Text(text.to_string()))
    }

    /// A whole number, or nothing.
    pub fn integer(number: Option<i64>) -> Self {
        number.map_or(Self::Empty, Self::Integer)
    }

    /// A decimal, or nothing.
    pub fn decimal(number: Option<Decimal>) -> Self {
        number.map_or(Self::Empty, Self::Decimal)
    }

    /// An instant, or nothing.
    pub fn instant(at: Option<Timestamp>) -> Self {
        at.map_or(Self::Empty, Self::Instant)
    }

    /// A time on the clock, or nothing.
    pub fn local(at: Option<DateTime>) -> Self {
        at.map_or(Self::Empty, Self::Local)
    }
}

/// Writes a table, row by row.
pub trait TableWriter {
    /// Writes a row. It has a cell for each column, of the column's kind or empty.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or the format has no room for it.
    fn row(&mut self, cells: &[Cell]) -> io::Result<()>;

    /// Writes what comes after the last row. Without it, the file may not be whole.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

pub(crate) const fn column(name: &'static str, kind: ColumnKind, meaning: &'static str) -> Column {
    Column { name, kind, meaning }
}

/// The columns of an export, in their order. New ones are only ever added at the end.
pub const COLUMNS: &[Column] = &[
    column("session_id", ColumnKind::Text, "the stable handle of the record: the UUID of its key"),
    column("provider", ColumnKind::Text, "who gave the record"),
    column("account", ColumnKind::Text, "through which account"),
    column("kind", ColumnKind::Text, "the level of the record; never add up different ones without `counts`"),
    column("source_id", ColumnKind::Text, "its identifier at the provider"),
    column("parent_id", ColumnKind::Text, "the `session_id` of the record that contains it or that it bills"),
    column("status", ColumnKind::Text, "how far it has come; figures of `active` are not final"),
    column("start", ColumnKind::Instant, "what the provider calls the start, in UTC"),
    column("end", ColumnKind::Instant, "what the provider calls the end, in UTC"),
    column("start_local", ColumnKind::Local, "the start on the clock of `time_zone`"),
    column("end_local", ColumnKind::Local, "the end on the clock of `time_zone`"),
    column("time_zone", ColumnKind::Text, "the IANA zone that the export was asked for"),
    column("place_time_zone", ColumnKind::Text, "the IANA zone of the place, as far as it is known"),
    column("period_basis", ColumnKind::Text, "what start and end bound"),
    column("end_basis", ColumnKind::Text, "how the end came about"),
    column("connected_seconds", ColumnKind::Integer, "how long the vehicle was connected, as reported"),
    column("charging_seconds", ColumnKind::Integer, "how long energy flowed, as reported"),
    column("energy_kwh", ColumnKind::Decimal(6), "the provider's headline figure for the energy"),
    column("energy_direction", ColumnKind::Text, "which way it flowed"),
    column("energy_point", ColumnKind::Text, "where it was measured"),
    column("energy_method", ColumnKind::Text, "how it was measured"),
    column("grid_kwh", ColumnKind::Decimal(6), "what of it came from the public grid"),
    column("solar_kwh", ColumnKind::Decimal(6), "what of it came from own solar panels"),
    column("battery_kwh", ColumnKind::Decimal(6), "what of it came from an own battery"),
    column("meter_id", ColumnKind::Text, "the meter's identifier"),
    column("meter_start_kwh", ColumnKind::Decimal(6), "its register at the start"),
    column("meter_end_kwh", ColumnKind::Decimal(6), "its register at the end"),
    column("power_max_kw", ColumnKind::Decimal(6), "the highest power"),
    column("soc_start_percent", ColumnKind::Decimal(6), "the state of charge at the start"),
    column("soc_end_percent", ColumnKind::Decimal(6), "the state of charge at the end"),
    column("odometer_km", ColumnKind::Decimal(6), "the odometer"),
    column(
        "cost_amount",
        ColumnKind::Decimal(10),
        "the cost, in the major unit; 0 is free, empty is not known",
    ),
    column("cost_currency", ColumnKind::Text, "its currency, ISO 4217"),
    column("cost_tax", ColumnKind::Text, "whether tax is in it"),
    column("cost_basis", ColumnKind::Text, "where the cost comes from"),
    column("co2_grams", ColumnKind::Decimal(6), "carbon dioxide, as the provider reckons"),
    column("co2_method", ColumnKind::Text, "how it was reckoned"),
    column("mode", ColumnKind::Text, "the provider's word for how charging was steered"),
    column("vehicle_id", ColumnKind::Text, "the vehicle's identifier at the provider"),
    column("vehicle_name", ColumnKind::Text, "the vehicle's name at the provider"),
    column("charge_point_id", ColumnKind::Text, "the charge point's identifier at the provider"),
    column("charge_point_name", ColumnKind::Text, "the charge point's name at the provider"),
    column("evse_id", ColumnKind::Text, "the charge point's public identifier"),
    column(
        "token_contract_id",
        ColumnKind::Text,
        "the contract of the token; its number is not exported, who knows it can copy the card",
    ),
    column(
        "location",
        ColumnKind::Text,
        "the label of the place; address and coordinates are in JSON Lines alone",
    ),
    column("evidence", ColumnKind::Text, "the evidence grade of the energy, `A` to `E`"),
    column("counts", ColumnKind::Text, "whether it is in sums: `yes`, `no`, `energy_only` or `cost_only`"),
    column("counts_because", ColumnKind::Text, "why it is not in sums, or not in full"),
    column("issues", ColumnKind::Text, "the codes of what is odd about it, with blanks between"),
    column("revision", ColumnKind::Integer, "how often the record has changed, from 1"),
    column("missing_since", ColumnKind::Instant, "since when the provider no longer lists it"),
    column("fetched_at", ColumnKind::Instant, "when it was read from the provider"),
    column("payload_sha256", ColumnKind::Text, "the hash of the bytes that it was read from"),
];

/// The cells of a record, for [`COLUMNS`]. Local times are those of `zone`.
pub fn cells(record: &Record, standing: &Standing, zone: &TimeZone) -> Vec<Cell> {
    let (session, key) = (&record.session, record.session.key());
    let (timing, energy, parties) = (&session.timing, &session.energy, &session.parties);
    let reading: Option<&EnergyReading> = energy.readings.first();
    let cost = session.costs.cost.as_ref();
    let (vehicle, plug) = (parties.vehicle.as_ref(), parties.charge_point.as_ref());
    let on_clock = |at: Option<Timestamp>| Cell::local(at.map(|at| at.to_zoned(zone.clone()).datetime()));
    let kwh = |energy: Option<Energy>| Cell::decimal(energy.map(Energy::as_kwh));
    let issues: Vec<_> = session.issues.iter().map(|issue| issue.code.as_str()).collect();
    vec![
        Cell::text(Some(key.id())),
        Cell::text(Some(key.provider)),
        Cell::text(Some(&key.account)),
        Cell::text(Some(key.kind)),
        Cell::text(Some(&key.source_id)),
        Cell::text(session.identity.parent.as_ref().map(SessionKey::id)),
        Cell::text(Some(session.state.status)),
        Cell::instant(timing.period.start),
        Cell::instant(timing.period.end),
        on_clock(timing.period.start),
        on_clock(timing.period.end),
        Cell::text(zone.iana_name()),
        Cell::text(timing.zone.as_ref().map(|zone| &zone.name)),
        Cell::text(Some(timing.period.basis)),
        Cell::text(Some(timing.period.end_basis)),
        Cell::integer(timing.connected_for.map(|time| time.as_secs())),
        Cell::integer(timing.charging_for.map(|time| time.as_secs())),
        kwh(reading.map(|reading| reading.energy)),
        Cell::text(reading.map(|reading| reading.direction)),
        Cell::text(reading.map(|reading| reading.point)),
        Cell::text(reading.map(|reading| reading.method)),
        kwh(energy.sources.grid),
        kwh(energy.sources.solar),
        kwh(energy.sources.battery),
        Cell::text(energy.registers.meter_id.as_ref()),
        kwh(energy.registers.start),
        kwh(energy.registers.end),
        Cell::decimal(session.power.max.map(Power::as_kw)),
        Cell::decimal(session.state_of_charge.start.map(Percent::value)),
        Cell::decimal(session.state_of_charge.end.map(Percent::value)),
        Cell::decimal(session.driving.odometer.map(Distance::as_km)),
        Cell::decimal(cost.map(|cost| cost.money.amount)),
        Cell::text(cost.map(|cost| cost.money.currency)),
        Cell::text(cost.map(|cost| cost.tax)),
        Cell::text(cost.map(|cost| cost.basis)),
        Cell::decimal(session.emissions.total.map(Grams::value)),
        Cell::text(session.emissions.method),
        Cell::text(session.state.mode.as_ref().map(|mode| &mode.word)),
        Cell::text(vehicle.and_then(|vehicle| vehicle.source_id.as_ref())),
        Cell::text(vehicle.and_then(|vehicle| vehicle.name.as_ref())),
        Cell::text(plug.and_then(|plug| plug.source_id.as_ref())),
        Cell::text(plug.and_then(|plug| plug.name.as_ref())),
        Cell::text(plug.and_then(|plug| plug.evse_id.as_ref())),
        Cell::text(parties.token.as_ref().and_then(|token| token.contract_id.as_ref())),
        Cell::text(session.place.location.as_ref().and_then(|location| location.label.as_ref())),
        Cell::text(Grade::of(session)),
        Cell::text(Some(standing.as_str())),
        Cell::text(standing.why()),
        Cell::text(Some(issues.join(" ")).filter(|issues| !issues.is_empty())),
        Cell::Integer(record.revision.into()),
        Cell::instant(record.missing_since),
        Cell::Instant(session.provenance.fetched_at),
        Cell::text(record.payload_hex()),
    ]
}

/// A figure as far as its column has digits.
fn rounded(figure: Decimal, kind: ColumnKind) -> Decimal {
    match kind {
        ColumnKind::Decimal(digits) => figure.round_dp(digits.into()).normalize(),
        _ => figure.normalize(),
    }
}

fn too_long(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::choice::tests::session;

    #[test]
    fn every_column_has_one_name_and_a_cell_of_its_kind() {
        let names: BTreeSet<_> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), COLUMNS.len());
        let cells = cells(&Record::new(session("a")), &Standing::Counts, &TimeZone::UTC);
        assert_eq!(cells.len(), COLUMNS.len());
        for (cell, column) in cells.iter().zip(COLUMNS) {
            let fits = match (cell, column.kind) {
                (Cell::Empty, _) => true,
                (Cell::Text(_), kind) => kind == ColumnKind::Text,
                (Cell::Integer(_), kind) => kind == ColumnKind::Integer,
                (Cell::Decimal(_), kind) => matches!(kind, ColumnKind::Decimal(_)),
                (Cell::Instant(_), kind) => kind == ColumnKind::Instant,
                (Cell::Local(_), kind) => kind == ColumnKind::Local,
            };
            assert!(fits, "{}: {cell:?}", column.name);
        }
    }
}
