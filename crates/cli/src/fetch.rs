//! `charging-sessions fetch`: what an account holds, straight from the provider.

use std::{env, num::NonZeroU32, path::PathBuf};

use charging_sessions::{AccountId, AssetRef, SessionQuery, TimeWindow};
use charging_sessions_http::default_transport;
use jiff::Timestamp;

use crate::{
    args::{OutputArgs, SharedArgs, SpanArgs},
    config::{Account, Config, Options},
    exit::{Code, Failure},
    output,
    provider::Provider,
    read,
    secret::{Reference, Secret},
};

const CLIENT_ID: &str = "CHARGING_SESSIONS_CLIENT_ID";
const CLIENT_SECRET: &str = "CHARGING_SESSIONS_CLIENT_SECRET";

#[derive(Debug, clap::Args)]
pub(crate) struct FetchArgs {
    /// An account of the configuration. Options given here come before its own.
    #[arg(value_name = "ACCOUNT", conflicts_with_all = ["provider", "account", "client_id", "client_secret_file"])]
    configured: Option<AccountId>,
    /// Whose sessions, for an account that is not in the configuration.
    #[arg(long, value_enum, required_unless_present = "configured")]
    provider: Option<Provider>,
    /// Your own name for the account; part of every record's key.
    #[arg(long, value_name = "NAME", default_value = "default")]
    account: AccountId,
    /// The OAuth client's identifier; from the environment variable CHARGING_SESSIONS_CLIENT_ID unless given.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// A file that holds the OAuth client's secret, or the token for OCPI, and nothing else, and that nobody else may read. Without it, the
    /// secret is read from the environment variable CHARGING_SESSIONS_CLIENT_SECRET. It is never taken from the
    /// command line, where other users of the machine could read it.
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    span: SpanArgs,
    /// Only this vehicle. May be repeated.
    #[arg(long, value_name = "ID")]
    vehicle: Vec<String>,
    /// Only this charge point. May be repeated.
    #[arg(long, value_name = "ID")]
    charge_point: Vec<String>,
    /// Only sessions that have ended.
    #[arg(long, conflicts_with = "active")]
    finished: bool,
    /// Only sessions that have not ended.
    #[arg(long)]
    active: bool,
    /// How many records to ask for at once; the provider's largest unless given.
    #[arg(long, value_name = "N")]
    page_size: Option<NonZeroU32>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: FetchArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    let account = account(&args, &config)?;
    account.options.check(account.provider, option).map_err(Failure::usage)?;
    let built = account.build(default_transport()?).await?;
    let now = Timestamp::now();
    let since = || account.since(&config.zone).and_then(|since| TimeWindow::new(since, now));
    let window = args.span.window(&config.zone, now)?.or_else(since);
    let asked = || query(&args, window.map(|window| read::started_in(&*built.source, window)));
    let mut listing = read::everything(&*built.source, asked()).await?;
    for (_, source) in &built.more {
        listing.add(read::everything(&**source, asked()).await?);
    }
    read::clip(&mut listing, window);
    output::print(&listing, args.output.format, &config.zone)
}

/// The option of the command line for a key of the configuration.
fn option(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

fn account(args: &FetchArgs, config: &Config) -> Result<Account, Failure> {
    let options = args.options.clone();
    let Some(provider) = args.provider else {
        let names: Vec<_> = args.configured.iter().cloned().collect();
        let account = config.named(&names)?.into_iter().next().cloned();
        let mut account = account.expect("a name that was found");
        account.options = options.or(account.options);
        return Ok(account);
    };
    let client_id = match args.client_id.clone().or_else(|| env::var(CLIENT_ID).ok()) {
        Some(client_id) => client_id,
        None if provider.is_open() || provider.is_token_only() => String::new(),
        None => {
            let cure = format!("give --client-id or set {CLIENT_ID}");
            return Err(Failure::usage(format!("there is no client identifier: {cure}")));
        }
    };
    let reference = match &args.client_secret_file {
        Some(path) => Some(Reference::File(path.clone())),
        None if provider.is_open() && client_id.is_empty() && env::var_os(CLIENT_SECRET).is_none() => None,
        None => Some(Reference::Environment(CLIENT_SECRET.into())),
    };
    Ok(Account {
        name: args.account.clone(),
        provider,
        client_id,
        client_secret: reference.map(|reference| Secret::of_client(reference, String::new())),
        since: None,
        with_intervals: false,
        every: None,
        credential: None,
        options,
        place: String::new(),
    })
}

/// What is asked for, beginning with `span`.
fn query(args: &FetchArgs, span: Option<SessionQuery>) -> SessionQuery {
    let mut query = span.unwrap_or_else(SessionQuery::all);
    for id in &args.vehicle {
        query = query.with_asset(AssetRef::vehicle(id));
    }
    for id in &args.charge_point {
        query = query.with_asset(AssetRef::charge_point(id));
    }
    if args.finished || args.active {
        query = query.with_finished(args.finished);
    }
    if let Some(n) = args.page_size {
        query = query.with_page_size(n);
    }
    query
}
