//! `lockstep delete`

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;
use crate::operation::{Operation, WriteFlags};
use crate::session::Session;

/// Remove an entity, its edges and its point
///
/// To delete what is not there is no error.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// table:id
    key: String,
    #[command(flatten)]
    write: WriteFlags,
}

const EXAMPLES: &str = "\
Examples:
  lockstep delete memory:01
  lockstep delete memory:01 --if-version 1769644800000000";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let operation = Operation {
            op: "delete",
            key: Some(self.key),
            conditions: self.write.conditions(),
            ..Operation::default()
        };
        self.write.send(session, &operation).await
    }
}
