//! `wal-tools retry`

use clap::Args;
use lockstep_wal::Verdict;

use crate::decision;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::selection::Selection;

/// Log parked operations again as new ones; open ones that wait for their next attempt are tried now
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Also where the key has been written since: the older content goes over it
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Without --write it says what it would do and does nothing. A running daemon is asked over its socket and does it
at once; without one the decision is written into the log, and lockstepd carries it out at its next start. What
cannot be done (the key has been written since) stays parked and says why.

Examples:
  wal-tools retry 42
  wal-tools retry 42 --note 'the index was full' --write
  wal-tools retry --all-parked --key memory:01 --write
  wal-tools retry --all-parked --error 'wrong size' --older-than 1h --write";

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        decision::run(place, Verdict::Retry { force: self.force }, &self.selection, output)
    }
}
