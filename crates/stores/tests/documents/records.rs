//! Documents in SurrealDB: creating, replacing, deleting, fences, read-backs, kept vectors.

use lockstep_model::{Vectors, Version};
use lockstep_stores::{Claimant, Class, DocWrite, DocumentStore, ImageAsk, ReadBack, Want};
use serde_json::{Value as Json, json};

use crate::place::Place;
use crate::support::{
    claimant, create, delete, dense, document_at, empty, group_at, image, key, op, put, put_with, table, version,
};

crate::place::everywhere!(
    a_put_makes_the_record_exactly_the_document,
    an_integer_id_and_a_text_that_looks_like_one_are_two_records,
    a_create_over_a_record_fails_whole,
    a_version_never_goes_back,
    replaying_a_write_changes_nothing,
    a_broken_stamp_does_not_lock_a_key_for_ever,
    a_refusal_names_its_culprit_and_leaves_nothing,
    what_is_not_there_reads_as_nothing,
    a_scan_pages_through_keys_of_both_kinds_and_past_foreign_ids,
    a_store_belongs_to_one_log,
    a_fence_without_an_epoch_is_from_an_older_version,
    a_group_fails_whole_when_a_fence_holds_one_of_it_back,
    a_scan_gives_documents_in_the_same_order,
);

async fn a_put_makes_the_record_exactly_the_document(place: Place) {
    let store = place.store().await;
    let read = store.apply(&[create("memory:1", 5, json!({"a": 1, "b": {"c": [1, null]}}))], &[]).await.unwrap();
    let ReadBack::There(stamp) = read[0] else { panic!("{read:?}") };
    assert_eq!((stamp.version, stamp.op, stamp.created), (Version(5), op(5), true));

    let read =
        store.apply(&[put("memory:1", 6, json!({"a": 2})), put("memory:x y", 7, json!({"z": 1}))], &[]).await.unwrap();
    assert_eq!(read.iter().copied().map(version).collect::<Vec<_>>(), [Some(6), Some(7)]);
    let ReadBack::There(stamp) = read[1] else { panic!() };
    assert!(!stamp.created, "only an INSERT that may fail proves that it created");
    assert_eq!(document_at(&store, "memory:1").await, json!({"a": 2}));
    assert_eq!(document_at(&store, "memory:x y").await, json!({"z": 1}));
}

async fn an_integer_id_and_a_text_that_looks_like_one_are_two_records(place: Place) {
    let store = place.store().await;
    store.apply(&[create("memory:1", 1, json!({"a": 1})), create("memory:01", 2, json!({"a": 2}))], &[]).await.unwrap();
    assert_eq!(document_at(&store, "memory:1").await, json!({"a": 1}));
    assert_eq!(document_at(&store, "memory:01").await, json!({"a": 2}));
    assert_eq!(store.query("SELECT VALUE id FROM memory:1").await, json!([{"$record": "memory:1"}]));
}

async fn a_create_over_a_record_fails_whole(place: Place) {
    let store = place.store().await;
    store.apply(&[create("memory:1", 1, empty())], &[]).await.unwrap();
    let batch = [create("memory:2", 2, empty()), create("person:1", 3, empty()), create("memory:1", 4, empty())];
    let error = store.apply(&batch, &[]).await.unwrap_err();
    assert_eq!(error.class, Class::Exists, "{error}");
    assert_eq!(error.culprit, Some(key("memory:1")));
    assert_eq!(document_at(&store, "memory:2").await, Json::Null);
    assert_eq!(document_at(&store, "person:1").await, Json::Null);
}

async fn a_version_never_goes_back(place: Place) {
    let store = place.store().await;
    store.apply(&[put_with("memory:1", 50, json!({"a": 50}), Some(dense(&[50.0])), None, false)], &[]).await.unwrap();
    let late = [
        put_with("memory:1", 40, json!({"a": 40}), Some(dense(&[40.0])), None, false),
        put_with("memory:2", 40, json!({"a": 40}), Some(dense(&[40.0])), None, false),
    ];
    let read = store.apply(&late, &[]).await.unwrap();
    assert_eq!(read.into_iter().map(version).collect::<Vec<_>>(), [Some(50), Some(40)]);
    let held = image(&store, "memory:1").await.found.unwrap();
    assert_eq!(Json::Object(held.document.to_json()), json!({"a": 50}));
    assert_eq!(held.kept.unwrap().vectors, dense(&[50.0]), "kept vectors follow the fence of their record");
    assert_eq!(image(&store, "memory:2").await.found.unwrap().kept.unwrap().vectors, dense(&[40.0]));

    let gone = put_with("memory:1", 45, empty(), Some(Vectors::default()), None, false);
    store.apply(&[gone], &[]).await.unwrap();
    assert!(image(&store, "memory:1").await.found.unwrap().kept.is_some());

    assert_eq!(
        store.apply(&[delete("memory:1", 49)], &[]).await.unwrap().into_iter().map(version).collect::<Vec<_>>(),
        [Some(50)]
    );
    assert_eq!(store.apply(&[delete("memory:1", 50)], &[]).await.unwrap(), [ReadBack::Absent]);
    assert_eq!(store.query("SELECT VALUE id.id() FROM lockstep_vector").await, json!([["memory", 2]]));
}

async fn replaying_a_write_changes_nothing(place: Place) {
    let store = place.store().await;
    let writes = [put_with("memory:1", 5, json!({"a": 1}), Some(dense(&[1.0])), None, false), delete("memory:2", 6)];
    let first = store.apply(&writes, &[]).await.unwrap();
    let before = image(&store, "memory:1").await;
    assert_eq!(store.apply(&writes, &[]).await.unwrap(), first);
    assert_eq!(image(&store, "memory:1").await, before);
}

async fn a_broken_stamp_does_not_lock_a_key_for_ever(place: Place) {
    let script = "CREATE memory:1 SET _lockstep = 'mine';
        CREATE memory:2 SET _lockstep = { v: 'high' };
        CREATE memory:3 SET _lockstep = { v: 9223372036854775807, op: rand::uuid() };
        CREATE memory:4 SET _lockstep = { v: 1e300 };
        CREATE memory:5 SET _lockstep = { v: 99 };
        CREATE memory:6;";
    let store = place.store_after(script).await;
    let asks: Vec<_> =
        (1..=6).map(|id| ImageAsk { key: key(&format!("memory:{id}")), want: Want::Stamp, edges: false }).collect();
    for image in store.images(&asks).await.unwrap() {
        assert_eq!(image.found.unwrap().stamp, None, "{}", image.key);
    }
    let puts: Vec<_> = (1..=6).map(|id| put(&format!("memory:{id}"), 7, json!({"ours": true}))).collect();
    for read in store.apply(&puts, &[]).await.unwrap() {
        assert_eq!(version(read), Some(7));
    }
    let deletes: Vec<_> = (1..=6).map(|id| delete(&format!("memory:{id}"), 8)).collect();
    assert_eq!(store.apply(&deletes, &[]).await.unwrap(), [ReadBack::Absent; 6]);
}

async fn a_refusal_names_its_culprit_and_leaves_nothing(place: Place) {
    let script = "DEFINE INDEX one ON memory FIELDS n UNIQUE; DEFINE FIELD age ON memory TYPE option<int>;
        CREATE memory:1 SET n = 1;";
    let store = place.store_after(script).await;
    let error = store
        .apply(&[put("memory:2", 2, json!({"n": 2})), put("memory:3", 3, json!({"age": "old"}))], &[])
        .await
        .unwrap_err();
    assert_eq!((error.class, error.culprit), (Class::Refused, Some(key("memory:3"))));
    assert_eq!(document_at(&store, "memory:2").await, Json::Null);
    // INSERT IGNORE would swallow this one.
    let error = store.apply(&[put("memory:4", 4, json!({"n": 1}))], &[]).await.unwrap_err();
    assert_eq!(error.class, Class::Refused, "{error}");
}

async fn what_is_not_there_reads_as_nothing(place: Place) {
    let store = place.store().await;
    assert_eq!(store.apply(&[], &[]).await.unwrap(), []);
    assert_eq!(store.apply(&[delete("nowhere:1", 1)], &[]).await.unwrap(), [ReadBack::Absent]);
    assert_eq!(image(&store, "never:1").await.found, None);
    assert_eq!(store.count(&table("never")).await.unwrap(), 0);
    assert_eq!(store.scan(&table("never"), None, 10).await.unwrap(), []);
    store.ping().await.unwrap();
}

async fn a_scan_pages_through_keys_of_both_kinds_and_past_foreign_ids(place: Place) {
    let script = "CREATE memory:5, memory:a, memory:[1,2], memory:`7`, memory:u'018f7b9e-3b1a-7000-8000-000000000000';
        FOR $i IN 0..40 { CREATE type::record('memory', -1 - $i) };";
    let store = place.store_after(script).await;
    store.apply(&[create("memory:b", 1, empty()), create("memory:7", 2, empty())], &[]).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.scan(&table("memory"), after.as_ref(), 2).await.unwrap();
        let Some((last, _)) = page.last().cloned() else { break };
        after = Some(last);
        seen.extend(page.into_iter().map(|(key, stamp)| (key.to_string(), stamp.map(|stamp| stamp.version.0))));
    }
    let want = [("memory:5", None), ("memory:7", Some(2)), ("memory:a", None), ("memory:b", Some(1))];
    assert_eq!(seen, want.map(|(key, version)| (key.to_owned(), version)));
    assert_eq!(store.count(&table("memory")).await.unwrap(), 47);
}

async fn a_store_belongs_to_one_log(place: Place) {
    let mut store = place.store().await;
    store.checkpoint(Version(70)).await.unwrap();
    store.checkpoint(Version(60)).await.unwrap();
    store.apply(&[create("memory:1", 65, json!({"a": 1}))], &[]).await.unwrap();
    let next = store.unclaimed().await;
    let refused = next.apply(&[create("memory:2", 66, empty())], &[]).await.unwrap_err();
    assert_eq!(refused.class, Class::NotApplied, "nobody writes before the claim: {refused}");
    let refused = next.claim(&claimant(2)).await.unwrap_err();
    assert_eq!(refused.class, Class::Fenced);
    assert!(refused.detail.contains(&claimant(1).log.to_string()) && refused.detail.contains("test 1"), "{refused}");
    assert_eq!(next.claim(&claimant(1)).await.unwrap().version, Some(Version(70)));
    assert_eq!(document_at(&next, "memory:1").await, json!({"a": 1}));
    assert_eq!(document_at(&next, "memory:2").await, Json::Null);
    let adopted = next.claim(&Claimant { adopt: true, ..claimant(2) }).await.unwrap();
    assert_eq!(adopted.version, Some(Version(70)), "versions go on above what the other log has given");
    next.apply(&[create("memory:2", 71, empty())], &[]).await.unwrap();
    assert_eq!((next.losses(), next.restored()), (0, None));
}

async fn a_fence_without_an_epoch_is_from_an_older_version(place: Place) {
    let script = "CREATE lockstep_meta:fence CONTENT { log: u'00000000-0000-0000-0000-000000000001', version: 12 }";
    let mut store = place.store_after(script).await;
    store.apply(&[create("memory:1", 20, empty())], &[]).await.unwrap();
    let row = store.query("SELECT VALUE [epoch, holder, version] FROM ONLY lockstep_meta:fence").await;
    assert_eq!(row, json!([1, "test 1", 12]));
    let other = store.unclaimed().await;
    assert_eq!(other.claim(&claimant(3)).await.unwrap_err().class, Class::Fenced);
}

async fn a_group_fails_whole_when_a_fence_holds_one_of_it_back(place: Place) {
    let store = place.store().await;
    let before =
        [create("memory:1", 50, json!({"a": 50})), create("memory:2", 51, empty()), create("memory:3", 1, empty())];
    store.apply(&before, &[]).await.unwrap();
    let group =
        |last: DocWrite| [put("memory:9", 7, empty()), delete("memory:3", 7), put("memory:4", 7, empty()), last];
    for last in [put("memory:1", 7, json!({"a": 7})), delete("memory:2", 7)] {
        let culprit = match &last {
            DocWrite::Put { key, .. } | DocWrite::Delete { key, .. } => key.clone(),
            DocWrite::DeleteBetween { .. } => panic!(),
        };
        let error = store.apply(&group(last.clone()), &group_at(1..4)).await.unwrap_err();
        assert_eq!((error.class, error.culprit), (Class::Refused, Some(culprit)), "{}", error.detail);
        assert_eq!(document_at(&store, "memory:9").await, Json::Null, "the whole transaction is gone");
        assert_eq!(document_at(&store, "memory:3").await, empty());
    }
    // Alone, a write that is held back fails nobody.
    let read = store.apply(&[put("memory:5", 7, empty()), put("memory:1", 7, empty())], &group_at(0..1)).await.unwrap();
    assert_eq!(read.into_iter().map(version).collect::<Vec<_>>(), [Some(7), Some(50)]);
    // And one that is repeated stands already.
    let again = [put("memory:5", 7, empty()), delete("memory:8", 7)];
    store.apply(&again, &group_at(0..2)).await.unwrap();
    store.apply(&again, &group_at(0..2)).await.unwrap();
}

async fn a_scan_gives_documents_in_the_same_order(place: Place) {
    let script = "CREATE memory:[1,2], memory:`7` SET n = 1; INSERT RELATION { id: knows:1, in: memory:1, out: memory:2, w: 3 };";
    let store = place.store_after(script).await;
    store.apply(&[create("memory:1", 1, json!({"a": 1})), put("memory:b", 2, json!({"b": 2}))], &[]).await.unwrap();
    let first = store.scan_documents(&table("memory"), None, 1).await.unwrap();
    let rest = store.scan_documents(&table("memory"), Some(&first[0].key), 10).await.unwrap();
    let seen: Vec<_> = first
        .into_iter()
        .chain(rest)
        .map(|one| (one.key.to_string(), one.stamp.map(|stamp| stamp.version.0), Json::Object(one.document.to_json())))
        .collect();
    let want = [("memory:1", Some(1), json!({"a": 1})), ("memory:b", Some(2), json!({"b": 2}))];
    assert_eq!(seen, want.map(|(key, version, document)| (key.to_owned(), version, document)));
    let edges = store.scan_documents(&table("knows"), None, 10).await.unwrap();
    assert_eq!(Json::Object(edges[0].document.to_json()), json!({"w": 3}));
    assert_eq!(store.scan_documents(&table("never"), None, 10).await.unwrap(), []);
}
