//! Sessions in an SQLite file.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt,
    fs::File,
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use charging_sessions_core::{ChargingSession, Cursor, Error, ErrorKind, Payload, Result, SessionKey};
use jiff::{Timestamp, tz::TimeZone};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    Account, Batch, Changes, Coverage, Filter, Hash, Lease, Prepared, Quarantined, Recorded, Revision,
    RunReport, SessionStore, Slice, StoredSession, columns::Damaged,
};

mod assets;
mod error;
mod keys;
mod log;
mod pack;
mod places;
mod prefixes;
mod prepare;
mod read;
mod schema;
mod sieve;
mod write;

pub(crate) use prepare::PreparedPage;

/// Page cache of the connection that writes. Most of what a sync takes in memory, and of little use beyond this: what is
/// not in it is in the cache of the system.
const WRITER_CACHE_KIB: u32 = 2 * 1024;
/// Page cache of each connection that reads.
const READER_CACHE_KIB: u32 = 4 * 1024;
/// How many readers work at once; more wait.
const READERS: usize = 4;

/// A [`SessionStore`] in one SQLite file, or in memory.
///
/// Clones share it. Reading does not wait for writing, nor the other way round. Instants of the store itself, and the
/// starts that windows are compared with, are kept to the microsecond; records are kept exactly.
///
/// The file may be read by any program while it is in use: the views `v_sessions` (one row for each session that is
/// there) and `v_months` are meant for that, and do not change their columns. Beside it lie SQLite's own `-wal` and
/// `-shm`, and one empty `-lock-` file for each account.
///
/// Its methods need a Tokio runtime, on whose threads for blocking work SQLite is called. A future that is dropped
/// does not undo what it has begun.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    zone: TimeZone,
}

struct Shared {
    /// `None` in memory.
    path: Option<PathBuf>,
    /// Idle connections. Closed before the writer: the last connection folds the `-wal` into the file, and one that may
    /// only read cannot.
    readers: Mutex<Vec<Connection>>,
    copier: log::Copier,
    /// `None` if the store was opened for reading only.
    writer: Option<Mutex<Writer>>,
    permits: Arc<Semaphore>,
    /// Accounts that are written to, in memory.
    held: Arc<Mutex<HashSet<i64>>>,
    /// What is known of those that were.
    outlooks: Mutex<HashMap<Account, prepare::Outlook>>,
    /// Tells what this store has prepared from what another one has.
    mark: Arc<()>,
}

/// The connection that writes, and what it knows from one write to the next.
struct Writer {
    connection: Connection,
    waiting: keys::Waiting,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens a store, and makes it if the file does not exist or is empty. One of an older release is brought up to
    /// date.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`], with what to do: if the folder does not exist or must not be written to, or if the file
    /// is not a store of ours, damaged, locked for ten seconds, or made by a newer release.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if let Some(folder) =
            path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
        {
            let why =
                format!("cannot be made, because there is no folder {}; make it first", folder.display());
            return Err(error::storage(Some(path), &why));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let sqlite = |e| error::sqlite(Some(path), e);
        let mut writer = connect(path, flags, WRITER_CACHE_KIB).map_err(sqlite)?;
        schema::migrate(&mut writer, Some(path))?;
        schema::configure_writer(&writer).map_err(sqlite)?;
        log::watch(&writer);
        // Two names of one file share their locks.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self::new(Some(path), Some(writer)))
    }

    /// Opens a store that must exist, for reading only. Whatever would write fails.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`], with what to do: if there is no such file, it is not a store of ours, damaged, or made
    /// by another release.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.exists() {
            return Err(error::storage(Some(path), "does not exist; check the name, or sync into it first"));
        }
        let sqlite = |e| error::sqlite(Some(path), e);
        let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB).map_err(sqlite)?;
        schema::check(&reader, Some(path))?;
        let store = Self::new(Some(path.to_owned()), None);
        lock(&store.shared.readers).push(reader);
        Ok(store)
    }

    /// Makes a store that is gone when it is dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] if there is no memory.
    pub fn open_in_memory() -> Result<Self> {
        let sqlite = |e| error::sqlite(None, e);
        let mut writer = Connection::open_in_memory().map_err(sqlite)?;
        schema::configure(&writer, WRITER_CACHE_KIB).map_err(sqlite)?;
        schema::migrate(&mut writer, None)?;
        Ok(Self::new(None, Some(writer)))
    }

    /// Takes this zone for the days and months of sessions that name none, or one that is not known; else it is UTC.
    #[must_use]
    pub fn with_zone(mut self, zone: TimeZone) -> Self {
        self.zone = zone;
        self
    }

    /// Waits so long for other programs that lock the file, instead of ten seconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] if SQLite refuses.
    pub fn with_busy_timeout(self, timeout: Duration) -> Result<Self> {
        let shared = &self.shared;
        let set = |writer: &Mutex<Writer>| lock(writer).connection.busy_timeout(timeout);
        let writer = shared.writer.as_ref().map_or(Ok(()), set);
        writer.map_err(|e| error::sqlite(shared.path.as_deref(), e))?;
        Ok(self)
    }

    fn new(path: Option<PathBuf>, writer: Option<Connection>) -> Self {
        let shared = Shared {
            path,
            writer: writer
                .map(|connection| Mutex::new(Writer { connection, waiting: keys::Waiting::default() })),
            readers: Mutex::default(),
            copier: log::Copier::default(),
            permits: Arc::new(Semaphore::new(READERS)),
            held: Arc::default(),
            outlooks: Mutex::default(),
            mark: Arc::default(),
        };
        Self { shared: Arc::new(shared), zone: TimeZone::UTC }
    }

    /// Runs one write as one transaction, which is undone unless it succeeds.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Writing<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let store = self.clone();
        blocking(move || {
            let shared = &store.shared;
            let path = shared.path.as_deref();
            let Some(writer) = &shared.writer else {
                return Err(error::storage(path, "was opened for reading only; open it for writing"));
            };
            let sqlite = |e| error::sqlite(path, e);
            let Writer { connection, waiting } = &mut *lock(writer);
            // Taking the lock first means that nothing can change between what is read and what is written.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
            // Of a write that is undone nothing is known afterwards.
            let (now_waiting, outlook) = (RefCell::new(mem::take(waiting)), RefCell::new(None));
            let writing = Writing {
                transaction: &transaction,
                shared,
                zone: &store.zone,
                waiting: &now_waiting,
                outlook: &outlook,
            };
            let result = work(&writing).map_err(|failure| failure.at(path))?;
            transaction.commit().map_err(sqlite)?;
            *waiting = now_waiting.into_inner();
            lock(&shared.outlooks).extend(outlook.into_inner());
            log::committed(shared);
            Ok(result)
        })
        .await
    }

    /// Runs one read, all of whose parts see the same state.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let permit =
            Arc::clone(&shared.permits).acquire_owned().await.map_err(|e| stopped().with_source(e))?;
        blocking(move || {
            // Held until the work is done, even if nobody waits for it any more.
            let _permit = permit;
            let path = shared.path.as_deref();
            let with = |connection: &mut Connection| {
                let transaction = connection.transaction()?;
                work(&transaction)
            };
            let result = match (&shared.writer, path) {
                (Some(writer), None) => with(&mut lock(writer).connection),
                (_, path) => {
                    let idle = lock(&shared.readers).pop();
                    let mut reader = match idle.map_or_else(|| shared.reader(), Ok) {
                        Ok(reader) => reader,
                        Err(e) => return Err(error::sqlite(path, e)),
                    };
                    let result = with(&mut reader);
                    if result.is_ok() {
                        lock(&shared.readers).push(reader);
                    }
                    result
                }
            };
            result.map_err(|failure| failure.at(path))
        })
        .await
    }
}

impl Shared {
    fn reader(&self) -> rusqlite::Result<Connection> {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB)
    }
}

fn connect(path: &Path, flags: OpenFlags, cache_kib: u32) -> rusqlite::Result<Connection> {
    // Each connection is behind a lock of ours.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    schema::configure(&connection, cache_kib)?;
    Ok(connection)
}

/// A panic under a lock leaves no half-written state here: SQLite undoes the transaction.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|e| stopped().with_source(e))?
}

fn stopped() -> Error {
    Error::new(ErrorKind::Storage, "the store was stopped while it worked; open it again")
}

/// Why something failed, before it is known in which file.
enum Failure {
    Sqlite(rusqlite::Error),
    /// Something that the text of the error says by itself.
    Refused(Error),
    /// What is stored does not read back.
    Damaged,
}

impl Failure {
    fn at(self, path: Option<&Path>) -> Error {
        match self {
            Self::Sqlite(e) => error::sqlite(path, e),
            Self::Refused(error) => error,
            Self::Damaged => error::damaged(path),
        }
    }
}

impl From<Damaged> for Failure {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A write that is going on.
struct Writing<'a> {
    transaction: &'a Transaction<'a>,
    shared: &'a Shared,
    zone: &'a TimeZone,
    waiting: &'a RefCell<keys::Waiting>,
    /// What is known of the account afterwards.
    outlook: &'a RefCell<Option<(Account, prepare::Outlook)>>,
}

/// The right to write, with what holds it.
#[derive(Debug)]
struct SqliteLease {
    account: Account,
    epoch: u64,
    _hold: Hold,
}

impl Lease for SqliteLease {
    fn account(&self) -> &Account {
        &self.account
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// Lets go when it is dropped; the file also when the process ends, however it does.
enum Hold {
    File { _locked: File },
    Memory(Arc<Mutex<HashSet<i64>>>, i64),
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Self::Memory(held, id) = self {
            lock(held).remove(id);
        }
    }
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn begin(&self, account: &Account, now: Timestamp) -> Result<Box<dyn Lease>> {
        let account = account.clone();
        self.write(move |w| Ok(Box::new(w.begin(account, now)?) as Box<dyn Lease>)).await
    }

    async fn place(&self, account: &Account, slice: &Slice) -> Result<Option<Cursor>> {
        let (account, slice) = (account.clone(), slice.clone());
        self.read(move |t| read::place(t, &account, &slice)).await
    }

    fn prepare(&self, account: &Account, sessions: &[ChargingSession]) -> Prepared {
        let outlook = lock(&self.shared.outlooks).get(account).cloned();
        Prepared { pages: vec![prepare::page(sessions, outlook.as_ref(), Arc::clone(&self.shared.mark))] }
    }

    async fn commit(&self, lease: &dyn Lease, batch: Batch) -> Result<Changes> {
        let (account, epoch) = (lease.account().clone(), lease.epoch());
        // Given up here and not by the thread that writes: it is likely that the sessions were made here, and an allocator
        // has one thread wait for another that gives up what it has made.
        let batch = Arc::new(batch);
        let written = Arc::clone(&batch);
        let changes = self.write(move |w| w.commit(&account, epoch, &written)).await;
        drop(batch);
        changes
    }

    async fn restart(&self, lease: &dyn Lease, slice: &Slice) -> Result<()> {
        let (account, epoch, slice) = (lease.account().clone(), lease.epoch(), slice.clone());
        self.write(move |w| w.restart(&account, epoch, &slice)).await
    }

    async fn remap(
        &self,
        lease: &dyn Lease,
        sessions: Vec<ChargingSession>,
        now: Timestamp,
    ) -> Result<Changes> {
        let (account, epoch) = (lease.account().clone(), lease.epoch());
        self.write(move |w| w.remap(&account, epoch, &sessions, now)).await
    }

    async fn log_run(&self, lease: &dyn Lease, run: &RunReport) -> Result<()> {
        let (account, epoch, run) = (lease.account().clone(), lease.epoch(), run.clone());
        self.write(move |w| w.log_run(&account, epoch, &run)).await
    }

    async fn runs(&self, account: &Account, limit: u32) -> Result<Vec<RunReport>> {
        let account = account.clone();
        self.read(move |t| read::runs(t, &account, limit)).await
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        self.read(|t| read::accounts(t)).await
    }

    async fn sessions(
        &self,
        filter: &Filter,
        after: Option<&SessionKey>,
        limit: u32,
    ) -> Result<Vec<StoredSession>> {
        let (filter, after) = (filter.clone(), after.cloned());
        self.read(move |t| read::sessions(t, &filter, after.as_ref(), limit)).await
    }

    async fn session(&self, key: &SessionKey) -> Result<Option<StoredSession>> {
        let key = key.clone();
        self.read(move |t| read::session(t, &key)).await
    }

    async fn revisions(&self, key: &SessionKey) -> Result<Vec<Revision>> {
        let key = key.clone();
        self.read(move |t| read::revisions(t, &key)).await
    }

    async fn history(
        &self,
        account: Option<&Account>,
        since: Timestamp,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Recorded>> {
        let account = account.cloned();
        self.read(move |t| read::history(t, account.as_ref(), since, after, limit)).await
    }

    async fn find(&self, handle: &str) -> Result<Vec<SessionKey>> {
        let handle = handle.to_owned();
        self.read(move |t| read::find(t, &handle)).await
    }

    async fn payload(&self, hash: &Hash) -> Result<Option<Payload>> {
        let hash = *hash;
        self.read(move |t| read::payload(t, &hash)).await
    }

    async fn verify(&self) -> Result<()> {
        let path = self.shared.path.clone();
        let damage = self.read(|t| read::damage(t)).await?;
        damage.map_or(Ok(()), |damage| Err(error::damaged_by(path.as_deref(), &damage)))
    }

    async fn coverage(&self, account: &Account) -> Result<Vec<Coverage>> {
        let account = account.clone();
        self.read(move |t| read::coverage(t, &account)).await
    }

    async fn quarantine(&self, account: Option<&Account>) -> Result<Vec<Quarantined>> {
        let account = account.cloned();
        self.read(move |t| read::quarantine(t, account.as_ref())).await
    }

    async fn release(&self, lease: &dyn Lease, payloads: &[Hash]) -> Result<()> {
        let (account, epoch, payloads) = (lease.account().clone(), lease.epoch(), payloads.to_vec());
        self.write(move |w| w.release(&account, epoch, &payloads)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use charging_sessions_core::{AccountId, Endpoint, Provenance, ProviderId, RecordKind, SessionStatus};

    fn account() -> Account {
        Account { provider: ProviderId::new("x"), account: AccountId::default() }
    }

    fn batch(number: usize) -> Batch {
        let slice = Slice { window: None, asset: None, kinds: vec![RecordKind::Charge] };
        let mut batch = Batch::new(slice, None, Timestamp::UNIX_EPOCH);
        batch.sessions = (0..number)
            .map(|id| {
                let Account { provider, account } = account();
                let key = SessionKey::new(provider, account, RecordKind::Charge, id.to_string());
                let origin = Provenance::new(Endpoint::new("GET /", None), Timestamp::UNIX_EPOCH, 1);
                ChargingSession::new(key, SessionStatus::Completed, origin)
            })
            .collect();
        batch
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_and_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("sessions.db")).unwrap();
        let lease = store.begin(&account(), Timestamp::UNIX_EPOCH).await.unwrap();
        store.commit(&*lease, batch(1)).await.unwrap();
        // Simulated: SQLite answers the same when its limit of pages is reached as when the system has no space.
        let limit = |pages: u32| {
            let writer = store.shared.writer.as_ref().unwrap().lock().unwrap();
            writer.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
        };
        limit(1);
        let error = store.commit(&*lease, batch(2000)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("disk is full; make room"), "{error}");
        assert_eq!(store.sessions(&Filter::default(), None, 9).await.unwrap().len(), 1);
        limit(1_000_000);
        assert_eq!(store.commit(&*lease, batch(2000)).await.unwrap().new.len(), 1999);
        store.verify().await.unwrap();
    }

    #[test]
    fn every_version_is_brought_up_to_date() {
        // An empty file is version 0; the current one stays as it is.
        for prepared in [0, 1] {
            let mut connection = Connection::open_in_memory().unwrap();
            for _ in 0..prepared {
                schema::migrate(&mut connection, None).unwrap();
            }
            schema::migrate(&mut connection, None).unwrap();
            schema::check(&connection, None).unwrap();
        }
    }
}
