//! Telling what is new from what may be known, without a look into the file.

/// How many bits there are for each number. With [`PROBES`], of a hundred numbers that are new three are looked for in vain.
const BITS: usize = 8;
/// How many bits a number sets, all in the same line of the processor's cache.
const PROBES: u32 = 4;
/// How many bits such a line has, as a power of two.
const LINE: u32 = 9;
/// How many lines there are at most, 4 MiB. With more than four million numbers, more are looked for in vain.
const LINES: usize = 1 << 16;
/// How many searches in the file cost as much as entering one number that is there already, or less.
const COST: usize = 64;

/// The numbers of what is in a table: a Bloom filter, made once it pays.
#[derive(Default)]
pub(super) struct Sieve {
    /// Empty until it is made.
    lines: Vec<[u64; 1 << (LINE - 6)]>,
    /// How many numbers are in it, or would be.
    count: usize,
    /// How many were looked for in vain.
    vain: usize,
}

impl Sieve {
    /// Whether a number is certain not to be in the table.
    pub(super) fn lacks(&self, number: u64) -> bool {
        let number = mix(number);
        self.line(number).is_some_and(|line| {
            let line = &self.lines[line];
            !probes(number).all(|(word, bit)| line[word] & bit != 0)
        })
    }

    /// Adds a number, which is in the table from now on.
    pub(super) fn add(&mut self, number: u64) {
        self.count += 1;
        let number = mix(number);
        if let Some(line) = self.line(number) {
            let line = &mut self.lines[line];
            probes(number).for_each(|(word, bit)| line[word] |= bit);
        }
    }

    /// To be told of each number that the table was searched for and does not have.
    pub(super) fn searched_in_vain(&mut self) {
        self.vain += 1;
    }

    /// Makes it, or makes it larger, if that pays: `each` gives it all numbers of the table, of which there are so many.
    pub(super) fn renew<E>(
        &mut self,
        count: usize,
        each: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let is_made = !self.lines.is_empty();
        let pays = if is_made {
            self.count > self.room() && self.lines.len() < LINES
        } else {
            self.vain * COST >= count
        };
        if !pays {
            return Ok(());
        }
        // A quarter more than there are.
        let lines = (((count + count / 4).max(1 << 14) * BITS) >> LINE).min(LINES);
        // The smaller one is given back first. If it fails, there is none, which is always right.
        *self = Self::default();
        let mut larger = Self { lines: vec![Default::default(); lines], ..Self::default() };
        each(&mut larger)?;
        *self = larger;
        Ok(())
    }

    /// For how many numbers it has been made.
    fn room(&self) -> usize {
        (self.lines.len() << LINE) / BITS
    }

    /// Which line the bits of a number are in.
    fn line(&self, number: u64) -> Option<usize> {
        let line = (u128::from(number) * self.lines.len() as u128) >> 64;
        (!self.lines.is_empty()).then_some(line as usize)
    }
}

/// The bits of a number: in which word of its line, and which there.
fn probes(number: u64) -> impl Iterator<Item = (usize, u64)> {
    // The upper bits have chosen the line.
    (0..PROBES).map(move |probe| {
        let bit = number >> (probe * LINE) & ((1 << LINE) - 1);
        ((bit >> 6) as usize, 1 << (bit & 63))
    })
}

/// Spreads what differs in a few bits over all of them, as SplitMix64 does.
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn what_is_there_is_never_missed_and_what_is_not_seldom_found() {
        let mut sieve = Sieve::default();
        let mut known = Vec::new();
        sieve.renew(0, |_| Ok::<_, Infallible>(())).unwrap();
        for number in 0..100_000 {
            known.push(number);
            sieve.add(number);
            let all = |sieve: &mut Sieve| {
                known.iter().for_each(|number| sieve.add(*number));
                Ok::<_, Infallible>(())
            };
            sieve.renew(known.len(), all).unwrap();
        }
        assert!(known.iter().all(|number| !sieve.lacks(*number)));
        let found = (100_000..200_000).filter(|number| !sieve.lacks(*number)).count();
        assert!(found < 5000, "{found} of 100,000");
    }

    #[test]
    fn it_is_made_once_enough_was_looked_for_in_vain() {
        let mut sieve = Sieve::default();
        let fill = |sieve: &mut Sieve| {
            (0..1000).for_each(|number| sieve.add(number));
            Ok::<_, Infallible>(())
        };
        for _ in 0..15 {
            sieve.renew(1000, fill).unwrap();
            assert!(!sieve.lacks(5000), "nothing is known yet");
            sieve.searched_in_vain();
        }
        sieve.searched_in_vain();
        sieve.renew(1000, fill).unwrap();
        assert!(sieve.lacks(5000) && !sieve.lacks(5));
    }
}
