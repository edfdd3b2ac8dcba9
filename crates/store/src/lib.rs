//! Where a copy of all sessions is kept: what is true now, what was true before, and the bytes it was read from.
//!
//! [`SessionStore`] is the contract. A store is written by one run at a time for each account, and read by anybody
//! at any time.
//!
//! | feature | store |
//! |---|---|
//! | `sqlite`, the default | `SqliteStore`: one file on one machine, or memory |
//! | `postgres` | `PostgresStore`: a schema of a PostgreSQL database, for several programs and machines |
//!
//! Both hold the same views, and pass the same tests.

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

use std::fmt;

use async_trait::async_trait;
use charging_sessions_core::{
    AccountId, AssetRef, ChargingSession, Cursor, Payload, ProviderId, RecordKind, RejectedRecord, Result,
    SessionKey, SessionStatus, TimeWindow,
};
use jiff::Timestamp;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod columns;
mod hash;
#[cfg(feature = "postgres")]
mod postgres;
mod prepared;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use hash::{Hash, InvalidHash, content_hash};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresOptions, PostgresPool, PostgresStore};
pub use prepared::Prepared;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// One account at one provider: what a run writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The provider.
    pub provider: ProviderId,
    /// The user's own name for the account.
    pub account: AccountId,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.account)
    }
}

/// A part of an account that is listed as a whole: what starts in a window, of all assets or of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// What starts in this window; whatever the time, if there is none.
    pub window: Option<TimeWindow>,
    /// Of this asset; of all, if there is none.
    pub asset: Option<AssetRef>,
    /// Of these kinds of records, because one account may be listed at several levels. Their order is no difference;
    /// without any, nothing can vanish.
    pub kinds: Vec<RecordKind>,
}

/// The right to write to one account, from [`SessionStore::begin`] until it is dropped or the process ends.
///
/// It carries an epoch, and every write states it: a run that was stopped for a while and then goes on, while
/// another has taken over, is refused instead of writing over it.
pub trait Lease: fmt::Debug + Send + Sync {
    /// What may be written to.
    fn account(&self) -> &Account;
    /// The number of this run among all of the account, rising.
    fn epoch(&self) -> u64;
}

/// What a page of a listing brings, or several in a row. It is written as one: the rows and the place after them, or
/// nothing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Batch {
    /// The part of the account that is being listed.
    pub slice: Slice,
    /// The place that the page was read from: what the store has as the place in this slice, or the write is refused.
    pub from: Option<Cursor>,
    /// The place after the page. `None` at the end of the listing.
    pub next: Option<Cursor>,
    /// Sessions of the page.
    pub sessions: Vec<ChargingSession>,
    /// What the same store has made of the sessions [beforehand](SessionStore::prepare). If it is another store's, or not
    /// of as many, it is not used.
    pub prepared: Prepared,
    /// Records that could not be mapped.
    pub rejected: Vec<RejectedRecord>,
    /// When it was read: when the first of its pages was asked for, because a later change may not be in it.
    pub at: Timestamp,
}

impl Batch {
    /// A page of `slice`, read from `from`.
    pub fn new(slice: Slice, from: Option<Cursor>, at: Timestamp) -> Self {
        let (sessions, rejected, prepared) = (Vec::new(), Vec::new(), Prepared::default());
        Self { slice, from, next: None, sessions, prepared, rejected, at }
    }
}

/// What a write changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Records that were not known.
    pub new: Vec<SessionKey>,
    /// Records whose content is another than before, also if they have [returned](Self::returned).
    pub changed: Vec<SessionKey>,
    /// How many records are as they were. None that has returned.
    pub unchanged: u64,
    /// Records that had vanished and are there again.
    pub returned: Vec<SessionKey>,
    /// Records that are no longer in a part of the account that was read as a whole.
    pub vanished: Vec<SessionKey>,
    /// How many rejected records were put in quarantine that were not there already.
    pub quarantined: u64,
}

/// A part of an account that was read as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// The part.
    pub slice: Slice,
    /// When the reading of it began.
    pub began_at: Timestamp,
    /// When its end was reached.
    pub completed_at: Timestamp,
}

/// A session as it is known now.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredSession {
    /// The record, with all that is known of its parent and its relations, and the latest version of the mapping that
    /// made the same of it. Its payload is not loaded: ask for it by [`payload`](Self::payload).
    pub session: ChargingSession,
    /// How often it has changed, from 1.
    pub revision: u32,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// When it last came in a page.
    pub last_seen_at: Timestamp,
    /// Since when it is no longer listed, if it has vanished.
    pub missing_since: Option<Timestamp>,
    /// What its content hashes to.
    pub content: Hash,
    /// Where its payload is kept, if it had one.
    pub payload: Option<Hash>,
}

/// Why there is another revision of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It was not known.
    New,
    /// The provider gave it with another content.
    Changed,
    /// It was in a part of the account that was read as a whole, and is there no longer.
    Vanished,
    /// It had vanished and is there again, with the same content or another.
    Returned,
    /// The same payload was mapped anew, by another version of the mapping.
    Remapped,
}

impl Reason {
    /// A stable lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Vanished => "vanished",
            Self::Returned => "returned",
            Self::Remapped => "remapped",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One state of a record. Revisions are only ever added.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Revision {
    /// Its number, from 1.
    pub number: u32,
    /// When it was written.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// The record as it was then, without its payload.
    pub session: ChargingSession,
    /// What its content hashes to.
    pub content: Hash,
    /// Where its payload is kept.
    pub payload: Option<Hash>,
}

/// A revision, as it stands in the history of the whole store.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recorded {
    /// Its place among all revisions of the store. Places rise, and some may be left out.
    pub position: u64,
    /// What was written.
    pub revision: Revision,
    /// The record as it was before, without its payload; `None` if it was not known.
    pub before: Option<ChargingSession>,
}

/// A record that could not be mapped, kept until a later release can.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quarantined {
    /// Of which account.
    pub account: Account,
    /// The record, with its bytes and the reason.
    pub record: RejectedRecord,
    /// When it first came.
    pub first_seen_at: Timestamp,
    /// When it last came.
    pub last_seen_at: Timestamp,
}

/// Which sessions to read from a store. All conditions must hold; those that are not given hold always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Of this provider.
    pub provider: Option<ProviderId>,
    /// Of this account.
    pub account: Option<AccountId>,
    /// That start in this window. Sessions without a start are left out.
    pub window: Option<TimeWindow>,
    /// Of this kind.
    pub kind: Option<RecordKind>,
    /// Of this status.
    pub status: Option<SessionStatus>,
    /// Of this vehicle or charge point, by the provider's identifier.
    pub asset: Option<AssetRef>,
    /// Only those that are still there, or only those that have vanished.
    pub vanished: Option<bool>,
}

/// How a run ended, for the log of runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunReport {
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How many requests it cost, sign-in and retries included.
    pub requests: u64,
    /// How many records were new, changed, unchanged, returned, vanished and quarantined.
    pub counts: [u64; 6],
    /// What ended it before its time, if something did.
    pub error: Option<String>,
}

/// Keeps sessions. Implemented in this crate by SQLite, and by PostgreSQL with the feature `postgres`.
///
/// # Contract
///
/// - What a method writes, it writes as one: after a crash, all of it is there or nothing.
/// - Writing the same batch again changes nothing but the times at which records were seen.
/// - Revisions, payloads and runs are only ever added.
/// - Times of the store, and the starts that windows are compared with, may be cut to the microsecond. Records are not.
///
/// Errors of the store itself are of [`ErrorKind::Storage`](charging_sessions_core::ErrorKind::Storage), and say
/// what to do; a writer that is not alone, or no longer the one, gets
/// [`ErrorKind::Conflict`](charging_sessions_core::ErrorKind::Conflict).
#[async_trait]
pub trait SessionStore: fmt::Debug + Send + Sync {
    /// Begins to write to an account.
    ///
    /// # Errors
    ///
    /// `Conflict` if another run is writing to it.
    async fn begin(&self, account: &Account, now: Timestamp) -> Result<Box<dyn Lease>>;

    /// The place in the listing of a slice at which a run was interrupted; `None` if none was.
    async fn place(&self, account: &Account, slice: &Slice) -> Result<Option<Cursor>>;

    /// Makes of sessions of an account what can be made of them before they are written, for
    /// [`Batch::prepared`]: so part of the work is done while the next page is read and the one before is written. It
    /// takes the time of a processor and waits for nothing. To leave it out changes nothing but how long a write takes.
    fn prepare(&self, account: &Account, sessions: &[ChargingSession]) -> Prepared;

    /// Writes a page, and moves the place in its slice. For each session: unknown keys are added; another
    /// [content](content_hash) is a new revision; the same content changes nothing but when it was seen. A parent that
    /// is known is not forgotten when the record comes without it, nor are intervals that were fetched, unless the
    /// energy is another. A session whose identifier is in quarantine leaves it.
    ///
    /// At the end of the listing, when [`Batch::next`] is `None`, the slice is covered; what is in the store for it and
    /// did not come since the listing began has vanished, which is a revision, too. Nothing is ever deleted. A record
    /// that was rejected has come, if its identifier is known; if it is not, nothing vanishes at the end of this listing.
    /// A session without a start does not vanish from a slice with a window.
    ///
    /// Of records with the same key in one batch, the last counts.
    ///
    /// # Errors
    ///
    /// `Conflict` if the lease is not the latest of the account, or if the place in the slice is not the one that the
    /// page was read from. `Storage` if a record belongs to another account.
    async fn commit(&self, lease: &dyn Lease, batch: Batch) -> Result<Changes>;

    /// Gives up the place in a slice, so that its listing starts again: for a cursor that the provider refuses.
    async fn restart(&self, lease: &dyn Lease, slice: &Slice) -> Result<()>;

    /// Writes what a newer mapping makes of stored payloads, as revisions of their own reason. Content that is the
    /// same changes nothing but the version of the mapping. It says nothing about what is listed: what has vanished
    /// stays so. Unknown keys, out of quarantine, are new. A record without a payload keeps the one it had.
    async fn remap(
        &self,
        lease: &dyn Lease,
        sessions: Vec<ChargingSession>,
        now: Timestamp,
    ) -> Result<Changes>;

    /// Notes how a run ended.
    async fn log_run(&self, lease: &dyn Lease, run: &RunReport) -> Result<()>;

    /// The runs of an account, the latest first, at most `limit`.
    async fn runs(&self, account: &Account, limit: u32) -> Result<Vec<RunReport>>;

    /// The accounts that have ever been written to.
    async fn accounts(&self) -> Result<Vec<Account>>;

    /// Sessions, at most `limit`, beginning after the key `after`, which need not be there. In the order of provider,
    /// account, the word of the kind and the identifier, as text.
    async fn sessions(
        &self,
        filter: &Filter,
        after: Option<&SessionKey>,
        limit: u32,
    ) -> Result<Vec<StoredSession>>;

    /// One session.
    async fn session(&self, key: &SessionKey) -> Result<Option<StoredSession>>;

    /// Everything that a session has been, oldest first.
    async fn revisions(&self, key: &SessionKey) -> Result<Vec<Revision>>;

    /// Revisions that were written at `since` or later, of one account or of all, in the order in which they were
    /// written, at most `limit`, beginning after the position `after`.
    ///
    /// Whoever goes on from the last position that was read misses none: a revision never appears before one that has
    /// been seen.
    async fn history(
        &self,
        account: Option<&Account>,
        since: Timestamp,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Recorded>>;

    /// Sessions whose [handle](SessionKey::id) begins with these hexadecimal digits, with or without its hyphens; at
    /// most 10. None if they are no digits.
    async fn find(&self, handle: &str) -> Result<Vec<SessionKey>>;

    /// Bytes that were received.
    async fn payload(&self, hash: &Hash) -> Result<Option<Payload>>;

    /// What has been read as a whole, by the start of its window; first what has none. Each slice once, as it was last.
    async fn coverage(&self, account: &Account) -> Result<Vec<Coverage>>;

    /// Records that could not be mapped, of one account or of all.
    async fn quarantine(&self, account: Option<&Account>) -> Result<Vec<Quarantined>>;

    /// Looks for damage, which means to read everything: that the database is sound, that each record can be read, and
    /// that each payload is still what it was when it came.
    ///
    /// # Errors
    ///
    /// `Storage` that says what is damaged.
    async fn verify(&self) -> Result<()>;

    /// Takes records out of quarantine, because they can be mapped now.
    async fn release(&self, lease: &dyn Lease, payloads: &[Hash]) -> Result<()>;
}

/// Sessions of a store from first to last, some at a time, in the order of keys.
///
/// ```
/// # async fn example(store: &dyn charging_sessions_store::SessionStore) -> charging_sessions_core::Result<()> {
/// use charging_sessions_store::{Filter, Rows};
///
/// let mut rows = Rows::new(store, Filter::default());
/// while let Some(several) = rows.next().await? {
///     several.iter().for_each(|row| println!("{}", row.session.key()));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Rows<'a> {
    store: &'a dyn SessionStore,
    filter: Filter,
    after: Option<SessionKey>,
    ended: bool,
}

impl<'a> Rows<'a> {
    /// How many sessions are taken from the store at once.
    const MOST: u32 = 1000;

    /// Those that the filter lets through.
    pub fn new(store: &'a dyn SessionStore, filter: Filter) -> Self {
        Self { store, filter, after: None, ended: false }
    }

    /// The next ones, at least one; `None` after the last.
    ///
    /// # Errors
    ///
    /// As [`SessionStore::sessions`].
    pub async fn next(&mut self) -> Result<Option<Vec<StoredSession>>> {
        if self.ended {
            return Ok(None);
        }
        let rows = self.store.sessions(&self.filter, self.after.as_ref(), Self::MOST).await?;
        self.ended = rows.len() < Self::MOST as usize;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = Some(last.session.key().clone());
        Ok(Some(rows))
    }
}

// The trait stays usable as `dyn`.
const _: fn(&dyn SessionStore) = |_| {};
