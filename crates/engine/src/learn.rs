//! Learn: what the vector store has decides what its tables' vectors are.

use std::collections::BTreeMap;

use lockstep_stores::{Class, Collection, StoreError};

use crate::core::Core;

/// What is asked of Qdrant cannot be told before it has answered once.
pub(crate) fn unheard() -> StoreError {
    StoreError::new("qdrant", Class::NotApplied, "it has not answered yet: what it has is not known")
}

/// Makes the collections of configured tables that are new: in a store of this process nobody else could. One that was there once and is not
/// any more is not made anew in silence: its table waits.
async fn make(core: &Core, there: &BTreeMap<String, Collection>) {
    let unmade = core.lock().tables.unmade(there);
    for (name, collection) in unmade {
        if let Err(error) = core.parts.vectors.create(&collection).await {
            tracing::warn!(collection = name, %error, "a configured collection could not be made: its table waits");
        }
    }
}

/// Reads the collections, once.
///
/// # Errors
/// The store's.
pub(crate) async fn ensure(core: &Core) -> Result<(), StoreError> {
    if core.lock().tables.is_learned() {
        return Ok(());
    }
    let collections = core.parts.vectors.collections().await?;
    let settings = core.settings();
    if settings.embedded && !settings.auto_create {
        make(core, &collections).await;
    }
    core.lock().tables.learn(&collections);
    // What waited for this may start.
    core.wake();
    Ok(())
}
