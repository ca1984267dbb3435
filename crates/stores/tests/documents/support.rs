//! Short words for the tests.

use lockstep_model::{Document, Key, LogId, OpId, Table, Vector, Vectors, Version};
use lockstep_stores::{
    Claimant, DocWrite, DocumentStore, EdgeEnds, Image, ImageAsk, ReadBack, SurrealStore, VectorsStamp, Want,
};
use serde_json::{Value as Json, json};
use uuid::Uuid;

pub(crate) fn claimant(log: u128) -> Claimant {
    Claimant { log: LogId(Uuid::from_u128(log)), holder: format!("test {log}"), adopt: false }
}

/// An embedded store, claimed.
pub(crate) async fn embedded() -> SurrealStore {
    let store = SurrealStore::open("mem://", "test", "test").await.unwrap();
    store.claim(&claimant(1)).await.unwrap();
    store
}

pub(crate) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub(crate) fn table(name: &str) -> Table {
    Table::new(name).unwrap()
}

pub(crate) fn op(number: u128) -> OpId {
    OpId(Uuid::from_u128(number))
}

pub(crate) fn document(json: Json) -> Document {
    let Json::Object(members) = json else { panic!("not an object: {json}") };
    Document::from_json(&members).unwrap()
}

pub(crate) fn ends(from: &str, to: &str) -> EdgeEnds {
    EdgeEnds { from: key(from), to: key(to) }
}

pub(crate) fn dense(values: &[f32]) -> Vectors {
    Vectors::single(Vector::dense(values.to_vec()).unwrap())
}

/// A put of `json` with version and operation `version`, without vectors, over whatever there is.
pub(crate) fn put(name: &str, version: u64, json: Json) -> DocWrite {
    put_with(name, version, json, None, None, false)
}

pub(crate) fn create(name: &str, version: u64, json: Json) -> DocWrite {
    put_with(name, version, json, None, None, true)
}

pub(crate) fn relate(name: &str, version: u64, ends: EdgeEnds, json: Json) -> DocWrite {
    put_with(name, version, json, None, Some(ends), false)
}

pub(crate) fn put_with(
    name: &str,
    version: u64,
    json: Json,
    kept: Option<Vectors>,
    ends: Option<EdgeEnds>,
    create: bool,
) -> DocWrite {
    DocWrite::Put {
        key: key(name),
        version: Version(version),
        op: op(u128::from(version)),
        document: document(json),
        vectors: kept.as_ref().and_then(VectorsStamp::of),
        kept,
        ends,
        create,
    }
}

pub(crate) fn delete(name: &str, version: u64) -> DocWrite {
    DocWrite::Delete { key: key(name), version: Version(version) }
}

pub(crate) async fn image(store: &SurrealStore, name: &str) -> Image {
    let ask = ImageAsk { key: key(name), want: Want::Whole, edges: true };
    store.images(&[ask]).await.unwrap().remove(0)
}

/// What the store holds for a key, as JSON; null if nothing.
pub(crate) async fn document_at(store: &SurrealStore, name: &str) -> Json {
    image(store, name).await.found.map_or(Json::Null, |found| Json::Object(found.document.to_json()))
}

/// The version that a read-back shows.
pub(crate) fn version(read: ReadBack) -> Option<u64> {
    match read {
        ReadBack::There(stamp) => Some(stamp.version.0),
        ReadBack::Absent | ReadBack::Unstamped => None,
    }
}

pub(crate) fn empty() -> Json {
    json!({})
}

/// The only group of a transaction.
pub(crate) const fn group_at(places: std::ops::Range<usize>) -> [std::ops::Range<usize>; 1] {
    [places]
}
