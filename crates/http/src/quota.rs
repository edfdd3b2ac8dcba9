//! At most so many requests per time, held back as a whole when the provider says so.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use charging_sessions_core::{Error, ErrorKind, Result};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use tracing::{debug, warn};

use crate::{lock, pipeline::LONG};

/// At most `requests` starts within any stretch of time as long as `per`.
///
/// All of them may come at once; the next one then waits until the first is `per` old. The starts are kept in
/// a log, because the customary algorithm (GCRA, a leaky bucket) with a burst of N lets up to 2N through
/// within one rolling window: N at once, and N more while the bucket leaks. A provider that counts a rolling
/// window answers the surplus with 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many. At least 1.
    pub requests: u32,
    /// Within how long a time. Above zero.
    pub per: Duration,
}

impl Quota {
    /// `requests` within any stretch of `per`.
    pub const fn new(requests: u32, per: Duration) -> Self {
        Self { requests, per }
    }
}

/// What every request of one account passes before it starts.
#[derive(Debug)]
pub(crate) struct Gate {
    quota: Option<Quota>,
    max_hold: Duration,
    /// Held by the one who is next; the others queue for it in order of arrival. Whoever is dropped while
    /// waiting leaves the queue and has taken nothing.
    turn: tokio::sync::Mutex<()>,
    /// Tells the one who is next to look again.
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The starts of the last `per`, oldest first.
    starts: VecDeque<Instant>,
    others: Option<Others>,
    held_until: Option<Instant>,
}

impl Gate {
    /// Holds longer than `max_hold` are not waited for.
    pub(crate) fn new(quota: Option<Quota>, max_hold: Duration) -> Self {
        Self {
            quota,
            max_hold,
            turn: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            state: Mutex::default(),
        }
    }

    /// Waits until a request may start.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RateLimited`], exhausted, if the account is held back for longer than is waited for.
    pub(crate) async fn pass(&self) -> Result<Slot<'_>> {
        let _turn = self.turn.lock().await;
        let mut told = false;
        loop {
            let until = match self.state().enter(Instant::now(), self.quota, self.max_hold)? {
                Entry::Granted(at) => return Ok(Slot { gate: self, at, spent: false }),
                Entry::NotBefore(until) => until,
            };
            if !told {
                told = true;
                let wait = until - Instant::now();
                if wait >= LONG {
                    warn!(wait_ms = millis(wait), "waiting for the quota, for a while");
                } else {
                    debug!(wait_ms = millis(wait), "waiting for the quota");
                }
            }
            // Running out of time is as good a reason to look again as being told to.
            let _ = timeout_at(until, self.changed.notified()).await;
        }
    }

    /// Holds back every request of the account. A shorter hold does not end a longer one.
    pub(crate) fn hold(&self, wait: Duration) {
        let Some(until) = Instant::now().checked_add(wait) else { return };
        let mut state = self.state();
        state.held_until = state.held_until.max(Some(until));
        drop(state);
        self.changed.notify_one();
    }

    /// Takes note of how many requests the provider says are left in the window.
    pub(crate) fn learn(&self, remaining: u32) {
        let Some(Quota { requests, per }) = self.quota else { return };
        let now = Instant::now();
        let mut state = self.state();
        state.forget(now, per);
        let ours = u32::try_from(state.starts.len()).unwrap_or(u32::MAX);
        let count = requests.saturating_sub(ours).saturating_sub(remaining);
        state.others = (count > 0).then_some(Others { count, told: now });
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Requests that others made with the same account, as the provider last told.
#[derive(Clone, Copy, Debug)]
struct Others {
    count: u32,
    told: Instant,
}

impl Others {
    /// How many have left the window by `now`. When they came is not known; evenly is the best guess, and every
    /// answer corrects it. To wait for the last of them instead would stand still for a whole window.
    fn gone(self, now: Instant, per: Duration) -> u32 {
        let gone = u128::from(self.count) * now.duration_since(self.told).as_nanos() / per.as_nanos();
        u32::try_from(gone).unwrap_or(u32::MAX).min(self.count)
    }

    /// When the next one leaves.
    fn next(self, now: Instant, per: Duration) -> Instant {
        let share = per.as_nanos() * u128::from(self.gone(now, per) + 1);
        let after = share.div_ceil(u128::from(self.count.max(1)));
        self.told + Duration::from_nanos(u64::try_from(after).unwrap_or(u64::MAX))
    }
}

enum Entry {
    Granted(Instant),
    NotBefore(Instant),
}

impl State {
    fn enter(&mut self, now: Instant, quota: Option<Quota>, max_hold: Duration) -> Result<Entry> {
        if let Some(until) = self.held_until.filter(|until| *until > now) {
            let wait = until - now;
            if wait > max_hold {
                let text = "the provider asked this account to wait for longer than is waited for";
                return Err(Error::new(ErrorKind::RateLimited, text).with_retry_after(wait).exhausted());
            }
            return Ok(Entry::NotBefore(until));
        }
        let Some(Quota { requests, per }) = quota else { return Ok(Entry::Granted(now)) };
        self.forget(now, per);
        let others = self.others.map_or(0, |others| (others.count - others.gone(now, per)) as usize);
        if self.starts.len() + others < requests as usize {
            self.starts.push_back(now);
            return Ok(Entry::Granted(now));
        }
        let first_leaves = self.starts.front().map(|start| *start + per);
        let other_leaves = self.others.map(|others| others.next(now, per));
        Ok(Entry::NotBefore(first_leaves.into_iter().chain(other_leaves).min().unwrap_or(now + per)))
    }

    fn forget(&mut self, now: Instant, per: Duration) {
        while self.starts.front().is_some_and(|start| *start + per <= now) {
            self.starts.pop_front();
        }
        self.others = self.others.filter(|others| others.gone(now, per) < others.count);
    }
}

/// Leave to start one request. Dropped without [`spend`](Self::spend), it is given back.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    gate: &'a Gate,
    at: Instant,
    spent: bool,
}

impl Slot<'_> {
    /// The request starts now.
    pub(crate) fn spend(mut self) {
        self.spent = true;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.spent {
            return;
        }
        let mut state = self.gate.state();
        if let Some(place) = state.starts.iter().rposition(|start| *start == self.at) {
            state.starts.remove(place);
        }
        drop(state);
        self.gate.changed.notify_one();
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{advance, sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn gate(requests: u32, seconds: u64) -> Gate {
        Gate::new(Some(Quota::new(requests, SECOND * seconds as u32)), SECOND * 900)
    }

    async fn start(gate: &Gate) -> Instant {
        gate.pass().await.unwrap().spend();
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_next_waits_until_the_first_has_left_the_window() {
        let gate = gate(3, 60);
        let began = Instant::now();
        for _ in 0..3 {
            let asked = Instant::now();
            assert_eq!(start(&gate).await, asked);
            advance(SECOND * 10).await;
        }
        // Started at 0, 10 and 20 s; it is 30 s now.
        for expected in [60, 70, 80, 120] {
            assert_eq!((start(&gate).await - began).as_secs(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_ever_holds_more_than_the_quota_however_many_ask() {
        let gate = Arc::new(gate(7, 10));
        let starts = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..100u64)
            .map(|i| {
                let (gate, starts) = (gate.clone(), starts.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(i * 137 % 9_000)).await;
                    let slot = gate.pass().await.unwrap();
                    if i % 5 == 0 {
                        return; // given back
                    }
                    slot.spend();
                    starts.lock().unwrap().push(Instant::now());
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let starts = starts.lock().unwrap();
        assert_eq!(starts.len(), 80);
        for window in starts.windows(8) {
            assert!(window[7] - window[0] >= SECOND * 10, "{:?}", window[7] - window[0]);
        }
        // And it does not dawdle: 80 starts need eleven further windows.
        assert!(starts[79] - starts[0] <= SECOND * 125);
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_of_requests_loses_nothing_to_the_quota() {
        let (gate, request) = (gate(40, 4), Duration::from_millis(50));
        let began = Instant::now();
        for _ in 0..101 {
            start(&gate).await;
            sleep(request).await;
        }
        // Two whole bursts before the last one, of 21.
        assert_eq!(began.elapsed(), SECOND * 8 + request * 21);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_is_dropped_takes_nothing() {
        let gate = gate(1, 10);
        let began = Instant::now();
        start(&gate).await;
        for _ in 0..5 {
            assert!(timeout(SECOND, gate.pass()).await.is_err());
        }
        assert_eq!((start(&gate).await - began).as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_is_given_back_lets_the_next_one_pass() {
        let gate = gate(1, 10);
        let began = Instant::now();
        let slot = gate.pass().await.unwrap();
        tokio::join!(
            async {
                start(&gate).await;
            },
            async {
                sleep(SECOND).await;
                drop(slot);
            }
        );
        assert_eq!((Instant::now() - began).as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_stops_everyone_and_is_not_shortened() {
        let gate = Gate::new(None, SECOND * 900);
        let began = Instant::now();
        gate.hold(SECOND * 30);
        gate.hold(SECOND * 5);
        assert_eq!((start(&gate).await - began).as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_comes_while_waiting_counts() {
        let gate = gate(1, 10);
        let began = Instant::now();
        start(&gate).await;
        let (at, ()) = tokio::join!(start(&gate), async {
            sleep(SECOND).await;
            gate.hold(SECOND * 20);
        });
        assert_eq!((at - began).as_secs(), 21);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_beyond_the_limit_is_not_waited_for() {
        let gate = Gate::new(None, SECOND * 900);
        gate.hold(SECOND * 901);
        let error = gate.pass().await.unwrap_err();
        assert_eq!((error.kind(), error.is_exhausted()), (ErrorKind::RateLimited, true));
        assert_eq!(error.retry_after(), Some(SECOND * 901));
        advance(SECOND).await;
        assert!(gate.pass().await.is_ok());
        gate.hold(Duration::MAX);
        assert!(gate.pass().await.is_ok(), "an absurd wait is not stored");
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_used_is_learnt_unlearnt_and_thought_to_leave_evenly() {
        let gate = gate(10, 60);
        let began = Instant::now();
        start(&gate).await;
        gate.learn(3); // 1 is ours, 6 are others'
        for _ in 0..3 {
            start(&gate).await;
        }
        assert!(timeout(SECOND, gate.pass()).await.is_err());
        gate.learn(1);
        assert_eq!((start(&gate).await - began).as_secs(), 1);
        // Of ten, five are ours now: five others, one of which leaves every 12 s.
        gate.learn(0);
        for expected in [13, 25, 37, 49] {
            assert_eq!((start(&gate).await - began).as_secs(), expected);
        }
        // Ours begin to leave at 60 s, before the last other.
        assert_eq!((start(&gate).await - began).as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_hold_fails_those_who_wait_for_the_quota_already() {
        let gate = gate(1, 3_600);
        let began = Instant::now();
        start(&gate).await;
        let (first, second, ()) = tokio::join!(gate.pass(), gate.pass(), async {
            sleep(SECOND).await;
            gate.hold(SECOND * 7_200);
        });
        assert!(first.is_err() && second.is_err());
        assert_eq!(began.elapsed().as_secs(), 1);
    }
}
