//! What a store is expected to look like, and what is found to differ: before a start, and in `lockstepd check`.

use lockstep_model::{Shape, Stores, Table};
use serde::{Deserialize, Serialize};

/// One table, as the configuration has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// The table.
    pub table: Table,
    /// The collection of its points.
    pub collection: String,
    /// Its vectors, where they are configured.
    pub shape: Option<Shape>,
    /// The payload fields that are named in the configuration: filters want an index on them.
    pub payload: Vec<String>,
    /// Which stores hold it.
    pub stores: Stores,
    /// The first write makes what is missing.
    pub may_create: bool,
    /// Points get ids of ours, so that points with other ids would be doubled.
    pub hashed_ids: bool,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something will not be as expected.
    Warning,
    /// Operations would fail.
    Error,
}

/// Something that differs, or is worth knowing before the first write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// `surreal` or `qdrant`.
    pub store: String,
    /// The table or collection, if it is about one.
    pub subject: Option<String>,
    /// What was found.
    pub found: String,
    /// What to do.
    pub remedy: String,
}
