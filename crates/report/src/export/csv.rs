//! Comma-separated values, RFC 4180.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use super::{Cell, Column, TableWriter, rounded};
use crate::formula_safe;

/// Which CSV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CsvDialect {
    /// RFC 4180 in UTF-8: commas between fields, points in decimals, CRLF after each row.
    #[default]
    Rfc4180,
    /// What a German Excel opens by a double click: semicolons between fields, commas in decimals, a byte order mark.
    ExcelDe,
}

/// A table as CSV, with a header. Text that a spreadsheet would take for a formula has an apostrophe before it.
#[derive(Debug)]
pub struct CsvTable<W: Write> {
    rows: csv::Writer<W>,
    dialect: CsvDialect,
    columns: Vec<Column>,
}

impl<W: Write> CsvTable<W> {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn new(mut out: W, columns: &[Column], dialect: CsvDialect) -> io::Result<Self> {
        let mut builder = csv::WriterBuilder::new();
        builder.terminator(csv::Terminator::CRLF);
        if dialect == CsvDialect::ExcelDe {
            out.write_all("\u{feff}".as_bytes())?;
            builder.delimiter(b';');
        }
        let mut rows = builder.from_writer(out);
        rows.write_record(columns.iter().map(|column| column.name))?;
        Ok(Self { rows, dialect, columns: columns.to_vec() })
    }

    fn field<'a>(&self, cell: &'a Cell, column: &Column) -> Cow<'a, str> {
        match cell {
            Cell::Empty => "".into(),
            Cell::Text(text) => formula_safe(text),
            Cell::Integer(number) => number.to_string().into(),
            Cell::Decimal(figure) => {
                let text = rounded(*figure, column.kind).to_string();
                if self.dialect == CsvDialect::ExcelDe { text.replace('.', ",").into() } else { text.into() }
            }
            Cell::Instant(at) => at.to_string().into(),
            Cell::Local(at) => at.strftime("%Y-%m-%d %H:%M:%S").to_string().into(),
        }
    }
}

impl<W: Write> TableWriter for CsvTable<W> {
    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        let fields: Vec<_> =
            cells.iter().zip(&self.columns).map(|(cell, column)| self.field(cell, column)).collect();
        Ok(self.rows.write_record(fields.iter().map(|field| field.as_bytes()))?)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.rows.flush()
    }
}
