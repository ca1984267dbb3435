//! Tables that are known to be there.
//!
//! SurrealDB makes a table on the first INSERT, but a SELECT, UPDATE or DELETE that meets none fails, and its
//! transaction with it. So the tables of a transaction are made before it, each once: as SurrealDB itself
//! would (any kind of record, no schema), and never over one that an application has defined.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use surrealdb::Surreal;
use surrealdb::engine::any::Any;

use crate::StoreError;
use crate::surreal::call::{Kind, Params, run};

/// The tables seen so far.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<HashSet<String>>);

impl Tables {
    /// Makes those of `names` that are not known to be there.
    ///
    /// The names are validated: letters, digits and underscores.
    pub(super) async fn ensure(
        &self,
        client: &Surreal<Any>,
        names: impl IntoIterator<Item = &str>,
    ) -> Result<(), StoreError> {
        let missing: HashSet<String> = {
            let known = self.known();
            names.into_iter().filter(|name| !known.contains(*name)).map(str::to_owned).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let text: String =
            missing.iter().map(|name| format!("DEFINE TABLE IF NOT EXISTS `{name}` TYPE ANY SCHEMALESS;")).collect();
        run(client, &text, Params::default(), Kind::Read).await?;
        self.known().extend(missing);
        Ok(())
    }

    /// Trusts nothing any more: a call has failed, and a table that was removed may be why.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
