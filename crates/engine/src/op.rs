//! An operation as the engine remembers it: small, whatever it carries. The payload stays in the log.

use std::num::NonZeroU64;

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
    /// It committed; the stores are looked at.
    Verify,
    /// It ended, and a late write may have come to Qdrant since: its keys are looked at once more.
    Relook,
    /// It is carried out as pages of deletes.
    Clear,
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

/// The lanes of an operation. Nearly all have one, and write it: those take no memory of their own.
#[derive(Debug, Clone)]
pub(crate) enum OpLanes {
    None,
    Write([(LaneId, Access); 1]),
    Many(Box<[(LaneId, Access)]>),
}

impl OpLanes {
    pub(crate) fn new(lanes: Vec<(LaneId, Access)>) -> Self {
        match lanes.as_slice() {
            [] => Self::None,
            [one] => Self::Write([*one]),
            [_, ..] => Self::Many(lanes.into_boxed_slice()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[(LaneId, Access)] {
        match self {
            Self::None => &[],
            Self::Write(one) => one,
            Self::Many(many) => many,
        }
    }
}

/// An operation's records beside its intent.
#[derive(Debug, Clone, Default)]
struct Records {
    /// Image and marks, in LSN order.
    all: Vec<Lsn>,
    image: Option<Lsn>,
}

/// An operation in the log. A million of them may be open: what few have is boxed.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) version: Version,
    pub(crate) at_us: u64,
    pub(crate) lanes: OpLanes,
    records: Option<Box<Records>>,
    pub(crate) trouble: Option<Box<Trouble>>,
    /// When it last moved, in milliseconds of [`crate::core::Shared::now_ms`]; once it has ended, when it did.
    pub(crate) moved_ms: u64,
    /// When a call to Qdrant for it last had an unknown outcome: it may still be carried out.
    pub(crate) late_ms: Option<NonZeroU64>,
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
    /// It has waited for another in a lane: that one's end may not be durable yet.
    pub(crate) waited: bool,
    /// Records of it may be lost with a part of the log, its image among them.
    pub(crate) doubtful: bool,
    /// It has left its lanes.
    pub(crate) released: bool,
    /// Its end mark is durable: it is answered, and may leave at the next checkpoint.
    pub(crate) settled: bool,
}

impl Op {
    /// A new operation, not durable yet.
    pub(crate) fn new(
        version: Version,
        at_us: u64,
        kind: ActionKind,
        lanes: OpLanes,
        bucket: Bucket,
        bytes: u32,
    ) -> Self {
        Self {
            version,
            at_us,
            lanes,
            records: None,
            trouble: None,
            moved_ms: 0,
            late_ms: None,
            bucket,
            bytes,
            blocked: 0,
            state: State::Pending,
            kind,
            stage: if matches!(kind, ActionKind::Clear) { Stage::Clear } else { Stage::Surreal },
            durable: false,
            seen: false,
            long_way: false,
            alone: false,
            waited: false,
            doubtful: false,
            released: false,
            settled: false,
        }
    }

    /// An operation found in the log at a start.
    pub(crate) fn found(head: &OpHead, bucket: Bucket) -> Self {
        let mut op =
            Self::new(head.version, head.at_us, head.kind, OpLanes::new(head.lanes.to_vec()), bucket, head.bytes);
        if !head.records.is_empty() {
            op.records = Some(Box::new(Records { all: head.records.clone(), image: head.image }));
        }
        op.state = head.state;
        op.durable = true;
        op.seen = true;
        op.doubtful = head.doubtful;
        op
    }

    /// It stands in the lane to write.
    pub(crate) fn writes(&self, lane: LaneId) -> bool {
        self.lanes.as_slice().contains(&(lane, Access::Write))
    }

    /// Its image and marks, in LSN order.
    pub(crate) fn records(&self) -> &[Lsn] {
        self.records.as_ref().map_or(&[], |records| &records.all)
    }

    /// Its image.
    pub(crate) fn image(&self) -> Option<Lsn> {
        self.records.as_ref().and_then(|records| records.image)
    }

    /// A record of its own: a mark, or a decision about it.
    pub(crate) fn add_mark(&mut self, lsn: Lsn) {
        self.records.get_or_insert_with(Box::default).all.push(lsn);
    }

    pub(crate) fn add_image(&mut self, lsn: Lsn) {
        self.add_mark(lsn);
        self.records.get_or_insert_with(Box::default).image = Some(lsn);
    }

    /// What was sent to Qdrant for it may still be carried out from `now_ms` on.
    pub(crate) fn may_come_late(&mut self, now_ms: u64) {
        self.late_ms = NonZeroU64::new(now_ms.max(1));
    }

    /// Its trouble, made on first use.
    pub(crate) fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_with(Box::default)
    }
}
