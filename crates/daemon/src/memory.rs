//! How many bytes of requests may be in memory together, whoever sent them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const UNIT_BYTES: usize = 1 << 10;

/// A bound on bytes that many share.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
}

/// A share of it, given back when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { units: Arc::new(Semaphore::new(units(bytes))) }
    }

    /// Makes `share` one of `bytes` in all, if there is room now.
    pub(crate) fn try_grow(&self, share: &mut Share, bytes: usize) -> bool {
        let more = share.lacks(bytes);
        more == 0
            || Arc::clone(&self.units).try_acquire_many_owned(more).is_ok_and(|permit| {
                share.take(permit);
                true
            })
    }

    /// Makes `share` one of `bytes` in all, as soon as there is room.
    pub(crate) async fn grow(&self, share: &mut Share, bytes: usize) {
        let more = share.lacks(bytes);
        if more > 0
            // It is never closed.
            && let Ok(permit) = Arc::clone(&self.units).acquire_many_owned(more).await
        {
            share.take(permit);
        }
    }

    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.units.available_permits() * UNIT_BYTES
    }
}

impl Share {
    fn lacks(&self, bytes: usize) -> u32 {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        u32::try_from(units(bytes).saturating_sub(held)).unwrap_or(u32::MAX)
    }

    fn take(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_grow_within_the_bound_and_come_back() {
        let memory = Memory::new(10 << 10);
        let (mut first, mut second) = (Share::default(), Share::default());
        assert!(memory.try_grow(&mut first, 6 << 10));
        assert!(memory.try_grow(&mut first, 1), "never less");
        assert!(!memory.try_grow(&mut second, 5 << 10));
        assert!(memory.try_grow(&mut second, 4 << 10));
        assert_eq!(memory.free_bytes(), 0);
        drop(first);
        assert_eq!(memory.free_bytes(), 6 << 10);
    }
}
