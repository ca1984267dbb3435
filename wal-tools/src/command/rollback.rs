//! `wal-tools rollback`

use clap::Args;
use lockstep_wal::Verdict;

use crate::decision;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::selection::Selection;

/// Take back what parked operations have done: their keys show again what was there before
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
}

const EXAMPLES: &str = "\
Without --write it says what it would do and does nothing. A running daemon is asked over its socket and does it
at once; without one the decision is written into the log, and lockstepd carries it out at its next start. What
was written since is never taken back with it: then the operation stays parked and says why.

Examples:
  wal-tools rollback 42
  wal-tools rollback 42 43 --note 'sent by mistake' --write
  wal-tools rollback --all-parked --older-than 1d --write";

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        decision::run(place, Verdict::Rollback, &self.selection, output)
    }
}
