//! The built programs, driven from outside. Each test is a promise of the contract, or one of the traps on the way to it.
//!
//! Build first: `cargo build --workspace`. Every test starts daemons of its own on a directory of its own.

mod adopted;
mod bad_input;
mod campaign;
mod decisions;
mod full_disk;
mod harness;
mod io_errors;
mod kill;
mod late_writes;
mod matrix;
mod memory;
mod negative;
mod order;
mod power_cut;
mod readme;
mod restart;
mod restored;
mod rotten;
mod sample;
mod scenarios;
mod served;
mod served_load;
mod served_operations;
mod soak;
mod stores;
mod support;
mod transitions;
mod types;
