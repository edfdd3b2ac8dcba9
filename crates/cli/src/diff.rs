//! `charging-sessions diff`: what providers have changed.

use std::io::{self, BufWriter, Write};

use charging_sessions::{AccountId, ProviderId};
use charging_sessions_store::{Account, Recorded, SessionStore};
use serde_json::json;

use crate::{
    args::{ReportArgs, ReportFormat, SharedArgs, instant},
    config::Config,
    exit::{Code, Failure},
    output,
    show::{differences, write_differences},
    stored, text,
};

/// How many revisions are taken from the store at once.
const ROWS: u32 = 500;

/// Since when, and of what.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// What was written at or after this: a day (2026-06-01) or an instant (2026-06-01T00:00:00Z). Unless given, since
    /// the last run of each account began.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Of this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<ProviderId>,
    /// Of this account.
    #[arg(long, value_name = "NAME")]
    account: Option<AccountId>,
    /// Leave out records that were not known before.
    #[arg(long)]
    no_new: bool,
    #[command(flatten)]
    report: ReportArgs,
}

pub(crate) async fn run(args: &DiffArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let store = stored::read(&config).await?;
    let store: &dyn SessionStore = &*store;
    let since = args.since.as_deref().map(|since| instant("--since", since, &config.zone)).transpose()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut told = 0_u64;
    for account in store.accounts().await? {
        let other = args.provider.is_some_and(|provider| provider != account.provider)
            || args.account.as_ref().is_some_and(|name| *name != account.account);
        let since = match since {
            Some(since) => Some(since),
            None => store.runs(&account, 1).await?.first().map(|run| run.began_at),
        };
        let Some(since) = since.filter(|_| !other) else { continue };
        let mut after = None;
        loop {
            let rows = store.history(Some(&account), since, after, ROWS).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.position);
            for row in rows.iter().filter(|row| !args.no_new || row.before.is_some()) {
                told += 1;
                match args.report.format {
                    ReportFormat::Json => writeln!(out, "{}", record(row))?,
                    ReportFormat::Table => show(&mut out, &account, row, &config)?,
                }
            }
        }
    }
    out.flush()?;
    eprintln!("{told} revisions");
    Ok(Code::Done)
}

fn show(out: &mut impl Write, account: &Account, row: &Recorded, config: &Config) -> io::Result<()> {
    let revision = &row.revision;
    let key = revision.session.key();
    let start = revision.session.timing.period.start;
    let of = start.map(|start| format!(" of {}", output::moment(start, &config.zone))).unwrap_or_default();
    let name = format!("{account}/{}/{}", key.kind, key.source_id);
    writeln!(out, "{} {}{of}", revision.reason, text::visible(&name))?;
    if let Some(before) = &row.before {
        write_differences(out, &json!(before), &json!(revision.session))?;
    }
    Ok(())
}

/// One line of JSON: what became of a record, and each value that is another.
fn record(row: &Recorded) -> serde_json::Value {
    let revision = &row.revision;
    let now = json!(revision.session);
    let changes: Vec<_> = row
        .before
        .iter()
        .flat_map(|before| differences(&json!(before), &now))
        .map(|(place, old, new)| json!({"place": place, "before": old, "after": new}))
        .collect();
    json!({
        "position": row.position,
        "id": revision.session.key().id().to_string(),
        "key": revision.session.key(),
        "revision": revision.number,
        "at": revision.at,
        "reason": revision.reason.as_str(),
        "start": revision.session.timing.period.start,
        "changes": changes,
    })
}
