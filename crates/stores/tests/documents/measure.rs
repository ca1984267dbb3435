//! How fast the adapters are. Run by hand: `cargo test -p lockstep-stores --features measure measure -- --nocapture`.

use std::time::Instant;

use lockstep_stores::{DocumentStore, ImageAsk, Want};
use serde_json::json;

use crate::place::Place;
use crate::support::{delete, dense, ends, key, put_with};

crate::place::everywhere!(measure_documents);

const BATCH: u64 = 128;
const BATCHES: u64 = 8;

fn vector(id: u64) -> Vec<f32> {
    (0..384).map(|place| ((id * 31 + place * 7) % 1009) as f32 / 1009.0 - 0.5).collect()
}

fn report(what: &str, count: u64, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what:55} {:>9.0}/s  {:>8.2} ms a batch", count as f64 / seconds, seconds * 1e3 / BATCHES as f64);
}

async fn measure_documents(place: Place) {
    let store = place.store().await;
    let document = json!({"title": "a title", "body": "lorem ipsum ".repeat(40), "n": 1, "tags": ["a", "b"]});
    for kept in [false, true] {
        let table = if kept { "kept" } else { "plain" };
        let put = |id: u64, version: u64, create: bool| {
            let vectors = kept.then(|| dense(&vector(id)));
            put_with(&format!("{table}:{id}"), version, document.clone(), vectors, None, create)
        };
        for (what, version, create, base) in
            [("create", 1, true, 0), ("replace", 2, false, 0), ("put where nothing is", 3, false, 1_000_000)]
        {
            let started = Instant::now();
            for batch in 0..BATCHES {
                let writes: Vec<_> = (0..BATCH).map(|id| put(base + batch * BATCH + id, version, create)).collect();
                store.apply(&writes, &[]).await.unwrap();
            }
            report(&format!("{what}, vectors kept: {kept}"), BATCH * BATCHES, started);
        }
    }
    for (what, version) in [("relate, new", 1), ("relate, again", 2)] {
        let started = Instant::now();
        for batch in 0..BATCHES {
            let writes: Vec<_> = (0..BATCH)
                .map(|id| {
                    let ends = ends(&format!("plain:{}", batch * BATCH + id), &format!("kept:{id}"));
                    put_with(&format!("edge:{}", batch * BATCH + id), version, json!({"w": 1}), None, Some(ends), false)
                })
                .collect();
            store.apply(&writes, &[]).await.unwrap();
        }
        report(what, BATCH * BATCHES, started);
    }
    for (want, edges) in [(Want::Stamp, false), (Want::Stamp, true), (Want::Whole, false)] {
        let started = Instant::now();
        for batch in 0..BATCHES {
            let asks: Vec<_> = (0..BATCH)
                .map(|id| ImageAsk { key: key(&format!("kept:{}", batch * BATCH + id)), want, edges })
                .collect();
            store.images(&asks).await.unwrap();
        }
        report(&format!("images {want:?}, edges: {edges}"), BATCH * BATCHES, started);
    }
    let started = Instant::now();
    for batch in 0..BATCHES {
        let writes: Vec<_> = (0..BATCH).map(|id| delete(&format!("kept:{}", batch * BATCH + id), 9)).collect();
        store.apply(&writes, &[]).await.unwrap();
    }
    report("delete, vectors kept, some with edges", BATCH * BATCHES, started);
    let started = Instant::now();
    for id in 0..50 {
        store.apply(&[put_with(&format!("one:{id}"), 1, document.clone(), None, None, true)], &[]).await.unwrap();
    }
    println!("{:55} {:>9.2} ms each", "create one by one", started.elapsed().as_secs_f64() * 20.0);
}
