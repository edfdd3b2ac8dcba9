//! A sandbox of each provider, seen through what all of them have.

// Not every test program needs all of this.
#![allow(dead_code)]

use std::{collections::BTreeSet, net::SocketAddr};

use charging_sessions_testkit::{
    conformance::identifiers,
    sandbox::{
        Fault,
        der_connect::DerConnectSandbox,
        ev_energy::EvEnergySandbox,
        evcc::EvccSandbox,
        ocpi::{Module, OcpiSandbox},
        podero::PoderoSandbox,
    },
};

pub(crate) const SECRET: &str = "s3cret-of-the-client";
const NOW: &str = "2026-11-20T12:00:00Z";

/// A sandbox that runs.
pub(crate) struct Place {
    pub(crate) provider: &'static str,
    /// What the program has to know, by the names of its options.
    settings: Vec<(&'static str, String)>,
    pub(crate) inject: Box<dyn Fn(Fault) + Send + Sync>,
    /// Forgets the faults that wait.
    pub(crate) calm: Box<dyn Fn() + Send + Sync>,
    /// The path of a page of sessions has this in it.
    pub(crate) listing: &'static str,
    pub(crate) records: BTreeSet<String>,
    pub(crate) address: SocketAddr,
    /// How much it was asked.
    pub(crate) requests: Box<dyn Fn() -> usize + Send + Sync>,
    /// Which access tokens it has given out.
    pub(crate) tokens: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl Place {
    /// The settings as options.
    pub(crate) fn arguments(&self) -> Vec<String> {
        self.settings.iter().map(|(name, value)| format!("--{name}={value}")).collect()
    }

    /// The settings as an account of this name, with its secret in the variable `SECRET`, reached at another origin.
    pub(crate) fn account(&self, name: &str, origin: &str) -> String {
        let provider = self.provider;
        let mut text =
            format!("[accounts.{name}]\nprovider = '{provider}'\nclient_secret = {{ env = 'SECRET' }}\n");
        for (option, value) in &self.settings {
            let value = value.replace(&self.origin(), origin);
            text += &format!("{} = '{value}'\n", option.replace('-', "_"));
        }
        text
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

macro_rules! place {
    ($provider:literal, $listing:literal, $builder:expr, |$it:ident| $records:expr, $tokens:expr, [$($name:literal = $value:expr),*]) => {{
        let $it = $builder.seed(7).now(NOW.parse().unwrap()).days(30).dirt(false).build().start().await.unwrap();
        let settings = vec![$(($name, $value.to_string())),*];
        let (counts, gives, calms) = ((*$it).clone(), (*$it).clone(), (*$it).clone());
        Place {
            provider: $provider,
            settings,
            listing: $listing,
            records: $records,
            address: $it.address(),
            requests: Box::new(move || counts.requests().len()),
            tokens: Box::new(move || $tokens(&gives)),
            calm: Box::new(move || calms.clear_faults()),
            inject: Box::new(move |fault| $it.inject(fault)),
        }
    }};
}

/// One of each.
pub(crate) async fn places() -> Vec<Place> {
    places_with(SECRET).await
}

/// One of each, with this secret.
pub(crate) async fn places_with(secret: &str) -> Vec<Place> {
    vec![
        place!(
            "ev-energy",
            "charging_sub_sessions",
            EvEnergySandbox::builder().credentials("client", secret),
            |it| identifiers(&it.truth(), "/id"),
            EvEnergySandbox::tokens_given,
            ["client-id" = "client", "base-url" = it.base_url()]
        ),
        place!(
            "podero",
            "/sessions",
            PoderoSandbox::builder().credentials("client", secret),
            |it| identifiers(&it.truth(), "/session/id"),
            PoderoSandbox::tokens_given,
            ["client-id" = "client", "base-url" = it.base_url(), "organisation" = it.org_id()]
        ),
        place!(
            "der-connect",
            "/charge-sessions",
            DerConnectSandbox::builder().credentials("client", secret),
            |it| identifiers(&it.truth(), "/session/id"),
            DerConnectSandbox::tokens_given,
            ["client-id" = "client", "base-url" = it.base_url(), "token-url" = it.token_url()]
        ),
        place!(
            "evcc",
            "/api/sessions",
            EvccSandbox::builder().credentials("client", secret),
            |it| identifiers(&it.truth(), "/id"),
            (|_: &EvccSandbox| Vec::new()),
            ["client-id" = "client", "base-url" = it.base_url()]
        ),
        place!(
            "ocpi",
            "/sessions",
            OcpiSandbox::builder().token(secret),
            |it| {
                let ids = identifiers(&it.truth(Module::Sessions), "/id");
                ids.into_iter().map(|id| format!("be*bec*{}", id.to_lowercase())).collect()
            },
            (|_: &OcpiSandbox| Vec::new()),
            ["base-url" = it.versions_url()]
        ),
    ]
}
