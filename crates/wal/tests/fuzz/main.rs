//! The log's bytes, by the hundred thousand: nothing panics, no length is believed, and what was not written is never shown.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../../../model/tests/fuzz/driver.rs"]
mod driver;
#[path = "../../../model/tests/fuzz/mutator.rs"]
mod mutator;
#[path = "../wal/samples.rs"]
mod samples;
#[expect(dead_code, reason = "the other tests of the log use more of it")]
#[path = "../wal/support.rs"]
mod support;
#[path = "../wal/truth.rs"]
mod truth;

mod chunks;
mod directories;
mod folds;
mod marks;
mod records;
mod stories;
