//! One store's health: what it answers, whether it is asked at all, and when again.

use std::time::Duration;

use tokio::time::Instant;

use crate::parts::Chance;

/// A wait before try number `tries` (from 1): `base / 2`, plus full jitter below an exponentially growing bound; at most `max`.
///
/// Full jitter after M. Brooker, "Exponential Backoff and Jitter" (AWS, 2015).
pub(crate) fn backoff(tries: u32, base: Duration, max: Duration, chance: &dyn Chance) -> Duration {
    let bound = base.saturating_mul(1_u32.checked_shl(tries.saturating_sub(1).min(20)).unwrap_or(u32::MAX)).min(max);
    let spread = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
    (base / 2).saturating_add(Duration::from_micros(chance.below(spread))).min(max)
}

/// What is known of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// It answers.
    Up,
    /// It does not; it is tried again by itself.
    Down,
    /// An operator paused it.
    Paused,
    /// Nobody has asked it yet.
    Unknown,
}

impl StoreState {
    /// Its name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        }
    }
}

/// A store's breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    pub(crate) paused: bool,
    /// It has answered, if only to say that it is there.
    answered: bool,
    /// Calls that succeeded, ever.
    pub(crate) successes: u64,
    failures_in_a_row: u32,
    /// Since when it has been failing.
    pub(crate) down_since: Option<Instant>,
    /// No call before this.
    closed_until: Option<Instant>,
    pub(crate) last_error: Option<(String, u64)>,
}

impl Breaker {
    /// So many failures in a row, of different calls, are the store's fault.
    const TOLERATED: u32 = 3;

    pub(crate) const fn new() -> Self {
        Self {
            paused: false,
            answered: false,
            successes: 0,
            failures_in_a_row: 0,
            down_since: None,
            closed_until: None,
            last_error: None,
        }
    }

    /// Whether work that needs the store may start; while it is down, one call at a time may try.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        !self.paused && self.closed_until.is_none_or(|until| until <= now)
    }

    /// When it will allow calls again, if it does not now.
    pub(crate) fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.closed_until.filter(|until| !self.paused && *until > now)
    }

    pub(crate) const fn state(&self) -> StoreState {
        if self.paused {
            StoreState::Paused
        } else if self.down_since.is_some() {
            StoreState::Down
        } else if !self.answered && self.failures_in_a_row == 0 {
            StoreState::Unknown
        } else {
            StoreState::Up
        }
    }

    /// A call succeeded. Tells whether the store was down until now.
    pub(crate) const fn succeeded(&mut self) -> bool {
        self.successes += 1;
        self.answers()
    }

    /// It says that it is there. That is no work done: no operation's attempt counts for it. Tells whether it was down until now.
    pub(crate) const fn answers(&mut self) -> bool {
        let came_back = self.down_since.is_some();
        self.answered = true;
        self.failures_in_a_row = 0;
        self.down_since = None;
        self.closed_until = None;
        came_back
    }

    /// A call failed in a way that may be the store's. Tells whether it counts as down from now on.
    pub(crate) fn failed(&mut self, now: Instant, wait: Duration, detail: &str, at_us: u64) -> bool {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.last_error = Some((detail.to_owned(), at_us));
        if self.failures_in_a_row < Self::TOLERATED {
            return false;
        }
        self.closed_until = Some(now + wait);
        let fresh = self.down_since.is_none();
        self.down_since.get_or_insert(now);
        fresh
    }

    /// Failures since the last success.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures_in_a_row
    }

    /// Allows a call now: an operator resumed it.
    pub(crate) const fn open_now(&mut self) {
        self.closed_until = None;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    struct Most;

    impl Chance for Most {
        fn below(&self, bound: u64) -> u64 {
            bound.saturating_sub(1)
        }

        fn uuid(&self) -> Uuid {
            Uuid::nil()
        }
    }

    #[test]
    fn backoff_grows_and_stays_below_its_maximum() {
        let (base, max) = (Duration::from_millis(100), Duration::from_secs(30));
        let mut last = Duration::ZERO;
        for tries in 1..12 {
            let wait = backoff(tries, base, max, &Most);
            assert!(wait >= last && wait <= max, "{tries}: {wait:?}");
            last = wait;
        }
        assert_eq!(backoff(u32::MAX, base, max, &Most), max);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_closes_on_success() {
        let mut breaker = Breaker::new();
        let now = Instant::now();
        assert_eq!(breaker.state(), StoreState::Unknown);
        assert!(!breaker.failed(now, Duration::from_secs(1), "x", 1));
        assert!(!breaker.failed(now, Duration::from_secs(1), "x", 1));
        assert!(breaker.allows(now));
        assert!(breaker.failed(now, Duration::from_secs(1), "x", 1));
        assert!(!breaker.allows(now));
        assert!(breaker.allows(now + Duration::from_secs(1)));
        assert_eq!(breaker.state(), StoreState::Down);
        assert!(breaker.succeeded());
        assert_eq!(breaker.state(), StoreState::Up);
        assert!(breaker.allows(now));
    }
}
