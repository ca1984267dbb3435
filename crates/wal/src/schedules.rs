//! The log's threads under a scheduler of the tests, on a simulated disk and by a simulated clock (decision 0023).
//!
//! Only with the feature `schedules`, which `--test schedules` alone asks for: queue, log thread, watcher, writer and tickets are
//! those of every build, what [`sync`](crate::sync) hands them is not. A [`World`] is what one execution stands on. It judges
//! what the log asks of its disk, and a test asks it what would be left after a power cut.
//!
//! What is wrong is kept until the test asks ([`World::wrong`]): a panic inside the disk would be turned into an error by
//! [`store`](crate::store), as sled's are.

#[cfg(not(debug_assertions))]
compile_error!("the feature `schedules` is for tests; no release has it");

pub mod clock;
pub(crate) mod database;
mod disk;
pub(crate) mod oneshot;
pub(crate) mod os;
mod power_cut;
mod world;

pub use power_cut::PowerCut;
pub use world::{Fault, World};
