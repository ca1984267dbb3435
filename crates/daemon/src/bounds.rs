//! The limits that the daemon itself keeps, and that a reload changes while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What is bounded. Every request goes by what it finds when it begins.
#[derive(Debug)]
pub struct Bounds {
    op_bytes: AtomicUsize,
    stall_ms: AtomicU64,
}

impl Bounds {
    /// `limits.op_bytes` and `limits.stall_s`.
    #[must_use]
    pub fn new(op_bytes: usize, stall: Duration) -> Self {
        let bounds = Self { op_bytes: AtomicUsize::new(0), stall_ms: AtomicU64::new(0) };
        bounds.set(op_bytes, stall);
        bounds
    }

    /// From now on these hold.
    pub fn set(&self, op_bytes: usize, stall: Duration) {
        self.op_bytes.store(op_bytes, Ordering::Relaxed);
        self.stall_ms.store(u64::try_from(stall.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// `limits.op_bytes`
    pub(crate) fn op_bytes(&self) -> usize {
        self.op_bytes.load(Ordering::Relaxed)
    }

    /// `limits.stall_s`
    pub(crate) fn stall(&self) -> Duration {
        Duration::from_millis(self.stall_ms.load(Ordering::Relaxed))
    }
}

/// How many may be in at once.
#[derive(Debug)]
pub struct Room {
    places: AtomicUsize,
    taken: AtomicUsize,
}

/// A place in a [`Room`], free again when this is dropped.
#[derive(Debug)]
pub struct Place(Arc<Room>);

impl Room {
    /// Room for so many.
    #[must_use]
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places: AtomicUsize::new(places), taken: AtomicUsize::new(0) })
    }

    /// From now on there is room for so many. Who is in stays.
    pub fn set(&self, places: usize) {
        self.places.store(places, Ordering::Relaxed);
    }

    /// How many are in.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed) as u64
    }

    /// A place, if one is free.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let places = self.places.load(Ordering::Relaxed);
        let one_more = |taken| (taken < places).then_some(taken + 1);
        let entered = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.is_ok().then(|| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_grows_and_shrinks_under_those_who_are_in() {
        let room = Room::new(1);
        let first = room.enter().unwrap();
        assert!(room.enter().is_none());
        room.set(2);
        let second = room.enter().unwrap();
        room.set(1);
        drop(first);
        assert!(room.enter().is_none(), "the second is still in");
        drop(second);
        assert_eq!(room.taken(), 0);
        assert!(room.enter().is_some());
    }
}
