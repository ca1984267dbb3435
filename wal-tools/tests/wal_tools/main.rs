//! `wal-tools` as its users run it: the built program, on logs in every condition.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod conditions;
mod damage;
mod decisions;
mod dependencies;
mod golden;
mod live;
mod logs;
mod many;
mod pages;
mod repairs;
mod schema;
mod support;
mod usage;
