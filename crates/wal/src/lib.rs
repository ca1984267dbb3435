//! The write-ahead log: a durable, dense sequence of records on sled 0.34, which is not trusted.
//!
//! From the outside in: [`log`] is the interface, `SledLog` and `MemLog` keep it. [`chunk`] is the format on
//! disk and needs no sled to be read; `RawLog` reads it so, and never writes. What a payload says is not known
//! in this half of the crate: bytes in, bytes out.

pub mod chunk;
mod error;
pub mod log;
mod ranges;
mod ticket;

pub use error::{ErrorClass, Kept, LogError, UsageError};
pub use log::{
    Appended, Class, Durability, Entry, Group, Kind, Log, MAX_PAYLOAD, MAX_SIDE, Positions, SideKey, Space, Usage,
};
pub use ranges::LsnRanges;
pub use ticket::Ticket;
