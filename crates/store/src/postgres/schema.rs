//! What the database is, and bringing it to the current version.

use charging_sessions_core::{Error, Result};
use deadpool_postgres::{GenericClient, Object};

use super::{
    Name,
    error::{self, Failure, storage},
    key,
};

/// What brings a store from each version to the next. Only ever added to.
const MIGRATIONS: [&str; 1] = [include_str!("v1.sql")];

/// The oldest server that has all that is used here.
const OLDEST: i32 = 13;

/// Fails unless the server is one that can hold a store.
pub(super) async fn server(client: &Object, name: &Name) -> Result<()> {
    let sql = "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding')";
    let row = client.query_one(sql, &[]).await.map_err(|e| error::postgres(name, e))?;
    let read = |e| error::postgres(name, e);
    let (version, encoding): (i32, String) = (row.try_get(0).map_err(read)?, row.try_get(1).map_err(read)?);
    suits(name, version, &encoding)
}

fn suits(name: &Name, version: i32, encoding: &str) -> Result<()> {
    if version < OLDEST {
        let why = format!(
            "is on a server of PostgreSQL {version}, which is too old; use version {OLDEST} or later"
        );
        return Err(storage(name, &why));
    }
    if encoding != "UTF8" {
        let why = format!(
            "cannot hold every text, because the encoding of the database is {encoding}; make one with ENCODING 'UTF8'"
        );
        return Err(storage(name, &why));
    }
    Ok(())
}

/// Which version of ours the schema has; 0 if it is empty or not there.
async fn version(client: &impl GenericClient, name: &Name) -> Result<usize, Failure> {
    // `information_schema` would leave out what the user must not see.
    let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace($1) LIMIT 1";
    if client.query_opt(sql, &[&name.schema]).await?.is_none() {
        return Ok(0);
    }
    let sql = "SELECT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
               WHERE c.relnamespace = to_regnamespace($1) AND c.relname = 'layout' AND a.attname = 'application')";
    let foreign = || {
        Failure::Refused(storage(
            name,
            "is a schema of another program; name another schema, or another database",
        ))
    };
    if !client.query_one(sql, &[&name.schema]).await?.try_get::<_, bool>(0)? {
        return Err(foreign());
    }
    let row = client.query_opt("SELECT application, version FROM layout", &[]).await?;
    let row = row.ok_or(Failure::Damaged)?;
    if row.try_get::<_, &str>(0)? != "charging-sessions" {
        return Err(foreign());
    }
    let version: i32 = row.try_get(1)?;
    match usize::try_from(version) {
        Ok(version) if (1..=MIGRATIONS.len()).contains(&version) => Ok(version),
        _ => Err(Failure::Refused(storage(
            name,
            &format!(
                "was written by a newer release (version {version} of its layout, this release knows {}); update this \
                 program",
                MIGRATIONS.len()
            ),
        ))),
    }
}

/// Fails unless the store can be read as it is.
pub(super) async fn check(client: &Object, name: &Name) -> Result<()> {
    let refused = |why| Err::<(), Error>(storage(name, why));
    match version(client, name).await.map_err(|failure| failure.at(name))? {
        version if version == MIGRATIONS.len() => Ok(()),
        0 => refused("does not exist; check the name of the schema, or sync into it first"),
        _ => refused("was written by an older release; open it for writing once, to bring it up to date"),
    }
}

/// Makes the store, or brings it to the current version, in one transaction.
pub(super) async fn migrate(client: &mut Object, name: &Name) -> Result<()> {
    let migrated = async {
        // Before anything is written: it may be somebody else's. And who only uses a store need not be able to make it.
        if version(client, name).await? == MIGRATIONS.len() {
            return Ok(());
        }
        let t = client.transaction().await?;
        // Several programs may start at once.
        t.execute("SELECT pg_advisory_xact_lock($1)", &[&key(&[&name.schema, "layout"])]).await?;
        let from = version(&t, name).await?;
        if from == 0 {
            // The name has been checked to be plain.
            t.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {}", name.schema)).await?;
        }
        for migration in &MIGRATIONS[from..] {
            t.batch_execute(migration).await?;
        }
        let sql = "INSERT INTO layout (version) VALUES ($1) ON CONFLICT (one) DO UPDATE SET version = excluded.version";
        t.execute(sql, &[&(MIGRATIONS.len() as i32)]).await?;
        t.commit().await?;
        Ok(())
    };
    migrated.await.map_err(|failure: Failure| failure.at(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{PostgresOptions, connect::Way};

    #[test]
    fn a_server_that_is_too_old_or_holds_no_unicode_is_refused() {
        let name =
            Way::new(&PostgresOptions::new("postgres://u:p@db/d".to_owned().into()), true).unwrap().name;
        let why = suits(&name, 12, "UTF8").unwrap_err().to_string();
        assert!(why.contains("PostgreSQL 12") && why.contains("13 or later"), "{why}");
        let why = suits(&name, 17, "LATIN1").unwrap_err().to_string();
        assert!(why.contains("LATIN1") && why.contains("ENCODING 'UTF8'"), "{why}");
        suits(&name, 13, "UTF8").unwrap();
    }
}
