//! What an operator decides about an operation, as records of the log: that it was asked, and that it could not be done.
//!
//! A decision is durable before anything is done about it, whoever wrote it down: wal-tools while no daemon had the log, or the
//! daemon itself before a rollback. It stands until an end mark of its operation or a [`Declined`] follows; a start carries out
//! those that stand. Of several decisions about one operation the last counts.

use lockstep_model::{Lsn, State};
use serde::{Deserialize, Serialize};

use crate::record::{Caller, Failure};

/// The longest note that is kept with a decision.
pub const MAX_NOTE: usize = 2000;

/// What is to be done with a parked operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Its content is logged again as a new operation; the old one ends discarded.
    Retry {
        /// Also if the key has been written since.
        force: bool,
    },
    /// What it wrote is taken back.
    Rollback,
    /// It ends as it is.
    Discard,
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Rollback => "rollback",
            Self::Discard => "discard",
        }
    }
}

/// An operator decided about an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The operation.
    pub op: Lsn,
    /// What is to be done with it.
    pub verdict: Verdict,
    /// Who decided.
    pub caller: Caller,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// Why; at most [`MAX_NOTE`] bytes.
    pub note: Option<String>,
}

impl Asked {
    /// `retry asked by uid 0: the index was full`
    #[must_use]
    pub fn words(&self) -> String {
        let who = self.caller.uid.map_or_else(|| "an operator".to_owned(), |uid| format!("uid {uid}"));
        let note = self.note.as_deref().map_or_else(String::new, |note| format!(": {note}"));
        let force = if self.verdict == (Verdict::Retry { force: true }) { " (forced)" } else { "" };
        format!("{}{force} asked by {who}{note}", self.verdict.as_str())
    }
}

/// A decision could not be carried out: the operation stays parked, and the decision is not tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// The operation.
    pub op: Lsn,
    /// The record of the decision.
    pub asked: Lsn,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// Why.
    pub failure: Failure,
}

/// The decisions about one operation, in LSN order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decisions {
    /// What was decided, and where that stands.
    pub asked: Vec<(Lsn, Asked)>,
    /// What could not be done, and where that stands.
    pub declined: Vec<(Lsn, Declined)>,
}

impl Decisions {
    /// The decision that is still to be carried out about an operation in this state.
    #[must_use]
    pub fn standing(&self, state: State) -> Option<(Lsn, &Asked)> {
        let (lsn, asked) = self.asked.last()?;
        let answered = self.declined.iter().any(|(_, declined)| declined.asked == *lsn);
        (state == State::Parked && !answered).then_some((*lsn, asked))
    }

    /// What is to be said of a parked operation whose last decision could not be carried out.
    #[must_use]
    pub fn failure(&self, parked: Option<&Failure>) -> Option<Failure> {
        let (_, declined) = self.declined.last()?;
        let asked = self.asked.iter().find(|(lsn, _)| *lsn == declined.asked);
        Some(declined.in_words(asked.map(|(_, asked)| asked), parked))
    }
}

impl Declined {
    /// The failure with all that belongs to it: what was decided, why it was not done, and why the operation is parked.
    #[must_use]
    pub fn in_words(&self, asked: Option<&Asked>, parked: Option<&Failure>) -> Failure {
        let asked = asked.map_or_else(|| "a decision".to_owned(), Asked::words);
        let parked = parked.map_or_else(String::new, |parked| format!("; it is parked because: {}", parked.detail));
        let detail = format!("{asked}; it was not carried out: {}{parked}", self.failure.detail);
        Failure { detail, ..self.failure.clone() }
    }
}
