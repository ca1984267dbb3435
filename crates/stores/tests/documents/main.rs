//! The adapter of SurrealDB against the real thing: embedded, and served by a child process. One binary: linking a database is
//! slow.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail loudly, and a measurement print"
)]

mod depth;
mod edges;
#[cfg(feature = "measure")]
mod measure;
mod place;
mod proxy;
mod query;
mod records;
mod served;
mod server;
mod support;
mod torn;
mod traps;
mod types;
mod undo;
