//! One key, as both stores hold it.

use std::collections::BTreeMap;

use lockstep_model::{Lsn, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::VectorView;

/// What `GET /v1/entities/{table}/{id}` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// The key.
    pub key: String,
    /// Whether the stores agree: `consistent`, `missing_vector`, `not_found`, … (verdicts may be added).
    pub verdict: String,
    /// What SurrealDB holds.
    pub surreal: SurrealSide,
    /// What Qdrant holds.
    pub qdrant: QdrantSide,
    /// The operations on this key that have not ended, oldest first.
    #[serde(default)]
    pub open_ops: Vec<Lsn>,
}

/// What SurrealDB holds of a key. What it does not hold, or what could not be read, is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SurrealSide {
    /// Whether there is a record; null if SurrealDB could not be asked: then `error` says why.
    pub found: Option<bool>,
    /// Why it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The version of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The hash of its document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// What the application wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Value>,
}

/// What Qdrant holds of a key. What it does not hold, or what could not be read, is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QdrantSide {
    /// Whether there is a point; null if Qdrant could not be asked: then `error` says why.
    pub found: Option<bool>,
    /// Why it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The version of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The hash of its vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Its payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Its vectors by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<BTreeMap<String, VectorView>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_the_contract() {
        let text = concat!(
            r#"{"key":"memory:01","verdict":"consistent","#,
            r#""surreal":{"found":true,"version":5,"hash":"a1","document":{"title":"tide"}},"#,
            r#""qdrant":{"found":true,"version":5,"hash":"b2","payload":{"title":"tide"},"vectors":{"default":[0.1,0.2]}},"#,
            r#""open_ops":[41,42]}"#,
        );
        let entity: Entity = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&entity).unwrap(), text);
    }

    #[test]
    fn what_could_not_be_asked_says_why() {
        let text = r#"{"key":"memory:1","verdict":"unknown","surreal":{"found":false},"qdrant":{"found":null,"error":"refused"},"open_ops":[]}"#;
        let entity: Entity = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&entity).unwrap(), text);
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let nothing = r#"{"key":"memory:1","verdict":"not_found","surreal":{"found":false},"qdrant":{"found":false},"open_ops":[]}"#;
        let entity: Entity = serde_json::from_str(nothing).unwrap();
        assert_eq!(serde_json::to_string(&entity).unwrap(), nothing);
    }
}
