//! One operation, looked at.

use lockstep_model::{Lsn, OpId, State, Version};
use serde::{Deserialize, Serialize};

/// What `GET /v1/ops/{op_id}` answers, and without `history` a row of the list and the data of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpView {
    /// The operation's name.
    pub op_id: OpId,
    /// Where it stands in the log.
    pub lsn: Lsn,
    /// The version that it gives to its keys; null if the log no longer tells.
    pub version: Option<Version>,
    /// The key that it writes; null where it writes no single key.
    pub key: Option<String>,
    /// Which operation: `put`, `patch`, …
    pub op: String,
    /// How far it has come.
    pub state: State,
    /// How often a store was tried for it; null where only the log was read, which does not tell.
    pub attempts: Option<u64>,
    /// When it was logged.
    pub created_at: Option<String>,
    /// When its state last changed.
    pub updated_at: Option<String>,
    /// When it is tried next, if it waits for that.
    pub next_attempt_at: Option<String>,
    /// What it waits for: `store:qdrant`, `table:memory`, `lsn:41` or `operator`.
    pub waiting_for: Option<String>,
    /// The states it went through, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<Step>>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<OpError>,
}

/// A state that an operation reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The state.
    pub state: State,
    /// When it was reached; null if the log no longer tells.
    pub at: Option<String>,
    /// Why, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What went wrong with an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpError {
    /// The store that said it; null where Lockstep itself did.
    pub store: Option<String>,
    /// A code, as in problem documents.
    pub code: String,
    /// What was said.
    pub detail: String,
    /// When; null if the log no longer tells.
    pub at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_the_contract() {
        let text = concat!(
            r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":42,"version":7,"key":"memory:01","op":"put","#,
            r#""state":"pending","attempts":2,"created_at":"2026-01-29T00:00:00.000000Z","updated_at":"2026-01-29T00:00:01.000000Z","#,
            r#""next_attempt_at":null,"waiting_for":"store:qdrant","history":[{"state":"pending","at":"2026-01-29T00:00:00.000000Z"},"#,
            r#"{"state":"surreal_completed","at":null,"note":"again"}],"#,
            r#""error":{"store":"qdrant","code":"store_unavailable","detail":"refused","at":null}}"#,
        );
        let view: OpView = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&view).unwrap(), text);
    }

    #[test]
    fn without_history_and_error_it_is_a_row_of_the_list() {
        let text = r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":1,"op":"clear","state":"committed"}"#;
        let view: OpView = serde_json::from_str(text).unwrap();
        let value = serde_json::to_value(&view).unwrap();
        assert!(value.get("history").is_none() && value.get("error").is_none());
        for unknown in ["version", "key", "attempts", "created_at", "updated_at", "next_attempt_at", "waiting_for"] {
            assert_eq!(value.get(unknown), Some(&serde_json::Value::Null), "{unknown}");
        }
    }
}
