//! What a start would do with each operation in the log: pure, so that recovery executes it and wal-tools shows it.

use std::collections::HashMap;

use lockstep_model::{Access, ActionKind, Key, LaneId, Lsn, State};

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
}

/// The decision for every operation of the fold, in LSN order.
#[must_use]
pub fn plan(fold: &Fold) -> Vec<(Lsn, Decision)> {
    let last = LastWrites::of(fold);
    fold.ops.iter().map(|(&lsn, head)| (lsn, decide(lsn, head, &last))).collect()
}

fn decide(lsn: Lsn, head: &OpHead, last: &LastWrites) -> Decision {
    match head.state {
        State::Pending | State::SurrealCompleted | State::QdrantCompleted => Decision::Redo,
        State::Compensating => Decision::Undo,
        State::Parked => Decision::LeaveParked,
        State::RolledBack | State::Discarded => Decision::Ended,
        State::Committed if removes(head) || last.stands(lsn, head) => Decision::Verify,
        State::Committed => Decision::Overtaken,
    }
}

/// A removal reaches points beyond its own lanes (those of edges that went with a record), so it is looked after even when its
/// key has been written since; its fence spares whatever is newer.
const fn removes(head: &OpHead) -> bool {
    matches!(head.kind, ActionKind::Delete | ActionKind::Unrelate)
}

/// For each lane, the last committed operation in the log that wrote it, and the last that removed what is in it.
///
/// An edge's last state is the last operation on the edge **or a delete of one of its endpoints**: verifying the edge alone
/// would bring it back to a deleted node (scenario A2).
struct LastWrites {
    written: HashMap<LaneId, Lsn>,
    removed: HashMap<LaneId, Lsn>,
}

impl LastWrites {
    fn of(fold: &Fold) -> Self {
        let mut last = Self { written: HashMap::new(), removed: HashMap::new() };
        for (&lsn, head) in fold.ops.iter().filter(|(_, head)| head.state == State::Committed) {
            for &(lane, access) in &head.lanes {
                if access == Access::Write {
                    last.written.insert(lane, lsn);
                    if removes(head) {
                        last.removed.insert(lane, lsn);
                    }
                }
            }
        }
        last
    }

    fn stands(&self, lsn: Lsn, head: &OpHead) -> bool {
        let Some(own) = head.key.as_ref().map(Key::lane) else { return false };
        self.written.get(&own) == Some(&lsn)
            && head.lanes.iter().all(|(lane, _)| self.removed.get(lane).is_none_or(|&removal| removal <= lsn))
    }
}
