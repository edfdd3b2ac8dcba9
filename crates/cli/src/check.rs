//! `charging-sessions check`: what is odd about the records of the store, each by itself and side by side.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufWriter, Write},
};

use charging_sessions::{
    ChargingSession, Issue, IssueCode, Relation, RelationKind, Severity,
    checks::{self, Limits},
};
use charging_sessions_store::{Account, SessionStore};
use charging_sessions_sync::relations::{Finding, relations};
use jiff::Timestamp;
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
    /// Keep which records of different providers tell of the same charge, so that sums and reports count it once.
    #[arg(long)]
    link: bool,
}

pub(crate) async fn run(args: &CheckArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let store = if args.link { stored::open(&config).await? } else { stored::read(&config).await? };
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
    let mut linked = 0;
    let beside = relations(&sessions);
    if args.link {
        linked = link(&*store, &sessions, &beside).await?;
    }
    for finding in beside {
        // What was not asked for may be there all the same.
        if finding.issue.code == IssueCode::REL_CREDIT_UNMATCHED {
            let [credited] = &finding.issue.related[..] else { continue };
            if store.session(credited).await?.is_some() {
                continue;
            }
        }
        found.push((finding.key.to_string(), finding.issue));
    }
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
    if args.link {
        eprintln!("{linked} links are new");
    }
    eprintln!("{} sessions looked at, {} findings", sessions.len(), found.len());
    Ok(Code::Done)
}

/// Keeps the links between records of different providers, and tells how many there were not. Nothing is merged.
async fn link(
    store: &dyn SessionStore,
    sessions: &[ChargingSession],
    found: &[Finding],
) -> Result<usize, Failure> {
    let mut new: BTreeMap<Account, Vec<ChargingSession>> = BTreeMap::new();
    let mut count = 0;
    let known: HashMap<_, _> = sessions.iter().map(|session| (session.key(), session)).collect();
    for finding in found.iter().filter(|finding| finding.issue.code == IssueCode::REL_SAME_CHARGE) {
        let Some(session) = known.get(&finding.key).copied() else { continue };
        for other in &finding.issue.related {
            if session.identity.related.iter().any(|it| it.key == *other) {
                continue;
            }
            let mut relation = Relation::new(other.clone(), RelationKind::SameCharge);
            relation.confidence = finding.alike;
            let key = session.key();
            let account = Account { provider: key.provider, account: key.account.clone() };
            let of_account = new.entry(account).or_default();
            match of_account.iter_mut().find(|it| it.key() == key) {
                Some(session) => session.identity.related.push(relation),
                None => {
                    let mut session = session.clone();
                    session.identity.related.push(relation);
                    of_account.push(session);
                }
            }
            count += 1;
        }
    }
    for (account, sessions) in new {
        let now = Timestamp::now();
        let lease = store.begin(&account, now).await?;
        store.remap(&*lease, sessions, now).await?;
    }
    Ok(count)
}
