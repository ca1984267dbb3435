//! Pausing a store or a table for maintenance.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The body of `POST /v1/pause` and `POST /v1/resume`: `{"store":"qdrant"}` or `{"table":"memory"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseRequest {
    /// Everything that needs this store.
    Store(StoreName),
    /// Everything that writes this table.
    Table(String),
}

impl fmt::Display for PauseRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(store) => write!(f, "store {store}"),
            Self::Table(table) => write!(f, "table {table}"),
        }
    }
}

/// One of the two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreName {
    /// SurrealDB: documents and edges.
    Surreal,
    /// Qdrant: vectors.
    Qdrant,
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Surreal => "surreal",
            Self::Qdrant => "qdrant",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_the_contract() {
        let cases = [
            (PauseRequest::Store(StoreName::Qdrant), r#"{"store":"qdrant"}"#),
            (PauseRequest::Store(StoreName::Surreal), r#"{"store":"surreal"}"#),
            (PauseRequest::Table("memory".to_owned()), r#"{"table":"memory"}"#),
        ];
        for (request, text) in cases {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<PauseRequest>(text).unwrap(), request);
        }
        assert!(serde_json::from_str::<PauseRequest>(r#"{"store":"redis"}"#).is_err());
        assert!(serde_json::from_str::<PauseRequest>(r#"{"store":"qdrant","table":"memory"}"#).is_err());
    }
}
