//! `lockstep patch`

use std::process::ExitCode;

use clap::{ArgGroup, Args};

use crate::failure::Failure;
use crate::operation::{ContentFlags, Operation, WriteFlags};
use crate::session::Session;

/// Change fields of a document (RFC 7396 merge patch), or some of its vectors
///
/// A null removes a field. Vectors that are not named stay. The key must exist.
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    mut_arg("document", |document| document.help("The fields to change: a JSON object, @FILE, or - for stdin [default: none]")),
    group(ArgGroup::new("change").args(["document", "vector", "vectors"]).required(true).multiple(true)),
)]
pub(crate) struct Arguments {
    /// table:id
    key: String,
    #[command(flatten)]
    content: ContentFlags,
    #[command(flatten)]
    write: WriteFlags,
}

const EXAMPLES: &str = "\
Examples:
  lockstep patch memory:01 --document '{\"title\":\"ebb\",\"draft\":null}'
  lockstep patch memory:01 --document @change.json --if-version 1769644800000000
  lockstep patch memory:01 --vector @new.vector";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let operation = Operation {
            op: "patch",
            key: Some(self.key),
            content: self.content.content()?,
            conditions: self.write.conditions(),
            ..Operation::default()
        };
        self.write.send(session, &operation).await
    }
}
