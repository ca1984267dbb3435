//! `lockstep verify`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use lockstep_api::StatusAnswer;
use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;
use crate::text::{counted, duration, seconds};
use crate::waiting::Waiting;

/// Look in both stores for every committed operation that the log still holds whole
///
/// What is missing there or older is written again. That is done at every start and whenever a connection to a
/// store was lost; this does it now, and waits until it is done.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Wait at most so long; it goes on
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  lockstep verify
  lockstep --json verify --timeout 10min

Exit codes: 0 all of it was looked at and can be vouched for, 1 not so (why is on stderr), 2 usage.";

const PAUSE: Duration = Duration::from_millis(250);

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let client = session.client()?;
        let operations = client.verify().await?.operations;
        let began = Instant::now();
        let waiting = Waiting::new();
        let status = loop {
            let status = client.status().await?.into_body();
            let late = self.timeout.is_some_and(|timeout| began.elapsed() >= timeout);
            if status.verifying == 0 || late {
                break status;
            }
            waiting.say(format!("{} left to look at", counted(status.verifying, "operation")));
            tokio::time::sleep(PAUSE).await;
        };
        waiting.end();

        let StatusAnswer { verifying, covered_s, audit_needed, .. } = &status;
        let value = json!({
            "operations": operations, "verifying": verifying, "covered_s": covered_s, "audit_needed": audit_needed,
        });
        session.output.value(&value, told(operations, &status))?;
        if *verifying > 0 {
            session.output.warning(format_args!("not done within {}; it goes on", duration(began.elapsed())));
        }
        if let Some(why) = audit_needed {
            session.output.warning(format_args!("the stores have to be audited: {why}"));
        }
        Ok(if *verifying == 0 && audit_needed.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn told(operations: u64, status: &StatusAnswer) -> String {
    let covered = status.covered_s.and_then(seconds).map(|covered| format!("; the log covers the last {covered}"));
    let covered = covered.unwrap_or_default();
    match status.verifying {
        0 if operations == 0 => format!("the log holds no committed operation whole: nothing to look at{covered}"),
        0 => format!(
            "{} looked at; what was missing, if anything, is written again and named by a warning in lockstepd's log{covered}",
            counted(operations, "operation")
        ),
        left => format!("{} of {} left to look at{covered}", left, counted(operations, "operation")),
    }
}
