//! The wall clock: it follows the paused one, trembles, and jumps when it is told to, in both directions.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lockstep_engine::Clock;
use tokio::time::Instant;

use crate::chance::Dice;

/// How far the machine's clock is off. It outlives the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drift(Arc<AtomicI64>);

impl Drift {
    pub(crate) fn jump(&self, by_us: i64) {
        self.0.fetch_add(by_us, Ordering::Relaxed);
    }
}

/// The wall clock of one life.
pub(crate) struct SimClock {
    base: u64,
    started: Instant,
    drift: Drift,
    dice: Dice,
}

impl SimClock {
    pub(crate) fn new(base: u64, drift: Drift, dice: Dice) -> Self {
        Self { base, started: Instant::now(), drift, dice }
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_micros()).unwrap();
        let right = (self.base + passed + self.dice.below(2_000)).saturating_sub(self.dice.below(2_000));
        right.saturating_add_signed(self.drift.0.load(Ordering::Relaxed))
    }
}
