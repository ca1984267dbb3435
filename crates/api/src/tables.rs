//! The tables that the daemon knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What `GET /v1/tables` answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TablesAnswer {
    /// By name.
    pub tables: Vec<TableView>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TableView {
    /// Its name.
    pub table: String,
    /// Which stores hold it: `both`, `surreal` or `qdrant`.
    pub stores: String,
    /// The collection of its points; null if it has none.
    pub collection: Option<String>,
    /// Its vectors, by name.
    pub vectors: BTreeMap<String, VectorSpecView>,
    /// Whether SurrealDB keeps the vectors, too.
    pub keep_vector: bool,
    /// What the ids of its points are made of: `hashed`, `key` or `field:NAME`.
    pub point_id: String,
    /// Whether the configuration names it.
    pub configured: bool,
    /// Why its work stands still, if it does.
    pub paused: Option<String>,
    /// How many records SurrealDB has; null if that is not known.
    pub records: Option<u64>,
    /// How many points its collection has; null if that is not known, or there is none.
    pub points: Option<u64>,
}

/// What a collection wants of one vector.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VectorSpecView {
    /// `dense`, `sparse` or `multi`.
    pub kind: String,
    /// Its dimensions; null for a sparse one.
    pub size: Option<u32>,
    /// How it is compared: `cosine`, `dot`, `euclid` or `manhattan`.
    pub distance: String,
    /// Whether every put must bring it.
    pub required: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_null() {
        let text = concat!(
            r#"{"table":"memory","stores":"both","collection":"memory","vectors":{"default":{"kind":"dense","size":3,"#,
            r#""distance":"cosine","required":false}},"keep_vector":true,"point_id":"hashed","configured":false,"#,
            r#""paused":null,"records":7,"points":null}"#,
        );
        let table: TableView = serde_json::from_str(text).unwrap();
        assert_eq!((table.records, table.points), (Some(7), None));
        assert_eq!(serde_json::to_string(&table).unwrap(), text);
        let later: TablesAnswer = serde_json::from_str(r#"{"tables":[{"table":"a","new":1}]}"#).unwrap();
        assert_eq!(later.tables[0].records, None);
    }
}
