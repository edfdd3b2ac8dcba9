//! `charging-sessions auth`: whether accounts can be signed in to.

use std::io::{self, IsTerminal as _, Read as _};

use charging_sessions::{AccountId, TimeWindow};
use charging_sessions_http::default_transport;
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::json;

use crate::{
    args::{ReportArgs, ReportFormat, SharedArgs},
    config::{Account, Config},
    exit::{Code, Failure},
    output, read,
    secret::Secret,
};

#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Tells whether the secrets of accounts can be read, and, if asked, whether their providers take them.
    Status(StatusArgs),
    /// Puts the secret of an account where the configuration refers to: a file that nobody else may read, or the
    /// credential store of the system. It is asked for on a terminal, and else read from standard input.
    Login(AccountArgs),
    /// Takes the secret of an account away from there.
    Logout(AccountArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct AccountArgs {
    /// Which account of the configuration.
    #[arg(value_name = "ACCOUNT")]
    account: AccountId,
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

pub(crate) async fn run(command: AuthCommand, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    match command {
        AuthCommand::Status(args) => status(args, &config).await,
        AuthCommand::Login(args) => {
            let account = config.named(std::slice::from_ref(&args.account))?[0];
            let place = reference(account)?;
            let secret = typed(&args.account)?;
            let place = place.write(&secret).await?;
            eprintln!("the secret of {} is in {place}", args.account);
            Ok(Code::Done)
        }
        AuthCommand::Logout(args) => {
            let account = config.named(std::slice::from_ref(&args.account))?[0];
            let place = reference(account)?.forget().await?;
            eprintln!("the secret of {} is no longer in {place}", args.account);
            Ok(Code::Done)
        }
    }
}

/// Where the configuration says that the secret is.
fn reference(account: &Account) -> Result<&Secret, Failure> {
    account.client_secret.as_ref().ok_or_else(|| {
        Failure::at(
            &account.place,
            format!("{} has no secret: refer to one with `client_secret`", account.name),
        )
    })
}

/// The secret that a person types, or that is piped in. It is never on the command line, which others may see.
fn typed(account: &AccountId) -> Result<SecretString, Failure> {
    let unread = |error| Failure::other(format!("the secret cannot be read: {error}"));
    let text = if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("secret of {account}, which is not shown: ")).map_err(unread)?
    } else {
        // A page would be no secret.
        let mut text = String::new();
        io::stdin().take(64 << 10).read_to_string(&mut text).map_err(unread)?;
        text
    };
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::usage("there is no secret: type it, or pipe it in")),
        secret => Ok(secret.into()),
    }
}

async fn status(args: StatusArgs, config: &Config) -> Result<Code, Failure> {
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
            let told = |account: &Account, result: &Result<u64, Failure>| match result {
                Ok(0) => offline(account).to_owned(),
                Ok(requests) if account.client_secret.is_none() => format!("read in {requests} requests"),
                Ok(requests) => format!("signed in, and read in {requests} requests"),
                Err(failure) => failure.to_string(),
            };
            let row = |(account, result): &(&Account, _)| {
                let (name, provider) = (account.name.to_string(), account.provider.id().to_string());
                vec![name, provider, told(account, result)]
            };
            output::rows(&["account", "provider", "status"], results.iter().map(row))?
        }
    };
    let code =
        |(_, result): &(_, Result<u64, Failure>)| result.as_ref().map_or_else(Failure::code, |_| Code::Done);
    Ok(Code::of_all(results.iter().map(code)))
}

/// What is known of an account in good order without asking its provider.
pub(crate) fn offline(account: &Account) -> &'static str {
    if account.client_secret.is_some() { "the secret can be read" } else { "it needs no secret" }
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
