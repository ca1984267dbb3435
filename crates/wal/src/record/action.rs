//! What an operation carries, as the log keeps it: the wire forms of actions. Order is the format.

use std::collections::BTreeMap;

use lockstep_model::{Action, Document, Filter, Key, Precondition, Shape, Table, UnrelateTarget, Vectors, Version};
use serde::{Deserialize, Serialize};

/// Not recursive: bytes from a disk must not decide how deep a decoder goes.
#[derive(Serialize, Deserialize)]
pub(super) enum WireAction {
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
    /// A group with conditions on members.
    AtomicIf {
        members: Vec<WireMember>,
        shapes: Vec<(String, Shape)>,
        conditions: Vec<WireCondition>,
    },
}

/// What must hold for a group's member.
#[derive(Serialize, Deserialize)]
pub(super) struct WireCondition {
    place: u32,
    if_version: Option<u64>,
    if_absent: bool,
}

impl WireCondition {
    fn of((place, condition): (&usize, &Precondition), members: usize) -> Result<Self, String> {
        if *place >= members {
            return Err(nobody(place, members));
        }
        Ok(Self {
            place: u32::try_from(*place).map_err(|e| e.to_string())?,
            if_version: condition.if_version.map(|version| version.0),
            if_absent: condition.if_absent,
        })
    }

    fn into_condition(self, members: usize) -> Result<(usize, Precondition), String> {
        let place = usize::try_from(self.place).ok().filter(|place| *place < members);
        let place = place.ok_or_else(|| nobody(self.place, members))?;
        let condition = Precondition { if_version: self.if_version.map(Version), if_absent: self.if_absent };
        Ok((place, condition))
    }
}

/// What is written has to be read again.
fn nobody(place: impl std::fmt::Display, members: usize) -> String {
    format!("a condition is for member {place}, of {members}")
}

/// An action with what stands beside it.
pub(super) struct Carried {
    pub(super) action: Action,
    /// What a group fixes.
    pub(super) shapes: Vec<(Table, Shape)>,
    /// What must hold for a group's members.
    pub(super) members: BTreeMap<usize, Precondition>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum WireMember {
    Put { key: String, document: Blob, vectors: Blob },
    Patch { key: String, document: Blob, vectors: Blob },
    Delete { key: String },
    Relate { key: String, from: String, to: String, document: Blob, vectors: Blob },
    UnrelateKey { key: String },
    UnrelateEnds { edge: String, from: String, to: String },
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

impl WireAction {
    pub(super) fn bare(self) -> Self {
        let all = |members: Vec<WireMember>| members.into_iter().map(WireMember::bare).collect();
        match self {
            Self::One(member) => Self::One(member.bare()),
            Self::Atomic(members) => Self::Atomic(all(members)),
            Self::AtomicDefining { members, shapes } => Self::AtomicDefining { members: all(members), shapes },
            Self::AtomicIf { members, shapes, conditions } => {
                Self::AtomicIf { members: all(members), shapes, conditions }
            }
            Self::Clear { .. } => self,
        }
    }

    /// The same group, as one that fixes these vectors.
    pub(super) fn defining(self, shapes: Vec<(String, Shape)>) -> Self {
        match self {
            Self::Atomic(members) => Self::AtomicDefining { members, shapes },
            Self::AtomicIf { members, conditions, .. } => Self::AtomicIf { members, shapes, conditions },
            Self::One(_) | Self::Clear { .. } | Self::AtomicDefining { .. } => self,
        }
    }

    /// The same group, with these conditions on its members.
    pub(super) fn under(self, conditions: &BTreeMap<usize, Precondition>) -> Result<Self, String> {
        Ok(match self {
            Self::Atomic(members) if !conditions.is_empty() => Self::AtomicIf {
                conditions: conditions
                    .iter()
                    .map(|on| WireCondition::of(on, members.len()))
                    .collect::<Result<_, _>>()?,
                members,
                shapes: Vec::new(),
            },
            Self::Atomic(_)
            | Self::One(_)
            | Self::Clear { .. }
            | Self::AtomicDefining { .. }
            | Self::AtomicIf { .. } => self,
        })
    }

    pub(super) fn into_carried(self) -> Result<Carried, String> {
        let alone = |action| Carried { action, shapes: Vec::new(), members: BTreeMap::new() };
        Ok(match self {
            Self::One(member) => alone(member.into_action()?),
            Self::Atomic(members) => alone(group(members)?),
            Self::Clear { table, filter } => {
                let filter = filter.map(|Blob(bytes)| filter_from(&bytes)).transpose()?;
                alone(Action::Clear { table: table_from(&table)?, filter })
            }
            Self::AtomicDefining { members, shapes } => {
                Carried { shapes: shapes_from(shapes)?, ..alone(group(members)?) }
            }
            Self::AtomicIf { members, shapes, conditions } => {
                let count = members.len();
                let conditions = conditions.into_iter().map(|condition| condition.into_condition(count));
                Carried {
                    action: group(members)?,
                    shapes: shapes_from(shapes)?,
                    members: conditions.collect::<Result<_, _>>()?,
                }
            }
        })
    }
}

fn group(members: Vec<WireMember>) -> Result<Action, String> {
    members.into_iter().map(WireMember::into_action).collect::<Result<_, _>>().map(Action::Atomic)
}

fn shapes_from(shapes: Vec<(String, Shape)>) -> Result<Vec<(Table, Shape)>, String> {
    shapes.into_iter().map(|(table, shape)| Ok((table_from(&table)?, shape))).collect()
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

/// Bytes that are read at once: the same format as a sequence of them, which serde reads one by one.
pub(super) struct Blob(Vec<u8>);

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

pub(super) fn key_from(text: &str) -> Result<Key, String> {
    text.parse::<Key>().map_err(|e| format!("key {text:?}: {e}"))
}

fn table_from(text: &str) -> Result<Table, String> {
    Table::new(text).map_err(|e| format!("table {text:?}: {e}"))
}

fn filter_from(bytes: &[u8]) -> Result<Filter, String> {
    let json = lockstep_model::parse_json(bytes).map_err(|e| e.to_string())?;
    Filter::from_log_json(&json).map_err(|e| e.to_string())
}
