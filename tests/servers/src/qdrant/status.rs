//! Failures in Qdrant's codes and words.

use qdrant_edge::OperationError;
use tonic::Status;

/// There is no such collection.
pub(crate) fn no_collection(name: &str) -> Status {
    Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"))
}

/// The request is wrong.
pub(crate) fn wrong(detail: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("Wrong input: {detail}"))
}

/// The server failed.
pub(crate) fn internal(detail: impl std::fmt::Display) -> Status {
    Status::internal(format!("Service internal error: {detail}"))
}

/// What the engine said.
pub(crate) fn of(error: &OperationError) -> Status {
    match error {
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
        | OperationError::NonFiniteNumber { .. } => wrong(error),
        OperationError::PointIdError { .. } => Status::not_found(format!("Not found: {error}")),
        OperationError::Cancelled { .. } | OperationError::Timeout { .. } => {
            Status::deadline_exceeded(error.to_string())
        }
        OperationError::ServiceError { .. }
        | OperationError::InconsistentStorage { .. }
        | OperationError::OutOfMemory { .. }
        | OperationError::RocksDbColumnFamilyNotFound { .. } => internal(error),
    }
}
