//! Qdrant, with a flush that does nothing, or with steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lockstep_model::PointId;
use lockstep_stores::{
    Collection, Durability, Expected, Finding, Hit, Point, PointStamp, PointWrite, SearchAsk, StoreError, VectorStore,
};

use super::steps::Steps;

/// The store behind a fault.
pub(super) struct Spoilt {
    inner: Arc<dyn VectorStore>,
    /// Without them: it says that it flushed, and did not.
    steps: Option<Arc<Steps>>,
}

impl Spoilt {
    pub(super) fn never_flushed(inner: Arc<dyn VectorStore>) -> Self {
        Self { inner, steps: None }
    }

    pub(super) fn stepped(inner: Arc<dyn VectorStore>, steps: Arc<Steps>) -> Self {
        Self { inner, steps: Some(steps) }
    }

    async fn pass(&self, name: &str) {
        if let Some(steps) = &self.steps {
            steps.pass_or_pause(name).await;
        }
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
        if self.steps.is_some() { self.inner.flush().await } else { Ok(()) }
    }

    async fn optimize(&self) -> Result<bool, StoreError> {
        if self.steps.is_some() { self.inner.optimize().await } else { Ok(false) }
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
