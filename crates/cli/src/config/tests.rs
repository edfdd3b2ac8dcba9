//! What a configuration says, and how it is told that it is wrong.

use std::fs;

use charging_sessions::ErrorKind;

use super::*;

const GOOD: &str = r#"
[accounts.home]
provider = "ev-energy"
client_id = "id"
client_secret = { env = "HOME_SECRET" }
"#;

/// A folder with files in it.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read(text: &str, trusted: bool) -> Result<Layer, String> {
    let file = File { path: "c.toml".into(), text: text.to_owned() };
    Layer::read(&file, trusted).map_err(|failure| {
        assert_eq!(failure.code(), crate::exit::Code::Usage);
        failure.to_string()
    })
}

fn path_of(store: Option<Target>) -> Option<PathBuf> {
    store.map(|store| match store {
        Target::File(path) => path,
        Target::Database(_) => panic!("no file"),
    })
}

fn mistake(text: &str) -> String {
    read(text, true).err().expect("a mistake")
}

/// What is wrong with an account at `provider` that has these lines besides.
fn mistake_at(provider: &str, lines: &str) -> String {
    mistake(&format!(
        "[accounts.a]\nprovider = \"{provider}\"\nclient_id = \"i\"\nclient_secret = {{ env = \"S\" }}\n{lines}"
    ))
}

#[test]
fn everything_that_can_be_configured_is_read() {
    let layer = read(
        r#"
        store = "kept/here.sqlite"
        time_zone = "Europe/London"
        [accounts.home]
        provider = "ev-energy"
        client_id = "id"
        client_secret = { file = "secret" }
        base_url = "http://127.0.0.1:1/v2/"
        token_url = "http://127.0.0.1:1/token"
        since = 2024-01-01
        acting_user = "me"
        mode = "SMART"
        expand = ["vehicle", "evse.model"]
        with_intervals = true
        [accounts.stays]
        provider = "ev-energy"
        client_id = "id"
        client_secret = { command = "cat secret" }
        plug_ins = true
        longest_stay = "2d"
        since = "2024-02-01"
        [accounts.depot]
        provider = "der-connect"
        client_id = "id"
        client_secret = { env = "DEPOT" }
        scope = "read"
        longest_session = "24h"
        entities = { vehicles = ["v"], charge_points = ["c"] }
        [accounts.fleet]
        provider = "podero"
        client_id = "id"
        client_secret = { env = "FLEET" }
        organisation = "org"
        [accounts.house]
        provider = "evcc"
        base_url = "http://evcc.local:7070"
        plain_http = "without_credentials"
        currency = "EUR"
        site_time_zone = "Europe/Berlin"
        "#,
        true,
    )
    .unwrap();
    assert_eq!(path_of(layer.store), Some("kept/here.sqlite".into()));
    assert_eq!(layer.zone.unwrap().iana_name(), Some("Europe/London"));
    let [depot, fleet, home, house, stays] = &layer.accounts[..] else { panic!("five accounts") };

    assert_eq!(
        (home.name.as_str(), home.provider, home.client_id.as_str()),
        ("home", Provider::EvEnergy, "id")
    );
    assert!(
        matches!(&home.client_secret.as_ref().unwrap().reference, Reference::File(path) if path == Path::new("secret"))
    );
    assert_eq!(home.client_secret.as_ref().unwrap().place, "c.toml:7");
    assert_eq!(home.options.base_url.as_ref().unwrap().as_str(), "http://127.0.0.1:1/v2/");
    assert_eq!(home.options.token_url.as_ref().unwrap().as_str(), "http://127.0.0.1:1/token");
    assert_eq!(home.options.acting_user.as_deref(), Some("me"));
    assert_eq!(home.options.mode.as_deref(), Some("SMART"));
    assert_eq!(home.options.expand, [Expand::VEHICLE, Expand::CHARGE_POINT_MODEL]);
    assert!(home.with_intervals && !stays.with_intervals);
    let first =
        |account: &Account| account.since(&TimeZone::get("America/New_York").unwrap()).unwrap().to_string();
    assert_eq!(first(home), "2024-01-01T05:00:00Z");
    assert_eq!(first(stays), "2024-02-01T05:00:00Z");

    assert!(stays.options.plug_ins);
    assert_eq!(stays.options.longest_stay.unwrap().as_hours(), 48);
    assert!(matches!(&stays.client_secret.as_ref().unwrap().reference, Reference::Command(_)));

    assert_eq!(depot.options.scope.as_deref(), Some("read"));
    assert_eq!(depot.options.longest_session.unwrap().as_hours(), 24);
    assert_eq!(
        depot.options.entities,
        [charging_sessions::AssetRef::vehicle("v"), charging_sessions::AssetRef::charge_point("c")]
    );
    assert_eq!(fleet.options.organisation.as_deref(), Some("org"));
    assert_eq!(fleet.place, "c.toml:29");
    assert!(house.client_secret.is_none() && house.client_id.is_empty());
    assert_eq!(house.options.plain_http, Some(evcc::PlainHttp::WithoutCredentials));
    assert_eq!(house.options.currency.map(|currency| currency.to_string()).as_deref(), Some("EUR"));
    assert_eq!(house.options.site_time_zone.as_deref(), Some("Europe/Berlin"));
}

#[test]
fn paths_are_seen_from_their_file() {
    let secret = |layer: Layer| match &layer.accounts[0].client_secret.as_ref().unwrap().reference {
        Reference::File(path) => path.clone(),
        other => panic!("{other:?}"),
    };
    let read = |path: &str| {
        let text = GOOD.replace("env = \"HOME_SECRET\"", &format!("file = '{path}'"));
        secret(Layer::read(&File { path: "/etc/x/c.toml".into(), text }, true).unwrap())
    };
    assert_eq!(read("secret"), Path::new("/etc/x/secret"));
    assert_eq!(read("/run/secret"), Path::new("/run/secret"));
    assert_eq!(read("~/secret"), env::home_dir().unwrap().join("secret"));
}

#[test]
fn an_empty_file_configures_nothing() {
    let layer = read("", true).unwrap();
    assert!(layer.accounts.is_empty() && layer.store.is_none() && layer.zone.is_none());
}

#[test]
fn flag_then_project_then_user() {
    let folder = folder(&[
        (
            "user.toml",
            &format!(
                "store = 'user.db'\ntime_zone = 'Europe/London'\n{GOOD}{}",
                GOOD.replace("home", "other")
            ),
        ),
        ("project.toml", &format!("store = 'project.db'\n{}", GOOD.replace("\"id\"", "\"project-id\""))),
        ("named.toml", &format!("time_zone = 'Asia/Tokyo'\n{}", GOOD.replace("home", "named"))),
    ]);
    let path = |name: &str| folder.path().join(name);
    let load = |args: SharedArgs| {
        let config = Config::from_files(&args, Some(path("project.toml")), Some(path("user.toml"))).unwrap();
        let accounts: Vec<_> =
            config.accounts.values().map(|it| format!("{} {}", it.name, it.client_id)).collect();
        (
            path_of(Some(config.store)).unwrap(),
            config.zone.iana_name().map(str::to_owned),
            accounts.join(", "),
            config.files.len(),
        )
    };
    let zone = |name: &str| Some(name.to_owned());

    // An account of the project stands for the whole account of the user that has its name.
    let both = "home project-id, other id".to_owned();
    assert_eq!(load(SharedArgs::default()), (path("project.db"), zone("Europe/London"), both.clone(), 2));
    let (store, tz) = (Some("flag.db".into()), TimeZone::get("Asia/Tokyo").ok());
    let flags = SharedArgs { store, tz, ..SharedArgs::default() };
    assert_eq!(load(flags), ("flag.db".into(), zone("Asia/Tokyo"), both, 2));
    // A file that was named stands alone.
    let (store, ..) = load(SharedArgs { config: Some(path("named.toml")), ..SharedArgs::default() });
    assert!(store.ends_with("charging-sessions/sessions.sqlite"), "{}", store.display());
    let named = load(SharedArgs { config: Some(path("named.toml")), store: Some("f".into()), tz: None });
    assert_eq!(named, ("f".into(), zone("Asia/Tokyo"), "named id".into(), 1));
    // The user's alone, and none.
    let user = Config::from_files(&SharedArgs::default(), None, Some(path("user.toml"))).unwrap();
    assert_eq!((path_of(Some(user.store)).unwrap(), user.accounts.len()), (path("user.db"), 2));
    let none = Config::from_files(&SharedArgs::default(), None, None).unwrap();
    assert!(none.files.is_empty() && none.accounts.is_empty());
}

#[test]
fn accounts_are_found_by_name() {
    let folder = folder(&[("c.toml", &format!("{GOOD}{}", GOOD.replace("home", "other")))]);
    let config =
        Config::from_files(&SharedArgs::default(), None, Some(folder.path().join("c.toml"))).unwrap();
    let named = |names: &[&str]| {
        let names: Vec<AccountId> = names.iter().map(|name| name.parse().unwrap()).collect();
        let found = config.named(&names).map_err(|failure| failure.to_string())?;
        Ok::<_, String>(found.iter().map(|account| account.name.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(named(&[]).unwrap(), ["home", "other"]);
    assert_eq!(named(&["other"]).unwrap(), ["other"]);
    assert_eq!(
        named(&["x"]).unwrap_err(),
        "there is no account `x`: the configuration has `home` and `other`"
    );
    let none = Config::from_files(&SharedArgs::default(), None, None).unwrap();
    assert_eq!(
        none.named(&[]).err().unwrap().to_string(),
        "there are no accounts: write a configuration with `charging-sessions init --provider NAME`"
    );
}

#[test]
fn a_store_may_be_a_database_whose_password_stands_elsewhere() {
    let store = |text: &str| read(text, true).unwrap().store.unwrap();
    assert!(matches!(store("store = 'postgres://u@db/d'"), Target::Database(Address::Given(_))));
    let referred = store("\nstore_url = { env = 'SESSIONS_URL' }");
    assert!(
        matches!(&referred, Target::Database(Address::Referred(secret)) if secret.place == "c.toml:2"),
        "{referred:?}"
    );
    for (text, words) in [
        ("store = 'postgres://u:s3cret@db/d'", "a password must not stand in the configuration"),
        ("store = 'postgresql://db/d?password=s3cret'", "a password must not stand in the configuration"),
        ("store_url = 'postgres://u:s3cret@db/d'", "a secret must not stand in the configuration"),
        (
            "store_url = { env = 'A' }\nstore = 'b'",
            "`store` and `store_url` both say where sessions are kept",
        ),
    ] {
        let told = mistake(text);
        assert!(told.contains(words) && !told.contains("s3cret"), "{told}");
    }
    // A folder that others may have filled does not say where sessions are sent.
    for text in ["store = 'postgres://u@db/d'", "store_url = { env = 'A' }", "store_url = { command = 'a' }"]
    {
        let told = read(text, false).err().unwrap();
        assert!(told.contains("is not taken from a file of the working directory"), "{told}");
    }
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let args = SharedArgs { config: Some("/nowhere/c.toml".into()), ..SharedArgs::default() };
    let failure = Config::from_files(&args, None, None).unwrap_err().to_string();
    assert!(failure.starts_with("the configuration /nowhere/c.toml cannot be read: "), "{failure}");
}

#[test]
fn mistakes_of_a_file_are_told_with_their_line() {
    for (text, words) in [
        ("store = 3", "c.toml:1: `store` must be text in quotes, not a whole number"),
        ("store = ''", "c.toml:1: `store` is empty: write it here"),
        ("\nstor = 'x'", "c.toml:2: unknown key `stor`: did you mean `store`?"),
        (
            "frequency = 3",
            "c.toml:1: unknown key `frequency`: known are `store`, `store_url`, `time_zone`, `reimbursement`, `worker`, `limits` and `accounts`",
        ),
        (
            "\"a\\u001bb\" = 3",
            "c.toml:1: unknown key `a\\u{1b}b`: known are `store`, `store_url`, `time_zone`, `reimbursement`, `worker`, `limits` and `accounts`",
        ),
        ("time_zone = 'Mars/Base'", "c.toml:1: `time_zone` must be an IANA name such as Europe/London"),
        ("accounts = 'home'", "c.toml:1: `accounts` must be a table, not text"),
        ("[accounts]\nhome = 3", "c.toml:2: `accounts.home` must be a table, not a whole number"),
        ("[accounts.'a/b']", "c.toml:1: an account name has 1 to 64 visible characters and no `/`"),
        (
            "[accounts.a]",
            "c.toml:1: `provider` is missing in accounts.a: known are `der-connect`, `ev-energy`, `evcc`, `ocpi` and `podero`",
        ),
        ("[accounts.a]\nprovider = 'ev-enrgy'", "c.toml:2: unknown provider: did you mean `ev-energy`?"),
        (
            "[accounts.a]\nprovider = 'octopus'",
            "c.toml:2: unknown provider: known are `der-connect`, `ev-energy`, `evcc`, `ocpi` and `podero`",
        ),
        (
            "[accounts.a]\nprovider = 'ev-energy'",
            "c.toml:1: `client_id` is missing in accounts.a: the provider gives it to you",
        ),
        (
            "[accounts.a]\nprovider = 'ev-energy'\nclient_id = ''",
            "c.toml:3: `client_id` is empty: write it here",
        ),
        (
            "[accounts.a]\nprovider = 'ev-energy'\nclient_id = 'i'",
            "c.toml:1: `client_secret` is missing in accounts.a: \
             refer to it with { env = \"NAME\" }, { file = \"PATH\" }, { command = \"COMMAND\" } or { keyring = \"NAME\" }",
        ),
        (
            "[accounts.a]\nprovider = 'ev-energy'\nclient_id = 'i'\nclient_secret = 's3cret'",
            "c.toml:4: a secret must not stand in the configuration: \
             refer to it with { env = \"NAME\" }, { file = \"PATH\" }, { command = \"COMMAND\" } or { keyring = \"NAME\" }",
        ),
    ] {
        assert_eq!(mistake(text), words, "{text}");
    }
}

#[test]
fn mistakes_of_an_account_are_told_with_their_line() {
    for (provider, line, words) in [
        ("ev-energy", "clientid = 'x'", "c.toml:5: unknown key `clientid`: did you mean `client_id`?"),
        (
            "ev-energy",
            "base_url = 'api.example'",
            "c.toml:5: `base_url` must be a URL such as https://api.example.com/",
        ),
        ("ev-energy", "since = 'yesterday'", "c.toml:5: `since` must be a day such as 2024-01-01"),
        ("ev-energy", "since = 2024-01-01T00:00:00Z", "c.toml:5: `since` must be a day such as 2024-01-01"),
        ("ev-energy", "with_intervals = 'yes'", "c.toml:5: `with_intervals` must be true or false, not text"),
        (
            "ev-energy",
            "expand = 'vehicle'",
            "c.toml:5: `expand` must be a list of texts such as [\"one\", \"two\"], not text",
        ),
        (
            "ev-energy",
            "longest_stay = '3'",
            "c.toml:5: `longest_stay` must be a length of time such as 7d or 12h",
        ),
        (
            "ev-energy",
            "quota = '1000'",
            "c.toml:5: `quota` must be a number of requests and a span of time such as 1000/1h",
        ),
        ("ev-energy", "longest_stay = '48h'", "c.toml:1: `longest_stay` is for `plug_ins` only"),
        ("ev-energy", "plug_ins = true\nmode = 'SMART'", "c.toml:1: `mode` cannot be used with `plug_ins`"),
        ("ev-energy", "scope = 'x'", "c.toml:5: `scope` is for DER-Connect only"),
        ("der-connect", "with_intervals = true", "c.toml:5: `with_intervals` is for ev.energy only"),
        ("der-connect", "entities = ['x']", "c.toml:5: `entities` must be a table, not a list"),
        (
            "der-connect",
            "entities = { vehicle = ['x'] }",
            "c.toml:5: unknown key `vehicle`: did you mean `vehicles`?",
        ),
        ("evcc", "plain_http = true", "c.toml:5: `plain_http` must be text in quotes, not true or false"),
        (
            "evcc",
            "plain_http = 'yes'",
            "c.toml:5: `plain_http` must be without_credentials or with_credentials",
        ),
        ("evcc", "currency = '€'", "c.toml:5: `currency` must be the code of a currency, such as EUR"),
        (
            "evcc",
            "site_time_zone = 'Berlin'",
            "c.toml:5: `site_time_zone` must be an IANA name such as Europe/Berlin",
        ),
        (
            "ev-energy",
            "every = 'soon'",
            "c.toml:5: `every` must be a length of time such as 15m, of a second at least",
        ),
        ("podero", "plain_http = 'with_credentials'", "c.toml:5: `plain_http` is for evcc only"),
        ("podero", "", "c.toml:1: `organisation` is missing: Podero needs the organisation's identifier"),
    ] {
        assert_eq!(mistake_at(provider, line), words, "{line}");
    }
    let words = mistake_at("ev-energy", "expand = ['everything']");
    assert!(words.starts_with("c.toml:5: `expand` knows one of evse, evse.model,"), "{words}");
}

#[test]
fn what_workers_are_told_is_read_and_checked_by_every_build() {
    let text = format!(
        "{GOOD}every = '1h'\ncredential = 'shared'\n[worker]\nevery = '5m'\npages = 50\ntime = '30s'\nconcurrency = 4\n\
         [limits.both]\nquota = '10/1m'\naccounts = ['home']\n[limits.all]\nquota = '20/1m'\nprovider = 'podero'\n"
    );
    let layer = read(&text, true).unwrap();
    let worker = layer.worker.unwrap();
    assert_eq!((worker.every, worker.pages.map(u32::from)), (Some(SignedDuration::from_mins(5)), Some(50)));
    assert_eq!(worker.time, Some(std::time::Duration::from_secs(30)));
    assert_eq!(worker.concurrency.map(u32::from), Some(4));
    let home = &layer.accounts[0];
    assert_eq!(
        (home.every, home.credential.as_deref()),
        (Some(SignedDuration::from_hours(1)), Some("shared"))
    );
    assert!(layer.limits["both"].holds(home) && !layer.limits["all"].holds(home));
    assert_eq!(layer.limits["both"].quota.requests, 10);

    for (text, words) in [
        ("[worker]\nevry = '1h'", "c.toml:2: unknown key `evry`: did you mean `every`?"),
        ("[worker]\npages = 0", "c.toml:2: `pages` must be a whole number above zero"),
        ("[worker]\nconcurrency = '4'", "c.toml:2: `concurrency` must be a whole number above zero"),
        (
            "[worker]\ntime = '0s'",
            "c.toml:2: `time` must be a length of time such as 15m, of a second at least",
        ),
        (
            "[limits.x]\nprovider = 'podero'",
            "c.toml:1: `quota` is missing in limits.x: a number of requests and a span of time such as 1000/1h",
        ),
        (
            "[limits.x]\nquota = '1/1s'",
            "c.toml:1: limits.x is for no account: name `accounts`, or a `provider`",
        ),
        (
            "[limits.x]\nquota = '1/1s'\nprovider = 'acme'",
            "c.toml:3: unknown provider: known are `der-connect`, `ev-energy`, `evcc`, `ocpi` and `podero`",
        ),
    ] {
        assert_eq!(mistake(text), words, "{text}");
    }

    let folder = folder(&[("c.toml", &format!("{GOOD}[limits.x]\nquota = '1/1s'\naccounts = ['work']\n"))]);
    let args = SharedArgs { config: Some(folder.path().join("c.toml")), ..SharedArgs::default() };
    let words = Config::from_files(&args, None, None).map(drop).unwrap_err().to_string();
    assert!(
        words.ends_with(
            ":6: limits.x names the account `work`, which is not there: the configuration has `home`"
        ),
        "{words}"
    );
}

#[test]
fn a_reference_to_a_secret_is_exact() {
    let refer = "refer to it with { env = \"NAME\" }, { file = \"PATH\" }, { command = \"COMMAND\" } or { keyring = \"NAME\" }";
    let secret = |reference: &str| GOOD.replace("{ env = \"HOME_SECRET\" }", reference);
    for (reference, words) in [
        ("3", "c.toml:5: `client_secret` must be a table, not a whole number".to_owned()),
        ("{}", format!("c.toml:5: a secret is in one place: {refer}")),
        ("{ env = 'A', file = 'b' }", format!("c.toml:5: a secret is in one place: {refer}")),
        (
            "{ environment = 'A' }",
            "c.toml:5: unknown key `environment`: known are `env`, `file`, `command` and `keyring`".into(),
        ),
        (
            "{ env = 's3cret-with/signs' }",
            "c.toml:5: `env` must be the name of an environment variable, not the secret itself".into(),
        ),
    ] {
        assert_eq!(mistake(&secret(reference)), words);
    }
    let words = |key: &str, line: u8| {
        format!(
            "c.toml:{line}: `{key}` is not taken from a file of the working directory: name the file with --config"
        )
    };
    assert_eq!(read(&secret("{ command = 'x' }"), false).err().unwrap(), words("command", 5));
    for key in ["base_url", "token_url"] {
        let text = format!("{GOOD}{key} = 'https://api.example.com/'");
        assert_eq!(read(&text, false).err().unwrap(), words(key, 6));
    }
    let text = "[accounts.a]\nprovider = 'evcc'\nplain_http = 'with_credentials'";
    assert_eq!(read(text, false).err().unwrap(), words("plain_http", 3));
    assert!(read(GOOD, false).is_ok());
}

#[test]
fn what_is_not_toml_is_told_without_its_text() {
    for line in [
        "client_secret = s3cret",
        "client_secret = \"s3cret",
        "client_secret s3cret",
        "client_secret = 's3cret' x",
    ] {
        let words = mistake(&GOOD.replace("client_secret = { env = \"HOME_SECRET\" }", line));
        assert!(words.starts_with("c.toml:5: this is not TOML: "), "{words}");
        assert!(!words.contains("s3cret") && !words.contains('\n'), "{words}");
    }
}

#[tokio::test]
async fn accounts_are_built_without_showing_their_secrets() {
    use async_trait::async_trait;
    use charging_sessions_http::{Limits, Request, Response};

    #[derive(Debug)]
    struct Nothing;
    #[async_trait]
    impl Transport for Nothing {
        async fn send(&self, _: Request, _: &Limits) -> charging_sessions::Result<Response> {
            Err(Error::new(ErrorKind::Config, "nothing is sent"))
        }
    }

    let lines = "\nclient_id = 'i'\nclient_secret = { command = 'echo s3cret' }\n";
    let text = format!(
        "[accounts.a]\nprovider = 'ev-energy'{lines}[accounts.b]\nprovider = 'ev-energy'\nplug_ins = true{lines}\
         [accounts.c]\nprovider = 'der-connect'{lines}[accounts.d]\nprovider = 'podero'\norganisation = 'o'{lines}\
         [accounts.e]\nprovider = 'evcc'\nbase_url = 'https://evcc.example'{lines}\
         [accounts.f]\nprovider = 'evcc'\nplain_http = 'without_credentials'\n"
    );
    let mut shown = Vec::new();
    for account in read(&text, true).unwrap().accounts {
        let built = account.build(Arc::new(Nothing)).await.unwrap();
        assert_eq!((built.provider, &built.account), (account.provider.id(), &account.name));
        assert!(!format!("{account:?}{built:?}").contains("s3cret"));
        assert_eq!(built.assets.is_some(), built.source.capabilities().asset_list);
        shown.push(format!("{} {}", built.account, built.kinds[0]));
        built.source.fetch_page(&charging_sessions::SessionQuery::all(), None).await.unwrap_err();
        assert!(built.requests.requests() > 0);
    }
    assert_eq!(shown, ["a segment", "b plug_in", "c charge", "d plug_in", "e plug_in", "f plug_in"]);

    // What only the adapter can see is told with the account's place.
    let text = GOOD.replace("HOME_SECRET", "CARGO_PKG_NAME") + "base_url = 'http://api.example/v2/'";
    let failure =
        read(&text, true).unwrap().accounts[0].build(Arc::new(Nothing)).await.err().unwrap().to_string();
    assert!(failure.starts_with("c.toml:2: ev-energy: ") && failure.contains("https"), "{failure}");
}

const KEYS: [&str; 24] = [
    "provider",
    "client_id",
    "client_secret",
    "base_url",
    "token_url",
    "organisation",
    "module",
    "ocpi_version",
    "token_form",
    "from_party",
    "to_party",
    "sessions_url",
    "cdrs_url",
    "since",
    "currency",
    "site_time_zone",
    "cost_unit",
    "expand",
    "plain_http",
    "store",
    "store_url",
    "time_zone",
    "accounts",
    "reimbursement",
];

#[test]
fn names_of_the_file_are_shown_without_what_a_terminal_obeys() {
    let name = r#""a\n\u001b[2Jb""#;
    for text in [
        format!("[limits.{name}]\nquota = '1/1s'\n"),
        format!("[limits.{name}]\nprovider = 'podero'\n"),
        format!("[limits.{name}]\nquota = '1/1s'\naccounts = [{name}]\n"),
        format!("limits.{name} = 1\n"),
        format!("[limits.x]\nquota = '1/1s'\naccounts = [{name}]\n"),
        format!("[accounts.{name}]\nprovider = 'evcc'\n"),
        format!("{name} = 1\n"),
        format!("accounts.a.provider = {name}\n"),
        format!("[accounts.a]\nprovider = 'evcc'\nbase_url = {name}\n"),
        format!("[accounts.a]\nprovider = 'evcc'\n{name} = 1\n"),
        format!("[accounts.a]\nprovider = 'evcc'\nclient_id = 'x'\nclient_secret = {{ {name} = 'A' }}\n"),
        format!("time_zone = {name}\n"),
        format!("[reimbursement]\nprice_per_kwh = {name}\ncurrency = {name}\n"),
    ] {
        let told = mistake(&text);
        assert!(!told.contains(char::is_control), "{told:?}");
    }
}

/// What the program of the fuzzer begins with has every key, so that it comes to all that reads them.
#[tokio::test]
async fn what_the_fuzzer_begins_with_is_right_and_has_every_key() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/configs");
    let transport: Arc<dyn Transport> = charging_sessions_http::default_transport().unwrap();
    let mut all = String::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!sources_of(&text, true, &transport).unwrap().is_empty(), "{text}");
        all += &text;
    }
    let provider_keys = Provider::NAMES.iter().flat_map(|name| keys(Provider::named(name).unwrap()));
    for key in
        provider_keys.chain(fleet::KEYS).chain(["env", "file", "command", "keyring", "store", STORE_URL])
    {
        assert!(all.contains(&format!("{key} = ")), "{key}");
    }
}

proptest::proptest! {
    /// Whatever somebody writes there is read, or refused in a sentence that says where.
    #[test]
    fn any_configuration_is_read_or_refused_in_one_line(
        provider in proptest::sample::select(vec!["ev-energy", "podero", "der-connect", "evcc", "ocpi", "none"]),
        lines in proptest::collection::vec((
            proptest::sample::select(KEYS.to_vec()),
            "\"[^\"\\\\\n]{0,12}\"|'[^'\n]{0,12}'|-?[0-9]{1,20}|[0-9]{4}-[01][0-9]-[0-3][0-9]|\\{ [a-z]{3,7} = '.{0,9}' \\}|.{0,9}",
        ), 0..5),
        rest in ".{0,40}",
    ) {
        let mut text = format!("[accounts.a]\nprovider = '{provider}'\n");
        for (key, value) in lines {
            text += &format!("{key} = {value}\n");
        }
        for text in [text.clone(), format!("{rest}\n{text}"), text + &rest] {
            if let Err(told) = read(&text, false) {
                assert!(told.starts_with("c.toml") && told.lines().count() == 1, "{text:?}: {told:?}");
            }
        }
    }
}
