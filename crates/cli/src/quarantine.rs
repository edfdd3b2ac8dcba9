//! `charging-sessions quarantine`: records that could not be mapped, and what becomes of them.

use std::io::{self, Write};

use charging_sessions_store::{Account, Hash, SessionStore};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    args::SharedArgs,
    config::Config,
    exit::{Code, Failure},
    remap, stored, text,
};

/// What to do with them: to print them, unless told otherwise.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct QuarantineArgs {
    /// As JSON, one line for each record, with its bytes as text.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<QuarantineCommand>,
}

/// What to do besides printing.
#[derive(Debug, clap::Subcommand)]
enum QuarantineCommand {
    /// Tries them again with the mapping of this release, without asking a provider. `sync` does so by itself.
    Retry {
        /// Tell what would become of them, and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

pub(crate) async fn run(args: &QuarantineArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    match args.command {
        None => list(&*stored::read(&config).await?, args.json).await,
        Some(QuarantineCommand::Retry { dry_run: true }) => {
            retry_all(&*stored::read(&config).await?, &config, true).await
        }
        Some(QuarantineCommand::Retry { dry_run: false }) => {
            retry_all(&*stored::open(&config).await?, &config, false).await
        }
    }
}

async fn list(store: &dyn SessionStore, as_json: bool) -> Result<Code, Failure> {
    let mut out = io::stdout().lock();
    let kept = store.quarantine(None).await?;
    for one in &kept {
        let payload = one.record.payload.as_bytes();
        if as_json {
            let record = json!({
                "provider": one.account.provider,
                "account": one.account.account,
                "id": one.record.id,
                "code": one.record.code,
                "path": one.record.path,
                "reason": one.record.reason,
                "first_seen_at": one.first_seen_at,
                "last_seen_at": one.last_seen_at,
                "payload_sha256": Hash::of(payload).to_string(),
                "payload": String::from_utf8_lossy(payload),
            });
            writeln!(out, "{record}")?;
        } else {
            let told = format!("{}: {} (since {})", one.account, one.record, one.first_seen_at);
            writeln!(out, "{}", text::visible(&told))?;
        }
    }
    eprintln!("{} records in quarantine; a later release may read them", kept.len());
    Ok(Code::Done)
}

async fn retry_all(store: &dyn SessionStore, config: &Config, dry_run: bool) -> Result<Code, Failure> {
    let mut out = io::stdout().lock();
    let mut code = Code::Done;
    for account in store.accounts().await? {
        let Retried { read, left } = retry(store, &account, config, dry_run).await?;
        if read + left.len() > 0 {
            let verb = if dry_run { "would be read now" } else { "read now" };
            writeln!(out, "{account}: {read} {verb}, {} stay in quarantine", left.len())?;
        }
        for reason in left {
            writeln!(out, "  {}", text::visible(&reason))?;
            code = Code::Rejects;
        }
    }
    Ok(code)
}

/// What became of the records of an account in quarantine.
#[derive(Debug, Default)]
pub(crate) struct Retried {
    /// How many can be read.
    pub(crate) read: usize,
    /// Why the others cannot.
    pub(crate) left: Vec<String>,
}

/// Tries the records of an account in quarantine again.
pub(crate) async fn retry(
    store: &dyn SessionStore,
    account: &Account,
    config: &Config,
    dry_run: bool,
) -> Result<Retried, Failure> {
    let mut kept = store.quarantine(Some(account)).await?;
    // A session may be there in several states: the last of a batch is the one that counts.
    kept.sort_by_key(|one| one.last_seen_at);
    let mut retried = Retried::default();
    let (mut sessions, mut released) = (Vec::new(), Vec::new());
    for one in &kept {
        let mapped = match &one.record.context {
            Some(context) => remap::map(account, context, None, &one.record.payload, config),
            None => Err(format!("{}: it was kept without what is needed to try again", one.record)),
        };
        match mapped {
            Ok(mapped) => {
                sessions.extend(mapped);
                released.push(Hash::of(one.record.payload.as_bytes()));
            }
            Err(reason) => retried.left.push(reason),
        }
    }
    retried.read = released.len();
    if !dry_run && !released.is_empty() {
        let now = Timestamp::now();
        let lease = store.begin(account, now).await?;
        // Should the program end between the two, they are tried once more, and nothing changes.
        store.remap(&*lease, sessions, now).await?;
        store.release(&*lease, &released).await?;
    }
    Ok(retried)
}
