//! `lockstep rollback`

use std::process::ExitCode;

use clap::Args;
use lockstep_api::DecisionRequest;

use crate::decision::Targets;
use crate::failure::Failure;
use crate::session::Session;

/// Take back what a parked operation has done so far
///
/// Both stores are then as if it had never been. What somebody else has changed since stays, and the operation
/// stays parked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    targets: Targets,
}

const EXAMPLES: &str = "\
Examples:
  lockstep ops --state parked
  lockstep rollback 0193b2c4-0000-7000-8000-00000000002a --note 'sent by mistake'
  lockstep rollback 42 43

Exit codes: 0 all of them, 1 not all (why is on stderr), 2 usage.";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let client = session.client()?;
        let request = DecisionRequest { note: self.targets.note.clone(), ..DecisionRequest::default() };
        self.targets.decide(session, &client, async |op_id| client.rollback(op_id, &request).await).await
    }
}
