//! A script: everything that a run is asked to go through, as plain data, so that it can be printed, and made shorter.

use std::fmt;

use lockstep_engine::{Decision, Pausable};
use lockstep_model::{Key, Operation, Table};

use crate::clients::Style;
use crate::faults::FaultPlan;
use crate::machine::Sabotage;

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// Where the dice of the schedule begin: delays, faults, what a power cut leaves.
    pub(crate) dice: u64,
    pub(crate) style: Style,
    pub(crate) sabotage: Sabotage,
    /// Both stores are servers of their own.
    pub(crate) served: bool,
    /// What ended stays in the log for ever, so that a store may come back as an older copy of itself.
    pub(crate) retains: bool,
    pub(crate) max_attempts: u32,
    pub(crate) batch_ops: usize,
    pub(crate) plan: FaultPlan,
    /// All but the last end in a kill.
    pub(crate) lives: Vec<Life>,
}

/// From a start to a kill.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    /// After so many steps it is killed; the last one never is.
    pub(crate) kill_after: u64,
    /// Before it a store was put back to an older copy.
    pub(crate) restore: Option<Restore>,
    /// Before it a start was tried while this record of the log was rotten.
    pub(crate) rot: Option<u64>,
    /// Those who act side by side.
    pub(crate) actors: Vec<Vec<Step>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Restore {
    /// Which of the copies.
    pub(crate) which: u64,
    pub(crate) documents: bool,
    pub(crate) points: bool,
}

/// What somebody does next.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Wait {
        us: u64,
    },
    Ask {
        op: Box<Operation>,
        /// On condition that the key has the version of this one of the client's own operations.
        against: Option<u64>,
        /// Waits so long for the end.
        patience_s: Option<u64>,
    },
    /// Asks once more for something that had an idempotency key.
    Repeat {
        which: u64,
        same_body: bool,
    },
    /// Decides about something that is parked.
    Decide {
        which: u64,
        decision: Decision,
    },
    Pause(Pausable),
    Resume(Pausable),
    Verify,
    Checkpoint,
    /// The disk is full for so long.
    FillDisk {
        ms: u64,
    },
    JumpClock {
        by_us: i64,
    },
    LoseConnection {
        store: &'static str,
    },
    /// The store lets nobody in for so long.
    Misconfigure {
        store: &'static str,
        ms: u64,
    },
    /// The table is not as it has to be for so long, in both stores.
    BreakTable {
        table: Table,
        ms: u64,
    },
    /// Somebody else writes the record.
    Outside {
        key: Key,
        change: Change,
    },
    /// Both stores are copied.
    Backup,
    /// A record of the log is rotten from now on, until the next start.
    Rot {
        which: u64,
    },
    /// Another log takes the stores over, and gives them back when this one is dead.
    TakeOver,
}

/// What somebody else does to a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// Other content; Lockstep's field stays as it is.
    Edit(i64),
    /// The same, of the record that was written last, whichever it is: its operation may be under way.
    EditLast(i64),
    /// Other content, and a version that no clock has reached yet.
    Newer(i64),
    Remove,
    /// Its point, without anything of Lockstep's.
    Point(i64),
    RemovePoint,
}

impl Script {
    /// How much there is to read.
    pub(crate) fn length(&self) -> usize {
        self.lives.iter().flat_map(|life| &life.actors).map(Vec::len).sum()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dice, style, sabotage, served, retains, max_attempts, batch_ops, plan, lives } = self;
        writeln!(
            f,
            "dice {dice:#x}, {style:?}, {sabotage:?}, served {served}, retains {retains}, {max_attempts} attempts, batches of {batch_ops}, {plan:?}"
        )?;
        for (n, life) in lives.iter().enumerate() {
            match n + 1 == lives.len() {
                true => writeln!(f, "life {n}, the last: {:?}, rot {:?}", life.restore, life.rot)?,
                false => {
                    let Life { kill_after, restore, rot, .. } = life;
                    writeln!(f, "life {n}, killed after {kill_after} steps: {restore:?}, rot {rot:?}")?;
                }
            }
            for (who, steps) in life.actors.iter().enumerate().filter(|(_, steps)| !steps.is_empty()) {
                writeln!(f, "  actor {who}:")?;
                steps.iter().try_for_each(|step| writeln!(f, "    {step:?}"))?;
            }
        }
        Ok(())
    }
}
