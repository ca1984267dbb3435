//! What SurrealDB's errors mean. The only place that reads its messages.
//!
//! A transaction is one text, `BEGIN; …; COMMIT;`. SurrealDB runs its statements in order and rolls
//! all of them back when one fails; only COMMIT writes. So an error of a statement before COMMIT proves that
//! nothing was applied, and so does an error before the first statement (the text did not parse). Of the
//! errors of COMMIT itself only a conflict proves it: anything else may have come after the write. An error that a
//! server gives for the text as a whole proves it if it is one that comes before the first statement.

use surrealdb::types::{AlreadyExistsError, ConnectionError, ErrorDetails, NotFoundError, QueryError, ValidationError};

use super::STORE;
use crate::surreal::record::key_of;
use crate::{Class, Scope, StoreError};

/// What is known of the call that met an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of it was applied.
    RolledBack,
    /// It may have been applied.
    Committing,
    /// The store has answered for the text as a whole: only what it says tells whether it had begun.
    Whole,
}

/// What one of our own THROWs says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// The fence row is not what this process last made it.
    FenceMoved,
    /// The write at this place was held back by its fence, and others depend on it.
    HeldBack(usize),
}

/// How [`Signal::FenceMoved`] is thrown.
pub(super) const FENCE_MOVED: &str = "lockstep:fence";

/// How [`Signal::HeldBack`] is thrown, the place behind it.
pub(super) const HELD_BACK: &str = "lockstep:held:";

/// The signal in an error. What an application's own event throws is none.
pub(super) fn signal_of(error: &surrealdb::Error) -> Option<Signal> {
    if !error.is_thrown() {
        return None;
    }
    let words = error.message().strip_prefix("An error occurred: ").unwrap_or(error.message());
    if words == FENCE_MOVED {
        return Some(Signal::FenceMoved);
    }
    words.strip_prefix(HELD_BACK).and_then(|place| place.parse().ok()).map(Signal::HeldBack)
}

/// Messages of errors without a kind that are the fault of what was written: a schema, a unique index, an event
/// or a reference refuses it, and would refuse it again.
const REFUSALS: [&str; 14] = [
    "Couldn't coerce value for field `",
    "but no such field exists for table '",
    "but field must conform to: ",
    "but field is readonly",
    "Database index `",
    "Error while processing event ",
    ", but expected a NORMAL",
    ", but expected a RELATION",
    "for the `id` field, but a specific record has been specified",
    "field, which does not match the existing field value",
    "with an ON DELETE REJECT clause",
    "Incorrect arguments for function ",
    "The key being inserted is too large",
    "The transaction is too large",
];

/// How it begins when a schema has no place for Lockstep's own field: no operation's fault.
const NO_FIELD: &str = "Found field '_lockstep";

/// The typed outcome of an error.
pub(super) fn classify(error: &surrealdb::Error, stage: Stage) -> StoreError {
    let message = error.message();
    let stage = match stage {
        Stage::Whole if comes_first(error) => Stage::RolledBack,
        Stage::Whole => Stage::Committing,
        Stage::RolledBack | Stage::Committing => stage,
    };
    if stage == Stage::RolledBack && message.starts_with(NO_FIELD) {
        let define = "for Lockstep: DEFINE FIELD _lockstep ON … TYPE option<object> FLEXIBLE";
        return StoreError::new(STORE, Class::Configuration(Scope::Table), format!("{message}; {define}"));
    }
    let mut out = StoreError::new(STORE, class_of(error, stage), message);
    if matches!(out.class, Class::Refused | Class::Exists) {
        out.culprit = records_in(error).find_map(|text| parse_record(&text));
    }
    out
}

#[expect(clippy::wildcard_enum_match_arm, reason = "SurrealDB may add kinds of errors")]
fn class_of(error: &surrealdb::Error, stage: Stage) -> Class {
    let unless_committed = match stage {
        Stage::RolledBack => Class::NotApplied,
        Stage::Committing | Stage::Whole => Class::Unknown,
    };
    match error.details() {
        ErrorDetails::Query(Some(QueryError::TransactionConflict)) => Class::NotApplied,
        ErrorDetails::AlreadyExists(Some(AlreadyExistsError::Record { .. })) => Class::Exists,
        ErrorDetails::NotFound(Some(NotFoundError::Namespace { .. } | NotFoundError::Database { .. }))
        | ErrorDetails::Validation(Some(ValidationError::NamespaceEmpty | ValidationError::DatabaseEmpty))
        | ErrorDetails::NotAllowed(_)
        | ErrorDetails::Configuration(_) => Class::Configuration(Scope::Store),
        ErrorDetails::Connection(Some(ConnectionError::Uninitialised)) => Class::NotApplied,
        ErrorDetails::Validation(_) | ErrorDetails::Serialization(_) | ErrorDetails::Thrown
            if stage == Stage::RolledBack =>
        {
            Class::Refused
        }
        ErrorDetails::Internal | ErrorDetails::Context
            if stage == Stage::RolledBack && REFUSALS.iter().any(|known| error.message().contains(known)) =>
        {
            Class::Refused
        }
        // A missing table was removed after it was looked for: the next call makes it again.
        _ => unless_committed,
    }
}

/// An error of a kind that a server gives before it runs the first statement.
fn comes_first(error: &surrealdb::Error) -> bool {
    matches!(
        error.details(),
        ErrorDetails::Validation(_)
            | ErrorDetails::NotAllowed(_)
            | ErrorDetails::NotFound(_)
            | ErrorDetails::Configuration(_)
            | ErrorDetails::Connection(Some(ConnectionError::Uninitialised))
    )
}

/// An error that only says that another one broke the transaction.
pub(super) fn is_echo(error: &surrealdb::Error) -> bool {
    matches!(error.details(), ErrorDetails::Query(Some(QueryError::NotExecuted | QueryError::Cancelled)))
}

/// Texts in the error that may be the guilty record: where the kind names it, else what stands in backticks.
fn records_in(error: &surrealdb::Error) -> impl Iterator<Item = String> {
    let named = if let ErrorDetails::AlreadyExists(Some(AlreadyExistsError::Record { id })) = error.details() {
        Some(id.clone())
    } else {
        // An index names the record that was there first, which is not the guilty one.
        error.message().starts_with("Database index `").then(String::new)
    };
    let quoted: Vec<String> = match &named {
        Some(_) => Vec::new(),
        None => error.message().split('`').skip(1).step_by(2).map(str::to_owned).collect(),
    };
    named.into_iter().chain(quoted)
}

/// The key that a record's text names: `table:id`, the id as SurrealQL writes it.
fn parse_record(text: &str) -> Option<lockstep_model::Key> {
    use surrealdb::types::{RecordId, RecordIdKey};
    let (table, id) = text.split_once(':')?;
    let id = match id.parse::<i64>() {
        Ok(number) => RecordIdKey::Number(number),
        Err(_) => RecordId::parse_simple(text).ok()?.key,
    };
    key_of(&RecordId::new(table, id))
}

#[cfg(test)]
#[path = "class_tests.rs"]
mod tests;
