//! `charging-sessions export`: sessions of the store as a file for programs, or as many.

use std::path::Path;

use charging_sessions_report::{
    Choice, Record,
    export::{self, CsvDialect, CsvTable, JsonLines, TableWriter, XlsxTable},
};
use clap::ValueEnum;
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    args::SharedArgs,
    config::Config,
    exit::{Code, Failure},
    file::{File, FileArgs},
    records,
    stored::{self, FilterArgs},
};

/// Which sessions, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    file: FileArgs,
    /// The type of the file, if its name does not end with it.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    file_type: Option<Kind>,
    #[command(flatten)]
    csv: CsvArgs,
    /// Keep all sessions as Parquet files by provider and month, in the folder or the object store (`s3://`, `gs://` or
    /// `az://`) that --output names. Only what is new is written.
    #[arg(long, conflicts_with_all = FILTERS)]
    partitioned: bool,
}

/// What chooses some sessions, or another file: the files of a folder are always of all.
const FILTERS: [&str; 15] = [
    "since",
    "until",
    "last",
    "month",
    "provider",
    "account",
    "vehicle",
    "charge_point",
    "kind",
    "status",
    "vanished",
    "issues",
    "force",
    "file_type",
    "csv_dialect",
];

/// Which CSV.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct CsvArgs {
    /// How CSV is written.
    #[arg(long, value_enum, value_name = "DIALECT", default_value_t)]
    csv_dialect: Dialect,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// Commas, and points in decimals.
    #[default]
    Rfc4180,
    /// Semicolons, commas in decimals and a byte order mark, as a German Excel opens it.
    ExcelDe,
}

impl CsvArgs {
    pub(crate) fn dialect(&self) -> CsvDialect {
        match self.csv_dialect {
            Dialect::Rfc4180 => CsvDialect::Rfc4180,
            Dialect::ExcelDe => CsvDialect::ExcelDe,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A table as text.
    Csv,
    /// A workbook of spreadsheet programs.
    Xlsx,
    /// One whole record on each line.
    Jsonl,
    /// Columns for data frames.
    Parquet,
}

impl Kind {
    fn of(args: &ExportArgs) -> Result<Self, Failure> {
        let suffix = args.file.suffix();
        let named = suffix.and_then(|suffix| Self::from_str(&suffix, false).ok());
        args.file_type.or(named).ok_or_else(|| {
            Failure::usage(
                "the name of the file says no type: end it with .csv, .xlsx, .jsonl or .parquet, or add --type",
            )
        })
    }
}

/// Rows on their way into a file.
enum Rows<'a> {
    Table(Box<dyn TableWriter + 'a>),
    Lines(JsonLines<&'a mut File>),
}

impl<'a> Rows<'a> {
    fn new(kind: Kind, out: &'a mut File, dialect: CsvDialect) -> Result<Self, Failure> {
        let columns = export::COLUMNS;
        Ok(match kind {
            Kind::Csv => Self::Table(Box::new(CsvTable::new(out, columns, dialect)?)),
            Kind::Xlsx => Self::Table(Box::new(XlsxTable::new(out, "Sessions", columns)?)),
            Kind::Jsonl => Self::Lines(JsonLines::new(out)),
            #[cfg(feature = "parquet")]
            Kind::Parquet => Self::Table(Box::new(export::ParquetTable::new(out, columns)?)),
            #[cfg(not(feature = "parquet"))]
            Kind::Parquet => {
                return Err(Failure::usage(
                    "this program was built without Parquet: install it with `cargo install \
                     charging-sessions-cli --features parquet`, or export .csv or .jsonl",
                ));
            }
        })
    }

    fn write(&mut self, record: &Record, choice: &Choice, zone: &TimeZone) -> Result<(), Failure> {
        let standing = choice.standing(record.session.key());
        match self {
            Self::Table(table) => table.row(&export::cells(record, standing, zone))?,
            Self::Lines(lines) => lines.record(record, standing)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Table(table) => table.finish()?,
            Self::Lines(lines) => lines.finish()?,
        }
        Ok(())
    }
}

pub(crate) async fn run(args: &ExportArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    if args.partitioned {
        return partitioned(&args.file.output, &Config::load(shared)?).await;
    }
    let kind = Kind::of(args)?;
    let config = Config::load(shared)?;
    let store = stored::read(&config).await?;
    let mut file = args.file.open()?;
    let mut rows = Rows::new(kind, &mut file, args.csv.dialect())?;
    let filter = args.filter.filter(&config.zone, Timestamp::now())?;
    let choice = records::choice(&*store, &filter, false).await?;
    let mut count = 0_u64;
    stored::each_of(&*store, &filter, |row| {
        if !args.filter.wants(&row.session) {
            return Ok(());
        }
        count += 1;
        rows.write(&records::record(row), &choice, &config.zone)
    })
    .await?;
    rows.finish()?;
    file.commit()?;
    if !args.file.is_standard() {
        eprintln!("Wrote {}: {count} records.", args.file.output.display());
    }
    Ok(Code::Done)
}

#[cfg(feature = "lake")]
async fn partitioned(place: &Path, config: &Config) -> Result<Code, Failure> {
    let store = stored::read(config).await?;
    let lake = charging_sessions_lake::Lake::open(&place.to_string_lossy())?;
    let written = lake.write(&*store, &config.zone).await?;
    eprintln!(
        "{}: {} records; {} new, {} kept and {} removed of the files.",
        place.display(),
        written.rows,
        written.new_files,
        written.kept_files,
        written.removed_files
    );
    Ok(Code::Done)
}

#[cfg(not(feature = "lake"))]
async fn partitioned(_: &Path, _: &Config) -> Result<Code, Failure> {
    Err(Failure::usage(
        "this program was built without partitioned exports: install it with `cargo install charging-sessions-cli \
         --features lake`, or export one file",
    ))
}
