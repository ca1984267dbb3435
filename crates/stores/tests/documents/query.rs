//! Read-only SurrealQL: what it answers, and that nothing gets through.

use lockstep_stores::{Class, DocumentStore, SurrealStore};
use serde_json::{Map, Value as Json, json};

use crate::support::{create, embedded};

async fn query(store: &SurrealStore, text: &str) -> Json {
    store.query(text, Map::new()).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_answer_as_documents_are_written() {
    let store = embedded().await;
    let document = json!({"n": 1, "f": 0.5, "s": "x", "when": {"$datetime": "2026-01-29T00:00:00Z"},
        "who": {"$record": "person:7"}, "price": {"$decimal": "12.50"}, "$$odd": null});
    store.apply(&[create("memory:1", 1, document.clone()), create("memory:2", 2, json!({"n": 2}))], &[]).await.unwrap();
    let mut vars = Map::new();
    vars.insert("least".to_owned(), json!(2));
    vars.insert("when".to_owned(), json!({"$datetime": "2026-01-29T00:00:00Z"}));
    let text = "LET $x = 1; SELECT VALUE n FROM memory WHERE n >= $least; SELECT * OMIT id, _lockstep FROM ONLY memory:1;
        SELECT VALUE id FROM memory WHERE when = $when; RETURN $x + 1; INFO FOR TABLE memory; RETURN [NONE, {1, 2}, person:[1]];
        IF $x = 1 { SELECT count() FROM memory GROUP ALL } ELSE { 0 }";
    let results = store.query(text, vars).await.unwrap();
    let want = [json!(null), json!([2]), document, json!([{"$record": "memory:1"}]), json!(2)];
    assert_eq!(results[..5], want);
    assert_eq!(results[6], json!([null, [1, 2], "person:[1]"]));
    assert_eq!(results[7], json!([{"count": 2}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_writes_is_refused_and_leaves_nothing() {
    let store = embedded().await;
    store.apply(&[create("memory:1", 1, json!({"n": 1}))], &[]).await.unwrap();
    for text in [
        "CREATE memory:2",
        "UPDATE memory SET n = 2",
        "UPSERT memory:2",
        "DELETE memory",
        "INSERT INTO other { id: 1 }",
        "RELATE memory:1->likes->memory:1",
        "DEFINE TABLE other",
        "REMOVE TABLE memory",
        "REBUILD INDEX x ON memory",
        "ALTER TABLE memory SCHEMAFULL",
        "USE NS other",
        "USE DB other",
        "LIVE SELECT * FROM memory",
        "KILL u'018f7b9e-3b1a-7000-8000-000000000000'",
        "BEGIN; RETURN 1; COMMIT",
        "begin transaction; RETURN 1",
        "CANCEL",
        "COMMIT",
        "OPTION IMPORT",
        "SELECT 1; DELETE memory",
        "RETURN (CREATE memory:2)",
        "LET $x = (DELETE memory)",
        "SELECT * FROM (UPDATE memory SET n = 2)",
        "SELECT *, (DELETE memory) FROM memory",
        "RETURN { CREATE memory:2; RETURN 1 }",
        "FOR $i IN [1] { CREATE memory:2 }",
        "IF true { DELETE memory }",
        "RETURN [1].map(|$x| { CREATE memory:2 })",
        "LET $f = || { CREATE memory:2 }; RETURN $f()",
        "RETURN fn::any()",
        "RETURN eval::surql('DELETE memory')",
        "RETURN sequence::nextval('s')",
        "DEFINE USER x ON ROOT PASSWORD 'x'",
        "SELECT * FROM memory WHERE (DELETE memory)",
        "SELECT * FROM memory ORDER BY (DELETE memory)",
        "",
    ] {
        match store.query(text, Map::new()).await {
            Err(error) => assert_eq!(error.class, Class::Refused, "{text}: {error}"),
            Ok(results) => assert!(text.is_empty() && results.is_empty(), "{text}: {results:?}"),
        }
        assert_eq!(query(&store, "SELECT VALUE n FROM memory").await, json!([1]), "{text}");
        let tables =
            query(&store, "INFO FOR DB").await["tables"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(tables, ["lockstep_meta", "lockstep_vector", "memory"], "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_says_why_and_parameters_do_not_stay() {
    let store = embedded().await;
    for text in ["SELECT * FROM", "SELECT * FROM missing", "RETURN string::len(3)", "THROW 'x'"] {
        let error = store.query(text, Map::new()).await.unwrap_err();
        assert_eq!(error.class, Class::Refused, "{text}: {error}");
    }
    store.query("LET $kept = 1", Map::new()).await.unwrap();
    assert_eq!(query(&store, "RETURN $kept").await, Json::Null);
    let mut bad = Map::new();
    bad.insert("x".to_owned(), json!({"$nope": 1}));
    assert_eq!(store.query("RETURN $x", bad).await.unwrap_err().class, Class::Refused);
}
