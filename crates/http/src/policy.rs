//! How requests to one account are bounded and repeated, as a plain value.

use std::{sync::Mutex, time::Duration};

use charging_sessions_core::{Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::{Limits, Quota, lock};

/// How requests to one provider account are bounded and repeated.
///
/// An adapter ships one that fits the provider's documented limits; users may change it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// How often one request is tried in all, the first time included. At least 1; 5 by default.
    pub max_attempts: u32,
    /// The ceiling of the first pause between two attempts; it doubles each time. The pause itself is drawn
    /// evenly between nothing and the ceiling, so that clients do not come back in step. 0.5 s by default.
    pub backoff: Duration,
    /// What the ceiling grows to. 30 s by default.
    pub max_backoff: Duration,
    /// The sum of the pauses we choose ourselves, for one request. 120 s by default.
    pub max_total_wait: Duration,
    /// The longest wait that a provider may ask for. A longer one fails at once, with
    /// [`retry_after`](Error::retry_after) kept, as does every further request until it is over.
    /// 15 minutes by default.
    pub max_retry_after: Duration,
    /// The time limit of one attempt: sign-in, redirects and the whole body. Waiting for a permit or the
    /// quota does not count. 30 s by default.
    pub attempt_timeout: Duration,
    /// What bounds the reading of one answer.
    pub limits: Limits,
    /// How many requests may be in flight at once. At least 1; 4 by default.
    pub concurrency: usize,
    /// How many requests may start per time, if the provider documents it. `None` by default.
    pub quota: Option<Quota>,
    /// How much extra load retries may cause.
    pub retry_budget: RetryBudget,
}

/// How much extra load retries may cause on one account, so that an outage does not multiply the traffic.
///
/// Every request earns [`percent`](Self::percent) of a retry; a retry spends a whole one. At most
/// [`reserve`](Self::reserve) are kept; they are there from the start, and one a minute comes back by itself,
/// so that a single fault is always retried however rare requests are. The retry after a 429 that named its
/// wait is free, because the whole account waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryBudget {
    /// Retries earned by 100 requests. 20 by default.
    pub percent: u32,
    /// Retries kept at most. 10 by default.
    pub reserve: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(20, 10)
    }
}

impl RetryBudget {
    /// `percent` retries for 100 requests, and at most `reserve` at once.
    pub const fn new(percent: u32, reserve: u32) -> Self {
        Self { percent, reserve }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            max_total_wait: Duration::from_secs(120),
            max_retry_after: Duration::from_secs(15 * 60),
            attempt_timeout: Duration::from_secs(30),
            limits: Limits::default(),
            concurrency: 4,
            quota: None,
            retry_budget: RetryBudget::default(),
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $field:ident = $ty:ty;)*) => {
        impl Policy {
            $($(#[$doc])*
            #[must_use]
            pub const fn $name(mut self, $field: $ty) -> Self {
                self.$field = $field;
                self
            })*
        }
    };
}

setters! {
    /// Changes [`max_attempts`](Self::max_attempts).
    with_max_attempts: max_attempts = u32;
    /// Changes [`backoff`](Self::backoff).
    with_backoff: backoff = Duration;
    /// Changes [`max_backoff`](Self::max_backoff).
    with_max_backoff: max_backoff = Duration;
    /// Changes [`max_total_wait`](Self::max_total_wait).
    with_max_total_wait: max_total_wait = Duration;
    /// Changes [`max_retry_after`](Self::max_retry_after).
    with_max_retry_after: max_retry_after = Duration;
    /// Changes [`attempt_timeout`](Self::attempt_timeout).
    with_attempt_timeout: attempt_timeout = Duration;
    /// Changes [`limits`](Self::limits).
    with_limits: limits = Limits;
    /// Changes [`concurrency`](Self::concurrency).
    with_concurrency: concurrency = usize;
    /// Changes [`quota`](Self::quota).
    with_quota: quota = Option<Quota>;
    /// Changes [`retry_budget`](Self::retry_budget).
    with_retry_budget: retry_budget = RetryBudget;
}

const LONGEST_WINDOW: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Policy {
    /// The ceiling of the pause after this attempt, counted from 1.
    pub(crate) fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.backoff.saturating_mul(1 << doublings).min(self.max_backoff)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = if self.max_attempts == 0 {
            "`max_attempts` is 0: a request could never be sent"
        } else if self.concurrency == 0 {
            "`concurrency` is 0: a request could never be sent"
        } else if self.attempt_timeout.is_zero() || self.limits.idle.is_zero() {
            "a time limit is zero: every request would fail"
        } else if self.quota.is_some_and(|quota| quota.requests == 0 || quota.per.is_zero()) {
            "a quota needs at least one request and a time above zero"
        } else if self.quota.is_some_and(|quota| quota.per > LONGEST_WINDOW) {
            "a quota counts over a year at most"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Config, wrong))
    }
}

/// A [`RetryBudget`] in use. Amounts are hundredths of a retry.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: RetryBudget,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    balance: u64,
    refilled: Instant,
}

const ONE_RETRY: u64 = 100;
const REFILL: Duration = Duration::from_secs(60);

impl Budget {
    pub(crate) fn new(limits: RetryBudget) -> Self {
        let account = Account { balance: u64::from(limits.reserve) * ONE_RETRY, refilled: Instant::now() };
        Self { limits, account: Mutex::new(account) }
    }

    /// A request is about to be made for the first time.
    pub(crate) fn earn(&self) {
        self.add(&mut lock(&self.account), u64::from(self.limits.percent));
    }

    /// Takes one retry, if there is one.
    pub(crate) fn spend(&self) -> bool {
        let mut account = lock(&self.account);
        let minutes = account.refilled.elapsed().as_secs() / REFILL.as_secs();
        account.refilled += REFILL * u32::try_from(minutes).unwrap_or(u32::MAX);
        self.add(&mut account, minutes.saturating_mul(ONE_RETRY));
        let enough = account.balance >= ONE_RETRY;
        if enough {
            account.balance -= ONE_RETRY;
        }
        enough
    }

    fn add(&self, account: &mut Account, amount: u64) {
        let most = u64::from(self.limits.reserve) * ONE_RETRY;
        account.balance = account.balance.saturating_add(amount).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_its_cap() {
        let policy = Policy::default();
        let ceilings: Vec<u128> = (1..=9).map(|attempt| policy.ceiling(attempt).as_millis()).collect();
        assert_eq!(ceilings, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(policy.ceiling(u32::MAX), policy.max_backoff);
    }

    #[test]
    fn a_policy_that_could_never_send_is_refused() {
        let per = Duration::from_secs(1);
        let policy = Policy::default();
        assert!(policy.check().is_ok());
        for policy in [
            policy.with_max_attempts(0),
            policy.with_concurrency(0),
            policy.with_attempt_timeout(Duration::ZERO),
            policy.with_quota(Some(Quota::new(0, per))),
            policy.with_quota(Some(Quota::new(1, Duration::ZERO))),
            policy.with_quota(Some(Quota::new(1, Duration::MAX))),
        ] {
            assert_eq!(policy.check().unwrap_err().kind(), ErrorKind::Config, "{policy:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_earned_spent_and_comes_back_with_time() {
        let budget = Budget::new(RetryBudget::new(20, 2));
        assert!(budget.spend() && budget.spend() && !budget.spend());
        for _ in 0..5 {
            budget.earn();
        }
        assert!(budget.spend() && !budget.spend());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!budget.spend());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(budget.spend() && !budget.spend());
        tokio::time::advance(Duration::from_secs(6_000)).await;
        assert!(budget.spend() && budget.spend() && !budget.spend());
    }
}
