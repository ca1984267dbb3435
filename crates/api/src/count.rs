//! How much a `clear` would remove.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of `POST /v1/count`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountRequest {
    /// The table.
    pub table: String,
    /// A filter, as a `clear` takes it; all of the table without it.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
}

/// What a `clear` would remove now. What could not be counted is null, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CountAnswer {
    /// Records in SurrealDB.
    pub records: Option<u64>,
    /// Points in Qdrant.
    pub points: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_called_where_and_the_unknown_null() {
        let request = CountRequest { table: "memory".to_owned(), filter: Some(serde_json::json!({"workspace": "w1"})) };
        let text = r#"{"table":"memory","where":{"workspace":"w1"}}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(serde_json::from_str::<CountRequest>(text).unwrap(), request);
        let answer = CountAnswer { records: Some(0), points: None };
        assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"records":0,"points":null}"#);
    }
}
