//! A daemon that breaks its promises on demand: the tests of the tests. Only with the cargo feature `fault-injection`, which
//! no release build enables, and then only if `LOCKSTEP_FAULT` asks for it.
//!
//! `lying_checkpoint`: intents leave the log before their points are flushed. `eager_answers`: answers leave before their end
//! marks are durable. `no_fsync` is the log's own (see `lockstep_wal`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use lockstep_engine::Parts;
use lockstep_model::{LogId, Lsn, PointId};
use lockstep_stores::{
    Collection, Durability, Expected, Finding, Hit, Point, PointStamp, PointWrite, SearchAsk, StoreError, VectorStore,
};
use lockstep_wal::{Appended, Entry, Group, Log, LogError, Positions, Pressure, Record, SideKey, Ticket, Usage};
use tokio::sync::watch;

/// Puts the fault that was asked for between the engine and its parts.
pub fn spoil(mut parts: Parts) -> Parts {
    match std::env::var("LOCKSTEP_FAULT").as_deref() {
        Ok("lying_checkpoint") => parts.vectors = Arc::new(NeverFlushed(parts.vectors)),
        Ok("eager_answers") => parts.log = Arc::new(Eager(parts.log)),
        Ok(_) | Err(_) => {}
    }
    parts
}

/// Says that it flushed, and did not.
struct NeverFlushed(Arc<dyn VectorStore>);

#[async_trait]
impl VectorStore for NeverFlushed {
    fn durability(&self) -> Durability {
        self.0.durability()
    }

    fn losses(&self) -> u64 {
        self.0.losses()
    }

    async fn collections(&self) -> Result<BTreeMap<String, Collection>, StoreError> {
        self.0.collections().await
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        self.0.create(collection).await
    }

    async fn apply(&self, collection: &str, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        self.0.apply(collection, writes).await
    }

    async fn stamps(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        self.0.stamps(collection, ids).await
    }

    async fn points(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<Point>>, StoreError> {
        self.0.points(collection, ids).await
    }

    async fn search(&self, collection: &str, ask: &SearchAsk) -> Result<Vec<Hit>, StoreError> {
        self.0.search(collection, ask).await
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
        self.0.scan(collection, after, limit).await
    }

    async fn count(&self, collection: &str) -> Result<u64, StoreError> {
        self.0.count(collection).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }

    async fn preflight(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        self.0.preflight(tables).await
    }
}

/// Says of marks at once that they are durable; everything else waits for the disk as it should.
struct Eager(Arc<dyn Log>);

impl Log for Eager {
    fn append(&self, group: Group) -> Result<Appended, LogError> {
        let marks = !group.entries.is_empty() && group.entries.iter().all(|entry| entry.kind == Record::MARK);
        let appended = self.0.append(group)?;
        Ok(if marks { Appended { first: appended.first, ticket: Ticket::resolved() } } else { appended })
    }

    fn read(&self, lsn: Lsn) -> Result<Option<Entry>, LogError> {
        self.0.read(lsn)
    }

    fn scan(&self, from: Lsn, each: &mut dyn FnMut(Lsn, Entry) -> ControlFlow<()>) -> Result<(), LogError> {
        self.0.scan(from, each)
    }

    fn side(&self, key: &SideKey) -> Result<Option<Vec<u8>>, LogError> {
        self.0.side(key)
    }

    fn scan_summaries(
        &self,
        below: Lsn,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.0.scan_summaries(below, each)
    }

    fn oldest_summaries(
        &self,
        limit: usize,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.0.oldest_summaries(limit, each)
    }

    fn positions(&self) -> Positions {
        self.0.positions()
    }

    fn pressure(&self) -> Pressure {
        self.0.pressure()
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn id(&self) -> LogId {
        self.0.id()
    }

    fn incarnation(&self) -> u32 {
        self.0.incarnation()
    }

    fn failure(&self) -> Option<Arc<LogError>> {
        self.0.failure()
    }

    fn failed(&self) -> watch::Receiver<bool> {
        self.0.failed()
    }

    fn close(&self) -> Result<(), LogError> {
        self.0.close()
    }
}
