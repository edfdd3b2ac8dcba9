//! Numbers that are the same on every machine and after every update.
//!
//! Written out rather than taken from a crate: snapshots depend on each bit, and a crate may change its
//! sequence for one seed in any release.

/// SplitMix64. Small and good enough for invented data; not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// A sequence that depends on every one of `parts`.
    ///
    /// One sequence per vehicle and day keeps the data of a day as it is when another day changes.
    pub(crate) fn new(parts: &[u64]) -> Self {
        let mut random = Self { state: 0 };
        for part in parts {
            random.state = random.next().wrapping_add(*part);
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from zero to `end`, without `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).expect("the upper half of a product of two 64-bit numbers")
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low) + 1;
        low.saturating_add_unsigned(self.below(span))
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `items`.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// An index whose chance is its weight.
    pub(crate) fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        weights.len() - 1
    }

    /// A value between the given quantiles (chance up to here in per mille, value), in a straight line from
    /// one to the next.
    pub(crate) fn quantile(&mut self, quantiles: &[(i64, i64)]) -> i64 {
        let at = self.between(0, 999);
        for pair in quantiles.windows(2) {
            let ((low, from), (high, to)) = (pair[0], pair[1]);
            if at < high {
                return from + (to - from) * (at - low) / (high - low);
            }
        }
        quantiles.last().map_or(0, |(_, value)| *value)
    }

    /// The 26 characters of a ULID created at `millis` since 1970.
    pub(crate) fn ulid(&mut self, millis: i64) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let time = u128::try_from(millis).unwrap_or(0) & 0xffff_ffff_ffff;
        let chance = (u128::from(self.next()) << 16) | u128::from(self.next() >> 48);
        let bits = (time << 80) | (chance & ((1 << 80) - 1));
        (0..26)
            .rev()
            .map(|place| {
                let digit = usize::try_from((bits >> (5 * place)) & 31).expect("five bits");
                char::from(ALPHABET[digit])
            })
            .collect()
    }

    /// `length` small letters and digits.
    pub(crate) fn word(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(*self.pick(b"abcdefghijkmnpqrstuvwxyz23456789"))).collect()
    }

    /// A place in a list of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).expect("no address is longer");
        usize::try_from(self.below(length)).expect("below a length")
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = Random { state: 0 };
        assert_eq!(random.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next(), 0x6e78_9e6a_a1b9_65f4);
        let mut random = Random::new(&[7]);
        let numbers: Vec<_> = (0..4).map(|_| random.below(1000)).collect();
        assert_eq!(numbers, [70, 767, 463, 979]);
    }

    #[test]
    fn a_ulid_sorts_by_its_time() {
        let mut random = Random::new(&[7]);
        let (early, late) = (random.ulid(1_700_000_000_000), random.ulid(1_700_000_000_001));
        assert_eq!(early.len(), 26);
        assert!(early < late);
        assert!(early.starts_with("01HF7YAT00"));
    }

    #[test]
    fn quantiles_stay_between_their_ends() {
        let mut random = Random::new(&[7]);
        for _ in 0..1000 {
            let value = random.quantile(&[(0, 10), (500, 20), (1000, 90)]);
            assert!((10..90).contains(&value));
        }
    }
}
