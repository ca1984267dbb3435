//! What can go wrong with a log, and who has to do something about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lockstep_model::Lsn;

use crate::chunk::ChunkError;
use crate::ranges::LsnRanges;

/// What went wrong. The message names the place; the source is not repeated in it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has the log open.
    #[error("the log in {} is held by another process{}", dir.display(), Holder { pid: *pid, socket })]
    Held {
        /// The log's directory.
        dir: PathBuf,
        /// Who holds it, as its lock file says.
        pid: Option<u32>,
        /// Where that process listens, as its lock file says; may be empty.
        socket: String,
    },
    /// A file or directory of the log could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// sled refused.
    #[error("sled cannot {doing} in {}", dir.display())]
    Sled {
        /// What was tried.
        doing: &'static str,
        /// The log's directory.
        dir: PathBuf,
        /// What sled said.
        source: sled::Error,
    },
    /// sled panicked instead of refusing.
    #[error("sled panicked while it had to {doing} in {}: {message}", dir.display())]
    Panicked {
        /// What was tried.
        doing: &'static str,
        /// The log's directory.
        dir: PathBuf,
        /// What the panic said.
        message: String,
    },
    /// Records that were durable are gone.
    #[error(
        "the log in {} has lost records: {missing} missing, last record {last}, durable up to {high_water}; {kept}; \
         see `wal-tools --wal {} verify`",
        dir.display(), dir.display()
    )]
    Lost {
        /// The log's directory.
        dir: PathBuf,
        /// The LSNs that should be there.
        missing: LsnRanges,
        /// The last LSN that is there.
        last: Lsn,
        /// The last LSN that was durable.
        high_water: Lsn,
        /// Whether a copy from before sled touched it was kept.
        kept: Kept,
    },
    /// Bytes of the log are not what was written.
    #[error("the log in {} is damaged: {diagnosis}; {kept}; see `wal-tools --wal {} verify`", dir.display(), dir.display())]
    Damaged {
        /// The log's directory.
        dir: PathBuf,
        /// What was found.
        diagnosis: String,
        /// Whether a copy from before sled touched it was kept.
        kept: Kept,
    },
    /// One record of an open log cannot be read back.
    #[error("record {lsn} of the log in {} cannot be read back", dir.display())]
    Record {
        /// The log's directory.
        dir: PathBuf,
        /// Which record; for a value beside the sequence, where it was written.
        lsn: Lsn,
        /// What is wrong with it.
        source: ChunkError,
    },
    /// The log was written by a newer Lockstep.
    #[error("{} is written in format {version}; this program knows formats up to {known}", path.display())]
    FutureFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u8,
        /// The newest format that this program knows.
        known: u8,
    },
    /// The directory holds something else.
    #[error("{} is not a log: {reason}", dir.display())]
    NotALog {
        /// The directory.
        dir: PathBuf,
        /// How one can tell.
        reason: String,
    },
    /// Space is short: new work is refused, what is in the log goes on.
    #[error("the file system of the log has {} free, less than the {floor_bytes} bytes that it keeps", Free(*free_bytes))]
    Full {
        /// What is free; `None` if that is not known.
        free_bytes: Option<u64>,
        /// What has to stay free.
        floor_bytes: u64,
    },
    /// A durable write took so long that it counts as failed.
    #[error("a flush of the log in {} took longer than {limit_ms} ms", dir.display())]
    SlowFlush {
        /// The log's directory.
        dir: PathBuf,
        /// How long it may take.
        limit_ms: u64,
    },
    /// The log stopped for good at an earlier error.
    #[error("the log has failed and takes nothing more")]
    Failed(#[source] Arc<LogError>),
    /// The log has been closed.
    #[error("the log is closed")]
    Closed,
    /// The caller broke a rule of the interface; nothing happened.
    #[error("the log refuses the group: {0}")]
    Usage(#[from] UsageError),
}

/// A rule of [`Log::append`](crate::Log::append) that a caller broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A kind outside 1 to 199.
    #[error("kind {0} is not free to use")]
    Kind(u8),
    /// A payload over [`MAX_PAYLOAD`](crate::MAX_PAYLOAD).
    #[error("a payload of {0} bytes is too long")]
    Payload(usize),
    /// A value over [`MAX_SIDE`](crate::MAX_SIDE).
    #[error("a side value of {0} bytes is too long")]
    Side(usize),
    /// A removal of an LSN that is not live, or of the same one twice.
    #[error("record {0} is not live and cannot leave")]
    NotLive(Lsn),
}

/// Who should act, and how. Exit codes and HTTP statuses follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Another process has it: stop that one, or talk to it.
    Held,
    /// What is on disk cannot be trusted or understood: exit 3, an operator looks.
    Unreadable,
    /// Wait for space, or make some.
    Full,
    /// Stop the process; a new one recovers.
    Fatal,
    /// A fault of the calling code.
    Usage,
}

impl LogError {
    /// Who should act.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Held { .. } => ErrorClass::Held,
            Self::Lost { .. }
            | Self::Damaged { .. }
            | Self::Record { .. }
            | Self::FutureFormat { .. }
            | Self::NotALog { .. } => ErrorClass::Unreadable,
            Self::Full { .. } => ErrorClass::Full,
            Self::Io { .. } | Self::Sled { .. } | Self::Panicked { .. } | Self::SlowFlush { .. } | Self::Closed => {
                ErrorClass::Fatal
            }
            Self::Failed(first) => first.class(),
            Self::Usage(_) => ErrorClass::Usage,
        }
    }

    /// Whether it tells of the system (rights, room, a device), and nothing of the log's content.
    pub(crate) fn is_of_the_system(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Full { .. } => true,
            Self::Sled { source: sled::Error::Io(source), .. } => source.raw_os_error().is_some(),
            Self::Held { .. }
            | Self::Sled { .. }
            | Self::Panicked { .. }
            | Self::Lost { .. }
            | Self::Damaged { .. }
            | Self::Record { .. }
            | Self::FutureFormat { .. }
            | Self::NotALog { .. }
            | Self::SlowFlush { .. }
            | Self::Failed(_)
            | Self::Closed
            | Self::Usage(_) => false,
        }
    }
}

/// Whether the directory was copied before sled opened it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Nothing has been changed: there is nothing to copy for.
    Untouched,
    /// The copy is here.
    Copy(PathBuf),
    /// There is an older copy here, and never a second.
    Earlier(PathBuf),
    /// There is none, and why.
    None(String),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched => f.write_str("nothing has been changed"),
            Self::Copy(path) => write!(f, "a copy from before the open is in {}", path.display()),
            Self::Earlier(path) => write!(f, "an earlier copy is in {}, no second was made", path.display()),
            Self::None(why) => write!(f, "no copy from before the open was kept ({why})"),
        }
    }
}

struct Holder<'a> {
    pid: Option<u32>,
    socket: &'a str,
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pid) = self.pid {
            write!(f, ", pid {pid}")?;
        }
        if !self.socket.is_empty() {
            write!(f, ", listening on {}", self.socket)?;
        }
        Ok(())
    }
}

struct Free(Option<u64>);

impl fmt::Display for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{bytes} bytes"),
            None => f.write_str("an unknown number of bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_class() {
        let dir = PathBuf::from("d");
        let cases = [
            (LogError::Held { dir: dir.clone(), pid: Some(1), socket: String::new() }, ErrorClass::Held),
            (LogError::Io { doing: "read", path: dir.clone(), source: io::ErrorKind::Other.into() }, ErrorClass::Fatal),
            (
                LogError::Sled { doing: "read", dir: dir.clone(), source: sled::Error::Unsupported(String::new()) },
                ErrorClass::Fatal,
            ),
            (LogError::Panicked { doing: "read", dir: dir.clone(), message: String::new() }, ErrorClass::Fatal),
            (
                LogError::Lost {
                    dir: dir.clone(),
                    missing: LsnRanges::default(),
                    last: Lsn(0),
                    high_water: Lsn(1),
                    kept: Kept::Untouched,
                },
                ErrorClass::Unreadable,
            ),
            (
                LogError::Damaged { dir: dir.clone(), diagnosis: String::new(), kept: Kept::Untouched },
                ErrorClass::Unreadable,
            ),
            (LogError::Record { dir: dir.clone(), lsn: Lsn(1), source: ChunkError::Body }, ErrorClass::Unreadable),
            (LogError::FutureFormat { path: dir.clone(), version: 2, known: 1 }, ErrorClass::Unreadable),
            (LogError::NotALog { dir: dir.clone(), reason: String::new() }, ErrorClass::Unreadable),
            (LogError::Full { free_bytes: None, floor_bytes: 1 }, ErrorClass::Full),
            (LogError::SlowFlush { dir, limit_ms: 1 }, ErrorClass::Fatal),
            (LogError::Failed(Arc::new(LogError::Closed)), ErrorClass::Fatal),
            (LogError::Closed, ErrorClass::Fatal),
            (LogError::Usage(UsageError::Kind(200)), ErrorClass::Usage),
        ];
        for (error, class) in cases {
            assert_eq!(error.class(), class, "{error}");
        }
    }

    #[test]
    fn a_held_log_says_by_whom() {
        let held = LogError::Held { dir: PathBuf::from("d"), pid: Some(7), socket: "s".into() };
        assert_eq!(held.to_string(), "the log in d is held by another process, pid 7, listening on s");
    }
}
