//! Values beside the sequence: what is kept of an operation that has left the log, and of its idempotency key.

use lockstep_model::{ActionKind, Key, Lsn, OpId, State, Version};
use serde::{Deserialize, Serialize};

use crate::log::Kind;
use crate::record::action::key_from;
use crate::record::mark::{Failure, WireFailure, state_from};
use crate::record::{RecordError, malformed, pack, unpack};

const SUMMARY: Kind = Kind(5);
const IDEMPOTENCY: Kind = Kind(6);

/// What is kept of an operation that has left the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub op_id: OpId,
    /// Its version.
    pub version: Version,
    /// What it was.
    pub kind: ActionKind,
    /// What it was about.
    pub key: Option<Key>,
    /// Attempts that counted.
    pub attempts: u32,
    /// Its states, with the times in microseconds since 1970; the last is how it ended.
    pub history: Vec<(State, u64)>,
    /// Why it did not commit.
    pub failure: Option<Failure>,
    /// The digest of its idempotency key.
    pub idempotency: Option<[u8; 16]>,
}

impl Summary {
    /// The bytes that are kept.
    ///
    /// # Errors
    /// [`RecordError::Unencodable`]
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        pack(SUMMARY, &WireSummary::from(self))
    }

    /// Reads them back.
    ///
    /// # Errors
    /// [`RecordError::Future`] and [`RecordError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let wire: WireSummary = unpack(SUMMARY, bytes)?;
        wire.into_summary().map_err(|d| malformed(SUMMARY, d))
    }
}

/// What an idempotency key stands for: the operation that came first, and a hash of what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstUse {
    /// The operation.
    pub op: Lsn,
    /// [`lockstep_model::Idempotency::body_hash`].
    pub body_hash: [u8; 16],
}

impl FirstUse {
    /// The bytes that are kept.
    ///
    /// # Errors
    /// [`RecordError::Unencodable`]
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        pack(IDEMPOTENCY, self)
    }

    /// Reads them back.
    ///
    /// # Errors
    /// [`RecordError::Future`] and [`RecordError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        unpack(IDEMPOTENCY, bytes)
    }
}

// The wire form. Order is the format.

#[derive(Serialize, Deserialize)]
struct WireSummary {
    op_id: OpId,
    version: u64,
    kind: u8,
    key: Option<String>,
    attempts: u32,
    history: Vec<(u8, u64)>,
    failure: Option<WireFailure>,
    idempotency: Option<[u8; 16]>,
}

impl From<&Summary> for WireSummary {
    fn from(s: &Summary) -> Self {
        Self {
            op_id: s.op_id,
            version: s.version.0,
            kind: s.kind.code(),
            key: s.key.as_ref().map(ToString::to_string),
            attempts: s.attempts,
            history: s.history.iter().map(|(state, at)| (state.code(), *at)).collect(),
            failure: s.failure.as_ref().map(WireFailure::from),
            idempotency: s.idempotency,
        }
    }
}

impl WireSummary {
    fn into_summary(self) -> Result<Summary, String> {
        Ok(Summary {
            op_id: self.op_id,
            version: Version(self.version),
            kind: ActionKind::from_code(self.kind).ok_or_else(|| format!("no action has the number {}", self.kind))?,
            key: self.key.as_deref().map(key_from).transpose()?,
            attempts: self.attempts,
            history: self
                .history
                .into_iter()
                .map(|(state, at)| Ok((state_from(state)?, at)))
                .collect::<Result<_, String>>()?,
            failure: self.failure.map(WireFailure::into_failure).transpose()?,
            idempotency: self.idempotency,
        })
    }
}
