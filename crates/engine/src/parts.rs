//! What the engine is given: log, stores, clock, chance. A simulation gives others.

use std::sync::Arc;

use lockstep_stores::{DocumentStore, VectorStore};
use lockstep_wal::Log;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The wall clock. Intervals are measured by tokio's clock, which a test can pause.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970, UTC. May jump.
    fn now_us(&self) -> u64;
}

/// Where unpredictability comes from.
pub trait Chance: Send + Sync + 'static {
    /// A number from 0 up to, not including, `bound`; 0 for a bound of 0.
    fn below(&self, bound: u64) -> u64;
    /// A name for a record that came without one: a UUIDv7.
    fn uuid(&self) -> Uuid;
}

/// Everything the engine works with.
#[derive(Clone)]
pub struct Parts {
    /// The write-ahead log.
    pub log: Arc<dyn Log>,
    /// SurrealDB.
    pub documents: Arc<dyn DocumentStore>,
    /// Qdrant.
    pub vectors: Arc<dyn VectorStore>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
    /// Where the engine's tasks are counted, so that a stop can wait for them.
    pub tasks: TaskTracker,
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0))
    }
}

/// The system's chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn below(&self, bound: u64) -> u64 {
        // The low half of a version 4 UUID is 62 random bits.
        Uuid::new_v4().as_u64_pair().1.checked_rem(bound).unwrap_or(0)
    }

    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}
