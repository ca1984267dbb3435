//! What a raw read has to say about a log.

use std::fmt;
use std::path::PathBuf;

use lockstep_model::Lsn;

use crate::chunk::FORMAT;
use crate::ranges::LsnRanges;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Normal, also after a crash.
    Info,
    /// Odd; nothing is lost.
    Warning,
    /// Something that was durable is lost, damaged or not understood: the daemon refuses to open the log.
    Damage,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A record that should be there has a damaged chunk.
    DamagedRecord {
        /// Its place.
        lsn: Lsn,
        /// Where the damaged chunk begins in `db`; `None` if only others of its chunks were found.
        offset: Option<u64>,
    },
    /// Records that should be there are not: no chunk of them was found.
    MissingRecords(LsnRanges),
    /// A TRIM entry cannot be understood.
    BadTrim(Lsn),
    /// Whole groups above the high-water mark: written, perhaps not acknowledged. An open may keep them or not.
    UnacknowledgedTail {
        /// The first.
        first: Lsn,
        /// The last.
        last: Lsn,
    },
    /// Parts of groups above the high-water mark, written when the process or the power went. Nobody was told of them.
    TornTail {
        /// The first LSN of which anything was found.
        from: Lsn,
        /// How many chunks there are.
        chunks: u64,
    },
    /// Damaged chunks that no record needs: remains of what has been removed or overwritten.
    Remains(u64),
    /// The high-water file is missing or says nothing.
    NoHighWater(String),
    /// One slot of the high-water file is not whole: a write was torn, or it is damaged.
    HighWaterSlot,
    /// `db` is missing.
    NoDb,
    /// The high-water file and the log belong to different logs.
    MixedLogs,
    /// Something was written by a newer program.
    FutureFormat {
        /// What.
        what: &'static str,
        /// In which format.
        version: u8,
    },
    /// sled was writing a snapshot when the process or the power went. The next open removes it.
    Leftover(PathBuf),
    /// A process has the log open: what is read now may be neither before nor after a write.
    HeldBy {
        /// The process, if its lock file says so.
        pid: Option<u32>,
    },
}

impl Finding {
    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::DamagedRecord { .. }
            | Self::MissingRecords(_)
            | Self::BadTrim(_)
            | Self::NoHighWater(_)
            | Self::NoDb
            | Self::MixedLogs
            | Self::FutureFormat { .. } => Severity::Damage,
            Self::HighWaterSlot | Self::HeldBy { .. } => Severity::Warning,
            Self::UnacknowledgedTail { .. } | Self::TornTail { .. } | Self::Remains(_) | Self::Leftover(_) => {
                Severity::Info
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedRecord { lsn, offset: Some(offset) } => {
                write!(f, "record {lsn} is damaged (chunk at byte {offset} of db)")
            }
            Self::DamagedRecord { lsn, offset: None } => write!(f, "record {lsn} is damaged (a chunk is missing)"),
            Self::MissingRecords(lsns) if lsns.count() == 1 => write!(f, "record {lsns} is missing"),
            Self::MissingRecords(lsns) => write!(f, "records {lsns} are missing"),
            Self::BadTrim(lsn) => write!(f, "the list of trimmed ranges in record {lsn} cannot be understood"),
            Self::UnacknowledgedTail { first, last } => {
                write!(f, "records {first} to {last} are above the high-water mark: whole, perhaps not acknowledged")
            }
            Self::TornTail { from, chunks } => {
                write!(f, "{chunks} chunks of a torn, unacknowledged tail from record {from} on")
            }
            Self::Remains(1) => f.write_str("1 damaged chunk that no record needs"),
            Self::Remains(count) => write!(f, "{count} damaged chunks that no record needs"),
            Self::NoHighWater(why) => write!(f, "no high-water mark: {why}"),
            Self::HighWaterSlot => f.write_str("one slot of the high-water file is not whole"),
            Self::NoDb => f.write_str("there is no db file"),
            Self::MixedLogs => f.write_str("the high-water file belongs to another log than db"),
            Self::FutureFormat { what, version } => {
                write!(f, "{what} has format {version}; this program knows formats up to {FORMAT}")
            }
            Self::Leftover(path) => {
                write!(f, "{} is left over from an interrupted snapshot; the next open removes it", path.display())
            }
            Self::HeldBy { pid: Some(pid) } => write!(f, "process {pid} has the log open"),
            Self::HeldBy { pid: None } => f.write_str("a process has the log open"),
        }
    }
}
