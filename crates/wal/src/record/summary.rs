//! Values beside the sequence: what is kept of an operation that has left the log, and of its idempotency key.

use lockstep_model::{ActionKind, Key, Lsn, OpId, State, Version};
use serde::{Deserialize, Serialize};

use crate::log::{Kind, MAX_SIDE};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstUse {
    /// The operation.
    pub op: Lsn,
    /// [`lockstep_model::Idempotency::body_hash`].
    pub body_hash: [u8; 16],
    /// The keys of a group's members, which its first answer told. None for what is no group, nor where they take too much.
    pub keys: Vec<Key>,
}

impl FirstUse {
    /// The bytes that are kept: at most [`MAX_SIDE`], without the keys if they do not fit.
    ///
    /// # Errors
    /// [`RecordError::Unencodable`]
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        let bare = pack(IDEMPOTENCY, &(self.op, self.body_hash))?;
        if self.keys.is_empty() {
            return Ok(bare);
        }
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        let whole = pack(IDEMPOTENCY, &(self.op, self.body_hash, keys))?;
        Ok(if whole.len() <= MAX_SIDE { whole } else { bare })
    }

    /// Reads them back.
    ///
    /// # Errors
    /// [`RecordError::Future`] and [`RecordError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        // Of what is no group, and before keys were kept, nothing follows.
        if let Ok((op, body_hash)) = unpack(IDEMPOTENCY, bytes) {
            return Ok(Self { op, body_hash, keys: Vec::new() });
        }
        let (op, body_hash, keys): (_, _, Vec<String>) = unpack(IDEMPOTENCY, bytes)?;
        let keys = keys.iter().map(|key| key_from(key)).collect::<Result<_, _>>();
        Ok(Self { op, body_hash, keys: keys.map_err(|detail| malformed(IDEMPOTENCY, detail))? })
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
