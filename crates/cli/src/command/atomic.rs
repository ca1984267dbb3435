//! `lockstep atomic`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::json_argument::read_text;
use crate::operation::{Operation, WriteFlags};
use crate::session::Session;

/// Carry out several operations as one: all of them, or none
///
/// The file holds a JSON array of put, patch, delete, relate and unrelate operations, each key once; or a
/// whole atomic operation, which is sent as it is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The operations; - for stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    #[command(flatten)]
    write: WriteFlags,
}

const EXAMPLES: &str = "\
Examples:
  lockstep atomic chunks.json
  echo '[{\"op\":\"delete\",\"key\":\"chunk:1\"},{\"op\":\"put\",\"key\":\"chunk:2\",\"document\":{}}]' | lockstep atomic -";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let text = read_text(&self.file)?;
        let json = RawValue::from_string(text).map_err(|source| Failure::NotJson { argument: "FILE", source })?;
        if json.get().trim_start().starts_with('{') {
            return self.write.send_body(session, json.get().to_owned().into()).await;
        }
        let operation =
            Operation { op: "atomic", ops: Some(json), conditions: self.write.conditions(), ..Operation::default() };
        self.write.send(session, &operation).await
    }
}
