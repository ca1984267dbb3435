//! What an operator decides about parked operations: the part that `retry`, `rollback` and `discard` share.
//!
//! Each operation is decided about by itself: one that cannot be leaves the others theirs.

use std::process::ExitCode;

use clap::Args;
use lockstep_api::{Answer, DecisionAnswer, Error};
use lockstep_model::OpId;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::Session;

/// Which operations, and why.
#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// The operations, as `lockstep ops --state parked` lists them
    #[arg(required = true, value_name = "OP_ID")]
    ops: Vec<OpId>,
    /// Why, for those who look at the operation later
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

impl Targets {
    /// Asks for the decision on each of them by `decide`, and prints what became of it.
    pub(crate) async fn decide<D>(&self, session: &Session, decide: D) -> Result<ExitCode, Failure>
    where
        D: AsyncFn(OpId) -> Result<Answer<DecisionAnswer>, Error>,
    {
        let output = session.output;
        let mut decided = Vec::with_capacity(self.ops.len());
        let mut refused = false;
        for &op_id in &self.ops {
            match decide(op_id).await {
                Ok(answer) => {
                    output.line(told(&answer))?;
                    decided.push(raw(&answer)?);
                }
                // Whoever is away is away for all of them.
                Err(error) if error.problem().is_none() => return Err(error.into()),
                Err(error) => {
                    refused = true;
                    if !output.is_json() {
                        output.warning(format_args!("{op_id}: {error}"));
                    }
                    decided.push(json!({ "op_id": op_id, "error": Failure::from(error).json() }));
                }
            }
        }
        output.json(&json!({ "decided": decided }))?;
        Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn told(answer: &DecisionAnswer) -> String {
    let DecisionAnswer { op_id, state, again } = answer;
    let again = again.as_ref().map(|again| format!("; runs again as {} (lsn {})", again.op_id, again.lsn));
    format!("{op_id} is {state}{}", again.unwrap_or_default())
}

/// The answer as the daemon wrote it, with fields that this version does not know.
fn raw(answer: &Answer<DecisionAnswer>) -> Result<Value, Failure> {
    serde_json::from_slice(&answer.json).map_err(Failure::Encode)
}
