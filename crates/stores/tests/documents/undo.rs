//! Taking writes back: only what is still there as it was written.

use lockstep_model::Version;
use lockstep_stores::{DocumentStore, Found, SurrealStore, Undo, UndoTo, Undone, Wrote};
use serde_json::{Value as Json, json};

use crate::place::Place;
use crate::support::{
    create, delete, dense, document, document_at, empty, ends, group_at, image, key, put, put_with, relate,
};

crate::place::everywhere!(
    what_an_operation_created_is_deleted_again,
    what_an_operation_replaced_comes_back_with_its_vectors,
    an_edge_that_was_turned_round_is_turned_back,
    a_created_record_with_edges_stays,
    what_others_wrote_is_never_overwritten,
    what_the_schema_adds_is_no_outside_change,
    a_damaged_image_is_refused,
    a_group_is_taken_back_whole,
    a_group_with_one_outside_change_stays_whole,
    what_was_removed_comes_back_only_where_nothing_is,
);

fn undo(name: &str, version: u64, wrote: Json, to: UndoTo) -> Undo {
    Undo { key: key(name), version: Version(version), wrote: Wrote::Put(document(wrote)), to }
}

fn back_to(found: &Found) -> UndoTo {
    UndoTo::Image { raw: found.raw.clone(), version: found.stamp.map(|stamp| stamp.version) }
}

async fn blocked(store: &SurrealStore, undo: Undo) -> String {
    match store.undo(std::slice::from_ref(&undo)).await.unwrap() {
        Undone::Blocked(why) => why,
        other => panic!("{other:?}"),
    }
}

async fn what_an_operation_created_is_deleted_again(place: Place) {
    let store = place.store().await;
    store.apply(&[put_with("memory:1", 5, json!({"a": 1}), Some(dense(&[1.0])), None, true)], &[]).await.unwrap();
    let undo = undo("memory:1", 5, json!({"a": 1}), UndoTo::Absent);
    assert_eq!(store.undo(std::slice::from_ref(&undo)).await.unwrap(), Undone::Restored);
    assert_eq!(image(&store, "memory:1").await.found, None);
    assert_eq!(store.query("SELECT * FROM lockstep_vector").await, json!([]));
    assert_eq!(store.undo(std::slice::from_ref(&undo)).await.unwrap(), Undone::AlreadyThere);
}

async fn what_an_operation_replaced_comes_back_with_its_vectors(place: Place) {
    let store = place.store().await;
    store.apply(&[put_with("memory:1", 5, json!({"a": 1}), Some(dense(&[1.0])), None, true)], &[]).await.unwrap();
    store.apply(&[relate("mentions:1", 6, ends("memory:1", "memory:1"), empty())], &[]).await.unwrap();
    let before = image(&store, "memory:1").await;
    let wrote = json!({"b": 2});
    store.apply(&[put_with("memory:1", 7, wrote.clone(), Some(dense(&[2.0])), None, false)], &[]).await.unwrap();
    let undo = undo("memory:1", 7, wrote, back_to(before.found.as_ref().unwrap()));
    assert_eq!(store.undo(std::slice::from_ref(&undo)).await.unwrap(), Undone::Restored);
    assert_eq!(image(&store, "memory:1").await, before, "its edges have stayed");
    assert_eq!(store.undo(std::slice::from_ref(&undo)).await.unwrap(), Undone::AlreadyThere);
}

async fn an_edge_that_was_turned_round_is_turned_back(place: Place) {
    let store = place.store().await;
    store.apply(&[create("memory:1", 1, empty()), create("memory:2", 2, empty())], &[]).await.unwrap();
    store.apply(&[relate("mentions:1", 6, ends("memory:1", "memory:2"), json!({"w": 1}))], &[]).await.unwrap();
    let before = image(&store, "mentions:1").await;
    store.apply(&[relate("mentions:1", 7, ends("memory:2", "memory:1"), empty())], &[]).await.unwrap();
    let turned = undo("mentions:1", 7, empty(), back_to(before.found.as_ref().unwrap()));
    assert_eq!(store.undo(std::slice::from_ref(&turned)).await.unwrap(), Undone::Restored);
    assert_eq!(image(&store, "mentions:1").await, before);

    store.apply(&[relate("mentions:2", 8, ends("memory:1", "memory:2"), empty())], &[]).await.unwrap();
    let made = undo("mentions:2", 8, empty(), UndoTo::Absent);
    assert_eq!(
        store.undo(std::slice::from_ref(&made)).await.unwrap(),
        Undone::Restored,
        "its own ends are not edges at it"
    );
}

async fn a_created_record_with_edges_stays(place: Place) {
    let store = place.store().await;
    store.apply(&[create("memory:1", 5, empty()), create("memory:2", 6, empty())], &[]).await.unwrap();
    store.apply(&[relate("mentions:1", 7, ends("memory:1", "memory:2"), empty())], &[]).await.unwrap();
    let why = blocked(&store, undo("memory:2", 6, empty(), UndoTo::Absent)).await;
    assert!(why.contains("1 edges"), "{why}");
    assert_eq!(document_at(&store, "memory:2").await, empty());
}

async fn what_others_wrote_is_never_overwritten(place: Place) {
    let store = place.store().await;
    store.apply(&[create("memory:1", 5, json!({"a": 1}))], &[]).await.unwrap();
    let before = image(&store, "memory:1").await.found.unwrap();
    let wrote = json!({"a": 2});
    let take_back = || undo("memory:1", 7, wrote.clone(), back_to(&before));

    store.apply(&[put("memory:1", 7, json!({"a": 3}))], &[]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("field a is another"), "the version is ours, the content not");
    store.apply(&[put("memory:1", 8, wrote.clone())], &[]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("version 8"));
    store.apply(&[delete("memory:1", 9)], &[]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("is gone"));
    store.apply(&[put("memory:1", 7, json!({"a": 2, "b": 1}))], &[]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("field b has come"));
    store.apply(&[delete("memory:1", 9)], &[]).await.unwrap();
    store.apply(&[put("memory:1", 7, empty())], &[]).await.unwrap();
    assert!(blocked(&store, take_back()).await.contains("field a is gone"));
}

async fn what_the_schema_adds_is_no_outside_change(place: Place) {
    let script = "DEFINE TABLE memory SCHEMAFULL; DEFINE FIELD _lockstep ON memory TYPE option<object> FLEXIBLE;
        DEFINE FIELD title ON memory TYPE string VALUE string::lowercase($value);
        DEFINE FIELD score ON memory TYPE float; DEFINE FIELD tags ON memory TYPE set<string>;
        DEFINE FIELD made ON memory TYPE datetime DEFAULT time::now() READONLY;";
    let store = place.store_after(script).await;
    let wrote = json!({"title": "Tide", "score": 1, "tags": ["b", "a", "b"]});
    store.apply(&[create("memory:1", 5, wrote.clone())], &[]).await.unwrap();
    let before = image(&store, "memory:1").await;
    assert_eq!(before.found.as_ref().unwrap().document.0.len(), 4);
    let next = json!({"title": "Low Tide", "score": 2, "tags": []});
    store.apply(&[put("memory:1", 6, next.clone())], &[]).await.unwrap();
    let replaced = undo("memory:1", 6, next, back_to(before.found.as_ref().unwrap()));
    assert_eq!(store.undo(std::slice::from_ref(&replaced)).await.unwrap(), Undone::Restored);
    assert_eq!(image(&store, "memory:1").await, before);
    assert_eq!(store.undo(&[undo("memory:1", 5, wrote, UndoTo::Absent)]).await.unwrap(), Undone::Restored);
}

async fn a_damaged_image_is_refused(place: Place) {
    let store = place.store().await;
    store.apply(&[create("memory:1", 5, empty())], &[]).await.unwrap();
    for raw in [vec![], vec![9, 1], vec![1, 0, 0, 0]] {
        let to = UndoTo::Image { raw, version: None };
        assert!(store.undo(&[undo("memory:1", 5, empty(), to)]).await.is_err());
    }
    assert_eq!(document_at(&store, "memory:1").await, empty());
}

fn removed(name: &str, version: u64, to: UndoTo) -> Undo {
    Undo { key: key(name), version: Version(version), wrote: Wrote::Removed, to }
}

/// Two records with an edge and kept vectors, one of the records and the edge deleted, and a new record with a new edge made.
async fn a_group(store: &SurrealStore) -> Vec<Undo> {
    let kept = |name: &str, version| put_with(name, version, json!({"v": version}), Some(dense(&[1.0])), None, false);
    store.apply(&[kept("memory:1", 1), kept("memory:2", 2)], &[]).await.unwrap();
    let between = ends("memory:1", "memory:2");
    let edge = put_with("mentions:1", 3, json!({"w": 1}), Some(dense(&[3.0])), Some(between), false);
    store.apply(&[edge], &[]).await.unwrap();
    let (one, edge) = (image(store, "memory:1").await, image(store, "mentions:1").await);
    let two = image(store, "memory:2").await;
    let group = [
        delete("memory:1", 10),
        put("memory:2", 10, json!({"new": true})),
        create("memory:3", 10, empty()),
        relate("mentions:2", 10, ends("memory:2", "memory:3"), empty()),
    ];
    store.apply(&group, &group_at(0..4)).await.unwrap();
    assert_eq!(image(store, "mentions:1").await.found, None, "it went with its end");
    vec![
        removed("mentions:1", 10, back_to(edge.found.as_ref().unwrap())),
        removed("memory:1", 10, back_to(one.found.as_ref().unwrap())),
        undo("memory:2", 10, json!({"new": true}), back_to(two.found.as_ref().unwrap())),
        undo("memory:3", 10, empty(), UndoTo::Absent),
        undo("mentions:2", 10, empty(), UndoTo::Absent),
    ]
}

async fn a_group_is_taken_back_whole(place: Place) {
    let store = place.store().await;
    let undos = a_group(&store).await;
    assert_eq!(store.undo(&undos).await.unwrap(), Undone::Restored);
    assert_eq!(document_at(&store, "memory:1").await, json!({"v": 1}));
    assert_eq!(document_at(&store, "memory:2").await, json!({"v": 2}));
    let edge = image(&store, "mentions:1").await.found.unwrap();
    assert_eq!((edge.ends, edge.kept.unwrap().vectors), (Some(ends("memory:1", "memory:2")), dense(&[3.0])));
    assert_eq!(image(&store, "memory:1").await.edges, [key("mentions:1")], "the edge is a relation again");
    assert_eq!(image(&store, "memory:2").await.edges, [key("mentions:1")]);
    assert_eq!(image(&store, "memory:3").await.found, None);
    let kept = store.query("SELECT VALUE id.id() FROM lockstep_vector").await;
    assert_eq!(kept, json!([["memory", 1], ["memory", 2], ["mentions", 1]]));
    assert_eq!(store.undo(&undos).await.unwrap(), Undone::AlreadyThere);
    assert_eq!(store.undo(&[]).await.unwrap(), Undone::AlreadyThere);
}

async fn a_group_with_one_outside_change_stays_whole(place: Place) {
    let store = place.store().await;
    let undos = a_group(&store).await;
    store.apply(&[put("memory:1", 11, json!({"theirs": true}))], &[]).await.unwrap();
    let Undone::Blocked(why) = store.undo(&undos).await.unwrap() else { panic!() };
    assert!(why.contains("memory:1 is there again"), "{why}");
    assert_eq!(document_at(&store, "memory:2").await, json!({"new": true}));
    assert_eq!(document_at(&store, "memory:3").await, empty());

    store.apply(&[delete("memory:1", 12)], &[]).await.unwrap();
    store.apply(&[relate("likes:1", 13, ends("memory:2", "memory:3"), empty())], &[]).await.unwrap();
    let Undone::Blocked(why) = store.undo(&undos).await.unwrap() else { panic!() };
    assert!(why.contains("1 edges have come to memory:3"), "only edges that are undone with it do not count: {why}");
    assert_eq!(image(&store, "memory:1").await.found, None);
}

async fn what_was_removed_comes_back_only_where_nothing_is(place: Place) {
    let store = place.store().await;
    store.apply(&[create("memory:1", 1, empty()), create("memory:2", 2, empty())], &[]).await.unwrap();
    store.apply(&[relate("mentions:1", 3, ends("memory:1", "memory:2"), empty())], &[]).await.unwrap();
    let edge = image(&store, "mentions:1").await.found.unwrap();
    store.apply(&[delete("mentions:1", 4), delete("memory:2", 5)], &[]).await.unwrap();
    let alone = removed("mentions:1", 4, back_to(&edge));
    assert_eq!(store.undo(&[alone]).await.unwrap(), Undone::AlreadyThere, "it would have gone with its end");
    assert_eq!(image(&store, "mentions:1").await.found, None);
    let nothing = removed("memory:7", 4, UndoTo::Absent);
    assert_eq!(store.undo(&[nothing]).await.unwrap(), Undone::AlreadyThere);
}
