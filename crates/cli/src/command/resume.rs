//! `lockstep resume`

use std::process::ExitCode;

use clap::Args;

use crate::command::pause::Target;
use crate::failure::Failure;
use crate::session::Session;

/// Let a store or a table go on that was paused
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
}

const EXAMPLES: &str = "\
Examples:
  lockstep resume qdrant
  lockstep resume memory";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let request = self.target.request();
        let answer = session.client()?.resume(&request).await?;
        session.output.answer(&answer, |_| format!("goes on: {request}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
