//! Seeded chance and a wall clock that follows the paused one.

use std::sync::{Arc, Mutex};

use lockstep_engine::{Chance, Clock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use uuid::Uuid;

/// One stream of chance for everything in a run, so that a seed decides all of it.
#[derive(Clone)]
pub(crate) struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.lock().unwrap().random_range(0..bound) }
    }

    /// True in `percent` of 100 throws.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }
}

impl Chance for Dice {
    fn below(&self, bound: u64) -> u64 {
        Self::below(self, bound)
    }

    fn uuid(&self) -> Uuid {
        Uuid::from_u64_pair(Self::below(self, u64::MAX), Self::below(self, u64::MAX))
    }
}

/// A wall clock that starts at `base` with each life and jumps a little, also back.
pub(crate) struct SimClock {
    base: u64,
    started: Instant,
    dice: Dice,
}

impl SimClock {
    pub(crate) fn new(base: u64, dice: Dice) -> Self {
        Self { base, started: Instant::now(), dice }
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_micros()).unwrap();
        (self.base + passed + self.dice.below(2_000)).saturating_sub(self.dice.below(2_000))
    }
}
