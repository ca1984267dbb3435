//! Late and stale writes over gRPC (design 5).

use std::time::Duration;

use lockstep_model::Distance;
use lockstep_stores::{Class, QdrantRemote, QdrantStore, VectorStore};
use serde_json::json;

use crate::raw::Raw;
use crate::server::{PATIENCE, Server};
use crate::support::{collection, dense, empty, key, unpoint, upsert, versions};

/// A write whose caller has given up, and which the server carries out after a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_after_something_newer_does_nothing() {
    let server = Server::start(&[]).await;
    let store = server.store();
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    let first = [upsert("m:1", 1, dense(&[1.0]), empty()), upsert("m:2", 1, dense(&[1.0]), empty())];
    store.apply("c", &first).await.unwrap();
    let hasty = QdrantStore::connect(&QdrantRemote { timeout: Duration::from_millis(500), ..server.remote() }).unwrap();
    // It knows the collection, so that the write is the first call that is late.
    hasty.apply("c", &[upsert("m:3", 1, dense(&[1.0]), empty())]).await.unwrap();
    let mut raw = Raw::connect(&server).await;
    let before = raw.updates("c").await;

    server.fault("slow=3000");
    let (put, delete) = tokio::join!(
        async { hasty.apply("c", &[upsert("m:1", 5, dense(&[5.0]), json!({"late": true}))]).await },
        async { hasty.apply("c", &[unpoint("m:2", 5)]).await },
    );
    assert_eq!((put.unwrap_err().class, delete.unwrap_err().class), (Class::Unknown, Class::Unknown));
    server.fault("");
    let newer = [upsert("m:1", 6, dense(&[6.0]), empty()), upsert("m:2", 6, dense(&[6.0]), empty())];
    assert_eq!(versions(&store.apply("c", &newer).await.unwrap()), [Some(6), Some(6)]);

    // One update of ours, two late ones; and those that only ask.
    let begun = std::time::Instant::now();
    let mut asked = 1;
    while raw.updates("c").await < before + 3 + asked {
        asked += 1;
        assert!(begun.elapsed() < PATIENCE, "the late writes never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ids = [key("m:1").point_id(), key("m:2").point_id()];
    assert_eq!(versions(&store.stamps("c", &ids).await.unwrap()), [Some(6), Some(6)]);
    assert_eq!(store.points("c", &ids).await.unwrap()[0].as_ref().unwrap().vectors, dense(&[6.0]));
}

/// The trap that the fence cannot close: there is no version to compare with. If this fails, the server has learned to, and the engine's
/// second look at points of unknown outcome may be given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_upsert_after_a_delete_brings_the_point_back() {
    let server = Server::start(&[]).await;
    let store = server.store();
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    let late = upsert("m:1", 5, dense(&[5.0]), empty());
    store.apply("c", &[upsert("m:1", 4, dense(&[4.0]), empty())]).await.unwrap();
    store.apply("c", &[unpoint("m:1", 6)]).await.unwrap();
    assert_eq!(versions(&store.apply("c", &[late]).await.unwrap()), [Some(5)]);
}

/// One request has one filter, that of its lowest version: what it holds back wrongly is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_fence_holds_nothing_back_for_good() {
    let server = Server::start(&[]).await;
    let store = server.store();
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    let put = |name: &str, version| upsert(name, version, dense(&[1.0]), json!({"v": version}));
    store.apply("c", &[put("m:1", 10), put("m:2", 40), put("m:3", 60), put("m:4", 40), put("m:5", 60)]).await.unwrap();
    let mut raw = Raw::connect(&server).await;
    let before = raw.updates("c").await;
    let writes =
        [put("m:1", 20), put("m:2", 50), put("m:3", 30), unpoint("m:6", 20), unpoint("m:4", 50), unpoint("m:5", 30)];
    let stamps = store.apply("c", &writes).await.unwrap();
    assert_eq!(versions(&stamps), [Some(20), Some(50), Some(60), None, None, Some(60)]);
    // One upsert, one delete, and the two that were held back.
    assert_eq!(raw.updates("c").await - before, 1 + 1 + 2 + 1);
}

/// Strict mode refuses to filter updates by a field without an index: creating makes one, also where the collection is there already.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_pass_strict_mode() {
    use qdrant_client::qdrant::{CreateCollection, StrictModeConfig, vectors_config};
    let server = Server::start(&[]).await;
    let (store, mut raw) = (server.store(), Raw::connect(&server).await);
    let strict = StrictModeConfig {
        enabled: Some(true),
        unindexed_filtering_update: Some(false),
        ..StrictModeConfig::default()
    };
    let rest = CreateCollection { strict_mode_config: Some(strict), ..CreateCollection::default() };
    raw.create("c", vectors_config::Config::Params(crate::raw::params(1)), rest).await;
    store.apply("c", &[upsert("m:1", 1, dense(&[1.0]), empty())]).await.unwrap();
    let error = store.apply("c", &[unpoint("m:1", 2)]).await.unwrap_err();
    assert_eq!(error.class, Class::Refused, "{error}");
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    assert_eq!(store.apply("c", &[unpoint("m:1", 2)]).await.unwrap(), [None]);
}
