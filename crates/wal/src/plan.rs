//! What a start would do with each operation in the log: pure, so that recovery executes it and wal-tools shows it.

use std::collections::HashMap;

use lockstep_model::{Access, ActionKind, LaneId, Lsn, State};

use crate::fold::{Fold, OpHead};

/// What happens to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It is carried on from the first store; what is there already is recognised and kept.
    Redo,
    /// The decision to take it back is in the log: it is taken back.
    Undo,
    /// It committed, and is its key's last state in the log: both stores are looked at, and what is missing or older is written
    /// again.
    Verify,
    /// It committed, and something later in the log decides what its key shows.
    Overtaken,
    /// It is parked: an operator decides.
    LeaveParked,
    /// It ended otherwise: nothing to do.
    Ended,
}

impl Decision {
    /// The decision's name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redo => "redo",
            Self::Undo => "undo",
            Self::Verify => "verify",
            Self::Overtaken => "overtaken",
            Self::LeaveParked => "leave_parked",
            Self::Ended => "ended",
        }
    }

    /// Why this is what happens to the operation, in a sentence for operators.
    #[must_use]
    pub const fn reason(self, head: &OpHead) -> &'static str {
        match self {
            Self::Redo => match head.state {
                State::SurrealCompleted => {
                    "SurrealDB has taken it, Qdrant may have: both are asked again, what is there is kept"
                }
                State::QdrantCompleted => {
                    "both stores have taken it, only the mark of its end is missing: both are asked again, then it commits"
                }
                State::Pending
                | State::Committed
                | State::Compensating
                | State::RolledBack
                | State::Parked
                | State::Discarded => {
                    "logged, and no store is known to have it: carried out from the first store on, what is there is kept"
                }
            },
            Self::Undo => "it cannot be finished, and the log holds the decision to take it back: that goes on",
            Self::Verify if head.removes.is_empty() => {
                "committed, and its key's last write in the log: looked for in both stores, written again if it is missing"
            }
            Self::Verify => {
                "a committed removal: both stores are looked at, what it removed is removed again if it is there"
            }
            Self::Overtaken => {
                "committed, and a later operation, in the log or among what it lost, decides what its key shows"
            }
            Self::LeaveParked => "parked: it can be neither finished nor undone without an operator",
            Self::Ended => match head.state {
                State::RolledBack => "taken back before: nothing to do",
                State::Discarded => "given up by an operator before: nothing to do",
                State::Pending
                | State::SurrealCompleted
                | State::QdrantCompleted
                | State::Committed
                | State::Compensating
                | State::Parked => "committed; what it removed was logged as deletes of their own: nothing to do",
            },
        }
    }
}

/// The decision for every operation of the fold, in LSN order.
#[must_use]
pub fn plan(fold: &Fold) -> Vec<(Lsn, Decision)> {
    let last = LastWrites::of(fold);
    let decision = |lsn: Lsn, head: &OpHead| match decide(lsn, head, &last) {
        // What is lost may have removed or overwritten it: writing it again could undo that.
        Decision::Verify if lsn <= fold.lost_operations => Decision::Overtaken,
        decided @ (Decision::Verify
        | Decision::Redo
        | Decision::Undo
        | Decision::Overtaken
        | Decision::LeaveParked
        | Decision::Ended) => decided,
    };
    fold.ops.iter().map(|(&lsn, head)| (lsn, decision(lsn, head))).collect()
}

fn decide(lsn: Lsn, head: &OpHead, last: &LastWrites) -> Decision {
    match head.state {
        State::Pending | State::SurrealCompleted | State::QdrantCompleted => Decision::Redo,
        State::Compensating => Decision::Undo,
        State::Parked => Decision::LeaveParked,
        State::RolledBack | State::Discarded => Decision::Ended,
        State::Committed => match head.kind {
            // The pages of a clear are deletes of their own.
            ActionKind::Clear => Decision::Ended,
            // A removal reaches points beyond its own lanes (those of edges that went with a record), so it is looked after
            // even when its key has been written since; its fence spares whatever is newer.
            ActionKind::Delete | ActionKind::Unrelate => Decision::Verify,
            ActionKind::Atomic if !head.removes.is_empty() || last.wrote_any(lsn, &head.lanes) => Decision::Verify,
            ActionKind::Put | ActionKind::Patch | ActionKind::Relate
                if head.key.as_ref().is_some_and(|key| last.stands(lsn, key.lane(), &head.lanes)) =>
            {
                Decision::Verify
            }
            // An edge that went with an end: what removed that may not have seen the edge, and left its point.
            ActionKind::Relate
                if head.wants_vectors && head.key.as_ref().is_some_and(|key| last.wrote(lsn, key.lane())) =>
            {
                Decision::Verify
            }
            ActionKind::Put | ActionKind::Patch | ActionKind::Relate | ActionKind::Atomic => Decision::Overtaken,
        },
    }
}

/// For each lane, the last committed operation in the log that wrote it, and the last that removed what is in it.
///
/// An edge's last state is the last operation on the edge **or a delete of one of its endpoints**: verifying the edge alone
/// would bring it back to a deleted node (scenario A2).
#[derive(Debug, Clone, Default)]
pub struct LastWrites {
    written: HashMap<LaneId, Lsn>,
    removed: HashMap<LaneId, Lsn>,
}

impl LastWrites {
    /// Of everything that the fold shows as committed.
    #[must_use]
    pub fn of(fold: &Fold) -> Self {
        let mut last = Self::default();
        for (&lsn, head) in fold.ops.iter().filter(|(_, head)| head.state == State::Committed) {
            last.add(lsn, &head.lanes, &head.removes);
        }
        last
    }

    /// An operation has committed. They may come in any order.
    pub fn add(&mut self, lsn: Lsn, lanes: &[(LaneId, Access)], removes: &[LaneId]) {
        let later = |map: &mut HashMap<LaneId, Lsn>, lane| {
            let last = map.entry(lane).or_insert(lsn);
            *last = lsn.max(*last);
        };
        for &(lane, _) in lanes.iter().filter(|(_, access)| *access == Access::Write) {
            later(&mut self.written, lane);
        }
        for &lane in removes {
            later(&mut self.removed, lane);
        }
    }

    /// Whether what the operation wrote under the lane `own` is still what the log says of it: nothing later wrote it, and
    /// nothing later removed what it stands on.
    #[must_use]
    pub fn stands(&self, lsn: Lsn, own: LaneId, lanes: &[(LaneId, Access)]) -> bool {
        self.wrote(lsn, own)
            && lanes.iter().all(|(lane, _)| self.removed.get(lane).is_none_or(|&removal| removal <= lsn))
    }

    /// Whether it wrote the lane last.
    #[must_use]
    pub fn wrote(&self, lsn: Lsn, own: LaneId) -> bool {
        self.written.get(&own) == Some(&lsn)
    }

    /// The last write of the key, if it is retained and nothing removed it since: the log says that something is there.
    #[must_use]
    pub fn writer(&self, own: LaneId) -> Option<Lsn> {
        let written = *self.written.get(&own)?;
        self.removed.get(&own).is_none_or(|&removal| removal < written).then_some(written)
    }

    /// Whether it wrote one of its lanes last.
    #[must_use]
    pub fn wrote_any(&self, lsn: Lsn, lanes: &[(LaneId, Access)]) -> bool {
        lanes.iter().any(|(lane, access)| *access == Access::Write && self.wrote(lsn, *lane))
    }
}
