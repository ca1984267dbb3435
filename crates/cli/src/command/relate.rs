//! `lockstep relate`

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;
use crate::operation::{ContentFlags, EdgeArguments, Operation, WriteFlags};
use crate::session::Session;

/// Put an edge between two entities
///
/// Both must exist. Between the same two there is one edge of a kind, unless keys tell several apart.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("document", |document| {
    document.help("What the edge itself holds: a JSON object, @FILE, or - for stdin")
}))]
pub(crate) struct Arguments {
    #[command(flatten)]
    ends: EdgeArguments,
    /// The edge's own key, edge:id [default: derived from edge, from and to]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    content: ContentFlags,
    #[command(flatten)]
    write: WriteFlags,
}

const EXAMPLES: &str = "\
Examples:
  lockstep relate mentions memory:01 person:7
  lockstep relate mentions memory:01 person:7 --document '{\"weight\":0.5}'";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let operation = Operation {
            op: "relate",
            key: self.key,
            edge: Some(self.ends.edge),
            from: Some(self.ends.from),
            to: Some(self.ends.to),
            content: self.content.content()?,
            conditions: self.write.conditions(),
            ..Operation::default()
        };
        self.write.send(session, &operation).await
    }
}
