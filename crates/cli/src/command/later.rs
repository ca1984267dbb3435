//! `lockstep audit`, `lockstep repair` and `lockstep backfill`: jobs that a later daemon does. This one says that it does not.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::Session;

/// Compare both stores with each other, table by table
///
/// Not built yet: this version of lockstepd answers not_implemented, and nothing is done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep audit\n  lockstep audit memory")]
pub(crate) struct Audit {
    /// Only this table
    table: Option<String>,
}

/// Make both stores agree where an audit found that they do not
///
/// Not built yet: this version of lockstepd answers not_implemented, and nothing is done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep repair memory\n  lockstep repair memory --apply")]
pub(crate) struct Repair {
    /// Only this table
    table: Option<String>,
    /// Do it; without this it is only said what would be done
    #[arg(long)]
    apply: bool,
}

/// Take over what is in SurrealDB or Qdrant already
///
/// Not built yet: this version of lockstepd answers not_implemented, and nothing is done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  lockstep backfill memory")]
pub(crate) struct Backfill {
    /// The table
    table: String,
}

impl Audit {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        ask(session, "audit", json!({"table": self.table})).await
    }
}

impl Repair {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        ask(session, "repair", json!({"table": self.table, "apply": self.apply})).await
    }
}

impl Backfill {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        ask(session, "backfill", json!({"table": self.table})).await
    }
}

async fn ask(session: &Session, job: &str, request: Value) -> Result<ExitCode, Failure> {
    let answer = session.client()?.job(job, &request).await?;
    session.output.answer(&answer, ToString::to_string)?;
    Ok(ExitCode::SUCCESS)
}
