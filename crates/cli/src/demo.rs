//! `charging-sessions demo`: the whole way from an HTTP server to a table, on one machine.

use std::io;

use charging_sessions::{ChargingSessionSource, SessionQuery, TimeWindow, der_connect, ev_energy, podero};
use charging_sessions_testkit::sandbox::{
    der_connect::DerConnectSandbox, ev_energy::EvEnergySandbox, podero::PoderoSandbox,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{
    args::{Format, OutputArgs, SharedArgs},
    exit::{Code, Failure},
    output,
    provider::Provider,
    read, tour,
};

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Only this provider's, read and printed without a store.
    #[arg(long, value_enum)]
    provider: Option<Provider>,
    /// Which invented account to show; the same number gives the same data.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many days back.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    #[command(flatten)]
    output: OutputArgs,
}

/// Reads no configuration, so that it works on any machine.
pub(crate) async fn run(args: DemoArgs, shared: &SharedArgs) -> Result<Code, Failure> {
    let now = Timestamp::now();
    let from = now - SignedDuration::from_hours(24 * i64::from(args.days));
    let window = TimeWindow::new(from, now).expect("at least a day");
    let zone = shared.tz.clone().unwrap_or_else(TimeZone::system);
    let Some(provider) = args.provider else {
        let path = match &shared.store {
            Some(path) => path.clone(),
            None => tempfile::tempdir()?.keep().join("sessions.sqlite"),
        };
        return tour::run(&path, args.days, args.seed, &zone).await;
    };
    match provider {
        Provider::DerConnect => {
            let sandbox = DerConnectSandbox::builder().seed(args.seed).now(now).days(args.days).build();
            let sandbox = sandbox.start().await.map_err(|error| no_port(&error))?;
            let mut config = der_connect::Config::new(sandbox.client_id(), sandbox.client_secret().into());
            config.base_url = sandbox.base_url().parse().expect("the sandbox knows its own address");
            config.token_url = sandbox.token_url().parse().expect("the sandbox knows its own address");
            let source = der_connect::DerConnect::new(config)?;
            show(&source, &sandbox.base_url(), window, (args.output.format, &zone), || {
                sandbox.requests().len()
            })
            .await
        }
        Provider::EvEnergy => {
            let sandbox = EvEnergySandbox::builder().seed(args.seed).now(now).days(args.days).build();
            let sandbox = sandbox.start().await.map_err(|error| no_port(&error))?;
            let mut config = ev_energy::Config::new(sandbox.client_id(), sandbox.client_secret().into());
            config.base_url = sandbox.base_url().parse().expect("the sandbox knows its own address");
            let source = ev_energy::EvEnergy::new(config)?;
            show(&source, &sandbox.base_url(), window, (args.output.format, &zone), || {
                sandbox.requests().len()
            })
            .await
        }
        Provider::Podero => {
            let sandbox = PoderoSandbox::builder().seed(args.seed).now(now).days(args.days).build();
            let sandbox = sandbox.start().await.map_err(|error| no_port(&error))?;
            let secret = sandbox.client_secret().into();
            let mut config = podero::Config::new(sandbox.client_id(), secret, sandbox.org_id());
            config.base_url = sandbox.base_url().parse().expect("the sandbox knows its own address");
            let source = podero::Podero::new(config)?;
            show(&source, &sandbox.base_url(), window, (args.output.format, &zone), || {
                sandbox.requests().len()
            })
            .await
        }
    }
}

async fn show(
    source: &dyn ChargingSessionSource,
    address: &str,
    window: TimeWindow,
    (format, zone): (Format, &TimeZone),
    requests: impl Fn() -> usize,
) -> Result<Code, Failure> {
    eprintln!("A sandbox of {} listens on {address}; its data are invented.", source.provider());
    let listing = read::everything(source, SessionQuery::started_in(window)).await?;
    eprintln!("Read {} pages in {} requests.", listing.pages, requests());
    output::print(&listing, format, zone)
}

pub(crate) fn no_port(error: &io::Error) -> Failure {
    Failure::usage(format!("the sandbox cannot listen on 127.0.0.1: {error}"))
}
