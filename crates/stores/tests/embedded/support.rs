//! Short words for the tests.

use lockstep_model::{Document, Key, OpId, Table, Vector, Vectors, Version};
use lockstep_stores::{DocWrite, DocumentStore, EdgeEnds, Image, ImageAsk, ReadBack, SurrealStore, VectorsStamp, Want};
use serde_json::{Value as Json, json};
use uuid::Uuid;

pub(crate) async fn surreal() -> SurrealStore {
    SurrealStore::open("mem://", "test", "test").await.unwrap()
}

/// A store, and a client of the same database that plays everybody else.
pub(crate) async fn surreal_with_outsider(dir: &std::path::Path, script: &str) -> SurrealStore {
    let endpoint = format!("surrealkv://{}", dir.display());
    let client = surrealdb::engine::any::connect(&endpoint).await.unwrap();
    client.use_ns("test").use_db("test").await.unwrap();
    client.query(script).await.unwrap().check().unwrap();
    drop(client);
    reopened(&endpoint).await
}

/// Opens a store that another handle may still be closing.
pub(crate) async fn reopened(endpoint: &str) -> SurrealStore {
    let mut tries = 0;
    loop {
        match SurrealStore::open(endpoint, "test", "test").await {
            Ok(store) => return store,
            Err(error) if tries > 200 => panic!("{error}"),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
        tries += 1;
    }
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

pub(crate) async fn query(store: &SurrealStore, text: &str) -> Json {
    store.query(text, serde_json::Map::new()).await.unwrap().remove(0)
}

pub(crate) fn empty() -> Json {
    json!({})
}
