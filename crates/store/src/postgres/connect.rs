//! Finding the database, and what holds for every connection to it.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use charging_sessions_core::{Error, ErrorKind, Result};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use rustls_platform_verifier::BuilderVerifierExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::{
    Client, Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{LONGEST, error};

/// The schema that a store is in unless another one is named.
const SCHEMA: &str = "charging_sessions";

/// How many connections are kept at most, besides one for each lease.
const CONNECTIONS: usize = 8;

/// How long a write waits for another one.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How long it may take until a connection is made, signed in and all.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Where a store is.
///
/// The address is one of PostgreSQL: `postgres://user:password@host:5432/database`, in which special characters of the
/// password are written as `%` and two digits. It is a secret, and is shown nowhere.
///
/// The way there is encrypted by TLS and the server must prove that it is the one, to what this machine trusts; except
/// over loopback and Unix sockets. `?sslmode=disable` does without, `?sslmode=require` asks for it over loopback, too.
#[derive(Clone)]
pub struct PostgresOptions {
    url: SecretString,
    schema: String,
    connections: usize,
    application: Option<String>,
    lock_wait: Duration,
}

impl PostgresOptions {
    /// The store in the schema `charging_sessions` of this database.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            schema: SCHEMA.to_owned(),
            connections: CONNECTIONS,
            application: None,
            lock_wait: LOCK_WAIT,
        }
    }

    /// Takes another schema, so that one database holds several stores: lower-case letters, digits and `_`, at most
    /// 63, not beginning with a digit or with `pg_`.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Signs every connection with this name, by which the server lists them, instead of `charging-sessions`. It is cut
    /// after 63 bytes. Who gives each process a name of its own can end the connections of one that does not answer.
    #[must_use]
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = Some(name.into());
        self
    }

    /// Lets a write wait for so long until another one is done, instead of 10 seconds. Who ends the connections of others
    /// that do not answer wants more than it takes to do so, because a writer that was stopped in the middle keeps all
    /// from writing.
    #[must_use]
    pub fn lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }

    /// Connections to the same database with the same settings, for a program that keeps other tables beside the store.
    /// Nothing is sent until one is [taken](PostgresPool::get). What the search path begins with is the store's schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] if the address is none of PostgreSQL.
    pub fn pool(&self) -> Result<PostgresPool> {
        let way = Way::new(self, false)?;
        Ok(PostgresPool { pool: way.pool()?, name: way.name })
    }

    /// The name of the schema.
    pub fn schema_name(&self) -> &str {
        &self.schema
    }

    /// Keeps at most so many connections, and at least one, instead of 8. Each lease has one more to itself.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }
}

impl From<SecretString> for PostgresOptions {
    fn from(url: SecretString) -> Self {
        Self::new(url)
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Connections to the database of a store. Clones share them.
#[derive(Clone)]
pub struct PostgresPool {
    pool: Pool,
    name: Name,
}

impl PostgresPool {
    /// A connection, as soon as there is one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`], with what to do, if there is none.
    pub async fn get(&self) -> Result<Object> {
        self.pool.get().await.map_err(|error| error::Failure::from(error).at(&self.name))
    }

    /// What an error of PostgreSQL means, as the store itself says it: one sentence, with what to do.
    pub fn explain(&self, error: tokio_postgres::Error) -> Error {
        error::postgres(&self.name, error)
    }

    /// The pool itself, for libraries that take one.
    pub fn inner(&self) -> &Pool {
        &self.pool
    }
}

impl fmt::Debug for PostgresPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresPool").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How messages name a store: by all but the user and the password.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) schema: String,
    database: String,
    server: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store {} in the database {} at {}", self.schema, self.database, self.server)
    }
}

/// Where connections go, and how.
pub(super) struct Way {
    config: Config,
    pub(super) tls: MakeRustlsConnect,
    pub(super) name: Name,
    pub(super) connections: usize,
    read_only: bool,
    lock_wait: Duration,
}

impl Way {
    pub(super) fn new(options: &PostgresOptions, read_only: bool) -> Result<Self> {
        let wrong = |what: &str| Error::new(ErrorKind::Storage, what);
        let schema = &options.schema;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let odd = schema.is_empty()
            || schema.len() > 63
            || schema.starts_with("pg_")
            || schema.starts_with(|c: char| c.is_ascii_digit())
            || !schema.chars().all(plain);
        if odd {
            return Err(wrong(
                "the schema of a store has 1 to 63 lower-case letters, digits and `_`, and begins neither with a digit \
                 nor with `pg_`; name another one",
            ));
        }
        let url = options.url.expose_secret();
        // What is wrong with an address is not told by its parser, which may repeat a part of the password.
        let config = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            url.parse::<Config>().ok()
        } else {
            None
        };
        let mut config = config.ok_or_else(|| {
            wrong(
                "the address of the store is none of PostgreSQL; write it as \
                 postgres://user:password@host:5432/database, with special characters of the password as % and two digits",
            )
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("localhost");
        }
        if config.get_ssl_mode() == SslMode::Prefer {
            // To do without what was preferred, because somebody on the way says so, is no protection.
            let near = config.get_hosts().iter().all(is_near)
                && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
            config.ssl_mode(if near { SslMode::Disable } else { SslMode::Require });
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        if let Some(name) = &options.application {
            config.application_name(name);
        } else if config.get_application_name().is_none() {
            config.application_name("charging-sessions");
        }
        // A server that is gone without a word is noticed within a minute.
        config.keepalives_idle(Duration::from_secs(20)).keepalives_interval(Duration::from_secs(10));
        config.keepalives_retries(3).tcp_user_timeout(Duration::from_secs(60));
        let tls = tls(config.get_ssl_mode())
            .map_err(|e| Error::new(ErrorKind::Config, "TLS could not be set up").with_source(e))?;
        let name = Name {
            schema: schema.clone(),
            database: config.get_dbname().or(config.get_user()).unwrap_or("of the user").to_owned(),
            server: server(&config),
        };
        Ok(Self {
            config,
            tls,
            name,
            connections: options.connections,
            read_only,
            lock_wait: options.lock_wait,
        })
    }

    /// Connections that are made when they are asked for.
    pub(super) fn pool(&self) -> Result<Pool> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        Pool::builder(Manager::from_config(self.config(), self.tls.clone(), recycling))
            .max_size(self.connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(LONGEST))
            .create_timeout(Some(PATIENCE))
            .build()
            .map_err(|e| error::storage(&self.name, "cannot be used without a Tokio runtime").with_source(e))
    }

    /// The configuration of connections that read and write.
    pub(super) fn config(&self) -> Config {
        // A writer that is stopped in the middle must not keep its locks for ever. And a plan that was made for a table
        // while it was nearly empty must not be kept: each is made for the rows that there are.
        self.with(&format!(
            "-c lock_timeout={} -c idle_in_transaction_session_timeout=60s -c plan_cache_mode=force_custom_plan",
            self.lock_wait.as_millis().clamp(1, i32::MAX as u128)
        ))
    }

    fn with(&self, settings: &str) -> Config {
        let mut config = self.config.clone();
        let mut options = config.get_options().map(|own| format!("{own} ")).unwrap_or_default();
        options.push_str(settings);
        options.push_str(&format!(" -c search_path={}", self.name.schema));
        if self.read_only {
            options.push_str(" -c default_transaction_read_only=on");
        }
        config.options(options);
        config
    }

    /// A connection of its own for a lease. It lives as long as its client.
    ///
    /// The server looks often whether we are still there, so that the lease of a machine that is gone is soon free.
    pub(super) async fn hold(&self) -> Result<Client> {
        let config = self.with(
            "-c lock_timeout=1s -c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
        );
        let connected = tokio::time::timeout(PATIENCE, config.connect(self.tls.clone())).await;
        let connected = connected.map_err(|e| error::silent(&self.name).with_source(e))?;
        let (client, connection) = connected.map_err(|e| error::postgres(&self.name, e))?;
        // Its end is seen by whoever asks it something.
        tokio::spawn(connection);
        Ok(client)
    }
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn server(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    format!("{host}:{}", config.get_ports().first().unwrap_or(&5432))
}

/// TLS 1.2 and 1.3 by ring, trusting what the machine trusts. Set up here and not as the default of the process, which
/// is the program's to choose.
fn tls(mode: SslMode) -> Result<MakeRustlsConnect, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = if mode == SslMode::Disable {
        // Never used, and reading what the machine trusts takes a while.
        config.with_root_certificates(rustls::RootCertStore::empty())
    } else {
        config.with_platform_verifier()?
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(url: &str) -> Result<Way> {
        Way::new(&PostgresOptions::new(url.to_owned().into()), false)
    }

    #[test]
    fn tls_is_left_out_on_the_same_machine_and_where_it_is_told_to_be() {
        let cases = [
            ("postgres://u:p@localhost/d", SslMode::Disable),
            ("postgres://u:p@127.0.0.1:1/d", SslMode::Disable),
            ("postgres://u:p@[::1]/d", SslMode::Disable),
            ("postgres://u:p@%2Frun%2Fpostgresql/d", SslMode::Disable),
            ("postgres:///d", SslMode::Disable),
            ("postgres://u:p@localhost/d?sslmode=require", SslMode::Require),
            ("postgres://u:p@db.example.com/d", SslMode::Require),
            ("postgres://u:p@db.example.com/d?sslmode=prefer", SslMode::Require),
            ("postgres://u:p@localhost,db.example.com/d", SslMode::Require),
            ("postgresql://u:p@db.example.com/d?sslmode=disable", SslMode::Disable),
        ];
        for (url, mode) in cases {
            assert_eq!(way(url).unwrap().config.get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn a_wrong_address_is_explained_and_not_repeated() {
        for url in [
            "",
            "x",
            "host=db password=s3cret",
            "postgres://u:s3cret@db:99999/d",
            "postgres://u:p@db:port/d?s3cret=1",
            "mysql://u:s3cret@db/d",
            "postgres://u:s3cret@db/d?sslmode=s3cret",
        ] {
            let Err(error) = way(url).map(drop) else { panic!("{url:?} is taken") };
            assert_eq!(error.kind(), ErrorKind::Storage);
            let text = format!("{error} {error:?}");
            assert!(text.contains("postgres://user:password@host") && !text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn the_schema_is_a_plain_name() {
        for schema in ["", "pg_x", "Upper", "a b", "a;b", "1a", "ä", &"x".repeat(64)] {
            let options = PostgresOptions::new("postgres://u:p@db/d".to_owned().into()).schema(schema);
            assert!(Way::new(&options, false).is_err(), "{schema}");
        }
    }

    #[test]
    fn nothing_that_is_shown_holds_the_password() {
        let options = PostgresOptions::new("postgres://ada:s3cret@db/d".to_owned().into());
        let way = Way::new(&options, false).unwrap();
        let shown = format!("{options:?} {:?} {} {:?}", way.name, way.name, way.config());
        assert!(!shown.contains("s3cret"), "{shown}");
        assert_eq!(way.name.to_string(), "the store charging_sessions in the database d at db:5432");
    }
}
