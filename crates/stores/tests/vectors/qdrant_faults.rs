//! A server that dies, stops, or answers what is not yet true.

use std::time::Duration;

use lockstep_model::Distance;
use lockstep_stores::{Class, Durability, QdrantRemote, QdrantStore, VectorStore};

use crate::server::{Server, until};
use crate::support::{collection, dense, empty, key, unpoint, upsert, versions};

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut server = Server::start(&[]).await;
    let store = server.store();
    assert_eq!(store.durability(), Durability::Acknowledged);
    store.create(&collection("c", 8, Distance::Dot)).await.unwrap();
    for round in 0..3_u64 {
        let writes: Vec<_> =
            (0..40).map(|id| upsert(&format!("m:{id}"), round * 40 + id + 1, dense(&[1.0; 8]), empty())).collect();
        store.apply("c", &writes).await.unwrap();
        store.apply("c", &[unpoint("m:7", round * 40 + 40)]).await.unwrap();
        assert_eq!(store.losses(), round);
        server.kill().await;
        // It shows at once, not with the next call.
        until(|| store.losses() == round + 1).await;
        server.start_again().await;
        let ids: Vec<_> = (0..40).map(|id| key(&format!("m:{id}")).point_id()).collect();
        let stamps = store.stamps("c", &ids).await.unwrap();
        let want: Vec<_> = (0..40).map(|id| (id != 7).then_some(round * 40 + id + 1)).collect();
        assert_eq!(versions(&stamps), want, "round {round}");
        assert_eq!(store.losses(), round + 1);
    }
    assert_eq!(store.collections().await.unwrap()["c"], collection("c", 8, Distance::Dot));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_has_applied_nothing() {
    let mut server = Server::start(&[]).await;
    let store = server.store();
    let writes = [upsert("m:1", 1, dense(&[1.0]), empty())];
    server.kill().await;
    // Nothing was ever sent: neither what must know the collection first, nor what need not.
    assert_eq!(store.ping().await.unwrap_err().class, Class::NotApplied);
    assert_eq!(store.apply("c", &writes).await.unwrap_err().class, Class::NotApplied);
    assert_eq!(store.apply("c", &[unpoint("m:1", 1)]).await.unwrap_err().class, Class::NotApplied);
    assert_eq!(store.losses(), 0);
    server.start_again().await;
    store.ping().await.unwrap();
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    assert_eq!(versions(&store.apply("c", &writes).await.unwrap()), [Some(1)]);
    assert_eq!(store.losses(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_leaves_it_unknown() {
    let mut server = Server::start(&[]).await;
    let store = server.store();
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    store.apply("c", &[upsert("m:1", 1, dense(&[1.0]), empty())]).await.unwrap();
    server.fault("slow=600000");
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.apply("c", &[upsert("m:1", 2, dense(&[1.0]), empty())]).await }
    });
    // Once another call is delayed, too, the write is on the server.
    let hasty = QdrantStore::connect(&QdrantRemote { timeout: Duration::from_millis(300), ..server.remote() }).unwrap();
    assert_eq!(hasty.count("c").await.unwrap_err().class, Class::NotApplied);
    server.kill().await;
    assert_eq!(writing.await.unwrap().unwrap_err().class, Class::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_leaves_it_unknown() {
    let server = Server::start(&[]).await;
    let remote = QdrantRemote { timeout: Duration::from_millis(500), ..server.remote() };
    let store = QdrantStore::connect(&remote).unwrap();
    server.store().create(&collection("c", 1, Distance::Dot)).await.unwrap();
    server.store().apply("c", &[upsert("m:1", 1, dense(&[1.0]), empty())]).await.unwrap();
    // It knows the collection.
    store.points("c", &[key("m:1").point_id()]).await.unwrap();
    server.freeze();
    let write = store.apply("c", &[upsert("m:1", 2, dense(&[1.0]), empty())]).await.unwrap_err();
    let delete = store.apply("c", &[unpoint("m:1", 2)]).await.unwrap_err();
    let read = store.stamps("c", &[key("m:1").point_id()]).await.unwrap_err();
    server.thaw();
    assert_eq!((write.class, delete.class, read.class), (Class::Unknown, Class::Unknown, Class::NotApplied));
    assert!(write.detail.contains("500 ms"), "{write}");
    let stamps = server.store().apply("c", &[upsert("m:1", 3, dense(&[1.0]), empty())]).await.unwrap();
    assert_eq!(versions(&stamps), [Some(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_completed_is_done() {
    let server = Server::start(&[]).await;
    let store = server.store();
    store.create(&collection("c", 1, Distance::Dot)).await.unwrap();
    store.apply("c", &[upsert("m:1", 1, dense(&[1.0]), empty())]).await.unwrap();
    let put = |version| upsert("m:1", version, dense(&[1.0]), empty());
    server.fault("wait-timeout");
    let twice = [put(3), put(4)];
    for writes in [&[put(2)][..], &twice, &[unpoint("m:2", 9)]] {
        let error = store.apply("c", writes).await.unwrap_err();
        assert_eq!(error.class, Class::Unknown);
        assert!(error.detail.contains("WaitTimeout"), "{error}");
    }
    // It was applied all the same: reading back tells.
    let id = [key("m:1").point_id()];
    assert_eq!(versions(&store.stamps("c", &id).await.unwrap()), [Some(4)]);
    server.fault("disk-full");
    let error = store.apply("c", &[put(5)]).await.unwrap_err();
    assert_eq!(error.class, Class::Unknown);
    assert!(error.detail.contains("No space left on device"), "{error}");
    // Deletes make room.
    assert_eq!(store.apply("c", &[unpoint("m:1", 6)]).await.unwrap(), [None]);
    server.fault("");
    assert_eq!(versions(&store.apply("c", &[put(7)]).await.unwrap()), [Some(7)]);
    assert_eq!(store.losses(), 0);
}
