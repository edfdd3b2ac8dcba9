//! Numbers of sessions in memory, by the first bytes of their handles.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// The first `count` bytes, of which there are seven at most, as a number.
pub(super) fn prefix(bytes: &[u8], count: usize) -> i64 {
    bytes.iter().take(count).fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// How many bytes tell nearly all rows apart that are in memory, and the row itself decides.
const BYTES: usize = 4;

/// Which rows after one may be those of a handle.
#[derive(Default)]
pub(super) struct ByPrefix {
    /// Beside each prefix, how far after the first one its row is. In four bytes each, because there may be many.
    known: HashMap<u32, u32, BuildHasherDefault<Plain>>,
    /// Those whose prefix is that of another one.
    alike: Vec<(u32, u32)>,
    first: i64,
}

impl ByPrefix {
    /// For rows that come after this one, 4,294,967,295 at most.
    pub(super) fn after(first: i64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Adds a row after the first one.
    pub(super) fn insert(&mut self, bytes: &[u8], id: i64) {
        let (prefix, row) = (Self::prefix(bytes), (id - self.first) as u32);
        if let Some(other) = self.known.insert(prefix, row) {
            self.alike.push((prefix, other));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len() + self.alike.len()
    }

    /// The rows that may be those of these bytes.
    pub(super) fn of(&self, bytes: &[u8]) -> impl Iterator<Item = i64> {
        let prefix = Self::prefix(bytes);
        let alike = self.alike.iter().filter(move |(other, _)| *other == prefix).map(|(_, row)| *row);
        self.known.get(&prefix).copied().into_iter().chain(alike).map(|row| self.first + i64::from(row))
    }

    fn prefix(bytes: &[u8]) -> u32 {
        prefix(bytes, BYTES) as u32
    }
}

/// Hashes what is the beginning of a handle, and so of a hash, already.
#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u32(&mut self, number: u32) {
        // Tables look at the upper bits, too.
        self.0 = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_the_first_bytes_also_if_those_are_alike() {
        let mut rows = ByPrefix::after(1 << 40);
        for (bytes, row) in [(b"abcde", 1), (b"abcdf", 2), (b"xyzzy", 3), (b"abcdg", 4)] {
            rows.insert(bytes, (1 << 40) + row);
        }
        let found = |bytes: &[u8]| {
            let mut found: Vec<_> = rows.of(bytes).map(|id| id - (1 << 40)).collect();
            found.sort_unstable();
            found
        };
        assert_eq!((found(b"abcd?"), found(b"xyzz?"), found(b"none?")), (vec![1, 2, 4], vec![3], vec![]));
        assert_eq!(rows.len(), 4);
    }
}
