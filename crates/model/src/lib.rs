//! What Lockstep talks about: operations, keys, values, vectors, versions and the state machine.
//!
//! Everything here is pure: no I/O, no clock, no randomness. The log, the stores, the engine and the
//! tools share these types and must agree on them byte for byte, so what is hashed, derived or encoded
//! is defined here, next to its test.

mod id;

pub use id::{LogId, Lsn, OpId, Version, VersionClock};
