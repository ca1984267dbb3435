//! What is found before the first write.

use lockstep_model::{Distance, PointId, Shape, Stores, VectorKind};
use lockstep_stores::{Expected, Finding, Severity, VectorStore};
use serde_json::json;
use uuid::Uuid;

use crate::raw::Raw;
use crate::server::Server;
use crate::support::{collection, dense, empty, spec, upsert};
use crate::world::{World, on_both};

on_both!(what_differs_is_said_from_both_sides, what_is_as_expected_is_passed_over);

fn expected(collection: &str, vectors: &[(&str, u32)]) -> Expected {
    let shape = vectors.iter().map(|(name, size)| ((*name).to_owned(), spec(VectorKind::Dense, *size, Distance::Dot)));
    Expected {
        table: "memory:1".parse::<lockstep_model::Key>().unwrap().table,
        collection: collection.to_owned(),
        shape: Some(Shape(shape.collect())),
        payload: Vec::new(),
        stores: Stores::Both,
        may_create: false,
        hashed_ids: true,
    }
}

fn about<'a>(findings: &'a [Finding], words: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|finding| finding.found.contains(words)).collect()
}

async fn what_differs_is_said_from_both_sides(world: &World) {
    let c = &world.create(collection("memory", 3, Distance::Dot)).await;
    let missing = world.name("nothing");
    let tables =
        [expected(c, &[("default", 4), ("title", 2)]), expected(c, &[]), expected(&missing, &[("default", 4)])];
    let findings = world.store.preflight(&tables).await.unwrap();
    let size = about(&findings, "dense of 3 dimensions by dot in the collection, and dense of 4 dimensions by dot");
    assert_eq!((size.len(), size[0].severity, size[0].subject.as_ref()), (1, Severity::Error, Some(c)));
    assert_eq!(about(&findings, "has a vector \"title\" (dense of 2 dimensions by dot), the collection has").len(), 1);
    assert_eq!(about(&findings, "that the configuration does not name").len(), 1);
    let missing = about(&findings, "there is no collection");
    assert_eq!(missing.len(), 1);
    assert!(missing[0].remedy.contains("auto_create") && missing[0].remedy.contains("4 dimensions"));
    let allowed = Expected { may_create: true, ..tables[2].clone() };
    let findings = world.store.preflight(&[allowed]).await.unwrap();
    assert_eq!(about(&findings, "there is no collection")[0].severity, Severity::Info, "the first write makes it");
}

async fn what_is_as_expected_is_passed_over(world: &World) {
    let c = &world.create(collection("memory", 3, Distance::Dot)).await;
    world.store.apply(c, &[upsert("m:1", 1, dense(&[1.0; 3]), empty())]).await.unwrap();
    let elsewhere = Expected { stores: Stores::Surreal, ..expected(&world.name("nothing"), &[("default", 1)]) };
    let unknown = Expected { shape: None, ..expected(c, &[]) };
    let findings = world.store.preflight(&[expected(c, &[("default", 3)]), elsewhere, unknown]).await.unwrap();
    assert_eq!(findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn points_of_others_and_missing_indexes_are_counted() {
    let server = Server::start(&[]).await;
    let (store, mut raw) = (server.store(), Raw::connect(&server).await);
    raw.single("c", 1).await;
    raw.upsert("c", PointId::Num(1), vec![1.0], json!({"title": "theirs"})).await;
    raw.upsert("c", PointId::Uuid(Uuid::from_u128(1)), vec![1.0], json!({"_lockstep": {"v": null}})).await;
    store.apply("c", &[upsert("m:1", 1, dense(&[1.0]), empty())]).await.unwrap();
    let mut table = expected("c", &[("default", 1)]);
    table.payload = vec!["title".to_owned()];
    let findings = store.preflight(std::slice::from_ref(&table)).await.unwrap();
    assert_eq!(findings.len(), 3, "{findings:?}");
    let theirs = about(&findings, "2 points carry no _lockstep");
    assert_eq!(theirs[0].severity, Severity::Warning);
    assert!(theirs[0].remedy.contains("second point"));
    assert_eq!(about(&findings, "_lockstep.v has no index")[0].severity, Severity::Warning);
    let title = about(&findings, "\"title\" has no index");
    assert!(title[0].remedy.contains("PUT /collections/c/index"));
    table.hashed_ids = false;
    let findings = store.preflight(&[table]).await.unwrap();
    assert!(about(&findings, "2 points")[0].remedy.contains("replaces the point"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_update_filters_is_an_error() {
    let server = Server::start(&["--version", "1.15.5"]).await;
    let findings = server.store().preflight(&[]).await.unwrap();
    assert_eq!((findings.len(), findings[0].severity), (1, Severity::Error));
    assert!(findings[0].found.contains("1.15.5"));
}
