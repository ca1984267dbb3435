//! `lockstep put`

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;
use crate::operation::{ContentFlags, Operation, WriteFlags};
use crate::session::Session;

/// Write a whole entity: its document and its vectors
///
/// What was under the key is replaced, vectors included: without a vector the key has no point any more.
/// Edges stay.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("document", |document| document.required(true)))]
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
  lockstep put memory:01 --document '{\"title\":\"tide\"}' --vector '[0.1,0.2]'
  lockstep put memory:02 --document @tide.json --vector @tide.vector --if-absent
  lockstep put article:01 --document - --vectors '{\"title\":[0.1,0.2],\"body\":[0.3]}' < tide.json";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let operation = Operation {
            op: "put",
            key: Some(self.key),
            content: self.content.content()?,
            conditions: self.write.conditions(),
            ..Operation::default()
        };
        self.write.send(session, &operation).await
    }
}
