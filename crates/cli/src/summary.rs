//! `charging-sessions summary`: sums by month, vehicle and whatever else.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
};

use charging_sessions::{ChargingSession, Currency, Detail, Energy, RecordKind, SessionStatus};
use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::{Timestamp, tz::TimeZone};
use rust_decimal::Decimal;
use serde_json::json;

use crate::{
    args::{Format, OutputArgs, SharedArgs},
    config::Config,
    exit::{Code, Failure},
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
    let rule = Rule { by: args.by.clone(), bucket: args.bucket_by, zone: config.zone.clone() };
    let mut summary = Summary::default();
    stored::each(&*stored::read(&config).await?, &args.filter, &config.zone, |row| {
        summary.add(&row.session, &rule);
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

/// How to add up.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) by: Vec<By>,
    pub(crate) bucket: Bucket,
    pub(crate) zone: TimeZone,
}

/// The sums of one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    /// Sessions that belong here, in whole or in part.
    pub(crate) sessions: usize,
    pub(crate) energy: Energy,
    pub(crate) without_energy: usize,
    pub(crate) cost: BTreeMap<Currency, Decimal>,
    pub(crate) without_cost: usize,
}

/// Sums by group, and what is in none.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Summary {
    /// By level of record, because records of different levels contain each other; then by the words of the groups.
    pub(crate) groups: BTreeMap<(RecordKind, Vec<String>), Sum>,
    /// Why sessions were left out, and how many.
    pub(crate) left_out: BTreeMap<&'static str, usize>,
}

impl Summary {
    pub(crate) fn add(&mut self, session: &ChargingSession, rule: &Rule) {
        match shares(session, rule) {
            Err(reason) => *self.left_out.entry(reason).or_default() += 1,
            Ok(shares) => {
                for (at, share) in shares {
                    let group = rule.by.iter().map(|by| word(session, *by, at, &rule.zone)).collect();
                    let sum = self.groups.entry((session.key().kind, group)).or_default();
                    sum.sessions += 1;
                    match share.energy {
                        Some(energy) => sum.energy = [sum.energy, energy].into_iter().sum(),
                        None => sum.without_energy += 1,
                    }
                    match share.cost {
                        Some((currency, amount)) => *sum.cost.entry(currency).or_default() += amount,
                        None => sum.without_cost += 1,
                    }
                }
            }
        }
    }
}

/// What of a session belongs to the time at which it is.
struct Share {
    energy: Option<Energy>,
    cost: Option<(Currency, Decimal)>,
}

/// The parts of a session with an instant in the bucket of each, or why it belongs to none.
fn shares(session: &ChargingSession, rule: &Rule) -> Result<Vec<(Option<Timestamp>, Share)>, &'static str> {
    if !session.counts() {
        return Err("with impossible figures");
    }
    if session.state.status == SessionStatus::Active {
        return Err("still active");
    }
    let energy = session.energy.headline();
    let cost = session.costs.cost.as_ref().map(|cost| (cost.money.currency, cost.money.amount));
    let whole = |at| Ok(vec![(at, Share { energy, cost })]);
    let (start, end) = (session.timing.period.start, session.timing.period.end);
    let Some(width) = rule.by.iter().rev().find(|by| matches!(by, By::Year | By::Month | By::Day)) else {
        return whole(start);
    };
    let bucket = |at: Timestamp| time_word(*width, at, &rule.zone);
    match rule.bucket {
        Bucket::Start => whole(Some(start.ok_or("without a start")?)),
        Bucket::End => whole(Some(end.ok_or("without an end")?)),
        Bucket::Split => {
            let (start, end) = (start.ok_or("without a start")?, end.ok_or("without an end")?);
            if bucket(start) == bucket(end) {
                return whole(Some(start));
            }
            let Detail::Some(intervals) = &session.details.intervals else {
                return Err("over a border, without intervals to split by");
            };
            let mut parts: BTreeMap<String, (Timestamp, Decimal)> = BTreeMap::new();
            let mut total = Decimal::ZERO;
            for interval in intervals {
                let (Some(from), Some(until), Some(energy)) = (interval.start, interval.end, interval.energy)
                else {
                    continue;
                };
                total += energy.as_wh();
                for (at, share) in pieces(from, until, *width, &rule.zone) {
                    parts.entry(bucket(at)).or_insert((at, Decimal::ZERO)).1 += energy.as_wh() * share;
                }
            }
            if total <= Decimal::ZERO {
                return whole(Some(start));
            }
            // The session's own figures are divided as its intervals are.
            let share = |part: Decimal| Share {
                energy: energy.and_then(|energy| Energy::from_kwh(energy.as_kwh() * part / total)),
                cost: cost
                    .map(|(currency, amount)| (currency, (amount * part / total).round_dp(6).normalize())),
            };
            Ok(parts.into_values().map(|(at, part)| (Some(at), share(part))).collect())
        }
    }
}

/// The parts of a span of time in each bucket, as an instant in it and a share of the whole.
fn pieces(from: Timestamp, until: Timestamp, width: By, zone: &TimeZone) -> Vec<(Timestamp, Decimal)> {
    let whole = until.duration_since(from).as_nanos();
    if whole <= 0 {
        return vec![(from, Decimal::ONE)];
    }
    let mut pieces = Vec::new();
    let mut at = from;
    while at < until {
        let end = border_after(at, width, zone).map_or(until, |border| border.min(until));
        let part = Decimal::from(end.duration_since(at).as_nanos()) / Decimal::from(whole);
        pieces.push((at, part));
        at = end;
    }
    pieces
}

/// The first instant of the bucket after the one that `at` is in.
fn border_after(at: Timestamp, width: By, zone: &TimeZone) -> Option<Timestamp> {
    let day = at.to_zoned(zone.clone()).date();
    let next = match width {
        By::Year => day.last_of_year().tomorrow(),
        By::Month => day.last_of_month().tomorrow(),
        _ => day.tomorrow(),
    };
    Some(next.ok()?.to_zoned(zone.clone()).ok()?.timestamp())
}

fn time_word(width: By, at: Timestamp, zone: &TimeZone) -> String {
    let format = match width {
        By::Year => "%Y",
        By::Month => "%Y-%m",
        _ => "%Y-%m-%d",
    };
    at.to_zoned(zone.clone()).strftime(format).to_string()
}

/// What a session is grouped under.
fn word(session: &ChargingSession, by: By, at: Option<Timestamp>, zone: &TimeZone) -> String {
    let parties = &session.parties;
    let word = match by {
        By::Year | By::Month | By::Day => return at.map(|at| time_word(by, at, zone)).unwrap_or_default(),
        By::Vehicle => parties.vehicle.as_ref().and_then(|it| it.name.as_ref().or(it.source_id.as_ref())),
        By::ChargePoint => {
            parties.charge_point.as_ref().and_then(|it| it.name.as_ref().or(it.source_id.as_ref()))
        }
        By::Provider => return session.key().provider.to_string(),
        By::Account => return session.key().account.to_string(),
        By::Place => session.place.location.as_ref().and_then(|location| location.label.as_ref()),
        By::Mode => session.state.mode.as_ref().map(|mode| &mode.word),
    };
    word.cloned().unwrap_or_default()
}

fn name(by: By) -> &'static str {
    match by {
        By::Year => "year",
        By::Month => "month",
        By::Day => "day",
        By::Vehicle => "vehicle",
        By::ChargePoint => "charge_point",
        By::Provider => "provider",
        By::Account => "account",
        By::Place => "place",
        By::Mode => "mode",
    }
}

/// Prints the sums. The rule stands below a table for people, and in every record of the others.
pub(crate) fn print(summary: &Summary, rule: &Rule, format: Format) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let zone = rule.zone.iana_name().unwrap_or("the zone of this machine");
    let bucket = rule.bucket.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let records = || {
        summary.groups.iter().map(|((kind, group), sum)| {
            let mut record = serde_json::Map::new();
            record.insert("kind".into(), json!(kind));
            record.extend(rule.by.iter().zip(group).map(|(by, word)| (name(*by).into(), json!(word))));
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
            header.extend(rule.by.iter().map(|by| name(*by)));
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
                    row.extend([zone.to_owned(), bucket.clone()]);
                    rows.write_record(row).map_err(io::Error::from)?;
                }
            }
            rows.flush()?;
        }
        Format::Table => {
            table(&mut out, summary, rule)?;
            writeln!(out, "Days and months in {zone}; a session counts where it belongs by `{bucket}`.")?;
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

fn table(out: &mut impl Write, summary: &Summary, rule: &Rule) -> io::Result<()> {
    let kinds = summary.groups.keys().map(|(kind, _)| *kind);
    let several = kinds.clone().min() != kinds.clone().max();
    let most = summary.groups.values().map(|sum| sum.energy).max().unwrap_or_default();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let mut header: Vec<_> = several.then_some("kind").into_iter().collect();
    header.extend(rule.by.iter().map(|by| name(*by)));
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
    use charging_sessions::{
        AccountId, Cost, CostBasis, Endpoint, EnergyReading, Interval, MeasuringPoint, Money, Provenance,
        ProviderId, SessionKey,
    };

    use super::*;

    fn session(id: &str, start: &str, end: &str, wh: i64) -> ChargingSession {
        let key = SessionKey::new(ProviderId::new("x"), AccountId::default(), RecordKind::PlugIn, id);
        let origin = Provenance::new(Endpoint::new("GET /", None), Timestamp::UNIX_EPOCH, 1);
        let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
        session.timing.period.start = start.parse().ok();
        session.timing.period.end = end.parse().ok();
        let energy = Energy::from_wh(wh).unwrap();
        session.energy.readings.push(EnergyReading::import(energy, MeasuringPoint::Unknown));
        let money = Money::new("3.00".parse().unwrap(), Currency::parse("EUR").unwrap());
        session.costs.cost = Some(Cost::new(money, CostBasis::Unknown));
        session
    }

    fn rule(by: &[By], bucket: Bucket) -> Rule {
        Rule { by: by.to_vec(), bucket, zone: TimeZone::get("Europe/Berlin").unwrap() }
    }

    fn sums(sessions: &[ChargingSession], rule: &Rule) -> Vec<String> {
        let mut summary = Summary::default();
        sessions.iter().for_each(|session| summary.add(session, rule));
        let groups = summary.groups.iter().map(|((_, group), sum)| {
            let cost: Vec<_> = sum.cost.values().map(ToString::to_string).collect();
            format!("{} {} {} {}", group.join("/"), sum.sessions, sum.energy.as_wh(), cost.join("+"))
        });
        groups.chain(summary.left_out.iter().map(|(why, n)| format!("{n} {why}"))).collect()
    }

    #[test]
    fn months_are_those_of_the_zone() {
        // Half past eleven in Berlin on the last day of October, and half past midnight on the first of November.
        let sessions = [
            session("a", "2026-10-31T22:30:00Z", "2026-10-31T22:45:00Z", 1000),
            session("b", "2026-10-31T23:30:00Z", "2026-10-31T23:45:00Z", 2000),
        ];
        assert_eq!(
            sums(&sessions, &rule(&[By::Month], Bucket::Start)),
            ["2026-10 1 1000 3.00", "2026-11 1 2000 3.00"]
        );
    }

    #[test]
    fn a_session_over_a_border_goes_where_the_rule_says() {
        let mut over = session("a", "2026-10-31T22:00:00Z", "2026-11-01T02:00:00Z", 4000);
        let by_month = |bucket| rule(&[By::Month], bucket);
        assert_eq!(sums(&[over.clone()], &by_month(Bucket::Start)), ["2026-10 1 4000 3.00"]);
        assert_eq!(sums(&[over.clone()], &by_month(Bucket::End)), ["2026-11 1 4000 3.00"]);
        assert_eq!(
            sums(&[over.clone()], &by_month(Bucket::Split)),
            ["1 over a border, without intervals to split by"]
        );
        // An hour before midnight in Berlin, and one that reaches half an hour over it.
        let interval = |start: &str, seconds, wh| {
            let mut interval = Interval::lasting(start.parse().ok(), Some(seconds));
            interval.energy = Energy::from_wh(wh);
            interval
        };
        over.set_intervals(vec![
            interval("2026-10-31T22:00:00Z", 1800, 1000),
            interval("2026-10-31T22:30:00Z", 3600, 2000),
        ]);
        assert_eq!(sums(&[over], &by_month(Bucket::Split)), ["2026-10 1 2666.667 2", "2026-11 1 1333.333 1"]);
    }

    #[test]
    fn the_longest_and_the_shortest_day_are_one_day_each() {
        // 25 hours in October, 23 in March: both ends of each in Berlin.
        let sessions = [
            session("a", "2026-10-24T22:00:00Z", "2026-10-24T22:10:00Z", 1),
            session("b", "2026-10-25T22:59:59Z", "2026-10-25T23:10:00Z", 2),
            session("c", "2026-03-28T23:00:00Z", "2026-03-28T23:10:00Z", 4),
            session("d", "2026-03-29T21:59:59Z", "2026-03-29T22:10:00Z", 8),
        ];
        assert_eq!(
            sums(&sessions, &rule(&[By::Day], Bucket::Start)),
            ["2026-03-29 2 12 6.00", "2026-10-25 2 3 6.00"]
        );
        let day =
            |at: &str| border_after(at.parse().unwrap(), By::Day, &rule(&[], Bucket::Start).zone).unwrap();
        assert_eq!(day("2026-10-24T22:00:00Z").to_string(), "2026-10-25T23:00:00Z");
        assert_eq!(day("2026-03-28T23:00:00Z").to_string(), "2026-03-29T22:00:00Z");
    }

    #[test]
    fn what_is_left_out_is_counted_with_the_reason() {
        let mut active = session("a", "2026-10-01T00:00:00Z", "", 1);
        active.state.status = SessionStatus::Active;
        let no_start = session("b", "", "2026-10-01T00:00:00Z", 1);
        assert_eq!(
            sums(&[active, no_start], &rule(&[By::Month], Bucket::Start)),
            ["1 still active", "1 without a start"]
        );
    }

    #[test]
    fn without_a_time_in_the_groups_no_instant_is_needed() {
        let sessions = [session("a", "", "", 1), session("b", "2026-10-01T00:00:00Z", "", 2)];
        assert_eq!(sums(&sessions, &rule(&[By::Provider, By::Vehicle], Bucket::Start)), ["x/ 2 3 6.00"]);
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        let wh = |wh| Energy::from_wh(wh).unwrap();
        assert_eq!(bar(wh(100), wh(100)).chars().count(), WIDTH);
        assert_eq!(bar(wh(50), wh(100)).chars().count(), WIDTH / 2);
        assert_eq!(bar(wh(1), wh(192)), "▏");
        assert_eq!(bar(wh(-5), wh(100)) + &bar(wh(0), wh(0)), "");
    }
}
