//! What may start now, oldest first, and what waits for its time.
//!
//! Operations wait in buckets of one table and one need, so that a paused table or store is passed over at once, however
//! many operations wait for it.

use std::collections::{BTreeMap, HashMap};

use lockstep_model::Lsn;
use tokio::time::Instant;

use crate::lsn_map::LsnSet;

/// What an operation needs, as far as pausing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Bucket {
    /// The table, by its number in [`crate::tables::Tables`].
    pub(crate) table: u32,
    /// It has work in the vector store.
    pub(crate) vectors: bool,
}

/// One stage's waiting operations.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    buckets: HashMap<Bucket, LsnSet>,
    /// In backoff: when each may be tried again.
    delayed: BTreeMap<(Instant, Lsn), Bucket>,
}

impl Ready {
    pub(crate) fn push(&mut self, lsn: Lsn, bucket: Bucket) {
        self.buckets.entry(bucket).or_default().insert(lsn);
    }

    pub(crate) fn push_at(&mut self, lsn: Lsn, bucket: Bucket, at: Instant) {
        self.delayed.insert((at, lsn), bucket);
    }

    /// Takes out what waits for `at`; `false` if it does not.
    pub(crate) fn take_delayed(&mut self, lsn: Lsn, at: Instant) -> bool {
        self.delayed.remove(&(at, lsn)).is_some()
    }

    /// Moves what has waited long enough; tells when the next one will have.
    pub(crate) fn wake(&mut self, now: Instant) -> Option<Instant> {
        while let Some((&(at, lsn), &bucket)) = self.delayed.first_key_value() {
            if at > now {
                return Some(at);
            }
            self.delayed.pop_first();
            self.push(lsn, bucket);
        }
        None
    }

    /// Nobody waits for a time any more: an operator, or a store that came back, says now.
    pub(crate) fn wake_all(&mut self) {
        for ((_, lsn), bucket) in std::mem::take(&mut self.delayed) {
            self.push(lsn, bucket);
        }
    }

    /// The oldest operation in a bucket that is open.
    pub(crate) fn first(&self, open: impl Fn(Bucket) -> bool) -> Option<(Lsn, Bucket)> {
        self.buckets.iter().filter(|(b, _)| open(**b)).filter_map(|(b, set)| Some((set.first()?, *b))).min()
    }

    /// Somebody of the bucket waits here for its turn.
    pub(crate) fn has(&self, bucket: Bucket) -> bool {
        self.buckets.contains_key(&bucket)
    }

    /// How many wait here, for a turn or for a time.
    pub(crate) fn len(&self) -> usize {
        self.buckets.values().map(LsnSet::len).sum::<usize>() + self.delayed.len()
    }

    /// Takes it out.
    pub(crate) fn take(&mut self, lsn: Lsn, bucket: Bucket) {
        if let Some(set) = self.buckets.get_mut(&bucket) {
            set.remove(lsn);
            if set.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_open_one_comes_first_and_delays_are_kept() {
        let (a, b) = (Bucket { table: 1, vectors: true }, Bucket { table: 2, vectors: false });
        let mut ready = Ready::default();
        let now = Instant::now();
        ready.push(Lsn(3), a);
        ready.push(Lsn(2), b);
        ready.push_at(Lsn(1), a, now + Duration::from_secs(1));
        assert_eq!(ready.wake(now), Some(now + Duration::from_secs(1)));
        assert_eq!(ready.first(|_| true), Some((Lsn(2), b)));
        assert_eq!(ready.first(|bucket| bucket.vectors), Some((Lsn(3), a)));
        assert_eq!(ready.wake(now + Duration::from_secs(1)), None);
        assert_eq!(ready.first(|_| true), Some((Lsn(1), a)));
        ready.take(Lsn(1), a);
        ready.take(Lsn(2), b);
        ready.take(Lsn(3), a);
        assert_eq!(ready.first(|_| true), None);
    }
}
