//! What Qdrant Edge's errors mean.

use qdrant_edge::OperationError;

use super::STORE;
use crate::{Class, StoreError};

/// What the failed call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It only read.
    Read,
    /// It wrote to the shard: part of it may be in.
    Write,
}

/// The typed outcome of an error.
pub(super) fn classify(error: &OperationError, stage: Stage) -> StoreError {
    StoreError::new(STORE, class_of(error, stage), error.to_string())
}

fn class_of(error: &OperationError, stage: Stage) -> Class {
    match error {
        // Shapes are checked before Edge is asked, so of writes these should not come; and where they do,
        // the points before the bad one may be in.
        OperationError::WrongVectorDimension { .. }
        | OperationError::VectorNameNotExists { .. }
        | OperationError::TypeError { .. }
        | OperationError::TypeInferenceError { .. }
        | OperationError::ValidationError { .. }
        | OperationError::WrongSparse
        | OperationError::WrongMulti
        | OperationError::MissingRangeIndexForOrderBy { .. }
        | OperationError::MissingMapIndexForFacet { .. }
        | OperationError::VariableTypeError { .. }
        | OperationError::NonFiniteNumber { .. } => match stage {
            Stage::Read => Class::Refused,
            Stage::Write => Class::Unknown,
        },
        OperationError::PointIdError { .. }
        | OperationError::ServiceError { .. }
        | OperationError::InconsistentStorage { .. }
        | OperationError::OutOfMemory { .. }
        | OperationError::Cancelled { .. }
        | OperationError::Timeout { .. }
        | OperationError::RocksDbColumnFamilyNotFound { .. } => match stage {
            Stage::Read => Class::NotApplied,
            Stage::Write => Class::Unknown,
        },
    }
}

/// The outcome of a call that panicked: Edge does so on I/O errors.
pub(super) fn panicked(payload: &(dyn std::any::Any + Send), doing: &str) -> StoreError {
    let said = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    // Errors in Edge's panics carry a backtrace, which is for its own log.
    let said = said.split(", backtrace: ").next().unwrap_or(said);
    StoreError::new(STORE, Class::Unknown, format!("Qdrant Edge panicked while {doing}: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_failed_may_be_in_and_a_read_never_is() {
        let wrong = OperationError::WrongVectorDimension { expected_dim: 3, received_dim: 4 };
        let cases = [
            (wrong, Class::Refused),
            (OperationError::vector_name_not_exists("x"), Class::Refused),
            (OperationError::validation_error("bad"), Class::Refused),
            (OperationError::WrongSparse, Class::Refused),
            (OperationError::WrongMulti, Class::Refused),
            (OperationError::service_error_light("No space left on device"), Class::NotApplied),
            (OperationError::cancelled("stopped"), Class::NotApplied),
            (OperationError::inconsistent_storage("torn"), Class::NotApplied),
        ];
        for (error, read) in cases {
            assert_eq!(classify(&error, Stage::Read).class, read, "{error}");
            assert_eq!(classify(&error, Stage::Write).class, Class::Unknown, "{error}");
        }
    }

    #[test]
    fn panics_keep_their_words() {
        let error = panicked(&"segments flushed: disk full".to_owned(), "flushing");
        assert_eq!(error.class, Class::Unknown);
        assert!(error.detail.contains("flushing: segments flushed: disk full"));
    }
}
