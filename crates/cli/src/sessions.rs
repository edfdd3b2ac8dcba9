//! `charging-sessions sessions`: what an account holds.

use std::{env, fs};

use charging_sessions::{AssetRef, SessionQuery, ev_energy};
use jiff::Timestamp;
use secrecy::SecretString;

use crate::{
    args::{Provider, SessionsArgs},
    exit::{Code, Failure},
    output, read,
};

pub(crate) async fn run(args: SessionsArgs) -> Result<Code, Failure> {
    let query = query(&args)?;
    let source = match args.provider {
        Provider::EvEnergy => ev_energy(&args)?,
    };
    let listing = read::everything(&source, query).await?;
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
    Ok(ev_energy::EvEnergy::new(config)?)
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
