//! Seeded chance: one number decides everything that happens in a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_engine::Chance;
use uuid::Uuid;

/// One stream of chance for everything in a run, so that a seed decides all of it. Clones throw the same dice.
///
/// The numbers are those of SplitMix64: nobody has to be deceived by them, and a run throws a hundred thousand.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Arc<AtomicU64>);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds are small numbers in a row: their streams must not be one stream, shifted.
        Self(Arc::new(AtomicU64::new(mixed(seed.wrapping_add(STEP)))))
    }

    fn next(&self) -> u64 {
        mixed(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        // Everything that is asked for is far below 2^32, so the remainder's lean is nobody's concern.
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// True in `percent` of 100 throws.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }
}

const fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Chance for Dice {
    fn below(&self, bound: u64) -> u64 {
        Self::below(self, bound)
    }

    fn uuid(&self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }
}
