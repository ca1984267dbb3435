//! An operation as the engine remembers it: small, whatever it carries. The payload stays in the log.

use lockstep_model::{Access, ActionKind, LaneId, Lsn, State, Version};
use lockstep_wal::{Failure, OpHead};
use tokio::time::Instant;

use crate::ready::Bucket;

/// Where an operation waits, or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It goes to SurrealDB next.
    Surreal,
    /// It goes to Qdrant next.
    Qdrant,
    /// It is to be taken back.
    Undo,
    /// It committed before the last start; the stores are looked at.
    Verify,
}

/// What went wrong with an operation so far. Most never have one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble {
    /// Attempts that counted against it.
    pub(crate) attempts: u32,
    /// Attempts in all: what the backoff grows with.
    pub(crate) tries: u32,
    /// The store's count of successes when it was tried last.
    pub(crate) successes_seen: u64,
    /// When it is tried again.
    pub(crate) next_attempt: Option<(Instant, u64)>,
    /// What happened last, and when (microseconds since 1970).
    pub(crate) last: Option<(Failure, u64)>,
}

/// An operation in the log.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) version: Version,
    pub(crate) at_us: u64,
    /// When it last moved, by tokio's clock.
    pub(crate) moved: Instant,
    pub(crate) lanes: Box<[(LaneId, Access)]>,
    /// Its image and marks, in LSN order.
    pub(crate) records: Vec<Lsn>,
    pub(crate) image: Option<Lsn>,
    pub(crate) trouble: Option<Box<Trouble>>,
    pub(crate) bucket: Bucket,
    pub(crate) bytes: u32,
    /// Lanes that it waits in.
    pub(crate) blocked: u32,
    pub(crate) state: State,
    pub(crate) kind: ActionKind,
    pub(crate) stage: Stage,
    /// Its intent is durable.
    pub(crate) durable: bool,
    /// A store may have seen it before: what is there decides.
    pub(crate) seen: bool,
    /// The bulk INSERT met its key: it takes the long way.
    pub(crate) long_way: bool,
    /// It failed in company: it is tried alone.
    pub(crate) alone: bool,
    /// Its end mark is durable: it is answered, and may leave at the next checkpoint.
    pub(crate) settled: bool,
}

impl Op {
    /// A new operation, not durable yet.
    pub(crate) fn new(
        version: Version,
        at_us: u64,
        kind: ActionKind,
        lanes: Box<[(LaneId, Access)]>,
        bucket: Bucket,
        bytes: u32,
    ) -> Self {
        Self {
            version,
            at_us,
            moved: Instant::now(),
            lanes,
            records: Vec::new(),
            image: None,
            trouble: None,
            bucket,
            bytes,
            blocked: 0,
            state: State::Pending,
            kind,
            stage: Stage::Surreal,
            durable: false,
            seen: false,
            long_way: false,
            alone: false,
            settled: false,
        }
    }

    /// An operation found in the log at a start.
    pub(crate) fn found(head: &OpHead, bucket: Bucket) -> Self {
        let mut op = Self::new(head.version, head.at_us, head.kind, head.lanes.clone(), bucket, head.bytes);
        op.records.clone_from(&head.records);
        op.image = head.image;
        op.state = head.state;
        op.durable = true;
        op.seen = true;
        op
    }

    /// Its trouble, made on first use.
    pub(crate) fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_with(Box::default)
    }
}
