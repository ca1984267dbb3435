//! The states of a log's operations and nothing else: sixteen bytes for each, where a [`Fold`](crate::Fold) takes hundreds.
//!
//! Records come in LSN order, as to a fold; both say the same of every state and of everything irregular.

use std::collections::BTreeMap;

use lockstep_model::{Lsn, State};

use crate::fold::{Irregular, step};
use crate::record::{Checkpoint, Mark, Record};

/// Where each operation in a log stands.
#[derive(Debug, Clone, Default)]
pub struct States {
    /// Sorted by LSN, since intents come in that order.
    ops: Vec<(Lsn, State)>,
    /// The newest checkpoint record, with its place.
    pub checkpoint: Option<(Lsn, Checkpoint)>,
    /// For each operation that failed, the mark that says why.
    pub failures: BTreeMap<Lsn, Lsn>,
    /// What no run of Lockstep writes.
    pub irregular: Vec<Irregular>,
}

impl States {
    /// Takes in the next record.
    pub fn record(&mut self, lsn: Lsn, record: &Record) {
        match record {
            Record::Intent(_) => self.ops.push((lsn, State::Pending)),
            Record::Image(image) => {
                if self.of(image.op).is_none() {
                    self.irregular.push(Irregular::Stray { record: lsn, op: image.op });
                }
            }
            Record::Mark(mark) => self.mark(lsn, mark),
            Record::Checkpoint(checkpoint) => self.checkpoint = Some((lsn, checkpoint.clone())),
        }
    }

    fn mark(&mut self, lsn: Lsn, mark: &Mark) {
        let mut is_stray = true;
        for &op in &mark.ops {
            let Ok(at) = self.ops.binary_search_by_key(&op, |&(lsn, _)| lsn) else {
                continue; // It has left; the mark stays for the others.
            };
            is_stray = false;
            match step(&mut self.ops[at].1, lsn, op, mark.state) {
                Ok(()) if mark.failure.is_some() => drop(self.failures.insert(op, lsn)),
                Ok(()) => {}
                Err(irregular) => self.irregular.push(irregular),
            }
        }
        if is_stray {
            let op = mark.ops.first().copied().unwrap_or(Lsn(0));
            self.irregular.push(Irregular::Stray { record: lsn, op });
        }
    }

    /// Where the operation stands, if it is in the log.
    #[must_use]
    pub fn of(&self, op: Lsn) -> Option<State> {
        let at = self.ops.binary_search_by_key(&op, |&(lsn, _)| lsn).ok()?;
        self.ops.get(at).map(|&(_, state)| state)
    }

    /// The operations and their states, in LSN order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Lsn, State)> + '_ {
        self.ops.iter().copied()
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
