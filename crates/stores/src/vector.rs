//! The vector store, as the engine sees it: Qdrant Edge, a Qdrant server, or a simulation.

use std::collections::BTreeMap;

use async_trait::async_trait;
use lockstep_model::{Filter, Key, OpId, PointId, Shape, Vector, Vectors, Version};

use crate::{Expected, Finding, StoreError};

/// When an acknowledged write is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Only after [`VectorStore::flush`].
    AfterFlush,
    /// The server says so; it is believed for as long as the log keeps the intent.
    Acknowledged,
}

/// A collection that exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// Its vectors.
    pub shape: Shape,
}

/// What a point says of who wrote it: its `_lockstep` payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointStamp {
    /// The version of the operation that wrote it last; none if Lockstep did not.
    pub version: Option<Version>,
    /// That operation.
    pub op: Option<OpId>,
    /// The record it belongs to.
    pub key: Option<Key>,
}

/// A whole point.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its stamp.
    pub stamp: PointStamp,
    /// Its vectors as the store gives them back (cosine: normalised).
    pub vectors: Vectors,
    /// Its payload without `_lockstep`.
    pub payload: serde_json::Map<String, serde_json::Value>,
}

/// One write to a collection.
#[derive(Debug, Clone, PartialEq)]
pub enum PointWrite {
    /// Makes the point exactly this, unless it carries a newer version.
    Upsert {
        /// The point.
        id: PointId,
        /// The record it belongs to.
        key: Key,
        /// The version it will carry.
        version: Version,
        /// The operation.
        op: OpId,
        /// All its vectors.
        vectors: Vectors,
        /// All its payload but `_lockstep`.
        payload: serde_json::Map<String, serde_json::Value>,
    },
    /// Removes the point, unless it carries a newer version.
    Delete {
        /// The point.
        id: PointId,
        /// The fence.
        version: Version,
    },
    /// Takes back what an operation of a group did to the point: makes it what it was. Changes nothing unless the point carries
    /// exactly `wrote`, or (where `to` is a point) there is none.
    Restore {
        /// The point.
        id: PointId,
        /// The version that the operation wrote, or deleted with.
        wrote: Version,
        /// What was there before; none: nothing.
        to: Option<Box<Point>>,
    },
}

impl PointWrite {
    /// The point it writes.
    #[must_use]
    pub const fn id(&self) -> PointId {
        match self {
            Self::Upsert { id, .. } | Self::Delete { id, .. } | Self::Restore { id, .. } => *id,
        }
    }
}

/// A search.
#[derive(Debug, Clone)]
pub struct SearchAsk {
    /// The query vector.
    pub vector: Vector,
    /// Which of the collection's vectors to compare with.
    pub using: String,
    /// How many hits.
    pub limit: usize,
    /// How many of the nearest to pass over.
    pub offset: usize,
    /// Only points whose payload matches.
    pub filter: Option<Filter>,
}

/// A point found by a search, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its stamp.
    pub stamp: PointStamp,
    /// Its score by the collection's distance.
    pub score: f32,
}

/// Qdrant, or a simulation of it. Every call may be made again.
#[async_trait]
pub trait VectorStore: Send + Sync + 'static {
    /// When acknowledged writes are durable.
    fn durability(&self) -> Durability;

    /// As [`crate::DocumentStore::losses`].
    fn losses(&self) -> u64;

    /// The collections that exist, by name.
    async fn collections(&self) -> Result<BTreeMap<String, Collection>, StoreError>;

    /// Creates the collection if it is not there. One that is there with the same shape is success.
    ///
    /// # Errors
    /// [`crate::Class::Configuration`] if it is there with another shape.
    async fn create(&self, collection: &Collection) -> Result<(), StoreError>;

    /// Applies the writes in order; a write that meets a newer version of its point changes nothing. Returns, in the order
    /// given, the stamp that each point has afterwards (`None`: no such point).
    /// Deletes in a collection that does not exist succeed; upserts are [`crate::Class::Configuration`].
    ///
    /// # Errors
    /// [`crate::Class::Refused`] for a wrong size or an unknown vector name: nothing was applied. Only a server that refuses what it was
    /// known to take can have applied the writes before the guilty one: those of other operations are made again, as each is tried
    /// alone, and those of a group are taken back with it.
    async fn apply(&self, collection: &str, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError>;

    /// Stamps of points, in the order asked; `None` for what is not there.
    async fn stamps(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<PointStamp>>, StoreError>;

    /// Whole points, in the order asked; `None` for what is not there.
    async fn points(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<Point>>, StoreError>;

    /// The nearest points.
    ///
    /// # Errors
    /// [`crate::Class::Refused`] for a wrong size or an unknown vector name,
    /// [`crate::Class::Configuration`] if there is no such collection.
    async fn search(&self, collection: &str, ask: &SearchAsk) -> Result<Vec<Hit>, StoreError>;

    /// Makes everything that was acknowledged before the call durable, in every collection.
    ///
    /// # Errors
    /// Any: nothing may be taken as durable then.
    async fn flush(&self) -> Result<(), StoreError>;

    /// Improves what makes searches fast, if it pays, without losing anything. Tells whether it did something.
    async fn optimize(&self) -> Result<bool, StoreError>;

    /// Stamps of points in id order, from after `after`: for audits.
    async fn scan(
        &self,
        collection: &str,
        after: Option<PointId>,
        limit: usize,
    ) -> Result<Vec<(PointId, PointStamp)>, StoreError>;

    /// How many points the collection has.
    async fn count(&self, collection: &str) -> Result<u64, StoreError>;

    /// A cheap round trip.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Compares the store with what is expected of it. Reads only.
    async fn preflight(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError>;
}
