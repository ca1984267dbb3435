//! What a store's failure means for the operation that met it.

use lockstep_model::Key;

/// What a failure tells about the call's effect, and whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Known to be the fault of an operation in the call. Nothing of the call was applied.
    Refused,
    /// A record that was to be created is there. Nothing of the call was applied.
    Exists,
    /// Nothing of the call was applied, and the same call may succeed later: a transaction conflict, a
    /// connection that could not be made, a store that asks to wait.
    NotApplied,
    /// Nothing of the call was applied because the store is not set up for it; no operation is to blame.
    Configuration(Scope),
    /// The call may have been applied, wholly or in part: read back before deciding. The store's next call fences it: what
    /// has not been applied by then never will be (SurrealDB), or can only be an upsert of a point that is gone (Qdrant).
    Unknown,
    /// Another Lockstep has taken the store over. Nothing of the call was applied, and nothing ever will be: stop.
    Fenced,
}

/// How much of the store a configuration error concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One table or collection.
    Table,
    /// Credentials, namespace or database: nothing there can work.
    Store,
}

/// A store call that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{store}: {detail}")]
pub struct StoreError {
    /// `surreal` or `qdrant`.
    pub store: &'static str,
    /// What it means.
    pub class: Class,
    /// The store's own words, shortened to 1,000 characters.
    pub detail: String,
    /// The key that the store named as guilty, where it named one.
    pub culprit: Option<Key>,
    /// How long the store asked to wait before the next call.
    pub retry_after: Option<std::time::Duration>,
}

impl StoreError {
    /// An error of `class` with the store's words.
    #[must_use]
    pub fn new(store: &'static str, class: Class, detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if let Some((cut, _)) = detail.char_indices().nth(1000) {
            detail.truncate(cut);
            detail.push('…');
        }
        Self { store, class, detail, culprit: None, retry_after: None }
    }

    /// A read of a collection that is not there: it holds no point. A store that does not let us in ([`Scope::Store`]) says nothing
    /// about what it holds.
    #[must_use]
    pub fn is_no_collection(&self) -> bool {
        self.class == Class::Configuration(Scope::Table)
    }
}
