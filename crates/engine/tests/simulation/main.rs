//! The engine on simulated parts: seeded, single-threaded, with a paused clock; killed at any step, also during recovery.
//!
//! `LOCKSTEP_SIM_SEEDS=N` runs N seeds (1,000 without it), `LOCKSTEP_SIM_SEED=S` replays one and prints what happened.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it did"
)]

mod asked;
mod cases;
mod chance;
mod clears;
mod clients;
mod decisions;
mod documents;
mod eager;
mod events;
mod faults;
mod groups;
mod kills;
mod late;
mod losses;
mod missing;
mod model;
mod outages;
mod run;
mod scene;
mod seeds;
mod vectors;
