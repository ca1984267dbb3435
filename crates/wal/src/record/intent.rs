//! Intents: operations that were taken. What they carry is in `action.rs`.

use lockstep_model::{Action, Idempotency, Key, Operation, Precondition, Shape, Table, Version};
use serde::{Deserialize, Serialize};

use crate::record::action::{Carried, WireAction};
use crate::record::{Caller, peek};

/// An operation that was taken. Its LSN is the operation's; its name follows from log, LSN and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// How new what it writes is.
    pub version: Version,
    /// When it was logged, in microseconds since 1970.
    pub at_us: u64,
    /// Who asked.
    pub caller: Caller,
    /// Whether it has work in the vector store, as its table stood when it was logged.
    pub wants_vectors: bool,
    /// The vectors of the tables where this operation is the one that fixed them.
    pub defines: Vec<(Table, Shape)>,
    /// What was asked for. Keys that the server made are in it.
    pub op: Operation,
}

// The wire form. Order is the format.

#[derive(Serialize, Deserialize)]
pub(super) struct WireIntent {
    version: u64,
    at_us: u64,
    uid: Option<u32>,
    wants_vectors: bool,
    defines: Option<Shape>,
    if_version: Option<u64>,
    if_absent: bool,
    idempotency: Option<(String, [u8; 16])>,
    action: WireAction,
}

impl TryFrom<&Intent> for WireIntent {
    type Error = String;

    fn try_from(intent: &Intent) -> Result<Self, String> {
        let mut action = WireAction::try_from(&intent.op.action)?.under(&intent.op.members)?;
        let mut defines = None;
        if !intent.defines.is_empty() {
            let shapes = intent.defines.iter().map(|(table, shape)| (table.to_string(), shape.clone()));
            if matches!(intent.op.action, Action::Atomic(_)) {
                action = action.defining(shapes.collect());
            } else {
                defines = shapes.map(|(_, shape)| shape).next();
            }
        }
        Ok(Self {
            version: intent.version.0,
            at_us: intent.at_us,
            uid: intent.caller.uid,
            wants_vectors: intent.wants_vectors,
            defines,
            if_version: intent.op.precondition.if_version.map(|v| v.0),
            if_absent: intent.op.precondition.if_absent,
            idempotency: intent.op.idempotency.as_ref().map(|i| (i.key.clone(), i.body_hash)),
            action,
        })
    }
}

impl WireIntent {
    /// Without what its operation carries.
    pub(super) fn bare(self) -> Self {
        Self { action: self.action.bare(), ..self }
    }

    pub(super) fn into_intent(self) -> Result<Intent, String> {
        let Carried { action, shapes: mut defines, members } = self.action.into_carried()?;
        if let (Some(shape), Some(table)) = (self.defines, action.table()) {
            defines.push((table.clone(), shape));
        }
        Ok(Intent {
            version: Version(self.version),
            at_us: self.at_us,
            caller: Caller { uid: self.uid },
            wants_vectors: self.wants_vectors,
            defines,
            op: Operation {
                action,
                precondition: Precondition { if_version: self.if_version.map(Version), if_absent: self.if_absent },
                members,
                idempotency: self.idempotency.map(|(key, body_hash)| Idempotency { key, body_hash }),
            },
        })
    }
}

/// What an intent's payload begins with, as far as the key of a single action.
#[derive(Deserialize)]
struct WireIntentHead {
    _version: u64,
    _at_us: u64,
    _uid: Option<u32>,
    _wants_vectors: bool,
    _defines: Option<Shape>,
    _if_version: Option<u64>,
    _if_absent: bool,
    _idempotency: Option<(String, [u8; 16])>,
    action: u32,
    member: u32,
    key: String,
}

/// The key that the beginning of an intent's payload names, if it is one of a single action and the bytes go so far. They may be
/// damaged: what is no key is none, what looks like one may be wrong.
pub(crate) fn key_in(payload: &[u8]) -> Option<Key> {
    let head: WireIntentHead = peek(payload)?;
    // The variants of WireAction::One, and of those members that begin with a key.
    if head.action != 0 || head.member > 4 { None } else { head.key.parse().ok() }
}
