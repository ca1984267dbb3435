//! Collections that others made: with a vector without a name, with names, and exchanged behind one's back.

use lockstep_model::{Distance, Vector, VectorKind, Vectors};
use lockstep_stores::{Class, SearchAsk, VectorStore};

use crate::raw::Raw;
use crate::server::Server;
use crate::support::{dense, empty, key, spec, unpoint, upsert, versions};

#[tokio::test(flavor = "multi_thread")]
async fn default_is_the_vector_without_a_name_or_the_one_of_that_name() {
    let server = Server::start(&[]).await;
    let (store, mut raw) = (server.store(), Raw::connect(&server).await);
    raw.single("single", 2).await;
    raw.named("named", &["default", "title"], 2).await;
    let there = store.collections().await.unwrap();
    let want = spec(VectorKind::Dense, 2, Distance::Dot);
    assert_eq!(there["single"].shape.0, [("default".to_owned(), want)].into());
    assert_eq!(there["named"].shape.0, [("default".to_owned(), want), ("title".to_owned(), want)].into());
    let vector = Vector::dense(vec![1.0, 2.0]).unwrap();
    for c in ["single", "named"] {
        let stamps = store.apply(c, &[upsert("m:1", 1, dense(&[1.0, 2.0]), empty())]).await.unwrap();
        assert_eq!(versions(&stamps), [Some(1)]);
        let point = store.points(c, &[key("m:1").point_id()]).await.unwrap().remove(0).unwrap();
        assert_eq!(point.vectors, dense(&[1.0, 2.0]));
        let ask = SearchAsk { vector: vector.clone(), using: "default".to_owned(), limit: 1, offset: 0, filter: None };
        assert_eq!(store.search(c, &ask).await.unwrap()[0].score, 5.0);
        let titled = Vectors([("title".to_owned(), vector.clone())].into());
        let outcome = store.apply(c, &[upsert("m:2", 2, titled, empty())]).await;
        if c == "single" {
            // The server would answer that it is written, and lose it.
            assert_eq!(outcome.unwrap_err().class, Class::Refused);
        } else {
            assert_eq!(versions(&outcome.unwrap()), [Some(2)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_was_exchanged_is_noticed() {
    let server = Server::start(&[]).await;
    let (store, mut raw) = (server.store(), Raw::connect(&server).await);
    let put = |version| [upsert("m:1", version, dense(&[1.0]), empty())];
    raw.named("c", &["default"], 1).await;
    assert_eq!(versions(&store.apply("c", &put(1)).await.unwrap()), [Some(1)]);
    raw.drop("c").await;
    raw.single("c", 1).await;
    // Sent with a name, answered as written, lost: what is there says so, and the next call is right.
    assert_eq!(store.apply("c", &put(2)).await.unwrap(), [None]);
    assert_eq!(versions(&store.apply("c", &put(3)).await.unwrap()), [Some(3)]);
    raw.drop("c").await;
    raw.named("c", &["default"], 1).await;
    assert_eq!(store.apply("c", &put(4)).await.unwrap_err().class, Class::Refused);
    assert_eq!(versions(&store.apply("c", &put(5)).await.unwrap()), [Some(5)]);
    raw.drop("c").await;
    raw.single("c", 1).await;
    store.collections().await.unwrap();
    raw.drop("c").await;
    raw.single("c", 2).await;
    // Twice: what the server says, and what is then known before it is asked.
    for _ in 0..2 {
        let error = store.apply("c", &put(6)).await.unwrap_err();
        assert_eq!(error.class, Class::Refused, "{error}");
    }
    // Made anew to fit: what is known of the old one refuses nothing.
    raw.drop("c").await;
    raw.single("c", 1).await;
    assert_eq!(versions(&store.apply("c", &put(6)).await.unwrap()), [Some(6)]);
    raw.drop("c").await;
    assert!(matches!(store.apply("c", &put(7)).await.unwrap_err().class, Class::Configuration(_)));
    assert_eq!(store.apply("c", &[unpoint("m:1", 8)]).await.unwrap(), [None]);
}

/// What is refused among several points is refused, of one operation or of several: a refusal is an answer, and no outage.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_the_server_refuses_is_refused() {
    let server = Server::start(&[]).await;
    let (store, mut raw) = (server.store(), Raw::connect(&server).await);
    raw.single("c", 1).await;
    store.apply("c", &[upsert("m:0", 1, dense(&[1.0]), empty())]).await.unwrap();
    for writes in [
        [upsert("m:1", 2, dense(&[1.0]), empty()), upsert("m:2", 2, dense(&[1.0]), empty())],
        [upsert("m:1", 2, dense(&[1.0]), empty()), upsert("m:2", 3, dense(&[1.0]), empty())],
    ] {
        // Known again as it was, and exchanged again.
        raw.drop("c").await;
        raw.single("c", 1).await;
        store.collections().await.unwrap();
        raw.drop("c").await;
        raw.single("c", 2).await;
        assert_eq!(store.apply("c", &writes).await.unwrap_err().class, Class::Refused);
    }
}
