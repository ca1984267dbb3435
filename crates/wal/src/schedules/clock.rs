//! Time that passes when the scheduler says so, and waits that it ends.
//!
//! The scheduler itself knows no time. Here the clock is one more thread: whenever it is its turn, the next wait that is to end
//! by time ends. So any time may pass between any two steps, and none has to.

use std::sync::{Arc, LockResult};
use std::time::Duration;

use shuttle::sync::{MutexGuard, WaitTimeoutResult};

use super::World;

/// As [`std::time::Instant`], by the clock of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(World::current().now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        World::current().now().saturating_sub(self.0)
    }
}

/// As [`std::sync::Condvar`].
pub(crate) struct Condvar {
    waiting: Arc<shuttle::sync::Condvar>,
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self { waiting: Arc::default() }
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.waiting.wait(guard)
    }

    /// Nobody may ask what ended the wait: that is not known here.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let world = World::current();
        let until = world.now() + time;
        let timer = world.timers().set(until, Arc::clone(&self.waiting));
        let woken = self.waiting.wait_timeout(guard, time);
        world.timers().unset(timer);
        woken
    }

    pub(crate) fn notify_one(&self) {
        self.waiting.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.waiting.notify_all();
    }
}

/// The waits that end by time.
#[derive(Default)]
pub(crate) struct Timers {
    now: Duration,
    number: u64,
    waits: Vec<(u64, Duration, Arc<shuttle::sync::Condvar>)>,
}

impl Timers {
    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    fn set(&mut self, until: Duration, waiting: Arc<shuttle::sync::Condvar>) -> u64 {
        self.number += 1;
        self.waits.push((self.number, until, waiting));
        self.number
    }

    fn unset(&mut self, timer: u64) {
        self.waits.retain(|(number, ..)| *number != timer);
    }

    /// Goes to the end of the next wait. Whoever waits so long is to be woken, also one that is about to wait: it is woken
    /// again the next time, until it has unset its timer.
    pub(crate) fn advance(&mut self) -> Vec<Arc<shuttle::sync::Condvar>> {
        let next = self.waits.iter().map(|(_, until, _)| *until).min();
        self.now = self.now.max(next.unwrap_or_default());
        let due = self.waits.iter().filter(|(_, until, _)| *until <= self.now);
        due.map(|(.., waiting)| Arc::clone(waiting)).collect()
    }
}
