//! When an account is read next.

use std::time::Duration;

use charging_sessions_store::Hash;
use jiff::{SignedDuration, Timestamp};

/// The longest pause after failures, which double it.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// The next instant after `now` at which `account` is read, if it is read `every` so often.
///
/// Accounts are spread over the stretch by their names, so that they do not all come at once, and each always at the
/// same place in it, whichever worker reckons.
pub(crate) fn next(account: &str, every: SignedDuration, now: Timestamp) -> Timestamp {
    let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX / 4).clamp(1_000_000, i64::MAX / 4);
    let [a, b, c, d, e, f, g, h, ..] = *Hash::of(account.as_bytes()).as_bytes();
    let place = i64::from_be_bytes([a, b, c, d, e, f, g, h]).rem_euclid(every);
    let now = now.as_microsecond();
    let passed = (now - place).rem_euclid(every);
    now.checked_add(every - passed)
        .and_then(|at| Timestamp::from_microsecond(at).ok())
        .unwrap_or(Timestamp::MAX)
}

/// How long an account is left alone that has failed so many times in a row.
pub(crate) fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_keeps_its_place_in_the_stretch_and_others_have_theirs() {
        let every = SignedDuration::from_mins(15);
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let mut places = Vec::new();
        for number in 0..1000 {
            let name = format!("account-{number}");
            let first = next(&name, every, now);
            assert!(first > now && first <= now + every);
            assert_eq!(next(&name, every, first), first + every);
            assert_eq!(next(&name, every, first - SignedDuration::from_micros(1)), first);
            places.push((first - now).get_seconds() / 60 + (first - now).get_minutes());
        }
        let soon = places.iter().filter(|minute| **minute < 5).count();
        assert!((250..420).contains(&soon), "{soon}");
    }

    #[test]
    fn pauses_double_and_have_an_end() {
        assert_eq!(pause(1), Duration::from_secs(30));
        assert_eq!(pause(2), Duration::from_secs(60));
        assert_eq!(pause(40), LONGEST_PAUSE);
    }
}
