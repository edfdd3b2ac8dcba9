//! `charging-sessions provider`: what the providers can do.

use charging_sessions::{AssetKind, Capabilities, ProviderId, der_connect, ev_energy, evcc, ocpi, podero};
use charging_sessions_http::{Quota, Url};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::{
    args::{ReportArgs, ReportFormat},
    config,
    exit::{Code, Failure},
    output,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// DER-Connect
    DerConnect,
    /// ev.energy
    EvEnergy,
    /// evcc
    Evcc,
    /// OCPI
    Ocpi,
    /// Podero
    Podero,
}

impl Provider {
    /// The names of all, as the configuration spells them.
    pub(crate) const NAMES: [&'static str; 5] = ["der-connect", "ev-energy", "evcc", "ocpi", "podero"];

    pub(crate) const fn id(self) -> ProviderId {
        match self {
            Self::DerConnect => der_connect::PROVIDER,
            Self::EvEnergy => ev_energy::PROVIDER,
            Self::Evcc => evcc::PROVIDER,
            Self::Ocpi => ocpi::PROVIDER,
            Self::Podero => podero::PROVIDER,
        }
    }

    /// Whether there is nothing to sign in to, unless somebody has put a proxy in front.
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Evcc)
    }

    /// Whether a token is all that it gives out, without a name beside it.
    pub(crate) const fn is_token_only(self) -> bool {
        matches!(self, Self::Ocpi)
    }

    /// As it calls itself.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::DerConnect => "DER-Connect",
            Self::EvEnergy => "ev.energy",
            Self::Evcc => "evcc",
            Self::Ocpi => "OCPI",
            Self::Podero => "Podero",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|provider| provider.id().as_str() == name)
    }

    /// The root of its API, if it is one and the same for all.
    pub(crate) fn base_url(self) -> Option<Url> {
        self.defaults().0
    }

    const fn capabilities(self) -> Capabilities {
        match self {
            Self::DerConnect => der_connect::CAPABILITIES,
            Self::EvEnergy => ev_energy::CAPABILITIES,
            Self::Evcc => evcc::CAPABILITIES,
            Self::Ocpi => ocpi::CAPABILITIES,
            Self::Podero => podero::CAPABILITIES,
        }
    }

    fn defaults(self) -> (Option<Url>, Option<Quota>) {
        let (id, secret) = (String::new(), String::new().into());
        match self {
            Self::DerConnect => {
                let config = der_connect::Config::new(id, secret);
                (Some(config.base_url), config.policy.quota)
            }
            Self::EvEnergy => {
                let config = ev_energy::Config::new(id, secret);
                (Some(config.base_url), config.policy.quota)
            }
            Self::Evcc => {
                let config = evcc::Config::local();
                (Some(config.base_url), config.policy.quota)
            }
            Self::Ocpi => (None, ocpi::Config::direct(ocpi::Version::ALL[0], secret).policy.quota),
            Self::Podero => {
                let config = podero::Config::new(id, secret, "");
                (Some(config.base_url), config.policy.quota)
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProviderCommand {
    /// Lists the providers.
    List(ReportArgs),
    /// Shows what one provider can be asked for, and what an account there is configured with.
    Show {
        /// Which.
        #[arg(value_enum)]
        provider: Provider,
        #[command(flatten)]
        report: ReportArgs,
    },
}

pub(crate) fn run(command: &ProviderCommand) -> Result<Code, Failure> {
    match command {
        ProviderCommand::List(ReportArgs { format: ReportFormat::Json }) => {
            output::json(&Provider::value_variants().iter().map(|provider| facts(*provider)).collect())
        }
        ProviderCommand::List(_) => {
            let header = [
                "name",
                "provider",
                "windows",
                "changes",
                "single",
                "intervals",
                "cost",
                "look-back",
                "page",
                "quota",
            ];
            output::rows(&header, Provider::value_variants().iter().map(|provider| row(*provider)))
        }
        ProviderCommand::Show { provider, report: ReportArgs { format: ReportFormat::Json } } => {
            output::json(&facts(*provider))
        }
        ProviderCommand::Show { provider, .. } => {
            let facts = facts(*provider);
            let facts = facts.as_object().into_iter().flatten();
            output::rows(&["fact", "value"], facts.map(|(fact, value)| vec![fact.clone(), plain(value)]))
        }
    }
}

fn facts(provider: Provider) -> Value {
    let can = provider.capabilities();
    let (base_url, quota) = provider.defaults();
    json!({
        "provider": provider.id(),
        "title": provider.title(),
        "base_url": base_url.as_ref().map(Url::as_str),
        "window": can.window,
        "updated_since": can.updated_since,
        "assets": can.assets,
        "finished": can.finished,
        "active_sessions": can.active_sessions,
        "cost": can.cost,
        "intervals": can.intervals,
        "asset_list": can.asset_list,
        "total": can.total,
        "look_back_hours": can.look_back.map(|time| time.as_hours()),
        "max_page_size": can.max_page_size,
        "quota": quota.map(|quota| json!({"requests": quota.requests, "per_seconds": quota.per.as_secs()})),
        "configuration_keys": config::keys(provider),
    })
}

fn row(provider: Provider) -> Vec<String> {
    let can = provider.capabilities();
    let quota = provider.defaults().1.map(|quota| format!("{} in {} s", quota.requests, quota.per.as_secs()));
    let kind = |kind: &AssetKind| match kind {
        AssetKind::Vehicle => "vehicle",
        AssetKind::ChargePoint => "charge point",
    };
    vec![
        provider.id().to_string(),
        provider.title().into(),
        plain(&can.window.into()),
        plain(&can.updated_since.into()),
        can.assets.iter().map(kind).collect::<Vec<_>>().join(", "),
        plain(&can.intervals.into()),
        plain(&can.cost.into()),
        can.look_back.map(|time| format!("{} d", time.as_hours() / 24)).unwrap_or_default(),
        can.max_page_size.map(|n| n.to_string()).unwrap_or_default(),
        quota.unwrap_or_else(|| "none known".into()),
    ]
}

/// A value for people.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none known".into(),
        Value::Bool(is) => if *is { "yes" } else { "no" }.into(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name} {}", plain(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Number(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        let variants = Provider::value_variants();
        assert_eq!(variants.len(), Provider::NAMES.len());
        for (provider, name) in variants.iter().zip(Provider::NAMES) {
            assert_eq!(provider.id().as_str(), name);
            let value = provider.to_possible_value().unwrap();
            assert_eq!(
                (value.get_name(), value.get_help().unwrap().to_string().as_str()),
                (name, provider.title())
            );
            assert_eq!(Provider::named(name), Some(*provider));
        }
    }
}
