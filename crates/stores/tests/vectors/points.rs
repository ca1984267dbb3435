//! Points: shapes, fences, order, payloads, ids.

use lockstep_model::{Distance, PointId, Shape, Vector, VectorKind, Vectors, Version};
use lockstep_stores::{Class, Collection, PointStamp, PointWrite, Scope};
use serde_json::{Map, json};
use uuid::Uuid;

use crate::support::{collection, dense, empty, key, op, spec, unpoint, upsert, versions};
use crate::world::{World, on_both};

on_both!(
    a_point_is_what_was_written_and_says_by_whom,
    a_put_replaces_vectors_and_payload_whole,
    versions_never_go_back_and_order_within_a_call_holds,
    a_wrong_shape_is_refused_before_anything_is_written,
    collections_are_made_once_and_missing_ones_are_configuration,
    a_scan_pages_in_id_order,
    ids_may_be_numbers,
);

async fn a_point_is_what_was_written_and_says_by_whom(world: &World) {
    let store = &world.store;
    let c = &world.single(2, Distance::Dot).await;
    let payload = json!({"title": "tide", "n": 1, "tags": ["a", null], "o": {"x": 0.5}});
    let stamps = store.apply(c, &[upsert("memory:1", 5, dense(&[3.0, 4.0]), payload.clone())]).await.unwrap();
    let stamp = PointStamp { version: Some(Version(5)), op: Some(op(5)), key: Some(key("memory:1")) };
    assert_eq!(stamps, [Some(stamp.clone())]);
    let id = key("memory:1").point_id();
    let points = store.points(c, &[Uuid::nil().into(), id]).await.unwrap();
    assert_eq!(points[0], None);
    let point = points[1].clone().unwrap();
    assert_eq!((point.stamp, point.vectors), (stamp.clone(), dense(&[3.0, 4.0])));
    assert_eq!(serde_json::Value::Object(point.payload), payload);
    assert_eq!(store.stamps(c, &[id, Uuid::nil().into(), id]).await.unwrap(), [Some(stamp.clone()), None, Some(stamp)]);
    store.ping().await.unwrap();
}

async fn a_put_replaces_vectors_and_payload_whole(world: &World) {
    let store = &world.store;
    let shape = Shape(
        [
            ("default".to_owned(), spec(VectorKind::Dense, 2, Distance::Euclid)),
            ("title".to_owned(), spec(VectorKind::Dense, 3, Distance::Cosine)),
            ("words".to_owned(), spec(VectorKind::Sparse, 0, Distance::Dot)),
            ("parts".to_owned(), spec(VectorKind::Multi, 2, Distance::Manhattan)),
        ]
        .into(),
    );
    let c = &world.create(Collection { name: "all".to_owned(), shape }).await;
    let all = Vectors(
        [
            ("default".to_owned(), Vector::dense(vec![1.0, 2.0]).unwrap()),
            ("words".to_owned(), Vector::sparse(&[900, 7], &[0.5, 2.0]).unwrap()),
            ("parts".to_owned(), Vector::multi(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap()),
        ]
        .into(),
    );
    store.apply(c, &[upsert("memory:1", 1, all.clone(), json!({"a": 1}))]).await.unwrap();
    let id = [key("memory:1").point_id()];
    assert_eq!(store.points(c, &id).await.unwrap()[0].as_ref().unwrap().vectors, all);

    let title = Vectors([("title".to_owned(), Vector::dense(vec![0.0, 1.0, 0.0]).unwrap())].into());
    store.apply(c, &[upsert("memory:1", 2, title.clone(), json!({"b": 2}))]).await.unwrap();
    let point = store.points(c, &id).await.unwrap().remove(0).unwrap();
    assert_eq!(point.vectors, title);
    assert_eq!(serde_json::Value::Object(point.payload), json!({"b": 2}));
}

async fn versions_never_go_back_and_order_within_a_call_holds(world: &World) {
    let store = &world.store;
    let c = &world.single(1, Distance::Dot).await;
    let put = |name: &str, version: u64| upsert(name, version, dense(&[1.0]), json!({"v": version}));
    store.apply(c, &[put("m:1", 50), put("m:2", 50)]).await.unwrap();
    let stamps = store
        .apply(c, &[put("m:1", 40), unpoint("m:2", 49), put("m:3", 1), unpoint("m:9", 7), put("m:4", 2)])
        .await
        .unwrap();
    assert_eq!(versions(&stamps), [Some(50), Some(50), Some(1), None, Some(2)]);
    // Same keys several times: put, delete, put; and the last word is the one told for all of them.
    let stamps = store
        .apply(
            c,
            &[put("m:3", 5), put("m:3", 6), unpoint("m:3", 6), put("m:3", 4), unpoint("m:1", 50), unpoint("m:4", 9)],
        )
        .await
        .unwrap();
    assert_eq!(versions(&stamps), [Some(4), Some(4), Some(4), Some(4), None, None]);
    assert_eq!(store.count(c).await.unwrap(), 2);
    // Repeating a call changes nothing.
    let again = [put("m:2", 60), unpoint("m:3", 60)];
    let first = store.apply(c, &again).await.unwrap();
    assert_eq!(store.apply(c, &again).await.unwrap(), first);
}

async fn a_wrong_shape_is_refused_before_anything_is_written(world: &World) {
    let store = &world.store;
    let c = &world.single(2, Distance::Cosine).await;
    let unknown = Vectors([("body".to_owned(), Vector::dense(vec![1.0, 2.0]).unwrap())].into());
    let sparse = Vectors::single(Vector::sparse(&[1, 2], &[1.0, 2.0]).unwrap());
    for wrong in [dense(&[1.0]), dense(&[1.0; 3]), unknown, sparse] {
        let writes = [upsert("m:1", 1, dense(&[1.0, 0.0]), empty()), upsert("m:2", 2, wrong, empty())];
        let error = store.apply(c, &writes).await.unwrap_err();
        assert_eq!((error.class, error.culprit), (Class::Refused, Some(key("m:2"))));
        assert_eq!(store.count(c).await.unwrap(), 0);
    }
}

async fn collections_are_made_once_and_missing_ones_are_configuration(world: &World) {
    let store = &world.store;
    let memory = collection(&world.name("memory"), 2, Distance::Cosine);
    let (one, two) = tokio::join!(store.create(&memory), store.create(&memory));
    one.unwrap();
    two.unwrap();
    let error = store.create(&collection(&memory.name, 3, Distance::Cosine)).await.unwrap_err();
    assert_eq!(error.class, Class::Configuration(Scope::Table));
    let odd = collection(&world.name("odd, name"), 1, Distance::Dot);
    store.create(&odd).await.unwrap();
    let there = store.collections().await.unwrap();
    assert_eq!((&there[&memory.name], &there[&odd.name]), (&memory, &odd));

    let nothing = &world.name("nothing");
    assert_eq!(store.apply(nothing, &[unpoint("m:1", 1)]).await.unwrap(), [None]);
    let error = store.apply(nothing, &[upsert("m:1", 1, dense(&[1.0]), empty())]).await.unwrap_err();
    assert_eq!(error.class, Class::Configuration(Scope::Table));
    assert_eq!(store.count(nothing).await.unwrap_err().class, Class::Configuration(Scope::Table));
}

async fn a_scan_pages_in_id_order(world: &World) {
    let store = &world.store;
    let c = &world.single(1, Distance::Dot).await;
    let writes: Vec<_> = (1..=25).map(|id| upsert(&format!("m:{id}"), id, dense(&[1.0]), empty())).collect();
    store.apply(c, &writes).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.scan(c, after, 4).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        seen.extend(page);
    }
    let mut want: Vec<_> = (1..=25).map(|id| (key(&format!("m:{id}")).point_id(), Some(Version(id)))).collect();
    want.sort_unstable();
    assert_eq!(seen.into_iter().map(|(id, stamp)| (id, stamp.version)).collect::<Vec<_>>(), want);
}

async fn ids_may_be_numbers(world: &World) {
    let store = &world.store;
    let c = &world.single(1, Distance::Dot).await;
    let put = |id: PointId, version: u64| PointWrite::Upsert {
        id,
        key: key(&format!("m:{version}")),
        version: Version(version),
        op: op(u128::from(version)),
        vectors: dense(&[1.0]),
        payload: Map::new(),
    };
    // Beyond 2^53 as well: an id is no float.
    let (small, large) = (PointId::Num(7), PointId::Num((1 << 53) + 1));
    let uuid = PointId::Uuid(Uuid::from_u128(7));
    store.apply(c, &[put(uuid, 3), put(large, 2), put(small, 1)]).await.unwrap();
    let ids = [large, small, uuid, PointId::Num(1 << 53)];
    assert_eq!(versions(&store.stamps(c, &ids).await.unwrap()), [Some(2), Some(1), Some(3), None]);
    assert_eq!(store.points(c, &ids).await.unwrap()[1].as_ref().unwrap().stamp.key, Some(key("m:1")));
    let stamps = store.apply(c, &[put(small, 9), PointWrite::Delete { id: large, version: Version(2) }]).await.unwrap();
    assert_eq!(versions(&stamps), [Some(9), None]);
    let first = store.scan(c, None, 1).await.unwrap();
    assert_eq!(first[0].0, small);
    let rest = store.scan(c, Some(small), 9).await.unwrap();
    assert_eq!(rest.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [uuid]);
}
