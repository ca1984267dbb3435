//! `wal-tools discard`

use clap::Args;
use lockstep_wal::Verdict;

use crate::decision;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::selection::Selection;

/// Give parked operations up: what the stores show of them stays as it is
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
}

const EXAMPLES: &str = "\
Without --write it says what it would do and does nothing. A running daemon is asked over its socket and does it
at once; without one the decision is written into the log, and lockstepd carries it out at its next start.
To send an operation again with other content: dump it, edit it, send it, and discard the old one.

Examples:
  wal-tools discard 42
  wal-tools dump --from 42 --to 42 --operations > op.ndjson    then edit, and: lockstep bulk op.ndjson
  wal-tools discard 42 --note 'sent again as 57' --write";

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        decision::run(place, Verdict::Discard, &self.selection, output)
    }
}
