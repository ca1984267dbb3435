//! What a repair has to report: for programs one JSON object a line, beside the bytes that were put aside.

use lockstep_model::{Key, Lsn, State};
use serde::Serialize;

/// Records that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostRecords {
    /// The first of them.
    pub lsn: Lsn,
    /// The last of them.
    pub last: Lsn,
    /// What it was, where a header survived: `intent`, `image`, `mark`, …
    pub kind: Option<&'static str>,
    /// The key of an operation whose intent is lost.
    pub key: Option<String>,
    /// Whether the key is so; else damaged bytes look like it.
    pub key_is_certain: bool,
    /// Why it cannot be read.
    pub reason: String,
    /// How many of its chunks were found, whole or not.
    pub chunks: usize,
    /// The file in the quarantine that has them, one behind the other.
    pub bytes_file: Option<String>,
}

/// What follows for an operation that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was open before a loss: how it went on is not known. It is parked.
    Parked,
    /// It committed before a loss: what is lost may have removed or overwritten it. It is not written again by itself.
    NotVerified,
    /// It stands on a key of a lost operation, behind it. It stays as it is.
    FollowsLost,
}

impl Effect {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::NotVerified => "not_verified",
            Self::FollowsLost => "follows_lost",
        }
    }
}

/// An operation for which something follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// The operation.
    pub op: Lsn,
    /// What it is about.
    pub key: Option<Key>,
    /// Where it stood.
    pub state: State,
    /// What follows.
    pub effect: Effect,
}
