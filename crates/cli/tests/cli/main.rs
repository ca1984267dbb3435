//! The built `lockstep` against daemons of few words.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod bulk;
mod clear;
mod commands;
mod decisions;
mod support;
mod usage;
mod watch;
