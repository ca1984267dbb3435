//! What has to be read of the stores before an operation can be judged, and the reading: one read for a whole batch.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lockstep_model::{Action, Document, Key, Lsn, PointId, Table, UnrelateTarget};
use lockstep_stores::{Class, EdgeEnds, Image, ImageAsk, Point, Scope, StoreError, Want};
use lockstep_wal::{ImageRecord, MemberOutcome, Outcome};

use crate::core::{Core, StoreName};
use crate::tables::Tables;
use crate::work::Work;

/// What has to be read for one action.
#[derive(Debug, Clone)]
pub(crate) enum Need {
    Nothing,
    /// Its own record.
    Record(Key, Want),
    /// An edge's endpoints alone: they must be there whenever it is written.
    Ends(EdgeEnds),
    /// An edge's record and the records at both its ends.
    Edge(Key, Want, EdgeEnds),
    /// Its own record, and the edges that will go with it.
    RecordAndEdges(Key, Want),
    /// The edges between two records; a precondition speaks of the one whose key is derived from them.
    Between(Table, EdgeEnds, Option<Key>),
    /// An edge that is patched once more, and its endpoints: its image is in the log.
    Patched(Key, EdgeEnds),
    /// Its point: the table is Qdrant's alone.
    Point(Key),
}

/// One for each member.
pub(crate) fn needs(core: &Core, work: &Work) -> Vec<Need> {
    let members = work.intent.op.action.members().iter();
    if let Some(image) = &work.image {
        // What has been logged is never read again. But an edge's endpoints must be there whenever it is written.
        // So must an edge that is patched: nobody orders the patch and a removal of its end, or of what is between its ends.
        let again = |(place, action): (usize, &Action)| match (action, ends_of(action, place, image)) {
            (Action::Patch { key, .. }, Some(ends)) => Need::Patched(key.clone(), ends),
            (_, ends) => ends.map_or(Need::Nothing, Need::Ends),
        };
        return members.enumerate().map(again).collect();
    }
    let shared = core.lock();
    members.enumerate().map(|(place, action)| need(&shared.tables, work, place, action)).collect()
}

fn need(tables: &Tables, work: &Work, place: usize, action: &Action) -> Need {
    let conditional = !work.intent.op.condition(place).is_none();
    // What a group changes can be undone, whatever it is.
    let undoable = work.intent.wants_vectors || conditional || work.is_group();
    // The record names its point.
    let names_point = action.table().is_some_and(|table| tables.point_field(table).is_some());
    let want = if undoable || names_point { Want::Whole } else { Want::Stamp };
    let alone = action.table().and_then(|t| tables.get(t)).is_some_and(|info| !info.rules.stores.has_surreal());
    match action {
        Action::Put { key, .. } | Action::Patch { key, .. } | Action::Delete { key } if alone => {
            Need::Point(key.clone())
        }
        Action::Put { .. } if work.creates() => Need::Nothing,
        Action::Put { key, .. } => Need::Record(key.clone(), want),
        Action::Patch { key, .. } => Need::Record(key.clone(), Want::Whole),
        // A derived key leads nowhere else, and the fence meets what is newer: only the endpoints are in question.
        Action::Relate { key, from, to, .. } if !undoable && !work.seen && *key == Key::edge(&key.table, from, to) => {
            Need::Ends(EdgeEnds { from: from.clone(), to: to.clone() })
        }
        Action::Relate { key, from, to, .. } => {
            Need::Edge(key.clone(), want, EdgeEnds { from: from.clone(), to: to.clone() })
        }
        Action::Delete { key } | Action::Unrelate(UnrelateTarget::Key(key)) => {
            // Whether it is an edge is seen from the whole record.
            let by_key = matches!(action, Action::Unrelate(_));
            let want = if names_point || by_key { Want::Whole } else { Want::Stamp };
            if work.is_group() {
                Need::RecordAndEdges(key.clone(), Want::Whole)
            } else if tables.edges_have_points() {
                Need::RecordAndEdges(key.clone(), want)
            } else if conditional || work.seen || names_point || by_key {
                Need::Record(key.clone(), want)
            } else {
                Need::Nothing
            }
        }
        Action::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) if undoable => Need::Between(
            edge.clone(),
            EdgeEnds { from: from.clone(), to: to.clone() },
            conditional.then(|| Key::edge(edge, from, to)),
        ),
        Action::Unrelate(_) | Action::Atomic(_) | Action::Clear { .. } => Need::Nothing,
    }
}

/// Where the edge leads that the member writes, if it writes one.
fn ends_of(action: &Action, place: usize, image: &ImageRecord) -> Option<EdgeEnds> {
    let resolved = match &image.outcome {
        Outcome::Resolved { ends, .. } => ends.as_ref(),
        Outcome::Group { members, .. } => match members.get(place) {
            Some(MemberOutcome::Resolved { ends, .. }) => ends.as_ref(),
            Some(MemberOutcome::AsAsked | MemberOutcome::Removes { .. } | MemberOutcome::RemovesPoint { .. })
            | None => None,
        },
        Outcome::AsAsked | Outcome::Removes { .. } | Outcome::RemovesPoint { .. } => None,
    };
    match (action, resolved) {
        (Action::Relate { from, to, .. }, _) => Some(EdgeEnds { from: from.clone(), to: to.clone() }),
        (_, Some((from, to))) => Some(EdgeEnds { from: from.parse().ok()?, to: to.parse().ok()? }),
        (_, None) => None,
    }
}

/// What the stores hold for a batch.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Records, by key.
    pub(crate) records: HashMap<Key, Image>,
    /// The edges that a removal takes along.
    pub(crate) edges: HashMap<Key, Image>,
    /// The edges between two records, by operation and member.
    pub(crate) between: HashMap<(Lsn, usize), Vec<Key>>,
    /// Points, where they were asked for.
    pub(crate) points: HashMap<Key, (String, PointId, Option<Point>)>,
}

/// A store did not answer.
pub(crate) type Unanswered = (StoreName, StoreError);

/// Reads what the batch needs.
pub(crate) async fn read(core: &Core, works: &[Work], needs: &[Vec<Need>]) -> Result<Held, Unanswered> {
    let surreal = |error| (StoreName::Surreal, error);
    let mut held = Held { records: records(core, needs.iter().flatten()).await?, ..Held::default() };
    for (work, needs) in works.iter().zip(needs) {
        for (place, need) in needs.iter().enumerate() {
            if let Need::Between(edge, ends, _) = need {
                let keys = core.parts.documents.edges_between(edge, ends).await.map_err(surreal)?;
                held.between.insert((work.lsn, place), keys);
            }
        }
    }
    edges(core, works, needs, &mut held).await?;
    points(core, works, needs, &mut held).await?;
    Ok(held)
}

/// One read for the whole batch; a key asked for twice is read once, as fully as anybody wants it.
async fn records(core: &Core, needs: impl Iterator<Item = &Need>) -> Result<HashMap<Key, Image>, Unanswered> {
    let mut asks: HashMap<Key, (Want, bool)> = HashMap::new();
    let mut order = Vec::new();
    let mut ask = |key: &Key, want: Want, edges: bool| {
        let entry = asks.entry(key.clone()).or_insert_with(|| {
            order.push(key.clone());
            (want, edges)
        });
        *entry = (entry.0.max(want), entry.1 || edges);
    };
    for need in needs {
        match need {
            Need::Nothing | Need::Point(_) | Need::Between(_, _, None) => {}
            Need::Between(_, _, Some(derived)) => ask(derived, Want::Stamp, false),
            Need::Record(key, want) => ask(key, *want, false),
            Need::RecordAndEdges(key, want) => ask(key, *want, true),
            Need::Ends(ends) => {
                ask(&ends.from, Want::Stamp, false);
                ask(&ends.to, Want::Stamp, false);
            }
            Need::Patched(key, ends) => {
                ask(key, Want::Stamp, false);
                ask(&ends.from, Want::Stamp, false);
                ask(&ends.to, Want::Stamp, false);
            }
            Need::Edge(key, want, ends) => {
                ask(key, *want, false);
                ask(&ends.from, Want::Stamp, false);
                ask(&ends.to, Want::Stamp, false);
            }
        }
    }
    if order.is_empty() {
        return Ok(HashMap::new());
    }
    let asks: Vec<ImageAsk> = order
        .into_iter()
        .filter_map(|key| asks.remove(&key).map(|(want, edges)| ImageAsk { key, want, edges }))
        .collect();
    let images = core.parts.documents.images(&asks).await.map_err(|error| (StoreName::Surreal, error))?;
    let largest = images.iter().filter_map(|i| i.found.as_ref()).map(|f| f.raw.len()).max().unwrap_or(0);
    let mut shared = core.lock();
    shared.image_hint = largest.max(shared.image_hint / 2);
    drop(shared);
    Ok(images.into_iter().map(|image| (image.key.clone(), image)).collect())
}

/// The edges that removals take along: their points are removed up to the versions that they carry. A group's are read whole,
/// so that they can be put back.
async fn edges(core: &Core, works: &[Work], needs: &[Vec<Need>], held: &mut Held) -> Result<(), Unanswered> {
    let mut wanted: HashMap<&Key, Want> = HashMap::new();
    for (work, needs) in works.iter().zip(needs) {
        let want = if work.is_group() { Want::Whole } else { Want::Stamp };
        for (place, need) in needs.iter().enumerate() {
            let keys = match need {
                Need::RecordAndEdges(key, _) => held.records.get(key).map(|image| &image.edges),
                Need::Between(..) => held.between.get(&(work.lsn, place)),
                Need::Nothing
                | Need::Record(..)
                | Need::Ends(_)
                | Need::Edge(..)
                | Need::Patched(..)
                | Need::Point(_) => None,
            };
            for key in keys.into_iter().flatten() {
                let entry = wanted.entry(key).or_insert(want);
                *entry = want.max(*entry);
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut asks: Vec<ImageAsk> =
        wanted.into_iter().map(|(key, want)| ImageAsk { key: key.clone(), want, edges: false }).collect();
    asks.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let images = core.parts.documents.images(&asks).await.map_err(|error| (StoreName::Surreal, error))?;
    held.edges = images.into_iter().map(|image| (image.key.clone(), image)).collect();
    Ok(())
}

/// Points: of patches that keep vectors which stand nowhere else, of tables that are Qdrant's alone, and everything that a
/// group may touch.
async fn points(core: &Core, works: &[Work], needs: &[Vec<Need>], held: &mut Held) -> Result<(), Unanswered> {
    let mut keys: BTreeSet<Key> = BTreeSet::new();
    let mut made: HashMap<&Key, &Document> = HashMap::new();
    for (work, needs) in works.iter().zip(needs) {
        for (place, (action, need)) in work.intent.op.action.members().iter().zip(needs).enumerate() {
            if let Need::Point(key) = need {
                keys.insert(key.clone());
            }
            if work.image.is_some() || !work.intent.wants_vectors {
                continue;
            }
            if let Action::Put { key, document, .. } = action {
                made.insert(key, document);
            }
            if work.is_group() {
                keys.extend(action.key().cloned());
                keys.extend(held.taken_along(work.lsn, place, need).cloned());
            } else if let (Action::Patch { key, .. }, Need::Record(..)) = (action, need) {
                let kept = held.records.get(key).and_then(|i| i.found.as_ref()).is_none_or(|f| f.kept.is_some());
                keys.extend((!kept).then(|| key.clone()));
            }
        }
    }
    // In order, so that a run of the simulation can be repeated.
    let mut wanted: BTreeMap<String, Vec<(Key, PointId)>> = BTreeMap::new();
    {
        let shared = core.lock();
        let mut seen = HashSet::new();
        let none = Document::default();
        for key in keys {
            let found = held.records.get(&key).and_then(|image| image.found.as_ref());
            let document = found.map(|found| &found.document).or_else(|| made.get(&key).copied()).unwrap_or(&none);
            if let Some((collection, id)) = shared.tables.point_of(&key, document)
                && seen.insert((collection.clone(), id))
            {
                wanted.entry(collection).or_default().push((key, id));
            }
        }
    }
    for (collection, keys) in wanted {
        let ids: Vec<PointId> = keys.iter().map(|(_, id)| *id).collect();
        let points = match core.parts.vectors.points(&collection, &ids).await {
            Ok(points) => points,
            // The first vector of a table makes its collection: until then there is no point to keep.
            Err(error) if error.class == Class::Configuration(Scope::Table) && core.settings().auto_create => {
                vec![None; ids.len()]
            }
            Err(error) => return Err((StoreName::Qdrant, error)),
        };
        held.points
            .extend(keys.into_iter().zip(points).map(|((key, id), point)| (key, (collection.clone(), id, point))));
    }
    Ok(())
}

impl Held {
    /// The edges that the member takes along.
    pub(crate) fn taken_along<'a>(&'a self, lsn: Lsn, place: usize, need: &Need) -> impl Iterator<Item = &'a Key> {
        let keys = match need {
            Need::RecordAndEdges(key, _) => self.records.get(key).map(|image| image.edges.as_slice()),
            Need::Between(..) => self.between.get(&(lsn, place)).map(Vec::as_slice),
            Need::Nothing | Need::Record(..) | Need::Ends(_) | Need::Edge(..) | Need::Patched(..) | Need::Point(_) => {
                None
            }
        };
        keys.unwrap_or_default().iter()
    }
}
