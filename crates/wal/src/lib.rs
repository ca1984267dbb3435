//! The write-ahead log: a durable, dense sequence of records on sled 0.34, which is not trusted.
//!
//! From the outside in: [`log`] is the interface, [`SledLog`] and [`MemLog`] keep it. [`chunk`] is the format on
//! disk and needs no sled to be read; [`RawLog`] reads it so, and never writes. What a payload says is not known
//! in this half of the crate: bytes in, bytes out.

mod asked;
mod boot;
mod check;
pub mod chunk;
mod copy;
mod disk;
mod error;
pub mod fault;
mod fold;
mod highwater;
mod layout;
mod ledger;
mod live;
mod lock;
pub mod log;
mod lost;
mod mem_log;
mod open;
mod plan;
mod queue;
mod ranges;
pub mod raw;
mod record;
pub mod repair;
#[cfg(feature = "schedules")]
pub mod schedules;
mod sled_log;
mod space;
mod states;
mod store;
mod sync;
mod threads;
mod ticket;
mod writer;

pub use asked::{Asked, Decisions, Declined, MAX_NOTE, Verdict};
pub use error::{ErrorClass, Kept, LogError, UsageError};
pub use fold::{Fold, Irregular, KnownShape, OpHead};
pub use highwater::{HighWater, HighWaterError};
pub use lock::{LockNote, is_locked};
pub use log::{
    Appended, Class, Durability, Entry, Group, Kind, Log, MAX_PAYLOAD, MAX_SIDE, Positions, Pressure, SideKey, Space,
    Usage,
};
pub use lost::Lost;
pub use mem_log::MemLog;
pub use open::{OpenOptions, OpenReport};
pub use plan::{Decision, LastWrites, plan};
pub use ranges::LsnRanges;
pub use raw::{Finding, RawError, RawLog, RawRecord, RawSide, Severity};
pub use record::{
    Before, Caller, Checkpoint, FORMAT, Failure, FirstUse, ImageRecord, Intent, LoggedPoint, LoggedPointId, Mark,
    MemberOutcome, Outcome, PointBefore, Record, RecordError, ShapeRow, Summary, document_bytes, document_from_bytes,
};
pub use sled_log::SledLog;
pub use space::SpaceProbe;
pub use states::States;
pub use ticket::{Ticket, Waiter};
