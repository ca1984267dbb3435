//! Nearest neighbours.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of `POST /v1/search`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchRequest {
    /// The table to search.
    pub table: String,
    /// The vector whose neighbours are wanted: any form in which a vector is written.
    pub vector: Value,
    /// The name of the stored vector to compare with, if a key has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using: Option<String>,
    /// At most so many hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only keys whose payload fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Whether each hit shall carry its document.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_document: bool,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchAnswer {
    /// The nearest first.
    pub hits: Vec<HitView>,
    /// How many points were passed over, because their document is gone, going, or of another version.
    #[serde(default)]
    pub dropped: u64,
}

/// One neighbour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HitView {
    /// Its key.
    pub key: String,
    /// How near it is, in its collection's measure.
    pub score: f32,
    /// Its document, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_the_contract() {
        let text = r#"{"table":"memory","vector":[1,0.5],"using":"title","limit":3,"filter":{"ws":"w1"},"with_document":true}"#;
        let request: SearchRequest = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        let least = r#"{"table":"memory","vector":"AACAPw=="}"#;
        let request: SearchRequest = serde_json::from_str(least).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), least);

        let text = r#"{"hits":[{"key":"memory:01","score":0.61615,"document":{"a":1}},{"key":"memory:2","score":0.5}],"dropped":1}"#;
        let answer: SearchAnswer = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
    }
}
