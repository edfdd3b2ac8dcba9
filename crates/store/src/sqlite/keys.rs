//! Which session has a key: from accounts, kinds and identifiers to numbers. And what is known of sessions whose keys,
//! starts and assets are not entered in their tables yet.

use std::mem;

use charging_sessions_core::{AssetRef, SessionKey};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::{
    Failure,
    assets::{NewRuns, Run},
    prefixes::{ByPrefix, prefix},
    read::{Read, blob},
    sieve::Sieve,
};

/// How many sessions may wait to be entered in `session_keys`, `session_starts` and `asset_runs`. The more of them, the
/// more share a page of these, and the more memory they and sorting them take.
const WAITING: usize = 14_336;
/// Which part of those that are entered may wait, if that is more: else hardly two of them would share a page.
pub(super) const PART: usize = 32;
/// Stands for a start that is not known; before all that are.
pub(super) const NO_START: i64 = i64::MIN;
/// How many a handle has.
const HANDLE: usize = 16;

/// What is in the sieve of a session.
fn sifted(handle: &[u8]) -> u64 {
    prefix(handle, 7).cast_unsigned()
}

/// Up to which session they are entered.
pub(super) fn end(c: &Connection) -> rusqlite::Result<i64> {
    c.prepare_cached("SELECT session_id FROM sessions_entered")?.query_row([], |row| row.get(0))
}

/// The number of a session, if it is known.
pub(super) fn find(c: &Connection, account_id: i64, key: &SessionKey) -> Read<Option<i64>> {
    if let Some(id) = read_entered(&mut entered(c)?, account_id, key)? {
        return Ok(Some(id));
    }
    let handle = key.id();
    let mut alike = Vec::new();
    each_handle(c, end(c)?, |id, other| {
        alike.extend((other == handle.as_bytes()).then_some(id));
        Ok(())
    })?;
    for id in alike {
        if is_of(c, id, account_id, key)? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// What looks a key up that is entered.
pub(super) fn entered(c: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    c.prepare_cached(
        "SELECT session_id FROM session_keys WHERE account_id = ? AND kind = ? AND source_id = ?",
    )
}

fn read_entered(
    entered: &mut CachedStatement<'_>,
    account_id: i64,
    key: &SessionKey,
) -> rusqlite::Result<Option<i64>> {
    entered.query_row((account_id, key.kind.as_str(), &key.source_id), |row| row.get(0)).optional()
}

fn is_of(c: &Connection, id: i64, account_id: i64, key: &SessionKey) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sessions WHERE id = ? AND account_id = ? AND kind = ? AND source_id = ?";
    c.prepare_cached(sql)?.exists((id, account_id, key.kind.as_str(), &key.source_id))
}

/// The number and the handle of each session after `end`.
pub(super) fn each_handle(
    c: &Connection,
    end: i64,
    mut each: impl FnMut(i64, &[u8]) -> Read<()>,
) -> Read<()> {
    let mut all = c.prepare_cached("SELECT first_id, handles FROM handles WHERE first_id > ?")?;
    let mut rows = all.query([end])?;
    while let Some(row) = rows.next()? {
        let mut handles = (row.get::<_, i64>(0)?..).zip(blob(row, 1)?.chunks_exact(HANDLE));
        handles.try_for_each(|(id, handle)| each(id, handle))?;
    }
    Ok(())
}

/// The sessions that are not entered yet, as the one who writes knows them from one batch to the next.
#[derive(Default)]
pub(super) struct Waiting {
    /// Up to which session they are entered.
    end: i64,
    /// The last session that is known here.
    last: i64,
    /// By their handles.
    known: ByPrefix,
    /// By their assets.
    runs: NewRuns,
    /// All sessions up to the last one, by their handles.
    all: Sieve,
}

impl Waiting {
    /// None that waits: all are entered, up to this one.
    fn from(end: i64) -> Self {
        Self { end, last: end, known: ByPrefix::after(end), ..Self::default() }
    }

    /// Learns what others have written since.
    pub(super) fn refresh(&mut self, c: &Connection) -> Read<()> {
        let end = end(c)?;
        if end != self.end {
            *self = Self::from(end);
        }
        let sql = "SELECT id, handle, account_id, vehicle_id, charge_point_id FROM sessions WHERE id > ?";
        let mut added = c.prepare_cached(sql)?;
        let mut rows = added.query([self.last])?;
        while let Some(row) = rows.next()? {
            let text = |column| row.get_ref(column)?.as_str_or_null().map_err(|_| Failure::Damaged);
            self.add(row.get(0)?, blob(row, 1)?, row.get(2)?, text(3)?, text(4)?);
        }
        self.all.renew(usize::try_from(self.last).unwrap_or_default(), |all| {
            each_handle(c, 0, |_, handle| {
                all.add(sifted(handle));
                Ok(())
            })
        })
    }

    /// Adds a session that is new.
    pub(super) fn add(
        &mut self,
        id: i64,
        handle: &[u8],
        account_id: i64,
        vehicle: Option<&str>,
        charge_point: Option<&str>,
    ) {
        self.known.insert(handle, id);
        self.all.add(sifted(handle));
        self.runs.add(id, account_id, vehicle, charge_point);
        self.last = id;
    }

    /// Up to which session they are entered.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// How many are not.
    pub(super) fn len(&self) -> i64 {
        self.last - self.end
    }

    /// The sessions that may be of an asset, in order and none twice.
    pub(super) fn of_asset(
        &self,
        c: &Connection,
        account_id: i64,
        asset: &AssetRef,
    ) -> rusqlite::Result<Vec<Run>> {
        self.runs.of(c, account_id, asset)
    }

    /// The number of a session with this key and its handle, if it is known.
    pub(super) fn find(
        &mut self,
        c: &Connection,
        entered: &mut CachedStatement<'_>,
        account_id: i64,
        key: &SessionKey,
        handle: &[u8],
    ) -> rusqlite::Result<Option<i64>> {
        if self.all.lacks(sifted(handle)) {
            return Ok(None);
        }
        if self.end > 0
            && let Some(id) = read_entered(entered, account_id, key)?
        {
            return Ok(Some(id));
        }
        for id in self.known.of(handle) {
            if is_of(c, id, account_id, key)? {
                return Ok(Some(id));
            }
        }
        self.all.searched_in_vain();
        Ok(None)
    }

    /// Enters them, if there are many.
    pub(super) fn enter_many(&mut self, c: &Connection) -> rusqlite::Result<()> {
        let entered = usize::try_from(self.end).unwrap_or_default();
        if self.known.len() < WAITING.max(entered / PART) { Ok(()) } else { self.enter(c) }
    }

    /// Enters them.
    pub(super) fn enter(&mut self, c: &Connection) -> rusqlite::Result<()> {
        if self.last == self.end {
            return Ok(());
        }
        // They are not looked for any more, and sorting takes memory, too.
        self.known = ByPrefix::default();
        let sql = "INSERT INTO session_keys (account_id, kind, source_id, session_id) \
                   SELECT account_id, kind, source_id, id FROM sessions WHERE id > ? \
                   ORDER BY account_id, kind, source_id";
        c.prepare_cached(sql)?.execute([self.end])?;
        let sql = "INSERT INTO session_starts (account_id, start_us, session_id) \
                   SELECT account_id, coalesce(start_us, ?), id FROM sessions WHERE id > ? ORDER BY 1, 2, 3";
        c.prepare_cached(sql)?.execute([NO_START, self.end])?;
        mem::take(&mut self.runs).enter(c)?;
        c.prepare_cached("UPDATE sessions_entered SET session_id = ?")?.execute(params![self.last])?;
        *self = Self { all: mem::take(&mut self.all), ..Self::from(self.last) };
        Ok(())
    }
}
