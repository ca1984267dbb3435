//! Which operations a decision is about.

use std::time::Duration;

use clap::Args;
use lockstep_model::{Access, Key, State};
use lockstep_wal::{MAX_NOTE, OpHead};

use crate::op::ShownOp;
use crate::target::Target;
use crate::text::now_us;

/// Operations by name, or all that fit.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Which operations: their places in the log, or their ids
    #[arg(value_name = "LSN|OP_ID", required_unless_present_any = ["all_parked", "state", "key", "older_than", "error"])]
    pub(crate) targets: Vec<Target>,
    /// All that are parked
    #[arg(long, conflicts_with_all = ["targets", "state"])]
    all_parked: bool,
    /// Only operations in this state [default without LSN|OP_ID: parked]
    #[arg(long, value_name = "S")]
    state: Option<State>,
    /// Only operations that write this key
    #[arg(long, value_name = "K")]
    key: Option<Key>,
    /// Only operations that were logged longer ago than this, as 90s, 15m or 2h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only operations whose error contains this text
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Why, for those who look at the operations later
    #[arg(long, value_name = "TEXT", value_parser = note)]
    pub(crate) note: Option<String>,
    /// Do it
    #[arg(long)]
    pub(crate) write: bool,
}

fn note(text: &str) -> Result<String, String> {
    if text.len() > MAX_NOTE {
        return Err(format!("a note has at most {MAX_NOTE} bytes"));
    }
    Ok(text.to_owned())
}

impl Selection {
    /// The state that is looked for where no operation is named.
    pub(crate) fn wanted_state(&self) -> Option<State> {
        if self.targets.is_empty() { Some(self.state.unwrap_or(State::Parked)) } else { self.state }
    }

    /// The key that is looked for.
    pub(crate) const fn wanted_key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Whether the filters let an operation through; a group has no one key, its lanes tell what it writes.
    pub(crate) fn wants(&self, op: &ShownOp, head: Option<&OpHead>) -> bool {
        let view = &op.view;
        let age = view.created_at.as_deref().and_then(lockstep_api::micros_from_rfc3339);
        let age = age.map(|at| Duration::from_micros(now_us().saturating_sub(at)));
        let writes = |key: &Key| {
            view.key.as_deref() == Some(key.to_string().as_str())
                || head.is_none_or(|head| head.lanes.contains(&(key.lane(), Access::Write)))
        };
        self.wanted_state().is_none_or(|state| state == view.state)
            && self.key.as_ref().is_none_or(writes)
            && self.older_than.is_none_or(|limit| age.is_some_and(|age| age > limit))
            && self.error.as_deref().is_none_or(|text| {
                view.error.as_ref().is_some_and(|error| error.detail.contains(text) || error.code.contains(text))
            })
    }
}
