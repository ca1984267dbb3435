//! `lockstep unrelate`

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;
use crate::operation::{EdgeArguments, Operation, WriteFlags};
use crate::session::Session;

/// Remove every edge of a kind between two entities
///
/// To remove what is not there is no error.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    ends: EdgeArguments,
    #[command(flatten)]
    write: WriteFlags,
}

const EXAMPLES: &str = "\
Examples:
  lockstep unrelate mentions memory:01 person:7";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let operation = Operation {
            op: "unrelate",
            edge: Some(self.ends.edge),
            from: Some(self.ends.from),
            to: Some(self.ends.to),
            conditions: self.write.conditions(),
            ..Operation::default()
        };
        self.write.send(session, &operation).await
    }
}
