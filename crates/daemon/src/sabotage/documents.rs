//! SurrealDB, with writes that it forgets, or with steps.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use lockstep_model::{Key, Table, Version};
use lockstep_stores::{
    Claim, Claimant, DocWrite, DocumentStore, EdgeEnds, Expected, Finding, Image, ImageAsk, ReadBack, Scanned, Stamp,
    StoreError, Undo, Undone,
};
use serde_json::{Map, Value};

use super::forgetting::Forgetting;
use super::steps::Steps;

/// The store behind a fault.
pub(super) struct Spoilt {
    inner: Arc<dyn DocumentStore>,
    fault: Fault,
}

enum Fault {
    /// It says that it wrote, and did not.
    Forgets(Forgetting),
    /// It says when it is written to.
    Steps(Arc<Steps>),
}

impl Spoilt {
    pub(super) fn forgetful(inner: Arc<dyn DocumentStore>) -> Self {
        Self { inner, fault: Fault::Forgets(Forgetting::default()) }
    }

    pub(super) fn stepped(inner: Arc<dyn DocumentStore>, steps: Arc<Steps>) -> Self {
        Self { inner, fault: Fault::Steps(steps) }
    }

    async fn pass(&self, name: &str) {
        if let Fault::Steps(steps) = &self.fault {
            steps.pass_or_pause(name).await;
        }
    }
}

/// What a write would have read back.
fn as_if(write: &DocWrite) -> ReadBack {
    match write {
        DocWrite::Put { version, op, create, .. } => {
            ReadBack::There(Stamp { version: *version, op: *op, created: *create })
        }
        DocWrite::Delete { .. } | DocWrite::DeleteBetween { .. } => ReadBack::Absent,
    }
}

#[async_trait]
impl DocumentStore for Spoilt {
    async fn claim(&self, claimant: &Claimant) -> Result<Claim, StoreError> {
        self.inner.claim(claimant).await
    }

    fn losses(&self) -> u64 {
        self.inner.losses()
    }

    fn restored(&self) -> Option<String> {
        self.inner.restored()
    }

    async fn checkpoint(&self, version: Version) -> Result<(), StoreError> {
        self.inner.checkpoint(version).await
    }

    async fn images(&self, asks: &[ImageAsk]) -> Result<Vec<Image>, StoreError> {
        self.inner.images(asks).await
    }

    async fn edges_between(&self, edge: &Table, ends: &EdgeEnds) -> Result<Vec<Key>, StoreError> {
        self.inner.edges_between(edge, ends).await
    }

    async fn apply(&self, writes: &[DocWrite], together: &[Range<usize>]) -> Result<Vec<ReadBack>, StoreError> {
        if let Fault::Forgets(forgetting) = &self.fault
            && forgetting.this_time()
        {
            return Ok(writes.iter().map(as_if).collect());
        }
        self.pass("before surreal apply").await;
        let applied = self.inner.apply(writes, together).await;
        self.pass("after surreal apply").await;
        applied
    }

    async fn undo(&self, undos: &[Undo]) -> Result<Undone, StoreError> {
        self.pass("before surreal undo").await;
        let undone = self.inner.undo(undos).await;
        self.pass("after surreal undo").await;
        undone
    }

    async fn scan(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Option<Stamp>)>, StoreError> {
        self.inner.scan(table, after, limit).await
    }

    async fn scan_documents(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Scanned>, StoreError> {
        self.inner.scan_documents(table, after, limit).await
    }

    async fn count(&self, table: &Table) -> Result<u64, StoreError> {
        self.inner.count(table).await
    }

    async fn query(&self, text: &str, vars: Map<String, Value>) -> Result<Vec<Value>, StoreError> {
        self.inner.query(text, vars).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn preflight(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        self.inner.preflight(tables).await
    }
}
