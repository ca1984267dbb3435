//! Why a log cannot be repaired.

use std::path::PathBuf;

use lockstep_model::Lsn;

use crate::error::LogError;
use crate::raw::RawError;
use crate::record::RecordError;

/// Why a log was not repaired. The directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// It cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] RawError),
    /// A newer program wrote it: nothing is damaged.
    #[error(
        "{what} has format {version}, which this program does not know: use the wal-tools that wrote the log; if no newer one did, it is damage: --not-newer"
    )]
    Future {
        /// What.
        what: &'static str,
        /// In which format.
        version: u8,
    },
    /// Files of two logs lie in one directory.
    #[error("the high-water file belongs to another log than db: put back the files that belong together")]
    MixedLogs,
    /// Nothing is there to be saved.
    #[error(
        "there is no db file, so there are no records to save: restore the directory from a backup, or move it away"
    )]
    NoDb,
    /// The log's id is nowhere to be found.
    #[error(
        "neither the high-water file nor a record tells the log's id: name it (SurrealDB has it in lockstep_meta:fence)"
    )]
    NoId,
    /// There is no room for the new log.
    #[error("the new log takes some {needed} bytes, and {free} are free beside {}", dir.display())]
    NoRoom {
        /// The log's directory.
        dir: PathBuf,
        /// What it takes.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// A record cannot be written again.
    #[error("record {lsn} cannot be written again")]
    Record {
        /// Which.
        lsn: Lsn,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// A file could not be written, or sled failed on the new log.
    #[error("the new log cannot be written")]
    Write(#[from] LogError),
    /// It was stopped before a step.
    #[error("stopped: beginning again finishes the repair")]
    Stopped,
    /// The new log is not what was to be written. It was not put in the old one's place.
    #[error("the new log is not what was written ({0}): the old one stays")]
    Check(String),
}
