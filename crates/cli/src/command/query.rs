//! `lockstep query`

use std::process::ExitCode;

use clap::Args;
use lockstep_api::QueryRequest;

use crate::failure::Failure;
use crate::session::Session;

/// Ask SurrealDB, read-only, where it is embedded
///
/// One JSON value is printed for each statement.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// One or more statements
    #[arg(value_name = "SURREALQL")]
    query: String,
}

const EXAMPLES: &str = "\
Examples:
  lockstep query 'SELECT count() FROM memory GROUP ALL'
  lockstep query 'SELECT ->mentions->person.name FROM memory:tide'";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let request = QueryRequest { query: self.query, vars: None };
        let answer = session.client()?.query(&request).await?;
        session.output.answer(&answer, |answer| {
            let results: Vec<String> = answer.results.iter().map(|result| format!("{result:#}")).collect();
            results.join("\n")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
