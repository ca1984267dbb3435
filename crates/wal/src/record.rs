//! What the engine writes into the log: the typed payloads, format v1.
//!
//! This is the only file that knows bincode. Field order and variant order are the format, in the files below `record/`, too:
//! bincode 2.0.1, little-endian, fixed-length integers, no names. Each payload begins with one version byte ([`FORMAT`]); a higher
//! one is refused. The structs there mirror the model's types and are never those types: documents travel as the bytes of their
//! tagged JSON, vectors as the bytes of the model's own codec, images in the store's own encoding. Golden bytes are held in the
//! tests.

mod action;
mod image;
mod intent;
mod mark;
mod summary;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use lockstep_model::Shape;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use action::{document_bytes, document_from_bytes};
pub use image::{Before, ImageRecord, LoggedPoint, LoggedPointId, MemberOutcome, Outcome, PointBefore};
pub use intent::Intent;
pub(crate) use intent::key_in;
pub use mark::{Failure, Mark};
pub use summary::{FirstUse, Summary};

use crate::asked::{Asked, Declined};
use crate::log::{Entry, Kind};
use crate::lost::Lost;
use crate::record::intent::WireIntent;
use crate::record::mark::{WireDeclined, WireMark};

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
        Ok(Self::Intent(Box::new(wire.bare().into_intent().map_err(|d| malformed(entry.kind, d))?)))
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

/// What a payload begins with. The bytes may be damaged, and end too early: they may say nothing, or what is wrong.
fn peek<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    let (&version, rest) = payload.split_first()?;
    if version != FORMAT {
        return None;
    }
    let (value, _) = bincode::serde::decode_from_slice(rest, CONFIG).ok()?;
    Some(value)
}

/// Who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The user id at the other end of the socket, if it is known.
    pub uid: Option<u32>,
}

/// A moment at which both stores held everything that had ended before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// The highest version whose operation was durable when this checkpoint began.
    pub clock: u64,
    /// How many operations ever reached each end state and left, by [`lockstep_model::State::code`].
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
