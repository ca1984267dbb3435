//! The document store, as the engine sees it: SurrealDB, or a simulation of it.

use std::ops::Range;

use async_trait::async_trait;
use lockstep_model::{Document, Key, LogId, OpId, Table, Vectors, Version};
use serde::{Deserialize, Serialize};

use crate::{Expected, Finding, StoreError};

/// Lockstep's own field on a record, as far as decisions need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The version of the operation that wrote the record last.
    pub version: Version,
    /// That operation.
    pub op: OpId,
    /// That operation created the record, proven by an INSERT that succeeded.
    pub created: bool,
}

/// How much of a record an image needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Is there one, and whose? Stamp and edge ends only.
    Stamp,
    /// The whole record and its kept vectors, in the store's own lossless encoding.
    Whole,
}

/// What to read for one key.
#[derive(Debug, Clone)]
pub struct ImageAsk {
    /// The record.
    pub key: Key,
    /// How much of it.
    pub want: Want,
    /// Also list the edges at this record, whoever made them.
    pub edges: bool,
}

/// Vectors kept beside a record in `lockstep_vector`.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptVectors {
    /// The version that the row carries.
    pub version: Version,
    /// The vectors.
    pub vectors: Vectors,
}

/// Where an edge begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeEnds {
    /// The record in the edge's `in`.
    pub from: Key,
    /// The record in the edge's `out`.
    pub to: Key,
}

/// A record that the store holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Lockstep's field; none on a record that Lockstep has not written.
    pub stamp: Option<Stamp>,
    /// Set on edges.
    pub ends: Option<EdgeEnds>,
    /// The application's document without `id`, `_lockstep` and (on edges) `in` and `out`; empty when only the
    /// stamp was asked for.
    pub document: Document,
    /// Kept vectors; none when only the stamp was asked for.
    pub kept: Option<KeptVectors>,
    /// Lockstep's field says that the record has a point (`_lockstep.n`).
    pub has_vectors: bool,
    /// The record (and its kept-vector row) in the store's own encoding, version byte first. It goes
    /// back through [`UndoTo::Image`] with every type it had. Empty when only the stamp was asked for.
    pub raw: Vec<u8>,
}

/// What the store held for one key when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The record's key.
    pub key: Key,
    /// The record, if there is one.
    pub found: Option<Found>,
    /// Keys of the edges at the record, if they were asked for. Edges whose ids are no keys of ours
    /// (arrays, objects) are left out: they have no points.
    pub edges: Vec<Key>,
    /// How many edges were left out.
    pub unkeyed_edges: usize,
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum DocWrite {
    /// Makes the record exactly `document`.
    Put {
        /// The record.
        key: Key,
        /// The version it will carry; the fence lets it pass over nothing and over lower versions.
        version: Version,
        /// The operation.
        op: OpId,
        /// What the application wrote.
        document: Document,
        /// What to keep in `lockstep_vector`: `None` leaves the row, an empty set removes it.
        kept: Option<Vectors>,
        /// The names and the hash of the vectors that the point has after this write, for `_lockstep.n`.
        vectors: Option<VectorsStamp>,
        /// Set for edges: the record is a relation between these.
        ends: Option<EdgeEnds>,
        /// `true`: one bulk INSERT that fails whole if the key exists, and stamps the record as created
        /// by this operation. `false`: a fenced write over whatever there is.
        create: bool,
    },
    /// Removes the record, its kept vectors, and (by the store) the edges at it with theirs.
    Delete {
        /// The record.
        key: Key,
        /// The fence: only a record without `_lockstep`, or of a version up to this, goes.
        version: Version,
    },
    /// Removes every edge in `edge` that leads from `from` to `to`, whoever made it.
    DeleteBetween {
        /// The edge table.
        edge: Table,
        /// Both ends.
        ends: EdgeEnds,
        /// The fence, as for [`DocWrite::Delete`].
        version: Version,
    },
}

impl DocWrite {
    /// The one record that it writes, if it is one.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => Some(key),
            Self::DeleteBetween { .. } => None,
        }
    }

    /// The table that it writes.
    #[must_use]
    pub const fn table(&self) -> &Table {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => &key.table,
            Self::DeleteBetween { edge, .. } => edge,
        }
    }
}

/// Which vectors a point has: the names, and one hash over all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorsStamp {
    /// Names, sorted.
    pub names: Vec<String>,
    /// [`Vectors::hash`].
    pub hash: [u8; 16],
}

impl VectorsStamp {
    /// The stamp of `vectors`; none if there are none.
    #[must_use]
    pub fn of(vectors: &Vectors) -> Option<Self> {
        (!vectors.0.is_empty()).then(|| Self { names: vectors.0.keys().cloned().collect(), hash: vectors.hash() })
    }
}

/// What the end of the transaction read back for one write: the only thing that decides what was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBack {
    /// The record is there with this stamp.
    There(Stamp),
    /// There is no such record.
    Absent,
    /// A record is there without Lockstep's field.
    Unstamped,
}

/// Takes back one write of an operation that the other store refused.
#[derive(Debug, Clone)]
pub struct Undo {
    /// The record.
    pub key: Key,
    /// The version of the operation.
    pub version: Version,
    /// What the operation did to the record.
    pub wrote: Wrote,
    /// What to go back to.
    pub to: UndoTo,
}

/// What an operation did to a record, which must still be so for the undo to touch it.
#[derive(Debug, Clone)]
pub enum Wrote {
    /// It wrote this document: the guard compares version and content.
    Put(Document),
    /// It removed the record, which must still be absent. Edges that went with it are undone by their own entries.
    Removed,
}

/// What was there before.
#[derive(Debug, Clone)]
pub enum UndoTo {
    /// Nothing: the operation created the record.
    Absent,
    /// [`Found::raw`] of the image, and the version it carried.
    Image {
        /// The record in the store's own encoding.
        raw: Vec<u8>,
        /// The image's version; none if Lockstep had not written it.
        version: Option<Version>,
    },
}

/// What an undo found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// The write was there, and is taken back now. An edge that was removed, and one of whose ends is gone by now, stays away: it would
    /// have gone with that end.
    Restored,
    /// The store shows what was there before the write: nothing to do.
    AlreadyThere,
    /// Something else has been written, or edges have come to a record that would be deleted: nothing
    /// was changed. The text says what was found.
    Blocked(String),
}

/// Who claims the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// The log that the store is to follow.
    pub log: LogId,
    /// Who that is, in words for a human: host, process, socket.
    pub holder: String,
    /// Take the store over from another log.
    pub adopt: bool,
}

/// What a claim found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    /// The highest version that a Lockstep has noted in the store; none if nobody has.
    pub version: Option<Version>,
}

/// One record of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Scanned {
    /// The record.
    pub key: Key,
    /// Lockstep's field, if it is there.
    pub stamp: Option<Stamp>,
    /// The application's document, as in [`Found::document`].
    pub document: Document,
}

/// SurrealDB, or a simulation of it. Every call may be made again, and is safe to make from several tasks.
///
/// A call that answers [`crate::Class::Unknown`] is fenced by the next call that the adapter makes: a served store gets a new
/// connection and a new epoch first. So what a later call reads is final as far as earlier calls go (design 5).
#[async_trait]
pub trait DocumentStore: Send + Sync + 'static {
    /// Claims the store: from now on no transaction of an earlier process, and none of another log, gets through. Until it has
    /// succeeded once, other calls that write fail with [`crate::Class::NotApplied`].
    ///
    /// # Errors
    /// [`crate::Class::Fenced`] if another log has claimed it and `adopt` is not set; else as any call.
    async fn claim(&self, claimant: &Claimant) -> Result<Claim, StoreError>;

    /// How often the store may have lost what it had acknowledged: each connection that broke or was made anew counts, and each
    /// sign that its data are older than they were. Never falls; an embedded store's stays 0.
    fn losses(&self) -> u64;

    /// Words about the store's data being older than they were, if that has been seen since the start: it was restored from a
    /// copy, or has lost what it had acknowledged. Each sight counts in [`DocumentStore::losses`], too.
    fn restored(&self) -> Option<String>;

    /// Notes that versions up to `version` have been given (see [`DocumentStore::claim`]), and makes durable
    /// what the store holds in memory, if it does.
    async fn checkpoint(&self, version: Version) -> Result<(), StoreError>;

    /// Reads what the store holds, in one read; answers in the order asked. A missing table is empty.
    async fn images(&self, asks: &[ImageAsk]) -> Result<Vec<Image>, StoreError>;

    /// Keys of every edge in `edge` between the ends, whoever made it.
    async fn edges_between(&self, edge: &Table, ends: &EdgeEnds) -> Result<Vec<Key>, StoreError>;

    /// Applies all writes in one transaction, each behind its fence, and reads back what is then there;
    /// answers in the order given. For [`DocWrite::DeleteBetween`], [`ReadBack::Absent`] if no such edge is left.
    /// Tables that do not exist are created if the adapter may.
    ///
    /// The writes at each range of `together` are one group: if a fence holds one of them back (its record does not show the
    /// write at the end), the transaction fails whole with [`crate::Class::Refused`] and that record as culprit.
    ///
    /// # Errors
    /// After any error but [`crate::Class::Unknown`] nothing was applied. [`crate::Class::Configuration`] of a table if one is
    /// missing and may not be created.
    async fn apply(&self, writes: &[DocWrite], together: &[Range<usize>]) -> Result<Vec<ReadBack>, StoreError>;

    /// Takes writes of one operation back, guarded, in one transaction: all of them, or, if one is blocked, none.
    /// [`Undone::AlreadyThere`] if every one is.
    async fn undo(&self, undos: &[Undo]) -> Result<Undone, StoreError>;

    /// Stamps of records in key order of the store, from after `after`: for audits.
    async fn scan(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Option<Stamp>)>, StoreError>;

    /// Records with their documents, in the same order: for `clear`. A missing table is empty.
    async fn scan_documents(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Scanned>, StoreError>;

    /// How many records the table has; a missing table has none.
    async fn count(&self, table: &Table) -> Result<u64, StoreError>;

    /// Runs read-only SurrealQL; one JSON result a statement.
    ///
    /// # Errors
    /// [`crate::Class::Refused`] if the text does not parse or would write.
    async fn query(
        &self,
        text: &str,
        vars: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Vec<serde_json::Value>, StoreError>;

    /// A cheap round trip.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Compares the store with what is expected of it. Reads only.
    async fn preflight(&self, tables: &[Expected]) -> Result<Vec<Finding>, StoreError>;
}
