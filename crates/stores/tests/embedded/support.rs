//! Short words for the tests.

use lockstep_model::{Distance, Key, OpId, Shape, Vector, VectorKind, VectorSpec, Vectors, Version};
use lockstep_stores::{Collection, PointWrite};
use serde_json::{Value as Json, json};
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

pub(crate) fn upsert(name: &str, version: u64, vectors: Vectors, payload: Json) -> PointWrite {
    let Json::Object(payload) = payload else { panic!("not an object: {payload}") };
    let (key, op) = (key(name), op(u128::from(version)));
    PointWrite::Upsert { id: key.point_id(), key, version: Version(version), op, vectors, payload }
}

pub(crate) fn unpoint(name: &str, version: u64) -> PointWrite {
    PointWrite::Delete { id: key(name).point_id(), version: Version(version) }
}

pub(crate) fn empty() -> Json {
    json!({})
}
