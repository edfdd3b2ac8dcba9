//! Where sessions are kept: in a file, or in a database of PostgreSQL.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use charging_sessions_store::{SessionStore, SqliteStore};
use jiff::tz::TimeZone;
use secrecy::SecretString;

use crate::{exit::Failure, secret::Secret};

/// The beginnings of an address.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Where sessions are kept.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// In an SQLite file.
    File(PathBuf),
    /// In a database of PostgreSQL.
    Database(Address),
}

/// The address of a database.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Given(SecretString),
    Referred(Secret),
}

impl From<OsString> for Target {
    fn from(text: OsString) -> Self {
        match text.to_str() {
            Some(url) if is_address(url) => Self::Database(Address::Given(url.into())),
            _ => Self::File(text.into()),
        }
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        OsString::from(text).into()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Database(_) => f.write_str("a database of PostgreSQL"),
        }
    }
}

impl Target {
    /// The store, to write to. Made if it is not there.
    pub(crate) async fn open(&self, zone: &TimeZone) -> Result<Arc<dyn SessionStore>, Failure> {
        let path = match self {
            Self::File(path) => path,
            Self::Database(address) => return address.open(zone, false).await,
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                let folder = folder.display();
                Failure::usage(format!("the folder {folder} cannot be made for the store: {error}"))
            })?;
        }
        Ok(Arc::new(SqliteStore::open(path)?.with_zone(zone.clone())))
    }

    /// The store, to read from.
    pub(crate) async fn read(&self, zone: &TimeZone) -> Result<Arc<dyn SessionStore>, Failure> {
        match self {
            Self::File(path) => read_file(path, zone),
            Self::Database(address) => address.open(zone, true).await,
        }
    }
}

fn read_file(path: &Path, zone: &TimeZone) -> Result<Arc<dyn SessionStore>, Failure> {
    if !path.exists() {
        let path = path.display();
        return Err(Failure::usage(format!(
            "there is no store at {path}: `charging-sessions sync` makes it"
        )));
    }
    Ok(Arc::new(SqliteStore::open_read_only(path)?.with_zone(zone.clone())))
}

impl Address {
    /// The address itself.
    pub(crate) async fn get(&self) -> Result<SecretString, Failure> {
        match self {
            Self::Given(url) => Ok(url.clone()),
            Self::Referred(secret) => secret.read().await,
        }
    }

    #[cfg(feature = "postgres")]
    async fn open(&self, zone: &TimeZone, read_only: bool) -> Result<Arc<dyn SessionStore>, Failure> {
        use charging_sessions_store::PostgresStore;
        let url = self.get().await?;
        let store = if read_only {
            PostgresStore::connect_read_only(url).await?
        } else {
            PostgresStore::connect(url).await?
        };
        Ok(Arc::new(store.with_zone(zone.clone())))
    }

    #[cfg(not(feature = "postgres"))]
    async fn open(&self, _: &TimeZone, _: bool) -> Result<Arc<dyn SessionStore>, Failure> {
        Err(Failure::usage(
            "this program was built without PostgreSQL: build it with `--features postgres`, or name a file as the store",
        ))
    }
}

/// Whether this is the address of a database, and no file.
pub(crate) fn is_address(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

/// Whether an address holds a password, or may.
pub(crate) fn holds_a_password(address: &str) -> bool {
    // What is neither a user nor a host is not worth telling apart: `user:password@host` and `?password=`.
    let rest = SCHEMES.iter().find_map(|scheme| address.strip_prefix(scheme)).unwrap_or(address);
    let user = rest.rsplit_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':')) || rest.contains("password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_file() {
        for (text, database) in [
            ("postgres://u@db/d", true),
            ("postgresql:///d", true),
            ("sessions.sqlite", false),
            ("/var/postgres/x", false),
            ("postgres", false),
        ] {
            assert_eq!(matches!(Target::from(text), Target::Database(_)), database, "{text}");
        }
    }

    #[test]
    fn nothing_that_is_shown_holds_the_password() {
        let target = Target::from("postgres://u:s3cret@db/d");
        assert!(!format!("{target:?} {target}").contains("s3cret"));
    }

    #[test]
    fn a_password_is_seen_wherever_it_stands() {
        for url in
            ["postgres://u:p@db/d", "postgres://u:@db", "postgres://u:p@x@db", "postgres://db?password=p"]
        {
            assert!(holds_a_password(url), "{url}");
        }
        for url in ["postgres://u@db:5432/d", "postgres://db/d?sslmode=disable", "postgresql:///d"] {
            assert!(!holds_a_password(url), "{url}");
        }
    }
}
