//! SurrealDB, embedded in this process.
//!
//! Every call is one text with bound parameters (an undo looks first: two). Values never pass through JSON.
//! A commit is on disk when it returns (`surrealkv://` syncs every commit by default).
//!
//! The futures recurse as deep as documents nest; see the crate's documentation for the stack they need.

mod apply;
mod call;
mod claim;
mod class;
mod forms;
mod guard;
mod image;
mod query;
mod read;
mod record;
mod tables;
mod undo;
mod value;

use async_trait::async_trait;
use lockstep_model::{Key, LogId, Table, Version};
use surrealdb::Surreal;
use surrealdb::engine::any::{Any, connect};

use crate::surreal::call::{Kind, Params, run};
use crate::surreal::claim::META_TABLE;
use crate::surreal::class::{Stage, classify};
use crate::surreal::record::KEPT_TABLE;
use crate::surreal::tables::Tables;
use crate::{DocWrite, DocumentStore, EdgeEnds, Image, ImageAsk, ReadBack, Stamp, StoreError, Undo, Undone};

/// How errors name this store.
const STORE: &str = "surreal";

/// An embedded SurrealDB.
#[derive(Debug)]
pub struct SurrealStore {
    client: Surreal<Any>,
    tables: Tables,
}

impl SurrealStore {
    /// Opens the store at `endpoint` (`surrealkv://PATH` or `mem://`) and uses one database of it, which is
    /// made if need be.
    ///
    /// # Errors
    /// Nothing can work then; the message is the store's.
    pub async fn open(endpoint: &str, namespace: &str, database: &str) -> Result<Self, StoreError> {
        let fail = |error: surrealdb::Error| classify(&error, Stage::RolledBack);
        let client = Box::pin(connect(endpoint).into_future()).await.map_err(fail)?;
        client.use_ns(namespace).use_db(database).await.map_err(fail)?;
        let store = Self { client, tables: Tables::default() };
        store.tables.ensure(&store.client, [KEPT_TABLE, META_TABLE]).await?;
        Ok(store)
    }
}

#[async_trait]
impl DocumentStore for SurrealStore {
    async fn claim(&self, log: LogId) -> Result<Option<Version>, StoreError> {
        self.claim_for(log).await
    }

    async fn checkpoint(&self, version: Version) -> Result<(), StoreError> {
        self.note_version(version).await
    }

    async fn images(&self, asks: &[ImageAsk]) -> Result<Vec<Image>, StoreError> {
        self.read_images(asks).await
    }

    async fn edges_between(&self, edge: &Table, ends: &EdgeEnds) -> Result<Vec<Key>, StoreError> {
        self.read_edges_between(edge, ends).await
    }

    async fn apply(&self, writes: &[DocWrite]) -> Result<Vec<ReadBack>, StoreError> {
        self.apply_writes(writes).await
    }

    async fn undo(&self, undo: &Undo) -> Result<Undone, StoreError> {
        self.take_back(undo).await
    }

    async fn scan(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Option<Stamp>)>, StoreError> {
        self.read_scan(table, after, limit).await
    }

    async fn count(&self, table: &Table) -> Result<u64, StoreError> {
        self.read_count(table).await
    }

    async fn query(
        &self,
        text: &str,
        vars: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Vec<serde_json::Value>, StoreError> {
        self.run_read_only(text, vars).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        run(&self.client, "RETURN 1", Params::default(), Kind::Read).await.map(drop)
    }
}
