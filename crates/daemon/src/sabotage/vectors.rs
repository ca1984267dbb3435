//! Qdrant, with a flush that does nothing, with writes that it forgets, or with steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lockstep_model::PointId;
use lockstep_stores::{
    Collection, Durability, Expected, Finding, Hit, Point, PointStamp, PointWrite, SearchAsk, StoreError, VectorStore,
};

use super::forgetting::Forgetting;
use super::steps::Steps;

/// The store behind a fault.
pub(super) struct Spoilt {
    inner: Arc<dyn VectorStore>,
    fault: Fault,
}

enum Fault {
    /// It says that it flushed, and did not.
    NeverFlushed,
    /// It says that it wrote, and did not.
    Forgets(Forgetting),
    /// It says when it is written to.
    Steps(Arc<Steps>),
}

impl Spoilt {
    pub(super) fn never_flushed(inner: Arc<dyn VectorStore>) -> Self {
        Self { inner, fault: Fault::NeverFlushed }
    }

    pub(super) fn forgetful(inner: Arc<dyn VectorStore>) -> Self {
        Self { inner, fault: Fault::Forgets(Forgetting::default()) }
    }

    pub(super) fn stepped(inner: Arc<dyn VectorStore>, steps: Arc<Steps>) -> Self {
        Self { inner, fault: Fault::Steps(steps) }
    }

    async fn pass(&self, name: &str) {
        if let Fault::Steps(steps) = &self.fault {
            steps.pass_or_pause(name).await;
        }
    }
}

/// What a write would have left.
fn as_if(write: &PointWrite) -> Option<PointStamp> {
    match write {
        PointWrite::Upsert { version, op, key, .. } => {
            Some(PointStamp { version: Some(*version), op: Some(*op), key: Some(key.clone()) })
        }
        PointWrite::Delete { .. } => None,
        PointWrite::Restore { to, .. } => to.as_ref().map(|to| to.stamp.clone()),
    }
}

#[async_trait]
impl VectorStore for Spoilt {
    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn losses(&self) -> u64 {
        self.inner.losses()
    }

    async fn collections(&self) -> Result<BTreeMap<String, Collection>, StoreError> {
        self.inner.collections().await
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        self.inner.create(collection).await
    }

    async fn apply(&self, collection: &str, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        if let Fault::Forgets(forgetting) = &self.fault
            && forgetting.this_time()
        {
            return Ok(writes.iter().map(as_if).collect());
        }
        self.pass("before qdrant apply").await;
        let applied = self.inner.apply(collection, writes).await;
        self.pass("after qdrant apply").await;
        applied
    }

    async fn stamps(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        self.inner.stamps(collection, ids).await
    }

    async fn points(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<Point>>, StoreError> {
        self.inner.points(collection, ids).await
    }

    async fn search(&self, collection: &str, ask: &SearchAsk) -> Result<Vec<Hit>, StoreError> {
        self.inner.search(collection, ask).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        if matches!(self.fault, Fault::NeverFlushed) { Ok(()) } else { self.inner.flush().await }
    }

    async fn optimize(&self) -> Result<bool, StoreError> {
        if matches!(self.fault, Fault::NeverFlushed) { Ok(false) } else { self.inner.optimize().await }
    }

    async fn scan(
        &self,
        collection: &str,
        after: Option<PointId>,
        limit: usize,
    ) -> Result<Vec<(PointId, PointStamp)>, StoreError> {
        self.inner.scan(collection, after, limit).await
    }

    async fn count(&self, collection: &str) -> Result<u64, StoreError> {
        self.inner.count(collection).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn preflight(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        self.inner.preflight(tables).await
    }
}
