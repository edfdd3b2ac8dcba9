//! `charging-sessions worker`: reads accounts again and again, together with any number of other workers.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use charging_sessions::{AccountId, Error, ErrorKind, Result};
use charging_sessions_fleet::{
    AccountStatus, Directory, Entry, Fleet, Opened, Settings, SharedLimit, Status, Worker,
};
use charging_sessions_http::{Transport, default_transport};
use charging_sessions_store::{PostgresOptions, PostgresStore, SessionStore};
use charging_sessions_sync::CancellationToken;
use jiff::{SignedDuration, SignedDurationRound, Timestamp, Unit};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    args::SharedArgs,
    config::{Account, Config},
    exit::{Code, Failure},
    output,
    progress::tell,
    quarantine, sync,
    target::Target,
};

/// How often an account is read unless the configuration says so.
const EVERY: SignedDuration = SignedDuration::from_mins(15);

/// How to work, or what to do with the workers.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WorkerArgs {
    #[command(subcommand)]
    command: Option<WorkerCommand>,
    /// How many jobs to do at the same time, before what the configuration says.
    #[arg(long, value_name = "JOBS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    concurrency: Option<u32>,
    /// Answer /health and /metrics there, such as 127.0.0.1:9464. With the port 0 the system chooses one.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
}

#[derive(Debug, clap::Subcommand)]
enum WorkerCommand {
    /// Tells how workers and accounts are doing.
    Status(StatusArgs),
    /// Has accounts read as soon as their turn comes.
    Enqueue(AccountsArgs),
    /// Lets parked accounts be read again.
    Unpark(AccountsArgs),
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct AccountsArgs {
    /// Accounts of the configuration.
    #[arg(value_name = "ACCOUNT", required = true)]
    accounts: Vec<AccountId>,
}

pub(crate) async fn run(args: &WorkerArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let config = Config::load(shared)?;
    match &args.command {
        None => work(args, config).await,
        Some(WorkerCommand::Status(args)) => {
            show(&Fleet::connect(&options(&config).await?).await?.status().await?, args.json)
        }
        Some(WorkerCommand::Enqueue(args)) => {
            let fleet = Fleet::connect(&options(&config).await?).await?;
            for account in config.named(&args.accounts)? {
                fleet.enqueue(account.name.as_str()).await?;
            }
            Ok(Code::Done)
        }
        Some(WorkerCommand::Unpark(args)) => {
            let fleet = Fleet::connect(&options(&config).await?).await?;
            for account in config.named(&args.accounts)? {
                fleet.unpark(account.name.as_str()).await?;
            }
            Ok(Code::Done)
        }
    }
}

/// Where the store is, which must be a database.
async fn options(config: &Config) -> Result<PostgresOptions, Failure> {
    let Target::Database(address) = &config.store else {
        let text = "workers share a store in a database of PostgreSQL: name it with `store_url` in the configuration; \
                    for a file, run `charging-sessions sync` from a timer";
        return Err(Failure::usage(text));
    };
    Ok(PostgresOptions::new(address.get().await?))
}

async fn work(args: &WorkerArgs, config: Config) -> Result<Code, Failure> {
    // That there are some is checked here, because a worker without any would wait in silence.
    config.named(&[])?;
    let stop = stop_on_signal()?;
    // A database that does not answer is waited for, and not longer than it is wanted.
    if let Some(worker) = stop.run_until_cancelled(begin(args, config)).await {
        worker?.run(stop).await?;
    }
    tell("stopped; what was begun is left for the other workers, or the next start");
    Ok(Code::Done)
}

async fn begin(args: &WorkerArgs, config: Config) -> Result<Worker, Failure> {
    let settings = settings(args, &config);
    let id = Worker::new_id();
    // A worker that is stopped while it writes keeps the others waiting until they hold it to be dead.
    let options = options(&config).await?.application(Worker::application(&id)).lock_wait(Worker::LOCK_WAIT);
    // Each job writes over one connection at a time.
    let own = options.clone().connections(settings.concurrency + 1);
    let store: Arc<dyn SessionStore> =
        Arc::new(PostgresStore::connect(own).await?.with_zone(config.zone.clone()));
    // Each job asks for leave to send one request at a time, and the worker itself has a few things to see to.
    let fleet = Fleet::connect(&options.connections(settings.concurrency + 4)).await?;
    let directory = Configured { config, store, transport: default_transport()? };
    let mut worker = Worker::new(id, fleet, Arc::new(directory), settings);
    if let Some(address) = args.metrics {
        let refused = |error| Failure::usage(format!("the metrics cannot be served at {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        tell(&format!("metrics at http://{address}/metrics"));
        worker = worker.metrics(listener);
    }
    Ok(worker)
}

fn settings(args: &WorkerArgs, config: &Config) -> Settings {
    let mut settings = Settings::default();
    let wanted = args.concurrency.or(config.worker.concurrency.map(std::num::NonZeroU32::get));
    if let Some(jobs) = wanted.and_then(|jobs| usize::try_from(jobs).ok()) {
        settings.concurrency = jobs;
    }
    if let Some(pages) = config.worker.pages {
        settings.pages = pages.get().into();
    }
    if let Some(time) = config.worker.time {
        settings.time = time;
    }
    settings
}

/// A token that the first signal to end cancels. The second one ends the program at once.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        for time in 0.. {
            #[cfg(unix)]
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            #[cfg(not(unix))]
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            if time > 0 {
                std::process::exit(130);
            }
            tell("stopping as soon as what has come is written; once more stops at once");
            told.cancel();
        }
    });
    Ok(stop)
}

/// The accounts of the configuration.
#[derive(Debug)]
struct Configured {
    config: Config,
    store: Arc<dyn SessionStore>,
    transport: Arc<dyn Transport>,
}

fn entry(config: &Config, account: &Account) -> Entry {
    let domain = match &account.credential {
        Some(credential) => format!("credential {credential}"),
        None => format!("{}/{}", account.provider.id(), account.name),
    };
    let limits = config.limits.iter().filter(|(_, limit)| limit.holds(account));
    Entry {
        name: account.name.to_string(),
        provider: account.provider.id().to_string(),
        domain,
        every: account.every.or(config.worker.every).unwrap_or(EVERY),
        limits: limits.map(|(name, _)| name.clone()).collect(),
    }
}

#[async_trait]
impl Directory for Configured {
    fn entries(&self) -> Vec<Entry> {
        self.config.accounts.values().map(|account| entry(&self.config, account)).collect()
    }

    fn limits(&self) -> Vec<SharedLimit> {
        let limits = self.config.limits.iter();
        limits.map(|(name, limit)| SharedLimit { name: name.clone(), quota: limit.quota }).collect()
    }

    fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.transport)
    }

    async fn open(&self, name: &str, transport: Arc<dyn Transport>) -> Result<Opened> {
        let account = self.config.accounts.values().find(|account| account.name.as_str() == name);
        let account =
            account.ok_or_else(|| Error::new(ErrorKind::Config, "the account is not configured"))?;
        let built = account.build(transport).await.map_err(source)?;
        // Once for each start: a newer release is what may read them.
        quarantine::retry(&*self.store, &sync::key(&built), &self.config, false).await.map_err(source)?;
        let since = account.since(&self.config.zone);
        let first = (built.kinds, &built.source);
        let listings = [first].into_iter().chain(built.more.iter().map(|(kinds, source)| (*kinds, source)));
        let syncs = listings.map(|(kinds, source)| sync::listing(&built, kinds, source, &self.store, since));
        Ok(Opened { syncs: syncs.collect(), quota: built.quota })
    }
}

/// What is wrong with the configuration, or with a secret, parks the account.
fn source(failure: Failure) -> Error {
    match failure {
        Failure::Source(error) => error,
        other => Error::new(ErrorKind::Config, other.to_string()),
    }
}

fn show(status: &Status, as_json: bool) -> Result<Code, Failure> {
    let now = Timestamp::now();
    if as_json {
        let workers = status.workers.iter().map(|worker| {
            json!({
                "id": worker.id,
                "place": worker.place,
                "seconds_at_work": worker.since.as_secs(),
                "seconds_since_heartbeat": worker.heartbeat.as_secs_f64(),
                "running": worker.running,
            })
        });
        let accounts = status.accounts.iter().map(|account| {
            json!({
                "account": account.name,
                "provider": account.provider,
                "credential": account.domain,
                "complete_as_of": account.as_of,
                "lag_seconds": account.as_of.map(|at| now.duration_since(at).as_secs()),
                "parked_at": account.parked.as_ref().map(|(at, _)| at),
                "parked_because": account.parked.as_ref().map(|(_, reason)| reason),
                "failures": account.failures,
                "last_error": account.last_error,
                "requests_left": account.requests_left,
                "next_at": account.next,
                "running": account.running,
                "jobs": account.jobs,
                "pages": account.pages,
                "requests": account.requests,
            })
        });
        let totals: serde_json::Map<_, _> =
            status.totals.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let record = json!({
            "workers": workers.collect::<Vec<_>>(),
            "accounts": accounts.collect::<Vec<_>>(),
            "totals": totals,
        });
        return output::json(&record);
    }
    let header = ["account", "provider", "lag", "next", "left", "pages", "requests", "state"];
    output::rows(&header, status.accounts.iter().map(|account| row(account, now)))?;
    for worker in &status.workers {
        let line = format!(
            "worker {} at {}: for {:#}, {} jobs, heartbeat {:#} ago\n",
            worker.id,
            worker.place,
            rounded(worker.since),
            worker.running,
            rounded(worker.heartbeat),
        );
        output::say(&line)?;
    }
    if status.workers.is_empty() {
        output::say("no worker is at work: start one with `charging-sessions worker`\n")?;
    }
    Ok(Code::Done)
}

fn rounded(span: SignedDuration) -> SignedDuration {
    span.round(SignedDurationRound::new().smallest(Unit::Second)).unwrap_or(span)
}

fn row(account: &AccountStatus, now: Timestamp) -> Vec<String> {
    let next = match account.next {
        _ if account.running => "now".to_owned(),
        Some(at) if at <= now => "waits".to_owned(),
        Some(at) => format!("in {:#}", rounded(at.duration_since(now))),
        None => "never".to_owned(),
    };
    let state = match (&account.parked, &account.last_error) {
        (Some((at, reason)), _) => format!("parked since {at:.0}: {reason}"),
        (None, Some(error)) if account.failures > 0 => format!("failed {} times: {error}", account.failures),
        (None, Some(error)) => error.clone(),
        (None, None) => "well".to_owned(),
    };
    vec![
        account.name.clone(),
        account.provider.clone(),
        account
            .as_of
            .map_or("not read yet".to_owned(), |at| format!("{:#}", rounded(now.duration_since(at)))),
        next,
        account.requests_left.map_or(String::new(), |left| left.to_string()),
        account.pages.to_string(),
        account.requests.to_string(),
        state,
    ]
}
