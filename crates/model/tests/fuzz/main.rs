//! Bytes from outside, by the hundred thousand: nothing panics, and what is taken is given back as it was.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests fail as tests do"
)]

mod documents;
mod driver;
mod filters;
mod json;
mod keys;
mod mutator;
mod operations;
mod tables;
mod vectors;
