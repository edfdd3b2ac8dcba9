//! Where payloads are: from the first bytes of their hashes to their numbers.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::prefixes::{ByPrefix, prefix};
use crate::Hash;

/// How many bytes of a hash are kept in the tables: they tell nearly all hashes apart, and the row itself decides.
const BYTES: usize = 5;
/// How many payloads are new until their places are merged with all others, in order. More of them would have to be read
/// for each batch, fewer be merged with more walks through all.
const NEW: usize = 8192;

/// The payloads whose places were not merged yet, and those of the batch that is being written.
pub(super) struct NewPlaces {
    known: ByPrefix,
    /// The first payload of this batch, and the bytes of those in it.
    batch: Option<(i64, Vec<u8>)>,
}

impl NewPlaces {
    pub(super) fn load(c: &Connection) -> rusqlite::Result<Self> {
        let mut places = Self { known: ByPrefix::default(), batch: None };
        each_new(c, |bytes, id| places.known.insert(prefix(bytes, BYTES), id))?;
        Ok(places)
    }

    /// The number of the payload with this hash, if it is kept.
    pub(super) fn find(&self, c: &Connection, hash: &Hash) -> rusqlite::Result<Option<i64>> {
        for id in self.known.of(prefix(hash.as_bytes(), BYTES)) {
            if is_of(c, id, hash)? {
                return Ok(Some(id));
            }
        }
        find_merged(c, hash)
    }

    /// Adds a payload that was kept, whose number is the next one.
    pub(super) fn add(&mut self, hash: &Hash, id: i64) {
        self.known.insert(prefix(hash.as_bytes(), BYTES), id);
        let (_, bytes) = self.batch.get_or_insert_with(|| (id, Vec::new()));
        bytes.extend_from_slice(&hash.as_bytes()[..BYTES]);
    }

    /// Writes down what was added.
    pub(super) fn store(self, c: &Connection) -> rusqlite::Result<()> {
        let Some((first, bytes)) = self.batch else { return Ok(()) };
        if self.known.len() < NEW {
            let sql = "INSERT INTO new_payload_places (first_id, prefixes) VALUES (?, ?)";
            c.prepare_cached(sql)?.execute(params![first, bytes])?;
            return Ok(());
        }
        let mut insert = c.prepare_cached("INSERT INTO payload_places (prefix, payload_id) VALUES (?, ?)")?;
        for place in self.known.in_order() {
            insert.execute(place)?;
        }
        c.execute("DELETE FROM new_payload_places", []).map(drop)
    }
}

/// The number of the payload with this hash, if it is kept. For one payload: it reads the new places from end to end.
pub(super) fn find(c: &Connection, hash: &Hash) -> rusqlite::Result<Option<i64>> {
    let mut alike = Vec::new();
    each_new(c, |bytes, id| alike.extend(hash.as_bytes().starts_with(bytes).then_some(id)))?;
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

/// The first bytes of each new payload, and its number.
fn each_new(c: &Connection, mut each: impl FnMut(&[u8], i64)) -> rusqlite::Result<()> {
    let mut all = c.prepare_cached("SELECT first_id, prefixes FROM new_payload_places")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let first: i64 = row.get(0)?;
        let prefixes = row.get_ref(1)?.as_blob()?.chunks_exact(BYTES);
        (first..).zip(prefixes).for_each(|(id, prefix)| each(prefix, id));
    }
    Ok(())
}
