//! `lockstep patch`

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;
use crate::operation::{Operation, VectorFlags, WriteFlags};
use crate::session::Session;

/// Change fields of a document (RFC 7396 merge patch), or some of its vectors
///
/// A null removes a field. Vectors that are not named stay. The key must exist.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// table:id
    key: String,
    /// The fields to change: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON|@FILE|-", required_unless_present_any = ["vector", "vectors"])]
    document: Option<String>,
    #[command(flatten)]
    vectors: VectorFlags,
    #[command(flatten)]
    write: WriteFlags,
}

const EXAMPLES: &str = "\
Examples:
  lockstep patch memory:01 --document '{\"title\":\"ebb\",\"draft\":null}'
  lockstep patch memory:01 --document @change.json --if-version 1769644800000000
  lockstep patch memory:01 --document '{}' --vector @new.vector";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let operation = Operation {
            op: "patch",
            key: Some(self.key),
            content: self.vectors.content(self.document.as_deref())?,
            conditions: self.write.conditions(),
            ..Operation::default()
        };
        self.write.send(session, &operation).await
    }
}
