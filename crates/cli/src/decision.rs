//! What an operator decides about parked operations: the part that `retry`, `rollback` and `discard` share.
//!
//! Each operation is decided about by itself: one that cannot be leaves the others theirs.

use std::fmt;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use lockstep_api::{Answer, Client, DecisionAnswer, Error, OpsFilter};
use lockstep_model::{Code, Lsn, OpId};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::Session;

/// Which operations, and why.
#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// The operations, by OP_ID or LSN, as `lockstep ops --state parked` lists them
    #[arg(required = true, value_name = "OP_ID|LSN")]
    ops: Vec<Target>,
    /// Why, for those who look at the operation later
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

impl Targets {
    /// Asks for the decision on each of them by `decide`, and prints what became of it.
    pub(crate) async fn decide<D>(&self, session: &Session, client: &Client, decide: D) -> Result<ExitCode, Failure>
    where
        D: AsyncFn(OpId) -> Result<Answer<DecisionAnswer>, Error>,
    {
        let output = session.output;
        let mut decided = Vec::with_capacity(self.ops.len());
        let (mut refused, mut away) = (false, None);
        for &target in &self.ops {
            match target.decide(client, &decide).await {
                Ok(answer) => {
                    output.line(told(&answer))?;
                    decided.push(raw(&answer)?);
                }
                Err(NotDecided::Unknown) => {
                    refused = true;
                    let detail = format!("there is no operation at LSN {target}, or its summary has been let go");
                    if !output.is_json() {
                        output.warning(&detail);
                    }
                    let error = json!({ "code": Code::NotFound.as_str(), "detail": detail });
                    decided.push(json!({ "lsn": target.lsn(), "error": error }));
                }
                // Whoever is away is away for all of them.
                Err(NotDecided::Failed(error)) if error.problem().is_none() => {
                    away = Some(error);
                    break;
                }
                Err(NotDecided::Failed(error)) => {
                    refused = true;
                    if !output.is_json() {
                        output.warning(format_args!("{target}: {error}"));
                    }
                    let error = Failure::from(error).json();
                    decided.push(match target {
                        Target::Name(op_id) => json!({ "op_id": op_id, "error": error }),
                        Target::Place(lsn) => json!({ "lsn": lsn, "error": error }),
                    });
                }
            }
        }
        // What has been decided is told, whatever came after it.
        if away.is_none() || !decided.is_empty() {
            output.json(&json!({ "decided": decided }))?;
        }
        match away {
            Some(error) => Err(error.into()),
            None => Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS }),
        }
    }
}

/// One operation: by its name, or by its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Name(OpId),
    Place(Lsn),
}

/// Why nothing was decided about an operation.
enum NotDecided {
    /// The daemon lists none at that place.
    Unknown,
    Failed(Error),
}

impl Target {
    async fn decide<D>(self, client: &Client, decide: &D) -> Result<Answer<DecisionAnswer>, NotDecided>
    where
        D: AsyncFn(OpId) -> Result<Answer<DecisionAnswer>, Error>,
    {
        let op_id = self.name(client).await.map_err(NotDecided::Failed)?.ok_or(NotDecided::Unknown)?;
        decide(op_id).await.map_err(NotDecided::Failed)
    }

    const fn lsn(self) -> Lsn {
        match self {
            Self::Name(op_id) => op_id.lsn(),
            Self::Place(lsn) => lsn,
        }
    }

    /// Its name: the daemon takes no other. `None`: nothing that the daemon lists is there.
    async fn name(self, client: &Client) -> Result<Option<OpId>, Error> {
        let lsn = match self {
            Self::Name(op_id) => return Ok(Some(op_id)),
            Self::Place(lsn) => lsn,
        };
        let mut filter = OpsFilter { limit: Some(OpsFilter::MAX_LIMIT), ..OpsFilter::default() };
        loop {
            let page = client.ops(&filter).await?.into_body();
            // Newest first: behind this one there is only what is older.
            if let Some(found) = page.ops.iter().find(|view| view.lsn <= lsn) {
                return Ok((found.lsn == lsn).then_some(found.op_id));
            }
            match page.next {
                Some(next) if !page.ops.is_empty() => filter.cursor = Some(next),
                Some(_) | None => return Ok(None),
            }
        }
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(lsn) = text.parse() {
            return Ok(Self::Place(Lsn(lsn)));
        }
        text.parse().map(Self::Name).map_err(
            |_| "neither an operation's id (a UUID, in the column OP_ID of `lockstep ops`) nor its LSN (a number)",
        )
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(op_id) => op_id.fmt(f),
            Self::Place(lsn) => lsn.fmt(f),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_named_by_its_id_or_its_lsn() {
        assert_eq!("42".parse(), Ok(Target::Place(Lsn(42))));
        let name = "0193b2c4-0000-7000-8000-00000000002a";
        assert_eq!(name.parse(), Ok(Target::Name(name.parse().unwrap())));
        assert!("memory:01".parse::<Target>().is_err_and(|said| said.contains("OP_ID")));
    }
}
