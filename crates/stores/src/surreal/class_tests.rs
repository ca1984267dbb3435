//! Every class against errors that a real SurrealDB makes.

use super::*;
use crate::surreal::SurrealStore;
use crate::surreal::call::{Kind, Params, run};

const SCHEMA: &str = "
    DEFINE TABLE person SCHEMAFULL;
    DEFINE FIELD n ON person TYPE int;
    DEFINE FIELD age ON person TYPE option<int> ASSERT $value < 150;
    DEFINE FIELD born ON person TYPE option<datetime> READONLY;
    DEFINE INDEX one ON person FIELDS n UNIQUE;
    DEFINE TABLE watched;
    DEFINE EVENT no ON watched WHEN $event = 'CREATE' THEN { THROW 'not today' };
    DEFINE TABLE plain TYPE NORMAL;
    DEFINE TABLE edges TYPE RELATION;
    CREATE person:1 SET n = 1, born = d'2000-01-01T00:00:00Z';
    CREATE person:`a b` SET n = 2;
";

async fn store() -> SurrealStore {
    let store = SurrealStore::open("mem://", "test", "test").await.unwrap();
    run(&store.client, SCHEMA, Params::default(), Kind::Read).await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn real_errors_have_their_class() {
    let store = store().await;
    let cases: [(&str, Class, Option<&str>); 18] = [
        ("CREATE person:2 SET n = 'x'", Class::Refused, Some("person:2")),
        ("CREATE person:2 SET n = 5, zzz = 1", Class::Refused, None),
        ("INSERT { id: person:2, n: 5, _lockstep: { v: 1 } }", Class::Configuration(Scope::Table), None),
        ("CREATE person:2 SET n = 5, age = 200", Class::Refused, Some("person:2")),
        ("CREATE person:2 SET n = 1", Class::Refused, None),
        ("UPDATE person:1 SET born = d'2001-01-01T00:00:00Z'", Class::Refused, Some("person:1")),
        ("CREATE watched:1", Class::Refused, None),
        ("INSERT RELATION { id: plain:7, in: person:1, out: person:1 }", Class::Refused, Some("plain:7")),
        ("INSERT { id: edges:7 }", Class::Refused, Some("edges:7")),
        ("UPDATE person:1 CONTENT { id: person:9, n: 1 }", Class::Refused, None),
        ("THROW 'no'", Class::Refused, None),
        ("RETURN {} + 1", Class::Refused, None),
        ("CREATE person:1 SET n = 3", Class::Exists, Some("person:1")),
        ("CREATE person:`a b` SET n = 3", Class::Exists, Some("person:a b")),
        ("DELETE missing:1", Class::NotApplied, None),
        ("RETURN fn::missing()", Class::NotApplied, None),
        ("DEFINE FIELD n ON person TYPE int", Class::NotApplied, None),
        ("this is no SurrealQL", Class::Refused, None),
    ];
    for (statement, class, culprit) in cases {
        let text = format!("BEGIN; CREATE before:1; {statement}; CREATE after:1; COMMIT;");
        let error = run(&store.client, &text, Params::default(), Kind::Transaction).await.unwrap_err();
        assert_eq!(error.class, class, "{statement}: {error}");
        assert_eq!(error.culprit.map(|key| key.to_string()).as_deref(), culprit, "{statement}: {}", error.detail);
        assert!(!error.detail.contains("not executed"), "{statement}: the cause and not its echo");
        let left = run(&store.client, "RETURN record::exists(before:1)", Params::default(), Kind::Read).await;
        assert_eq!(left.unwrap().take(0), surrealdb::types::Value::Bool(false), "{statement}: rolled back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_not_applied_and_another_error_of_commit_is_unknown() {
    let store = store().await;
    let text = "BEGIN; UPSERT hot:1 SET n += 1; SLEEP 100ms; COMMIT;";
    let (one, two) = tokio::join!(
        run(&store.client, text, Params::default(), Kind::Transaction),
        run(&store.client, text, Params::default(), Kind::Transaction),
    );
    let failed = one.err().or(two.err()).expect("one of two writers of a record loses");
    assert_eq!(failed.class, Class::NotApplied, "{failed}");

    let internal = surrealdb::Error::internal("There was a problem with the datastore: fsync".to_owned());
    assert_eq!(classify(&internal, Stage::Committing).class, Class::Unknown);
    assert_eq!(classify(&internal, Stage::RolledBack).class, Class::NotApplied);
    let refused = surrealdb::Error::internal("Database index `u` already contains 1, with record `p:1`".to_owned());
    assert_eq!(classify(&refused, Stage::Committing).class, Class::Unknown);
    let lost = surrealdb::Error::connection("gone".to_owned(), None);
    assert_eq!(classify(&lost, Stage::Committing).class, Class::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_the_whole_store_blames_no_operation() {
    let denied = surrealdb::Error::not_allowed("IAM error".to_owned(), None);
    assert_eq!(classify(&denied, Stage::RolledBack).class, Class::Configuration(Scope::Store));
    let client = surrealdb::engine::any::connect("mem://").await.unwrap();
    let error = run(&client, "SELECT * FROM person", Params::default(), Kind::Read).await.unwrap_err();
    assert_eq!(error.class, Class::Configuration(Scope::Store), "{error}");
}
