//! `lockstep wait`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::failure::Failure;
use crate::session::Session;
use crate::text::duration;

/// Wait until everything that was logged so far has ended
///
/// Exit code 1 if that takes longer than the timeout.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Wait at most so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  lockstep wait
  lockstep wait --timeout 10min";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let answer = session.client()?.barrier(Some(self.timeout)).await?;
        let finished = answer.status == 200;
        session.output.answer(&answer, |answer| {
            let ended = if finished { "has ended" } else { "has not ended yet" };
            format!("what was logged up to lsn {} {ended}", answer.lsn)
        })?;
        if finished {
            return Ok(ExitCode::SUCCESS);
        }
        session.output.warning(format_args!(
            "not all of it has ended within {}; `lockstep ops` shows what is open",
            duration(self.timeout)
        ));
        Ok(ExitCode::FAILURE)
    }
}
