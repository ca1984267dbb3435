//! When points are on disk, and what a crash leaves.

use std::path::Path;

use lockstep_model::Distance;
use lockstep_stores::{EdgeStore, VectorStore};

use crate::support::{collection, dense, empty, unpoint, upsert};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

async fn count_in_copy(dir: &Path) -> u64 {
    let copied = tempfile::tempdir().unwrap();
    copy(dir, copied.path());
    EdgeStore::open(copied.path()).await.unwrap().count("memory").await.unwrap()
}

/// The trap: `load()` never replays Edge's log of updates. If this fails after an upgrade, Edge has become
/// durable earlier, and checkpoints could be rarer.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_flush_loses_points() {
    let dir = tempfile::tempdir().unwrap();
    let store = EdgeStore::open(dir.path()).await.unwrap();
    store.create(&collection("memory", 8, Distance::Dot)).await.unwrap();
    let writes: Vec<_> = (1..=1000).map(|id| upsert(&format!("m:{id}"), id, dense(&[1.0; 8]), empty())).collect();
    store.apply("memory", &writes).await.unwrap();
    assert_eq!(count_in_copy(dir.path()).await, 0);
    store.flush().await.unwrap();
    assert_eq!(count_in_copy(dir.path()).await, 1000);
    store.apply("memory", &[unpoint("m:1", 2000)]).await.unwrap();
    assert_eq!(count_in_copy(dir.path()).await, 1000);
    store.flush().await.unwrap();
    assert_eq!(count_in_copy(dir.path()).await, 999);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_still_count_after_a_crash_without_flush() {
    let dir = tempfile::tempdir().unwrap();
    let store = EdgeStore::open(dir.path()).await.unwrap();
    store.create(&collection("memory", 1, Distance::Dot)).await.unwrap();
    store.apply("memory", &[upsert("m:1", 1, dense(&[1.0]), empty())]).await.unwrap();
    store.flush().await.unwrap();
    store.apply("memory", &[upsert("m:1", 2, dense(&[2.0]), empty())]).await.unwrap();
    let copied = tempfile::tempdir().unwrap();
    copy(dir.path(), copied.path());
    let store = EdgeStore::open(copied.path()).await.unwrap();
    let stamps = store.apply("memory", &[upsert("m:1", 3, dense(&[3.0]), empty())]).await.unwrap();
    assert_eq!(stamps[0].as_ref().unwrap().version.unwrap().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_short_is_swept_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = EdgeStore::open(dir.path()).await.unwrap();
    store.create(&collection("memory", 1, Distance::Dot)).await.unwrap();
    drop(store);
    let half = dir.path().join(".new-half");
    std::fs::create_dir_all(half.join("segments")).unwrap();
    std::fs::write(half.join("edge_config.json"), "{").unwrap();
    std::fs::write(dir.path().join("stray file"), "x").unwrap();
    let store = EdgeStore::open(dir.path()).await.unwrap();
    assert_eq!(store.collections().await.unwrap().len(), 1);
    assert!(!half.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = EdgeStore::open(dir.path()).await.unwrap();
    store.create(&collection("memory", 1, Distance::Dot)).await.unwrap();
    let error = EdgeStore::open(dir.path()).await.unwrap_err();
    assert!(error.detail.contains("memory"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flushes_and_updates_and_searches_go_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let store = EdgeStore::open(dir.path()).await.unwrap();
    store.create(&collection("memory", 4, Distance::Dot)).await.unwrap();
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..60_u64 {
                let writes: Vec<_> = (0..20)
                    .map(|id| upsert(&format!("m:{id}"), round * 20 + id + 1, dense(&[1.0; 4]), empty()))
                    .collect();
                store.apply("memory", &writes).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        store.flush().await.unwrap();
        store.optimize().await.unwrap();
        assert!(store.count("memory").await.unwrap() <= 20);
    }
    writer.await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(count_in_copy(dir.path()).await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_there_again_with_their_names_and_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let store = EdgeStore::open(dir.path()).await.unwrap();
    let odd = collection("../odd name", 1, Distance::Dot);
    store.create(&odd).await.unwrap();
    drop(store);
    let store = EdgeStore::open(dir.path()).await.unwrap();
    assert_eq!(store.collections().await.unwrap()["../odd name"], odd);
}
