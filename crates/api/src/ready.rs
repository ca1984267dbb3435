//! Readiness.

use serde::{Deserialize, Serialize};

/// What `GET /readyz` answers: 200 when ready, 503 with the reasons when not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadyAnswer {
    /// Whether it takes operations and work moves.
    pub ready: bool,
    /// Why not: one sentence each.
    pub reasons: Vec<String>,
}
