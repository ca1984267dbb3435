//! `lockstep pause`

use std::process::ExitCode;

use clap::Args;
use lockstep_api::{PauseRequest, StoreName};

use crate::failure::Failure;
use crate::session::Session;

/// Stop the work of a store or a table, for maintenance
///
/// Operations are still taken and logged; those that need what is paused wait.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// surreal, qdrant, or the name of a table
    #[arg(value_name = "STORE|TABLE")]
    what: String,
}

const EXAMPLES: &str = "\
Examples:
  lockstep pause qdrant
  lockstep pause memory";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let request = request(self.what);
        let answer = session.client()?.pause(&request).await?;
        session.output.answer(&answer, |_| format!("paused: {request}; `lockstep resume` lets it go on"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The stores' names go before those of tables.
pub(super) fn request(what: String) -> PauseRequest {
    match what.as_str() {
        "surreal" => PauseRequest::Store(StoreName::Surreal),
        "qdrant" => PauseRequest::Store(StoreName::Qdrant),
        _ => PauseRequest::Table(what),
    }
}
