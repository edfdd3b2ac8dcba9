//! Parquet, read again by another part of the library that writes it.

use bytes::Bytes;
use charging_sessions_core::Energy;
use charging_sessions_report::export::{self, Cell, Column, ColumnKind, ParquetTable, TableWriter};
use jiff::{Timestamp, civil};
use parquet::{
    basic::{LogicalType, TimeUnit},
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, RowAccessor as _},
};

/// The columns of an export that this is about.
fn columns() -> Vec<Column> {
    let wanted = ["source_id", "energy_kwh", "revision", "start", "start_local", "cost_amount"];
    wanted.map(|name| *export::COLUMNS.iter().find(|column| column.name == name).unwrap()).into()
}

fn written(rows: &[Vec<Cell>]) -> SerializedFileReader<Bytes> {
    let mut out = Vec::new();
    let mut table = ParquetTable::new(&mut out, &columns()).unwrap();
    rows.iter().for_each(|row| table.row(row).unwrap());
    Box::new(table).finish().unwrap();
    SerializedFileReader::new(Bytes::from(out)).unwrap()
}

fn row(id: i64) -> Vec<Cell> {
    vec![
        Cell::Text(format!("s{id}")),
        Cell::Decimal(Energy::from_mwh(i64::MAX - id).as_kwh()),
        Cell::Integer(id),
        Cell::Instant("2026-10-25T00:30:00.123456Z".parse::<Timestamp>().unwrap()),
        Cell::Local(civil::date(2026, 10, 25).at(2, 30, 0, 0)),
        Cell::Decimal("-3.123456789".parse().unwrap()),
    ]
}

#[test]
fn types_are_what_they_are_said_to_be() {
    let file = written(&[row(1)]);
    let schema = file.metadata().file_metadata().schema_descr();
    let kinds: Vec<_> = (0..6).map(|place| schema.column(place).logical_type_ref().cloned()).collect();
    let timestamp = |adjusted| Some(LogicalType::timestamp(adjusted, TimeUnit::MICROS));
    let decimal = |digits| Some(LogicalType::decimal(digits, 38));
    let text = Some(LogicalType::String);
    assert_eq!(kinds, [text, decimal(6), None, timestamp(true), timestamp(false), decimal(10)]);
}

#[test]
fn figures_are_exact_and_nothing_is_null() {
    let mut empty = row(2);
    empty.fill(Cell::Empty);
    let file = written(&[row(1), empty]);
    let rows: Vec<_> = file.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let shown: Vec<_> = rows[0].get_column_iter().map(|(_, field)| field.to_string()).collect();
    assert_eq!(shown[0], "\"s1\"");
    assert_eq!(shown[1], "9223372036854.775806");
    assert_eq!(rows[0].get_long(2).unwrap(), 1);
    assert_eq!(rows[0].get_timestamp_micros(3).unwrap(), 1_792_888_200_123_456);
    // 02:30 on the clock, as if it were in UTC.
    assert_eq!(rows[0].get_timestamp_micros(4).unwrap(), 1_792_895_400_000_000);
    assert_eq!(shown[5], "-3.1234567890");
    assert!(rows[1].get_column_iter().all(|(_, field)| *field == Field::Null), "{:?}", rows[1]);
}

#[test]
fn many_rows_are_many_groups_and_all_are_there() {
    let rows: Vec<_> = (0..40_000).map(row).collect();
    let file = written(&rows);
    assert_eq!(file.num_row_groups(), 3, "no more than a group is kept in memory");
    let ids = file.get_row_iter(None).unwrap().map(|row| row.unwrap().get_long(2).unwrap());
    assert!(ids.eq(0..40_000));
}

#[test]
fn a_file_without_rows_is_a_file() {
    let file = written(&[]);
    assert_eq!(file.metadata().file_metadata().num_rows(), 0);
}

#[test]
fn the_largest_amounts_fit_or_are_refused_in_a_sentence() {
    let mut out = Vec::new();
    let mut table = ParquetTable::new(&mut out, &columns()).unwrap();
    let mut large = row(1);
    large[5] = Cell::Decimal("79228162514264337593543950335".parse().unwrap());
    table.row(&large).unwrap();
    let error = Box::new(table).finish().unwrap_err();
    assert_eq!(error.to_string(), "a number has more digits than Parquet has room for");
    assert!(matches!(columns()[5].kind, ColumnKind::Decimal(10)));
}
