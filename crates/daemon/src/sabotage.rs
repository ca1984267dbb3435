//! A daemon that breaks its promises, or dies, on demand: for the tests, and for the tests of the tests. No release build has it
//! (see `lockstep_wal::fault`).
//!
//! `LOCKSTEP_FAULT` asks for one of these:
//! - `lying_checkpoint`: intents leave the log before their points are flushed.
//! - `eager_answers`: answers leave before their end marks are durable.
//! - `forgotten_records`, `forgotten_points`: every fiftieth call that writes to SurrealDB, or to Qdrant, is told as carried out, and is not.
//! - `no_fsync` is the log's own.
//! - `steps:FOLDER`: says of every transition that it is passed, and dies or waits at those that the folder names ([`steps`]).

mod documents;
mod forgetting;
mod log;
mod steps;
mod vectors;

use std::sync::Arc;

use lockstep_engine::Parts;
use lockstep_wal::fault;

use self::log::{Eager, SteppedLog};
use self::steps::Steps;

/// Puts the fault that was asked for between the engine and its parts. To be called inside the runtime.
pub(crate) fn spoil(mut parts: Parts) -> Parts {
    let Some(fault) = fault::asked() else { return parts };
    tracing::warn!(fault, "LOCKSTEP_FAULT is set: this daemon breaks its promises");
    match fault.split_once(':') {
        Some(("steps", folder)) => {
            let steps = Arc::new(Steps::of(folder.into()));
            parts.documents = Arc::new(documents::Spoilt::stepped(parts.documents, Arc::clone(&steps)));
            parts.vectors = Arc::new(vectors::Spoilt::stepped(parts.vectors, Arc::clone(&steps)));
            parts.log = Arc::new(SteppedLog::new(parts.log, steps));
        }
        Some(_) => {}
        None if fault == "lying_checkpoint" => parts.vectors = Arc::new(vectors::Spoilt::never_flushed(parts.vectors)),
        None if fault == "eager_answers" => parts.log = Arc::new(Eager { inner: parts.log }),
        None if fault == "forgotten_records" => {
            parts.documents = Arc::new(documents::Spoilt::forgetful(parts.documents));
        }
        None if fault == "forgotten_points" => parts.vectors = Arc::new(vectors::Spoilt::forgetful(parts.vectors)),
        None => {}
    }
    parts
}
