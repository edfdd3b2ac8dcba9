//! `charging-sessions demo`: the whole way from an HTTP server to a table, on one machine.

use charging_sessions::{SessionQuery, TimeWindow, ev_energy};
use charging_sessions_testkit::sandbox::ev_energy::EvEnergySandbox;
use jiff::{SignedDuration, Timestamp};

use crate::{
    args::DemoArgs,
    exit::{Code, Failure},
    output, read,
};

pub(crate) async fn run(args: DemoArgs) -> Result<Code, Failure> {
    let now = Timestamp::now();
    let sandbox =
        EvEnergySandbox::builder()
            .seed(args.seed)
            .now(now)
            .days(args.days)
            .build()
            .start()
            .await
            .map_err(|error| Failure::usage(format!("the sandbox cannot listen on 127.0.0.1: {error}")))?;
    eprintln!("A sandbox of ev.energy listens on {}; its data are invented.", sandbox.base_url());
    let mut config = ev_energy::Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = sandbox.base_url().parse().expect("the sandbox knows its own address");
    let source = ev_energy::EvEnergy::new(config)?;
    let from = now - SignedDuration::from_hours(24 * i64::from(args.days));
    let window = TimeWindow::new(from, now).expect("at least a day");
    let listing = read::everything(&source, SessionQuery::started_in(window)).await?;
    eprintln!("Read {} pages in {} requests, token included.", listing.pages, sandbox.requests().len());
    output::print(&listing, &args.output)
}
