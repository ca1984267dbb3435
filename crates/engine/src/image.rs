//! Image: read what the stores hold for a batch's keys, judge existence and preconditions from it, resolve patches, and log
//! image and result durably before the first store is touched (design 4.5). What has been logged is never read again.

use std::collections::{BTreeSet, HashMap, HashSet};

use lockstep_model::{Action, Code, Document, Key, Lsn, Refusal, State, Table, UnrelateTarget, Vectors, Version};
use lockstep_stores::{EdgeEnds, Found, Image, ImageAsk, Scope, Stamp, StoreError, Want};
use lockstep_wal::{Before, Class, Durability, Group, ImageRecord, Outcome, Record, document_bytes};

use crate::core::{Core, Fatal, StoreName};
use crate::work::Work;

/// What became of a batch in this step.
pub(crate) struct Judged {
    /// These go on to the stores.
    pub(crate) go: Vec<Work>,
    /// These end here.
    pub(crate) refused: Vec<(Work, Refusal)>,
    /// These are edges, patched by key: nothing may come between their image and their write, so they go alone.
    pub(crate) alone: Vec<Work>,
}

/// Why a batch could not be judged. Nothing has been touched.
pub(crate) enum ImageError {
    /// A store did not answer.
    Store(StoreName, StoreError),
    /// The engine stops.
    Fatal(Fatal),
}

impl From<Fatal> for ImageError {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

/// What has to be read for an operation before it can be judged.
enum Need {
    Nothing,
    /// Its own record.
    Record(Key, Want),
    /// An edge's endpoints alone: they must be there whenever it is written.
    Ends(EdgeEnds),
    /// An edge's record and the records at both its ends.
    Edge(Key, Want, EdgeEnds),
    /// Its own record, and the edges that will go with it.
    RecordAndEdges(Key),
    /// The edges between two records; a precondition speaks of the one whose key is derived from them.
    Between(Table, EdgeEnds, Option<Key>),
}

fn need(core: &Core, work: &Work) -> Need {
    if let Some(image) = &work.image {
        return ends_of(work, image).filter(|_| work.seen).map_or(Need::Nothing, Need::Ends);
    }
    let conditional = !work.intent.op.precondition.is_none();
    let undoable = work.intent.wants_vectors || conditional;
    match &work.intent.op.action {
        Action::Put { key, .. } if work.creates() => {
            debug_assert!(!conditional);
            let _ = key;
            Need::Nothing
        }
        Action::Put { key, .. } => Need::Record(key.clone(), if undoable { Want::Whole } else { Want::Stamp }),
        Action::Patch { key, .. } => Need::Record(key.clone(), Want::Whole),
        // A derived key leads nowhere else, and the fence meets what is newer: only the endpoints are in question.
        Action::Relate { key, from, to, .. } if !undoable && !work.seen && *key == Key::edge(&key.table, from, to) => {
            Need::Ends(EdgeEnds { from: from.clone(), to: to.clone() })
        }
        Action::Relate { key, from, to, .. } => Need::Edge(
            key.clone(),
            if undoable { Want::Whole } else { Want::Stamp },
            EdgeEnds { from: from.clone(), to: to.clone() },
        ),
        Action::Delete { key } | Action::Unrelate(UnrelateTarget::Key(key)) => {
            if core.lock().tables.edges_have_points() {
                Need::RecordAndEdges(key.clone())
            } else if conditional || work.seen {
                Need::Record(key.clone(), Want::Stamp)
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

/// Where the edge leads that the operation writes, if it writes one.
fn ends_of(work: &Work, image: &ImageRecord) -> Option<EdgeEnds> {
    match (&work.intent.op.action, &image.outcome) {
        (Action::Relate { from, to, .. }, _) => Some(EdgeEnds { from: from.clone(), to: to.clone() }),
        (_, Outcome::Resolved { ends: Some((from, to)), .. }) => {
            Some(EdgeEnds { from: from.parse().ok()?, to: to.parse().ok()? })
        }
        (_, Outcome::Resolved { ends: None, .. } | Outcome::AsAsked | Outcome::Removes { .. }) => None,
    }
}

/// Reads, judges and logs. Operations that need no image pass.
pub(crate) async fn take_images(core: &Core, works: Vec<Work>) -> Result<Judged, ImageError> {
    let needs: Vec<Need> = works.iter().map(|work| need(core, work)).collect();
    let images = read(core, &needs).await?;
    let mut between = HashMap::new();
    for (work, need) in works.iter().zip(&needs) {
        if let Need::Between(edge, ends, _) = need {
            let keys = core.parts.documents.edges_between(edge, ends).await.map_err(surreal)?;
            between.insert(work.lsn, keys);
        }
    }
    let stamps = edge_stamps(core, &images, &between).await?;
    let points = points_for_patches(core, &works, &needs, &images).await?;

    let mut judged = Judged { go: Vec::with_capacity(works.len()), refused: Vec::new(), alone: Vec::new() };
    let mut log = Vec::new();
    let in_company = works.len() > 1;
    for (mut work, need) in works.into_iter().zip(needs) {
        if in_company && patches_an_edge(&work, &images) {
            judged.alone.push(work);
            continue;
        }
        let verdict = match need {
            Need::Nothing => Ok(None),
            Need::Record(key, _) => judge(core, &mut work, images.get(&key), None, points.get(&key))?,
            Need::RecordAndEdges(key) => {
                let edges = gone(&stamps, images.get(&key).map(|i| i.edges.as_slice()).unwrap_or_default());
                judge(core, &mut work, images.get(&key), Some(edges), None)?
            }
            Need::Ends(ends) => endpoints(&images, &ends).map(|()| None),
            Need::Edge(key, _, ends) => match endpoints(&images, &ends) {
                Err(refusal) => Err(refusal),
                Ok(()) => judge(core, &mut work, images.get(&key), None, None)?,
            },
            Need::Between(_, _, derived) => {
                let edges = gone(&stamps, &between.remove(&work.lsn).unwrap_or_default());
                judge(core, &mut work, derived.and_then(|key| images.get(&key)), Some(edges), None)?
            }
        };
        match verdict {
            Err(refusal) => judged.refused.push((work, refusal)),
            Ok(None) => judged.go.push(work),
            Ok(Some((before, outcome))) if size(&before, &outcome) > core.settings.image_bytes => {
                let refusal = too_large(size(&before, &outcome), core.settings.image_bytes);
                judged.refused.push((work, refusal));
            }
            Ok(Some((before, outcome))) => {
                let record = ImageRecord { op: work.lsn, before, outcome };
                log.push(record.clone());
                work.image = Some(record);
                judged.go.push(work);
            }
        }
    }
    write(core, log).await?;
    Ok(judged)
}

fn surreal(error: StoreError) -> ImageError {
    ImageError::Store(StoreName::Surreal, error)
}

/// The versions of the edges that removals will take along: their points are removed up to these.
async fn edge_stamps(
    core: &Core,
    images: &HashMap<Key, Image>,
    between: &HashMap<Lsn, Vec<Key>>,
) -> Result<HashMap<Key, Option<Version>>, ImageError> {
    let edges: BTreeSet<&Key> = images.values().flat_map(|i| &i.edges).chain(between.values().flatten()).collect();
    if edges.is_empty() {
        return Ok(HashMap::new());
    }
    let asks: Vec<ImageAsk> =
        edges.into_iter().map(|key| ImageAsk { key: key.clone(), want: Want::Stamp, edges: false }).collect();
    let images = core.parts.documents.images(&asks).await.map_err(surreal)?;
    let version = |image: &Image| image.found.as_ref().and_then(|f| f.stamp).map(|s| s.version);
    Ok(images.into_iter().map(|image| (image.key.clone(), version(&image))).collect())
}

type GoneEdges = Vec<(String, Option<Version>)>;

fn gone(stamps: &HashMap<Key, Option<Version>>, edges: &[Key]) -> GoneEdges {
    edges.iter().map(|key| (key.to_string(), stamps.get(key).copied().flatten())).collect()
}

/// A patch names an edge by its key alone, so it stands in no lane of the edge's endpoints.
fn patches_an_edge(work: &Work, images: &HashMap<Key, Image>) -> bool {
    let Action::Patch { key, .. } = &work.intent.op.action else { return false };
    images.get(key).and_then(|i| i.found.as_ref()).is_some_and(|f| f.ends.is_some())
        || matches!(work.image.as_ref().map(|i| &i.outcome), Some(Outcome::Resolved { ends: Some(_), .. }))
}

fn endpoints(images: &HashMap<Key, Image>, ends: &EdgeEnds) -> Result<(), Refusal> {
    let gone = |key: &&Key| images.get(*key).is_none_or(|image| image.found.is_none());
    match [&ends.from, &ends.to].into_iter().find(gone) {
        Some(end) => Err(Refusal::not_found(format!("there is no record {end} to relate"))),
        None => Ok(()),
    }
}

/// One read for the whole batch; a key asked for twice is read once, as fully as anybody wants it.
async fn read(core: &Core, needs: &[Need]) -> Result<HashMap<Key, Image>, ImageError> {
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
            Need::Nothing | Need::Between(_, _, None) => {}
            Need::Between(_, _, Some(derived)) => ask(derived, Want::Stamp, false),
            Need::Record(key, want) => ask(key, *want, false),
            Need::RecordAndEdges(key) => ask(key, Want::Stamp, true),
            Need::Ends(ends) => {
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
    let images = core.parts.documents.images(&asks).await.map_err(surreal)?;
    let largest = images.iter().filter_map(|i| i.found.as_ref()).map(|f| f.raw.len()).max().unwrap_or(0);
    let mut shared = core.lock();
    shared.image_hint = largest.max(shared.image_hint / 2);
    drop(shared);
    Ok(images.into_iter().map(|image| (image.key.clone(), image)).collect())
}

fn size(before: &[Before], outcome: &Outcome) -> usize {
    let raw: usize = before.iter().filter_map(|b| b.raw.as_ref()).map(Vec::len).sum();
    raw + match outcome {
        Outcome::AsAsked => 0,
        Outcome::Resolved { document, vectors, .. } => document.len() + vectors.len(),
        Outcome::Removes { edges } => edges.iter().map(|(key, _)| key.len() + 16).sum(),
    }
}

/// Scenario B11: what would have to be logged before a store is touched does not fit; nothing is touched.
fn too_large(size: usize, limit: usize) -> Refusal {
    let detail = format!(
        "the record before and after takes {size} bytes to be undoable, more than {limit}: make it smaller with a put"
    );
    Refusal::new(Code::TooLarge, detail)
}

/// A patch leaves the vectors that it does not name. Where none are kept beside the record, the point has them.
async fn points_for_patches(
    core: &Core,
    works: &[Work],
    needs: &[Need],
    images: &HashMap<Key, Image>,
) -> Result<HashMap<Key, Vectors>, ImageError> {
    let mut wanted: HashMap<String, Vec<(Key, uuid::Uuid)>> = HashMap::new();
    {
        let shared = core.lock();
        let mut seen = HashSet::new();
        for (work, need) in works.iter().zip(needs) {
            let (Action::Patch { key, .. }, Need::Record(..)) = (&work.intent.op.action, need) else { continue };
            let kept = images.get(key).and_then(|i| i.found.as_ref()).is_none_or(|f| f.kept.is_some());
            if let (false, Some((collection, id)), true) = (kept, shared.tables.point(key), seen.insert(key.clone())) {
                wanted.entry(collection).or_default().push((key.clone(), id));
            }
        }
    }
    let mut found = HashMap::new();
    for (collection, keys) in wanted {
        let ids: Vec<uuid::Uuid> = keys.iter().map(|(_, id)| *id).collect();
        let points = match core.parts.vectors.points(&collection, &ids).await {
            Ok(points) => points,
            // The first vector of a table makes its collection: until then there is no point to keep.
            Err(error)
                if error.class == lockstep_stores::Class::Configuration(Scope::Table) && core.settings.auto_create =>
            {
                continue;
            }
            Err(error) => return Err(ImageError::Store(StoreName::Qdrant, error)),
        };
        found.extend(keys.into_iter().zip(points).filter_map(|((key, _), point)| Some((key, point?.vectors))));
    }
    Ok(found)
}

type Verdict = Result<Option<(Vec<Before>, Outcome)>, Refusal>;

/// Judges one operation against what was there. `Err` outside: the log and the store contradict each other.
fn judge(
    core: &Core,
    work: &mut Work,
    image: Option<&Image>,
    edges: Option<GoneEdges>,
    point: Option<&Vectors>,
) -> Result<Verdict, Fatal> {
    let found = image.and_then(|i| i.found.as_ref());
    let stamp = found.and_then(|f| f.stamp);
    if let Some(stamp) = stamp {
        if stamp.op == work.op_id {
            return own_write(work, stamp);
        }
        if stamp.version > work.version {
            if work.seen && is_later_of_this_log(core, work, &stamp) {
                // A later operation of this log has been here: replaying this one changes nothing.
                work.in_surreal = true;
                return Ok(Ok(edges.map(|e| (Vec::new(), Outcome::Removes { edges: e }))));
            }
            core.lock().clock.lift_above(stamp.version);
            let detail =
                format!("the record carries version {}, newer than this operation's {}", stamp.version, work.version);
            return Ok(Err(Refusal::new(Code::NewerVersion, detail)));
        }
    }
    if let Err(refusal) = precondition(work, found, stamp) {
        return Ok(Err(refusal));
    }
    if let (Action::Relate { key, from, to, .. }, Some(there)) =
        (&work.intent.op.action, found.and_then(|f| f.ends.as_ref()))
        && (there.from != *from || there.to != *to)
    {
        // Its lanes are those of its endpoints: an edge that moved could pass a delete of the old ones (docs/decisions).
        let detail =
            format!("{key} leads from {} to {}: unrelate it first, an edge does not move", there.from, there.to);
        return Ok(Err(Refusal::precondition_failed(detail)));
    }
    let conditional = !work.intent.op.precondition.is_none();
    Ok(match &work.intent.op.action {
        Action::Patch { key, document, vectors } => match found {
            None => Err(Refusal::not_found(format!("there is no record {key} to patch"))),
            Some(found) => Ok(Some((before(key, Some(found)), resolve(found, document, vectors, point)))),
        },
        Action::Put { key, .. } | Action::Relate { key, .. } if work.intent.wants_vectors || conditional => {
            Ok(Some((before(key, found), Outcome::AsAsked)))
        }
        Action::Put { .. } | Action::Relate { .. } => Ok(None),
        Action::Delete { .. } | Action::Unrelate(_) => match edges {
            Some(edges) if !edges.is_empty() || conditional => Ok(Some((Vec::new(), Outcome::Removes { edges }))),
            None if conditional => Ok(Some((Vec::new(), Outcome::AsAsked))),
            Some(_) | None => Ok(None),
        },
        Action::Atomic(_) | Action::Clear { .. } => {
            Err(Refusal::new(Code::NotImplemented, "groups and clears are not built yet"))
        }
    })
}

/// The store carries this operation's own write, although no image of it is in the log.
fn own_write(work: &mut Work, stamp: Stamp) -> Result<Verdict, Fatal> {
    let imageless = stamp.created
        || matches!(work.intent.op.action, Action::Relate { .. } | Action::Put { .. })
            && !work.intent.wants_vectors
            && work.intent.op.precondition.is_none();
    if !imageless {
        // Its image was durable before the store was touched (scenario A4c).
        return Err(Fatal::Lost(format!(
            "the store shows the write of operation {}, whose image the log lacks",
            work.lsn
        )));
    }
    work.in_surreal = true;
    Ok(Ok(None))
}

/// Whether what the stamp names was logged after this operation, in this log.
pub(crate) fn is_later_of_this_log(core: &Core, work: &Work, stamp: &Stamp) -> bool {
    let lsn = stamp.op.lsn();
    let shared = core.lock();
    match shared.ops.get(&lsn) {
        Some(op) => lsn > work.lsn && op.version == stamp.version,
        None => false,
    }
}

fn precondition(work: &Work, found: Option<&Found>, stamp: Option<Stamp>) -> Result<(), Refusal> {
    let precondition = &work.intent.op.precondition;
    if precondition.if_absent && found.is_some() {
        let version = stamp.map_or_else(|| "not written by Lockstep".to_owned(), |s| format!("version {}", s.version));
        return Err(Refusal::precondition_failed(format!("if_absent: there is a record ({version})")));
    }
    if let Some(wanted) = precondition.if_version {
        let has = match (found, stamp) {
            (_, Some(stamp)) if stamp.version == wanted => return Ok(()),
            (_, Some(stamp)) => format!("version {}", stamp.version),
            (Some(_), None) => "a record that Lockstep has not written".to_owned(),
            (None, None) => "no record".to_owned(),
        };
        return Err(Refusal::precondition_failed(format!("if_version: wanted version {wanted}, there is {has}")));
    }
    Ok(())
}

fn before(key: &Key, found: Option<&Found>) -> Vec<Before> {
    vec![Before {
        key: key.to_string(),
        raw: found.map(|f| f.raw.clone()),
        version: found.and_then(|f| f.stamp).map(|s| s.version),
    }]
}

/// A patch, resolved once against its image: from now on it is a put of the result (scenario B5).
fn resolve(found: &Found, patch: &Document, named: &Vectors, point: Option<&Vectors>) -> Outcome {
    let mut vectors = found.kept.as_ref().map(|k| k.vectors.clone()).or_else(|| point.cloned()).unwrap_or_default();
    vectors.0.extend(named.0.iter().map(|(name, vector)| (name.clone(), vector.clone())));
    Outcome::Resolved {
        document: document_bytes(&found.document.merge_patch(patch)),
        vectors: vectors.encode(),
        ends: found.ends.as_ref().map(|e| (e.from.to_string(), e.to.to_string())),
    }
}

async fn write(core: &Core, images: Vec<ImageRecord>) -> Result<(), Fatal> {
    if images.is_empty() {
        return Ok(());
    }
    let ticket = {
        let mut shared = core.lock();
        let mut group = Group::new(Durability::Flush, Class::Drain);
        let mut ops = Vec::with_capacity(images.len());
        for image in images {
            ops.push(image.op);
            let record = Record::Image(Box::new(image));
            group.entries.push(record.encode().map_err(|e| Fatal::Lost(e.to_string()))?);
        }
        let appended = core.append(&mut shared, group).map_err(Fatal::Log)?;
        let mut lsn = appended.first;
        for op in ops {
            if let Some(op) = shared.ops.get_mut(&op) {
                debug_assert!(op.state == State::Pending);
                op.add_image(lsn);
            }
            lsn = lsn.next();
        }
        appended.ticket
    };
    ticket.await.map_err(Fatal::Log)
}
