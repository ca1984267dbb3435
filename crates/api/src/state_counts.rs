//! How many operations are in each state.

use lockstep_model::State;
use serde::{Deserialize, Serialize};

/// A count for each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field counts the state of its name")]
pub struct StateCounts {
    pub pending: u64,
    pub surreal_completed: u64,
    pub qdrant_completed: u64,
    pub committed: u64,
    pub compensating: u64,
    pub rolled_back: u64,
    pub parked: u64,
    pub discarded: u64,
}

impl StateCounts {
    /// How many are in `state`.
    #[must_use]
    pub const fn of(&self, state: State) -> u64 {
        match state {
            State::Pending => self.pending,
            State::SurrealCompleted => self.surreal_completed,
            State::QdrantCompleted => self.qdrant_completed,
            State::Committed => self.committed,
            State::Compensating => self.compensating,
            State::RolledBack => self.rolled_back,
            State::Parked => self.parked,
            State::Discarded => self.discarded,
        }
    }

    /// The count of `state`, to be changed.
    pub const fn of_mut(&mut self, state: State) -> &mut u64 {
        match state {
            State::Pending => &mut self.pending,
            State::SurrealCompleted => &mut self.surreal_completed,
            State::QdrantCompleted => &mut self.qdrant_completed,
            State::Committed => &mut self.committed,
            State::Compensating => &mut self.compensating,
            State::RolledBack => &mut self.rolled_back,
            State::Parked => &mut self.parked,
            State::Discarded => &mut self.discarded,
        }
    }
}

impl FromIterator<State> for StateCounts {
    fn from_iter<I: IntoIterator<Item = State>>(states: I) -> Self {
        let mut counts = Self::default();
        for state in states {
            *counts.of_mut(state) += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_own_count_under_its_own_name() {
        for state in State::ALL {
            let counts: StateCounts = [state].into_iter().collect();
            assert_eq!(counts.of(state), 1);
            let value = serde_json::to_value(counts).unwrap();
            assert_eq!(value.as_object().unwrap().len(), State::ALL.len());
            assert_eq!(value[state.as_str()], 1);
        }
    }
}
