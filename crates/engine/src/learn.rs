//! Learn: what the vector store has decides what its tables' vectors are.

use std::collections::BTreeMap;

use lockstep_stores::{Class, StoreError};

use crate::core::Core;

/// Reads the collections, once.
///
/// # Errors
/// The store's.
pub(crate) async fn ensure(core: &Core) -> Result<(), StoreError> {
    if core.lock().learned {
        return Ok(());
    }
    let collections = match core.parts.vectors.collections().await {
        Ok(collections) => collections,
        Err(error) if matches!(error.class, Class::Configuration(_)) && core.settings().embedded => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let mut shared = core.lock();
    shared.learned = true;
    shared.tables.learn(&collections);
    Ok(())
}
