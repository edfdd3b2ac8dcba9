//! `charging-sessions sessions`: what an account holds.

use std::{env, fs};

use charging_sessions::{AssetRef, ChargingSessionSource, SessionQuery, der_connect, ev_energy, podero};
use jiff::Timestamp;
use secrecy::SecretString;

use crate::{
    args::{Provider, SessionsArgs},
    exit::{Code, Failure},
    output, read,
};

pub(crate) async fn run(args: SessionsArgs) -> Result<Code, Failure> {
    let query = query(&args)?;
    refuse_what_is_for_others(&args)?;
    let source: Box<dyn ChargingSessionSource> = match args.provider {
        Provider::DerConnect => Box::new(der_connect(&args)?),
        Provider::EvEnergy => Box::new(ev_energy(&args)?),
        Provider::Podero => Box::new(podero(&args)?),
    };
    let listing = read::everything(&*source, query).await?;
    output::print(&listing, &args.output)
}

fn query(args: &SessionsArgs) -> Result<SessionQuery, Failure> {
    let mut query = match args.span.window(&args.output.zone(), Timestamp::now())? {
        Some(window) => SessionQuery::started_in(window),
        None => SessionQuery::all(),
    };
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
    Ok(query)
}

fn ev_energy(args: &SessionsArgs) -> Result<ev_energy::EvEnergy, Failure> {
    let mut config = ev_energy::Config::new(&args.client_id, secret(args)?);
    config.account = args.account.clone();
    if let Some(url) = &args.base_url {
        config.base_url = url.clone();
    }
    config.token_url.clone_from(&args.token_url);
    config.acting_user.clone_from(&args.acting_user);
    config.filter.mode.clone_from(&args.mode);
    config.expand.clone_from(&args.expand);
    let source = ev_energy::EvEnergy::new(config)?;
    Ok(if args.plug_ins { source.plug_ins() } else { source })
}

/// An option that would silently do nothing is a mistake of the user's.
fn refuse_what_is_for_others(args: &SessionsArgs) -> Result<(), Failure> {
    let options = [
        ("--acting-user", args.acting_user.is_some(), Provider::EvEnergy, "ev.energy"),
        ("--mode", args.mode.is_some(), Provider::EvEnergy, "ev.energy"),
        ("--expand", !args.expand.is_empty(), Provider::EvEnergy, "ev.energy"),
        ("--plug-ins", args.plug_ins, Provider::EvEnergy, "ev.energy"),
        ("--organisation", args.organisation.is_some(), Provider::Podero, "Podero"),
        ("--scope", args.scope.is_some(), Provider::DerConnect, "DER-Connect"),
    ];
    match options.iter().find(|(_, given, provider, _)| *given && *provider != args.provider) {
        Some((option, _, _, name)) => Err(Failure::usage(format!("{option} is for {name} only"))),
        None => Ok(()),
    }
}

fn der_connect(args: &SessionsArgs) -> Result<der_connect::DerConnect, Failure> {
    let mut config = der_connect::Config::new(&args.client_id, secret(args)?);
    config.account = args.account.clone();
    if let Some(url) = &args.base_url {
        config.base_url = url.clone();
    }
    if let Some(url) = &args.token_url {
        config.token_url = url.clone();
    }
    config.scope.clone_from(&args.scope);
    Ok(der_connect::DerConnect::new(config)?)
}

fn podero(args: &SessionsArgs) -> Result<podero::Podero, Failure> {
    let organisation = args.organisation.as_deref().unwrap_or_default();
    let mut config = podero::Config::new(&args.client_id, secret(args)?, organisation);
    config.account = args.account.clone();
    if let Some(url) = &args.base_url {
        config.base_url = url.clone();
    }
    config.token_url.clone_from(&args.token_url);
    Ok(podero::Podero::new(config)?)
}

fn secret(args: &SessionsArgs) -> Result<SecretString, Failure> {
    const VARIABLE: &str = "CHARGING_SESSIONS_CLIENT_SECRET";
    let secret = match &args.client_secret_file {
        Some(path) => fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("the client secret cannot be read from {}: {error}", path.display()))
        })?,
        None => env::var(VARIABLE).map_err(|_| {
            Failure::usage(format!(
                "there is no client secret: set {VARIABLE} or name a file with --client-secret-file"
            ))
        })?,
    };
    // Editors end files with a line break, which is no part of a secret.
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Failure::usage("the client secret is empty"));
    }
    Ok(secret.into())
}
