//! The log as its users see it: one dense sequence of entries, and small values beside it.
//!
//! Nothing here knows sled, files or what a payload means. `SledLog` keeps the promises
//! below on disk; `MemLog` keeps them in memory and loses on demand what was not durable.
//!
//! Invariants, in words that the tests use:
//! - The calls of [`Log::append`] have an order; entries get consecutive LSNs in that order, from 1 on.
//! - After a crash the log holds a prefix of that order: whole groups, none missing before one that is there.
//!   Every group whose ticket had resolved is in that prefix.
//! - Every LSN up to the last is either live or recorded as having left. Anything else is loss, and said.

use std::ops::ControlFlow;
use std::sync::Arc;

use lockstep_model::{LogId, Lsn};
use tokio::sync::watch;

use crate::error::LogError;
use crate::ticket::Ticket;

/// What an entry is. The log stores it and gives it back; only the kinds from 200 on mean something to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// The log's own: the ranges of LSNs that have left.
    pub const TRIM: Self = Self(200);
    /// The log's own: an incarnation begins here.
    pub const BOOT: Self = Self(201);

    /// Whether the kind belongs to the log itself. Such entries take LSNs, but no scan shows them.
    #[must_use]
    pub const fn is_of_the_log(self) -> bool {
        self.0 >= 200
    }

    /// Whether a caller may append it: 1 to 199.
    #[must_use]
    pub const fn is_free_to_use(self) -> bool {
        self.0 >= 1 && !self.is_of_the_log()
    }
}

/// One record of the sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// What it says; at most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

/// The longest payload of an entry.
pub const MAX_PAYLOAD: usize = 64 << 20;

/// The longest value beside the sequence: it has to fit into one chunk.
pub const MAX_SIDE: usize = 3 << 10;

/// The name of a small value beside the sequence. It has no LSN, can be overwritten and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SideKey {
    /// What is kept of an entry that has left.
    Summary(Lsn),
    /// What an idempotency key (its hash) stands for.
    Idempotency([u8; 16]),
    /// Anything of which there is one: a cursor, a checkpoint.
    Note(u8),
}

/// What goes into the log together: all of it, or after a crash none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// New entries, in order.
    pub entries: Vec<Entry>,
    /// Live entries that leave. If there are any, the log appends an entry of its own after `entries`.
    pub remove: Vec<Lsn>,
    /// Values to write (`Some`) or to remove (`None`) beside the sequence.
    pub side: Vec<(SideKey, Option<Vec<u8>>)>,
    /// When it has to be on disk.
    pub durability: Durability,
    /// Whether it may be refused for want of space.
    pub class: Class,
}

impl Group {
    /// A group of nothing yet, to be filled.
    #[must_use]
    pub const fn new(durability: Durability, class: Class) -> Self {
        Self { entries: Vec::new(), remove: Vec::new(), side: Vec::new(), durability, class }
    }
}

/// When a group has to be on disk. In both cases its ticket resolves when it is, and not before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// As soon as the disk can.
    Flush,
    /// With the next group that asks for [`Durability::Flush`], or after some 20 ms if none comes.
    Lazy,
}

/// What a group is for, which decides what happens when space is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// New work: refused early, with [`LogError::Full`].
    Intake,
    /// What ends work that is in the log already: goes on for as long as the disk takes it.
    Drain,
}

/// Where a group stands.
#[derive(Debug)]
pub struct Appended {
    /// The LSN of the first entry; the others follow it one by one. Without entries: the LSN that comes next.
    pub first: Lsn,
    /// Resolves when the group is durable, or when it will never be.
    pub ticket: Ticket,
}

/// How far the log is. `trimmed_below` and `first` move up as entries leave; `durable <= appended` always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// The lowest live entry of a caller, or if there is none, the LSN after the last.
    pub first: Lsn,
    /// The last LSN given; 0 in an empty log.
    pub appended: Lsn,
    /// The last LSN that survives a power cut; 0 if there is none.
    pub durable: Lsn,
    /// Every entry of a caller below this has left.
    pub trimmed_below: Lsn,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// Enough.
    Ample,
    /// Under the floor, or not yet far enough above it to restore the ballast that was given up: new work is
    /// refused, what is there goes on.
    Reserve,
    /// No ballast left, and less than a quarter of the floor: what is there may fail soon, too.
    Full,
}

/// How much more the log can take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Room on its disk, as it was seen last.
    pub space: Space,
    /// Bytes of payload appended and not yet written.
    pub queued_bytes: u64,
}

/// What the log holds and costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Entries of callers that have not left.
    pub live_entries: u64,
    /// Bytes of their payloads.
    pub live_bytes: u64,
    /// Bytes of the values beside the sequence.
    pub side_bytes: u64,
    /// Bytes of payload appended and not yet written.
    pub queued_bytes: u64,
    /// Bytes that the log's files take on disk, without the ballast. 0 for a log without files.
    pub disk_bytes: u64,
    /// Bytes free on the log's file system; `None` if that is not known.
    pub free_bytes: Option<u64>,
    /// What follows from `free_bytes`.
    pub space: Space,
    /// Bytes of ballast on disk, to be given up when space is short.
    pub ballast_bytes: u64,
    /// How long the last durable write took; `None` before the first.
    pub last_flush_us: Option<u64>,
    /// Durable writes of this incarnation so far.
    pub flushes: u64,
}

/// A durable, ordered log of opaque entries, with a few small values beside it.
///
/// Object safe: the engine holds an `Arc<dyn Log>`. Every method may be called from any thread; none but
/// [`Log::close`] waits for the disk to write.
pub trait Log: Send + Sync + 'static {
    /// Puts a group at the end of the log and returns at once.
    ///
    /// After `Ok`: the LSNs are taken, [`Log::read`] and [`Log::side`] show the group, and nothing about it is
    /// durable until the ticket has resolved. The order of the calls is the order in the log.
    /// After `Err`: nothing of the group is in the log and no LSN is taken.
    ///
    /// # Errors
    /// [`LogError::Full`] for [`Class::Intake`] when space is short; [`LogError::Usage`] if the group breaks
    /// a rule of this interface (a kind or a size out of bounds, a removal of what is not live);
    /// [`LogError::Failed`] and [`LogError::Closed`] once the log has stopped.
    fn append(&self, group: Group) -> Result<Appended, LogError>;

    /// The live entry at `lsn`, durable or not; `None` if it has left, or was never there.
    ///
    /// # Errors
    /// If what is on disk cannot be read or is damaged.
    fn read(&self, lsn: Lsn) -> Result<Option<Entry>, LogError>;

    /// Shows the live entries from `from` on, in LSN order, until `each` breaks. Entries of the log itself are
    /// left out. What is appended or leaves meanwhile may be shown or not.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn scan(&self, from: Lsn, each: &mut dyn FnMut(Lsn, Entry) -> ControlFlow<()>) -> Result<(), LogError>;

    /// The value at `key`, durable or not.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn side(&self, key: &SideKey) -> Result<Option<Vec<u8>>, LogError>;

    /// Shows the summaries of LSNs below `below`, newest first, until `each` breaks.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn scan_summaries(&self, below: Lsn, each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>)
    -> Result<(), LogError>;

    /// Shows at most `limit` summaries that have been written, oldest first, until `each` breaks. What waits to be written may
    /// be missing, and what waits to be removed may still be shown.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn oldest_summaries(
        &self,
        limit: usize,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError>;

    /// How far the log is now.
    fn positions(&self) -> Positions;

    /// What admission asks before each operation: cheap, without a look at the disk.
    fn pressure(&self) -> Pressure;

    /// What the log holds and costs now. Looks at the log's files.
    fn usage(&self) -> Usage;

    /// Which log this is.
    fn id(&self) -> LogId;

    /// How often this log has been opened, this time included.
    fn incarnation(&self) -> u32;

    /// Why the log has stopped for good, if it has. The first error; later ones only follow from it.
    fn failure(&self) -> Option<Arc<LogError>>;

    /// Turns true when [`Log::failure`] has something to say, and stays so.
    fn failed(&self) -> watch::Receiver<bool>;

    /// Makes everything appended so far durable and stops the log. Every later append gets
    /// [`LogError::Closed`]; reads get it too. Closing twice is fine.
    ///
    /// Correctness never depends on it: a log that was not closed opens just as well.
    ///
    /// # Errors
    /// What kept the rest from becoming durable.
    fn close(&self) -> Result<(), LogError>;
}
