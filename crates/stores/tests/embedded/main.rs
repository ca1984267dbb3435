//! The adapters against the real engines, in this process. One binary: linking databases is slow.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail loudly, and a measurement print"
)]

mod edge;
mod edge_durability;
mod edge_search;
#[cfg(feature = "measure")]
mod measure;
mod support;
