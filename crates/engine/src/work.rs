//! An operation in a worker's hands: its intent and image, read from the log, and what they come to.
//!
//! A group is worked on as one: its members' contents in their order, one transaction, one end.

use lockstep_model::{Action, Document, Key, Lsn, OpId, PointId, Table, UnrelateTarget, Vectors, Version};
use lockstep_stores::{DocWrite, EdgeEnds, PointWrite, VectorsStamp};
use lockstep_wal::{ImageRecord, Intent, MemberOutcome, Outcome, Record, document_from_bytes};

use crate::core::{Core, Fatal, Shared};
use crate::tables::Tables;

/// What an action writes, with nothing left to judge.
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
    Remove {
        key: Key,
        /// Its point, where the record named it.
        point: Option<PointId>,
        edges: Vec<GoneEdge>,
    },
    /// All edges between two records, with the points of those that were found.
    RemoveBetween { edge: Table, ends: EdgeEnds, edges: Vec<GoneEdge> },
}

/// An edge that a removal takes along, at the version that it carried.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GoneEdge {
    pub(crate) key: Key,
    /// What is newer than this and than the removal has come since, and is spared.
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
    /// It is written once more: what was kept beside its records may be lost with them.
    pub(crate) again: bool,
    /// For each member: SurrealDB holds its table, and whether it keeps vectors beside the records.
    tables: Vec<InTable>,
}

/// What a member's table says of it.
#[derive(Debug, Clone, Copy)]
struct InTable {
    keep: bool,
    surreal: bool,
}

/// Reads an operation's intent.
pub(crate) fn read_intent(core: &Core, lsn: Lsn) -> Result<Intent, Fatal> {
    match read(core, lsn)? {
        Record::Intent(intent) => Ok(*intent),
        Record::Image(_)
        | Record::Mark(_)
        | Record::Checkpoint(_)
        | Record::Asked(_)
        | Record::Declined(_)
        | Record::Lost(_) => Err(Fatal::Lost(format!("record {lsn} is not the intent that it was"))),
    }
}

pub(crate) fn read(core: &Core, lsn: Lsn) -> Result<Record, Fatal> {
    let entry = core.parts.log.read(lsn).map_err(|e| Fatal::Log(e.into()))?;
    let entry = entry.ok_or_else(|| Fatal::Lost(format!("record {lsn} is not in the log any more")))?;
    Record::decode(&entry).map_err(|e| Fatal::Lost(format!("record {lsn}: {e}")))
}

/// What the log says that one action came to.
enum Came<'a> {
    AsAsked,
    Resolved { document: &'a [u8], vectors: &'a [u8], ends: Option<&'a (String, String)> },
    Removes(&'a [(String, Option<Version>)], Option<PointId>),
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
                Record::Intent(_)
                | Record::Mark(_)
                | Record::Checkpoint(_)
                | Record::Asked(_)
                | Record::Declined(_)
                | Record::Lost(_) => {
                    return Err(Fatal::Lost(format!("record {at} is not the image that it was")));
                }
            },
        };
        let tables = {
            let shared = core.lock();
            intent.op.action.members().iter().map(|member| in_table(&shared.tables, member)).collect()
        };
        let op_id = core.op_id(lsn, intent.at_us);
        Ok(Self {
            lsn,
            op_id,
            version: intent.version,
            intent,
            image,
            seen,
            long_way,
            in_surreal: false,
            again: false,
            tables,
        })
    }

    /// What SurrealDB has no part in: every member's table is Qdrant's alone.
    pub(crate) fn passes_surreal(&self) -> bool {
        self.tables.iter().all(|table| !table.surreal)
    }

    /// It is all or nothing over several records.
    pub(crate) const fn is_group(&self) -> bool {
        matches!(self.intent.op.action, Action::Atomic(_))
    }

    fn lost(&self, what: impl std::fmt::Display) -> Fatal {
        Fatal::Lost(format!("operation {}: {what}", self.lsn))
    }

    fn came(&self, place: usize) -> Result<Came<'_>, Fatal> {
        Ok(match self.image.as_ref().map(|i| &i.outcome) {
            None | Some(Outcome::AsAsked) => Came::AsAsked,
            Some(Outcome::Resolved { document, vectors, ends }) => {
                Came::Resolved { document, vectors, ends: ends.as_ref() }
            }
            Some(Outcome::Removes { edges }) => Came::Removes(edges, None),
            Some(Outcome::RemovesPoint { edges, point }) => Came::Removes(edges, Some((*point).into())),
            Some(Outcome::Group { members, .. }) => match members.get(place) {
                Some(MemberOutcome::AsAsked) => Came::AsAsked,
                Some(MemberOutcome::Resolved { document, vectors, ends }) => {
                    Came::Resolved { document, vectors, ends: ends.as_ref() }
                }
                Some(MemberOutcome::Removes { edges }) => Came::Removes(edges, None),
                Some(MemberOutcome::RemovesPoint { edges, point }) => Came::Removes(edges, Some((*point).into())),
                None => return Err(self.lost("its image has fewer members than it")),
            },
        })
    }

    /// What it writes, member by member.
    ///
    /// # Errors
    /// If the log holds something that does not belong together.
    pub(crate) fn contents(&self) -> Result<Vec<Content>, Fatal> {
        let members = self.intent.op.action.members();
        members.iter().enumerate().map(|(place, member)| self.content(place, member)).collect()
    }

    fn content(&self, place: usize, action: &Action) -> Result<Content, Fatal> {
        let came = self.came(place)?;
        let (edges, point) = match &came {
            Came::Removes(edges, point) => {
                let edge = |(key, version): &(String, Option<Version>)| {
                    let key = key.parse().map_err(|e| self.lost(format!("its image: {e}")))?;
                    Ok(GoneEdge { key, version: version.unwrap_or(Version(0)) })
                };
                (edges.iter().map(edge).collect::<Result<_, Fatal>>()?, *point)
            }
            Came::AsAsked | Came::Resolved { .. } => (Vec::new(), None),
        };
        Ok(match action {
            Action::Put { key, document, vectors } => Content::Put {
                key: key.clone(),
                document: document.clone(),
                vectors: vectors.clone(),
                kept: self.kept(place, vectors),
                ends: None,
            },
            Action::Relate { key, from, to, document, vectors } => Content::Put {
                key: key.clone(),
                document: document.clone(),
                vectors: vectors.clone(),
                kept: self.kept(place, vectors),
                ends: Some(EdgeEnds { from: from.clone(), to: to.clone() }),
            },
            Action::Patch { key, vectors: named, .. } => {
                let Came::Resolved { document, vectors, ends } = came else {
                    return Err(self.lost("a patch without its result"));
                };
                let document = document_from_bytes(document).map_err(|e| self.lost(e))?;
                let vectors = Vectors::decode(vectors).map_err(|e| self.lost(e))?;
                let ends = match ends {
                    None => None,
                    Some((from, to)) => Some(EdgeEnds {
                        from: from.parse().map_err(|e| self.lost(format!("its image: {e}")))?,
                        to: to.parse().map_err(|e| self.lost(format!("its image: {e}")))?,
                    }),
                };
                let kept = if named.0.is_empty() && !self.again { None } else { self.kept(place, &vectors) };
                Content::Put { key: key.clone(), document, vectors, kept, ends }
            }
            Action::Delete { key } | Action::Unrelate(UnrelateTarget::Key(key)) => {
                Content::Remove { key: key.clone(), point, edges }
            }
            Action::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) => Content::RemoveBetween {
                edge: edge.clone(),
                ends: EdgeEnds { from: from.clone(), to: to.clone() },
                edges,
            },
            Action::Atomic(_) | Action::Clear { .. } => {
                return Err(self.lost("a clear writes nothing itself, and groups do not nest"));
            }
        })
    }

    /// The edges that its image says go with what it removes.
    ///
    /// # Errors
    /// If the image names what is no key.
    pub(crate) fn edges_taken_along(&self) -> Result<Vec<Key>, Fatal> {
        let keys = self.image.iter().flat_map(edges_along);
        keys.map(|key| key.parse().map_err(|e| self.lost(format!("its image: {e}")))).collect()
    }

    /// The points that it wrote or removed, where records name them.
    pub(crate) fn named_points(&self, tables: &Tables) -> Vec<(Key, PointId)> {
        // What was refused at its turn has no content, and no point.
        let contents = self.contents().unwrap_or_default();
        let named = contents.into_iter().filter_map(|content| match content {
            Content::Put { key, document, .. } => {
                tables.point_field(&key.table)?;
                let id = tables.point_id_of(&key, &document)?;
                Some((key, id))
            }
            Content::Remove { key, point, .. } => point.map(|point| (key, point)),
            Content::RemoveBetween { .. } => None,
        });
        named.collect()
    }

    fn kept(&self, place: usize, vectors: &Vectors) -> Option<Vectors> {
        let keep = self.tables.get(place).is_none_or(|table| table.keep);
        // A new record has nothing kept beside it that an empty set would have to remove.
        (keep && !(self.creates() && vectors.0.is_empty())).then(|| vectors.clone())
    }

    /// It goes first as a bulk INSERT, whose success proves that there was nothing: no image, no flush (design 4.5). Of an edge only the
    /// ends are read before; one with a vector has its image, and does not come here.
    pub(crate) fn creates(&self) -> bool {
        matches!(self.intent.op.action, Action::Put { .. } | Action::Relate { .. })
            && self.image.is_none()
            && !self.seen
            && !self.long_way
            && !self.intent.op.is_conditional()
    }

    /// Its writes to SurrealDB.
    pub(crate) fn document_writes(&self, contents: &[Content]) -> Vec<DocWrite> {
        let held = contents.iter().enumerate().filter(|(place, _)| self.tables.get(*place).is_none_or(|t| t.surreal));
        held.map(|(_, content)| self.document_write(content)).collect()
    }

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
        let tables = &shared.tables;
        // A key that gives no point id has no point: admission refuses vectors for it.
        let delete = |key: &Key, id: Option<PointId>, version| {
            Some((key.table.clone(), PointWrite::Delete { id: id?, version }))
        };
        // An older patch of the edge may have come between the image and the removal: it goes as well.
        let gone = |edge: &GoneEdge| delete(&edge.key, tables.point_id(&edge.key), edge.version.max(version));
        let mut writes: Vec<(Table, PointWrite)> = match content {
            Content::Put { key, document, vectors, .. } if has_point(tables, &key, &vectors) => {
                let payload = tables.get(&key.table).map(|i| i.rules.payload.clone()).unwrap_or_default();
                let write = tables.point_id_of(&key, &document).map(|id| PointWrite::Upsert {
                    id,
                    version,
                    op: self.op_id,
                    vectors,
                    payload: payload.select(&document),
                    key: key.clone(),
                });
                write.map(|write| (key.table.clone(), write)).into_iter().collect()
            }
            Content::Put { key, document, .. } => {
                delete(&key, tables.point_id_of(&key, &document), version).into_iter().collect()
            }
            Content::Remove { key, point, edges } => {
                let own = delete(&key, point.or_else(|| tables.point_id(&key)), version);
                std::iter::once(own).chain(edges.iter().map(gone)).flatten().collect()
            }
            Content::RemoveBetween { edges, .. } => edges.iter().filter_map(gone).collect(),
        };
        writes.retain(|(table, _)| tables.collection(table).is_some());
        writes
    }
}

/// A table of Qdrant's alone has a point for each key, with vectors or without.
fn has_point(tables: &Tables, key: &Key, vectors: &Vectors) -> bool {
    !vectors.0.is_empty() || tables.get(&key.table).is_some_and(|info| !info.rules.stores.has_surreal())
}

/// The edges that the image says go with what is removed.
pub(crate) fn edges_along(image: &ImageRecord) -> impl Iterator<Item = &str> {
    let (alone, members): (&[_], &[MemberOutcome]) = match &image.outcome {
        Outcome::AsAsked | Outcome::Resolved { .. } => (&[], &[]),
        Outcome::Removes { edges } | Outcome::RemovesPoint { edges, .. } => (edges, &[]),
        Outcome::Group { members, .. } => (&[], members),
    };
    let of_members = members.iter().flat_map(|member| match member {
        MemberOutcome::Removes { edges } | MemberOutcome::RemovesPoint { edges, .. } => edges.as_slice(),
        MemberOutcome::AsAsked | MemberOutcome::Resolved { .. } => &[],
    });
    alone.iter().chain(of_members).map(|(key, _)| key.as_str())
}

fn in_table(tables: &Tables, member: &Action) -> InTable {
    let info = member.table().and_then(|table| tables.get(table));
    InTable {
        keep: info.is_none_or(|info| info.rules.keep_vector),
        surreal: info.is_none_or(|info| info.rules.stores.has_surreal()),
    }
}
