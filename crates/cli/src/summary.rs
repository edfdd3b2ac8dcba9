//! `charging-sessions summary`: sums by month, vehicle and whatever else.

use std::io::{self, BufWriter, Write};

use charging_sessions::Energy;
use charging_sessions_report::{BucketRule, GroupBy, SumRule, Summary};
use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    args::{Format, OutputArgs, SharedArgs},
    config::Config,
    exit::{Code, Failure},
    records,
    stored::{self, FilterArgs},
    text,
};

/// What to add up, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct SummaryArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// What to group by, in this order; several with commas between them.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "month")]
    by: Vec<By>,
    /// Where a session belongs that reaches over the border of a month or a day.
    #[arg(long, value_enum, default_value_t)]
    bucket_by: Bucket,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: &SummaryArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let by = args.by.iter().map(|by| by.group()).collect();
    let rule = SumRule { by, bucket: args.bucket_by.rule(), zone: config.zone.clone() };
    let store = stored::read(&config).await?;
    let mut summary = Summary::default();
    let choice =
        records::choice(&*store, &args.filter.filter(&config.zone, Timestamp::now())?, args.filter.vanished)
            .await?;
    stored::each(&*store, &args.filter, &config.zone, |row| {
        summary.add(&records::record(row), &choice, &rule);
        Ok(())
    })
    .await?;
    print(&summary, &rule, args.output.format)?;
    Ok(Code::Done)
}

/// What sums are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The year.
    Year,
    /// The month.
    Month,
    /// The day.
    Day,
    /// The vehicle, by name if it has one.
    Vehicle,
    /// The charge point, by name if it has one.
    ChargePoint,
    /// The provider.
    Provider,
    /// The account.
    Account,
    /// The place, by its label.
    Place,
    /// The provider's word for the mode.
    Mode,
}

/// Where a session belongs that reaches over the border of a month or a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bucket {
    /// Where it starts.
    #[default]
    Start,
    /// Where it ends.
    End,
    /// Part here, part there, as its intervals say. A session without intervals that reaches over a border is left
    /// out, and said so.
    Split,
}

impl By {
    fn group(self) -> GroupBy {
        match self {
            Self::Year => GroupBy::Year,
            Self::Month => GroupBy::Month,
            Self::Day => GroupBy::Day,
            Self::Vehicle => GroupBy::Vehicle,
            Self::ChargePoint => GroupBy::ChargePoint,
            Self::Provider => GroupBy::Provider,
            Self::Account => GroupBy::Account,
            Self::Place => GroupBy::Place,
            Self::Mode => GroupBy::Mode,
        }
    }
}

impl Bucket {
    pub(crate) fn rule(self) -> BucketRule {
        match self {
            Self::Start => BucketRule::Start,
            Self::End => BucketRule::End,
            Self::Split => BucketRule::Split,
        }
    }
}

/// Prints the sums. The rule stands below a table for people, and in every record of the others.
pub(crate) fn print(summary: &Summary, rule: &SumRule, format: Format) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let zone = rule.zone.iana_name().unwrap_or("the zone of this machine");
    let bucket = rule.bucket.as_str();
    let records = || {
        summary.groups.iter().map(|((kind, group), sum)| {
            let mut record = serde_json::Map::new();
            record.insert("kind".into(), json!(kind));
            record.extend(rule.by.iter().zip(group).map(|(by, word)| (by.as_str().into(), json!(word))));
            record.insert("sessions".into(), json!(sum.sessions));
            record.insert("energy_wh".into(), json!(sum.energy));
            record.insert("without_energy".into(), json!(sum.without_energy));
            let cost =
                sum.cost.iter().map(|(currency, amount)| (currency.to_string(), json!(amount.to_string())));
            record.insert("cost".into(), serde_json::Value::Object(cost.collect()));
            record.insert("without_cost".into(), json!(sum.without_cost));
            record.insert("time_zone".into(), json!(zone));
            record.insert("bucket_by".into(), json!(bucket));
            serde_json::Value::Object(record)
        })
    };
    match format {
        Format::Json => writeln!(out, "{:#}", serde_json::Value::from_iter(records()))?,
        Format::Jsonl => records().try_for_each(|record| writeln!(out, "{record}"))?,
        Format::Csv => {
            let mut rows = csv::Writer::from_writer(&mut out);
            let mut header = vec!["kind"];
            header.extend(rule.by.iter().map(|by| by.as_str()));
            header.extend([
                "sessions",
                "energy_wh",
                "cost_amount",
                "cost_currency",
                "time_zone",
                "bucket_by",
            ]);
            rows.write_record(header).map_err(io::Error::from)?;
            for ((kind, group), sum) in &summary.groups {
                // One row for each currency, and one for those without.
                let costs: Vec<_> = sum.cost.iter().map(|(c, a)| (a.to_string(), c.to_string())).collect();
                let costs = if costs.is_empty() { vec![Default::default()] } else { costs };
                for (amount, currency) in costs {
                    let mut row = vec![kind.to_string()];
                    row.extend(group.iter().map(|word| text::cell(word).into_owned()));
                    row.extend([sum.sessions.to_string(), sum.energy.as_wh().to_string(), amount, currency]);
                    row.extend([zone.to_owned(), bucket.to_owned()]);
                    rows.write_record(row).map_err(io::Error::from)?;
                }
            }
            rows.flush()?;
        }
        Format::Table => {
            table(&mut out, summary, rule)?;
            writeln!(
                out,
                "Days and months in {zone}; a session counts where it belongs by `{bucket}`. Each charge counts once."
            )?;
        }
    }
    out.flush()?;
    for (reason, count) in &summary.left_out {
        eprintln!("not in the sums: {count} {reason}");
    }
    Ok(())
}

/// How wide the longest bar is.
const WIDTH: usize = 24;

fn table(out: &mut impl Write, summary: &Summary, rule: &SumRule) -> io::Result<()> {
    let kinds = summary.groups.keys().map(|(kind, _)| *kind);
    let several = kinds.clone().min() != kinds.clone().max();
    let most = summary.groups.values().map(|sum| sum.energy).max().unwrap_or_default();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let mut header: Vec<_> = several.then_some("kind").into_iter().collect();
    header.extend(rule.by.iter().map(|by| by.as_str()));
    header.extend(["sessions", "kWh", "", "cost"]);
    table.set_header(header);
    for ((kind, group), sum) in &summary.groups {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let cost: Vec<_> = sum.cost.iter().map(|(c, amount)| format!("{} {c}", amount.round_dp(2))).collect();
        let mut row: Vec<_> = several.then(|| Cell::new(kind)).into_iter().collect();
        row.extend(group.iter().map(|word| Cell::new(text::visible(word))));
        row.extend([
            right(sum.sessions.to_string()),
            right(format!("{:.3}", sum.energy.as_kwh())),
            Cell::new(bar(sum.energy, most)),
            right(cost.join(", ")),
        ]);
        table.add_row(row);
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A bar as long as the share of `energy` in `most`, to an eighth of a character.
fn bar(energy: Energy, most: Energy) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let (energy, most) = (i128::from(energy.as_mwh().max(0)), i128::from(most.as_mwh()));
    if most <= 0 {
        return String::new();
    }
    let eighths = usize::try_from(energy * (WIDTH as i128 * 8) / most).unwrap_or_default();
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        let wh = |wh| Energy::from_wh(wh).unwrap();
        assert_eq!(bar(wh(100), wh(100)).chars().count(), WIDTH);
        assert_eq!(bar(wh(50), wh(100)).chars().count(), WIDTH / 2);
        assert_eq!(bar(wh(1), wh(192)), "▏");
        assert_eq!(bar(wh(-5), wh(100)) + &bar(wh(0), wh(0)), "");
    }
}
