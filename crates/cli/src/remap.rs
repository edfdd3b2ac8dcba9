//! `charging-sessions raw replay`: stored payloads through the mapping of today, without asking the provider.

use std::io::{self, BufWriter, Write};

use charging_sessions::{
    AssetKind, ChargingSession, Parties, Payload, RecordContext, RecordKind, SessionPage, checks,
    der_connect, ev_energy, evcc, ocpi, podero,
};
use charging_sessions_store::{Account, content_hash};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    args::SharedArgs,
    config::Config,
    exit::{Code, Failure},
    show::write_differences,
    stored::{self, FilterArgs},
    text,
};

/// What to do with bytes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum RawCommand {
    /// Maps the bytes of the store with the mapping of this release, without asking a provider, and tells what changes.
    Replay(Box<ReplayArgs>),
}

/// Which payloads, and whether to keep what comes of them.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Write what has changed into the store, as revisions. Without it, it is only shown.
    #[arg(long)]
    apply: bool,
}

pub(crate) async fn run(command: &RawCommand, shared: &SharedArgs) -> Result<Code, Failure> {
    let RawCommand::Replay(args) = command;
    let config = Config::load(shared)?;
    let store = if args.apply { stored::open(&config).await? } else { stored::read(&config).await? };
    let mut rows = Vec::new();
    stored::each(&*store, &args.filter, &config.zone, |row| {
        rows.push((row.session, row.payload));
        Ok(())
    })
    .await?;
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut same, mut without, mut failed) = (0_u64, 0_u64, 0_u64);
    let mut changed: Vec<ChargingSession> = Vec::new();
    for (before, hash) in rows {
        let payload = match hash {
            Some(hash) => store.payload(&hash).await?,
            None => None,
        };
        let Some(payload) = payload else {
            without += 1;
            continue;
        };
        match again(&before, &payload, &config) {
            Err(reason) => {
                failed += 1;
                writeln!(out, "{}: {}", before.key(), text::visible(&reason))?;
            }
            Ok(now) if content_hash(&now) == content_hash(&before) => same += 1,
            Ok(now) => {
                writeln!(out, "{}", text::visible(&before.key().to_string()))?;
                write_differences(&mut out, &json!(before), &json!(now))?;
                changed.push(now);
            }
        }
    }
    let told = changed.len();
    if args.apply {
        changed.sort_by(|a, b| a.key().cmp(b.key()));
        for part in changed.chunk_by(|a, b| account(a) == account(b)) {
            let now = Timestamp::now();
            let lease = store.begin(&account(&part[0]), now).await?;
            store.remap(&*lease, part.to_vec(), now).await?;
        }
    }
    let verb = if args.apply { "written" } else { "would change; --apply writes them" };
    writeln!(out, "{told} {verb}, {same} as before, {without} without bytes, {failed} cannot be mapped.")?;
    out.flush()?;
    Ok(if failed == 0 { Code::Done } else { Code::Rejects })
}

fn account(session: &ChargingSession) -> Account {
    Account { provider: session.key().provider, account: session.key().account.clone() }
}

/// What the mapping of today makes of the bytes that `before` was made of.
fn again(before: &ChargingSession, payload: &Payload, config: &Config) -> Result<ChargingSession, String> {
    let key = before.key();
    let context =
        RecordContext::new(key.kind, &before.provenance).with_parties(Parties::clone(&before.parties));
    let sessions = map(&account(before), &context, Some(before), payload, config)?;
    let mut now =
        sessions.into_iter().find(|session| session.key() == key).ok_or("it has another key now")?;
    now.provenance.endpoint = before.provenance.endpoint.clone();
    now.identity.parent = now.identity.parent.or_else(|| before.identity.parent.clone());
    Ok(now)
}

/// What the mapping of today makes of the bytes of one record: the session, and those that came inside of it. `before`
/// is what another mapping has made of them.
pub(crate) fn map(
    account: &Account,
    context: &RecordContext,
    before: Option<&ChargingSession>,
    payload: &Payload,
    config: &Config,
) -> Result<Vec<ChargingSession>, String> {
    let at = context.origin.fetched_at;
    let text = std::str::from_utf8(payload.as_bytes()).map_err(|_| "the bytes are not text".to_owned())?;
    let page = match account.provider {
        ev_energy::PROVIDER => {
            let mut mapping = ev_energy::Mapping::default();
            mapping.account = account.account.clone();
            let body = format!("[{text}]").into();
            if context.kind == RecordKind::PlugIn {
                mapping.plug_ins(&body, at)
            } else {
                mapping.sub_sessions(&body, at)
            }
        }
        evcc::PROVIDER => {
            let mut mapping = evcc::Mapping::default();
            mapping.account = account.account.clone();
            // Neither is in the payload: they are as configured today, or else as they were found then.
            let options = config.accounts.get(&account.account);
            let options = options.filter(|it| it.provider.id() == account.provider).map(|it| &it.options);
            let found = before.and_then(|before| {
                let cost = before.costs.cost.as_ref().map(|cost| cost.money);
                cost.or(before.costs.price_per_kwh).or(before.costs.reference_price_per_kwh)
            });
            let currency = options.and_then(|options| options.currency);
            mapping.currency =
                currency.or(found.map(|money| money.currency)).map(|currency| currency.to_string());
            let zone = before.and_then(|before| before.timing.zone.as_ref()).map(|zone| zone.name.clone());
            mapping.zone = options.and_then(|options| options.site_time_zone.clone()).or(zone);
            mapping.page(&format!("[{text}]").into(), at)
        }
        ocpi::PROVIDER => {
            let module = ocpi::Module::ALL.into_iter().find(|module| module.kind() == context.kind);
            let version = context.origin.endpoint.api_version.as_deref().and_then(ocpi::Version::named);
            let (Some(module), Some(version)) = (module, version) else {
                return Err("the record does not say which version of OCPI it was written in".to_owned());
            };
            let mut mapping = ocpi::Mapping::new(module, version);
            mapping.account = account.account.clone();
            mapping.page(&format!(r#"{{"status_code":1000,"data":[{text}]}}"#).into(), at)
        }
        podero::PROVIDER => {
            let mut mapping = podero::Mapping::default();
            mapping.account = account.account.clone();
            mapping.user_id.clone_from(&context.parties.user_id);
            mapping.vehicle_id =
                context.parties.vehicle.as_ref().and_then(|vehicle| vehicle.source_id.clone());
            mapping.page(&format!(r#"{{"total":1,"items":[{text}]}}"#).into(), at)
        }
        der_connect::PROVIDER => {
            let mut mapping = der_connect::Mapping::default();
            mapping.account = account.account.clone();
            let point = context.parties.charge_point.as_ref().map(|_| AssetKind::ChargePoint);
            mapping.entity_kind = context.parties.vehicle.as_ref().map(|_| AssetKind::Vehicle).or(point);
            mapping.page(&format!(r#"{{"data":[{text}]}}"#).into(), at)
        }
        other => return Err(format!("this program has no mapping for {other}")),
    };
    let SessionPage { mut sessions, rejected, .. } = page.map_err(|error| error.to_string())?;
    if let Some(rejected) = rejected.first() {
        return Err(rejected.to_string());
    }
    for session in &mut sessions {
        checks::screen(session, &checks::Limits::default());
    }
    Ok(sessions)
}
