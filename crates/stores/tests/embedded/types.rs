//! A type that JSON lacks survives: written outside, patched through Lockstep, taken back.

use lockstep_model::{OpId, Value, Version};
use lockstep_stores::{DocWrite, DocumentStore, Undo, UndoTo, Undone};
use surrealdb::types::Value as DbValue;
use uuid::Uuid;

use crate::support::{image, key, reopened};

const CONTENT: &str = "{
    id: memory:1, created_at: d'2020-02-03T04:05:06.123456789Z', link: person:7, odd_link: person:[1, 'a'],
    uuid: u'018f7b9e-3b1a-7000-8000-000000000001', price: 12.50dec, took: 1h30m5ns, bytes: <bytes>'abc',
    place: (1.5, -2.5), tags: {'b', 'a'}, nothing: NULL, none: NONE, int: 9223372036854775807, float: 1.0f, nan: NaN,
    range: 1..5, regex: /a+/, file: NONE, list: [1, NONE, {a: NONE, b: d'2020-01-01T00:00:00Z'}, [NULL]],
    nested: { deep: { when: d'1969-12-31T23:59:59.5Z', `$odd`: { `$datetime`: 'x' } } }
}";

async fn outsider(endpoint: &str) -> surrealdb::Surreal<surrealdb::engine::any::Any> {
    let mut tries = 0;
    let client = loop {
        match surrealdb::engine::any::connect(endpoint).await {
            Ok(client) => break client,
            Err(error) if tries > 200 => panic!("{error}"),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
        tries += 1;
    };
    client.use_ns("test").use_db("test").await.unwrap();
    client
}

async fn survives(schema: &str) {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("surrealkv://{}", dir.path().display());
    let client = outsider(&endpoint).await;
    client.query(schema).await.unwrap().check().unwrap();
    let mut made = client.query(format!("INSERT {CONTENT}; SELECT * FROM ONLY memory:1")).await.unwrap();
    let original: DbValue = made.take(1).unwrap();
    drop(client);

    let store = reopened(&endpoint).await;
    let before = image(&store, "memory:1").await.found.unwrap();
    assert_eq!(before.stamp, None);
    let mut patched = before.document.clone();
    patched.0.insert("title".to_owned(), Value::Text("patched".to_owned()));
    patched.0.remove("took");
    let write = DocWrite::Put {
        key: key("memory:1"),
        version: Version(5),
        op: OpId(Uuid::from_u128(5)),
        document: patched.clone(),
        kept: None,
        vectors: None,
        ends: None,
        create: false,
    };
    store.apply(&[write]).await.unwrap();
    let after = image(&store, "memory:1").await.found.unwrap();
    assert_eq!(after.document.hash(), patched.hash(), "a patch keeps the types that it does not name");
    let undo = Undo {
        key: key("memory:1"),
        version: Version(5),
        document: patched,
        to: UndoTo::Image { raw: before.raw.clone(), version: None },
    };
    assert_eq!(store.undo(&undo).await.unwrap(), Undone::Restored);
    assert_eq!(store.undo(&undo).await.unwrap(), Undone::AlreadyThere);
    assert_eq!(image(&store, "memory:1").await.found.unwrap().raw, before.raw);
    drop(store);

    let client = outsider(&endpoint).await;
    let restored: DbValue = client.query("SELECT * FROM ONLY memory:1").await.unwrap().take(0).unwrap();
    assert_eq!(restored, original);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_survives_an_undo() {
    survives("DEFINE TABLE memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_survives_an_undo_under_a_schema_with_a_readonly_field() {
    let fields = [
        "link", "odd_link", "uuid", "price", "took", "bytes", "place", "tags", "nothing", "none", "int", "float",
        "nan", "range", "regex", "file", "list", "nested", "title",
    ];
    let mut schema = String::from(
        "DEFINE TABLE memory SCHEMAFULL; DEFINE FIELD created_at ON memory TYPE datetime READONLY;
         DEFINE FIELD _lockstep ON memory TYPE option<object> FLEXIBLE;",
    );
    for field in fields {
        schema.push_str(&format!("DEFINE FIELD `{field}` ON memory TYPE any;"));
    }
    schema.push_str("DEFINE FIELD OVERWRITE nested ON memory TYPE object FLEXIBLE;");
    schema.push_str("DEFINE FIELD OVERWRITE took ON memory TYPE option<duration>;");
    survives(&schema).await;
}
