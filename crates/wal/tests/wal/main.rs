//! The log as a whole: what both logs promise, and what the one on disk does with damage.
#![expect(clippy::print_stdout, clippy::unwrap_used, unreachable_pub, reason = "helpers of tests fail as tests do")]

mod behaviour;
mod damage;
mod disk;
mod plans;
mod records;
mod repair;
mod samples;
mod seeded;
mod support;
mod truth;
mod written;
