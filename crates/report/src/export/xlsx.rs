//! Workbooks of spreadsheet programs.

use std::{
    fmt,
    io::{self, Write},
};

use rust_decimal::prelude::ToPrimitive as _;
use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use super::{Cell, Column, ColumnKind, TableWriter, rounded, too_long};

/// The most rows that a sheet has, its header included.
const MOST_ROWS: u32 = 1_048_576;
/// The most UTF-16 units that a cell has.
const MOST_TEXT: usize = 32_767;

/// A table as the only sheet of an XLSX workbook, with a header that stays in view. Numbers are numbers, of which the
/// format keeps 15 digits; times are real times, without a zone, which a column of the table names.
///
/// The rows are kept in a temporary file until the end, because the format wants it so.
pub struct XlsxTable<W: Write + Send> {
    out: W,
    workbook: Workbook,
    sheet: Worksheet,
    columns: Vec<Column>,
    formats: Vec<Format>,
    next: u32,
}

impl<W: Write + Send> fmt::Debug for XlsxTable<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XlsxTable").field("rows", &self.next).finish_non_exhaustive()
    }
}

impl<W: Write + Send> XlsxTable<W> {
    /// Writes the header of a sheet of this name.
    ///
    /// # Errors
    ///
    /// If there is no room for a temporary file, or the name is none for a sheet.
    pub fn new(out: W, name: &str, columns: &[Column]) -> io::Result<Self> {
        let mut workbook = Workbook::new();
        let mut sheet = workbook.new_worksheet_with_constant_memory().map_err(error)?;
        sheet.set_name(name).map_err(error)?;
        sheet.set_freeze_panes(1, 0).map_err(error)?;
        let header = Format::new().set_bold();
        let mut formats = Vec::new();
        for (place, column) in (0..).zip(columns) {
            let (width, format) = look(column.kind);
            let width = f64::max(width, column.name.len() as f64 + 2.0);
            sheet.set_column_width(place, width).map_err(error)?;
            sheet.write_string_with_format(0, place, column.name, &header).map_err(error)?;
            formats.push(Format::new().set_num_format(format));
        }
        Ok(Self { out, workbook, sheet, columns: columns.to_vec(), formats, next: 1 })
    }
}

/// The width of a column, in characters, and how its cells are shown.
fn look(kind: ColumnKind) -> (f64, &'static str) {
    match kind {
        ColumnKind::Text => (16.0, "@"),
        ColumnKind::Integer => (8.0, "0"),
        ColumnKind::Decimal(_) => (12.0, "0.00####"),
        ColumnKind::Instant | ColumnKind::Local => (20.0, "yyyy-mm-dd hh:mm:ss"),
    }
}

impl<W: Write + Send> TableWriter for XlsxTable<W> {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        if self.next >= MOST_ROWS {
            return Err(too_long(
                "a sheet of XLSX has room for 1048575 records: ask for a shorter span of time, or for CSV",
            ));
        }
        for (place, (cell, (column, format))) in
            (0..).zip(cells.iter().zip(self.columns.iter().zip(&self.formats)))
        {
            let (sheet, row) = (&mut self.sheet, self.next);
            match cell {
                Cell::Empty => Ok(sheet),
                Cell::Text(text) => sheet.write_string(row, place, fitting(text)),
                Cell::Integer(number) => sheet.write_number_with_format(row, place, *number as f64, format),
                Cell::Decimal(figure) => {
                    let figure = rounded(*figure, column.kind).to_f64().unwrap_or_default();
                    sheet.write_number_with_format(row, place, figure, format)
                }
                Cell::Instant(at) => {
                    let at = jiff::tz::Offset::UTC.to_datetime(*at);
                    date_or_text(sheet, row, place, at, format)
                }
                Cell::Local(at) => date_or_text(sheet, row, place, *at, format),
            }
            .map_err(error)?;
        }
        self.next += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.workbook.push_worksheet(self.sheet);
        self.workbook.save_to_writer(&mut self.out).map_err(error)?;
        self.out.flush()
    }
}

/// A date as the format has them, from 1900; one before is text.
fn date_or_text<'a>(
    sheet: &'a mut Worksheet,
    row: u32,
    place: u16,
    at: jiff::civil::DateTime,
    format: &Format,
) -> Result<&'a mut Worksheet, XlsxError> {
    if at.year() < 1900 {
        return sheet.write_string(row, place, at.strftime("%Y-%m-%d %H:%M:%S").to_string());
    }
    sheet.write_datetime_with_format(row, place, at, format)
}

/// As much of a text as a cell has room for.
fn fitting(text: &str) -> String {
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units < MOST_TEXT
    };
    let cut: String = text.chars().take_while(fits).collect();
    if cut.len() == text.len() { cut } else { cut + "…" }
}

fn error(error: XlsxError) -> io::Error {
    match error {
        XlsxError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
