//! What a decision would come to, as far as the log tells: the stores have the last word when it is carried out.

use lockstep_api::OpView;
use lockstep_model::{Access, ActionKind, Lsn, State};
use lockstep_wal::{Fold, OpHead, Verdict};

/// What becomes of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It can be done, and this is what it is.
    Would(String),
    /// Nothing needs to be done.
    Nothing(String),
    /// It cannot be done, and why.
    Cannot(String),
}

impl Judged {
    /// In words.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Would(what) | Self::Nothing(what) => what.clone(),
            Self::Cannot(why) => format!("cannot: {why}"),
        }
    }
}

/// Judges an operation of a log that no daemon has.
pub(crate) fn judge(fold: &Fold, lsn: Lsn, head: &OpHead, verdict: Verdict) -> Judged {
    if head.state.is_open() && matches!(verdict, Verdict::Retry { .. }) {
        return Judged::Nothing(format!("is {}: the next start tries it at once, by itself", head.state));
    }
    if head.state != State::Parked {
        return not_parked(head.state);
    }
    let younger = younger(fold, lsn, head);
    let word = match (verdict, younger) {
        (Verdict::Retry { force: false }, Some(younger)) => {
            return Judged::Cannot(format!(
                "operation {younger} on the same key was logged after it: --force goes over it"
            ));
        }
        (Verdict::Rollback, Some(younger)) => {
            return Judged::Cannot(format!("operation {younger} has written its key since: retry or discard it"));
        }
        (Verdict::Rollback, None) if forward_only(head.kind) => {
            return Judged::Cannot("a removal goes forward only: retry or discard it".to_owned());
        }
        (Verdict::Rollback, None) if head.doubtful && head.image.is_none() => {
            return Judged::Cannot("what was there before it may be among the log's lost records".to_owned());
        }
        (verdict, _) => would(verdict),
    };
    let said = match head.standing_decision() {
        Some((_, asked)) if asked.verdict == verdict => format!("{word} (decided already)"),
        Some((_, asked)) => format!("{word}; replaces a {} that stands in the log", asked.verdict.as_str()),
        None => word.to_owned(),
    };
    Judged::Would(said)
}

/// Judges an operation that a daemon told of.
pub(crate) fn judge_view(view: &OpView, verdict: Verdict) -> Judged {
    match view.state {
        State::Parked => Judged::Would(would(verdict).to_owned()),
        State::Pending | State::SurrealCompleted | State::QdrantCompleted | State::Compensating
            if matches!(verdict, Verdict::Retry { .. }) =>
        {
            Judged::Would("tried now, not after the backoff".to_owned())
        }
        state @ (State::Pending
        | State::SurrealCompleted
        | State::QdrantCompleted
        | State::Compensating
        | State::Committed
        | State::RolledBack
        | State::Discarded) => not_parked(state),
    }
}

fn not_parked(state: State) -> Judged {
    Judged::Cannot(format!("is {state}: only what is parked can be decided"))
}

const fn would(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Retry { force: false } => "logged again, unless its key was written since",
        Verdict::Retry { force: true } => "logged again, over whatever was written since",
        Verdict::Rollback => "taken back: its key shows again what was there before",
        Verdict::Discard => "given up: what the stores show stays",
    }
}

/// The youngest operation that wrote, or is going to write, one of its keys after it.
fn younger(fold: &Fold, lsn: Lsn, head: &OpHead) -> Option<Lsn> {
    let writes = |other: &OpHead| {
        let own = head.lanes.iter().filter(|(_, access)| *access == Access::Write);
        own.into_iter().any(|lane| other.lanes.contains(lane))
    };
    let later = fold.ops.range(lsn.next()..).rev();
    later
        .filter(|(_, other)| other.state.is_open() || other.state == State::Committed)
        .find(|(_, other)| writes(other))
        .map(|(&younger, _)| younger)
}

const fn forward_only(kind: ActionKind) -> bool {
    match kind {
        ActionKind::Delete | ActionKind::Unrelate | ActionKind::Clear => true,
        ActionKind::Put | ActionKind::Patch | ActionKind::Relate | ActionKind::Atomic => false,
    }
}
