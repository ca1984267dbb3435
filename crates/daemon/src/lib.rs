//! `lockstepd`: one process that owns the log, holds both stores, and answers on a Unix socket.
//!
//! This crate wires and translates, and decides nothing about operations: what they mean is the model's, what
//! becomes of them the engine's. Its parts in the order of a start: [`Arguments`] and [`config`] say what is wanted,
//! [`boot`] opens log, stores and engine, [`socket`] makes the socket, [`serve`] takes connections, `routes` answer, and
//! [`daemon`] keeps all of it alive until someone asks it to stop.
//!
//! What must hold here:
//! - Nothing is acknowledged that the engine has not said; a timeout answers with the state reached, never with a guess.
//! - A request's size, the bytes of all bodies together, the connections, and the lines of a bulk request in flight are
//!   bounded (P6). A client that is slow, silent or gone costs its connection and nothing else (P5).
//! - A task that ends unexpectedly ends the daemon, with exit code 1.

#![recursion_limit = "256"]

pub mod arguments;
mod body;
pub mod boot;
pub mod bounds;
mod bulk;
pub mod config;
pub mod daemon;
mod exit;
mod failure;
mod memory;
pub mod metrics;
pub mod notify;
mod openapi;
mod parameters;
pub mod preflight;
pub mod reload;
mod routes;
#[cfg(debug_assertions)]
mod sabotage;
pub mod serve;
mod service;
pub mod signals;
pub mod socket;
pub mod stores;
pub mod telemetry;
mod views;

#[cfg(test)]
mod tests;

pub use crate::arguments::Arguments;
pub use crate::exit::Exit;
pub use crate::routes::{App, router};
