//! The state machine of an operation.
//!
//! States are conditions, events are things that have happened; [`transition`] is the only place where
//! the one leads to the other. The live path, recovery, operators' actions and wal-tools all go through
//! it, and the diagram in ARCHITECTURE.md is tested against [`diagram`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Logged; no store is known to have it.
    Pending,
    /// SurrealDB has it, or has nothing to do with it.
    SurrealCompleted,
    /// Both stores have it.
    QdrantCompleted,
    /// Both stores have it, and that is final.
    Committed,
    /// A store refused it; what was done is being undone.
    Compensating,
    /// Neither store shows it, and that is final.
    RolledBack,
    /// It can be neither finished nor undone without an operator.
    Parked,
    /// An operator gave it up, or had it logged again as a new operation.
    Discarded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::SurrealCompleted,
        Self::QdrantCompleted,
        Self::Committed,
        Self::Compensating,
        Self::RolledBack,
        Self::Parked,
        Self::Discarded,
    ];

    /// The name that programs outside see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::SurrealCompleted => "surreal_completed",
            Self::QdrantCompleted => "qdrant_completed",
            Self::Committed => "committed",
            Self::Compensating => "compensating",
            Self::RolledBack => "rolled_back",
            Self::Parked => "parked",
            Self::Discarded => "discarded",
        }
    }

    /// The number that stands for it in the log: never change one, never use one again.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Pending => 1,
            Self::SurrealCompleted => 2,
            Self::QdrantCompleted => 3,
            Self::Committed => 4,
            Self::Compensating => 5,
            Self::RolledBack => 6,
            Self::Parked => 7,
            Self::Discarded => 8,
        }
    }

    /// The state that `code` stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether the answer can never change again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Committed | Self::RolledBack | Self::Discarded => true,
            Self::Pending | Self::SurrealCompleted | Self::QdrantCompleted | Self::Compensating | Self::Parked => false,
        }
    }

    /// Whether the engine still works on it. A parked operation is neither open nor final.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::SurrealCompleted | Self::QdrantCompleted | Self::Compensating => true,
            Self::Committed | Self::RolledBack | Self::Parked | Self::Discarded => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a state; there is {list}", list = State::ALL.map(State::as_str).join(", "))]
pub struct UnknownState(String);

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// What has happened to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// SurrealDB is known to have it, or there is nothing for it to do.
    SurrealApplied,
    /// SurrealDB refused it for good, or it was judged before any store was touched.
    SurrealRefused,
    /// Qdrant is known to have it, or there is nothing for it to do.
    QdrantApplied,
    /// Qdrant refused it for good.
    QdrantRefused,
    /// Nothing is left to do.
    Finished,
    /// What was done is known to be undone.
    Undone,
    /// It could not be undone: something else has changed what it wrote.
    UndoBlocked,
    /// It was refused, and its table keeps such operations for an operator.
    Held,
    /// An operator asked to undo it, and it is undone.
    RollbackAsked,
    /// An operator gave it up.
    DiscardAsked,
    /// An operator had it logged again as a new operation.
    Retried,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 11] = [
        Self::SurrealApplied,
        Self::SurrealRefused,
        Self::QdrantApplied,
        Self::QdrantRefused,
        Self::Finished,
        Self::Undone,
        Self::UndoBlocked,
        Self::Held,
        Self::RollbackAsked,
        Self::DiscardAsked,
        Self::Retried,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SurrealApplied => "surreal_applied",
            Self::SurrealRefused => "surreal_refused",
            Self::QdrantApplied => "qdrant_applied",
            Self::QdrantRefused => "qdrant_refused",
            Self::Finished => "finished",
            Self::Undone => "undone",
            Self::UndoBlocked => "undo_blocked",
            Self::Held => "held",
            Self::RollbackAsked => "rollback_asked",
            Self::DiscardAsked => "discard_asked",
            Self::Retried => "retried",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An event that cannot happen in a state. It is always a fault of ours or of the log's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot happen to an operation that is {state}")]
pub struct IllegalTransition {
    /// The state.
    pub state: State,
    /// The event.
    pub event: Event,
}

/// The state that follows when `event` happens in `state`.
pub const fn transition(state: State, event: Event) -> Result<State, IllegalTransition> {
    use State::{Committed, Compensating, Discarded, Parked, Pending, QdrantCompleted, RolledBack, SurrealCompleted};
    let illegal = Err(IllegalTransition { state, event });
    match event {
        Event::SurrealApplied => match state {
            Pending => Ok(SurrealCompleted),
            SurrealCompleted | QdrantCompleted | Committed | Compensating | RolledBack | Parked | Discarded => illegal,
        },
        Event::SurrealRefused => match state {
            Pending => Ok(Compensating),
            SurrealCompleted | QdrantCompleted | Committed | Compensating | RolledBack | Parked | Discarded => illegal,
        },
        Event::QdrantApplied => match state {
            SurrealCompleted => Ok(QdrantCompleted),
            Pending | QdrantCompleted | Committed | Compensating | RolledBack | Parked | Discarded => illegal,
        },
        Event::QdrantRefused => match state {
            SurrealCompleted => Ok(Compensating),
            Pending | QdrantCompleted | Committed | Compensating | RolledBack | Parked | Discarded => illegal,
        },
        Event::Finished => match state {
            QdrantCompleted => Ok(Committed),
            Pending | SurrealCompleted | Committed | Compensating | RolledBack | Parked | Discarded => illegal,
        },
        Event::Undone => match state {
            Compensating => Ok(RolledBack),
            Pending | SurrealCompleted | QdrantCompleted | Committed | RolledBack | Parked | Discarded => illegal,
        },
        Event::UndoBlocked => match state {
            Compensating => Ok(Parked),
            Pending | SurrealCompleted | QdrantCompleted | Committed | RolledBack | Parked | Discarded => illegal,
        },
        Event::Held => match state {
            Pending | SurrealCompleted => Ok(Parked),
            QdrantCompleted | Committed | Compensating | RolledBack | Parked | Discarded => illegal,
        },
        Event::RollbackAsked => match state {
            Parked => Ok(RolledBack),
            Pending | SurrealCompleted | QdrantCompleted | Committed | Compensating | RolledBack | Discarded => illegal,
        },
        Event::DiscardAsked | Event::Retried => match state {
            Parked => Ok(Discarded),
            Pending | SurrealCompleted | QdrantCompleted | Committed | Compensating | RolledBack | Discarded => illegal,
        },
    }
}

/// Whether some event leads from `from` to `to`.
#[must_use]
pub fn is_legal_step(from: State, to: State) -> bool {
    Event::ALL.into_iter().any(|event| transition(from, event) == Ok(to))
}

/// Every legal transition as a line `pending --surreal_applied--> surreal_completed`.
#[must_use]
pub fn diagram() -> String {
    let pairs = State::ALL.into_iter().flat_map(|state| Event::ALL.into_iter().map(move |event| (state, event)));
    pairs
        .filter_map(|(state, event)| Some((state, event, transition(state, event).ok()?)))
        .map(|(state, event, next)| format!("{state} --{event}--> {next}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        let legal = "\
            pending --surreal_applied--> surreal_completed\n\
            pending --surreal_refused--> compensating\n\
            pending --held--> parked\n\
            surreal_completed --qdrant_applied--> qdrant_completed\n\
            surreal_completed --qdrant_refused--> compensating\n\
            surreal_completed --held--> parked\n\
            qdrant_completed --finished--> committed\n\
            compensating --undone--> rolled_back\n\
            compensating --undo_blocked--> parked\n\
            parked --rollback_asked--> rolled_back\n\
            parked --discard_asked--> discarded\n\
            parked --retried--> discarded\n";
        assert_eq!(diagram(), legal);
        for state in State::ALL {
            for event in Event::ALL {
                let line = legal.lines().any(|line| line.starts_with(&format!("{state} --{event}--> ")));
                match transition(state, event) {
                    Ok(_) => assert!(line, "{state} {event}"),
                    Err(error) => assert!(!line && error == IllegalTransition { state, event }, "{state} {event}"),
                }
            }
        }
    }

    #[test]
    fn final_states_have_no_way_out_and_all_others_lead_to_one() {
        for state in State::ALL {
            let ways_out = State::ALL.into_iter().filter(|next| is_legal_step(state, *next)).count();
            assert_eq!(ways_out == 0, state.is_final(), "{state}");
            assert!(!(state.is_final() && state.is_open()), "{state}");
        }
        assert!(!State::Parked.is_final() && !State::Parked.is_open());
    }

    #[test]
    fn codes_and_names_are_fixed() {
        let codes: Vec<u8> = State::ALL.into_iter().map(State::code).collect();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8]);
        for state in State::ALL {
            assert_eq!(State::from_code(state.code()), Some(state));
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert_eq!(State::from_code(0), None);
        assert!("Pending".parse::<State>().is_err());
    }
}
