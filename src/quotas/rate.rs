//! How much was done a second, over Kafka's windows, and how long somebody above his bound has to wait.
//!
//! ```text
//!   │ window │ window │ ... │ window that is filling │      quota.window.num of them, the last one not whole
//!   └ oldest of which anything is known              └ now
//! ```
//!
//! Kafka's `Rate`: what the windows hold, divided by the time since the oldest began, but never by less than all whole
//! windows would take, so that a burst after a silence is let through. Somebody whose rate is O where B is allowed waits
//! `(O - B) / B * time`. A [`Bucket`] is Kafka's `TokenBucket` (KIP-599). Invariant: integers only; bounds are in millionths
//! a second.

use alloc::collections::VecDeque;

/// `quota.window.num` and `quota.window.size.seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    pub count: u32,
    pub size_ms: u64,
}

impl Windows {
    fn whole_ms(self) -> u64 {
        u64::from(self.count) * self.size_ms
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    begun_ms: u64,
    last_ms: u64,
    sum: i64,
}

/// What was done, window by window, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    windows: VecDeque<Window>,
}

impl Rate {
    /// `amount` may be negative, where something is taken back.
    pub fn record(&mut self, amount: i64, now_ms: u64, windows: Windows) {
        match self.windows.back_mut().filter(|window| now_ms - window.begun_ms < windows.size_ms) {
            Some(window) => {
                window.sum = window.sum.saturating_add(amount);
                window.last_ms = now_ms;
            }
            None => {
                // One more than is asked for: the oldest may overlap the beginning.
                while self.windows.len() > windows.count as usize {
                    self.windows.pop_front();
                }
                self.windows.push_back(Window { begun_ms: now_ms, last_ms: now_ms, sum: amount });
            }
        }
    }

    /// For how many milliseconds nothing may be done, so that the rate comes back to `bound`; 0 while it is not above.
    pub fn throttle_ms(&mut self, bound: u64, now_ms: u64, windows: Windows) -> u64 {
        self.windows.retain(|window| now_ms - window.last_ms < windows.whole_ms());
        let sum = self.windows.iter().fold(0i64, |sum, window| sum.saturating_add(window.sum));
        let Some(oldest) = self.windows.front() else { return 0 };
        if sum <= 0 {
            return 0;
        }
        let known = now_ms - oldest.begun_ms;
        let missing = u64::from(windows.count - 1).saturating_sub(known / windows.size_ms);
        let time = (known + missing * windows.size_ms).max(1);
        // What is known takes so long at the bound: rounded as Kafka rounds.
        let (sum, bound) = (sum as u128 * 1_000_000_000, u128::from(bound.max(1)));
        let needed = u64::try_from((sum + bound / 2) / bound).unwrap_or(u64::MAX);
        needed.saturating_sub(time)
    }
}

/// Tokens, in millionths: as many come each second as the bound allows, up to all windows' worth. It may be overdrawn once,
/// and gives nothing until that is made good.
#[derive(Clone, Debug)]
pub struct Bucket {
    tokens: i128,
    filled_ms: u64,
}

impl Bucket {
    /// A full one.
    pub fn new(bound: u64, now_ms: u64, windows: Windows) -> Bucket {
        Bucket { tokens: Bucket::most(bound, windows), filled_ms: now_ms }
    }

    fn most(bound: u64, windows: Windows) -> i128 {
        i128::from(bound) * i128::from(windows.whole_ms()) / 1000
    }

    fn fill(&mut self, bound: u64, now_ms: u64, windows: Windows) {
        let come = i128::from(bound) * i128::from(now_ms - self.filled_ms) / 1000;
        self.tokens = (self.tokens + come).min(Bucket::most(bound, windows));
        self.filled_ms = now_ms;
    }

    /// For how many milliseconds it gives nothing.
    pub fn throttle_ms(&mut self, bound: u64, now_ms: u64, windows: Windows) -> u64 {
        self.fill(bound, now_ms, windows);
        let owed = u128::try_from(-self.tokens).unwrap_or(0);
        let bound = u128::from(bound.max(1));
        u64::try_from((owed * 1000 + bound / 2) / bound).unwrap_or(u64::MAX)
    }

    /// Takes `amount` tokens, whether they are there or not.
    pub fn take(&mut self, amount: u64) {
        self.tokens -= i128::from(amount) * 1_000_000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { count: 11, size_ms: 1000 };
    const MILLION: u64 = 1_000_000;

    #[test]
    fn what_ten_windows_allow_passes_at_once_and_more_waits_for_its_time() {
        let mut rate = Rate::default();
        rate.record(10_000, 5, WINDOWS);
        assert_eq!(rate.throttle_ms(1000 * MILLION, 5, WINDOWS), 0);
        rate.record(1_000, 5, WINDOWS);
        // 1,100 a second over 10 s, where 1,000 are allowed: a tenth of them.
        assert_eq!(rate.throttle_ms(1000 * MILLION, 5, WINDOWS), 1000);
        assert_eq!(rate.throttle_ms(1000 * MILLION, 1005, WINDOWS), 1000, "one whole window of ten is no more time");
    }

    #[test]
    fn a_steady_rate_below_its_bound_is_never_throttled() {
        let mut rate = Rate::default();
        for now in (0..100_000).step_by(10) {
            rate.record(9, now, WINDOWS);
            assert_eq!(rate.throttle_ms(1000 * MILLION, now, WINDOWS), 0, "at {now} ms");
        }
    }

    #[test]
    fn who_waits_as_long_as_he_is_told_keeps_to_his_bound() {
        let (mut rate, mut now, mut done) = (Rate::default(), 0, 0u64);
        while now < 600_000 {
            rate.record(777, now, WINDOWS);
            done += 777;
            now += rate.throttle_ms(1000 * MILLION, now, WINDOWS) + 1;
        }
        let allowed = 600_000 + 10_000;
        assert!((allowed * 9 / 10..=allowed * 11 / 10).contains(&done), "{done} of {allowed}");
    }

    #[test]
    fn what_is_old_is_forgotten_and_memory_is_bounded() {
        let mut rate = Rate::default();
        for now in (0..60_000).step_by(100) {
            rate.record(1_000_000, now, WINDOWS);
        }
        assert_eq!(rate.windows.len(), 12);
        assert_eq!(rate.throttle_ms(1, 80_000, WINDOWS), 0);
        assert_eq!(rate.windows.len(), 0);
    }

    #[test]
    fn a_bucket_is_overdrawn_once_and_then_refilled() {
        let bound = 2 * MILLION;
        let mut bucket = Bucket::new(bound, 0, WINDOWS);
        assert_eq!(bucket.throttle_ms(bound, 0, WINDOWS), 0);
        bucket.take(32);
        // 22 were there.
        assert_eq!(bucket.throttle_ms(bound, 0, WINDOWS), 5000);
        assert_eq!(bucket.throttle_ms(bound, 4000, WINDOWS), 1000);
        assert_eq!(bucket.throttle_ms(bound, 5000, WINDOWS), 0);
    }
}
