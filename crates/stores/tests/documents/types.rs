//! A type that JSON lacks survives: written outside, patched through Lockstep, taken back.

use lockstep_model::{OpId, Value, Version};
use lockstep_stores::{DocWrite, DocumentStore, Undo, UndoTo, Undone, Wrote};
use uuid::Uuid;

use crate::place::Place;
use crate::support::{image, key};

crate::place::everywhere!(
    every_type_survives_an_undo,
    every_type_survives_an_undo_under_a_schema_with_a_readonly_field,
);

const CONTENT: &str = "{
    id: memory:1, created_at: d'2020-02-03T04:05:06.123456789Z', link: person:7, odd_link: person:[1, 'a'],
    uuid: u'018f7b9e-3b1a-7000-8000-000000000001', price: 12.50dec, took: 1h30m5ns, bytes: <bytes>'abc',
    place: (1.5, -2.5), tags: {'b', 'a'}, nothing: NULL, none: NONE, int: 9223372036854775807, float: 1.0f, nan: NaN,
    range: 1..5, regex: /a+/, file: NONE, list: [1, NONE, {a: NONE, b: d'2020-01-01T00:00:00Z'}, [NULL]],
    nested: { deep: { when: d'1969-12-31T23:59:59.5Z', `$odd`: { `$datetime`: 'x' } } }
}";

async fn survives(place: Place, schema: &str) {
    let script = format!("{schema}; INSERT {CONTENT}; SELECT * FROM ONLY memory:1");
    let mut store = place.store().await;
    let original = store.outside(&script).await.pop().unwrap();
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
    store.apply(&[write], &[]).await.unwrap();
    let after = image(&store, "memory:1").await.found.unwrap();
    assert_eq!(after.document.hash(), patched.hash(), "a patch keeps the types that it does not name");
    let undo = Undo {
        key: key("memory:1"),
        version: Version(5),
        wrote: Wrote::Put(patched),
        to: UndoTo::Image { raw: before.raw.clone(), version: None },
    };
    assert_eq!(store.undo(std::slice::from_ref(&undo)).await.unwrap(), Undone::Restored);
    assert_eq!(store.undo(std::slice::from_ref(&undo)).await.unwrap(), Undone::AlreadyThere);
    assert_eq!(image(&store, "memory:1").await.found.unwrap().raw, before.raw);
    let restored = store.outside("SELECT * FROM ONLY memory:1").await.pop().unwrap();
    assert_eq!(restored, original);
}

async fn every_type_survives_an_undo(place: Place) {
    survives(place, "DEFINE TABLE memory").await;
}

async fn every_type_survives_an_undo_under_a_schema_with_a_readonly_field(place: Place) {
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
    survives(place, &schema).await;
}
