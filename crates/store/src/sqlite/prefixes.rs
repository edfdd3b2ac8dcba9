//! Numbers of sessions in memory, by the first bytes of their handles.

/// The first `count` bytes, of which there are seven at most, as a number.
pub(super) fn prefix(bytes: &[u8], count: usize) -> i64 {
    bytes.iter().take(count).fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// How many bytes tell nearly all rows apart that are in memory, and the row itself decides.
const BYTES: usize = 4;
/// How many prefixes are compared before it is asked whether one of them was the same: so many that processors compare
/// several at once.
const STRIDE: usize = 256;

/// Which rows after one may be those of a handle.
///
/// A list, gone through from end to end: what is looked up here has passed the sieve of all handles, which few do, and a
/// table with room to spare would take more than twice the memory.
#[derive(Default)]
pub(super) struct ByPrefix {
    prefixes: Vec<u32>,
    /// How far after the first one the row of each is. In four bytes each, because there may be many.
    rows: Vec<u32>,
    first: i64,
}

impl ByPrefix {
    /// For rows that come after this one, 4,294,967,295 at most.
    pub(super) fn after(first: i64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Adds a row after the first one.
    pub(super) fn insert(&mut self, bytes: &[u8], id: i64) {
        self.prefixes.push(Self::prefix(bytes));
        self.rows.push((id - self.first) as u32);
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows that may be those of these bytes.
    pub(super) fn of(&self, bytes: &[u8]) -> impl Iterator<Item = i64> {
        let prefix = Self::prefix(bytes);
        let strides = self.prefixes.chunks(STRIDE).zip(self.rows.chunks(STRIDE));
        strides
            // Without an end before the last one, which is what lets several be compared at once.
            .filter(move |(prefixes, _)| {
                prefixes.iter().fold(false, |found, other| found | (*other == prefix))
            })
            .flat_map(|(prefixes, rows)| prefixes.iter().zip(rows))
            .filter(move |(other, _)| **other == prefix)
            .map(|(_, row)| self.first + i64::from(*row))
    }

    fn prefix(bytes: &[u8]) -> u32 {
        prefix(bytes, BYTES) as u32
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
        // Those after a gap, and more than are compared at once.
        (1000..2000_u32).for_each(|row| rows.insert(&row.to_be_bytes(), (1 << 40) + i64::from(row)));
        let found = |bytes: &[u8]| rows.of(bytes).map(|id| id - (1 << 40)).collect::<Vec<_>>();
        assert_eq!((found(b"abcd?"), found(b"xyzz?"), found(b"none?")), (vec![1, 2, 4], vec![3], vec![]));
        assert!((1000..2000_u32).all(|row| found(&row.to_be_bytes()) == [i64::from(row)]));
        assert_eq!(rows.len(), 1004);
    }
}
