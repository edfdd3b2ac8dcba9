//! `charging-sessions raw replay`: stored payloads through the mapping of today, without asking the provider.

use std::io::{self, BufWriter, Write};

use charging_sessions::{
    AssetKind, ChargingSession, Payload, RecordKind, SessionPage, der_connect, ev_energy, ocpi, podero,
};
use charging_sessions_store::{Account, SessionStore as _, content_hash};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    args::SharedArgs,
    config::Config,
    exit::{Code, Failure},
    show::{differences, plain},
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
    let store = if args.apply { stored::open(&config)? } else { stored::read(&config)? };
    let mut rows = Vec::new();
    stored::each(&store, &args.filter, &config.zone, |row| {
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
        match again(&before, &payload) {
            Err(reason) => {
                failed += 1;
                writeln!(out, "{}: {}", before.key(), text::visible(&reason))?;
            }
            Ok(now) if content_hash(&now) == content_hash(&before) => same += 1,
            Ok(now) => {
                writeln!(out, "{}", text::visible(&before.key().to_string()))?;
                for (place, old, new) in differences(&json!(before), &json!(now)) {
                    let (old, new) = (plain(&old), plain(&new));
                    writeln!(out, "  {place}: {} -> {}", text::visible(&old), text::visible(&new))?;
                }
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
fn again(before: &ChargingSession, payload: &Payload) -> Result<ChargingSession, String> {
    let key = before.key();
    let at = before.provenance.fetched_at;
    let text = std::str::from_utf8(payload.as_bytes()).map_err(|_| "the bytes are not text".to_owned())?;
    let page = match key.provider {
        ev_energy::PROVIDER => {
            let mut mapping = ev_energy::Mapping::default();
            mapping.account = key.account.clone();
            let body = format!("[{text}]").into();
            if key.kind == RecordKind::PlugIn {
                mapping.plug_ins(&body, at)
            } else {
                mapping.sub_sessions(&body, at)
            }
        }
        ocpi::PROVIDER => {
            let module = ocpi::Module::ALL.into_iter().find(|module| module.kind() == key.kind);
            let version = before.provenance.endpoint.api_version.as_deref().and_then(ocpi::Version::named);
            let (Some(module), Some(version)) = (module, version) else {
                return Err("the record does not say which version of OCPI it was written in".to_owned());
            };
            let mut mapping = ocpi::Mapping::new(module, version);
            mapping.account = key.account.clone();
            mapping.page(&format!(r#"{{"status_code":1000,"data":[{text}]}}"#).into(), at)
        }
        podero::PROVIDER => {
            let mut mapping = podero::Mapping::default();
            mapping.account = key.account.clone();
            mapping.user_id.clone_from(&before.parties.user_id);
            mapping.vehicle_id =
                before.parties.vehicle.as_ref().and_then(|vehicle| vehicle.source_id.clone());
            mapping.page(&format!(r#"{{"total":1,"items":[{text}]}}"#).into(), at)
        }
        der_connect::PROVIDER => {
            let mut mapping = der_connect::Mapping::default();
            mapping.account = key.account.clone();
            let point = before.parties.charge_point.as_ref().map(|_| AssetKind::ChargePoint);
            mapping.entity_kind = before.parties.vehicle.as_ref().map(|_| AssetKind::Vehicle).or(point);
            mapping.page(&format!(r#"{{"data":[{text}]}}"#).into(), at)
        }
        other => return Err(format!("this program has no mapping for {other}")),
    };
    let SessionPage { sessions, rejected, .. } = page.map_err(|error| error.to_string())?;
    if let Some(rejected) = rejected.first() {
        return Err(rejected.to_string());
    }
    let mut now =
        sessions.into_iter().find(|session| session.key() == key).ok_or("it has another key now")?;
    now.provenance.endpoint = before.provenance.endpoint.clone();
    now.identity.parent = now.identity.parent.or_else(|| before.identity.parent.clone());
    charging_sessions::checks::screen(&mut now, &charging_sessions::checks::Limits::default());
    Ok(now)
}
