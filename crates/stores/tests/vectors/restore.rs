//! Taking back what an operation of a group did to a point: exactly that, and nothing that came after it.

use lockstep_model::{Distance, Version};
use lockstep_stores::{Point, PointStamp, PointWrite};
use serde_json::json;

use crate::support::{dense, key, object, op, restore, unpoint, upsert, versions};
use crate::world::{World, on_both};

on_both!(
    what_was_overwritten_comes_back,
    what_was_created_goes,
    what_was_deleted_comes_back,
    what_others_wrote_comes_back_without_a_stamp,
    what_is_newer_stays,
);

async fn point(world: &World, c: &str, name: &str) -> Option<Point> {
    world.store.points(c, &[key(name).point_id()]).await.unwrap().remove(0)
}

async fn what_was_overwritten_comes_back(world: &World) {
    let c = &world.single(2, Distance::Dot).await;
    world.store.apply(c, &[upsert("m:1", 5, dense(&[1.0, 2.0]), json!({"a": 1}))]).await.unwrap();
    let before = point(world, c, "m:1").await;
    world.store.apply(c, &[upsert("m:1", 9, dense(&[3.0, 4.0]), json!({"b": 2}))]).await.unwrap();
    let undo = restore("m:1", 9, before.clone());
    let stamps = world.store.apply(c, std::slice::from_ref(&undo)).await.unwrap();
    assert_eq!(stamps, [before.as_ref().map(|point| point.stamp.clone())]);
    assert_eq!(point(world, c, "m:1").await, before);
    // Again: it carries what it did before, and stays.
    assert_eq!(versions(&world.store.apply(c, &[undo]).await.unwrap()), [Some(5)]);
    assert_eq!(point(world, c, "m:1").await, before);
}

async fn what_was_created_goes(world: &World) {
    let c = &world.single(1, Distance::Dot).await;
    world.store.apply(c, &[upsert("m:1", 9, dense(&[1.0]), json!({}))]).await.unwrap();
    let undos = [restore("m:1", 9, None), restore("m:2", 9, None)];
    assert_eq!(world.store.apply(c, &undos).await.unwrap(), [None, None]);
    assert_eq!(world.store.apply(c, &undos).await.unwrap(), [None, None]);
    assert_eq!(world.store.count(c).await.unwrap(), 0);
}

async fn what_was_deleted_comes_back(world: &World) {
    let c = &world.single(1, Distance::Dot).await;
    world.store.apply(c, &[upsert("m:1", 5, dense(&[1.0]), json!({"a": [1, {"b": null}]}))]).await.unwrap();
    let before = point(world, c, "m:1").await;
    world.store.apply(c, &[unpoint("m:1", 9)]).await.unwrap();
    world.store.apply(c, &[restore("m:1", 9, before.clone())]).await.unwrap();
    assert_eq!(point(world, c, "m:1").await, before);
}

async fn what_others_wrote_comes_back_without_a_stamp(world: &World) {
    let c = &world.single(1, Distance::Dot).await;
    let none = PointStamp { version: None, op: None, key: None };
    let foreign = Point { stamp: none.clone(), vectors: dense(&[7.0]), payload: object(json!({"theirs": true})) };
    world.store.apply(c, &[upsert("m:1", 9, dense(&[1.0]), json!({}))]).await.unwrap();
    let undo = restore("m:1", 9, Some(foreign.clone()));
    assert_eq!(world.store.apply(c, std::slice::from_ref(&undo)).await.unwrap(), [Some(none.clone())]);
    assert_eq!(point(world, c, "m:1").await, Some(foreign.clone()));
    // Theirs again, with something in the place of a stamp: it is not what the operation wrote.
    let theirs = object(json!({"_lockstep": {"v": "9", "op": 1}, "theirs": 2}));
    let point_with = Point { payload: theirs, ..foreign.clone() };
    world.store.apply(c, &[unpoint("m:1", 10), restore("m:1", 10, Some(point_with))]).await.unwrap();
    assert_eq!(world.store.stamps(c, &[key("m:1").point_id()]).await.unwrap(), [Some(none.clone())]);
    world.store.apply(c, &[undo, restore("m:1", 9, None)]).await.unwrap();
    assert_eq!(point(world, c, "m:1").await.unwrap().payload, object(json!({"theirs": 2})));
    // A put takes it over.
    let put = upsert("m:1", 11, dense(&[1.0]), json!({}));
    assert_eq!(versions(&world.store.apply(c, &[put]).await.unwrap()), [Some(11)]);
}

async fn what_is_newer_stays(world: &World) {
    let c = &world.single(1, Distance::Dot).await;
    let put = |name: &str, version| upsert(name, version, dense(&[1.0]), json!({"v": version}));
    world.store.apply(c, &[put("m:1", 12), put("m:2", 12), put("m:3", 8)]).await.unwrap();
    let old = point(world, c, "m:3").await.map(|point| Point {
        stamp: PointStamp { version: Some(Version(5)), op: Some(op(5)), key: Some(key("m:1")) },
        ..point
    });
    let undos: [PointWrite; 3] = [restore("m:1", 9, old.clone()), restore("m:2", 9, None), restore("m:3", 9, old)];
    assert_eq!(versions(&world.store.apply(c, &undos).await.unwrap()), [Some(12), Some(12), Some(8)]);
}
