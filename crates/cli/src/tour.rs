//! `charging-sessions demo` without a provider: four accounts into one store, twice.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use charging_sessions::{
    AccountId, AssetSource, ChargingSessionSource, RecordKind, der_connect, ev_energy, evcc, ocpi, podero,
};
use charging_sessions_report::{BucketRule, GroupBy, SumRule, Summary};
use charging_sessions_store::{Account, Filter, SessionStore, SqliteStore};
use charging_sessions_sync::{AccountSync, Report};
use charging_sessions_testkit::sandbox::{
    der_connect::{self as der_connect_sandbox, DerConnectSandbox},
    ev_energy::{self as ev_energy_sandbox, EvEnergySandbox},
    evcc::{self as evcc_sandbox, EvccSandbox},
    ocpi::{self as ocpi_sandbox, OcpiSandbox},
    podero::{self as podero_sandbox, PoderoSandbox},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use crate::{
    args::Format,
    exit::{Code, Failure},
    file::FileArgs,
    provider::Provider,
    records, report, stored, summary,
};

/// An account at a sandbox that runs, and what its provider does between the two runs.
pub(crate) struct Stop {
    pub(crate) source: Arc<dyn ChargingSessionSource>,
    assets: Option<Arc<dyn AssetSource>>,
    kind: RecordKind,
    /// Where the sandbox listens.
    pub(crate) address: String,
    /// How much it was asked so far, sign-ins apart.
    pub(crate) requests: Box<dyn Fn() -> usize>,
    /// Corrects one session, takes another away, where that can happen, and lets a third one arrive late.
    change: Box<dyn Fn()>,
}

/// Brings the store at `path` up to date twice, adds it up, and writes a report into its folder.
pub(crate) async fn run(path: &Path, days: u32, seed: u64, zone: &TimeZone) -> Result<Code, Failure> {
    let now = Timestamp::now();
    let since = now - SignedDuration::from_hours(24 * i64::from(days));
    let store: Arc<dyn SessionStore> = Arc::new(SqliteStore::open(path)?.with_zone(zone.clone()));
    let mut stops = Vec::new();
    for provider in
        [Provider::EvEnergy, Provider::Podero, Provider::DerConnect, Provider::Evcc, Provider::Ocpi]
    {
        stops.push(Stop::start(provider, now, days, seed).await?);
    }
    let mut quarantined = 0;
    println!("Five sandboxes listen on this machine; their data are invented.\n\nThe first run:");
    for stop in &stops {
        quarantined += stop.sync(&store, since).await?;
    }
    for stop in &stops {
        (stop.change)();
    }
    println!(
        "\nAt each provider a session is corrected, one has come late, and one is gone, but for OCPI, which knows no \
         removal. The second run:"
    );
    for stop in &stops {
        quarantined += stop.sync(&store, since).await?;
    }
    println!();
    let by = vec![GroupBy::Month, GroupBy::Provider];
    let rule = SumRule { by, bucket: BucketRule::Start, zone: zone.clone() };
    let mut summary = Summary::default();
    let mut filter = Filter::default();
    filter.vanished = Some(false);
    let choice = records::choice(&*store, &filter, false).await?;
    stored::each_of(&*store, &filter, |row| {
        summary.add(&records::record(row), &choice, &rule);
        Ok(())
    })
    .await?;
    io::stdout().flush()?;
    summary::print(&summary, &rule, Format::Table)?;
    let month = month(now, since, zone);
    let page = path.with_file_name(format!("demo-report-{month}.html"));
    // The demo's own, from an earlier run.
    let file = FileArgs { output: page.clone(), force: true };
    report::write_monthly(&*store, &month, zone, file).await?;
    println!(
        "\nRecords that could not be read, and are kept in quarantine: {quarantined}.\nThe store is {}. Look at it \
         with `charging-sessions --store {0} sessions`.\nA report of {month} is {}: open it in a browser.",
        path.display(),
        page.display()
    );
    Ok(Code::Done)
}

/// The last whole month, or this one if there are no data of that.
fn month(now: Timestamp, since: Timestamp, zone: &TimeZone) -> String {
    let today = now.to_zoned(zone.clone()).date();
    let before = today.first_of_month().yesterday().unwrap_or(today);
    let whole = since.to_zoned(zone.clone()).date() < before;
    if whole { before } else { today }.strftime("%Y-%m").to_string()
}

impl Stop {
    /// Starts the sandbox of a provider, with data of so many days before `now`.
    pub(crate) async fn start(
        provider: Provider,
        now: Timestamp,
        days: u32,
        seed: u64,
    ) -> Result<Self, Failure> {
        match provider {
            Provider::DerConnect => der_connect(now, days, seed).await,
            Provider::EvEnergy => ev_energy(now, days, seed).await,
            Provider::Evcc => evcc(now, days, seed).await,
            Provider::Ocpi => ocpi(now, days, seed).await,
            Provider::Podero => podero(now, days, seed).await,
        }
    }

    async fn sync(&self, store: &Arc<dyn SessionStore>, since: Timestamp) -> Result<u64, Failure> {
        let account = Account { provider: self.source.provider(), account: AccountId::default() };
        let mut sync =
            AccountSync::new(Arc::clone(&self.source), Arc::clone(store), account, &[self.kind]).since(since);
        if let Some(assets) = &self.assets {
            sync = sync.assets(Arc::clone(assets));
        }
        let report: Report = sync.run().await?;
        println!("  {report}");
        Ok(report.counts.quarantined)
    }
}

/// The identifiers of the latest three records, the earliest of them first, and a copy of the last.
fn latest(records: &Value, pointer: &str, start: &str) -> ([String; 2], Value) {
    let mut records: Vec<&Value> = records.as_array().into_iter().flatten().collect();
    // One that goes on is no example of what is settled.
    records.retain(|record| record.pointer(start).is_some_and(Value::is_string));
    records
        .sort_by_key(|record| record.pointer(start).and_then(Value::as_str).unwrap_or_default().to_owned());
    let id = |record: &Value| record.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let chosen = &records[records.len().saturating_sub(8)..];
    ([id(chosen[0]), id(chosen[1])], chosen[2].clone())
}

async fn ev_energy(now: Timestamp, days: u32, seed: u64) -> Result<Stop, Failure> {
    let sandbox = EvEnergySandbox::builder().seed(seed).now(now).days(days).build();
    let sandbox = sandbox.start().await.map_err(|error| no_port(&error))?;
    let mut config = ev_energy::Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = sandbox.base_url().parse().expect("the sandbox knows its own address");
    let source = Arc::new(ev_energy::EvEnergy::new(config)?);
    let (address, asked) = (sandbox.base_url(), sandbox.clone());
    let change = move || {
        use ev_energy_sandbox::Mutation;
        let ([corrected, removed], mut late) = latest(&sandbox.truth(), "/id", "/end");
        let fields = json!({"energy_delivered_watt_hours": 12_345});
        sandbox.mutate(Mutation::Correct { id: corrected, fields });
        sandbox.mutate(Mutation::Remove(removed));
        late["id"] = sandbox.new_id(now).into();
        sandbox.mutate(Mutation::Insert(late));
    };
    Ok(Stop {
        source,
        assets: None,
        kind: RecordKind::Segment,
        address,
        requests: Box::new(move || asked.requests().len()),
        change: Box::new(change),
    })
}

async fn podero(now: Timestamp, days: u32, seed: u64) -> Result<Stop, Failure> {
    let sandbox = PoderoSandbox::builder().seed(seed).now(now).days(days).build();
    let sandbox = sandbox.start().await.map_err(|error| no_port(&error))?;
    let secret = sandbox.client_secret().into();
    let mut config = podero::Config::new(sandbox.client_id(), secret, sandbox.org_id());
    config.base_url = sandbox.base_url().parse().expect("the sandbox knows its own address");
    let source = Arc::new(podero::Podero::new(config)?);
    let (address, asked) = (sandbox.base_url(), sandbox.clone());
    let change = move || {
        use podero_sandbox::Mutation;
        let ([corrected, removed], late) = latest(&sandbox.truth(), "/session/id", "/session/unplug_time");
        sandbox.mutate(Mutation::Correct { id: corrected, fields: json!({"energy_charged_kwh": 12.345}) });
        sandbox.mutate(Mutation::Remove(removed));
        let mut session = late["session"].clone();
        session["id"] = sandbox.new_id().into();
        let vehicle = late["electric_vehicle_id"].as_str().unwrap_or_default().to_owned();
        sandbox.mutate(Mutation::Insert { vehicle, session });
    };
    Ok(Stop {
        source,
        assets: None,
        kind: RecordKind::PlugIn,
        address,
        requests: Box::new(move || asked.requests().len()),
        change: Box::new(change),
    })
}

async fn ocpi(now: Timestamp, days: u32, seed: u64) -> Result<Stop, Failure> {
    let sandbox = OcpiSandbox::builder().seed(seed).now(now).days(days).build();
    let sandbox = sandbox.start().await.map_err(|error| no_port(&error))?;
    let address = sandbox.versions_url();
    let versions = address.parse().expect("the sandbox knows its own address");
    let source = Arc::new(ocpi::Ocpi::new(ocpi::Config::new(versions, sandbox.token().into()))?);
    let asked = sandbox.clone();
    let change = move || {
        use ocpi_sandbox::{Module, Mutation};
        let ([corrected, _], mut late) = latest(&sandbox.truth(Module::Sessions), "/id", "/end_date_time");
        sandbox.mutate(Mutation::Correct(Module::Sessions, corrected, json!({"kwh": 12.345})));
        late["id"] = "S-late".into();
        // Later runs ask for what was updated since.
        late["last_updated"] = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        sandbox.mutate(Mutation::Insert(Module::Sessions, late));
    };
    Ok(Stop {
        source,
        assets: None,
        kind: RecordKind::PlugIn,
        address,
        requests: Box::new(move || asked.requests().len()),
        change: Box::new(change),
    })
}

async fn der_connect(now: Timestamp, days: u32, seed: u64) -> Result<Stop, Failure> {
    let sandbox = DerConnectSandbox::builder().seed(seed).now(now).days(days).build();
    let sandbox = sandbox.start().await.map_err(|error| no_port(&error))?;
    let mut config = der_connect::Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = sandbox.base_url().parse().expect("the sandbox knows its own address");
    config.token_url = sandbox.token_url().parse().expect("the sandbox knows its own address");
    let source = Arc::new(der_connect::DerConnect::new(config)?);
    let (address, asked) = (sandbox.base_url(), sandbox.clone());
    let change = move || {
        use der_connect_sandbox::Mutation;
        let ([corrected, removed], late) = latest(&sandbox.truth(), "/session/id", "/session/data/end");
        let fields = json!({"data": {"charge": {"total": {"total": 12.345}}}});
        sandbox.mutate(Mutation::Correct { id: corrected, fields });
        sandbox.mutate(Mutation::Remove(removed));
        let mut session = late["session"].clone();
        session["id"] = sandbox.new_id().into();
        let entity = late["entity_id"].as_str().unwrap_or_default().to_owned();
        sandbox.mutate(Mutation::Insert { entity, session });
    };
    Ok(Stop {
        source: source.clone(),
        assets: Some(source),
        kind: RecordKind::Charge,
        address,
        requests: Box::new(move || asked.requests().len()),
        change: Box::new(change),
    })
}

async fn evcc(now: Timestamp, days: u32, seed: u64) -> Result<Stop, Failure> {
    let sandbox = EvccSandbox::builder().seed(seed).now(now).days(days).build();
    let sandbox = sandbox.start().await.map_err(|error| no_port(&error))?;
    let address = sandbox.base_url();
    let config = evcc::Config::new(address.parse().expect("the sandbox knows its own address"));
    let source = Arc::new(evcc::Evcc::new(config)?);
    let asked = sandbox.clone();
    let change = move || {
        use evcc_sandbox::Mutation;
        // The newest first, and what goes on before what has ended.
        let truth = sandbox.truth();
        let records = truth.as_array().into_iter().flatten();
        // An end in the year 1 is none.
        let mut ended = records.filter(|record| record["finished"].as_str().is_some_and(|end| end > "0002"));
        let (Some(removed), Some(corrected)) = (ended.next(), ended.next()) else { return };
        let id = |record: &Value| record["id"].as_i64().unwrap_or_default();
        let fields = json!({"vehicle": "geliehen", "odometer": 12_345.6});
        sandbox.mutate(Mutation::Correct { id: id(corrected), fields });
        sandbox.mutate(Mutation::Remove(id(removed)));
        let mut late = removed.clone();
        late["id"] = sandbox.new_id().into();
        sandbox.mutate(Mutation::Insert(late));
    };
    Ok(Stop {
        source,
        assets: None,
        kind: RecordKind::PlugIn,
        address,
        requests: Box::new(move || asked.requests().len()),
        change: Box::new(change),
    })
}

fn no_port(error: &io::Error) -> Failure {
    Failure::usage(format!("the sandbox cannot listen on 127.0.0.1: {error}"))
}
