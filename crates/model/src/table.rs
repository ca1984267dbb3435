//! How a table is kept in the two stores: what configuration says of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::key::Table;
use crate::payload::PayloadSelection;
use crate::shape::Shape;

/// Which stores hold a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stores {
    /// Both.
    #[default]
    Both,
    /// SurrealDB alone.
    Surreal,
    /// Qdrant alone.
    Qdrant,
}

impl Stores {
    /// Whether SurrealDB holds the table.
    #[must_use]
    pub const fn has_surreal(self) -> bool {
        matches!(self, Self::Both | Self::Surreal)
    }

    /// Whether Qdrant holds the table.
    #[must_use]
    pub const fn has_qdrant(self) -> bool {
        matches!(self, Self::Both | Self::Qdrant)
    }
}

/// What happens to an operation that a store refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReject {
    /// It is undone and ends rolled back.
    #[default]
    Rollback,
    /// It is kept for an operator.
    Park,
}

/// What a point's id is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum PointIdPolicy {
    /// [`crate::Key::point_id`]: `hashed`.
    #[default]
    Hashed,
    /// The key's own id, an integer or a UUID: `key`.
    Key,
    /// What the document has in this field: `field:NAME`.
    Field(String),
}

impl fmt::Display for PointIdPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashed => f.write_str("hashed"),
            Self::Key => f.write_str("key"),
            Self::Field(name) => write!(f, "field:{name}"),
        }
    }
}

/// A text that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a point id policy: hashed, key or field:NAME")]
pub struct UnknownPolicy(String);

impl FromStr for PointIdPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match (text, text.strip_prefix("field:")) {
            ("hashed", _) => Ok(Self::Hashed),
            ("key", _) => Ok(Self::Key),
            (_, Some(name)) if !name.is_empty() => Ok(Self::Field(name.to_owned())),
            _ => Err(UnknownPolicy(text.to_owned())),
        }
    }
}

impl Serialize for PointIdPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PointIdPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The rules of one table. The default is what a table has that no configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableRules {
    /// The collection of its points, if it is not called like the table.
    pub collection: Option<String>,
    /// Its vectors. `None`: not configured, the collection or the first operation tells.
    pub vectors: Option<Shape>,
    /// What its points carry of the document.
    pub payload: PayloadSelection,
    /// Which stores hold it.
    pub stores: Stores,
    /// Whether SurrealDB keeps the vectors too, so that a lost point can be rebuilt.
    pub keep_vector: bool,
    /// What its points' ids are made of.
    pub point_id: PointIdPolicy,
    /// What happens to refused operations.
    pub on_reject: OnReject,
}

impl Default for TableRules {
    fn default() -> Self {
        Self {
            collection: None,
            vectors: None,
            payload: PayloadSelection::default(),
            stores: Stores::default(),
            keep_vector: true,
            point_id: PointIdPolicy::default(),
            on_reject: OnReject::default(),
        }
    }
}

impl TableRules {
    /// The collection of the points of `table`, which these are the rules of.
    #[must_use]
    pub fn collection_for(&self, table: &Table) -> String {
        self.collection.clone().unwrap_or_else(|| table.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_contracts() {
        let rules: TableRules = serde_json::from_str("{}").unwrap();
        assert_eq!(rules, TableRules::default());
        assert!(rules.keep_vector && rules.stores.has_surreal() && rules.stores.has_qdrant());
        assert_eq!(rules.collection_for(&Table::new("memory").unwrap()), "memory");
    }

    #[test]
    fn everything_can_be_configured() {
        let rules: TableRules = serde_json::from_str(
            r#"{"collection":"c","vectors":{"title":{"size":3,"distance":"dot","required":true}},"payload":["a"],
                "stores":"qdrant","keep_vector":false,"point_id":"field:uid","on_reject":"park"}"#,
        )
        .unwrap();
        assert_eq!(rules.collection_for(&Table::new("memory").unwrap()), "c");
        assert_eq!(rules.point_id, PointIdPolicy::Field("uid".to_owned()));
        assert_eq!(rules.payload, PayloadSelection::Fields(vec!["a".to_owned()]));
        assert!(!rules.stores.has_surreal());
        assert!(serde_json::from_str::<TableRules>(r#"{"colection":"c"}"#).is_err());
    }

    #[test]
    fn policies_parse_back() {
        for text in ["hashed", "key", "field:uid", "field:a:b"] {
            assert_eq!(text.parse::<PointIdPolicy>().unwrap().to_string(), text);
        }
        for text in ["", "field:", "Hashed", "uuid"] {
            assert!(text.parse::<PointIdPolicy>().is_err(), "{text}");
        }
    }
}
