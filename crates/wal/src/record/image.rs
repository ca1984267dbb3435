//! Images: what the stores held for an operation's keys before it, and what the operation comes to.
//!
//! All of it is written as it stands here: the order of fields and variants is the format.

use lockstep_model::{Lsn, OpId, PointId, Version};
use serde::{Deserialize, Serialize};

/// What the stores held for an operation's keys before it, and what follows from that.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// The operation.
    pub op: Lsn,
    /// What was there, for each record that the operation writes.
    pub before: Vec<Before>,
    /// What the operation came to.
    pub outcome: Outcome,
}

impl Serialize for ImageRecord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.op, &self.before, &self.outcome).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ImageRecord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (op, before, outcome) = Deserialize::deserialize(deserializer)?;
        Ok(Self { op, before, outcome })
    }
}

/// What SurrealDB held for one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// The key.
    pub key: String,
    /// The record in the store's own encoding; none if there was no record.
    pub raw: Option<Vec<u8>>,
    /// The version it carried.
    pub version: Option<Version>,
}

/// What an operation comes to, judged once against its image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It goes on as it was asked.
    AsAsked,
    /// A patch: from now on it is a put of this.
    Resolved {
        /// The document, as tagged JSON.
        document: Vec<u8>,
        /// All vectors that the point has from now on, in the model's encoding.
        vectors: Vec<u8>,
        /// Where the edge leads, if the record is one.
        ends: Option<(String, String)>,
    },
    /// A removal: the points of these edges go with it.
    Removes {
        /// Keys of edges, and the versions that they carried: a point that has been written since is spared.
        edges: Vec<(String, Option<Version>)>,
    },
    /// A group: what each member comes to, in their order, and the points as they were.
    Group {
        /// One for each member.
        members: Vec<MemberOutcome>,
        /// What Qdrant held for every point that the group may touch.
        points: Vec<PointBefore>,
    },
    /// [`Outcome::Removes`], where the record that goes said which point is its own.
    RemovesPoint {
        /// As in [`Outcome::Removes`].
        edges: Vec<(String, Option<Version>)>,
        /// The record's point.
        point: LoggedPointId,
    },
}

/// What a member of a group comes to. As [`Outcome`], but it cannot nest: bytes from a disk must not decide how deep a
/// decoder goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MemberOutcome {
    /// [`Outcome::AsAsked`]
    AsAsked,
    /// [`Outcome::Resolved`]
    Resolved {
        /// The document, as tagged JSON.
        document: Vec<u8>,
        /// All vectors that the point has from now on, in the model's encoding.
        vectors: Vec<u8>,
        /// Where the edge leads, if the record is one.
        ends: Option<(String, String)>,
    },
    /// [`Outcome::Removes`]
    Removes {
        /// Keys of edges, and the versions that they carried.
        edges: Vec<(String, Option<Version>)>,
    },
    /// [`Outcome::RemovesPoint`]
    RemovesPoint {
        /// Keys of edges, and the versions that they carried.
        edges: Vec<(String, Option<Version>)>,
        /// The record's point.
        point: LoggedPointId,
    },
}

/// What Qdrant held for one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointBefore {
    /// The collection.
    pub collection: String,
    /// The point.
    pub id: LoggedPointId,
    /// What was there; none: no such point.
    pub point: Option<LoggedPoint>,
}

/// A point's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoggedPointId {
    /// A whole number.
    Num(u64),
    /// The bytes of a UUID.
    Uuid([u8; 16]),
}

impl From<PointId> for LoggedPointId {
    fn from(id: PointId) -> Self {
        match id {
            PointId::Num(number) => Self::Num(number),
            PointId::Uuid(uuid) => Self::Uuid(uuid.into_bytes()),
        }
    }
}

impl From<LoggedPointId> for PointId {
    fn from(id: LoggedPointId) -> Self {
        match id {
            LoggedPointId::Num(number) => Self::Num(number),
            LoggedPointId::Uuid(bytes) => Self::Uuid(uuid::Uuid::from_bytes(bytes)),
        }
    }
}

/// A whole point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedPoint {
    /// The version of the operation that wrote it last; none if Lockstep did not.
    pub version: Option<Version>,
    /// That operation.
    pub op: Option<OpId>,
    /// The record it belongs to.
    pub key: Option<String>,
    /// Its vectors, in the model's encoding.
    pub vectors: Vec<u8>,
    /// Its payload without `_lockstep`, as JSON.
    pub payload: Vec<u8>,
}
