//! SurrealDB, embedded in this process or served by another.
//!
//! Every call is one text with bound parameters (an undo looks first: two). Values never pass through JSON.
//! A commit is on disk when it returns (`surrealkv://` syncs every commit by default). Every transaction that writes is
//! behind the fence row (see `claim`), embedded or not.
//!
//! The futures recurse as deep as documents nest; see the crate's documentation for the stack they need.

mod apply;
mod call;
mod claim;
mod class;
mod forms;
mod guard;
mod image;
mod keeper;
mod link;
mod preflight;
mod query;
mod read;
mod record;
mod remote;
mod tables;
mod torn;
mod undo;
mod value;

use std::future::IntoFuture;
use std::io;
use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use lockstep_model::{Key, Table, Version};
use surrealdb::engine::any::connect;

use crate::surreal::call::Params;
use crate::surreal::class::{Stage, classify};
use crate::surreal::keeper::{Keeper, Source};
use crate::surreal::link::Served;
pub use crate::surreal::remote::{SurrealAuth, SurrealRemote};
use crate::surreal::tables::Tables;
use crate::surreal::torn::cut_torn;
use crate::{
    Claim, Claimant, Class, DocWrite, DocumentStore, EdgeEnds, Expected, Finding, Image, ImageAsk, ReadBack, Scanned,
    Scope, Stamp, StoreError, Undo, Undone,
};

/// How errors name this store.
const STORE: &str = "surreal";

/// A SurrealDB.
#[derive(Debug)]
pub struct SurrealStore {
    keeper: Keeper,
}

impl SurrealStore {
    /// Opens the store at `endpoint` (`surrealkv://PATH` or `mem://`) and uses one database of it, which is
    /// made if need be.
    ///
    /// # Errors
    /// Nothing can work then; the message is the store's.
    pub async fn open(endpoint: &str, namespace: &str, database: &str) -> Result<Self, StoreError> {
        let fail = |error: surrealdb::Error| classify(&error, Stage::RolledBack);
        if let Some(place) = endpoint.strip_prefix("surrealkv://") {
            let dir = Path::new(place.split('?').next().unwrap_or(place));
            cut_torn(dir).map_err(|error| {
                let detail = format!("the log of the database at {} cannot be looked at: {error}", dir.display());
                StoreError::new(STORE, Class::Configuration(Scope::Store), detail)
            })?;
        }
        let client = Box::pin(connect(endpoint).into_future()).await.map_err(fail)?;
        client.use_ns(namespace).use_db(database).await.map_err(fail)?;
        let store = Self { keeper: Keeper::new(Source::Embedded(client), Tables::new(true)) };
        store.keeper.link().await?;
        Ok(store)
    }

    /// Cuts off what came in part at the end of the log of a database that SurrealKV keeps at `dir`: what [`Self::open`] does by
    /// itself, for a database that a server is about to open (decision 0031). Nothing is touched while somebody has it open.
    ///
    /// # Errors
    /// If the last segment of its log cannot be read or cut.
    pub fn cut_torn(dir: &Path) -> io::Result<()> {
        cut_torn(dir)
    }

    /// A store that is served. Nothing is connected yet: the first call does that, and every call after a lost connection does
    /// it again, behind a new epoch.
    ///
    /// # Errors
    /// [`crate::Class::Configuration`] of the store if the settings can never work: an endpoint that is none, a file of
    /// certificates that cannot be read.
    pub fn connect(remote: SurrealRemote) -> Result<Self, StoreError> {
        let tables = Tables::new(remote.create);
        Ok(Self { keeper: Keeper::new(Source::Served(Box::new(Served::new(remote)?)), tables) })
    }
}

#[async_trait]
impl DocumentStore for SurrealStore {
    async fn claim(&self, claimant: &Claimant) -> Result<Claim, StoreError> {
        self.keeper.claim(claimant).await
    }

    fn losses(&self) -> u64 {
        self.keeper.losses()
    }

    fn restored(&self) -> Option<String> {
        self.keeper.older()
    }

    /// A commit is on disk when it returns, so a checkpoint has nothing else to make durable.
    async fn checkpoint(&self, version: Version) -> Result<(), StoreError> {
        let mut params = Params::default();
        claim::bind_version(&mut params, version);
        self.keeper.write(claim::NOTE_VERSION, params).await?;
        self.keeper.noted(version).await;
        Ok(())
    }

    async fn images(&self, asks: &[ImageAsk]) -> Result<Vec<Image>, StoreError> {
        self.read_images(asks).await
    }

    async fn edges_between(&self, edge: &Table, ends: &EdgeEnds) -> Result<Vec<Key>, StoreError> {
        self.read_edges_between(edge, ends).await
    }

    async fn apply(&self, writes: &[DocWrite], together: &[Range<usize>]) -> Result<Vec<ReadBack>, StoreError> {
        self.apply_writes(writes, together).await
    }

    async fn undo(&self, undos: &[Undo]) -> Result<Undone, StoreError> {
        self.take_back(undos).await
    }

    async fn scan(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Option<Stamp>)>, StoreError> {
        self.read_scan(table, after, limit).await
    }

    async fn scan_documents(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Scanned>, StoreError> {
        self.read_documents(table, after, limit).await
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
        self.keeper.read("RETURN 1", Params::default()).await.map(drop)
    }

    async fn preflight(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        self.look_before_start(tables).await
    }
}
