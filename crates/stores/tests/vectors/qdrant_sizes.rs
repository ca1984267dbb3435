//! Large points, and requests and answers that are bounded by bytes.

use lockstep_model::{Distance, Shape, Vector, VectorKind, Vectors};
use lockstep_stores::{Class, Collection, PointWrite, QdrantRemote, QdrantStore, VectorStore};
use serde_json::json;

use crate::raw::Raw;
use crate::server::Server;
use crate::support::{collection, dense, empty, key, spec, upsert, versions};

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_are_split_by_bytes() {
    const POINTS: u64 = 18;
    const DOCUMENT_BYTES: usize = 4 << 20;
    let server = Server::start(&[]).await;
    let (store, mut raw) = (server.store(), Raw::connect(&server).await);
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    let body = "x".repeat(DOCUMENT_BYTES);
    let writes: Vec<_> =
        (1..=POINTS).map(|id| upsert(&format!("m:{id}"), id, dense(&[1.0]), json!({"body": body, "id": id}))).collect();
    let before = raw.updates("c").await;
    let want: Vec<_> = (1..=POINTS).map(Some).collect();
    assert_eq!(versions(&store.apply("c", &writes).await.unwrap()), want);
    // Three of them fit into 16 MiB, with what stands around them.
    assert_eq!(raw.updates("c").await - before - 1, POINTS / 3);
    // An answer with all of them would be 72 MiB.
    let ids: Vec<_> = writes.iter().map(PointWrite::id).collect();
    let points = store.points("c", &ids).await.unwrap();
    for (id, point) in (1..).zip(points) {
        let payload = point.unwrap().payload;
        assert_eq!((&payload["id"], payload["body"].as_str().map(str::len)), (&json!(id), Some(DOCUMENT_BYTES)));
    }
}

/// A server that takes no more than a little above `batch_bytes`.
#[tokio::test(flavor = "multi_thread")]
async fn writes_with_fences_of_their_own_are_split_too() {
    let server = Server::start(&["--max-message-bytes", "3000"]).await;
    let remote = QdrantRemote { batch_bytes: 2500, ..server.remote() };
    let store = QdrantStore::connect(&remote).unwrap();
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    let put = |id: u64, version| upsert(&format!("m:{id}"), version, dense(&[1.0]), json!({"body": "x".repeat(400)}));
    // Each point twice, the older first.
    let writes: Vec<_> = (0..10).flat_map(|id| [put(id, id + 1), put(id, id + 20)]).collect();
    let want: Vec<_> = (0..10).flat_map(|id| [Some(id + 20); 2]).collect();
    assert_eq!(versions(&store.apply("c", &writes).await.unwrap()), want);
    // A point that is too large by itself is its operation's own fault.
    let large = upsert("m:99", 99, dense(&[1.0]), json!({"body": "x".repeat(5000)}));
    let error = store.apply("c", &[large]).await.unwrap_err();
    assert_eq!(error.class, Class::Refused, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_may_have_many_large_vectors() {
    let server = Server::start(&[]).await;
    let store = server.store();
    let values = |seed: usize| Vector::dense((0..4096).map(|place| ((seed + place) % 97) as f32).collect()).unwrap();
    let names = || (0..64).map(|number| format!("v{number:02}"));
    let shape = Shape(names().map(|name| (name, spec(VectorKind::Dense, 4096, Distance::Dot))).collect());
    store.create(&Collection { name: "many".to_owned(), shape }).await.unwrap();
    let many = Vectors(names().enumerate().map(|(seed, name)| (name, values(seed))).collect());
    // A debug build of the engine takes 512 KiB of a multivector, a release build 32 MiB.
    let rows: Vec<f32> = (0..16 * 4096).map(|place| (place % 89) as f32).collect();
    let multi = Vectors::single(Vector::multi(4096, rows).unwrap());
    let shape = Shape([("default".to_owned(), spec(VectorKind::Multi, 4096, Distance::Dot))].into());
    store.create(&Collection { name: "multi".to_owned(), shape }).await.unwrap();
    for (c, vectors) in [("many", many), ("multi", multi)] {
        assert_eq!(versions(&store.apply(c, &[upsert("m:1", 1, vectors.clone(), empty())]).await.unwrap()), [Some(1)]);
        let point = store.points(c, &[key("m:1").point_id()]).await.unwrap().remove(0).unwrap();
        assert_eq!(point.vectors, vectors);
    }
}
