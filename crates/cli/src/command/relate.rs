//! `lockstep relate`

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;
use crate::operation::{Operation, VectorFlags, WriteFlags};
use crate::session::Session;

/// Put an edge between two entities
///
/// Both must exist. Between the same two there is one edge of a kind, unless keys tell several apart.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The edge's table
    edge: String,
    /// table:id
    from: String,
    /// table:id
    to: String,
    /// The edge's own key, edge:id [default: derived from edge, from and to]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// What the edge itself holds: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    document: Option<String>,
    #[command(flatten)]
    vectors: VectorFlags,
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
            edge: Some(self.edge),
            from: Some(self.from),
            to: Some(self.to),
            content: self.vectors.content(self.document.as_deref())?,
            conditions: self.write.conditions(),
            ..Operation::default()
        };
        self.write.send(session, &operation).await
    }
}
