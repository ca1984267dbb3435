//! Edges in SurrealDB: made, replaced, turned round, removed, and gone with their endpoints.

use lockstep_model::Version;
use lockstep_stores::{Class, DocWrite, DocumentStore, ReadBack};
use serde_json::{Value as Json, json};

use crate::place::Place;
use crate::support::{
    create, delete, dense, document_at, empty, ends, group_at, image, key, put_with, relate, table, version,
};

crate::place::everywhere!(
    an_edge_is_made_once_and_replaced_after,
    an_edge_whose_ends_change_is_made_anew_behind_the_fence,
    a_plain_record_in_the_way_becomes_the_edge,
    a_deleted_record_takes_its_edges_and_their_kept_vectors,
    unrelate_by_ends_removes_every_edge_between_and_no_newer_one,
    edges_go_into_a_table_that_an_application_defined,
    edges_without_a_key_are_counted,
    a_group_wants_every_edge_between_gone,
);

async fn an_edge_is_made_once_and_replaced_after(place: Place) {
    let store = place.store().await;
    store.apply(&[create("memory:1", 1, empty()), create("person:7", 2, empty())], &[]).await.unwrap();
    let between = ends("memory:1", "person:7");
    for round in 3..6 {
        let read =
            store.apply(&[relate("mentions:x", round, between.clone(), json!({"w": round}))], &[]).await.unwrap();
        assert_eq!(version(read[0]), Some(round));
    }
    let edge = image(&store, "mentions:x").await.found.unwrap();
    assert_eq!(edge.ends, Some(between.clone()));
    assert_eq!(Json::Object(edge.document.to_json()), json!({"w": 5}));
    assert_eq!(image(&store, "memory:1").await.edges, [key("mentions:x")]);
    assert_eq!(
        store.query("SELECT VALUE ->mentions->person FROM ONLY memory:1").await,
        json!([{"$record": "person:7"}])
    );
    assert_eq!(store.edges_between(&table("mentions"), &between).await.unwrap(), [key("mentions:x")]);
    assert_eq!(store.edges_between(&table("mentions"), &ends("person:7", "memory:1")).await.unwrap(), []);
}

async fn an_edge_whose_ends_change_is_made_anew_behind_the_fence(place: Place) {
    // An UPDATE of `in` is ignored in silence.
    let store = place.store().await;
    let nodes: Vec<_> = (1..4).map(|id| create(&format!("memory:{id}"), id, empty())).collect();
    store.apply(&nodes, &[]).await.unwrap();
    store.apply(&[relate("mentions:x", 10, ends("memory:1", "memory:2"), empty())], &[]).await.unwrap();
    let read = store.apply(&[relate("mentions:x", 9, ends("memory:1", "memory:3"), empty())], &[]).await.unwrap();
    assert_eq!(version(read[0]), Some(10));
    assert_eq!(image(&store, "mentions:x").await.found.unwrap().ends, Some(ends("memory:1", "memory:2")));
    store.apply(&[relate("mentions:x", 11, ends("memory:3", "memory:1"), json!({"w": 1}))], &[]).await.unwrap();
    let edge = image(&store, "mentions:x").await.found.unwrap();
    assert_eq!(edge.ends, Some(ends("memory:3", "memory:1")));
    assert!(image(&store, "memory:2").await.edges.is_empty());
    assert_eq!(image(&store, "memory:3").await.edges, [key("mentions:x")]);
}

async fn a_plain_record_in_the_way_becomes_the_edge(place: Place) {
    let store = place.store_after("CREATE memory:1, memory:2; CREATE mentions:x SET note = 1;").await;
    store.apply(&[relate("mentions:x", 4, ends("memory:1", "memory:2"), json!({"w": 1}))], &[]).await.unwrap();
    assert_eq!(image(&store, "memory:2").await.edges, [key("mentions:x")]);
    assert_eq!(document_at(&store, "mentions:x").await, json!({"w": 1}));
}

async fn a_deleted_record_takes_its_edges_and_their_kept_vectors(place: Place) {
    let store = place.store().await;
    let mut writes: Vec<_> =
        (1..4).map(|id| put_with(&format!("memory:{id}"), id, empty(), Some(dense(&[1.0])), None, true)).collect();
    for (id, from, to) in [("a", "memory:1", "memory:2"), ("b", "memory:2", "memory:1"), ("c", "memory:2", "memory:3")]
    {
        let name = format!("mentions:{id}");
        writes.push(put_with(&name, 9, empty(), Some(dense(&[2.0])), Some(ends(from, to)), false));
    }
    store.apply(&writes, &[]).await.unwrap();
    // A self loop is seen at both ends and still one edge.
    store.apply(&[relate("mentions:self", 10, ends("memory:1", "memory:1"), empty())], &[]).await.unwrap();
    assert_eq!(image(&store, "memory:1").await.edges.len(), 3);

    assert_eq!(store.apply(&[delete("memory:1", 20)], &[]).await.unwrap(), [ReadBack::Absent]);
    assert_eq!(store.query("SELECT VALUE id FROM mentions").await, json!([{"$record": "mentions:c"}]));
    let kept = store.query("SELECT VALUE id.id() FROM lockstep_vector").await;
    assert_eq!(kept, json!([["memory", 2], ["memory", 3], ["mentions", "c"]]));

    // Putting the record again does not bring them back.
    store.apply(&[create("memory:1", 21, empty())], &[]).await.unwrap();
    assert!(image(&store, "memory:1").await.edges.is_empty());
}

async fn unrelate_by_ends_removes_every_edge_between_and_no_newer_one(place: Place) {
    let script =
        "CREATE memory:1, memory:2, memory:3; RELATE memory:1->mentions->memory:2; RELATE memory:1->mentions->memory:2;
        RELATE memory:2->mentions->memory:1; RELATE memory:1->likes->memory:2; RELATE memory:1->mentions->memory:3;";
    let store = place.store_after(script).await;
    let ours = put_with("mentions:x", 4, empty(), Some(dense(&[1.0])), Some(ends("memory:1", "memory:2")), false);
    let newer = relate("mentions:y", 90, ends("memory:1", "memory:2"), empty());
    store.apply(&[ours, newer], &[]).await.unwrap();
    let between = |version| DocWrite::DeleteBetween {
        edge: table("mentions"),
        ends: ends("memory:1", "memory:2"),
        version: Version(version),
    };
    let other =
        DocWrite::DeleteBetween { edge: table("nothing"), ends: ends("memory:1", "memory:2"), version: Version(5) };
    let read = store.apply(&[other, between(5), delete("memory:9", 5)], &[]).await.unwrap();
    assert_eq!(read, [ReadBack::Absent, ReadBack::Unstamped, ReadBack::Absent], "one of the edges is newer and stays");
    assert_eq!(
        store.edges_between(&table("mentions"), &ends("memory:1", "memory:2")).await.unwrap(),
        [key("mentions:y")]
    );
    assert_eq!(store.apply(&[between(90)], &[]).await.unwrap(), [ReadBack::Absent]);
    assert_eq!(store.query("SELECT count() FROM mentions GROUP ALL").await, json!([{"count": 2}]));
    assert_eq!(store.query("SELECT count() FROM likes GROUP ALL").await, json!([{"count": 1}]));
    assert_eq!(store.query("SELECT VALUE id.id() FROM lockstep_vector").await, json!([]));
}

async fn edges_go_into_a_table_that_an_application_defined(place: Place) {
    let script = "DEFINE TABLE mentions TYPE RELATION IN memory OUT person ENFORCED; CREATE memory:1, person:1;";
    let store = place.store_after(script).await;
    let edge = put_with("mentions:1", 4, json!({"w": 1}), None, Some(ends("memory:1", "person:1")), true);
    assert_eq!(version(store.apply(&[edge], &[]).await.unwrap()[0]), Some(4));
    let wrong = relate("mentions:2", 5, ends("person:1", "memory:1"), empty());
    assert!(store.apply(&[wrong], &[]).await.is_err());
    let info = store.query("INFO FOR DB").await;
    assert!(info["tables"]["mentions"].as_str().unwrap().contains("TYPE RELATION IN memory OUT person ENFORCED"));
}

async fn edges_without_a_key_are_counted(place: Place) {
    let script = "CREATE memory:1, memory:2; INSERT RELATION [
        { id: knows:[1], in: memory:1, out: memory:2 }, { id: knows:{ a: 1 }, in: memory:2, out: memory:1 },
        { id: knows:[2], in: memory:1, out: memory:1 }, { id: knows:x, in: memory:1, out: memory:2 }];";
    let store = place.store_after(script).await;
    let image = image(&store, "memory:1").await;
    assert_eq!((image.edges, image.unkeyed_edges), (vec![key("knows:x")], 3));
}

async fn a_group_wants_every_edge_between_gone(place: Place) {
    let store = place.store().await;
    store.apply(&[create("memory:1", 1, empty()), create("memory:2", 2, empty())], &[]).await.unwrap();
    store.apply(&[relate("mentions:y", 90, ends("memory:1", "memory:2"), empty())], &[]).await.unwrap();
    let group = |version| {
        let (edge, ends) = (table("mentions"), ends("memory:1", "memory:2"));
        [create("memory:3", version, empty()), DocWrite::DeleteBetween { edge, ends, version: Version(version) }]
    };
    let error = store.apply(&group(5), &group_at(0..2)).await.unwrap_err();
    assert_eq!(error.class, Class::Refused, "{error}");
    assert_eq!(document_at(&store, "memory:3").await, Json::Null);
    assert_eq!(store.apply(&group(91), &group_at(0..2)).await.unwrap()[1], ReadBack::Absent);
}
