//! The states of a log's operations and nothing else: sixteen bytes for each, where a [`Fold`](crate::Fold) takes hundreds.
//!
//! Records come in LSN order, as to a fold; both say the same of every state and of everything irregular.

use std::collections::BTreeMap;

use lockstep_model::{Lsn, State};

use crate::fold::{Irregular, step};
use crate::ranges::LsnRanges;
use crate::record::{Checkpoint, Mark, Record};

/// Where one operation stands.
#[derive(Debug, Clone, Copy)]
struct Standing {
    state: State,
    /// As [`OpHead::doubtful`](crate::OpHead::doubtful).
    doubtful: bool,
}

/// Where each operation in a log stands.
#[derive(Debug, Clone, Default)]
pub struct States {
    /// Sorted by LSN, since intents come in that order.
    ops: Vec<(Lsn, Standing)>,
    /// The newest checkpoint record, with its place.
    pub checkpoint: Option<(Lsn, Checkpoint)>,
    /// For each operation that failed, the mark that says why.
    pub failures: BTreeMap<Lsn, Lsn>,
    /// What no run of Lockstep writes.
    pub irregular: Vec<Irregular>,
    /// What a repair found lost.
    pub lost: LsnRanges,
}

impl States {
    /// Takes in the next record.
    pub fn record(&mut self, lsn: Lsn, record: &Record) {
        match record {
            Record::Intent(_) => self.ops.push((lsn, Standing { state: State::Pending, doubtful: false })),
            Record::Image(image) => self.speaks_of(lsn, image.op),
            Record::Mark(mark) => self.mark(lsn, mark),
            Record::Checkpoint(checkpoint) => self.checkpoint = Some((lsn, checkpoint.clone())),
            Record::Asked(asked) => self.speaks_of(lsn, asked.op),
            Record::Declined(declined) => self.speaks_of(lsn, declined.op),
            Record::Lost(lost) => {
                self.lost.insert_range(lsn, lost.last);
                if lost.hides_progress {
                    let open = self.ops.iter_mut().filter(|(_, standing)| !standing.state.is_final());
                    open.for_each(|(_, standing)| standing.doubtful = true);
                }
            }
        }
    }

    /// What is left of a lost operation is no surprise.
    fn speaks_of(&mut self, record: Lsn, op: Lsn) {
        if self.of(op).is_none() && !self.lost.contains(op) {
            self.irregular.push(Irregular::Stray { record, op });
        }
    }

    fn mark(&mut self, lsn: Lsn, mark: &Mark) {
        let mut is_stray = true;
        for &op in &mark.ops {
            let Ok(at) = self.ops.binary_search_by_key(&op, |&(lsn, _)| lsn) else {
                is_stray &= !self.lost.contains(op);
                continue; // It has left; the mark stays for the others.
            };
            is_stray = false;
            let Standing { state, doubtful } = &mut self.ops[at].1;
            match step((state, *doubtful), lsn, op, mark.state) {
                Ok(()) if mark.failure.is_some() => drop(self.failures.insert(op, lsn)),
                Ok(()) => {}
                Err(irregular) => self.irregular.push(irregular),
            }
        }
        if is_stray {
            let op = mark.ops.first().copied().unwrap_or(Lsn(0));
            self.speaks_of(lsn, op);
        }
    }

    /// Where the operation stands, if it is in the log.
    #[must_use]
    pub fn of(&self, op: Lsn) -> Option<State> {
        let at = self.ops.binary_search_by_key(&op, |&(lsn, _)| lsn).ok()?;
        self.ops.get(at).map(|&(_, standing)| standing.state)
    }

    /// The operations and their states, in LSN order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Lsn, State)> + '_ {
        self.ops.iter().map(|&(lsn, standing)| (lsn, standing.state))
    }

    /// How many operations there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}
