//! Sessions in a PostgreSQL database.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use charging_sessions_core::{ChargingSession, Cursor, Payload, Result, SessionKey};
use deadpool_postgres::{Object, Pool, Transaction};
use jiff::{Timestamp, tz::TimeZone};
use tokio_postgres::{Client, IsolationLevel};

use crate::{
    Account, Batch, Changes, Coverage, Filter, Hash, Lease, Prepared, Quarantined, Recorded, Revision,
    RunReport, SessionStore, Slice, StoredSession,
};

mod connect;
mod error;
mod pack;
mod read;
mod schema;
mod text;
mod write;

use connect::{Name, Way};
pub use connect::{PostgresOptions, PostgresPool};
use error::{Failure, storage};

/// How long a read or a write may take in all. A page takes milliseconds; a server that is stopped takes for ever.
const LONGEST: Duration = Duration::from_secs(300);

/// A [`SessionStore`] in a schema of a PostgreSQL database, version 13 or later.
///
/// Clones share it. Any number of programs and machines may use one store at once; accounts are written to one by one
/// each. Instants of the store itself, and the starts that windows are compared with, are kept to the microsecond;
/// records are kept exactly.
///
/// The schema may be read by any program while it is in use: the views `v_sessions` (one row for each session that is
/// there) and `v_months` are meant for that, and do not change their columns.
///
/// The right to write to an account is a lock of a connection, so a program in between that shares connections out
/// (PgBouncer) must do so by session, not by transaction.
///
/// Its methods need a Tokio runtime. A future that is dropped undoes what it has begun, unless that was committed.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    zone: TimeZone,
}

struct Shared {
    way: Way,
    pool: Pool,
    read_only: bool,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("name", &self.shared.way.name).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens a store, and makes it if the schema does not exist or is empty. One of an older release is brought up to
    /// date. The database must exist.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`](charging_sessions_core::ErrorKind::Storage), with what to do: if the server does not
    /// answer, is too old or refuses the user, if there is no such database, if the schema is of another program, or
    /// made by a newer release.
    pub async fn connect(options: impl Into<PostgresOptions>) -> Result<Self> {
        let store = Self::new(&options.into(), false)?;
        let mut client = store.client().await.map_err(|failure| failure.at(store.name()))?;
        schema::server(&client, store.name()).await?;
        schema::migrate(&mut client, store.name()).await?;
        drop(client);
        Ok(store)
    }

    /// Opens a store that must exist, for reading only. Whatever would write fails. The server may be a standby.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`](charging_sessions_core::ErrorKind::Storage), with what to do: as
    /// [`connect`](Self::connect), and if there is no store, or one of another release.
    pub async fn connect_read_only(options: impl Into<PostgresOptions>) -> Result<Self> {
        let store = Self::new(&options.into(), true)?;
        let client = store.client().await.map_err(|failure| failure.at(store.name()))?;
        schema::server(&client, store.name()).await?;
        schema::check(&client, store.name()).await?;
        drop(client);
        Ok(store)
    }

    /// Takes this zone for the days and months of sessions that name none, or one that is not known; else it is UTC.
    #[must_use]
    pub fn with_zone(mut self, zone: TimeZone) -> Self {
        self.zone = zone;
        self
    }

    fn new(options: &PostgresOptions, read_only: bool) -> Result<Self> {
        let way = Way::new(options, read_only)?;
        let pool = way.pool()?;
        Ok(Self { shared: Arc::new(Shared { way, pool, read_only }), zone: TimeZone::UTC })
    }

    fn name(&self) -> &Name {
        &self.shared.way.name
    }

    async fn client(&self) -> Result<Object, Failure> {
        Ok(self.shared.pool.get().await?)
    }

    async fn writer(&self) -> Result<Object, Failure> {
        self.writable()?;
        self.client().await
    }

    fn writable(&self) -> Result<(), Failure> {
        if self.shared.read_only {
            let why = "was opened for reading only; open it for writing";
            return Err(Failure::Refused(storage(self.name(), why)));
        }
        Ok(())
    }

    /// Does some work within the time there is for it.
    async fn limited<T>(&self, work: impl Future<Output = Result<T, Failure>> + Send) -> Result<T> {
        match tokio::time::timeout(LONGEST, work).await {
            Ok(result) => result.map_err(|failure| failure.at(self.name())),
            Err(elapsed) => Err(error::silent(self.name()).with_source(elapsed)),
        }
    }
}

/// A transaction whose every statement sees what was committed before it: what is read once the account is locked is
/// what it says.
async fn writing(client: &mut Object) -> Result<Transaction<'_>, Failure> {
    Ok(client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?)
}

/// A transaction all of whose parts see the same state.
async fn reading(client: &mut Object) -> Result<Transaction<'_>, Failure> {
    Ok(client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?)
}

/// The number of a lock of ours in the whole database, told from those of other programs by its size.
fn key(parts: &[&str]) -> i64 {
    let name = parts.iter().fold(String::from("charging-sessions"), |name, part| format!("{name}\0{part}"));
    let [a, b, c, d, e, f, g, h, ..] = *Hash::of(name.as_bytes()).as_bytes();
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The right to write, with the connection whose lock it is. The server takes it back when that ends, however it does.
struct PostgresLease {
    account: Account,
    epoch: u64,
    _hold: Client,
}

impl fmt::Debug for PostgresLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLease")
            .field("account", &self.account)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Lease for PostgresLease {
    fn account(&self) -> &Account {
        &self.account
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

#[async_trait]
impl SessionStore for PostgresStore {
    async fn begin(&self, account: &Account, now: Timestamp) -> Result<Box<dyn Lease>> {
        self.limited(async {
            self.writable()?;
            let hold = self.shared.way.hold().await.map_err(Failure::Refused)?;
            let epoch = write::begin(&hold, &self.name().schema, account, now).await?;
            Ok(Box::new(PostgresLease { account: account.clone(), epoch, _hold: hold }) as Box<dyn Lease>)
        })
        .await
    }

    async fn place(&self, account: &Account, slice: &Slice) -> Result<Option<Cursor>> {
        self.limited(async { read::place(&self.client().await?, account, slice).await }).await
    }

    fn prepare(&self, _: &Account, _: &[ChargingSession]) -> Prepared {
        Prepared::default()
    }

    async fn commit(&self, lease: &dyn Lease, batch: Batch) -> Result<Changes> {
        self.limited(async {
            let mut client = self.writer().await?;
            let t = writing(&mut client).await?;
            let changes = write::commit(&t, lease, &batch, &self.zone).await?;
            t.commit().await?;
            Ok(changes)
        })
        .await
    }

    async fn restart(&self, lease: &dyn Lease, slice: &Slice) -> Result<()> {
        self.limited(async {
            let mut client = self.writer().await?;
            let t = writing(&mut client).await?;
            write::restart(&t, lease, slice).await?;
            Ok(t.commit().await?)
        })
        .await
    }

    async fn remap(
        &self,
        lease: &dyn Lease,
        sessions: Vec<ChargingSession>,
        now: Timestamp,
    ) -> Result<Changes> {
        self.limited(async {
            let mut client = self.writer().await?;
            let t = writing(&mut client).await?;
            let changes = write::remap(&t, lease, &sessions, now, &self.zone).await?;
            t.commit().await?;
            Ok(changes)
        })
        .await
    }

    async fn log_run(&self, lease: &dyn Lease, run: &RunReport) -> Result<()> {
        self.limited(async {
            let mut client = self.writer().await?;
            let t = writing(&mut client).await?;
            write::log_run(&t, lease, run).await?;
            Ok(t.commit().await?)
        })
        .await
    }

    async fn runs(&self, account: &Account, limit: u32) -> Result<Vec<RunReport>> {
        self.limited(async { read::runs(&self.client().await?, account, limit).await }).await
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        self.limited(async { read::accounts(&self.client().await?).await }).await
    }

    async fn sessions(
        &self,
        filter: &Filter,
        after: Option<&SessionKey>,
        limit: u32,
    ) -> Result<Vec<StoredSession>> {
        self.limited(async {
            let mut client = self.client().await?;
            read::sessions(&reading(&mut client).await?, filter, after, limit).await
        })
        .await
    }

    async fn session(&self, key: &SessionKey) -> Result<Option<StoredSession>> {
        self.limited(async {
            let mut client = self.client().await?;
            read::session(&reading(&mut client).await?, key).await
        })
        .await
    }

    async fn revisions(&self, key: &SessionKey) -> Result<Vec<Revision>> {
        self.limited(async { read::revisions(&self.client().await?, key).await }).await
    }

    async fn history(
        &self,
        account: Option<&Account>,
        since: Timestamp,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Recorded>> {
        self.limited(async { read::history(&self.client().await?, account, since, after, limit).await }).await
    }

    async fn find(&self, handle: &str) -> Result<Vec<SessionKey>> {
        self.limited(async { read::find(&self.client().await?, handle).await }).await
    }

    async fn payload(&self, hash: &Hash) -> Result<Option<Payload>> {
        self.limited(async { read::payload(&self.client().await?, hash).await }).await
    }

    async fn verify(&self) -> Result<()> {
        // Part by part, because in all it may take long. What the server itself finds damaged it tells by refusing.
        for table in [read::Table::Payloads, read::Table::Sessions] {
            let mut after = Some(0);
            while let Some(last) = after {
                let part =
                    self.limited(async { read::damage(&self.client().await?, table, last).await }).await?;
                after = part.map_err(|damage| error::damaged_by(self.name(), &damage))?;
            }
        }
        Ok(())
    }

    async fn coverage(&self, account: &Account) -> Result<Vec<Coverage>> {
        self.limited(async { read::coverage(&self.client().await?, account).await }).await
    }

    async fn quarantine(&self, account: Option<&Account>) -> Result<Vec<Quarantined>> {
        self.limited(async { read::quarantine(&self.client().await?, account).await }).await
    }

    async fn release(&self, lease: &dyn Lease, payloads: &[Hash]) -> Result<()> {
        self.limited(async {
            let mut client = self.writer().await?;
            let t = writing(&mut client).await?;
            write::release(&t, lease, payloads).await?;
            Ok(t.commit().await?)
        })
        .await
    }
}
