//! Parquet: columns for data frames and databases.

use std::{
    io::{self, Write},
    sync::Arc,
};

use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type},
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};
use rust_decimal::Decimal;

use super::{Cell, Column, ColumnKind, TableWriter, rounded, too_long};

/// How many rows are kept in memory before they are written as a group.
const GROUP: usize = 16_384;
/// The digits of decimals: what 16 bytes hold.
const PRECISION: i32 = 38;

/// A table as Parquet, compressed with Snappy. Every column may be null. Decimals are `DECIMAL(38, n)`, instants
/// `TIMESTAMP` in UTC to the microsecond, times on the clock `TIMESTAMP` that is not adjusted to UTC.
pub struct ParquetTable<W: Write + Send> {
    out: SerializedFileWriter<W>,
    columns: Vec<Column>,
    /// By column.
    group: Vec<Vec<Cell>>,
}

impl<W: Write + Send> std::fmt::Debug for ParquetTable<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetTable").finish_non_exhaustive()
    }
}

impl<W: Write + Send> ParquetTable<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn new(out: W, columns: &[Column]) -> io::Result<Self> {
        let fields = columns.iter().map(|column| field(column).map(Arc::new)).collect::<Result<Vec<_>, _>>();
        let schema = Type::group_type_builder("session").with_fields(fields.map_err(error)?).build();
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let properties =
            properties.set_created_by(concat!("charging-sessions ", env!("CARGO_PKG_VERSION")).into());
        let out =
            SerializedFileWriter::new(out, Arc::new(schema.map_err(error)?), Arc::new(properties.build()));
        let group = columns.iter().map(|_| Vec::new()).collect();
        Ok(Self { out: out.map_err(error)?, columns: columns.to_vec(), group })
    }

    fn flush_group(&mut self) -> io::Result<()> {
        if self.group.first().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let mut group = self.out.next_row_group().map_err(error)?;
        for (cells, column) in self.group.iter_mut().zip(&self.columns) {
            let cells = std::mem::take(cells);
            let levels: Vec<i16> = cells.iter().map(|cell| i16::from(*cell != Cell::Empty)).collect();
            let given = cells.iter().filter(|cell| **cell != Cell::Empty);
            let Some(mut out) = group.next_column().map_err(error)? else {
                return Err(too_long("the file has fewer columns than the table"));
            };
            match column.kind {
                ColumnKind::Text => {
                    let values: Vec<ByteArray> = given.map(text).collect();
                    out.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)
                }
                ColumnKind::Integer | ColumnKind::Instant | ColumnKind::Local => {
                    let values: Vec<i64> = given.map(integer).collect();
                    out.typed::<Int64Type>().write_batch(&values, Some(&levels), None)
                }
                ColumnKind::Decimal(digits) => {
                    let values = given.map(|cell| decimal(cell, digits)).collect::<io::Result<Vec<_>>>()?;
                    out.typed::<FixedLenByteArrayType>().write_batch(&values, Some(&levels), None)
                }
            }
            .map_err(error)?;
            out.close().map_err(error)?;
        }
        group.close().map_err(error)?;
        Ok(())
    }
}

impl<W: Write + Send> TableWriter for ParquetTable<W> {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        for (column, cell) in self.group.iter_mut().zip(cells) {
            column.push(cell.clone());
        }
        if self.group.first().is_some_and(|column| column.len() >= GROUP) {
            self.flush_group()
        } else {
            Ok(())
        }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.flush_group()?;
        self.out.close().map_err(error)?;
        Ok(())
    }
}

fn field(column: &Column) -> Result<Type, ParquetError> {
    let (physical, logical) = match column.kind {
        ColumnKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnKind::Integer => (Physical::INT64, None),
        ColumnKind::Decimal(digits) => {
            (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::decimal(digits.into(), PRECISION)))
        }
        ColumnKind::Instant => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        ColumnKind::Local => (Physical::INT64, Some(LogicalType::timestamp(false, TimeUnit::MICROS))),
    };
    let field = Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    match column.kind {
        ColumnKind::Decimal(digits) => {
            field.with_length(16).with_precision(PRECISION).with_scale(digits.into()).build()
        }
        _ => field.build(),
    }
}

fn text(cell: &Cell) -> ByteArray {
    match cell {
        Cell::Text(text) => text.as_str().into(),
        _ => "".into(),
    }
}

fn integer(cell: &Cell) -> i64 {
    match cell {
        Cell::Integer(number) => *number,
        Cell::Instant(at) => at.as_microsecond(),
        // As if the clock were in UTC: that is what not being adjusted means.
        Cell::Local(at) => jiff::tz::Offset::UTC.to_timestamp(*at).map_or(0, jiff::Timestamp::as_microsecond),
        _ => 0,
    }
}

/// Sixteen bytes of two's complement, the most significant first.
fn decimal(cell: &Cell, digits: u8) -> io::Result<FixedLenByteArray> {
    let Cell::Decimal(figure) = cell else { return Ok(ByteArray::from(vec![0; 16]).into()) };
    let figure: Decimal = rounded(*figure, ColumnKind::Decimal(digits));
    let factor = 10_i128.checked_pow(u32::from(digits).saturating_sub(figure.scale()));
    let scaled = factor.and_then(|factor| figure.mantissa().checked_mul(factor));
    let scaled = scaled.filter(|scaled| scaled.unsigned_abs() < 10_u128.pow(38));
    let scaled = scaled.ok_or_else(|| too_long("a number has more digits than Parquet has room for"))?;
    Ok(ByteArray::from(scaled.to_be_bytes().to_vec()).into())
}

fn error(error: ParquetError) -> io::Error {
    io::Error::other(error)
}
