//! `wal-tools` as its users run it: the built program, on logs in every condition.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod conditions;
mod damage;
mod dependencies;
mod live;
mod many;
mod support;
mod usage;
