//! Whether this worker may still believe to be at work.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// The last time at which the database knew that this worker is alive.
///
/// A worker that was stopped for a while must not go on as if nothing had happened: another may talk for its accounts by
/// now. Both clocks are asked, because one stands still while the machine sleeps, and the other may be set.
#[derive(Debug)]
pub(crate) struct Beat {
    lease: Duration,
    last: Mutex<Option<(Instant, SystemTime)>>,
}

impl Beat {
    /// One that is fresh for as long as `lease` after each heartbeat, and not before the first.
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lease, last: Mutex::default() }
    }

    /// A moment, to be [noted](Self::note) if the heartbeat that is sent now is answered.
    pub(crate) fn moment() -> (Instant, SystemTime) {
        (Instant::now(), SystemTime::now())
    }

    pub(crate) fn note(&self, moment: (Instant, SystemTime)) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
    }

    /// As if there had never been a heartbeat.
    pub(crate) fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn is_fresh(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|(instant, wall)| {
            instant.elapsed() < self.lease && wall.elapsed().is_ok_and(|passed| passed < self.lease)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_fresh_until_its_lease_is_over_by_either_clock() {
        let beat = Beat::new(Duration::from_secs(10));
        assert!(!beat.is_fresh());
        let (instant, wall) = Beat::moment();
        beat.note((instant, wall));
        assert!(beat.is_fresh());
        beat.note((instant, wall - Duration::from_secs(11)));
        assert!(!beat.is_fresh(), "the machine slept");
        beat.note((instant, wall));
        beat.forget();
        assert!(!beat.is_fresh());
    }
}
