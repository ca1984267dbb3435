//! Qdrant Edge: Qdrant's own engine in this process, one shard a collection.
//!
//! Edge's calls block, so each runs on tokio's threads for blocking work. An update is in memory (and in Edge's log
//! of updates, which nobody replays) until a flush: [`Durability::AfterFlush`].

mod class;
mod directory;
mod filter;
mod point;
mod read;
mod shard;
mod torn;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use lockstep_model::PointId;

use self::shard::Shard;
use crate::collection_look as look;
use crate::{
    Class, Collection, Durability, Expected, Finding, Hit, Point, PointStamp, PointWrite, Scope, SearchAsk, StoreError,
    VectorStore,
};

/// How errors name this store.
const STORE: &str = "qdrant";

type Shards = BTreeMap<String, Arc<Shard>>;

/// An embedded Qdrant.
#[derive(Debug, Clone)]
pub struct EdgeStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    shards: RwLock<Shards>,
    creating: Mutex<()>,
}

impl EdgeStore {
    /// Opens every collection below `dir`, which is made if need be.
    ///
    /// # Errors
    /// If the directory cannot be used, or a collection in it cannot be opened (another process has it, or
    /// it is damaged): the message names it.
    pub async fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        let dir = dir.as_ref().to_owned();
        blocking(move || {
            let mut shards = Shards::new();
            for path in directory::list(&dir)? {
                let shard = Shard::open(&path)
                    .map_err(|error| StoreError { detail: format!("{}: {}", path.display(), error.detail), ..error })?;
                shards.insert(shard.collection.name.clone(), Arc::new(shard));
            }
            let inner = Inner { dir, shards: RwLock::new(shards), creating: Mutex::new(()) };
            Ok(Self { inner: Arc::new(inner) })
        })
        .await
    }

    fn shards(&self) -> Shards {
        self.inner.shards.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shard(&self, collection: &str) -> Option<Arc<Shard>> {
        self.inner.shards.read().unwrap_or_else(PoisonError::into_inner).get(collection).cloned()
    }

    async fn on<T: Send + 'static>(
        &self,
        collection: &str,
        call: impl FnOnce(&Shard) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.shard(collection) {
            Some(shard) => blocking(move || call(&shard)).await,
            None => Err(missing(collection)),
        }
    }
}

impl Inner {
    fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        let there = self.shards.read().unwrap_or_else(PoisonError::into_inner).get(&collection.name).cloned();
        if let Some(shard) = there {
            if shard.collection.shape == collection.shape {
                return Ok(());
            }
            return Err(StoreError::new(
                STORE,
                Class::Configuration(Scope::Table),
                format!("the collection {} is there with another shape", collection.name),
            ));
        }
        let path = directory::make(&self.dir, collection)?;
        let shard = Arc::new(Shard::open(&path)?);
        self.shards.write().unwrap_or_else(PoisonError::into_inner).insert(collection.name.clone(), shard);
        Ok(())
    }
}

#[async_trait]
impl VectorStore for EdgeStore {
    fn durability(&self) -> Durability {
        Durability::AfterFlush
    }

    fn losses(&self) -> u64 {
        0
    }

    async fn collections(&self) -> Result<BTreeMap<String, Collection>, StoreError> {
        Ok(self.shards().into_iter().map(|(name, shard)| (name, shard.collection.clone())).collect())
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        let (inner, collection) = (Arc::clone(&self.inner), collection.clone());
        blocking(move || inner.create(&collection)).await
    }

    async fn apply(&self, collection: &str, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        let only_deletes = writes.iter().all(|write| matches!(write, PointWrite::Delete { .. }));
        if only_deletes && self.shard(collection).is_none() {
            return Ok(vec![None; writes.len()]);
        }
        let writes = writes.to_vec();
        self.on(collection, move |shard| write::apply(shard, &writes)).await
    }

    async fn stamps(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        let ids = ids.to_vec();
        self.on(collection, move |shard| {
            let stamps = write::read_stamps(shard, &ids)?;
            Ok(ids.iter().map(|id| stamps.get(id).cloned()).collect())
        })
        .await
    }

    async fn points(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<Point>>, StoreError> {
        let ids = ids.to_vec();
        self.on(collection, move |shard| read::points(shard, &ids)).await
    }

    async fn search(&self, collection: &str, ask: &SearchAsk) -> Result<Vec<Hit>, StoreError> {
        let ask = ask.clone();
        self.on(collection, move |shard| read::search(shard, &ask)).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let shards = self.shards();
        blocking(move || shards.values().try_for_each(|shard| shard.flush())).await
    }

    async fn optimize(&self) -> Result<bool, StoreError> {
        let shards = self.shards();
        blocking(move || {
            let mut did = false;
            for shard in shards.values() {
                did |= shard.optimize()?;
            }
            Ok(did)
        })
        .await
    }

    async fn scan(
        &self,
        collection: &str,
        after: Option<PointId>,
        limit: usize,
    ) -> Result<Vec<(PointId, PointStamp)>, StoreError> {
        self.on(collection, move |shard| read::scan(shard, after, limit)).await
    }

    async fn count(&self, collection: &str) -> Result<u64, StoreError> {
        self.on(collection, read::count).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let dir = self.inner.dir.clone();
        blocking(move || std::fs::metadata(&dir).map(drop).map_err(|error| directory::io_error(&dir, &error))).await
    }

    async fn preflight(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::new();
        for expected in tables.iter().filter(|expected| expected.stores.has_qdrant()) {
            let Some(shard) = self.shard(&expected.collection) else {
                findings.push(look::missing(expected));
                continue;
            };
            findings.extend(look::shape(expected, &shard.collection.shape));
            let unstamped = self.on(&expected.collection, read::count_unstamped).await?;
            findings.extend(look::unstamped(expected, unstamped));
        }
        Ok(findings)
    }
}

fn missing(collection: &str) -> StoreError {
    let class = Class::Configuration(Scope::Table);
    StoreError::new(STORE, class, format!("there is no collection {collection}"))
}

/// Runs what blocks where it may. If the caller goes away, it still runs to its end.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => outcome,
        Err(error) => Err(StoreError::new(STORE, Class::Unknown, format!("a call broke off: {error}"))),
    }
}
