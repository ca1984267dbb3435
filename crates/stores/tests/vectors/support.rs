//! Short words for the tests.

use lockstep_model::{Distance, Key, OpId, Shape, Vector, VectorKind, VectorSpec, Vectors, Version};
use lockstep_stores::{Collection, Point, PointStamp, PointWrite};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

pub(crate) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub(crate) fn op(number: u128) -> OpId {
    OpId(Uuid::from_u128(number))
}

pub(crate) fn dense(values: &[f32]) -> Vectors {
    Vectors::single(Vector::dense(values.to_vec()).unwrap())
}

pub(crate) fn spec(kind: VectorKind, size: u32, distance: Distance) -> VectorSpec {
    VectorSpec { kind, size, distance, required: false }
}

/// A collection of one dense vector called `default`.
pub(crate) fn collection(name: &str, size: u32, distance: Distance) -> Collection {
    let shape = Shape([("default".to_owned(), spec(VectorKind::Dense, size, distance))].into());
    Collection { name: name.to_owned(), shape }
}

pub(crate) fn object(json: Json) -> Map<String, Json> {
    let Json::Object(members) = json else { panic!("not an object: {json}") };
    members
}

pub(crate) fn upsert(name: &str, version: u64, vectors: Vectors, payload: Json) -> PointWrite {
    let (key, op) = (key(name), op(u128::from(version)));
    PointWrite::Upsert { id: key.point_id(), key, version: Version(version), op, vectors, payload: object(payload) }
}

pub(crate) fn unpoint(name: &str, version: u64) -> PointWrite {
    PointWrite::Delete { id: key(name).point_id(), version: Version(version) }
}

pub(crate) fn restore(name: &str, wrote: u64, to: Option<Point>) -> PointWrite {
    PointWrite::Restore { id: key(name).point_id(), wrote: Version(wrote), to: to.map(Box::new) }
}

pub(crate) fn empty() -> Json {
    json!({})
}

/// The versions that stamps show.
pub(crate) fn versions(stamps: &[Option<PointStamp>]) -> Vec<Option<u64>> {
    stamps.iter().map(|stamp| stamp.as_ref().and_then(|stamp| stamp.version).map(|version| version.0)).collect()
}
