//! How fast Edge is. Run by hand: `cargo test -p lockstep-stores --features measure measure -- --nocapture`.

use std::time::Instant;

use lockstep_model::{DEFAULT_VECTOR, Distance, Vector};
use lockstep_stores::{EdgeStore, SearchAsk, VectorStore};
use serde_json::json;

use crate::support::{collection, dense, upsert};

fn vector(id: u64) -> Vec<f32> {
    (0..384).map(|place| ((id * 31 + place * 7) % 1009) as f32 / 1009.0 - 0.5).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn measure_points() {
    let dir = tempfile::tempdir().unwrap();
    let store = EdgeStore::open(dir.path()).await.unwrap();
    store.create(&collection("m", 384, Distance::Cosine)).await.unwrap();
    for (what, version) in [("upsert, new", 1), ("upsert, again", 2)] {
        let (mut writing, mut flushing) = (0.0, 0.0);
        for start in (0..8000).step_by(128) {
            let payload = json!({"title": "a title", "n": start});
            let writes: Vec<_> = (start..start + 128)
                .map(|id| upsert(&format!("m:{id}"), version, dense(&vector(id)), payload.clone()))
                .collect();
            let started = Instant::now();
            store.apply("m", &writes).await.unwrap();
            writing += started.elapsed().as_secs_f64();
            if start % 1024 == 0 {
                let started = Instant::now();
                store.flush().await.unwrap();
                flushing += started.elapsed().as_secs_f64();
            }
        }
        println!("{what:30} {:>8.0}/s, a flush after 1,024 of them {:.1} ms", 8064.0 / writing, flushing / 8.0 * 1e3);
    }
    let search = async |what: &str| {
        let started = Instant::now();
        for id in 0..20 {
            let vector = Vector::dense(vector(id * 17)).unwrap();
            let ask = SearchAsk { vector, using: DEFAULT_VECTOR.to_owned(), limit: 10, offset: 0, filter: None };
            store.search("m", &ask).await.unwrap();
        }
        println!("{what:30} {:>8.2} ms", started.elapsed().as_secs_f64() * 50.0);
    };
    search("search, exact").await;
    let started = Instant::now();
    let did = store.optimize().await.unwrap();
    println!("optimize did something: {did}, {:.1} s", started.elapsed().as_secs_f64());
    search("search, optimised").await;
}
