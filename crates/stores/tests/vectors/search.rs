//! Searches: nearest first, by every distance, through filters; in Edge before and after an index.

use lockstep_model::{DEFAULT_VECTOR, Distance, Filter, Shape, Vector, VectorKind, Vectors};
use lockstep_stores::{Class, Collection, EdgeStore, SearchAsk, VectorStore};
use serde_json::json;

use crate::support::{collection, dense, empty, object, spec, upsert};
use crate::world::{World, on_both};

on_both!(
    the_nearest_come_first_by_every_distance,
    sparse_and_multi_vectors_are_searched_by_name,
    every_kind_of_vector_may_be_the_only_one,
    filters_mean_what_the_model_says,
);

fn ask(vector: Vector, limit: usize) -> SearchAsk {
    SearchAsk { vector, using: DEFAULT_VECTOR.to_owned(), limit, offset: 0, filter: None }
}

async fn ids(store: &dyn VectorStore, collection: &str, ask: &SearchAsk) -> Vec<String> {
    let hits = store.search(collection, ask).await.unwrap();
    hits.into_iter().map(|hit| hit.stamp.key.unwrap().id.to_string()).collect()
}

async fn the_nearest_come_first_by_every_distance(world: &World) {
    let store = &*world.store;
    for (distance, want) in [
        (Distance::Cosine, ["a", "c", "b"]),
        (Distance::Dot, ["c", "a", "b"]),
        (Distance::Euclid, ["a", "b", "c"]),
        (Distance::Manhattan, ["a", "b", "c"]),
    ] {
        let name = world.single(2, distance).await;
        let points = [("a", [1.0, 0.1]), ("b", [0.0, 1.0]), ("c", [9.0, 4.0])];
        let writes: Vec<_> = points.iter().map(|(id, at)| upsert(&format!("m:{id}"), 1, dense(at), empty())).collect();
        store.apply(&name, &writes).await.unwrap();
        let mut ask = ask(Vector::dense(vec![1.0, 0.0]).unwrap(), 10);
        assert_eq!(ids(store, &name, &ask).await, want, "{distance}");
        (ask.offset, ask.limit) = (1, 1);
        assert_eq!(ids(store, &name, &ask).await, want[1..2]);
        ask.limit = 0;
        assert!(ids(store, &name, &ask).await.is_empty());
    }
}

/// A vector without a name is called `default`, whatever it is. Edge writes a sparse one that has no name, and panics when it reads it.
async fn every_kind_of_vector_may_be_the_only_one(world: &World) {
    let store = &*world.store;
    let sparse = |at: u32| Vector::sparse(&[at, 9], &[1.0, 0.1]).unwrap();
    for (kind, size, first, second) in [
        (VectorKind::Dense, 2, Vector::dense(vec![1.0, 0.0]).unwrap(), Vector::dense(vec![0.0, 1.0]).unwrap()),
        (VectorKind::Sparse, 0, sparse(1), sparse(2)),
        (
            VectorKind::Multi,
            2,
            Vector::multi(2, vec![1.0, 0.0, 2.0, 0.0]).unwrap(),
            Vector::multi(2, vec![0.0, 1.0]).unwrap(),
        ),
    ] {
        let shape = Shape([(DEFAULT_VECTOR.to_owned(), spec(kind, size, Distance::Dot))].into());
        let only = &world.create(Collection { name: format!("only-{kind:?}").to_lowercase(), shape }).await;
        let (first, second) = (Vectors::single(first), Vectors::single(second));
        let writes = [upsert("m:a", 1, first.clone(), empty()), upsert("m:b", 2, second.clone(), empty())];
        store.apply(only, &writes).await.unwrap();
        let points = store.points(only, &[writes[0].id(), writes[1].id()]).await.unwrap();
        let shown: Vec<_> = points.into_iter().map(|point| point.unwrap().vectors).collect();
        assert_eq!(shown, [first, second.clone()]);
        let nearest = ask(second.0[DEFAULT_VECTOR].clone(), 1);
        assert_eq!(ids(store, only, &nearest).await, ["b"], "{kind:?}");
    }
}

async fn sparse_and_multi_vectors_are_searched_by_name(world: &World) {
    let store = &*world.store;
    let shape = Shape(
        [
            ("words".to_owned(), spec(VectorKind::Sparse, 0, Distance::Dot)),
            ("parts".to_owned(), spec(VectorKind::Multi, 2, Distance::Dot)),
        ]
        .into(),
    );
    let m = &world.create(Collection { name: "m".to_owned(), shape }).await;
    let vectors = |word: u32, part: [f32; 4]| {
        let words = Vector::sparse(&[word, 99], &[1.0, 0.1]).unwrap();
        Vectors([("words".to_owned(), words), ("parts".to_owned(), Vector::multi(2, part.to_vec()).unwrap())].into())
    };
    let writes = [
        upsert("m:a", 1, vectors(1, [1.0, 0.0, 0.0, 1.0]), empty()),
        upsert("m:b", 2, vectors(2, [5.0, 0.0, 0.0, 0.0]), empty()),
    ];
    store.apply(m, &writes).await.unwrap();
    let by = |using: &str, vector| SearchAsk { using: using.to_owned(), ..ask(vector, 2) };
    assert_eq!(ids(store, m, &by("words", Vector::sparse(&[2], &[1.0]).unwrap())).await, ["b"]);
    assert_eq!(ids(store, m, &by("parts", Vector::multi(2, vec![0.0, 3.0, 0.0, 3.0]).unwrap())).await, ["a", "b"]);
    assert_eq!(ids(store, m, &by("parts", Vector::dense(vec![1.0, 0.0]).unwrap())).await, ["b", "a"]);
    for wrong in [
        by("default", Vector::dense(vec![1.0]).unwrap()),
        by("parts", Vector::dense(vec![1.0]).unwrap()),
        by("words", Vector::dense(vec![1.0]).unwrap()),
    ] {
        assert_eq!(store.search(m, &wrong).await.unwrap_err().class, Class::Refused);
    }
    assert!(matches!(
        store.search(&world.name("none"), &ask(Vector::dense(vec![1.0]).unwrap(), 1)).await.unwrap_err().class,
        Class::Configuration(_)
    ));
}

async fn filters_mean_what_the_model_says(world: &World) {
    let payloads = [
        json!({"s": "x", "n": 1, "f": 0.5, "b": true, "t": "2026-01-29T00:00:00Z", "tags": ["a", "b"], "a.b": 1, "q\"": "y"}),
        json!({"s": "y", "n": 1.0, "f": 2, "b": false, "t": "2026-01-30T12:00:00.5Z", "tags": [], "z": null}),
        json!({"s": null, "n": -3, "tags": ["c", null], "t": "2026-01-29T01:00:00+01:00"}),
        json!({"n": 9_007_199_254_740_993_i64, "s": "1", "tags": "a"}),
    ];
    let store = &*world.store;
    let m = &world.single(1, Distance::Dot).await;
    let writes: Vec<_> = (1_u64..)
        .zip(&payloads)
        .map(|(id, payload)| upsert(&format!("m:{id}"), id, dense(&[1.0]), payload.clone()))
        .collect();
    store.apply(m, &writes).await.unwrap();
    for filter in [
        json!({"s": "x"}),
        json!({"s": null}),
        json!({"missing": null}),
        json!({"z": null}),
        json!({"n": 1}),
        json!({"n": 1.0}),
        json!({"n": 9_007_199_254_740_993_i64}),
        json!({"n": 9_007_199_254_740_992_i64}),
        json!({"f": 0.5}),
        json!({"f": 2.0}),
        json!({"b": true}),
        json!({"b": false}),
        json!({"tags": "a"}),
        json!({"tags": ["a", "c"]}),
        json!({"n": [1, -3]}),
        json!({"s": ["x", null, 1]}),
        json!({"n": {"gte": 0, "lt": 2}}),
        json!({"n": {"gt": -3}}),
        json!({"f": {"lte": 0.5}}),
        json!({"t": {"gte": "2026-01-29T00:00:00Z", "lt": "2026-01-30T00:00:00Z"}}),
        json!({"t": {"gt": "2026-01-30T12:00:00.4Z"}}),
        json!({"a.b": 1}),
        json!({"not": {"s": "x"}}),
        json!({"not": {"missing": 1}}),
        json!({"all": [{"s": "x"}, {"n": 1}]}),
        json!({"any": [{"s": "x"}, {"n": -3}]}),
        json!({"s": "y", "n": 1}),
        json!({"all": [{"any": [{"n": 1}, {"s": "1"}]}, {"not": {"all": [{"b": true}, {"f": 0.5}]}}]}),
    ] {
        let parsed = Filter::from_json(&filter).unwrap();
        let mut found =
            ids(store, m, &SearchAsk { filter: Some(parsed.clone()), ..ask(Vector::dense(vec![1.0]).unwrap(), 10) })
                .await;
        found.sort();
        let want: Vec<String> = (1..)
            .zip(&payloads)
            .filter(|(_, payload)| parsed.matches(&object((*payload).clone())))
            .map(|(id, _): (u32, _)| id.to_string())
            .collect();
        assert_eq!(found, want, "{filter}");
    }
}

/// A server reads a path where Edge takes a name: there is no way to write a quote in it, and asking for another field would be worse.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_with_a_quote_is_found_in_edge_and_refused_by_a_server() {
    for (world, finds) in [(World::edge().await, true), (World::qdrant().await, false)] {
        let m = &world.single(1, Distance::Dot).await;
        world.store.apply(m, &[upsert("m:1", 1, dense(&[1.0]), json!({"q\"": "y"}))]).await.unwrap();
        let filter = Some(Filter::from_json(&json!({"q\"": "y"})).unwrap());
        let ask = SearchAsk { filter, ..ask(Vector::dense(vec![1.0]).unwrap(), 10) };
        let answer = world.store.search(m, &ask).await;
        match answer {
            Ok(hits) => assert!(finds && hits.len() == 1),
            Err(error) => assert!(!finds && error.class == Class::Refused, "{error}"),
        }
    }
}

/// Eight numbers that say everything of an embedding: unlike noise in many dimensions, they have neighbours.
fn seeds(id: u64) -> [f32; 8] {
    let mut state = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    for _ in 0..8 {
        next();
    }
    std::array::from_fn(|_| next())
}

/// The seeds again and again, so that few points are many bytes.
fn embedding(id: u64) -> Vec<f32> {
    seeds(id).repeat(WIDE / 8)
}

const WIDE: usize = 8192;

fn nearest(id: u64, among: u64) -> Vec<String> {
    let dot = |a: &[f32; 8], b: &[f32; 8]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let query = seeds(id);
    let distance = |other: u64| {
        let other = seeds(other);
        -dot(&query, &other) / (dot(&query, &query) * dot(&other, &other)).sqrt()
    };
    let mut all: Vec<(f64, u64)> = (0..among).map(|other| (distance(other), other)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.into_iter().take(10).map(|(_, id)| id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn searching_stays_right_while_and_after_it_is_optimised() {
    const POINTS: u64 = 360;
    let dir = tempfile::tempdir().unwrap();
    let store = EdgeStore::open(dir.path()).await.unwrap();
    // 11 MiB are more than Edge leaves without an index.
    store.create(&collection("m", WIDE as u32, Distance::Cosine)).await.unwrap();
    assert!(!store.optimize().await.unwrap());
    let point = |id: u64, version| upsert(&format!("m:{id}"), version, dense(&embedding(id)), empty());
    for start in (0..POINTS).step_by(90) {
        let writes: Vec<_> = (start..start + 90).map(|id| point(id, id + 1)).collect();
        store.apply("m", &writes).await.unwrap();
    }
    let recall = async |store: &EdgeStore, id: u64| {
        let found = ids(store, "m", &ask(Vector::dense(embedding(id)).unwrap(), 10)).await;
        let want = nearest(id, POINTS);
        found.iter().filter(|id| want.contains(id)).count()
    };
    assert_eq!(recall(&store, 7).await, 10, "exact without an index");
    let optimising = tokio::spawn({
        let store = store.clone();
        async move { store.optimize().await.unwrap() }
    });
    let (mut rounds, mut right) = (0, 0);
    while !optimising.is_finished() || rounds < 20 {
        // Not all of them: an optimisation whose points have all been written again meanwhile did nothing.
        let id = rounds * 37 % 100;
        rounds += 1;
        right += recall(&store, id).await;
        // Updates go on beside it.
        store.apply("m", &[point(id, 10_000 + rounds)]).await.unwrap();
    }
    assert!(optimising.await.unwrap());
    let average = right as f64 / rounds as f64;
    assert!(average >= 9.5, "{average} of 10 over {rounds} searches");
    assert_eq!(store.count("m").await.unwrap(), POINTS);
    store.flush().await.unwrap();
    drop(store);
    let store = EdgeStore::open(dir.path()).await.unwrap();
    assert_eq!(store.count("m").await.unwrap(), POINTS);
    assert!(recall(&store, 150).await >= 9);
}
