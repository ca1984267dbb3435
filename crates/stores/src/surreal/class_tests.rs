//! Every class against errors that a real SurrealDB makes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use self::server::Server;
use super::*;
use crate::surreal::call::{Kind, Params, run};
use crate::surreal::link::{Link, Way};
use crate::surreal::{SurrealAuth, SurrealRemote, SurrealStore};

#[path = "../../tests/documents/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests need more of it")]
mod server;

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

/// A link to a database with [`SCHEMA`], embedded or served.
async fn links() -> Vec<(&'static str, Arc<Link>)> {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let address = SERVER.get_or_init(|| Server::start(None)).address();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut links = Vec::new();
    for place in ["mem", "ws", "http"] {
        let store = match place {
            "mem" => SurrealStore::open("mem://", "test", "test").await.unwrap(),
            scheme => SurrealStore::connect(SurrealRemote {
                endpoint: format!("{scheme}://{address}"),
                namespace: "test".to_owned(),
                database: format!("c{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
                auth: SurrealAuth::Root { user: "root".to_owned(), password: "root".to_owned() },
                ca_file: None,
                timeout: Duration::from_secs(30),
                create: true,
            })
            .unwrap(),
        };
        let link = store.keeper.link().await.unwrap();
        run(&link, SCHEMA, Params::default(), Kind::Read).await.unwrap();
        links.push((place, link));
    }
    links
}

#[tokio::test(flavor = "multi_thread")]
async fn real_errors_have_their_class() {
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
    for (place, link) in links().await {
        for (statement, class, culprit) in cases {
            let shown = format!("{place}: {statement}");
            let text = format!("BEGIN; CREATE before:1; {statement}; CREATE after:1; COMMIT;");
            let error = run(&link, &text, Params::default(), Kind::Transaction).await.unwrap_err().error;
            assert_eq!(error.class, class, "{shown}: {error}");
            assert_eq!(error.culprit.map(|key| key.to_string()).as_deref(), culprit, "{shown}: {}", error.detail);
            assert!(!error.detail.contains("not executed"), "{shown}: the cause and not its echo");
            let left = run(&link, "RETURN record::exists(before:1)", Params::default(), Kind::Read).await;
            assert_eq!(left.unwrap().take(0), surrealdb::types::Value::Bool(false), "{shown}: rolled back");
            assert!(link.is_alive(), "{shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_throws_are_told_from_those_of_others() {
    for (place, link) in links().await {
        for (statement, signal) in [
            ("THROW 'lockstep:fence'", Some(Signal::FenceMoved)),
            ("THROW 'lockstep:held:' + <string>12", Some(Signal::HeldBack(12))),
            ("THROW 'lockstep:held:x'", None),
            ("THROW 'a lockstep:fence'", None),
            ("CREATE person:5 SET n = 'lockstep:fence'", None),
        ] {
            let text = format!("BEGIN; {statement}; COMMIT;");
            let failed = run(&link, &text, Params::default(), Kind::Transaction).await.unwrap_err();
            assert_eq!(failed.signal, signal, "{place}: {statement}: {}", failed.error);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_not_applied_and_another_error_of_commit_is_unknown() {
    for (place, link) in links().await {
        let text = "BEGIN; UPSERT hot:1 SET n += 1; SLEEP 100ms; COMMIT;";
        let (one, two) = tokio::join!(
            run(&link, text, Params::default(), Kind::Transaction),
            run(&link, text, Params::default(), Kind::Transaction),
        );
        // Over HTTP one connection carries one call at a time.
        let failed = one.err().or(two.err());
        assert_eq!(failed.is_some(), place != "http", "one of two writers of a record loses");
        if let Some(failed) = failed {
            assert_eq!(failed.error.class, Class::NotApplied, "{place}: {}", failed.error);
        }
    }

    let internal = surrealdb::Error::internal("There was a problem with the datastore: fsync".to_owned());
    assert_eq!(classify(&internal, Stage::Committing).class, Class::Unknown);
    assert_eq!(classify(&internal, Stage::RolledBack).class, Class::NotApplied);
    let refused = surrealdb::Error::internal("Database index `u` already contains 1, with record `p:1`".to_owned());
    assert_eq!(classify(&refused, Stage::Committing).class, Class::Unknown);
    let lost = surrealdb::Error::connection("gone".to_owned(), None);
    assert_eq!(classify(&lost, Stage::Committing).class, Class::Unknown);
    for (error, class) in [
        (internal, Class::Unknown),
        (lost, Class::Unknown),
        (surrealdb::Error::not_allowed("no".to_owned(), None), Class::Configuration(Scope::Store)),
        (surrealdb::Error::validation("no".to_owned(), None), Class::Refused),
    ] {
        assert_eq!(classify(&error, Stage::Whole).class, class, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_the_whole_store_blames_no_operation() {
    let denied = surrealdb::Error::not_allowed("IAM error".to_owned(), None);
    assert_eq!(classify(&denied, Stage::RolledBack).class, Class::Configuration(Scope::Store));
    let client = surrealdb::engine::any::connect("mem://").await.unwrap();
    let link = Link::new(Way::Embedded(client));
    let error = run(&link, "SELECT * FROM person", Params::default(), Kind::Read).await.unwrap_err().error;
    assert_eq!(error.class, Class::Configuration(Scope::Store), "{error}");
}
