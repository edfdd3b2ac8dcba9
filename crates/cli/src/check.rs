//! `charging-sessions check`: what is odd about the records of the store, each by itself and side by side.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
};

use charging_sessions::{
    Issue, Severity,
    checks::{self, Limits},
};
use charging_sessions_sync::relations::relations;
use serde_json::json;

use crate::{
    args::SharedArgs,
    config::Config,
    exit::{Code, Failure},
    stored::{self, FilterArgs},
    text,
};

/// Which sessions, and how to tell.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Also what is a normal oddity.
    #[arg(long)]
    all: bool,
    /// As JSON, one line for each finding.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &CheckArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let store = stored::read(&config).await?;
    let limits = Limits::default();
    let mut sessions = Vec::new();
    stored::each(&*store, &args.filter, &config.zone, |row| {
        sessions.push(row.session);
        Ok(())
    })
    .await?;
    let mut found: Vec<(String, Issue)> = Vec::new();
    for session in &sessions {
        // What the mapping found stays; what checks find is found anew, with the limits of today.
        let mapped = session.issues.iter().filter(|issue| issue.source_path.is_some()).cloned();
        let issues = mapped.chain(checks::check(session, &limits));
        found.extend(issues.map(|issue| (session.key().to_string(), issue)));
    }
    found.extend(relations(&sessions).into_iter().map(|finding| (finding.key.to_string(), finding.issue)));
    found.retain(|(_, issue)| args.all || issue.severity >= Severity::Warning);
    found.dedup();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut counts: BTreeMap<(Severity, String), usize> = BTreeMap::new();
    for (key, issue) in &found {
        *counts.entry((issue.severity, issue.code.as_str().to_owned())).or_default() += 1;
        if args.json {
            writeln!(out, "{}", json!({"key": key, "issue": issue}))?;
        } else {
            let beside = issue.related.iter().map(|key| format!(" beside {key}")).collect::<String>();
            writeln!(out, "{}", text::visible(&format!("{key}: {issue}{beside}")))?;
        }
    }
    out.flush()?;
    drop(out);
    for ((severity, code), count) in counts.iter().rev() {
        eprintln!("{count} {severity} {code}");
    }
    eprintln!("{} sessions looked at, {} findings", sessions.len(), found.len());
    Ok(Code::Done)
}
