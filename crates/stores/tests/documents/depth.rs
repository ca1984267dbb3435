//! Documents of the full depth, on threads with the stack that the crate asks for.

use lockstep_model::{Document, MAX_DOCUMENT_DEPTH, OpId, Value, Version};
use lockstep_stores::{DocWrite, DocumentStore, THREAD_STACK_BYTES, Undo, UndoTo, Undone, Wrote};
use std::collections::BTreeMap;
use uuid::Uuid;

use crate::support::{embedded, image, key};

fn deep(levels: usize, array: bool) -> Document {
    let wrap = |inner: Value| match array {
        true => Value::Array(vec![inner]),
        false => Value::Object(BTreeMap::from([("a".to_owned(), inner)])),
    };
    let inner = (1..levels).fold(Value::Int(1), |inner, _| wrap(inner));
    Document(BTreeMap::from([("a".to_owned(), inner)]))
}

fn write(name: &str, version: u64, document: Document, create: bool) -> DocWrite {
    let op = OpId(Uuid::from_u128(7));
    DocWrite::Put {
        key: key(name),
        version: Version(version),
        op,
        document,
        kept: None,
        vectors: None,
        ends: None,
        create,
    }
}

async fn passes() {
    let store = embedded().await;
    for array in [false, true] {
        let (name, document) = (format!("memory:{array}"), deep(MAX_DOCUMENT_DEPTH, array));
        store.apply(&[write(&name, 1, document.clone(), true)], &[]).await.unwrap();
        let before = image(&store, &name).await.found.unwrap();
        assert_eq!(before.document, document);
        store.apply(&[write(&name, 2, deep(MAX_DOCUMENT_DEPTH, !array), false)], &[]).await.unwrap();
        let to = UndoTo::Image { raw: before.raw.clone(), version: Some(Version(1)) };
        let undo =
            Undo { key: key(&name), version: Version(2), wrote: Wrote::Put(deep(MAX_DOCUMENT_DEPTH, !array)), to };
        assert_eq!(store.undo(std::slice::from_ref(&undo)).await.unwrap(), Undone::Restored);
        assert_eq!(image(&store, &name).await.found.unwrap().document, document);
        store.query("SELECT * FROM memory", serde_json::Map::new()).await.unwrap();
    }
}

#[test]
fn a_full_depth_passes_on_the_stack_that_the_crate_asks_for() {
    let stack = std::env::var("STACK_KIB")
        .ok()
        .and_then(|kib| kib.parse::<usize>().ok())
        .map_or(THREAD_STACK_BYTES, |kib| kib << 10);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_stack_size(stack)
        .enable_all()
        .build()
        .unwrap();
    // On a worker: block_on would use the stack of this thread.
    runtime.block_on(async { tokio::spawn(passes()).await.unwrap() });
}
