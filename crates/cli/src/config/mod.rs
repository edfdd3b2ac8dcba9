//! The configuration: which accounts there are, and where things are kept.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use charging_sessions::{
    AccountId, AssetSource, ChargingSessionSource, Error, Money, ProviderId, RecordKind, der_connect,
    ev_energy::{self, Expand},
    evcc,
    ocpi::{self, Module},
    podero,
};
use charging_sessions_http::{Quota, Transport};
use etcetera::{BaseStrategy as _, base_strategy};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use rust_decimal::Decimal;
use secrecy::SecretString;
use toml::{Spanned, de::DeValue};

mod fleet;
mod options;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use fleet::{Limit, Worker};
pub(crate) use options::{Options, keys};

use self::table::{File, Table, listed, meant};
use crate::{
    args::{SharedArgs, first_instant},
    exit::Failure,
    provider::Provider,
    report,
    secret::{Reference, Secret},
    target::{Address, Target, holds_a_password, is_address},
    transport::Counted,
};

/// The name of the folders for configuration and data.
const FOLDER: &str = "charging-sessions";
/// The file of the working directory.
const PROJECT_FILE: &str = "charging-sessions.toml";
/// The key of the address of a store that is a secret.
const STORE_URL: &str = "store_url";

/// What the command line, the environment and the files of the configuration say together.
#[derive(Debug)]
pub(crate) struct Config {
    /// The files that were read, the weightiest first.
    pub(crate) files: Vec<PathBuf>,
    /// Where sessions are kept.
    pub(crate) store: Target,
    /// In which days are reckoned and times are shown.
    pub(crate) zone: TimeZone,
    /// What a kilowatt-hour is reimbursed with.
    pub(crate) price_per_kwh: Option<Money>,
    /// How workers work.
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "only workers ask"))]
    pub(crate) worker: Worker,
    /// What several accounts may send together, by name.
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "only workers ask"))]
    pub(crate) limits: BTreeMap<String, Limit>,
    /// By name.
    pub(crate) accounts: BTreeMap<AccountId, Account>,
}

/// One account at a provider. Holds no secret, only where it is.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The user's own name for it; part of every key.
    pub(crate) name: AccountId,
    pub(crate) provider: Provider,
    /// Empty where there is none.
    pub(crate) client_id: String,
    /// `None` only with a provider that may be [open](Provider::is_open).
    pub(crate) client_secret: Option<Secret>,
    /// The first day of interest.
    pub(crate) since: Option<Date>,
    /// Whether to keep the intervals of sessions, too.
    pub(crate) with_intervals: bool,
    /// How often workers read it, if not as the others.
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "only workers ask"))]
    pub(crate) every: Option<SignedDuration>,
    /// What accounts call the same that share a credential.
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "only workers ask"))]
    pub(crate) credential: Option<String>,
    pub(crate) options: Options,
    /// Where it is configured, for messages: a file and a line. Empty for the command line.
    pub(crate) place: String,
}

/// What an account is read with.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) provider: ProviderId,
    pub(crate) account: AccountId,
    /// The kinds of records that `source` lists as a whole.
    pub(crate) kinds: &'static [RecordKind],
    pub(crate) source: Arc<dyn ChargingSessionSource>,
    /// What else the account lists, each with its kinds.
    pub(crate) more: Vec<(&'static [RecordKind], Arc<dyn ChargingSessionSource>)>,
    /// If the provider lists assets.
    pub(crate) assets: Option<Arc<dyn AssetSource>>,
    /// How many requests the provider allows.
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "only workers ask"))]
    pub(crate) quota: Option<Quota>,
    /// Counts what all of them send.
    pub(crate) requests: Arc<Counted>,
}

impl Config {
    /// Reads the file that was named, or else the one of the working directory over the user's own.
    pub(crate) fn load(args: &SharedArgs) -> Result<Self, Failure> {
        let project = Some(PathBuf::from(PROJECT_FILE)).filter(|path| path.exists());
        let user = user_file().ok().filter(|path| path.exists());
        Self::from_files(args, project, user)
    }

    fn from_files(
        args: &SharedArgs,
        project: Option<PathBuf>,
        user: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        // Each with whether it is the user's own.
        let files: Vec<_> = match &args.config {
            Some(path) => vec![(path.clone(), true)],
            None => {
                project.map(|path| (path, false)).into_iter().chain(user.map(|path| (path, true))).collect()
            }
        };
        let mut layers = Vec::new();
        for (path, trusted) in &files {
            layers.push(Layer::read(&File::read(path.clone())?, *trusted)?);
        }
        Self::of_layers(args, files.into_iter().map(|(path, _)| path).collect(), layers)
    }

    /// What the command line and `layers` say together, the weightiest first.
    fn of_layers(args: &SharedArgs, files: Vec<PathBuf>, layers: Vec<Layer>) -> Result<Self, Failure> {
        let (mut store, mut zone) = (args.store.clone(), args.tz.clone());
        let mut price_per_kwh = None;
        let (mut worker, mut limits) = (None, BTreeMap::new());
        let mut accounts = BTreeMap::new();
        for layer in layers {
            store = store.or(layer.store);
            zone = zone.or(layer.zone);
            price_per_kwh = price_per_kwh.or(layer.price_per_kwh);
            worker = worker.or(layer.worker);
            for (name, limit) in layer.limits {
                limits.entry(name).or_insert(limit);
            }
            for account in layer.accounts {
                accounts.entry(account.name.clone()).or_insert(account);
            }
        }
        for (name, limit) in &limits {
            limit.check(name, &accounts)?;
        }
        Ok(Self {
            files,
            store: store.map_or_else(|| default_store().map(Target::File), Ok)?,
            zone: zone.unwrap_or_else(TimeZone::system),
            price_per_kwh,
            worker: worker.unwrap_or_default(),
            limits,
            accounts,
        })
    }

    /// The accounts of these names, all if there are none.
    pub(crate) fn named(&self, names: &[AccountId]) -> Result<Vec<&Account>, Failure> {
        if self.accounts.is_empty() {
            let cure = "write a configuration with `charging-sessions init --provider NAME`";
            return Err(Failure::usage(format!("there are no accounts: {cure}")));
        }
        if names.is_empty() {
            return Ok(self.accounts.values().collect());
        }
        let known: Vec<_> = self.accounts.keys().map(AccountId::as_str).collect();
        let account = |name: &AccountId| {
            self.accounts.get(name).ok_or_else(|| {
                Failure::usage(format!(
                    "there is no account `{name}`: the configuration has {}",
                    listed(&known)
                ))
            })
        };
        names.iter().map(account).collect()
    }
}

impl Account {
    /// The sources of this account, which share a sign-in and a quota. Reads the secret and sends nothing.
    pub(crate) async fn build(&self, transport: Arc<dyn Transport>) -> Result<Built, Failure> {
        let secret = match &self.client_secret {
            Some(secret) => Some(secret.read().await?),
            None => None,
        };
        self.build_with(secret, transport)
    }

    fn build_with(
        &self,
        secret: Option<SecretString>,
        transport: Arc<dyn Transport>,
    ) -> Result<Built, Failure> {
        self.sources(secret, Counted::new(transport)).map_err(|error| match self.place.as_str() {
            "" => Failure::from(error),
            place => Failure::at(place, error),
        })
    }

    fn sources(&self, secret: Option<SecretString>, requests: Arc<Counted>) -> Result<Built, Error> {
        let id = self.client_id.as_str();
        // Those that need one do not come this far without.
        let required = || secret.clone().unwrap_or_default();
        let mut more = Vec::new();
        let quota;
        let (kinds, source, assets): Sources = match self.provider {
            Provider::DerConnect => {
                let mut config = der_connect::Config::new(id, required());
                config.account = self.name.clone();
                self.options.apply_to_der_connect(&mut config);
                quota = config.policy.quota;
                let source = Arc::new(der_connect::DerConnect::with_transport(config, requests.clone())?);
                (&[RecordKind::Charge], source.clone(), Some(source))
            }
            Provider::EvEnergy => {
                let mut config = ev_energy::Config::new(id, required());
                config.account = self.name.clone();
                self.options.apply_to_ev_energy(&mut config);
                quota = config.policy.quota;
                if self.with_intervals && !config.expand.contains(&Expand::ENERGY_USAGE) {
                    // They come along with the listing, without a request of their own.
                    config.expand.push(Expand::ENERGY_USAGE);
                }
                let source = ev_energy::EvEnergy::with_transport(config, requests.clone())?;
                let (kinds, source): (&[_], _) = if self.options.plug_ins {
                    (&[RecordKind::PlugIn], source.plug_ins())
                } else {
                    (&[RecordKind::Segment], source)
                };
                let source = Arc::new(source);
                (kinds, source, None)
            }
            Provider::Evcc => {
                let mut config = evcc::Config::local();
                config.account = self.name.clone();
                self.options.apply_to_evcc(&mut config);
                quota = config.policy.quota;
                config.credentials = match secret {
                    None => evcc::Credentials::None,
                    Some(token) if id.is_empty() => evcc::Credentials::Bearer(token),
                    Some(password) => evcc::Credentials::Basic { user: id.to_owned(), password },
                };
                let source = Arc::new(evcc::Evcc::with_transport(config, requests.clone())?);
                (&[RecordKind::PlugIn], source, None)
            }
            Provider::Ocpi => {
                // The options hold the addresses, of which there is one at least.
                let mut config = ocpi::Config::direct(ocpi::Version::ALL[0], required());
                config.account = self.name.clone();
                self.options.apply_to_ocpi(&mut config, self.since);
                quota = config.policy.quota;
                let source = ocpi::Ocpi::with_transport(config, requests.clone())?;
                let listing = |module: &Module| -> (&[_], Arc<dyn ChargingSessionSource>) {
                    match module {
                        Module::Cdrs => (&[RecordKind::BillingRecord], Arc::new(source.cdrs())),
                        _ => (&[RecordKind::PlugIn], Arc::new(source.clone())),
                    }
                };
                let mut listings: Vec<_> = self.options.modules().iter().map(listing).collect();
                let (kinds, source) = listings.remove(0);
                more = listings;
                (kinds, source, None)
            }
            Provider::Podero => {
                let organisation = self.options.organisation.as_deref().unwrap_or_default();
                let mut config = podero::Config::new(id, required(), organisation);
                config.account = self.name.clone();
                self.options.apply_to_podero(&mut config);
                quota = config.policy.quota;
                let source = Arc::new(podero::Podero::with_transport(config, requests.clone())?);
                (&[RecordKind::PlugIn], source.clone(), Some(source))
            }
        };
        let (provider, account) = (self.provider.id(), self.name.clone());
        Ok(Built { provider, account, kinds, source, more, assets, quota, requests })
    }

    /// The first instant of interest, days being reckoned in `zone`.
    pub(crate) fn since(&self, zone: &TimeZone) -> Option<Timestamp> {
        self.since.and_then(|day| first_instant(day, zone))
    }
}

/// See [`crate::sources_of`].
pub(crate) fn sources_of(
    text: &str,
    trusted: bool,
    transport: &Arc<dyn Transport>,
) -> Result<Vec<Arc<dyn ChargingSessionSource>>, Failure> {
    let file = File { path: PROJECT_FILE.into(), text: text.to_owned() };
    // Where there is no home, there is no place for a store either.
    let args = SharedArgs { config: None, store: Some(Target::File(PathBuf::new())), tz: None };
    let config = Config::of_layers(&args, vec![file.path.clone()], vec![Layer::read(&file, trusted)?])?;
    let mut sources = Vec::new();
    for account in config.accounts.values() {
        let secret = account.client_secret.as_ref().map(|_| SecretString::from("secret"));
        let built = account.build_with(secret, Arc::clone(transport))?;
        sources.push(built.source);
        sources.extend(built.more.into_iter().map(|(_, source)| source));
    }
    Ok(sources)
}

type Sources = (&'static [RecordKind], Arc<dyn ChargingSessionSource>, Option<Arc<dyn AssetSource>>);

/// What one file says.
struct Layer {
    store: Option<Target>,
    zone: Option<TimeZone>,
    price_per_kwh: Option<Money>,
    worker: Option<Worker>,
    limits: BTreeMap<String, Limit>,
    accounts: Vec<Account>,
}

impl Layer {
    fn read(file: &File, trusted: bool) -> Result<Self, Failure> {
        let document = file.parse()?;
        let root = Table::new(file, document.span(), document.get_ref());
        root.only(&["store", STORE_URL, "time_zone", "reimbursement", "worker", "limits", "accounts"])?;
        let zone = root.text("time_zone")?.map(|name| {
            TimeZone::get(&name).map_err(|_| {
                root.wrong("time_zone", "`time_zone` must be an IANA name such as Europe/London")
            })
        });
        let mut accounts = Vec::new();
        if let Some(table) = root.table("accounts")? {
            for (name, value) in table.entries() {
                let account = name.get_ref().parse::<AccountId>();
                let account = account.map_err(|error| file.wrong(name.span(), error))?;
                accounts.push(read_account(file, account, value, trusted)?);
            }
        }
        Ok(Self {
            store: read_store(file, &root, trusted)?,
            zone: zone.transpose()?,
            price_per_kwh: root.table("reimbursement")?.map(|table| read_price(&table)).transpose()?,
            worker: root.table("worker")?.map(|table| fleet::read_worker(&table)).transpose()?,
            limits: match root.table("limits")? {
                Some(table) => fleet::read_limits(file, &table)?,
                None => BTreeMap::new(),
            },
            accounts,
        })
    }
}

/// The price that a kilowatt-hour is reimbursed with. Rates change, so there is none in the program.
fn read_price(table: &Table<'_>) -> Result<Money, Failure> {
    table.only(&["price_per_kwh", "currency"])?;
    let missing = |key: &str| table.wrong(key, format!("`{key}` is missing in reimbursement"));
    let price = table.text("price_per_kwh")?.ok_or_else(|| missing("price_per_kwh"))?;
    let price: Decimal = report::price(&price).map_err(|error| table.wrong("price_per_kwh", error))?;
    let currency = table.text("currency")?.ok_or_else(|| missing("currency"))?;
    let currency = report::currency(&currency).map_err(|error| table.wrong("currency", error))?;
    Ok(Money::new(price, currency))
}

fn read_account(
    file: &File,
    name: AccountId,
    value: &Spanned<DeValue<'_>>,
    trusted: bool,
) -> Result<Account, Failure> {
    let table = Table::of(file, value, &format!("accounts.{name}"))?;
    let missing =
        |key: &str, cure: &str| table.wrong(key, format!("`{key}` is missing in accounts.{name}: {cure}"));

    let known = Provider::NAMES;
    let provider = table.text("provider")?;
    let provider = provider.ok_or_else(|| missing("provider", &format!("known are {}", listed(&known))))?;
    let provider = Provider::named(&provider)
        .ok_or_else(|| table.wrong("provider", format!("unknown provider: {}", meant(&provider, &known))))?;

    for (key, _) in table.entries() {
        if let Some(owner) = options::owner(key.get_ref()).filter(|owner| *owner != provider) {
            return Err(file.wrong(key.span(), format!("`{}` is for {} only", key.get_ref(), owner.title())));
        }
    }
    table.only(&[keys(provider), fleet::KEYS.to_vec()].concat())?;
    let elsewhere = ["base_url", "token_url", "plain_http", "sessions_url", "cdrs_url"];
    if let Some(key) = elsewhere.iter().find(|key| !trusted && table.get(key).is_some()) {
        return Err(table.wrong(key, untrusted(key)));
    }

    let client_id = match table.text("client_id")? {
        Some(client_id) => client_id,
        None if provider.is_open() || provider.is_token_only() => String::new(),
        None => return Err(missing("client_id", "the provider gives it to you")),
    };
    let client_secret = read_secret(file, &table, "client_secret", trusted)?;
    if client_secret.is_none() && !(provider.is_open() && client_id.is_empty()) {
        return Err(missing("client_secret", REFER));
    }
    let options = Options::read(&table)?;
    options.check(provider, |key| format!("`{key}`")).map_err(|message| file.wrong(value.span(), message))?;
    Ok(Account {
        client_id,
        client_secret,
        provider,
        since: table.day("since")?,
        with_intervals: table.flag("with_intervals")?,
        every: fleet::read_span(&table, "every")?,
        credential: table.text("credential")?,
        options,
        place: file.place(value.span()),
        name,
    })
}

const REFER: &str = "refer to it with { env = \"NAME\" }, { file = \"PATH\" }, { command = \"COMMAND\" } or { keyring = \"NAME\" }";

/// Where sessions are kept, if the file says so.
fn read_store(file: &File, root: &Table<'_>, trusted: bool) -> Result<Option<Target>, Failure> {
    // Sessions must not be sent to where a file says that others may have written.
    let url = read_secret(file, root, STORE_URL, trusted)?;
    if url.is_some() && !trusted {
        return Err(root.wrong(STORE_URL, untrusted(STORE_URL)));
    }
    match (root.text("store")?, url) {
        (Some(_), Some(_)) => {
            Err(root
                .wrong(STORE_URL, "`store` and `store_url` both say where sessions are kept: leave one out"))
        }
        (Some(url), None) if is_address(&url) => {
            if holds_a_password(&url) {
                let message = "a password must not stand in the configuration: refer to the whole address with \
                               `store_url = { env = \"NAME\" }`, or another place of secrets";
                return Err(root.wrong("store", message));
            }
            if !trusted {
                return Err(root.wrong("store", untrusted("store")));
            }
            Ok(Some(Target::from(url.as_str())))
        }
        (Some(path), None) => Ok(Some(Target::File(beside(&file.path, &path)))),
        (None, url) => Ok(url.map(|url| Target::Database(Address::Referred(url)))),
    }
}

fn read_secret(
    file: &File,
    account: &Table<'_>,
    key: &'static str,
    trusted: bool,
) -> Result<Option<Secret>, Failure> {
    let place = account.place(key);
    if let Some(DeValue::String(_)) = account.get(key).map(Spanned::get_ref) {
        return Err(account.wrong(key, format!("a secret must not stand in the configuration: {REFER}")));
    }
    let Some(table) = account.table(key)? else { return Ok(None) };
    table.only(&["env", "file", "command", "keyring"])?;
    let given: Vec<_> = table.entries().map(|(key, _)| key.get_ref().to_string()).collect();
    let [place_of_it] = given.as_slice() else {
        return Err(account.wrong(key, format!("a secret is in one place: {REFER}")));
    };
    let text = table.text(place_of_it)?.unwrap_or_default();
    let reference = match place_of_it.as_str() {
        "env" if is_variable(&text) => Reference::Environment(text),
        "env" => {
            return Err(account
                .wrong(key, "`env` must be the name of an environment variable, not the secret itself"));
        }
        "file" => Reference::File(beside(&file.path, &text)),
        "command" if trusted => Reference::Command(text.into()),
        "command" => return Err(account.wrong(key, untrusted("command"))),
        _ => Reference::Keyring(text),
    };
    let secret = if key == STORE_URL { Secret::of_store } else { Secret::of_client };
    Ok(Some(secret(reference, place)))
}

/// What could run a program or send a secret elsewhere is not taken from a folder that others may have filled.
fn untrusted(key: &str) -> String {
    format!("`{key}` is not taken from a file of the working directory: name the file with --config")
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A path of a file of the configuration: beside it, unless it is absolute or begins with `~/`.
fn beside(file: &Path, path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), env::home_dir()) {
        (Some(path), Some(home)) => home.join(path),
        _ => file.parent().unwrap_or(Path::new("")).join(path),
    }
}

/// The user's own file, whether it is there or not.
pub(crate) fn user_file() -> Result<PathBuf, Failure> {
    let folders = base_strategy::choose_native_strategy().map_err(|_| no_home())?;
    // The place for configuration on macOS is for property lists only.
    let folder = if cfg!(target_os = "macos") { folders.data_dir() } else { folders.config_dir() };
    Ok(folder.join(FOLDER).join("config.toml"))
}

fn default_store() -> Result<PathBuf, Failure> {
    let folders = base_strategy::choose_native_strategy().map_err(|_| no_home())?;
    Ok(folders.data_dir().join(FOLDER).join("sessions.sqlite"))
}

fn no_home() -> Failure {
    Failure::usage("there is no home directory: name the places with --config and --store")
}
