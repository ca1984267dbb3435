//! The whole daemon in one process: the real router and connections, the real engine on real embedded stores, a log in memory.

mod bad_input;
mod bulk;
mod connections;
pub(crate) mod fuzz;
mod life;
mod operations;
mod support;
mod units;
mod watching;
