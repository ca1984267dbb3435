//! Learn: what the vector store has decides what its tables' vectors are.

use lockstep_stores::StoreError;

use crate::core::Core;

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
