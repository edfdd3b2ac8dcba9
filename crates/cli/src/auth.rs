//! `charging-sessions auth`: whether accounts can be signed in to.

use charging_sessions::{AccountId, TimeWindow};
use charging_sessions_http::default_transport;
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    args::{ReportArgs, ReportFormat, SharedArgs},
    config::{Account, Config},
    exit::{Code, Failure},
    output, read,
};

#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Tells whether the secrets of accounts can be read, and, if asked, whether their providers take them.
    Status(StatusArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Which accounts; all unless given.
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<AccountId>,
    /// Sign in, and read one page of the sessions of the last day.
    #[arg(long)]
    online: bool,
    #[command(flatten)]
    report: ReportArgs,
}

pub(crate) async fn run(
    AuthCommand::Status(args): AuthCommand,
    shared: &SharedArgs,
) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let mut results = Vec::new();
    for account in config.named(&args.accounts)? {
        results.push((account, try_account(account, args.online).await));
    }
    match args.report.format {
        ReportFormat::Json => output::json(
            &results
                .iter()
                .map(|(account, result)| {
                    json!({
                        "account": account.name,
                        "provider": account.provider.id(),
                        "ok": result.is_ok(),
                        "requests": result.as_ref().ok(),
                        "problem": result.as_ref().err().map(ToString::to_string),
                    })
                })
                .collect(),
        )?,
        ReportFormat::Table => {
            let told = |result: &Result<u64, Failure>| match result {
                Ok(0) => "the secret can be read".to_owned(),
                Ok(requests) => format!("signed in, and read in {requests} requests"),
                Err(failure) => failure.to_string(),
            };
            let row = |(account, result): &(&Account, _)| {
                let (name, provider) = (account.name.to_string(), account.provider.id().to_string());
                vec![name, provider, told(result)]
            };
            output::rows(&["account", "provider", "status"], results.iter().map(row))?
        }
    };
    let code =
        |(_, result): &(_, Result<u64, Failure>)| result.as_ref().map_or_else(Failure::code, |_| Code::Done);
    Ok(Code::of_all(results.iter().map(code)))
}

/// How many requests it took.
pub(crate) async fn try_account(account: &Account, online: bool) -> Result<u64, Failure> {
    let built = account.build(default_transport()?).await?;
    if online {
        let now = Timestamp::now();
        let day = TimeWindow::new(now - SignedDuration::from_hours(24), now).expect("a day");
        built.source.fetch_page(&read::started_in(&*built.source, day), None).await?;
    }
    Ok(built.requests.requests())
}
