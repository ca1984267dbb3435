//! The daemon at a glance.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{StateCounts, WalView};

/// What `GET /v1/status` answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusAnswer {
    /// The version of the daemon.
    pub version: String,
    /// When it started.
    pub started_at: String,
    /// The log.
    pub wal: WalView,
    /// The log's directory, as the daemon names it; none from a daemon that does not say.
    pub wal_dir: Option<String>,
    /// Each operation ever logged, once: by the state that it has now, or had when it left the log.
    pub totals: StateCounts,
    /// The stores.
    pub stores: StoresView,
    /// What the last start had to finish.
    pub recovery: RecoveryView,
    /// Why only an audit can tell what the stores hold, if that is so.
    pub audit_needed: Option<String>,
    /// How many committed operations both stores still have to be looked at for.
    pub verifying: u64,
    /// How far back, in seconds, the log holds what it gave to the stores; null where nothing is retained.
    pub covered_s: Option<f64>,
}

/// Both stores.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoresView {
    /// SurrealDB.
    pub surreal: StoreView,
    /// Qdrant.
    pub qdrant: StoreView,
}

/// One store, as the daemon last saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreView {
    /// Whether it does its work.
    pub state: StoreState,
    /// Where it is.
    pub endpoint: Option<String>,
    /// Since when it has been down; none while it is not.
    pub since: Option<String>,
    /// Why it is down.
    pub detail: Option<String>,
    /// The tables whose work stands still for an operator or a missing table.
    pub paused_tables: Vec<String>,
    /// How often it may have lost what it had acknowledged: connections that broke, and signs that its data are older than they
    /// were.
    pub losses: u64,
}

/// Whether a store does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
    /// Its last call went well.
    Up,
    /// It cannot be reached; nothing is started that needs it.
    Down,
    /// An operator stopped its work.
    Paused,
    /// It has not been asked yet; also what a newer daemon says and this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl fmt::Display for StoreState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        })
    }
}

/// What the daemon found open at its last start, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RecoveryView {
    /// Whether all of it has ended or is parked.
    pub done: bool,
    /// How many were finished.
    pub finished: u64,
    /// How many were rolled back.
    pub rolled_back: u64,
    /// How many are parked.
    pub parked: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_members_of_the_contract() {
        let value = serde_json::to_value(StatusAnswer::default()).unwrap();
        for member in ["version", "started_at", "wal", "totals", "stores", "recovery"] {
            assert!(value.get(member).is_some(), "{member}");
        }
        assert_eq!(value["stores"]["surreal"]["state"], "unknown");
        assert_eq!(value["recovery"], serde_json::json!({"done": false, "finished": 0, "rolled_back": 0, "parked": 0}));
    }

    #[test]
    fn a_state_from_the_future_is_unknown() {
        let text = r#"{"version":"9.0.0","stores":{"surreal":{"state":"up","new":1},"qdrant":{"state":"resting"}}}"#;
        let status: StatusAnswer = serde_json::from_str(text).unwrap();
        assert_eq!(status.stores.surreal.state, StoreState::Up);
        assert_eq!(status.stores.qdrant.state, StoreState::Unknown);
    }
}
