//! Which writes are forgotten.

use std::sync::atomic::{AtomicU64, Ordering};

/// One of so many.
const OF: u64 = 50;

/// Counts calls.
#[derive(Default)]
pub(super) struct Forgetting(AtomicU64);

impl Forgetting {
    pub(super) fn this_time(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) % OF == OF - 1
    }
}
