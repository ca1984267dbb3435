//! An operation, as every command shows it: in the shape of the daemon's answers, with what only the log tells.

use lockstep_api::{OpError, OpView, Step, rfc3339_from_micros};
use lockstep_model::{LogId, Lsn, OpId, State};
use lockstep_wal::{Failure, OpHead, Summary};
use serde_json::{Map, Value};
use uuid::Uuid;

/// An operation that the log or the daemon tells of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ShownOp {
    pub(crate) view: OpView,
    /// Whether the view's `op_id` is so. Without the log's id, names cannot be told.
    pub(crate) is_named: bool,
    /// Whether it has left the log, so that only its summary speaks; none where that was not said.
    pub(crate) left: Option<bool>,
}

impl ShownOp {
    /// An operation in the log; `ahead` is the older one that it has to wait for.
    pub(crate) fn of_head(log: Option<LogId>, lsn: Lsn, head: &OpHead, ahead: Option<Lsn>) -> Self {
        let op_id = log.map(|log| OpId::new(log, lsn, head.at_us / 1_000));
        let steps = history(head);
        let waiting_for = match head.state {
            State::Parked => Some("operator".to_owned()),
            State::Pending | State::SurrealCompleted | State::QdrantCompleted | State::Compensating => {
                ahead.map(|ahead| format!("lsn:{ahead}"))
            }
            State::Committed | State::RolledBack | State::Discarded => None,
        };
        let updated_us = head.history.last().map_or(head.at_us, |&(_, at)| at);
        let view = OpView {
            op_id: op_id.unwrap_or(OpId(Uuid::nil())),
            lsn,
            version: Some(head.version),
            key: head.key.as_ref().map(ToString::to_string),
            op: head.kind.as_str().to_owned(),
            state: head.state,
            // The log keeps no attempts: a crash ends them.
            attempts: None,
            created_at: rfc3339_from_micros(head.at_us),
            updated_at: rfc3339_from_micros(updated_us),
            next_attempt_at: None,
            waiting_for,
            history: Some(steps),
            error: head.shown_failure().map(|failure| error(&failure, updated_us)),
        };
        Self { view, is_named: op_id.is_some(), left: Some(false) }
    }

    /// An operation that has left the log.
    pub(crate) fn of_summary(lsn: Lsn, summary: &Summary) -> Self {
        let first = summary.history.first().copied();
        let last = summary.history.last().copied();
        let view = OpView {
            op_id: summary.op_id,
            lsn,
            version: Some(summary.version),
            key: summary.key.as_ref().map(ToString::to_string),
            op: summary.kind.as_str().to_owned(),
            state: last.map_or(State::Pending, |(state, _)| state),
            attempts: Some(summary.attempts.into()),
            created_at: first.and_then(|(_, at)| rfc3339_from_micros(at)),
            updated_at: last.and_then(|(_, at)| rfc3339_from_micros(at)),
            next_attempt_at: None,
            waiting_for: None,
            history: Some(summary.history.iter().copied().map(step).collect()),
            error: summary.failure.as_ref().map(|failure| error(failure, last.map_or(0, |(_, at)| at))),
        };
        Self { view, is_named: true, left: Some(true) }
    }

    /// An operation that the daemon told of.
    pub(crate) fn of_daemon(view: OpView) -> Self {
        Self { view, is_named: true, left: None }
    }

    /// Its name, if it can be told.
    pub(crate) fn op_id(&self) -> Option<OpId> {
        self.is_named.then_some(self.view.op_id)
    }

    /// For programs: the daemon's shape, and `left` and `source` beside it.
    pub(crate) fn to_json(&self, source: &str) -> Result<Map<String, Value>, serde_json::Error> {
        let mut members: Map<String, Value> = serde_json::from_value(serde_json::to_value(&self.view)?)?;
        if !self.is_named {
            members.insert("op_id".to_owned(), Value::Null);
        }
        members.insert("left".to_owned(), self.left.into());
        members.insert("source".to_owned(), source.into());
        Ok(members)
    }
}

/// An operation's states, and beside the one it had then, what was decided about it.
fn history(head: &OpHead) -> Vec<Step> {
    let states = std::iter::once((State::Pending, head.at_us)).chain(head.history.iter().copied());
    let mut steps: Vec<Step> = states.map(step).collect();
    let Some(decisions) = &head.decisions else { return steps };
    let asked = decisions.asked.iter().map(|(lsn, asked)| (*lsn, asked.at_us, asked.words()));
    let declined = decisions
        .declined
        .iter()
        .map(|(lsn, declined)| (*lsn, declined.at_us, format!("not carried out: {}", declined.failure.detail)));
    let mut notes: Vec<(Lsn, u64, String)> = asked.chain(declined).collect();
    notes.sort_unstable_by_key(|(lsn, ..)| *lsn);
    // Only what is parked is decided about, and an end follows it.
    let behind = steps.iter().rposition(|step| step.state == State::Parked).map_or(steps.len(), |at| at + 1);
    let notes = notes.into_iter().map(|(_, at_us, note)| Step {
        state: State::Parked,
        at: rfc3339_from_micros(at_us),
        note: Some(note),
    });
    steps.splice(behind..behind, notes);
    steps
}

fn step((state, at_us): (State, u64)) -> Step {
    Step { state, at: rfc3339_from_micros(at_us), note: None }
}

/// Why an operation did not commit, in the daemon's shape.
pub(crate) fn error(failure: &Failure, at_us: u64) -> OpError {
    let Failure { store, code, detail } = failure;
    OpError {
        store: (store != "lockstep").then(|| store.clone()),
        code: code.as_str().to_owned(),
        detail: detail.clone(),
        at: rfc3339_from_micros(at_us),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_model::Code;

    use super::*;

    #[test]
    fn without_the_logs_id_no_name_is_made_up() {
        let shown = ShownOp::of_head(None, Lsn(7), &OpHead::default(), Some(Lsn(3)));
        assert_eq!(shown.op_id(), None);
        let json = shown.to_json("directory").unwrap();
        assert_eq!((&json["op_id"], &json["attempts"]), (&Value::Null, &Value::Null));
        assert_eq!(json["waiting_for"], "lsn:3");
    }

    #[test]
    fn what_lockstep_judged_itself_names_no_store() {
        let failure =
            Failure { store: "lockstep".into(), code: Code::PreconditionFailed, detail: "it is there".into() };
        let head = OpHead { state: State::Parked, failure: Some(failure), ..OpHead::default() };
        let shown = ShownOp::of_head(None, Lsn(7), &head, Some(Lsn(3)));
        assert_eq!(shown.view.error.unwrap().store, None);
        assert_eq!(shown.view.waiting_for.as_deref(), Some("operator"));
    }
}
