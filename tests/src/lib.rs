//! What the tests of the built programs share: daemons as child processes that can be killed, clients that remember
//! what they were told, and eyes that look into the stores with and without the daemon.
//!
//! Everything here returns an error where a promise is broken or a deadline passes; no helper sleeps for a
//! guessed time. It knows the contract and the directories of the stores, and nothing of the engine.

pub mod budget;
pub mod campaign;
pub mod cluster;
pub mod daemon;
pub mod direct;
pub mod directory;
pub mod gauge;
pub mod held;
pub mod history;
pub mod load;
pub mod look;
pub mod machine;
pub mod op_log;
pub mod plot;
pub mod power;
pub mod program;
pub mod proxy;
pub mod raw_http;
pub mod sample;
pub mod seed;
pub mod servers;
pub mod small_disk;
pub mod steps;
pub mod wait;
pub mod weather;
pub mod witness;
