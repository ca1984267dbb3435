//! Lines that have a place and are not durable yet: until then the log holds their bytes in memory.
//!
//! Their shares go back as the log's durable position passes them, not when their answers are read: a client that does not
//! read its answers keeps nobody else's memory.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use lockstep_model::Lsn;
use lockstep_wal::Log;
use tokio::time::sleep;

use crate::memory::{Memory, Share};

/// One request's lines may have so many bytes in memory.
const WINDOW_BYTES: usize = 32 << 20;
/// How often the log is asked while somebody waits for it. A group commit takes about as long.
const STEP: Duration = Duration::from_millis(2);
/// So many shares may wait before the log is asked in passing.
const SHARES: usize = 256;

/// The shares of a line: of its request's memory, and of everyone's.
pub(super) type Shares = [Share; 2];

/// What one request has in memory.
pub(super) struct Unlogged {
    log: Arc<dyn Log>,
    own: Memory,
    all: Memory,
    held: VecDeque<(Lsn, Shares)>,
}

impl Unlogged {
    pub(super) fn new(log: Arc<dyn Log>, all: Memory, max_line_bytes: usize) -> Self {
        // A single line always fits.
        let own = Memory::new(WINDOW_BYTES.max(2 * max_line_bytes));
        Self { log, own, all, held: VecDeque::new() }
    }

    /// Shares for a line, as soon as there are some.
    pub(super) async fn room_for(&mut self, bytes: usize) -> Shares {
        if self.held.len() >= SHARES {
            self.release();
        }
        let mut shares = Shares::default();
        loop {
            let [own, all] = &mut shares;
            if self.own.try_grow(own, bytes) && self.all.try_grow(all, bytes) {
                return shares;
            }
            self.release();
            sleep(STEP).await;
        }
    }

    /// The line has this place now.
    pub(super) fn hold(&mut self, lsn: Lsn, shares: Shares) {
        self.held.push_back((lsn, shares));
    }

    /// Waits a moment and lets go what has become durable; for ever if there is nothing to let go.
    pub(super) async fn step(&mut self) {
        if self.held.is_empty() {
            pending::<()>().await;
        }
        sleep(STEP).await;
        self.release();
    }

    /// Waits until nothing is held.
    pub(super) async fn drained(&mut self) {
        while !self.held.is_empty() {
            self.step().await;
        }
    }

    fn release(&mut self) {
        if self.log.failure().is_some() {
            // Nothing becomes durable any more, and the daemon is about to end.
            self.held.clear();
        }
        let durable = self.log.positions().durable;
        while self.held.front().is_some_and(|(lsn, _)| *lsn <= durable) {
            self.held.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_model::LogId;
    use lockstep_wal::{Class, Durability, Entry, Group, Kind, MemLog};
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn shares_go_back_when_the_log_is_durable() {
        let log = Arc::new(MemLog::new(LogId(Uuid::nil())));
        let all = Memory::new(1 << 20);
        let mut unlogged = Unlogged::new(Arc::clone(&log) as Arc<dyn Log>, all.clone(), 1 << 10);
        let mut group = Group::new(Durability::Flush, Class::Intake);
        group.entries.push(Entry { kind: Kind(1), payload: vec![0; 10] });
        let place = log.append(group).unwrap().first;
        let shares = unlogged.room_for(1 << 20).await;
        unlogged.hold(place, shares);
        assert_eq!(all.free_bytes(), 0);
        unlogged.step().await;
        assert_eq!(all.free_bytes(), 0, "not durable yet");

        log.flush_pending();
        let again = unlogged.room_for(1 << 20).await;
        assert_eq!(all.free_bytes(), 0);
        drop(again);
        unlogged.drained().await;
        assert_eq!(all.free_bytes(), 1 << 20);
    }
}
