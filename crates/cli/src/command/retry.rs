//! `lockstep retry`

use std::process::ExitCode;

use clap::Args;
use lockstep_api::DecisionRequest;

use crate::decision::Targets;
use crate::failure::Failure;
use crate::session::Session;

/// Carry out a parked operation once more, as a new operation with the same content
///
/// The new one has a new version and takes its turn behind what stands in the log; the old one ends discarded. If
/// its key has been written since, that is refused, unless --force says that the old content shall win.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    targets: Targets,
    /// Also where the key has been written since
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  lockstep ops --state parked
  lockstep retry 0193b2c4-0000-7000-8000-00000000002a
  lockstep retry 42 43
  lockstep retry 0193b2c4-0000-7000-8000-00000000002a --force --note 'the index is mended'

Exit codes: 0 all of them, 1 not all (why is on stderr), 2 usage.";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let client = session.client()?;
        let request = DecisionRequest { force: self.force, note: self.targets.note.clone() };
        self.targets.decide(session, &client, async |op_id| client.retry(op_id, &request).await).await
    }
}
