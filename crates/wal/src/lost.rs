//! What `wal-tools repair` puts where records could not be read: that something stood here, and is lost.
//!
//! A [`Lost`] record stands at the first LSN of a stretch that is lost; the rest of the stretch has left. So the sequence stays
//! dense, and whoever folds the log meets the loss where it happened: what stands before it may have gone further than the log
//! still tells (a mark, an image, a decision may be among what is lost), what stands behind it has not.

use lockstep_model::Lsn;
use serde::{Deserialize, Serialize};

use crate::record::Caller;

/// A stretch of the sequence is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The last LSN of the stretch; this record's own is the first.
    pub last: Lsn,
    /// Whether any of the lost records can have said how an older operation went on. Not where all that is lost is known to have
    /// been intents, checkpoints and the like.
    pub hides_progress: bool,
    /// Whether any of the lost records can have been an operation, which may have written what older ones wrote.
    pub hides_operations: bool,
    /// When it was put here, in microseconds since 1970.
    pub at_us: u64,
    /// Who repaired the log.
    pub caller: Caller,
}
