//! `charging-sessions backfill`: reads an account's past, part by part, and tells what is there.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use charging_sessions::{AccountId, AssetRef, TimeWindow};
use charging_sessions_store::{Account as Key, Coverage};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::json;

use crate::{
    args::{SharedArgs, first_instant},
    config::Config,
    exit::{Code, Failure},
    output,
    sync::{Runs, Wanted},
};

/// Which past to read.
#[derive(Debug, clap::Args)]
pub(crate) struct BackfillArgs {
    /// Accounts of the configuration; all of them unless given.
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<AccountId>,
    /// The first day to read.
    #[arg(long, value_name = "DAY")]
    from: Date,
    /// The first day not to read; until now, unless given.
    #[arg(long, value_name = "DAY")]
    until: Option<Date>,
    /// Report as JSON, a line for each account and one for what of it has been read.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &BackfillArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let accounts = config.named(&args.accounts)?;
    let from = first_instant(args.from, &config.zone).unwrap_or(Timestamp::MIN);
    let until = args.until.map(|day| first_instant(day, &config.zone).unwrap_or(Timestamp::MIN));
    if until.is_some_and(|until| until <= from) {
        return Err(Failure::usage("--until must be after --from"));
    }
    let wanted = Wanted { since: Some(from), until, json: args.json, ..Wanted::default() };
    let runs = Runs::begin(&config, wanted).await?;
    let code = runs.all(&accounts).await?;
    for account in accounts {
        let key = Key { provider: account.provider.id(), account: account.name.clone() };
        let spans = spans(&runs.store.coverage(&key).await?);
        if args.json {
            let parts: Vec<_> = spans.iter().map(|(asset, span)| record(asset.as_ref(), *span)).collect();
            let record = json!({"provider": key.provider, "account": key.account, "read": parts});
            writeln!(io::stdout(), "{record}")?;
        } else {
            for line in lines(&spans, &config.zone) {
                writeln!(io::stdout(), "{key}: {line}")?;
            }
        }
    }
    Ok(code)
}

/// What has been read of all assets together and of each, neighbours put together. What was read without a window
/// begins with time itself, and holds what had happened by then.
fn spans(coverage: &[Coverage]) -> Vec<(Option<AssetRef>, TimeWindow)> {
    let mut parts: BTreeMap<_, Vec<TimeWindow>> = BTreeMap::new();
    for Coverage { slice, began_at, .. } in coverage {
        let part = slice.window.or_else(|| TimeWindow::new(Timestamp::MIN, *began_at));
        parts.entry(slice.asset.clone()).or_default().extend(part);
    }
    let mut spans: Vec<(Option<AssetRef>, TimeWindow)> = Vec::new();
    for (asset, mut parts) in parts {
        parts.sort_by_key(TimeWindow::from);
        for part in parts {
            let before = spans.last_mut().filter(|(of, span)| *of == asset && part.from() <= span.until());
            let joined = before.and_then(|(_, span)| {
                let until = span.until().max(part.until());
                TimeWindow::new(span.from(), until).map(|joined| *span = joined)
            });
            if joined.is_none() {
                spans.push((asset.clone(), part));
            }
        }
    }
    spans
}

fn record(asset: Option<&AssetRef>, span: TimeWindow) -> serde_json::Value {
    let from = Some(span.from()).filter(|from| *from != Timestamp::MIN);
    json!({"asset": asset.map(AssetRef::to_string), "from": from, "until": span.until()})
}

/// A line for all assets together, and one for those that were read by themselves.
fn lines(spans: &[(Option<AssetRef>, TimeWindow)], zone: &TimeZone) -> Vec<String> {
    let day = |at| output::moment(at, zone);
    let shown = |span: &TimeWindow| match Some(span.from()).filter(|from| *from != Timestamp::MIN) {
        None => format!("everything until {}", day(span.until())),
        Some(from) => format!("{} to {}", day(from), day(span.until())),
    };
    let mut lines = Vec::new();
    // Hundreds of vehicles that were read alike are one line.
    let mut alike: BTreeMap<String, u64> = BTreeMap::new();
    for (asset, span) in spans {
        match asset {
            None => lines.push(format!("has been read: {}", shown(span))),
            Some(_) => *alike.entry(shown(span)).or_default() += 1,
        }
    }
    lines.extend(alike.into_iter().map(|(span, assets)| {
        let plural = if assets == 1 { "" } else { "s" };
        format!("has been read of {assets} asset{plural}: {span}")
    }));
    if lines.is_empty() {
        lines.push("no part of it has been read as a whole yet".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, until: &str) -> TimeWindow {
        let day = |day: &str| format!("2026-{day}T00:00:00Z").parse().unwrap();
        TimeWindow::new(day(from), day(until)).unwrap()
    }

    #[test]
    fn assets_that_were_read_alike_are_one_line() {
        let asset = |id: &str| Some(AssetRef::vehicle(id));
        let (june, july) = (window("06-01", "07-01"), window("07-01", "08-01"));
        let spans = [(asset("a"), june), (asset("b"), june), (asset("c"), july), (None, july)];
        let zone = TimeZone::get("Europe/London").unwrap();
        assert_eq!(
            lines(&spans, &zone),
            [
                "has been read: 2026-07-01 01:00 BST to 2026-08-01 01:00 BST",
                "has been read of 2 assets: 2026-06-01 01:00 BST to 2026-07-01 01:00 BST",
                "has been read of 1 asset: 2026-07-01 01:00 BST to 2026-08-01 01:00 BST",
            ]
        );
        assert_eq!(lines(&[], &zone), ["no part of it has been read as a whole yet"]);
    }
}
