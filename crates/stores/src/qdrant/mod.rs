//! A Qdrant server over gRPC, with its own generated clients over a channel of ours.
//!
//! Every write waits until the server has completed it, carries a fence, and is followed by one look at what is there, which decides.
//! Nothing is repeated by itself. The server's word for durability is believed for as long as the log keeps the intents
//! ([`Durability::Acknowledged`]); a connection that broke is counted as a loss.

mod class;
mod connector;
mod fence;
mod filter;
mod layout;
mod link;
mod point;
mod preflight;
mod read;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use lockstep_model::{PointId, Shape};
use qdrant_client::qdrant::{
    CreateFieldIndexCollection, FieldType, GetCollectionInfoRequest, ListCollectionsRequest, UpdateStatus,
    WriteOrdering, WriteOrderingType,
};

use self::class::{Stage, classify};
use self::layout::Layout;
use self::link::Link;
use crate::{
    Class, Collection, Durability, Expected, Finding, Hit, Point, PointStamp, PointWrite, Scope, SearchAsk, StoreError,
    VectorStore,
};

/// How errors name this store.
const STORE: &str = "qdrant";

/// How strictly a cluster orders writes. A server alone orders them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// Writes may be reordered.
    Weak,
    /// Through a leader that may change.
    Medium,
    /// Through a leader that does not.
    Strong,
}

/// A server, and how to talk to it.
#[derive(Clone)]
pub struct QdrantRemote {
    /// `http://host:port` or `https://host:port` of its gRPC interface; the port is 6334 if none is given.
    pub endpoint: String,
    /// The key or token that it wants.
    pub api_key: Option<String>,
    /// The certificates, PEM, that vouch for the server's; none: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The largest request, in bytes, unless a single point is larger.
    pub batch_bytes: usize,
    /// How strictly writes are ordered; none: as the server does by itself.
    pub ordering: Option<Ordering>,
}

impl fmt::Debug for QdrantRemote {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, api_key, ca_file, timeout, batch_bytes, ordering } = self;
        f.debug_struct("QdrantRemote")
            .field("endpoint", endpoint)
            .field("api_key", &api_key.as_ref().map(|_| "…"))
            .field("ca_file", ca_file)
            .field("timeout", timeout)
            .field("batch_bytes", batch_bytes)
            .field("ordering", ordering)
            .finish()
    }
}

/// A Qdrant server.
#[derive(Clone)]
pub struct QdrantStore {
    inner: Arc<Inner>,
}

/// What the parts of the adapter share.
struct Inner {
    link: Link,
    batch_bytes: usize,
    ordering: Option<Ordering>,
    /// What collections were when they were last looked at. Forgotten when a call fails.
    layouts: RwLock<HashMap<String, Arc<Layout>>>,
}

impl QdrantStore {
    /// A store on this server, which need not be there: the first call connects.
    ///
    /// # Errors
    /// [`Class::Configuration`] if the endpoint is none, the certificates cannot be read, or there is no tokio runtime.
    pub fn connect(remote: &QdrantRemote) -> Result<Self, StoreError> {
        let inner = Inner {
            link: Link::new(remote)?,
            batch_bytes: remote.batch_bytes,
            ordering: remote.ordering,
            layouts: RwLock::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn ordering(&self) -> Option<WriteOrdering> {
        let kind = match self.ordering? {
            Ordering::Weak => WriteOrderingType::Weak,
            Ordering::Medium => WriteOrderingType::Medium,
            Ordering::Strong => WriteOrderingType::Strong,
        };
        Some(WriteOrdering { r#type: kind.into() })
    }

    /// What the collection is, as far as is known since it was last looked at.
    async fn layout(&self, collection: &str) -> Result<Arc<Layout>, StoreError> {
        let known = self.layouts.read().unwrap_or_else(PoisonError::into_inner).get(collection).cloned();
        match known {
            Some(layout) => Ok(layout),
            None => self.look(collection).await,
        }
    }

    /// What the collection is, and what the check says of it. Before anything is refused it is looked at anew: it may have been made anew
    /// meanwhile, to fit.
    async fn layout_for<T: Send>(
        &self,
        collection: &str,
        check: impl Fn(&Layout) -> Result<T, StoreError> + Send + Sync,
    ) -> Result<(Arc<Layout>, T), StoreError> {
        let layout = self.layout(collection).await?;
        if let Ok(fits) = check(&layout) {
            return Ok((layout, fits));
        }
        let layout = self.look(collection).await?;
        check(&layout).map(|fits| (layout, fits))
    }

    /// What the collection is now.
    async fn look(&self, collection: &str) -> Result<Arc<Layout>, StoreError> {
        let ask = GetCollectionInfoRequest { collection_name: collection.to_owned() };
        let mut client = self.link.collections();
        let answer = self.link.call(client.get(self.link.request(ask))).await;
        let answer = answer.map_err(|status| {
            self.forget(collection);
            classify(&status, Stage::Read)
        })?;
        let info = answer.result.ok_or_else(|| point::odd("a collection without a description"))?;
        let layout = Arc::new(Layout::of(info)?);
        let mut layouts = self.layouts.write().unwrap_or_else(PoisonError::into_inner);
        layouts.insert(collection.to_owned(), Arc::clone(&layout));
        Ok(layout)
    }

    fn forget(&self, collection: &str) {
        self.layouts.write().unwrap_or_else(PoisonError::into_inner).remove(collection);
    }

    async fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut client = self.link.collections();
        let answer = self.link.call(client.list(self.link.request(ListCollectionsRequest {}))).await;
        let answer = answer.map_err(|status| classify(&status, Stage::Read))?;
        Ok(answer.collections.into_iter().map(|collection| collection.name).collect())
    }

    /// Makes the collection if it is not there, and in any case the index that lets fences filter in strict mode.
    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        let layout = match self.look(&collection.name).await {
            Err(error) if error.class == Class::Configuration(Scope::Table) => {
                let ask = layout::creation(&collection.name, &collection.shape);
                let mut client = self.link.collections();
                let created = self.link.call(client.create(self.link.request(ask))).await;
                match (created, self.look(&collection.name).await) {
                    // Another may have made it in the same moment.
                    (_, Ok(layout)) => layout,
                    (Err(status), Err(_)) => return Err(classify(&status, Stage::Write)),
                    (Ok(_), Err(error)) => return Err(error),
                }
            }
            other => other?,
        };
        if !layout::same(&collection.shape, &layout.shape) {
            return Err(StoreError::new(
                STORE,
                Class::Configuration(Scope::Table),
                format!("the collection {} is there with another shape", collection.name),
            ));
        }
        if !layout.indexed.contains(&fence::version_path()) {
            self.index_version(&collection.name).await?;
        }
        Ok(())
    }

    async fn index_version(&self, collection: &str) -> Result<(), StoreError> {
        let ask = CreateFieldIndexCollection {
            collection_name: collection.to_owned(),
            wait: Some(true),
            field_name: fence::version_path(),
            field_type: Some(FieldType::Integer.into()),
            ordering: self.ordering(),
            ..CreateFieldIndexCollection::default()
        };
        let mut client = self.link.points();
        let answer = self.link.call(client.create_field_index(self.link.request(ask))).await;
        self.forget(collection);
        let result = answer.map_err(|status| classify(&status, Stage::Write))?.result;
        match result.map(|result| result.status()) {
            Some(UpdateStatus::Completed) => Ok(()),
            Some(_) | None => {
                Err(StoreError::new(STORE, Class::Unknown, format!("the index in {collection} is not completed yet")))
            }
        }
    }
}

#[async_trait]
impl VectorStore for QdrantStore {
    fn durability(&self) -> Durability {
        Durability::Acknowledged
    }

    fn losses(&self) -> u64 {
        self.inner.link.losses()
    }

    async fn collections(&self) -> Result<BTreeMap<String, Collection>, StoreError> {
        let mut collections = BTreeMap::new();
        for name in self.inner.names().await? {
            match self.inner.look(&name).await {
                Ok(layout) => {
                    let shape: Shape = layout.shape.clone();
                    collections.insert(name.clone(), Collection { name, shape });
                }
                // Gone since it was listed.
                Err(error) if error.class == Class::Configuration(Scope::Table) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(collections)
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        self.inner.create(collection).await
    }

    async fn apply(&self, collection: &str, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        write::apply(&self.inner, collection, writes).await
    }

    async fn stamps(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        let stamps = self.inner.read_stamps(collection, ids).await?;
        Ok(ids.iter().map(|id| stamps.get(id).cloned()).collect())
    }

    async fn points(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<Point>>, StoreError> {
        self.inner.read_points(collection, ids).await
    }

    async fn search(&self, collection: &str, ask: &SearchAsk) -> Result<Vec<Hit>, StoreError> {
        self.inner.find(collection, ask).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn optimize(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn scan(
        &self,
        collection: &str,
        after: Option<PointId>,
        limit: usize,
    ) -> Result<Vec<(PointId, PointStamp)>, StoreError> {
        self.inner.read_page(collection, after, limit).await
    }

    async fn count(&self, collection: &str) -> Result<u64, StoreError> {
        self.inner.read_count(collection, None).await
    }

    /// A list of names: unlike the health check it shows whether the key is right.
    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.names().await.map(drop)
    }

    async fn preflight(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        self.inner.preflight(tables).await
    }
}
