//! What a server's answers mean, by gRPC code.
//!
//! The codes are those that Qdrant gives its own errors. What cannot be told from the code is unknown: a caller reads back.

use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, ConnectError, Status};

use super::STORE;
use crate::{Class, Scope, StoreError};

/// What the failed call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It only read.
    Read,
    /// It wrote: part of it may be in.
    Write,
}

/// The typed outcome of a status that is no success.
pub(super) fn classify(status: &Status, stage: Stage) -> StoreError {
    let words = if status.message().is_empty() { status.code().description() } else { status.message() };
    let mut error = StoreError::new(STORE, class_of(status, stage), words);
    error.retry_after = retry_after(status);
    error
}

fn class_of(status: &Status, stage: Stage) -> Class {
    let lost = match stage {
        Stage::Read => Class::NotApplied,
        Stage::Write => Class::Unknown,
    };
    match status.code() {
        // A wrong size, an unknown vector, a bad id; strict mode's limits; a request larger than the server takes.
        Code::InvalidArgument | Code::OutOfRange => Class::Refused,
        Code::NotFound | Code::AlreadyExists => Class::Configuration(Scope::Table),
        Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => Class::Configuration(Scope::Store),
        // The collection is locked.
        Code::FailedPrecondition => Class::NotApplied,
        // Its rate limit is checked before anything is done, and says how long to wait.
        Code::ResourceExhausted if retry_after(status).is_some() => Class::NotApplied,
        Code::Unavailable if was_never_sent(status) => Class::NotApplied,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => lost,
    }
}

/// The connection could not be made, so that nothing went out.
fn was_never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.metadata().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_class() {
        let (table, store) = (Class::Configuration(Scope::Table), Class::Configuration(Scope::Store));
        let unknown = (Class::NotApplied, Class::Unknown);
        for (code, (read, write)) in [
            (Code::Ok, unknown),
            (Code::Cancelled, unknown),
            (Code::Unknown, unknown),
            (Code::InvalidArgument, (Class::Refused, Class::Refused)),
            (Code::DeadlineExceeded, unknown),
            (Code::NotFound, (table, table)),
            (Code::AlreadyExists, (table, table)),
            (Code::PermissionDenied, (store, store)),
            (Code::ResourceExhausted, unknown),
            (Code::FailedPrecondition, (Class::NotApplied, Class::NotApplied)),
            (Code::Aborted, unknown),
            (Code::OutOfRange, (Class::Refused, Class::Refused)),
            (Code::Unimplemented, (store, store)),
            (Code::Internal, unknown),
            (Code::Unavailable, unknown),
            (Code::DataLoss, unknown),
            (Code::Unauthenticated, (store, store)),
        ] {
            let status = Status::new(code, "No space left on device");
            assert_eq!(classify(&status, Stage::Read).class, read, "{code:?}");
            assert_eq!(classify(&status, Stage::Write).class, write, "{code:?}");
            assert_eq!(classify(&status, Stage::Write).detail, "No space left on device");
        }
    }

    #[test]
    fn a_limit_that_says_when_is_waited_for() {
        let mut status = Status::resource_exhausted("Rate limiting exceeded: Write rate limit exceeded");
        status.metadata_mut().insert("retry-after", "7".parse().unwrap());
        let error = classify(&status, Stage::Write);
        assert_eq!((error.class, error.retry_after), (Class::NotApplied, Some(Duration::from_secs(7))));
        status.metadata_mut().insert("retry-after", "soon".parse().unwrap());
        let error = classify(&status, Stage::Write);
        assert_eq!((error.class, error.retry_after), (Class::Unknown, None));
    }

    #[test]
    fn what_never_left_was_not_applied() {
        let refused = ConnectError("connection refused".into());
        let error = classify(&Status::from_error(Box::new(refused)), Stage::Write);
        assert_eq!(error.class, Class::NotApplied);
    }
}
