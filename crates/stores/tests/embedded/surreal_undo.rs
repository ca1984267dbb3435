//! Taking writes back: only what is still there as it was written.

use lockstep_model::Version;
use lockstep_stores::{DocumentStore, Found, SurrealStore, Undo, UndoTo, Undone};
use serde_json::{Value as Json, json};

use crate::support::{
    create, delete, dense, document, document_at, empty, ends, image, key, put, put_with, query, relate, surreal,
    surreal_with_outsider,
};

fn undo(name: &str, version: u64, wrote: Json, to: UndoTo) -> Undo {
    Undo { key: key(name), version: Version(version), document: document(wrote), to }
}

fn back_to(found: &Found) -> UndoTo {
    UndoTo::Image { raw: found.raw.clone(), version: found.stamp.map(|stamp| stamp.version) }
}

async fn blocked(store: &SurrealStore, undo: Undo) -> String {
    match store.undo(&undo).await.unwrap() {
        Undone::Blocked(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operation_created_is_deleted_again() {
    let store = surreal().await;
    store.apply(&[put_with("memory:1", 5, json!({"a": 1}), Some(dense(&[1.0])), None, true)]).await.unwrap();
    let undo = undo("memory:1", 5, json!({"a": 1}), UndoTo::Absent);
    assert_eq!(store.undo(&undo).await.unwrap(), Undone::Restored);
    assert_eq!(image(&store, "memory:1").await.found, None);
    assert_eq!(query(&store, "SELECT * FROM lockstep_vector").await, json!([]));
    assert_eq!(store.undo(&undo).await.unwrap(), Undone::AlreadyThere);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operation_replaced_comes_back_with_its_vectors() {
    let store = surreal().await;
    store.apply(&[put_with("memory:1", 5, json!({"a": 1}), Some(dense(&[1.0])), None, true)]).await.unwrap();
    store.apply(&[relate("mentions:1", 6, ends("memory:1", "memory:1"), empty())]).await.unwrap();
    let before = image(&store, "memory:1").await;
    let wrote = json!({"b": 2});
    store.apply(&[put_with("memory:1", 7, wrote.clone(), Some(dense(&[2.0])), None, false)]).await.unwrap();
    let undo = undo("memory:1", 7, wrote, back_to(before.found.as_ref().unwrap()));
    assert_eq!(store.undo(&undo).await.unwrap(), Undone::Restored);
    assert_eq!(image(&store, "memory:1").await, before, "its edges have stayed");
    assert_eq!(store.undo(&undo).await.unwrap(), Undone::AlreadyThere);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_was_turned_round_is_turned_back() {
    let store = surreal().await;
    store.apply(&[create("memory:1", 1, empty()), create("memory:2", 2, empty())]).await.unwrap();
    store.apply(&[relate("mentions:1", 6, ends("memory:1", "memory:2"), json!({"w": 1}))]).await.unwrap();
    let before = image(&store, "mentions:1").await;
    store.apply(&[relate("mentions:1", 7, ends("memory:2", "memory:1"), empty())]).await.unwrap();
    let turned = undo("mentions:1", 7, empty(), back_to(before.found.as_ref().unwrap()));
    assert_eq!(store.undo(&turned).await.unwrap(), Undone::Restored);
    assert_eq!(image(&store, "mentions:1").await, before);

    store.apply(&[relate("mentions:2", 8, ends("memory:1", "memory:2"), empty())]).await.unwrap();
    let made = undo("mentions:2", 8, empty(), UndoTo::Absent);
    assert_eq!(store.undo(&made).await.unwrap(), Undone::Restored, "its own ends are not edges at it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_record_with_edges_stays() {
    let store = surreal().await;
    store.apply(&[create("memory:1", 5, empty()), create("memory:2", 6, empty())]).await.unwrap();
    store.apply(&[relate("mentions:1", 7, ends("memory:1", "memory:2"), empty())]).await.unwrap();
    let why = blocked(&store, undo("memory:2", 6, empty(), UndoTo::Absent)).await;
    assert!(why.contains("1 edges"), "{why}");
    assert_eq!(document_at(&store, "memory:2").await, empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_never_overwritten() {
    let store = surreal().await;
    store.apply(&[create("memory:1", 5, json!({"a": 1}))]).await.unwrap();
    let before = image(&store, "memory:1").await.found.unwrap();
    let wrote = json!({"a": 2});
    let take_back = || undo("memory:1", 7, wrote.clone(), back_to(&before));

    store.apply(&[put("memory:1", 7, json!({"a": 3}))]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("field a is another"), "the version is ours, the content not");
    store.apply(&[put("memory:1", 8, wrote.clone())]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("version 8"));
    store.apply(&[delete("memory:1", 9)]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("is gone"));
    store.apply(&[put("memory:1", 7, json!({"a": 2, "b": 1}))]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("field b has come"));
    store.apply(&[delete("memory:1", 9)]).await.unwrap();
    store.apply(&[put("memory:1", 7, empty())]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("field a is gone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_adds_is_no_outside_change() {
    let dir = tempfile::tempdir().unwrap();
    let script = "DEFINE TABLE memory SCHEMAFULL; DEFINE FIELD _lockstep ON memory TYPE option<object> FLEXIBLE;
        DEFINE FIELD title ON memory TYPE string VALUE string::lowercase($value);
        DEFINE FIELD score ON memory TYPE float; DEFINE FIELD tags ON memory TYPE set<string>;
        DEFINE FIELD made ON memory TYPE datetime DEFAULT time::now() READONLY;";
    let store = surreal_with_outsider(dir.path(), script).await;
    let wrote = json!({"title": "Tide", "score": 1, "tags": ["b", "a", "b"]});
    store.apply(&[create("memory:1", 5, wrote.clone())]).await.unwrap();
    let before = image(&store, "memory:1").await;
    assert_eq!(before.found.as_ref().unwrap().document.0.len(), 4);
    let next = json!({"title": "Low Tide", "score": 2, "tags": []});
    store.apply(&[put("memory:1", 6, next.clone())]).await.unwrap();
    let replaced = undo("memory:1", 6, next, back_to(before.found.as_ref().unwrap()));
    assert_eq!(store.undo(&replaced).await.unwrap(), Undone::Restored);
    assert_eq!(image(&store, "memory:1").await, before);
    assert_eq!(store.undo(&undo("memory:1", 5, wrote, UndoTo::Absent)).await.unwrap(), Undone::Restored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_image_is_refused() {
    let store = surreal().await;
    store.apply(&[create("memory:1", 5, empty())]).await.unwrap();
    for raw in [vec![], vec![9, 1], vec![1, 0, 0, 0]] {
        let to = UndoTo::Image { raw, version: None };
        assert!(store.undo(&undo("memory:1", 5, empty(), to)).await.is_err());
    }
    assert_eq!(document_at(&store, "memory:1").await, empty());
}
