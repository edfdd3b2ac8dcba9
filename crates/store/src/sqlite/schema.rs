//! Opening a file: what it is, and bringing it to the current version.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use charging_sessions_core::Result;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, config::DbConfig};

use super::error::{sqlite, storage};

/// What marks a file as ours: `ChSe`.
const APPLICATION: i64 = 0x4368_5365;

/// What brings a file from each version to the next. Only ever added to.
const MIGRATIONS: [&str; 1] = [include_str!("v1.sql")];

/// Of a new file, in bytes. A record with its JSON takes more than a kilobyte, and what is written has a cost for each
/// page; smaller ones are faster only while one record at a time is written.
const PAGE_SIZE: u32 = 8192;

/// How long to wait for another program's write. Ours take milliseconds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Sets what holds for every connection.
pub(super) fn configure(connection: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // In pages. SQLite takes kibibytes, too, but reckons them by the size of pages before it has seen the file, which is
    // half of ours: the cache would be twice as large.
    connection.pragma_update(None, "cache_size", cache_kib / (PAGE_SIZE / 1024))?;
    // What belongs together is written together, and `verify` looks for what does not. To look for it with each row
    // would be four more searches for a record.
    connection.pragma_update(None, "foreign_keys", false)?;
    // Else some statements are parsed anew for each value that is bound, in case another plan suits it better. We keep
    // no statistics by which one could.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Functions that a foreign hand put into the schema are not run.
    connection.pragma_update(None, "trusted_schema", false)
}

/// Sets what holds for the connection that writes, once the file is known to be ours.
///
/// With `synchronous=NORMAL` a loss of power may undo the last writes, never a part of one, and never damages the file.
/// Each holds the place in the listing, too, so what was undone is read again; `FULL` would cost a flush per page for
/// nothing.
pub(super) fn configure_writer(connection: &Connection) -> rusqlite::Result<()> {
    let patience = Instant::now() + BUSY_TIMEOUT;
    // SQLite does not wait where it changes the mode.
    while let Err(error) = connection.pragma_update(None, "journal_mode", "wal") {
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || Instant::now() > patience {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    connection.pragma_update(None, "synchronous", "NORMAL")
}

/// Which version of ours the file has; 0 if it is empty.
fn version(connection: &Connection, path: Option<&Path>) -> Result<usize> {
    // As it is at one moment: another process may just be making it.
    let snapshot = connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose();
    let _snapshot = snapshot.map_err(|e| sqlite(path, e))?;
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|e| sqlite(path, e));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
    if application != APPLICATION && !(empty && application == 0 && version == 0) {
        return Err(storage(path, "is a database of another program; name another file"));
    }
    match usize::try_from(version) {
        Ok(version) if version <= MIGRATIONS.len() => Ok(version),
        _ => Err(storage(
            path,
            &format!(
                "was written by a newer release (version {version} of its layout, this release knows {}); \
                 update this program",
                MIGRATIONS.len()
            ),
        )),
    }
}

/// Fails unless the file can be read as it is.
pub(super) fn check(connection: &Connection, path: Option<&Path>) -> Result<()> {
    match version(connection, path)? {
        version if version == MIGRATIONS.len() => Ok(()),
        0 => Err(storage(path, "is empty; sync into it first")),
        _ => Err(storage(
            path,
            "was written by an older release; open it for writing once, to bring it up to date",
        )),
    }
}

/// Brings the file to the current version, in one transaction.
pub(super) fn migrate(connection: &mut Connection, path: Option<&Path>) -> Result<()> {
    // Before anything is written: it may be somebody else's.
    if version(connection, path)? == MIGRATIONS.len() {
        return Ok(());
    }
    let error = |error| sqlite(path, error);
    // Of a new file; nothing happens to one that has pages.
    connection.pragma_update(None, "page_size", PAGE_SIZE).map_err(error)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error)?;
    // Another process may have been faster.
    for migration in &MIGRATIONS[version(&transaction, path)?..] {
        transaction.execute_batch(migration).map_err(error)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(error)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64).map_err(error)?;
    transaction.commit().map_err(error)
}
