//! What an account may have besides its credentials, on the command line and in the configuration alike.

use charging_sessions::{
    AssetRef, Currency, der_connect, ev_energy,
    ev_energy::Expand,
    evcc,
    evcc::PlainHttp,
    ocpi::{self, Module, Party, TokenForm, Version},
    podero,
};
use charging_sessions_http::{Policy, Quota, Url};
use jiff::{SignedDuration, civil::Date, tz::TimeZone};

use super::table::Table;
use crate::{args::length, exit::Failure, provider::Provider};

/// How an account is reached and what is asked for. Each provider has its own.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// The organisation whose users' sessions are read. Podero only, where it is needed.
    #[arg(long, value_name = "ID", required_if_eq("provider", "podero"))]
    pub(crate) organisation: Option<String>,
    /// The root of the API, if it is not the provider's own. For OCPI, where the party lists its versions.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<Url>,
    /// Where tokens are issued, if it is not the provider's own.
    #[arg(long, value_name = "URL")]
    pub(crate) token_url: Option<Url>,
    /// How many requests the provider allows in a rolling span of time, such as 1000/1h, if it is not what is known of
    /// it.
    #[arg(long, value_name = "N/SPAN", value_parser = quota)]
    pub(crate) quota: Option<Quota>,
    /// The OAuth scope to ask for. DER-Connect only.
    #[arg(long, value_name = "WORDS")]
    pub(crate) scope: Option<String>,
    /// The longest that a session is expected to last, such as 7d. DER-Connect only.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) longest_session: Option<SignedDuration>,
    /// The entities that are read when none is asked for. DER-Connect only.
    #[arg(skip)]
    pub(crate) entities: Vec<AssetRef>,
    /// The user to act as, for client credentials that see many. ev.energy only.
    #[arg(long, value_name = "ID")]
    pub(crate) acting_user: Option<String>,
    /// Only this charging mode, in the provider's word, for example SMART. ev.energy only.
    #[arg(long, value_name = "WORD")]
    pub(crate) mode: Option<String>,
    /// What to receive in full instead of as a link. May be repeated; each needs its scope. ev.energy only.
    #[arg(long, value_name = "FIELD", value_parser = expand)]
    pub(crate) expand: Vec<Expand>,
    /// Stays at the plug, each followed by the sub-sessions in it. ev.energy only.
    #[arg(long)]
    pub(crate) plug_ins: bool,
    /// The longest that a vehicle is expected to stay at the plug, such as 30d. ev.energy only, for --plug-ins.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) longest_stay: Option<SignedDuration>,
    /// What may be asked over plain http on another machine, where everybody on the way can read it:
    /// without_credentials or with_credentials. evcc only.
    #[arg(long, value_name = "WHAT", value_parser = plain_http)]
    pub(crate) plain_http: Option<PlainHttp>,
    /// The currency of the site, such as EUR, if it is not to be asked for. evcc only.
    #[arg(long, value_name = "CODE", value_parser = currency)]
    pub(crate) currency: Option<Currency>,
    /// The IANA time zone of the site, which is kept with each session. evcc only.
    #[arg(long, value_name = "ZONE", value_parser = zone_name)]
    pub(crate) site_time_zone: Option<String>,
    /// What to list: sessions, cdrs for what was billed, or both into one store. OCPI only.
    #[arg(long, value_name = "NAME", value_parser = module)]
    pub(crate) module: Option<Modules>,
    /// The version to speak, such as 2.2.1; the latest in common unless given. OCPI only.
    #[arg(long, value_name = "NUMBER", value_parser = version)]
    pub(crate) ocpi_version: Option<Version>,
    /// How the token is written: auto, raw or base64. OCPI only.
    #[arg(long, value_name = "FORM", value_parser = token_form)]
    pub(crate) token_form: Option<TokenForm>,
    /// Who we are behind a hub, such as NL-TNM. OCPI only.
    #[arg(long, value_name = "PARTY", value_parser = party)]
    pub(crate) from_party: Option<Party>,
    /// Whose records are wanted behind a hub, such as BE-BEC. OCPI only.
    #[arg(long, value_name = "PARTY", value_parser = party)]
    pub(crate) to_party: Option<Party>,
    /// Where sessions are, if not where the list of versions says. OCPI only.
    #[arg(long, value_name = "URL")]
    pub(crate) sessions_url: Option<Url>,
    /// Where charge detail records are, if not where the list of versions says. OCPI only.
    #[arg(long, value_name = "URL")]
    pub(crate) cdrs_url: Option<Url>,
}

/// The keys of an account that every provider has.
const COMMON: [&str; 7] =
    ["provider", "client_id", "client_secret", "base_url", "token_url", "quota", "since"];

/// The keys of one provider alone.
const OWN: [(&str, Provider); 20] = [
    ("acting_user", Provider::EvEnergy),
    ("mode", Provider::EvEnergy),
    ("expand", Provider::EvEnergy),
    ("plug_ins", Provider::EvEnergy),
    ("longest_stay", Provider::EvEnergy),
    ("with_intervals", Provider::EvEnergy),
    ("module", Provider::Ocpi),
    ("ocpi_version", Provider::Ocpi),
    ("token_form", Provider::Ocpi),
    ("from_party", Provider::Ocpi),
    ("to_party", Provider::Ocpi),
    ("sessions_url", Provider::Ocpi),
    ("cdrs_url", Provider::Ocpi),
    ("organisation", Provider::Podero),
    ("scope", Provider::DerConnect),
    ("longest_session", Provider::DerConnect),
    ("entities", Provider::DerConnect),
    ("plain_http", Provider::Evcc),
    ("currency", Provider::Evcc),
    ("site_time_zone", Provider::Evcc),
];

/// All keys of an account at `provider`.
pub(crate) fn keys(provider: Provider) -> Vec<&'static str> {
    let own = OWN.iter().filter(|(_, owner)| *owner == provider).map(|(key, _)| *key);
    // A token is all that a party gives out, and a server at home signs nobody in.
    let is_known = |key: &&str| match *key {
        "client_id" => !provider.is_token_only(),
        "token_url" => !provider.is_open() && !provider.is_token_only(),
        _ => true,
    };
    COMMON.into_iter().filter(is_known).chain(own).collect()
}

/// The provider that alone knows `key`.
pub(super) fn owner(key: &str) -> Option<Provider> {
    OWN.iter().find(|(own, _)| *own == key).map(|(_, owner)| *owner)
}

impl Options {
    /// Those of a table of the configuration. Keys of other providers are not there any more.
    pub(super) fn read(table: &Table<'_>) -> Result<Self, Failure> {
        let words = "a length of time such as 7d or 12h";
        let span = |key| -> Result<Option<SignedDuration>, Failure> {
            let Some(text) = table.text(key)? else { return Ok(None) };
            span(&text).map(Some).map_err(|_| table.wrong(key, format!("`{key}` must be {words}")))
        };
        let one = |word: String| {
            expand(&word).map_err(|known| table.wrong("expand", format!("`expand` knows {known}")))
        };
        let allowed =
            |text: String| quota(&text).map_err(|_| table.wrong("quota", format!("`quota` must be {QUOTA}")));
        let url = "a URL such as https://api.example.com/";
        let mut options = Self {
            organisation: table.text("organisation")?,
            base_url: table.parsed("base_url", url)?,
            token_url: table.parsed("token_url", url)?,
            quota: table.text("quota")?.map(allowed).transpose()?,
            scope: table.text("scope")?,
            longest_session: span("longest_session")?,
            entities: Vec::new(),
            acting_user: table.text("acting_user")?,
            mode: table.text("mode")?,
            expand: table.texts("expand")?.into_iter().map(one).collect::<Result<_, _>>()?,
            plug_ins: table.flag("plug_ins")?,
            longest_stay: span("longest_stay")?,
            plain_http: read(table, "plain_http", plain_http)?,
            currency: read(table, "currency", currency)?,
            site_time_zone: read(table, "site_time_zone", zone_name)?,
            module: read(table, "module", module)?,
            ocpi_version: read(table, "ocpi_version", version)?,
            token_form: read(table, "token_form", token_form)?,
            from_party: read(table, "from_party", party)?,
            to_party: read(table, "to_party", party)?,
            sessions_url: table.parsed("sessions_url", url)?,
            cdrs_url: table.parsed("cdrs_url", url)?,
        };
        if let Some(entities) = table.table("entities")? {
            entities.only(&["vehicles", "charge_points"])?;
            options.entities.extend(entities.texts("vehicles")?.into_iter().map(AssetRef::vehicle));
            options.entities.extend(entities.texts("charge_points")?.into_iter().map(AssetRef::charge_point));
        }
        Ok(options)
    }

    /// These, and for what is not given, `others`.
    pub(crate) fn or(self, others: Self) -> Self {
        let list = |first: Vec<Expand>, second| if first.is_empty() { second } else { first };
        Self {
            organisation: self.organisation.or(others.organisation),
            base_url: self.base_url.or(others.base_url),
            token_url: self.token_url.or(others.token_url),
            quota: self.quota.or(others.quota),
            scope: self.scope.or(others.scope),
            longest_session: self.longest_session.or(others.longest_session),
            entities: others.entities,
            acting_user: self.acting_user.or(others.acting_user),
            mode: self.mode.or(others.mode),
            expand: list(self.expand, others.expand),
            plug_ins: self.plug_ins || others.plug_ins,
            longest_stay: self.longest_stay.or(others.longest_stay),
            plain_http: self.plain_http.or(others.plain_http),
            currency: self.currency.or(others.currency),
            site_time_zone: self.site_time_zone.or(others.site_time_zone),
            module: self.module.or(others.module),
            ocpi_version: self.ocpi_version.or(others.ocpi_version),
            token_form: self.token_form.or(others.token_form),
            from_party: self.from_party.or(others.from_party),
            to_party: self.to_party.or(others.to_party),
            sessions_url: self.sessions_url.or(others.sessions_url),
            cdrs_url: self.cdrs_url.or(others.cdrs_url),
        }
    }

    /// Fails with a sentence on an option that would silently do nothing. `spelt` makes an option of a key.
    pub(crate) fn check(&self, provider: Provider, spelt: impl Fn(&str) -> String) -> Result<(), String> {
        let given = [
            ("acting_user", self.acting_user.is_some()),
            ("mode", self.mode.is_some()),
            ("expand", !self.expand.is_empty()),
            ("plug_ins", self.plug_ins),
            ("longest_stay", self.longest_stay.is_some()),
            ("module", self.module.is_some()),
            ("ocpi_version", self.ocpi_version.is_some()),
            ("token_form", self.token_form.is_some()),
            ("from_party", self.from_party.is_some()),
            ("to_party", self.to_party.is_some()),
            ("sessions_url", self.sessions_url.is_some()),
            ("cdrs_url", self.cdrs_url.is_some()),
            ("organisation", self.organisation.is_some()),
            ("scope", self.scope.is_some()),
            ("longest_session", self.longest_session.is_some()),
            ("entities", !self.entities.is_empty()),
            ("plain_http", self.plain_http.is_some()),
            ("currency", self.currency.is_some()),
            ("site_time_zone", self.site_time_zone.is_some()),
        ];
        for (key, owner) in
            given.iter().filter(|(_, given)| *given).filter_map(|(key, _)| Some((key, owner(key)?)))
        {
            if owner != provider {
                return Err(format!("{} is for {} only", spelt(key), owner.title()));
            }
        }
        if provider.is_open() && self.token_url.is_some() {
            return Err(format!(
                "{} is not for {}, which has no sign-in",
                spelt("token_url"),
                provider.title()
            ));
        }
        let filtered = [("mode", self.mode.is_some()), ("expand", !self.expand.is_empty())];
        match filtered.iter().find(|(_, given)| *given && self.plug_ins) {
            Some((key, _)) => Err(format!("{} cannot be used with {}", spelt(key), spelt("plug_ins"))),
            None if self.longest_stay.is_some() && !self.plug_ins => {
                Err(format!("{} is for {} only", spelt("longest_stay"), spelt("plug_ins")))
            }
            None if provider == Provider::Ocpi && self.has_no_address() => {
                Err(format!("{} is missing: it is where the party lists its versions", spelt("base_url")))
            }
            None if provider == Provider::Podero && self.organisation.is_none() => Err(format!(
                "{} is missing: Podero needs the organisation's identifier",
                spelt("organisation")
            )),
            None => Ok(()),
        }
    }

    pub(super) fn apply_to_der_connect(&self, config: &mut der_connect::Config) {
        set(&mut config.base_url, self.base_url.as_ref());
        set(&mut config.token_url, self.token_url.as_ref());
        set(&mut config.longest_session, self.longest_session.as_ref());
        self.limit(&mut config.policy);
        config.scope.clone_from(&self.scope);
        config.entities.clone_from(&self.entities);
    }

    pub(super) fn apply_to_ev_energy(&self, config: &mut ev_energy::Config) {
        set(&mut config.base_url, self.base_url.as_ref());
        set(&mut config.longest_stay, self.longest_stay.as_ref());
        self.limit(&mut config.policy);
        config.token_url.clone_from(&self.token_url);
        config.acting_user.clone_from(&self.acting_user);
        config.filter.mode.clone_from(&self.mode);
        config.expand.clone_from(&self.expand);
    }

    pub(super) fn apply_to_evcc(&self, config: &mut evcc::Config) {
        set(&mut config.base_url, self.base_url.as_ref());
        set(&mut config.plain_http, self.plain_http.as_ref());
        self.limit(&mut config.policy);
        config.currency = self.currency;
        config.zone.clone_from(&self.site_time_zone);
    }

    /// Whether nobody says where the module is, and what it speaks there.
    fn has_no_address(&self) -> bool {
        let no_url = self.modules().iter().any(|module| match module {
            Module::Cdrs => self.cdrs_url.is_none(),
            _ => self.sessions_url.is_none(),
        });
        self.base_url.is_none() && (no_url || self.ocpi_version.is_none())
    }

    /// What is listed, sessions first: what was billed refers to them.
    pub(crate) fn modules(&self) -> &'static [Module] {
        match self.module {
            None | Some(Modules::Sessions) => &[Module::Sessions],
            Some(Modules::Cdrs) => &[Module::Cdrs],
            Some(Modules::Both) => &[Module::Sessions, Module::Cdrs],
        }
    }

    pub(super) fn apply_to_ocpi(&self, config: &mut ocpi::Config, since: Option<Date>) {
        self.limit(&mut config.policy);
        set(&mut config.token_form, self.token_form.as_ref());
        config.versions_url.clone_from(&self.base_url);
        config.sessions_url.clone_from(&self.sessions_url);
        config.cdrs_url.clone_from(&self.cdrs_url);
        config.version = self.ocpi_version;
        config.from.clone_from(&self.from_party);
        config.to.clone_from(&self.to_party);
        // What started on that day, in whatever zone, was not changed before the day before it in UTC.
        let since = since.and_then(|day| day.yesterday().ok()?.to_zoned(TimeZone::UTC).ok());
        set(&mut config.history_from, since.map(|since| since.timestamp()).as_ref());
    }

    pub(super) fn apply_to_podero(&self, config: &mut podero::Config) {
        set(&mut config.base_url, self.base_url.as_ref());
        self.limit(&mut config.policy);
        config.token_url.clone_from(&self.token_url);
    }

    fn limit(&self, policy: &mut Policy) {
        if self.quota.is_some() {
            policy.quota = self.quota;
        }
    }
}

pub(super) const QUOTA: &str = "a number of requests and a span of time such as 1000/1h";

pub(super) fn quota(text: &str) -> Result<Quota, String> {
    let parts = text.split_once('/').and_then(|(requests, span)| {
        let span = length(span).ok()?;
        Some(Quota::new(requests.trim().parse().ok()?, span.try_into().ok()?))
    });
    parts.filter(|quota| quota.requests > 0 && !quota.per.is_zero()).ok_or_else(|| format!("not {QUOTA}"))
}

fn set<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

/// A key whose text has a form of its own.
fn read<T>(
    table: &Table<'_>,
    key: &str,
    form: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    let Some(text) = table.text(key)? else { return Ok(None) };
    form(&text).map(Some).map_err(|wanted| table.wrong(key, format!("`{key}` must be {wanted}")))
}

fn plain_http(word: &str) -> Result<PlainHttp, String> {
    match word {
        "without_credentials" => Ok(PlainHttp::WithoutCredentials),
        "with_credentials" => Ok(PlainHttp::WithCredentials),
        _ => Err("without_credentials or with_credentials".into()),
    }
}

fn currency(code: &str) -> Result<Currency, String> {
    Currency::in_use(code).ok_or_else(|| "the code of a currency, such as EUR".into())
}

fn zone_name(name: &str) -> Result<String, String> {
    let known = TimeZone::get(name).map(|_| name.to_owned());
    known.map_err(|_| "an IANA name such as Europe/Berlin".into())
}

pub(super) fn span(text: &str) -> Result<SignedDuration, String> {
    let span = length(text)?;
    if span.is_positive() { Ok(span) } else { Err("must be above zero".into()) }
}

/// Which modules of OCPI are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modules {
    Sessions,
    Cdrs,
    Both,
}

fn module(word: &str) -> Result<Modules, String> {
    match word {
        "sessions" => Ok(Modules::Sessions),
        "cdrs" => Ok(Modules::Cdrs),
        "both" => Ok(Modules::Both),
        _ => Err("sessions, cdrs or both".to_owned()),
    }
}

fn version(number: &str) -> Result<Version, String> {
    Version::named(number).ok_or_else(|| "2.1.1, 2.2.1 or 2.3.0".to_owned())
}

fn token_form(word: &str) -> Result<TokenForm, String> {
    Ok(match word {
        "auto" => TokenForm::Auto,
        "raw" => TokenForm::Raw,
        "base64" => TokenForm::Base64,
        _ => return Err("auto, raw or base64".to_owned()),
    })
}

fn party(text: &str) -> Result<Party, String> {
    let is_party = |country: &str, id: &str| country.len() == 2 && id.len() == 3 && text.is_ascii();
    let parts = text.split_once(['-', '*']).filter(|(country, id)| is_party(country, id));
    let (country, id) = parts.ok_or_else(|| "a country and a party such as NL-TNM".to_owned())?;
    Ok(Party::new(country, id))
}

fn expand(word: &str) -> Result<Expand, String> {
    let known = Expand::ALL.iter().map(ToString::to_string).collect::<Vec<_>>();
    let found = Expand::ALL.iter().find(|expand| expand.to_string() == word);
    found.copied().ok_or_else(|| format!("one of {}", known.join(", ")))
}
