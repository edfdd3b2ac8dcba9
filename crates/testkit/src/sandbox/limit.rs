//! A rate limit over a rolling window.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Allows `limit` requests in any stretch of `per`.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    limit: usize,
    per: Duration,
    // The moments of the requests that were allowed, oldest first.
    allowed: Mutex<VecDeque<Instant>>,
}

impl RateLimiter {
    pub(crate) fn new(limit: usize, per: Duration) -> Self {
        Self { limit, per, allowed: Mutex::default() }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Counts one request, or says how long until the next one is allowed. A refused request is not counted.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        Self::forget(&mut allowed, now, self.per);
        if allowed.len() < self.limit {
            allowed.push_back(now);
            return Ok(());
        }
        Err(allowed.front().map_or(self.per, |oldest| self.per.saturating_sub(now - *oldest)))
    }

    /// How many requests would be allowed now.
    pub(crate) fn remaining(&self) -> usize {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        Self::forget(&mut allowed, Instant::now(), self.per);
        self.limit.saturating_sub(allowed.len())
    }

    fn forget(allowed: &mut VecDeque<Instant>, now: Instant, per: Duration) {
        while allowed.front().is_some_and(|oldest| now - *oldest >= per) {
            allowed.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_window_rolls_with_each_request() {
        let limiter = RateLimiter::new(2, Duration::from_secs(60));
        assert_eq!(limiter.take(), Ok(()));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(limiter.take(), Ok(()));
        assert_eq!(limiter.take(), Err(Duration::from_secs(40)));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(limiter.remaining(), 1);
        assert_eq!(limiter.take(), Ok(()));
        assert_eq!(limiter.take(), Err(Duration::from_secs(20)));
    }
}
