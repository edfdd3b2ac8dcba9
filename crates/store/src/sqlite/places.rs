//! Where payloads are: from the first bytes of their hashes to their numbers.

use std::mem;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    keys::PART,
    prefixes::{ByPrefix, prefix},
    sieve::Sieve,
};
use crate::Hash;

/// How many bytes of a hash are kept in the tables: they tell nearly all hashes apart, and the row itself decides.
const BYTES: usize = 5;
/// How many payloads are new until their places are merged with all others, in order, if that is not less than the [`PART`]
/// of sessions that may wait. More of them would have to be kept in memory, fewer be merged with more walks through all.
const NEW: usize = 8192;

/// The payloads whose places were not merged yet, as the one who writes knows them from one batch to the next.
#[derive(Default)]
pub(super) struct Places {
    /// The first of them.
    first: Option<i64>,
    /// The last payload that is known here.
    last: i64,
    known: ByPrefix,
    /// All payloads up to the last one.
    all: Sieve,
    /// The first bytes of those of this batch.
    batch: Vec<u8>,
}

impl Places {
    /// Learns what others have written since; up to the payload `last`, which is the latest.
    pub(super) fn refresh(&mut self, c: &Connection, last: i64) -> rusqlite::Result<()> {
        let mut first = c.prepare_cached("SELECT min(first_id) FROM new_payload_places")?;
        let first: Option<i64> = first.query_row([], |row| row.get(0))?;
        if first != self.first {
            // Somebody else has merged them, or begun anew after a merging.
            *self = Self { first, ..Self::default() };
        }
        each_new(c, self.last, |bytes, id| self.learn(bytes, id))?;
        if self.last != last {
            // So there are some of which nothing was learnt.
            self.all = Sieve::default();
            self.last = last;
        }
        let known = &self.known;
        self.all.renew(usize::try_from(last).unwrap_or_default(), |all| {
            let mut merged = c.prepare_cached("SELECT prefix FROM payload_places")?;
            let mut rows = merged.query([])?;
            while let Some(row) = rows.next()? {
                all.add(row.get::<_, i64>(0)?.cast_unsigned());
            }
            known.prefixes().for_each(|prefix| all.add(prefix.cast_unsigned()));
            Ok(())
        })
    }

    fn learn(&mut self, bytes: &[u8], id: i64) {
        let prefix = prefix(bytes, BYTES);
        self.known.insert(prefix, id);
        self.all.add(prefix.cast_unsigned());
        self.last = id;
    }

    /// The number of the payload with this hash, if it is kept.
    pub(super) fn find(&mut self, c: &Connection, hash: &Hash) -> rusqlite::Result<Option<i64>> {
        let prefix = prefix(hash.as_bytes(), BYTES);
        if self.all.lacks(prefix.cast_unsigned()) {
            return Ok(None);
        }
        for id in self.known.of(prefix) {
            if is_of(c, id, hash)? {
                return Ok(Some(id));
            }
        }
        let found = find_merged(c, hash)?;
        if found.is_none() {
            self.all.searched_in_vain();
        }
        Ok(found)
    }

    /// Adds a payload that was kept, whose number is the next one.
    pub(super) fn add(&mut self, hash: &Hash, id: i64) {
        self.learn(hash.as_bytes(), id);
        self.batch.extend_from_slice(&hash.as_bytes()[..BYTES]);
    }

    /// Writes down what was added.
    pub(super) fn store(&mut self, c: &Connection) -> rusqlite::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let first = self.last + 1 - (self.batch.len() / BYTES) as i64;
        let merged = usize::try_from(self.last).unwrap_or_default();
        if self.known.len() < NEW.max(merged / PART) {
            let sql = "INSERT INTO new_payload_places (first_id, prefixes) VALUES (?, ?)";
            c.prepare_cached(sql)?.execute(params![first, self.batch])?;
            self.first = self.first.or(Some(first));
        } else {
            let mut insert =
                c.prepare_cached("INSERT INTO payload_places (prefix, payload_id) VALUES (?, ?)")?;
            for place in mem::take(&mut self.known).in_order() {
                insert.execute(place)?;
            }
            c.execute("DELETE FROM new_payload_places", [])?;
            self.first = None;
        }
        self.batch.clear();
        Ok(())
    }
}

/// The number of the payload with this hash, if it is kept. For one payload: it reads the new places from end to end.
pub(super) fn find(c: &Connection, hash: &Hash) -> rusqlite::Result<Option<i64>> {
    let mut alike = Vec::new();
    each_new(c, 0, |bytes, id| alike.extend(hash.as_bytes().starts_with(bytes).then_some(id)))?;
    for id in alike {
        if is_of(c, id, hash)? {
            return Ok(Some(id));
        }
    }
    find_merged(c, hash)
}

fn find_merged(c: &Connection, hash: &Hash) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT p.id FROM payload_places o JOIN payloads p ON p.id = o.payload_id \
               WHERE o.prefix = ? AND p.hash = ?";
    let mut found = c.prepare_cached(sql)?;
    found.query_row((prefix(hash.as_bytes(), BYTES), hash.as_bytes()), |row| row.get(0)).optional()
}

fn is_of(c: &Connection, id: i64, hash: &Hash) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM payloads WHERE id = ? AND hash = ?")?.exists((id, hash.as_bytes()))
}

/// The first bytes of each new payload after `last`, and its number.
fn each_new(c: &Connection, last: i64, mut each: impl FnMut(&[u8], i64)) -> rusqlite::Result<()> {
    let sql = "SELECT first_id, prefixes FROM new_payload_places WHERE first_id > ? ORDER BY first_id";
    let mut all = c.prepare_cached(sql)?;
    let mut rows = all.query([last])?;
    while let Some(row) = rows.next()? {
        let first: i64 = row.get(0)?;
        let prefixes = row.get_ref(1)?.as_blob()?.chunks_exact(BYTES);
        (first..).zip(prefixes).for_each(|(id, prefix)| each(prefix, id));
    }
    Ok(())
}
