//! An operation in a worker's hands: its intent and image, read from the log, and what they come to.

use lockstep_model::{Action, Document, Key, Lsn, OpId, Table, UnrelateTarget, Vectors, Version};
use lockstep_stores::{DocWrite, EdgeEnds, PointWrite, VectorsStamp};
use lockstep_wal::{ImageRecord, Intent, Outcome, Record, document_from_bytes};

use crate::core::{Core, Fatal, Shared};

/// What an operation writes, with nothing left to judge.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// A whole entity.
    Put {
        key: Key,
        document: Document,
        /// All vectors of the point; none: no point.
        vectors: Vectors,
        /// What to keep beside the record; `None` leaves what is kept.
        kept: Option<Vectors>,
        ends: Option<EdgeEnds>,
    },
    /// A record that goes, with the points of the edges that go with it.
    Remove { key: Key, edges: Vec<GoneEdge> },
    /// All edges between two records, with the points of those that were found.
    RemoveBetween { edge: Table, ends: EdgeEnds, edges: Vec<GoneEdge> },
}

/// An edge that a removal takes along, at the version that it carried.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GoneEdge {
    pub(crate) key: Key,
    /// What is newer has come since, and is spared.
    pub(crate) version: Version,
}

/// An operation in a worker's hands.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) lsn: Lsn,
    pub(crate) op_id: OpId,
    pub(crate) version: Version,
    pub(crate) intent: Intent,
    pub(crate) image: Option<ImageRecord>,
    /// A store may have seen it before.
    pub(crate) seen: bool,
    /// The bulk INSERT met its key.
    pub(crate) long_way: bool,
    /// SurrealDB shows it: written by an earlier attempt, and proven to be this operation's.
    pub(crate) in_surreal: bool,
    /// The table keeps vectors beside its records.
    pub(crate) keep: bool,
}

/// Reads an operation's intent.
pub(crate) fn read_intent(core: &Core, lsn: Lsn) -> Result<Intent, Fatal> {
    match read(core, lsn)? {
        Record::Intent(intent) => Ok(*intent),
        Record::Image(_) | Record::Mark(_) | Record::Checkpoint(_) => {
            Err(Fatal::Lost(format!("record {lsn} is not the intent that it was")))
        }
    }
}

pub(crate) fn read(core: &Core, lsn: Lsn) -> Result<Record, Fatal> {
    let entry = core.parts.log.read(lsn).map_err(|e| Fatal::Log(e.into()))?;
    let entry = entry.ok_or_else(|| Fatal::Lost(format!("record {lsn} is not in the log any more")))?;
    Record::decode(&entry).map_err(|e| Fatal::Lost(format!("record {lsn}: {e}")))
}

impl Work {
    /// Reads the operation from the log.
    pub(crate) fn load(core: &Core, lsn: Lsn) -> Result<Self, Fatal> {
        let (image_lsn, seen, long_way) = {
            let shared = core.lock();
            let op = shared.ops.get(&lsn).ok_or_else(|| Fatal::Lost(format!("operation {lsn} is not known")))?;
            (op.image(), op.seen, op.long_way)
        };
        let intent = read_intent(core, lsn)?;
        let image = match image_lsn {
            None => None,
            Some(at) => match read(core, at)? {
                Record::Image(image) => Some(*image),
                Record::Intent(_) | Record::Mark(_) | Record::Checkpoint(_) => {
                    return Err(Fatal::Lost(format!("record {at} is not the image that it was")));
                }
            },
        };
        let keep = {
            let shared = core.lock();
            intent.op.action.key().and_then(|k| shared.tables.get(&k.table)).is_none_or(|info| info.rules.keep_vector)
        };
        let op_id = core.op_id(lsn, intent.at_us);
        Ok(Self { lsn, op_id, version: intent.version, intent, image, seen, long_way, in_surreal: false, keep })
    }

    /// What it writes.
    ///
    /// # Errors
    /// If the log holds something that does not belong together.
    pub(crate) fn content(&self) -> Result<Content, Fatal> {
        let lost = |what: String| Fatal::Lost(format!("operation {}: {what}", self.lsn));
        let edges = match self.image.as_ref().map(|i| &i.outcome) {
            Some(Outcome::Removes { edges }) => edges
                .iter()
                .map(|(key, version)| {
                    let key = key.parse().map_err(|e| lost(format!("its image: {e}")))?;
                    Ok(GoneEdge { key, version: version.unwrap_or(Version(0)) })
                })
                .collect::<Result<_, Fatal>>()?,
            Some(Outcome::AsAsked | Outcome::Resolved { .. }) | None => Vec::new(),
        };
        Ok(match &self.intent.op.action {
            Action::Put { key, document, vectors } => Content::Put {
                key: key.clone(),
                document: document.clone(),
                vectors: vectors.clone(),
                kept: self.kept(vectors),
                ends: None,
            },
            Action::Relate { key, from, to, document, vectors } => Content::Put {
                key: key.clone(),
                document: document.clone(),
                vectors: vectors.clone(),
                kept: self.kept(vectors),
                ends: Some(EdgeEnds { from: from.clone(), to: to.clone() }),
            },
            Action::Patch { key, vectors: named, .. } => {
                let Some(Outcome::Resolved { document, vectors, ends }) = self.image.as_ref().map(|i| &i.outcome)
                else {
                    return Err(lost("a patch without its result".into()));
                };
                let document = document_from_bytes(document).map_err(&lost)?;
                let vectors = Vectors::decode(vectors).map_err(|e| lost(e.to_string()))?;
                let ends = match ends {
                    None => None,
                    Some((from, to)) => Some(EdgeEnds {
                        from: from.parse().map_err(|e| lost(format!("its image: {e}")))?,
                        to: to.parse().map_err(|e| lost(format!("its image: {e}")))?,
                    }),
                };
                let kept = if named.0.is_empty() { None } else { self.kept(&vectors) };
                Content::Put { key: key.clone(), document, vectors, kept, ends }
            }
            Action::Delete { key } | Action::Unrelate(UnrelateTarget::Key(key)) => {
                Content::Remove { key: key.clone(), edges }
            }
            Action::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) => Content::RemoveBetween {
                edge: edge.clone(),
                ends: EdgeEnds { from: from.clone(), to: to.clone() },
                edges,
            },
            Action::Atomic(_) | Action::Clear { .. } => {
                return Err(lost(
                    "this version takes neither groups nor clears: use the Lockstep that wrote the log".into(),
                ));
            }
        })
    }

    fn kept(&self, vectors: &Vectors) -> Option<Vectors> {
        // A new record has nothing kept beside it that an empty set would have to remove.
        (self.keep && !(self.creates() && vectors.0.is_empty())).then(|| vectors.clone())
    }

    /// It goes first as a bulk INSERT, whose success proves that there was nothing: no image, no flush (design 4.5).
    pub(crate) fn creates(&self) -> bool {
        matches!(self.intent.op.action, Action::Put { .. })
            && self.image.is_none()
            && !self.seen
            && !self.long_way
            && self.intent.op.precondition.is_none()
    }

    /// Its write to SurrealDB.
    pub(crate) fn document_write(&self, content: &Content) -> DocWrite {
        match content {
            Content::Put { key, document, vectors, kept, ends } => DocWrite::Put {
                key: key.clone(),
                version: self.version,
                op: self.op_id,
                document: document.clone(),
                kept: kept.clone(),
                vectors: VectorsStamp::of(vectors),
                ends: ends.clone(),
                create: self.creates(),
            },
            Content::Remove { key, .. } => DocWrite::Delete { key: key.clone(), version: self.version },
            Content::RemoveBetween { edge, ends, .. } => {
                DocWrite::DeleteBetween { edge: edge.clone(), ends: ends.clone(), version: self.version }
            }
        }
    }

    /// Its writes to Qdrant, with the table that each belongs to.
    pub(crate) fn point_writes(&self, shared: &Shared, content: Content) -> Vec<(Table, PointWrite)> {
        let version = self.version;
        let delete = |key: &Key, version| (key.table.clone(), PointWrite::Delete { id: key.point_id(), version });
        let gone = |edge: &GoneEdge| delete(&edge.key, edge.version);
        let mut writes = match content {
            Content::Put { key, document, vectors, .. } if !vectors.0.is_empty() => {
                let payload = shared.tables.get(&key.table).map(|i| i.rules.payload.clone()).unwrap_or_default();
                let write = PointWrite::Upsert {
                    id: key.point_id(),
                    version,
                    op: self.op_id,
                    vectors,
                    payload: payload.select(&document),
                    key: key.clone(),
                };
                vec![(key.table, write)]
            }
            Content::Put { key, .. } => vec![delete(&key, version)],
            Content::Remove { key, edges } => {
                std::iter::once(delete(&key, version)).chain(edges.iter().map(gone)).collect()
            }
            Content::RemoveBetween { edges, .. } => edges.iter().map(gone).collect(),
        };
        writes.retain(|(table, _)| shared.tables.collection(table).is_some());
        writes
    }
}
