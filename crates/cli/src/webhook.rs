//! `charging-sessions webhook verify`: is this message from the provider, and what does it say?

use std::{
    io::{self, Read as _},
    path::PathBuf,
};

use charging_sessions::{
    AccountId,
    ev_energy::{Mapping, webhook::Verifier},
};
use charging_sessions_http::{Bytes, http::HeaderMap};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    exit::{Code, Failure},
    output,
    secret::{Reference, Secret},
};

const VARIABLE: &str = "CHARGING_SESSIONS_WEBHOOK_SECRET";

/// What to do with a message that a provider has sent by itself.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum WebhookCommand {
    /// Checks the signature of a message of ev.energy and prints the session in it. The body is read from standard
    /// input, byte for byte as it came.
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The header `svix-id`.
    #[arg(long, value_name = "ID")]
    id: String,
    /// The header `svix-timestamp`.
    #[arg(long, value_name = "SECONDS")]
    timestamp: String,
    /// The header `svix-signature`.
    #[arg(long, value_name = "SIGNATURES")]
    signature: String,
    /// A file that holds the endpoint's secret (`whsec_…`) and that nobody else may read. Without it, the secret is
    /// read from the environment variable CHARGING_SESSIONS_WEBHOOK_SECRET.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// When the message arrived; now unless given. For messages that were recorded.
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
    /// Your own name for the account; part of the record's key.
    #[arg(long, value_name = "NAME", default_value = "default")]
    account: AccountId,
}

pub(crate) async fn run(command: &WebhookCommand) -> Result<Code, Failure> {
    let WebhookCommand::Verify(args) = command;
    let reference = match &args.secret_file {
        Some(path) => Reference::File(path.clone()),
        None => Reference::Environment(VARIABLE.into()),
    };
    let secret = Secret::of_webhook(reference).read().await?;
    let mut body = Vec::new();
    io::stdin().lock().read_to_end(&mut body)?;
    let body = Bytes::from(body);
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("svix-id", &args.id), ("svix-timestamp", &args.timestamp), ("svix-signature", &args.signature)]
    {
        let value = value.parse().map_err(|_| Failure::usage(format!("no header `{name}` can hold that")))?;
        headers.insert(name, value);
    }
    let now = args.at.unwrap_or_else(Timestamp::now);
    Verifier::new(&secret)?.verify(&headers, &body, now)?;
    let mut mapping = Mapping::default();
    mapping.account = args.account.clone();
    output::json(&json!(mapping.event(&body, now)?))
}
