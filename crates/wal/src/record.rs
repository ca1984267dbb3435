//! What the engine writes into the log: the typed payloads, format v1.
//!
//! This is the only file that knows bincode. Field order and variant order are the format: bincode 2.0.1,
//! little-endian, fixed-length integers, no names. Each payload begins with one version byte ([`FORMAT`]); a higher one is refused.
//! The structs here mirror the model's types and are never those types: documents travel as the bytes of their tagged JSON,
//! vectors as the bytes of the model's own codec, images in the store's own encoding. Golden bytes are held in the tests.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use lockstep_model::{
    Action, ActionKind, Code, Document, Filter, Idempotency, Key, Lsn, OpId, Operation, PointId, Precondition, Shape,
    State, Table, UnrelateTarget, Vectors, Version,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::asked::{Asked, Declined};
use crate::log::{Entry, Kind};
use crate::lost::Lost;

/// The version of the payloads' format.
pub const FORMAT: u8 = 1;

/// No length inside a payload is believed beyond this.
const MAX_BYTES: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_BYTES>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<MAX_BYTES>();

/// A payload that cannot be read, or not by this version.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer Lockstep.
    #[error("payload format {found} is newer than this program's {FORMAT}: use the Lockstep that wrote the log")]
    Future {
        /// The version byte.
        found: u8,
    },
    /// Not a payload of this kind.
    #[error("payload of kind {kind} cannot be decoded: {detail}")]
    Malformed {
        /// The entry's kind.
        kind: u8,
        /// What was wrong.
        detail: String,
    },
    /// Too large to be encoded.
    #[error("payload of kind {kind} cannot be encoded: {detail}")]
    Unencodable {
        /// The entry's kind.
        kind: u8,
        /// What was wrong.
        detail: String,
    },
}

/// A record of the log, decoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// An operation was taken.
    Intent(Box<Intent>),
    /// What the stores held for an operation's keys before it, and what follows from that.
    Image(Box<ImageRecord>),
    /// Operations went over to a state.
    Mark(Mark),
    /// Both stores hold what had ended; small state that must outlive its records.
    Checkpoint(Checkpoint),
    /// An operator decided about an operation.
    Asked(Asked),
    /// A decision could not be carried out.
    Declined(Declined),
    /// What stood here is lost; a repair says so.
    Lost(Lost),
}

impl Record {
    /// Kind of [`Record::Intent`].
    pub const INTENT: Kind = Kind(1);
    /// Kind of [`Record::Image`].
    pub const IMAGE: Kind = Kind(2);
    /// Kind of [`Record::Mark`].
    pub const MARK: Kind = Kind(3);
    /// Kind of [`Record::Checkpoint`].
    pub const CHECKPOINT: Kind = Kind(4);
    /// Kind of [`Record::Asked`]. 5 and 6 are those of values beside the sequence.
    pub const ASKED: Kind = Kind(7);
    /// Kind of [`Record::Declined`].
    pub const DECLINED: Kind = Kind(8);
    /// Kind of [`Record::Lost`].
    pub const LOST: Kind = Kind(9);

    /// The record as an entry of the log.
    ///
    /// # Errors
    /// [`RecordError::Unencodable`] if it is longer than a payload may be.
    pub fn encode(&self) -> Result<Entry, RecordError> {
        let (kind, payload) = match self {
            Self::Intent(r) => {
                let wire = WireIntent::try_from(r.as_ref())
                    .map_err(|detail| RecordError::Unencodable { kind: Self::INTENT.0, detail })?;
                (Self::INTENT, pack(Self::INTENT, &wire)?)
            }
            Self::Image(r) => (Self::IMAGE, pack(Self::IMAGE, r)?),
            Self::Mark(r) => (Self::MARK, pack(Self::MARK, &WireMark::from(r))?),
            Self::Checkpoint(r) => (Self::CHECKPOINT, pack(Self::CHECKPOINT, r)?),
            Self::Asked(r) => (Self::ASKED, pack(Self::ASKED, r)?),
            Self::Declined(r) => (Self::DECLINED, pack(Self::DECLINED, &WireDeclined::from(r))?),
            Self::Lost(r) => (Self::LOST, pack(Self::LOST, r)?),
        };
        Ok(Entry { kind, payload })
    }

    /// Reads an entry back.
    ///
    /// # Errors
    /// [`RecordError::Future`] and [`RecordError::Malformed`].
    pub fn decode(entry: &Entry) -> Result<Self, RecordError> {
        match entry.kind {
            Self::INTENT => {
                let wire: WireIntent = unpack(entry.kind, &entry.payload)?;
                Ok(Self::Intent(Box::new(wire.into_intent().map_err(|d| malformed(entry.kind, d))?)))
            }
            Self::IMAGE => Ok(Self::Image(unpack(entry.kind, &entry.payload)?)),
            Self::MARK => {
                let wire: WireMark = unpack(entry.kind, &entry.payload)?;
                Ok(Self::Mark(wire.into_mark().map_err(|d| malformed(entry.kind, d))?))
            }
            Self::CHECKPOINT => Ok(Self::Checkpoint(unpack(entry.kind, &entry.payload)?)),
            Self::ASKED => Ok(Self::Asked(unpack(entry.kind, &entry.payload)?)),
            Self::DECLINED => {
                let wire: WireDeclined = unpack(entry.kind, &entry.payload)?;
                Ok(Self::Declined(wire.into_declined().map_err(|d| malformed(entry.kind, d))?))
            }
            Self::LOST => Ok(Self::Lost(unpack(entry.kind, &entry.payload)?)),
            other => Err(malformed(other, "no record has this kind".into())),
        }
    }
}

impl Record {
    /// As [`Self::decode`], but what an operation carries is left out of its intent: no documents, no vectors. Enough to
    /// fold it, at a tenth of the cost. Damage in what is left out is not noticed.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn skim(entry: &Entry) -> Result<Self, RecordError> {
        if entry.kind != Self::INTENT {
            return Self::decode(entry);
        }
        let wire: WireIntent = unpack(entry.kind, &entry.payload)?;
        let bare = WireIntent { action: wire.action.bare(), ..wire };
        Ok(Self::Intent(Box::new(bare.into_intent().map_err(|d| malformed(entry.kind, d))?)))
    }
}

fn malformed(kind: Kind, detail: String) -> RecordError {
    RecordError::Malformed { kind: kind.0, detail }
}

fn pack<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, RecordError> {
    let mut out = vec![FORMAT];
    bincode::serde::encode_into_std_write(value, &mut out, CONFIG)
        .map_err(|e| RecordError::Unencodable { kind: kind.0, detail: e.to_string() })?;
    Ok(out)
}

fn unpack<T: DeserializeOwned>(kind: Kind, payload: &[u8]) -> Result<T, RecordError> {
    let Some((&version, rest)) = payload.split_first() else {
        return Err(malformed(kind, "it is empty".into()));
    };
    if version > FORMAT {
        return Err(RecordError::Future { found: version });
    }
    if version == 0 {
        return Err(malformed(kind, "its version byte is 0".into()));
    }
    let (value, used) = bincode::serde::decode_from_slice(rest, CONFIG).map_err(|e| malformed(kind, e.to_string()))?;
    if used != rest.len() {
        return Err(malformed(kind, format!("{} bytes follow its end", rest.len() - used)));
    }
    Ok(value)
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
    let (&version, rest) = payload.split_first()?;
    if version != FORMAT {
        return None;
    }
    let (head, _): (WireIntentHead, usize) = bincode::serde::decode_from_slice(rest, CONFIG).ok()?;
    // The variants of WireAction::One, and of those members that begin with a key.
    if head.action != 0 || head.member > 4 { None } else { head.key.parse().ok() }
}

/// Who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The user id at the other end of the socket, if it is known.
    pub uid: Option<u32>,
}

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

/// The parts of an intent that tools and recovery look at without the payload's weight.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// The operation.
    pub op: Lsn,
    /// What was there, for each record that the operation writes.
    pub before: Vec<Before>,
    /// What the operation came to.
    pub outcome: Outcome,
}

/// What SurrealDB held for one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// The key.
    pub key: String,
    /// The record in the store's own encoding; none if there was no record.
    pub raw: Option<Vec<u8>>,
    /// The version it carried.
    pub version: Option<Version>,
}

/// What an operation comes to, judged once against its image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It goes on as it was asked.
    AsAsked,
    /// A patch: from now on it is a put of this.
    Resolved {
        /// The document, as tagged JSON.
        document: Vec<u8>,
        /// All vectors that the point has from now on, in the model's encoding.
        vectors: Vec<u8>,
        /// Where the edge leads, if the record is one.
        ends: Option<(String, String)>,
    },
    /// A removal: the points of these edges go with it.
    Removes {
        /// Keys of edges, and the versions that they carried: a point that has been written since is spared.
        edges: Vec<(String, Option<Version>)>,
    },
    /// A group: what each member comes to, in their order, and the points as they were.
    Group {
        /// One for each member.
        members: Vec<MemberOutcome>,
        /// What Qdrant held for every point that the group may touch.
        points: Vec<PointBefore>,
    },
    /// [`Outcome::Removes`], where the record that goes said which point is its own.
    RemovesPoint {
        /// As in [`Outcome::Removes`].
        edges: Vec<(String, Option<Version>)>,
        /// The record's point.
        point: LoggedPointId,
    },
}

/// What a member of a group comes to. As [`Outcome`], but it cannot nest: bytes from a disk must not decide how deep a
/// decoder goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MemberOutcome {
    /// [`Outcome::AsAsked`]
    AsAsked,
    /// [`Outcome::Resolved`]
    Resolved {
        /// The document, as tagged JSON.
        document: Vec<u8>,
        /// All vectors that the point has from now on, in the model's encoding.
        vectors: Vec<u8>,
        /// Where the edge leads, if the record is one.
        ends: Option<(String, String)>,
    },
    /// [`Outcome::Removes`]
    Removes {
        /// Keys of edges, and the versions that they carried.
        edges: Vec<(String, Option<Version>)>,
    },
    /// [`Outcome::RemovesPoint`]
    RemovesPoint {
        /// Keys of edges, and the versions that they carried.
        edges: Vec<(String, Option<Version>)>,
        /// The record's point.
        point: LoggedPointId,
    },
}

/// What Qdrant held for one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointBefore {
    /// The collection.
    pub collection: String,
    /// The point.
    pub id: LoggedPointId,
    /// What was there; none: no such point.
    pub point: Option<LoggedPoint>,
}

/// A point's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoggedPointId {
    /// A whole number.
    Num(u64),
    /// The bytes of a UUID.
    Uuid([u8; 16]),
}

impl From<PointId> for LoggedPointId {
    fn from(id: PointId) -> Self {
        match id {
            PointId::Num(number) => Self::Num(number),
            PointId::Uuid(uuid) => Self::Uuid(uuid.into_bytes()),
        }
    }
}

impl From<LoggedPointId> for PointId {
    fn from(id: LoggedPointId) -> Self {
        match id {
            LoggedPointId::Num(number) => Self::Num(number),
            LoggedPointId::Uuid(bytes) => Self::Uuid(uuid::Uuid::from_bytes(bytes)),
        }
    }
}

/// A whole point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedPoint {
    /// The version of the operation that wrote it last; none if Lockstep did not.
    pub version: Option<Version>,
    /// That operation.
    pub op: Option<OpId>,
    /// The record it belongs to.
    pub key: Option<String>,
    /// Its vectors, in the model's encoding.
    pub vectors: Vec<u8>,
    /// Its payload without `_lockstep`, as JSON.
    pub payload: Vec<u8>,
}

impl Serialize for ImageRecord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.op, &self.before, &self.outcome).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ImageRecord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (op, before, outcome) = Deserialize::deserialize(deserializer)?;
        Ok(Self { op, before, outcome })
    }
}

/// Why an operation did not commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where: `surreal`, `qdrant`, or `lockstep` for what Lockstep judged itself.
    pub store: String,
    /// What it means to the caller.
    pub code: Code,
    /// The store's words, or ours.
    pub detail: String,
}

/// A transition, one record for all operations of a batch that went through it together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The state they have from now on.
    pub state: State,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// The operations.
    pub ops: Vec<Lsn>,
    /// Why, where the state is not one that was hoped for.
    pub failure: Option<Failure>,
}

/// A moment at which both stores held everything that had ended before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// The highest version given.
    pub clock: u64,
    /// How many operations ever reached each end state and left, by [`State::code`].
    pub left: Vec<(u8, u64)>,
    /// What tables' vectors are known to be, by table.
    pub shapes: Vec<ShapeRow>,
}

/// What one table's vectors are known to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShapeRow {
    /// The table.
    pub table: String,
    /// Its vectors; empty if it has none.
    pub shape: Shape,
    /// Whether it holds edges.
    pub edges: bool,
}

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

const SUMMARY: Kind = Kind(5);
const IDEMPOTENCY: Kind = Kind(6);

/// What an idempotency key stands for: the operation that came first, and a hash of what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstUse {
    /// The operation.
    pub op: Lsn,
    /// [`Idempotency::body_hash`].
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

// The wire forms. Order is the format.

#[derive(Serialize, Deserialize)]
struct WireIntent {
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

/// Not recursive: bytes from a disk must not decide how deep a decoder goes.
#[derive(Serialize, Deserialize)]
enum WireAction {
    One(WireMember),
    Atomic(Vec<WireMember>),
    Clear {
        table: String,
        filter: Option<Blob>,
    },
    /// A group that fixes the vectors of tables.
    AtomicDefining {
        members: Vec<WireMember>,
        shapes: Vec<(String, Shape)>,
    },
}

#[derive(Serialize, Deserialize)]
enum WireMember {
    Put { key: String, document: Blob, vectors: Blob },
    Patch { key: String, document: Blob, vectors: Blob },
    Delete { key: String },
    Relate { key: String, from: String, to: String, document: Blob, vectors: Blob },
    UnrelateKey { key: String },
    UnrelateEnds { edge: String, from: String, to: String },
}

/// Bytes that are read at once: the same format as a sequence of them, which serde reads one by one.
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BlobVisitor)
    }
}

struct BlobVisitor;

impl serde::de::Visitor<'_> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
        Ok(Blob(bytes))
    }
}

impl TryFrom<&Intent> for WireIntent {
    type Error = String;

    fn try_from(intent: &Intent) -> Result<Self, String> {
        let mut action = WireAction::try_from(&intent.op.action)?;
        let mut defines = None;
        if !intent.defines.is_empty() {
            let shapes = intent.defines.iter().map(|(table, shape)| (table.to_string(), shape.clone()));
            match action {
                WireAction::Atomic(members) => {
                    action = WireAction::AtomicDefining { members, shapes: shapes.collect() };
                }
                WireAction::One(_) | WireAction::Clear { .. } | WireAction::AtomicDefining { .. } => {
                    defines = shapes.map(|(_, shape)| shape).next();
                }
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
    fn into_intent(self) -> Result<Intent, String> {
        let (action, mut defines) = self.action.into_action()?;
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
                idempotency: self.idempotency.map(|(key, body_hash)| Idempotency { key, body_hash }),
            },
        })
    }
}

/// A document as the bytes of its tagged JSON, as the log keeps it.
#[must_use]
pub fn document_bytes(document: &Document) -> Vec<u8> {
    serde_json::Value::Object(document.to_log_json()).to_string().into_bytes()
}

/// Reads [`document_bytes`] back.
///
/// # Errors
/// What is wrong with them.
pub fn document_from_bytes(bytes: &[u8]) -> Result<Document, String> {
    let json = lockstep_model::parse_json(bytes).map_err(|e| e.to_string())?;
    let map = json.as_object().ok_or("a document is not an object")?;
    Document::from_log_json(map).map_err(|e| e.to_string())
}

fn vectors_from_bytes(bytes: &[u8]) -> Result<Vectors, String> {
    Vectors::decode(bytes).map_err(|e| e.to_string())
}

fn key_from(text: &str) -> Result<Key, String> {
    text.parse::<Key>().map_err(|e| format!("key {text:?}: {e}"))
}

fn table_from(text: &str) -> Result<Table, String> {
    Table::new(text).map_err(|e| format!("table {text:?}: {e}"))
}

impl TryFrom<&Action> for WireMember {
    type Error = String;

    fn try_from(action: &Action) -> Result<Self, String> {
        Ok(match action {
            Action::Put { key, document, vectors } => Self::Put {
                key: key.to_string(),
                document: Blob(document_bytes(document)),
                vectors: Blob(vectors.encode()),
            },
            Action::Patch { key, document, vectors } => Self::Patch {
                key: key.to_string(),
                document: Blob(document_bytes(document)),
                vectors: Blob(vectors.encode()),
            },
            Action::Delete { key } => Self::Delete { key: key.to_string() },
            Action::Relate { key, from, to, document, vectors } => Self::Relate {
                key: key.to_string(),
                from: from.to_string(),
                to: to.to_string(),
                document: Blob(document_bytes(document)),
                vectors: Blob(vectors.encode()),
            },
            Action::Unrelate(UnrelateTarget::Key(key)) => Self::UnrelateKey { key: key.to_string() },
            Action::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) => {
                Self::UnrelateEnds { edge: edge.to_string(), from: from.to_string(), to: to.to_string() }
            }
            Action::Atomic(_) | Action::Clear { .. } => return Err("a group holds neither groups nor clears".into()),
        })
    }
}

impl TryFrom<&Action> for WireAction {
    type Error = String;

    fn try_from(action: &Action) -> Result<Self, String> {
        Ok(match action {
            Action::Atomic(members) => {
                Self::Atomic(members.iter().map(WireMember::try_from).collect::<Result<_, _>>()?)
            }
            Action::Clear { table, filter } => Self::Clear {
                table: table.to_string(),
                filter: filter.as_ref().map(|f| Blob(f.to_json().to_string().into_bytes())),
            },
            Action::Put { .. }
            | Action::Patch { .. }
            | Action::Delete { .. }
            | Action::Relate { .. }
            | Action::Unrelate(_) => Self::One(WireMember::try_from(action)?),
        })
    }
}

impl WireMember {
    fn into_action(self) -> Result<Action, String> {
        Ok(match self {
            Self::Put { key, document, vectors } => Action::Put {
                key: key_from(&key)?,
                document: document_from_bytes(&document.0)?,
                vectors: vectors_from_bytes(&vectors.0)?,
            },
            Self::Patch { key, document, vectors } => Action::Patch {
                key: key_from(&key)?,
                document: document_from_bytes(&document.0)?,
                vectors: vectors_from_bytes(&vectors.0)?,
            },
            Self::Delete { key } => Action::Delete { key: key_from(&key)? },
            Self::Relate { key, from, to, document, vectors } => Action::Relate {
                key: key_from(&key)?,
                from: key_from(&from)?,
                to: key_from(&to)?,
                document: document_from_bytes(&document.0)?,
                vectors: vectors_from_bytes(&vectors.0)?,
            },
            Self::UnrelateKey { key } => Action::Unrelate(UnrelateTarget::Key(key_from(&key)?)),
            Self::UnrelateEnds { edge, from, to } => Action::Unrelate(UnrelateTarget::Endpoints {
                edge: table_from(&edge)?,
                from: key_from(&from)?,
                to: key_from(&to)?,
            }),
        })
    }
}

impl WireMember {
    /// Without document and vectors.
    fn bare(self) -> Self {
        let (document, vectors) = (Blob(b"{}".to_vec()), Blob(Vectors::default().encode()));
        match self {
            Self::Put { key, .. } => Self::Put { key, document, vectors },
            Self::Patch { key, .. } => Self::Patch { key, document, vectors },
            Self::Relate { key, from, to, .. } => Self::Relate { key, from, to, document, vectors },
            Self::Delete { .. } | Self::UnrelateKey { .. } | Self::UnrelateEnds { .. } => self,
        }
    }
}

impl WireAction {
    fn bare(self) -> Self {
        let all = |members: Vec<WireMember>| members.into_iter().map(WireMember::bare).collect();
        match self {
            Self::One(member) => Self::One(member.bare()),
            Self::Atomic(members) => Self::Atomic(all(members)),
            Self::AtomicDefining { members, shapes } => Self::AtomicDefining { members: all(members), shapes },
            Self::Clear { .. } => self,
        }
    }

    /// The action, and what it fixes beside it.
    fn into_action(self) -> Result<(Action, Vec<(Table, Shape)>), String> {
        let group = |members: Vec<WireMember>| {
            members.into_iter().map(WireMember::into_action).collect::<Result<_, _>>().map(Action::Atomic)
        };
        Ok(match self {
            Self::One(member) => (member.into_action()?, Vec::new()),
            Self::Atomic(members) => (group(members)?, Vec::new()),
            Self::Clear { table, filter } => {
                let filter = filter.map(|Blob(bytes)| filter_from(&bytes)).transpose()?;
                (Action::Clear { table: table_from(&table)?, filter }, Vec::new())
            }
            Self::AtomicDefining { members, shapes } => {
                let shapes = shapes.into_iter().map(|(table, shape)| Ok((table_from(&table)?, shape)));
                (group(members)?, shapes.collect::<Result<_, String>>()?)
            }
        })
    }
}

fn filter_from(bytes: &[u8]) -> Result<Filter, String> {
    let json = lockstep_model::parse_json(bytes).map_err(|e| e.to_string())?;
    Filter::from_log_json(&json).map_err(|e| e.to_string())
}

#[derive(Serialize, Deserialize)]
struct WireFailure {
    store: String,
    code: u8,
    detail: String,
}

impl From<&Failure> for WireFailure {
    fn from(f: &Failure) -> Self {
        Self { store: f.store.clone(), code: f.code.code(), detail: f.detail.clone() }
    }
}

impl WireFailure {
    fn into_failure(self) -> Result<Failure, String> {
        let code = Code::from_code(self.code).ok_or_else(|| format!("no code has the number {}", self.code))?;
        Ok(Failure { store: self.store, code, detail: self.detail })
    }
}

#[derive(Serialize, Deserialize)]
struct WireMark {
    state: u8,
    at_us: u64,
    ops: Vec<u64>,
    failure: Option<WireFailure>,
}

fn state_from(code: u8) -> Result<State, String> {
    State::from_code(code).ok_or_else(|| format!("no state has the number {code}"))
}

impl From<&Mark> for WireMark {
    fn from(m: &Mark) -> Self {
        Self {
            state: m.state.code(),
            at_us: m.at_us,
            ops: m.ops.iter().map(|l| l.0).collect(),
            failure: m.failure.as_ref().map(WireFailure::from),
        }
    }
}

impl WireMark {
    fn into_mark(self) -> Result<Mark, String> {
        Ok(Mark {
            state: state_from(self.state)?,
            at_us: self.at_us,
            ops: self.ops.into_iter().map(Lsn).collect(),
            failure: self.failure.map(WireFailure::into_failure).transpose()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct WireDeclined {
    op: u64,
    asked: u64,
    at_us: u64,
    failure: WireFailure,
}

impl From<&Declined> for WireDeclined {
    fn from(d: &Declined) -> Self {
        Self { op: d.op.0, asked: d.asked.0, at_us: d.at_us, failure: WireFailure::from(&d.failure) }
    }
}

impl WireDeclined {
    fn into_declined(self) -> Result<Declined, String> {
        let failure = self.failure.into_failure()?;
        Ok(Declined { op: Lsn(self.op), asked: Lsn(self.asked), at_us: self.at_us, failure })
    }
}

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
