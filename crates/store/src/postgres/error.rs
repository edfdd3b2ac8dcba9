//! What went wrong with the database, in one sentence that says what to do.

use charging_sessions_core::{Error, ErrorKind};
use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use super::Name;
use crate::columns::Damaged;

/// Why something failed, before it is known in which database.
pub(super) enum Failure {
    Postgres(tokio_postgres::Error),
    /// No connection was to be had.
    Pool(PoolError),
    /// Something that the text of the error says by itself.
    Refused(Error),
    /// What is stored does not read back.
    Damaged,
}

impl Failure {
    pub(super) fn at(self, name: &Name) -> Error {
        match self {
            Self::Postgres(error) | Self::Pool(PoolError::Backend(error)) => postgres(name, error),
            Self::Pool(error) => silent(name).with_source(error),
            Self::Refused(error) => error,
            Self::Damaged => damaged(name),
        }
    }
}

impl From<Damaged> for Failure {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// An error of the store of this name.
pub(super) fn storage(name: &Name, what: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("{name} {what}"))
}

fn damaged(name: &Name) -> Error {
    storage(
        name,
        "is damaged, or was changed by hand; put back a copy of it, or sync again into another schema",
    )
}

/// What was found when it was looked for.
pub(super) fn damaged_by(name: &Name, damage: &str) -> Error {
    storage(name, &format!("is damaged ({damage}); put back a copy of it, or sync again into another schema"))
}

/// It takes longer than it ever should.
pub(super) fn silent(name: &Name) -> Error {
    storage(name, SILENT)
}

/// An error of PostgreSQL, or of the way there.
pub(super) fn postgres(name: &Name, error: tokio_postgres::Error) -> Error {
    // What a connection writes for the next ones when it begins; if there is no room for it, the server has no code that
    // says so.
    let is_full = error.as_db_error().is_some_and(|said| said.message() == "could not write init file");
    let what = match error.code() {
        Some(_) if is_full => refusal(&SqlState::DISK_FULL),
        Some(code) => refusal(code),
        None if error.is_closed() => LOST,
        None => match error.to_string() {
            // The texts of the client tell the kinds apart; it has no other way.
            text if text.starts_with("error connecting") || text.starts_with("timeout") => SILENT,
            text if text.starts_with("error performing TLS") => {
                "cannot be reached with TLS; make the certificate one that this machine trusts, or name \
                 `sslmode=disable` in the address if the way there is safe"
            }
            text if text.starts_with("error communicating") => LOST,
            text if text.starts_with("authentication") || text.starts_with("invalid configuration") => {
                "cannot be signed in to; check the user and the password in the address"
            }
            // A value of another type or form than we write.
            _ => return damaged(name).with_source(error),
        },
    };
    storage(name, what).with_source(error)
}

const SILENT: &str = "does not answer; check that the server runs, and the host and the port";
const LOST: &str = "broke off the connection; try again: what was written before is safe";

/// What a refusal of the server means for who reads it.
fn refusal(code: &SqlState) -> &'static str {
    const SIGN_IN: &str =
        "refuses the user or the password; check both in the address, and pg_hba.conf of the server";
    match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => SIGN_IN,
        SqlState::INVALID_CATALOG_NAME => "is in no database of the server; make the database first",
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "must not be used like this by its user; grant it the schema, or CREATE on the database if there is none yet"
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            "can only be read from, because the server or the user is read-only; name the primary server"
        }
        SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY => {
            "cannot grow, because the server has no room left; make room and try again: what was written before is safe"
        }
        SqlState::TOO_MANY_CONNECTIONS => {
            "has no connection left; close other programs, or raise max_connections of the server"
        }
        SqlState::LOCK_NOT_AVAILABLE | SqlState::QUERY_CANCELED => {
            "is locked by another program; wait for it or close it, and try again"
        }
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            "was written to by another program at the same moment; try again: nothing of this was written"
        }
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => LOST,
        SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_COLUMN
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::DATA_CORRUPTED
        | SqlState::INDEX_CORRUPTED => {
            "is damaged, or was changed by hand; put back a copy of it, or sync again into another schema"
        }
        _ if code.code().starts_with("28") => SIGN_IN,
        _ if code.code().starts_with("08") => LOST,
        _ => "refused what was asked of it, which is a mistake in this program; please report it",
    }
}
