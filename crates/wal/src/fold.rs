//! Where every operation in a log stands: the records, folded in LSN order.
//!
//! Recovery folds the open log with it, wal-tools folds a raw scan, and both get the same answer. The fold keeps heads, never
//! payloads: a log of a million operations folds into a few hundred bytes each.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_model::{
    Access, Action, ActionKind, Idempotency, Key, LaneId, Lsn, Shape, State, Table, Version, is_legal_step,
};

use crate::asked::{Asked, Decisions, Declined};
use crate::lost::Lost;
use crate::ranges::LsnRanges;
use crate::record::{Checkpoint, Failure, Intent, Mark, Record};

/// What is known of one operation in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct OpHead {
    /// Its version.
    pub version: Version,
    /// When it was logged, in microseconds since 1970.
    pub at_us: u64,
    /// What it is.
    pub kind: ActionKind,
    /// What it is about.
    pub key: Option<Key>,
    /// The table that it belongs to.
    pub table: Option<Table>,
    /// The tables that a group touches.
    pub tables: Box<[Table]>,
    /// Whether it has work in the vector store.
    pub wants_vectors: bool,
    /// The lanes that it holds, its key's first.
    pub lanes: Box<[(LaneId, Access)]>,
    /// Those of them whose keys it removes.
    pub removes: Box<[LaneId]>,
    /// Where it stands.
    pub state: State,
    /// The records that it may leave with, in LSN order, without its intent: image and marks.
    pub records: Vec<Lsn>,
    /// Its image, if one was logged.
    pub image: Option<Lsn>,
    /// When it came to the states after the first.
    pub history: Vec<(State, u64)>,
    /// Why it did not commit.
    pub failure: Option<Failure>,
    /// The digest of its idempotency key.
    pub idempotency: Option<[u8; 16]>,
    /// Size of its intent's payload.
    pub bytes: u32,
    /// What operators decided about it.
    pub decisions: Option<Box<Decisions>>,
    /// It was open where records are lost: how it went on may be among them.
    pub doubtful: bool,
}

impl OpHead {
    /// The decision about it that is still to be carried out, and where it stands.
    #[must_use]
    pub fn standing_decision(&self) -> Option<(Lsn, &Asked)> {
        self.decisions.as_ref()?.standing(self.state)
    }

    /// Why it did not commit, and if a decision about it could not be carried out, why.
    #[must_use]
    pub fn shown_failure(&self) -> Option<Failure> {
        let declined = self.decisions.as_ref().filter(|_| self.state == State::Parked);
        declined.and_then(|d| d.failure(self.failure.as_ref())).or_else(|| self.failure.clone())
    }
}

/// What a table's vectors are known to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnownShape {
    /// Names, sizes, distances; empty while the table has none.
    pub shape: Shape,
    /// The table holds edges: they go with their endpoints, and their points have to follow.
    pub edges: bool,
}

/// Something in the log that no run of Lockstep writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Irregular {
    /// A mark or image speaks of an operation that is not in the log.
    #[error("record {record} speaks of operation {op}, which is not in the log")]
    Stray {
        /// The record.
        record: Lsn,
        /// The operation.
        op: Lsn,
    },
    /// A mark leads from a state to one that cannot follow it.
    #[error("record {record} takes operation {op} from {} to {}, which cannot follow it", from.as_str(), to.as_str())]
    Illegal {
        /// The record.
        record: Lsn,
        /// The operation.
        op: Lsn,
        /// Where it stood.
        from: State,
        /// Where the mark takes it.
        to: State,
    },
}

/// The state of a log's operations.
#[derive(Debug, Clone)]
pub struct Fold {
    /// The operations in the log.
    pub ops: BTreeMap<Lsn, OpHead>,
    /// The newest checkpoint record, with its place.
    pub checkpoint: Option<(Lsn, Checkpoint)>,
    /// What tables' vectors are known to be: the newest checkpoint's, then what intents fixed after it.
    pub shapes: BTreeMap<Table, KnownShape>,
    /// For each mark still in the log, how many of its operations are.
    pub marks: BTreeMap<Lsn, u32>,
    /// The highest version seen.
    pub clock: Version,
    /// The last record folded.
    pub last: Lsn,
    /// What no run of Lockstep writes.
    pub irregular: Vec<Irregular>,
    /// What a repair found lost.
    pub lost: LsnRanges,
    /// Up to here what is lost may have been operations: what committed before may have been overwritten or removed by them.
    pub lost_operations: Lsn,
}

impl Default for OpHead {
    fn default() -> Self {
        Self {
            version: Version(0),
            at_us: 0,
            kind: ActionKind::Put,
            key: None,
            table: None,
            tables: Box::default(),
            wants_vectors: false,
            lanes: Box::default(),
            removes: Box::default(),
            state: State::Pending,
            records: Vec::new(),
            image: None,
            history: Vec::new(),
            failure: None,
            idempotency: None,
            bytes: 0,
            decisions: None,
            doubtful: false,
        }
    }
}

impl Default for Fold {
    fn default() -> Self {
        Self::new()
    }
}

impl Fold {
    /// A fold of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ops: BTreeMap::new(),
            checkpoint: None,
            shapes: BTreeMap::new(),
            marks: BTreeMap::new(),
            clock: Version(0),
            last: Lsn(0),
            irregular: Vec::new(),
            lost: LsnRanges::default(),
            lost_operations: Lsn(0),
        }
    }

    /// Takes in the next record; records come in LSN order.
    pub fn record(&mut self, lsn: Lsn, record: &Record, payload_bytes: usize) {
        self.last = self.last.max(lsn);
        match record {
            Record::Intent(intent) => self.intent(lsn, intent, payload_bytes),
            Record::Image(image) => match self.ops.get_mut(&image.op) {
                Some(head) => {
                    head.image = Some(lsn);
                    head.records.push(lsn);
                }
                None => self.stray(lsn, image.op),
            },
            Record::Mark(mark) => self.mark(lsn, mark),
            Record::Checkpoint(checkpoint) => self.checkpoint(lsn, checkpoint),
            Record::Asked(asked) => match self.ops.get_mut(&asked.op) {
                Some(head) => {
                    head.records.push(lsn);
                    head.decisions.get_or_insert_default().asked.push((lsn, asked.clone()));
                }
                None => self.stray(lsn, asked.op),
            },
            Record::Declined(declined) => self.declined(lsn, declined),
            Record::Lost(lost) => self.lost(lsn, lost),
        }
    }

    /// A record speaks of an operation that is not here. If that is lost itself, this is what is left of it.
    fn stray(&mut self, record: Lsn, op: Lsn) {
        if !self.lost.contains(op) {
            self.irregular.push(Irregular::Stray { record, op });
        }
    }

    fn declined(&mut self, lsn: Lsn, declined: &Declined) {
        let Some(head) = self.ops.get_mut(&declined.op) else { return self.stray(lsn, declined.op) };
        head.records.push(lsn);
        head.decisions.get_or_insert_default().declined.push((lsn, declined.clone()));
    }

    /// Operations before a loss may have gone further than the log tells; those behind it have not.
    fn lost(&mut self, lsn: Lsn, lost: &Lost) {
        self.lost.insert_range(lsn, lost.last);
        self.last = self.last.max(lost.last);
        if lost.hides_operations {
            self.lost_operations = self.lost_operations.max(lost.last);
        }
        if lost.hides_progress {
            for head in self.ops.values_mut().filter(|head| !head.state.is_final()) {
                head.doubtful = true;
            }
        }
    }

    fn intent(&mut self, lsn: Lsn, intent: &Intent, payload_bytes: usize) {
        self.clock = self.clock.max(intent.version);
        for (table, shape) in &intent.defines {
            self.shapes.entry(table.clone()).or_default().shape = shape.clone();
        }
        for member in intent.op.action.members() {
            if let (ActionKind::Relate, Some(table)) = (member.kind(), member.table()) {
                self.shapes.entry(table.clone()).or_default().edges = true;
            }
        }
        self.ops.insert(
            lsn,
            OpHead {
                version: intent.version,
                at_us: intent.at_us,
                kind: intent.op.action.kind(),
                key: intent.op.action.subject(),
                table: intent.op.action.table().cloned(),
                tables: group_tables(&intent.op.action),
                wants_vectors: intent.wants_vectors,
                lanes: intent.op.action.lanes().into_boxed_slice(),
                removes: intent.op.action.removed_lanes().into_boxed_slice(),
                idempotency: intent.op.idempotency.as_ref().map(Idempotency::digest),
                bytes: u32::try_from(payload_bytes).unwrap_or(u32::MAX),
                ..OpHead::default()
            },
        );
    }

    fn mark(&mut self, lsn: Lsn, mark: &Mark) {
        let mut held = 0;
        for &op in &mark.ops {
            let Some(head) = self.ops.get_mut(&op) else {
                continue; // It has left; the mark stays for the others.
            };
            held += 1;
            if let Err(irregular) = step((&mut head.state, head.doubtful), lsn, op, mark.state) {
                self.irregular.push(irregular);
                continue;
            }
            head.records.push(lsn);
            head.history.push((mark.state, mark.at_us));
            if mark.failure.is_some() {
                head.failure.clone_from(&mark.failure);
            }
        }
        if held == 0 {
            // Some of its operations have left; if none is lost, nothing should have kept the mark.
            let lost = mark.ops.iter().any(|op| self.lost.contains(*op));
            if !lost {
                self.stray(lsn, mark.ops.first().copied().unwrap_or(Lsn(0)));
            }
        }
        self.marks.insert(lsn, held);
    }

    fn checkpoint(&mut self, lsn: Lsn, checkpoint: &Checkpoint) {
        self.clock = self.clock.max(Version(checkpoint.clock));
        self.shapes = checkpoint
            .shapes
            .iter()
            .filter_map(|row| {
                Some((Table::new(&row.table).ok()?, KnownShape { shape: row.shape.clone(), edges: row.edges }))
            })
            .collect();
        self.checkpoint = Some((lsn, checkpoint.clone()));
    }
}

/// Takes an operation to the state that a mark says, if that may follow.
pub(crate) fn step((state, doubtful): (&mut State, bool), record: Lsn, op: Lsn, to: State) -> Result<(), Irregular> {
    // The steps between may be lost; from an end there are none.
    let missed = doubtful && !state.is_final();
    if !missed && !is_legal_step(*state, to) {
        return Err(Irregular::Illegal { record, op, from: *state, to });
    }
    *state = to;
    Ok(())
}

/// The tables of a group's members, each once; none of anything else.
fn group_tables(action: &Action) -> Box<[Table]> {
    let Action::Atomic(members) = action else { return Box::default() };
    let tables: BTreeSet<&Table> = members.iter().filter_map(Action::table).collect();
    tables.into_iter().cloned().collect()
}
