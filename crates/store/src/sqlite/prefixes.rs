//! Numbers of rows in memory, by the first bytes of a hash or a handle.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// The first `count` bytes, of which there are seven at most, as a number.
pub(super) fn prefix(bytes: &[u8], count: usize) -> i64 {
    bytes.iter().take(count).fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// Which rows may be those of a prefix. It tells nearly all apart, and the row itself decides.
#[derive(Default)]
pub(super) struct ByPrefix {
    known: HashMap<i64, i64, BuildHasherDefault<Plain>>,
    /// Those whose prefix is that of another one.
    alike: Vec<(i64, i64)>,
}

impl ByPrefix {
    pub(super) fn insert(&mut self, prefix: i64, id: i64) {
        if let Some(other) = self.known.insert(prefix, id) {
            self.alike.push((prefix, other));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len() + self.alike.len()
    }

    pub(super) fn of(&self, prefix: i64) -> impl Iterator<Item = i64> {
        let alike = self.alike.iter().filter(move |(other, _)| *other == prefix).map(|(_, id)| *id);
        self.known.get(&prefix).copied().into_iter().chain(alike)
    }

    pub(super) fn prefixes(&self) -> impl Iterator<Item = i64> {
        self.known.keys().copied().chain(self.alike.iter().map(|(prefix, _)| *prefix))
    }

    /// All prefixes with their rows, in their order.
    pub(super) fn in_order(self) -> Vec<(i64, i64)> {
        let mut all: Vec<_> = self.known.into_iter().chain(self.alike).collect();
        all.sort_unstable();
        all
    }
}

/// Hashes what is the beginning of a hash already.
#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_i64(&mut self, number: i64) {
        // Tables look at the upper bits, too.
        self.0 = number.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
