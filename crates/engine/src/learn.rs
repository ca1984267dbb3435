//! Learn: what the vector store has decides what its tables' vectors are.

use lockstep_stores::{Class, StoreError};

use crate::core::Core;

/// What is asked of Qdrant cannot be told before it has answered once.
pub(crate) fn unheard() -> StoreError {
    StoreError::new("qdrant", Class::NotApplied, "it has not answered yet: what it has is not known")
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
    core.lock().tables.learn(&collections);
    // What waited for this may start.
    core.wake();
    Ok(())
}
