//! Where payloads are: from the first bytes of their hashes to the revisions that have them.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{keys::PART, prefixes::prefix};
use crate::Hash;

/// How many bytes of a hash are kept in the tables: they tell nearly all hashes apart, and the row itself decides.
const BYTES: usize = 5;
/// How many revisions are new until their places are merged with all others, in order, if that is not less than the
/// [`PART`] of sessions that may wait. More of them would have to be sorted at once, fewer be merged with more walks
/// through all.
const NEW: i64 = 8192;
/// Stands where a revision has no payload of its own.
const NONE: [u8; BYTES] = [0; BYTES];

/// What stands for a hash in the tables.
fn place(hash: &Hash) -> [u8; BYTES] {
    let mut place = NONE;
    place.copy_from_slice(&hash.as_bytes()[..BYTES]);
    if place == NONE { [0, 0, 0, 0, 1] } else { place }
}

/// The places of the payloads of one batch.
pub(super) struct NewPlaces {
    /// The first revision of the batch.
    first: i64,
    /// One after the other.
    places: Vec<u8>,
}

impl NewPlaces {
    /// Those of a batch whose first revision has this number.
    pub(super) fn from(first: i64) -> Self {
        Self { first, places: Vec::new() }
    }

    /// Adds the payload that a revision has, which is after those that were added.
    pub(super) fn add(&mut self, hash: &Hash, id: i64) {
        // Those in between have none.
        self.places.resize(usize::try_from(id - self.first).unwrap_or_default() * BYTES, 0);
        self.places.extend_from_slice(&place(hash));
    }

    /// Writes down what was added, of a batch whose last revision this is.
    pub(super) fn store(&self, c: &Connection, last: i64) -> rusqlite::Result<()> {
        if self.places.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO new_payload_places (first_id, prefixes) VALUES (?, ?)";
        c.prepare_cached(sql)?.execute(params![self.first, self.places])?;
        let mut first = c.prepare_cached("SELECT min(first_id) FROM new_payload_places")?;
        let first: i64 = first.query_row([], |row| row.get(0))?;
        let new = last + 1 - first;
        if new < NEW.max(last / PART as i64) { Ok(()) } else { merge(c) }
    }
}

fn merge(c: &Connection) -> rusqlite::Result<()> {
    let mut insert = c.prepare_cached("INSERT INTO payload_places (prefix, revision_id) VALUES (?, ?)")?;
    for place in all_new(c)? {
        insert.execute(place)?;
    }
    c.execute("DELETE FROM new_payload_places", [])?;
    Ok(())
}

/// A revision that has the payload with this hash, if one has. It reads the new places from end to end.
pub(super) fn find(c: &Connection, hash: &Hash) -> rusqlite::Result<Option<i64>> {
    let (mut alike, place) = (Vec::new(), place(hash));
    each_new(c, |other, id| alike.extend((other == place).then_some(id)))?;
    let mut is_its = c.prepare_cached("SELECT 1 FROM revisions WHERE id = ? AND payload_hash = ?")?;
    for id in alike {
        if is_its.exists((id, hash.as_bytes()))? {
            return Ok(Some(id));
        }
    }
    let sql = "SELECT r.id FROM payload_places o JOIN revisions r ON r.id = o.revision_id \
               WHERE o.prefix = ? AND r.payload_hash = ?";
    let mut found = c.prepare_cached(sql)?;
    found.query_row((prefix(&place, BYTES), hash.as_bytes()), |row| row.get(0)).optional()
}

/// Looks up for each revision whether its payload is found, to verify a store.
pub(super) struct Verified<'c> {
    c: &'c Connection,
    /// In order.
    new: Vec<(i64, i64)>,
}

impl<'c> Verified<'c> {
    pub(super) fn new(c: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self { c, new: all_new(c)? })
    }

    /// Whether the payload with this hash is found in this revision.
    pub(super) fn has(&self, hash: &Hash, id: i64) -> rusqlite::Result<bool> {
        let place = (prefix(&place(hash), BYTES), id);
        let sql = "SELECT 1 FROM payload_places WHERE prefix = ? AND revision_id = ?";
        Ok(self.new.binary_search(&place).is_ok() || self.c.prepare_cached(sql)?.exists(place)?)
    }
}

/// The new places as numbers, and the revisions that have them, in order.
fn all_new(c: &Connection) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut places = Vec::new();
    each_new(c, |place, id| places.push((prefix(place, BYTES), id)))?;
    places.sort_unstable();
    Ok(places)
}

/// The place of each new payload, and the revision that has it.
fn each_new(c: &Connection, mut each: impl FnMut(&[u8], i64)) -> rusqlite::Result<()> {
    let mut all = c.prepare_cached("SELECT first_id, prefixes FROM new_payload_places")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let places = (row.get::<_, i64>(0)?..).zip(row.get_ref(1)?.as_blob()?.chunks_exact(BYTES));
        places.filter(|(_, place)| *place != NONE).for_each(|(id, place)| each(place, id));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_that_begins_with_zeros_has_a_place_too() {
        let mut bytes = [0; 32];
        assert_eq!(place(&bytes.into()), [0, 0, 0, 0, 1]);
        bytes[..6].copy_from_slice(&[7, 0, 0, 0, 9, 5]);
        assert_eq!(place(&bytes.into()), [7, 0, 0, 0, 9]);
    }

    #[test]
    fn places_stand_where_their_revisions_do() {
        let c = Connection::open_in_memory().unwrap();
        c.execute_batch("CREATE TABLE new_payload_places (first_id INTEGER PRIMARY KEY, prefixes BLOB)")
            .unwrap();
        let hashes = [b"a", b"b", b"c"].map(|text| Hash::of(text));
        let mut places = NewPlaces::from(5);
        // The revisions 5 and 7 have none, nor has 9, which is the last.
        places.add(&hashes[0], 6);
        places.add(&hashes[1], 8);
        places.store(&c, 9).unwrap();
        let mut another = NewPlaces::from(10);
        another.add(&hashes[2], 10);
        another.store(&c, 10).unwrap();
        NewPlaces::from(11).store(&c, 12).unwrap();
        let mut found = Vec::new();
        each_new(&c, |place, id| found.push((place.to_vec(), id))).unwrap();
        let expected = hashes.iter().zip([6, 8, 10]).map(|(hash, id)| (place(hash).to_vec(), id));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
}
