//! SurrealDB's adapter against the real engine, in this process. One binary: linking databases is slow.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail loudly, and a measurement print"
)]

mod depth;
#[cfg(feature = "measure")]
mod measure;
mod support;
mod surreal;
mod surreal_edges;
mod surreal_query;
mod surreal_undo;
mod traps;
mod types;
