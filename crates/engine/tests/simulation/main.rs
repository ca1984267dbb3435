//! The engine on simulated parts: seeded, single-threaded, with a paused clock; killed at any step, also during recovery.
//!
//! `LOCKSTEP_SIM_SEEDS=N` runs N seeds (2,000 without it), `LOCKSTEP_SIM_SEED=S` replays one and prints what happened.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it did"
)]

mod actors;
mod asked;
mod author;
mod bent;
mod cases;
mod chance;
mod clears;
mod clients;
mod clock;
mod coverage;
mod decisions;
mod document_store;
mod documents;
mod ends;
mod events;
mod faults;
mod groups;
mod images;
mod kills;
mod late;
mod limits;
mod losses;
mod lost_edges;
mod machine;
mod members;
mod missing;
mod model;
mod named;
mod outages;
mod overlooked;
mod parked;
mod promises;
mod reckoning;
mod rot;
mod run;
mod scene;
mod script;
mod seeds;
mod set_back;
mod shrink;
mod unordered;
mod vector_store;
mod vectors;
mod wishes;
