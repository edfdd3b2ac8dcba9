//! `charging-sessions doctor`: what is wrong here, and what to do.

use std::{
    fs::{self, File, OpenOptions},
    path::Path,
    process,
    time::SystemTime,
};

use charging_sessions_http::{Bytes, Limits, default_transport, http};
use jiff::tz::TimeZone;
use serde_json::json;

use crate::{
    args::{ReportArgs, ReportFormat, SharedArgs},
    auth,
    config::{self, Account, Config},
    exit::{Code, Failure},
    output,
    target::Target,
};

/// How far a clock may be off, in seconds, before it is told. Tokens and windows up to now suffer beyond.
const CLOCK_TOLERANCE: u64 = 60;

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Ask the providers, too: sign in to each account, and compare clocks.
    #[arg(long)]
    online: bool,
    #[command(flatten)]
    report: ReportArgs,
}

/// One thing that was looked at: what was found, or what is wrong and what to do.
struct Finding {
    subject: String,
    found: Result<String, String>,
}

pub(crate) async fn run(args: DoctorArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let mut findings = Vec::new();
    let mut find = |subject: &str, found| findings.push(Finding { subject: subject.into(), found });

    let about = [env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH];
    find("program", Ok(about.join(" ")));
    match Config::load(shared) {
        Err(failure) => find("configuration", Err(failure.to_string())),
        Ok(config) => {
            find("configuration", files(&config));
            find("store", store(&config.store, args.online).await);
            find("time zone", zone(&config));
            for account in config.accounts.values() {
                let tried = auth::try_account(account, args.online).await;
                let found = match args.online {
                    true if account.client_secret.is_none() => "read",
                    true => "signed in",
                    false => auth::offline(account),
                };
                find(
                    &format!("account {}", account.name),
                    tried.map(|_| found.into()).map_err(|f| f.to_string()),
                );
                if args.online {
                    find(&format!("clock of {}", account.name), clock(account).await);
                }
            }
        }
    }

    match args.report.format {
        ReportFormat::Json => output::json(
            &findings
                .iter()
                .map(|Finding { subject, found }| {
                    json!({"subject": subject, "ok": found.is_ok(), "found": found.as_ref().unwrap_or_else(|p| p)})
                })
                .collect(),
        )?,
        ReportFormat::Table => {
            let row = |Finding { subject, found }: &Finding| {
                let state = if found.is_ok() { "ok" } else { "problem" };
                vec![state.into(), subject.clone(), found.as_ref().unwrap_or_else(|problem| problem).clone()]
            };
            output::rows(&["state", "subject", "found"], findings.iter().map(row))?
        }
    };
    let sound = findings.iter().all(|finding| finding.found.is_ok());
    Ok(if sound { Code::Done } else { Code::Other })
}

fn files(config: &Config) -> Result<String, String> {
    if config.files.is_empty() {
        let user = config::user_file().map_err(|failure| failure.to_string())?;
        return Err(format!(
            "there is none, neither in this folder nor at {}: write one with `charging-sessions init --provider NAME`",
            user.display()
        ));
    }
    let files: Vec<_> = config.files.iter().map(|file| file.display().to_string()).collect();
    Ok(format!("{}, with {} accounts", files.join(" over "), config.accounts.len()))
}

/// Whether the store can be written and is sound. One on another machine is asked only if it may be.
async fn store(store: &Target, online: bool) -> Result<String, String> {
    let told = |failure: Failure| failure.to_string();
    let shown = match store {
        Target::File(path) => {
            let shown = writable(path)?;
            if !path.exists() {
                return Ok(format!("{shown}, which is not there yet"));
            }
            shown
        }
        Target::Database(address) => {
            drop(address.get().await.map_err(told)?);
            if !online {
                return Ok(format!("{store}, whose address can be read"));
            }
            store.to_string()
        }
    };
    let opened = store.read(&TimeZone::UTC).await.map_err(told)?;
    opened.verify().await.map_err(|error| error.to_string())?;
    Ok(format!("{shown}, which is sound"))
}

/// Whether the store can be written, found out without making one.
fn writable(store: &Path) -> Result<String, String> {
    let shown = store.display();
    let tried = if store.exists() {
        OpenOptions::new().append(true).open(store).map(drop)
    } else {
        // The folders that are missing will be made in the lowest one that is there.
        let here = Path::new(".");
        let folder = store.ancestors().skip(1).map(|it| if it.as_os_str().is_empty() { here } else { it });
        let probe =
            folder.into_iter().find(|it| it.exists()).unwrap_or(here).join(format!(".{}.tmp", process::id()));
        File::create_new(&probe).and_then(|_| fs::remove_file(&probe))
    };
    let problem =
        |error| format!("{shown} cannot be written ({error}): name another place with `store` or --store");
    tried.map(|()| shown.to_string()).map_err(problem)
}

fn zone(config: &Config) -> Result<String, String> {
    let name = config.zone.iana_name().filter(|_| !config.zone.is_unknown());
    name.map(str::to_owned).ok_or_else(|| {
        "the zone of this machine has no name: set `time_zone` in the configuration, such as Europe/London".into()
    })
}

/// Compares with the provider's clock, which every answer tells, that to a stranger included.
async fn clock(account: &Account) -> Result<String, String> {
    let url = account.options.base_url.clone().or_else(|| account.provider.base_url());
    let url =
        url.or_else(|| account.options.sessions_url.clone()).or_else(|| account.options.cdrs_url.clone());
    let url = url.ok_or("there is no address to ask")?;
    let request = http::Request::get(url.as_str()).body(Bytes::new()).map_err(|error| error.to_string())?;
    let transport = default_transport().map_err(|error| error.to_string())?;
    let answer = transport.send(request, &Limits::default()).await.map_err(|error| error.to_string())?;
    let date = answer
        .headers()
        .get(http::header::DATE)
        .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let Some(date) = date else { return Ok("the provider does not tell the time".into()) };
    let now = SystemTime::now();
    let apart = now.duration_since(date).or_else(|_| date.duration_since(now)).unwrap_or_default().as_secs();
    match apart {
        0..=CLOCK_TOLERANCE => Ok(format!("{apart} s apart")),
        _ => Err(format!(
            "this machine's clock and the provider's are {apart} s apart: set this machine's clock"
        )),
    }
}
