//! `lockstep ops`

use std::process::ExitCode;

use clap::Args;
use lockstep_api::{OpView, OpsFilter, OpsPage};
use lockstep_model::State;

use crate::failure::Failure;
use crate::session::Session;

/// List operations, newest first
///
/// OP_ID is the operation's name, as retry, rollback, discard and the other answers have it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only operations in this state: pending, surreal_completed, qdrant_completed, committed, compensating,
    /// rolled_back, parked or discarded
    #[arg(long, value_name = "S")]
    state: Option<State>,
    /// Only operations that write this key
    #[arg(long, value_name = "K")]
    key: Option<String>,
    /// At most so many [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(OpsFilter::MAX_LIMIT)))]
    limit: Option<u32>,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  lockstep ops
  lockstep ops --state parked
  lockstep --json ops --key memory:01 | jq .ops[0].state";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let filter = OpsFilter { state: self.state, key: self.key, limit: self.limit, cursor: self.cursor };
        let answer = session.client()?.ops(&filter).await?;
        session.output.answer(&answer, told)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn told(page: &OpsPage) -> String {
    if page.ops.is_empty() {
        return "no operations".to_owned();
    }
    let mut lines =
        vec![format!("{:>12}  {:<36}  {:<17}  {:<8}  {:<27}  KEY", "LSN", "OP_ID", "STATE", "OP", "LOGGED")];
    lines.extend(page.ops.iter().map(row));
    lines.extend(page.next.as_ref().map(|next| format!("more with --cursor {next}")));
    lines.join("\n")
}

fn row(view: &OpView) -> String {
    let OpView { lsn, op_id, state, op, .. } = view;
    let logged = view.created_at.as_deref().unwrap_or("not known");
    let key = view.key.as_deref().unwrap_or("-");
    let mut row = format!("{lsn:>12}  {:<36}  {state:<17}  {op:<8}  {logged:<27}  {key}", op_id.to_string());
    if let Some(waiting_for) = &view.waiting_for {
        row = format!("{row}  waits for {waiting_for}");
    }
    if let Some(error) = &view.error {
        row = format!("{row}  {}: {}", error.code, error.detail);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_the_id_that_decisions_want() {
        let text = r#"{"ops":[{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":42,"key":"memory:01","op":"put","state":"parked",
            "created_at":"2026-01-29T00:00:00.000000Z","waiting_for":"operator"}],"next":"42"}"#;
        let expected = "         LSN  OP_ID                                 STATE              OP        LOGGED                       KEY
          42  0193b2c4-0000-7000-8000-00000000002a  parked             put       2026-01-29T00:00:00.000000Z  memory:01  waits for operator
more with --cursor 42";
        assert_eq!(told(&serde_json::from_str(text).unwrap()), expected);
    }
}
