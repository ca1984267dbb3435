//! `lockstep pause`

use std::process::ExitCode;

use clap::Args;
use lockstep_api::{PauseRequest, StoreName};

use crate::failure::Failure;
use crate::session::Session;

/// Stop the work of a store or a table, for maintenance
///
/// Operations are still taken and logged; those that need what is paused wait. A pause ends with `lockstep resume`,
/// or with the daemon: after a restart nothing is paused any more.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
}

const EXAMPLES: &str = "\
Examples:
  lockstep pause qdrant
  lockstep pause memory";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let name = self.target.what.clone();
        let request = self.target.request();
        let answer = session.client()?.pause(&request).await?;
        let told =
            format!("paused: {request}; `lockstep resume {name}` lets it go on, and so does a restart of lockstepd");
        session.output.answer(&answer, |_| told)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What is paused, or goes on.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// surreal, qdrant, or the name of a table
    #[arg(value_name = "STORE|TABLE")]
    what: String,
}

impl Target {
    /// The stores' names go before those of tables.
    pub(super) fn request(self) -> PauseRequest {
        match self.what.as_str() {
            "surreal" => PauseRequest::Store(StoreName::Surreal),
            "qdrant" => PauseRequest::Store(StoreName::Qdrant),
            _ => PauseRequest::Table(self.what),
        }
    }
}
