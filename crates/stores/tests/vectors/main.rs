//! The vector stores' adapters against the real engine: Edge in this process, and over gRPC a server in a process of its own.
//!
//! The server is `test-qdrant` (Qdrant's wire over Qdrant Edge), which has been built into the same directory as this test:
//! `cargo build -p lockstep-test-servers --no-default-features --features qdrant`. With `QDRANT_URL` (and, if it wants one,
//! `QDRANT_API_KEY`) set, what is said of both stores is tried on that server instead, in collections called `…-lockstep-test-…`, which are
//! left there: `docker run -p 6334:6334 qdrant/qdrant` and `QDRANT_URL=http://127.0.0.1:6334`. What needs to kill, stop or spoil a server always
//! runs against `test-qdrant`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail loudly, and a measurement print"
)]

mod edge_durability;
#[cfg(feature = "measure")]
mod measure;
mod points;
mod preflight;
mod qdrant_faults;
mod qdrant_fences;
mod qdrant_layouts;
mod qdrant_links;
mod qdrant_sizes;
mod raw;
mod restore;
mod search;
mod server;
mod support;
mod world;
