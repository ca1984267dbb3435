//! Learn: what the vector store has decides what its tables' vectors are.

use lockstep_stores::StoreError;

use crate::core::Core;

/// Reads the collections, once.
///
/// # Errors
/// The store's.
pub(crate) async fn ensure(core: &Core) -> Result<(), StoreError> {
    if core.lock().learned {
        return Ok(());
    }
    let collections = core.parts.vectors.collections().await?;
    let mut shared = core.lock();
    shared.learned = true;
    shared.tables.learn(&collections);
    Ok(())
}
