//! Which tables are there, and making those that are not, where that is allowed.
//!
//! SurrealDB makes a table on the first INSERT, but a SELECT of a range, an UPDATE or a DELETE that meets none fails, and its
//! transaction with it. So a transaction names only tables that are known to be there. They are made as SurrealDB itself
//! would (any kind of record, no schema), and never over one that an application has defined.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use surrealdb::types as db;

use crate::surreal::call::{Failed, Kind, Params, run};
use crate::surreal::claim::META_TABLE;
use crate::surreal::link::Link;
use crate::surreal::record::KEPT_TABLE;
use crate::{Class, Scope, StoreError};

/// The tables seen so far.
#[derive(Debug)]
pub(super) struct Tables {
    known: Mutex<HashSet<String>>,
    create: bool,
}

impl Tables {
    /// None is known. `create`: tables of the application may be made.
    pub(super) fn new(create: bool) -> Self {
        Self { known: Mutex::default(), create }
    }

    /// Tables of the application may be made.
    pub(super) const fn may_create(&self) -> bool {
        self.create
    }

    /// Makes Lockstep's own tables: without them nothing works.
    pub(super) async fn make_own(&self, link: &Link) -> Result<(), StoreError> {
        let own = [KEPT_TABLE, META_TABLE];
        let there = self.there(link, own).await?;
        if own.iter().all(|name| there.contains(*name)) {
            return Ok(());
        }
        self.make(link, own).await.map_err(|Failed { error, .. }| match error.class {
            Class::Configuration(_) => StoreError {
                detail: format!(
                    "{}; Lockstep's own tables are missing and may not be made: {}",
                    error.detail,
                    define(own)
                ),
                ..error
            },
            Class::Refused | Class::Exists | Class::NotApplied | Class::Unknown | Class::Fenced => error,
        })
    }

    /// Those of `names` that are there.
    ///
    /// The names are validated: letters, digits and underscores.
    pub(super) async fn there<'a>(
        &self,
        link: &Link,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<HashSet<&'a str>, Failed> {
        let names: HashSet<&str> = names.into_iter().collect();
        let unknown = {
            let known = self.known();
            names.iter().any(|name| !known.contains(*name))
        };
        if unknown {
            let all = all(link).await?;
            *self.known() = all.into_iter().collect();
        }
        let known = self.known();
        Ok(names.into_iter().filter(|name| known.contains(*name)).collect())
    }

    /// Sees to it that all of `names` are there.
    ///
    /// # Errors
    /// [`Class::Configuration`] of a table that is missing and may not be made.
    pub(super) async fn ensure<'a>(&self, link: &Link, names: impl IntoIterator<Item = &'a str>) -> Result<(), Failed> {
        let missing: BTreeSet<&str> = {
            let known = self.known();
            names.into_iter().filter(|name| !known.contains(*name)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        if self.create {
            return self.make(link, missing).await;
        }
        let there = self.there(link, missing.iter().copied()).await?;
        match missing.iter().find(|name| !there.contains(*name)) {
            None => Ok(()),
            Some(name) => Err(Failed::plain(absent(name))),
        }
    }

    async fn make<'a>(&self, link: &Link, names: impl IntoIterator<Item = &'a str>) -> Result<(), Failed> {
        let names: BTreeSet<&str> = names.into_iter().collect();
        run(link, &define(names.iter().copied()), Params::default(), Kind::Read).await?;
        self.known().extend(names.into_iter().map(str::to_owned));
        Ok(())
    }

    /// Trusts nothing any more: a call has failed, and a table that was removed may be why.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error about a table that is missing and may not be made.
fn absent(name: &str) -> StoreError {
    let words = format!("the table {name} is missing, and Lockstep may not make it: {}", define([name]));
    StoreError::new(super::STORE, Class::Configuration(Scope::Table), words)
}

/// The names of all tables.
pub(super) async fn all(link: &Link) -> Result<BTreeSet<String>, Failed> {
    let info = run(link, "INFO FOR DB", Params::default(), Kind::Read).await?.take(0);
    let db::Value::Object(mut info) = info else { return Ok(BTreeSet::new()) };
    let Some(db::Value::Object(tables)) = info.remove("tables") else { return Ok(BTreeSet::new()) };
    Ok(tables.into_inner().into_keys().collect())
}

fn define<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let one = |name: &str| format!("DEFINE TABLE IF NOT EXISTS `{name}` TYPE ANY SCHEMALESS;");
    names.into_iter().map(one).collect::<Vec<_>>().join(" ")
}
