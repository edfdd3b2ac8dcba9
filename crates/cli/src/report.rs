//! `charging-sessions report`: a month or a year of the store, for people.

use charging_sessions::{
    AccountId, AssetRef, ChargingSession, Currency, EmissionsMethod, Money, ProviderId, Sensitive,
    decimal_from_str,
};
use charging_sessions_report::{
    Context, Ledger, LedgerBuilder, Period,
    emissions::{self, Factor},
    export::{Column, CsvTable, TableWriter, XlsxTable},
    monthly, reimbursement,
};
use charging_sessions_store::{Filter, SessionStore};
use clap::ValueEnum;
use jiff::{Timestamp, tz::TimeZone};
use rust_decimal::Decimal;

use crate::{
    args::SharedArgs,
    config::Config,
    exit::{Code, Failure},
    export::CsvArgs,
    file::{File, FileArgs},
    records, stored,
    summary::Bucket,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum ReportCommand {
    /// What was charged: by day, by vehicle, by account, session by session.
    Monthly(ReportArgs),
    /// What is to be reimbursed for energy, with the evidence for it.
    Reimbursement(ReimbursementArgs),
    /// How much carbon dioxide charging caused.
    Co2(Co2Args),
}

/// Which sessions, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// The month, such as 2026-10, or the year.
    #[arg(long, value_name = "MONTH")]
    month: String,
    /// Of this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<ProviderId>,
    /// Of this account.
    #[arg(long, value_name = "NAME")]
    account: Option<AccountId>,
    /// Of this vehicle, by the provider's identifier.
    #[arg(long, value_name = "ID", conflicts_with = "charge_point")]
    vehicle: Option<String>,
    /// Of this charge point, by the provider's identifier.
    #[arg(long, value_name = "ID")]
    charge_point: Option<String>,
    /// Authorised with this token, by its contract or its number, for example of an RFID card.
    #[arg(long, value_name = "ID")]
    token: Option<String>,
    /// Where a session belongs that reaches over the border of the month.
    #[arg(long, value_enum, default_value_t)]
    bucket_by: Bucket,
    #[command(flatten)]
    file: FileArgs,
    /// The type of the file, if its name does not end with it; html on standard output.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    file_type: Option<Kind>,
    #[command(flatten)]
    csv: CsvArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReimbursementArgs {
    #[command(flatten)]
    report: ReportArgs,
    /// What a kilowatt-hour is reimbursed with, such as 0.32; from the configuration unless given.
    #[arg(long, value_name = "PRICE", value_parser = price, requires = "currency")]
    price_per_kwh: Option<Decimal>,
    /// The currency of the price, such as EUR.
    #[arg(long, value_name = "CODE", value_parser = currency, requires = "price_per_kwh")]
    currency: Option<Currency>,
    /// What is claimed together.
    #[arg(long, value_enum, default_value_t)]
    by: By,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Co2Args {
    #[command(flatten)]
    report: ReportArgs,
    /// A factor for sessions of which the provider gives no grams.
    #[arg(long, value_name = "GRAMS", value_parser = price, requires = "factor_name")]
    grams_per_kwh: Option<Decimal>,
    /// Where the factor comes from, which stands in the report.
    #[arg(long, value_name = "NAME", requires = "grams_per_kwh")]
    factor_name: Option<String>,
    /// What the factor stands for.
    #[arg(long, value_enum, value_name = "METHOD", requires = "grams_per_kwh")]
    factor_method: Option<Method>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A page that needs nothing else.
    Html,
    /// The rows as text.
    Csv,
    /// The rows as a workbook of spreadsheet programs.
    Xlsx,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum By {
    /// What one vehicle charged.
    #[default]
    Vehicle,
    /// What was authorised with one token.
    Token,
    /// What was charged at one place.
    Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// The average of the grid at the place.
    Location,
    /// By the contract for the electricity.
    Market,
}

/// A price or a factor, from zero up.
pub(crate) fn price(text: &str) -> Result<Decimal, String> {
    let price = decimal_from_str(text).filter(|price| !price.is_sign_negative());
    let price = price.filter(|price| *price < Decimal::from(1_000_000));
    price.ok_or_else(|| "not a number such as 0.32, from zero and below a million".to_owned())
}

/// A currency whose minor unit is known.
pub(crate) fn currency(code: &str) -> Result<Currency, String> {
    Currency::in_use(code).ok_or_else(|| "not an ISO 4217 code such as EUR".to_owned())
}

/// What is to be written of a ledger.
enum Document {
    Monthly,
    Reimbursement(reimbursement::Options),
    Co2(emissions::Options),
}

pub(crate) async fn run(command: &ReportCommand, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let (args, document) = match command {
        ReportCommand::Monthly(args) => (args, Document::Monthly),
        ReportCommand::Reimbursement(args) => (&args.report, args.document(&config)?),
        ReportCommand::Co2(args) => (&args.report, args.document()),
    };
    let period = Period::parse(&args.month, config.zone.clone());
    let period = period.map_err(|error| Failure::usage(format!("--month is {error}")))?;
    let kind = args.kind()?;
    let store = stored::read(&config).await?;
    let mut file = args.file.open()?;
    let ledger = ledger(&*store, args, period).await?;
    document.write(&ledger, kind, &args.context(), &mut file, args)?;
    file.commit()?;
    if !args.file.is_standard() {
        let (entries, left_out) = (ledger.entries.len(), ledger.left_out.len());
        let path = args.file.output.display();
        eprintln!("Wrote {path}: {entries} records with {} count, {left_out} do not.", ledger.energy());
    }
    Ok(Code::Done)
}

/// All records of the store that the arguments let through, whatever their month: one of another month may tell of the
/// same charge.
async fn ledger(store: &dyn SessionStore, args: &ReportArgs, period: Period) -> Result<Ledger, Failure> {
    let mut builder = LedgerBuilder::new(period, args.bucket_by.rule());
    let mut filter = Filter::default();
    filter.provider = args.provider;
    filter.account.clone_from(&args.account);
    filter.asset = args.vehicle.as_ref().map(AssetRef::vehicle);
    if let Some(id) = &args.charge_point {
        filter.asset = Some(AssetRef::charge_point(id));
    }
    stored::each_of(store, &filter, |row| {
        if args.wants(&row.session) {
            builder.add(records::record(row));
        }
        Ok(())
    })
    .await?;
    Ok(builder.finish())
}

/// Writes the monthly report of a whole store.
pub(crate) async fn write_monthly(
    store: &dyn SessionStore,
    month: &str,
    zone: &TimeZone,
    file: FileArgs,
) -> Result<(), Failure> {
    let period = Period::parse(month, zone.clone());
    let period = period.map_err(|error| Failure::usage(format!("--month is {error}")))?;
    let args = ReportArgs {
        month: month.to_owned(),
        provider: None,
        account: None,
        vehicle: None,
        charge_point: None,
        token: None,
        bucket_by: Bucket::Start,
        file,
        file_type: Some(Kind::Html),
        csv: CsvArgs::default(),
    };
    let mut out = args.file.open()?;
    let ledger = ledger(store, &args, period).await?;
    monthly::html(&ledger, &args.context(), &mut out)?;
    out.commit()
}

impl ReportArgs {
    fn kind(&self) -> Result<Kind, Failure> {
        let suffix = self.file.suffix();
        let named = suffix.and_then(|suffix| Kind::from_str(&suffix, false).ok());
        let standard = self.file.is_standard().then_some(Kind::Html);
        self.file_type.or(named).or(standard).ok_or_else(|| {
            Failure::usage(
                "the name of the file says no type: end it with .html, .csv or .xlsx, or add --type",
            )
        })
    }

    fn wants(&self, session: &ChargingSession) -> bool {
        self.token.as_ref().is_none_or(|wanted| {
            let token = session.parties.token.as_ref();
            let number = token.and_then(|token| token.uid.as_ref().map(Sensitive::expose));
            let contract = token.and_then(|token| token.contract_id.as_ref());
            number == Some(wanted) || contract == Some(wanted)
        })
    }

    fn context(&self) -> Context {
        let filter = |what: &str, value: Option<String>| value.map(|value| format!("{what} {value}"));
        let filters = [
            filter("provider", self.provider.map(|provider| provider.to_string())),
            filter("account", self.account.as_ref().map(ToString::to_string)),
            filter("vehicle", self.vehicle.clone()),
            filter("charge point", self.charge_point.clone()),
            // Who knows the number of a card can copy it.
            self.token.as_ref().map(|_| "one token".to_owned()),
        ];
        Context {
            made_at: Timestamp::now(),
            made_by: concat!("charging-sessions ", env!("CARGO_PKG_VERSION")).to_owned(),
            filters: filters.into_iter().flatten().collect(),
        }
    }
}

impl ReimbursementArgs {
    fn document(&self, config: &Config) -> Result<Document, Failure> {
        let given =
            self.price_per_kwh.zip(self.currency).map(|(price, currency)| Money::new(price, currency));
        let price_per_kwh = given.or(config.price_per_kwh).ok_or_else(|| {
            Failure::usage(
                "what is a kilowatt-hour reimbursed with? Add --price-per-kwh 0.32 --currency EUR, or write \
                 [reimbursement] with price_per_kwh and currency into the configuration",
            )
        })?;
        let by = match self.by {
            By::Vehicle => reimbursement::GroupBy::Vehicle,
            By::Token => reimbursement::GroupBy::Token,
            By::Place => reimbursement::GroupBy::Place,
        };
        Ok(Document::Reimbursement(reimbursement::Options { price_per_kwh, by }))
    }
}

impl Co2Args {
    fn document(&self) -> Document {
        let method = self.factor_method.map(|method| match method {
            Method::Location => EmissionsMethod::LocationAverage,
            Method::Market => EmissionsMethod::Market,
        });
        let factor = self.grams_per_kwh.zip(self.factor_name.clone());
        let factor = factor.map(|(grams_per_kwh, name)| Factor { grams_per_kwh, name, method });
        Document::Co2(emissions::Options { factor })
    }
}

impl Document {
    fn write(
        &self,
        ledger: &Ledger,
        kind: Kind,
        context: &Context,
        out: &mut File,
        args: &ReportArgs,
    ) -> Result<(), Failure> {
        let mut table: Box<dyn TableWriter + '_> = match kind {
            Kind::Html => {
                match self {
                    Self::Monthly => monthly::html(ledger, context, out)?,
                    Self::Reimbursement(options) => reimbursement::html(ledger, options, context, out)?,
                    Self::Co2(options) => emissions::html(ledger, options, context, out)?,
                }
                return Ok(());
            }
            Kind::Csv => Box::new(CsvTable::new(out, &self.columns(), args.csv.dialect())?),
            Kind::Xlsx => Box::new(XlsxTable::new(out, ledger.period.label(), &self.columns())?),
        };
        match self {
            Self::Monthly => monthly::table(ledger, &mut *table)?,
            Self::Reimbursement(options) => reimbursement::table(ledger, options, &mut *table)?,
            Self::Co2(options) => emissions::table(ledger, options, &mut *table)?,
        }
        Ok(table.finish()?)
    }

    fn columns(&self) -> Vec<Column> {
        match self {
            Self::Monthly => monthly::columns(),
            Self::Reimbursement(_) => reimbursement::columns(),
            Self::Co2(_) => emissions::columns(),
        }
    }
}
