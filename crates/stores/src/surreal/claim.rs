//! Whose store it is: the row `lockstep_meta:fence { log, version }`.

use lockstep_model::{LogId, Version};
use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Kind, Params, run};
use crate::surreal::record::{version_of, version_value};
use crate::{Class, Scope, StoreError};

/// The table of Lockstep's own rows.
pub(super) const META_TABLE: &str = "lockstep_meta";

const CLAIM: &str = "BEGIN;
    LET $row = SELECT * FROM ONLY lockstep_meta:fence;
    IF $row = NONE { CREATE lockstep_meta:fence CONTENT { log: $log, version: 0 } RETURN NONE };
    $row;
    COMMIT;";

const CHECKPOINT: &str = "BEGIN;
    UPSERT lockstep_meta:fence SET version = math::max([version ?? 0, $version]) RETURN NONE;
    COMMIT;";

impl SurrealStore {
    pub(super) async fn claim_for(&self, log: LogId) -> Result<Option<Version>, StoreError> {
        self.tables.ensure(&self.client, [META_TABLE]).await?;
        let mut params = Params::default();
        params.bind("log", db::Uuid::from(log.0));
        let claimed = run(&self.client, CLAIM, params, Kind::Transaction).await?.take(3);
        let db::Value::Object(row) = claimed else { return Ok(None) };
        match row.get("log") {
            Some(db::Value::Uuid(holder)) if holder.into_inner() == log.0 => {
                Ok(row.get("version").and_then(version_of).filter(|version| version.0 > 0))
            }
            Some(db::Value::Uuid(holder)) => Err(StoreError::new(
                super::STORE,
                Class::Configuration(Scope::Store),
                format!(
                    "this database belongs to the Lockstep with the log {holder}, not to {log}; \
                     if that log is gone for good, delete the record lockstep_meta:fence"
                ),
            )),
            _ => Err(StoreError::new(
                super::STORE,
                Class::Configuration(Scope::Store),
                "the record lockstep_meta:fence names no log: it was not written by Lockstep",
            )),
        }
    }

    /// A commit is on disk when it returns, so a checkpoint has nothing else to make durable.
    pub(super) async fn note_version(&self, version: Version) -> Result<(), StoreError> {
        self.tables.ensure(&self.client, [META_TABLE]).await?;
        let mut params = Params::default();
        params.bind("version", version_value(version));
        run(&self.client, CHECKPOINT, params, Kind::Transaction).await.map(drop)
    }
}
