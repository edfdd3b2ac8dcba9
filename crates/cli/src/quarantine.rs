//! `charging-sessions quarantine`: records that could not be mapped.

use std::io::{self, Write};

use charging_sessions_store::{Hash, SessionStore as _};
use serde_json::json;

use crate::{
    args::SharedArgs,
    config::Config,
    exit::{Code, Failure},
    stored, text,
};

/// How to tell.
#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineArgs {
    /// As JSON, one line for each record, with its bytes as text.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &QuarantineArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let store = stored::read(&config)?;
    let mut out = io::stdout().lock();
    let kept = store.quarantine(None).await?;
    for one in &kept {
        let payload = one.record.payload.as_bytes();
        if args.json {
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
