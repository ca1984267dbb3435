//! Looks at what operations wrote, by version, and writes again what is missing or older: records first, then points.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use lockstep_model::{Document, Key, Lsn, PointId, Version};
use lockstep_stores::{
    Collection, DocWrite, Durability, EdgeEnds, Found, Image, ImageAsk, PointWrite, StoreError, Want,
};

use super::absent::{Fate, fate};
use super::{Looked, Stands, standing};
use crate::core::{Core, StoreName};
use crate::judge::is_later_of_this_log;
use crate::qdrant_worker::{Part, add_part, write};
use crate::work::{Content, GoneEdge, Work};
use crate::{events, trouble};

type Trouble = (StoreName, StoreError);

/// What an operation wrote, and how the log stands by it.
type Asked<'a> = (&'a Work, &'a Content, Stands);

/// What is to be in Qdrant of an operation.
type Standing<'a> = (&'a Work, Cow<'a, Content>);

/// Looks, and writes. Fills `looked` with what was found, also when a store does not answer.
pub(super) async fn look_and_write(
    core: &Core,
    works: &[(Work, Vec<(Content, Stands)>)],
    looked: &mut Looked,
) -> Result<(), Trouble> {
    let works: Vec<Asked<'_>> = works
        .iter()
        .flat_map(|(work, contents)| contents.iter().map(move |(content, stands)| (work, content, *stands)))
        .collect();
    let standing = documents(core, &works, looked).await?;
    points(core, &standing, looked).await
}

/// The records. Returns what the points are to be; of edges that stay away that is nothing.
async fn documents<'a>(core: &Core, works: &[Asked<'a>], looked: &mut Looked) -> Result<Vec<Standing<'a>>, Trouble> {
    let surreal = |e| (StoreName::Surreal, e);
    let in_surreal = |content: &Content| match content {
        Content::Put { key, .. } | Content::Remove { key, .. } => core.lock().tables.in_surreal(&key.table),
        Content::RemoveBetween { .. } => true,
    };
    let (works, elsewhere): (Vec<_>, Vec<_>) = works.iter().copied().partition(|(_, content, _)| in_surreal(content));
    let mut asks = Vec::new();
    let mut ask = |key: &Key, edges| asks.push(ImageAsk { key: key.clone(), want: Want::Stamp, edges });
    for (_, content, _) in &works {
        match content {
            Content::Put { key, ends, .. } => {
                ask(key, false);
                if let Some(EdgeEnds { from, to }) = ends {
                    ask(from, false);
                    ask(to, false);
                }
            }
            Content::Remove { key, .. } => ask(key, true),
            Content::RemoveBetween { .. } => {}
        }
    }
    let images = core.parts.documents.images(&asks).await.map_err(surreal)?;
    let mut found = images.into_iter().map(|image| (image.found, image.edges));
    let elsewhere = elsewhere.into_iter().filter(|(.., stands)| *stands == Stands::Still);
    let mut standing: Vec<Standing<'_>> = elsewhere.map(|(work, content, _)| (work, Cow::Borrowed(content))).collect();
    let mut writes: Vec<DocWrite> = Vec::new();
    for (work, content, stands) in works {
        let mut removes = None;
        let mut next = || found.next().and_then(|(found, _)| found);
        let missing = match content {
            Content::Put { key, document, ends, .. } => {
                let shown = next();
                let ends: Vec<(&Key, bool)> =
                    ends.iter().flat_map(|ends| [&ends.from, &ends.to]).map(|end| (end, next().is_some())).collect();
                match (stands, shown.is_some()) {
                    (Stands::Still, _) | (Stands::Cleared, true) => {}
                    (Stands::Cleared | Stands::WentWithItsEnd, false) => {
                        standing.push((work, Cow::Owned(point_of(core, key, document))));
                        continue;
                    }
                    (Stands::WentWithItsEnd, true) => continue,
                }
                match fate(core, work, key, shown.is_some(), &ends) {
                    Fate::Stands => {}
                    Fate::WithItsEnds(ends) => match ends_again(core, work, ends) {
                        Some(ends) => {
                            for (end, write) in ends {
                                looked.rewritten.insert(end);
                                looked.records.insert(end);
                                if !writes.iter().any(|other| other.key() == write.key()) {
                                    writes.push(write);
                                }
                            }
                        }
                        None => {
                            looked.again.insert(work.lsn);
                            continue;
                        }
                    },
                    Fate::StaysAway => continue,
                    Fate::PointGoes => {
                        standing.push((work, Cow::Owned(point_of(core, key, document))));
                        continue;
                    }
                    Fate::PointGoesAndWaits => {
                        looked.again.insert(work.lsn);
                        standing.push((work, Cow::Owned(point_of(core, key, document))));
                        continue;
                    }
                    Fate::Waits => {
                        looked.again.insert(work.lsn);
                        continue;
                    }
                }
                let stamp = shown.and_then(|f| f.stamp);
                // Whoever has written it since, and has not ended, sees to the point itself: it may have removed it before a kill.
                if stamp.is_some_and(|stamp| stamp.version > work.version && is_later_of_this_log(core, work, &stamp)) {
                    continue;
                }
                stamp.is_none_or(|stamp| stamp.version < work.version)
            }
            Content::Remove { key, point, edges } => {
                let (shown, at_it) = found.next().unwrap_or_default();
                let goes = shown.is_some_and(|found| is_up_to(&found, work));
                if goes && !at_it.is_empty() {
                    let edges = [edges.clone(), gone_with_it(core, work, key, at_it).await.map_err(surreal)?].concat();
                    removes = Some(Content::Remove { key: key.clone(), point: *point, edges });
                }
                goes
            }
            Content::RemoveBetween { edge, ends, .. } => {
                // An edge that was made anew since is none that the removal missed.
                let there = core.parts.documents.edges_between(edge, ends).await.map_err(surreal)?;
                let ask = |key| ImageAsk { key, want: Want::Stamp, edges: false };
                let asks: Vec<_> = there.into_iter().map(ask).collect();
                let images = core.parts.documents.images(&asks).await.map_err(surreal)?;
                images.into_iter().filter_map(|image| image.found).any(|found| is_up_to(&found, work))
            }
        };
        standing.push((work, removes.map_or(Cow::Borrowed(content), Cow::Owned)));
        if missing {
            looked.rewritten.insert(work.lsn);
            looked.records.insert(work.lsn);
            writes.push(work.document_write(content));
        }
    }
    if !writes.is_empty() {
        tracing::warn!(
            store = "surreal",
            records = writes.len(),
            "committed records were missing or old: writing them again"
        );
        core.parts.documents.apply(&writes, &[]).await.map_err(surreal)?;
    }
    trouble::succeeded(core, StoreName::Surreal);
    Ok(standing)
}

/// The writes of an edge's missing ends, which come back before it does: who looks at them waits in their lanes until this look is over. What
/// the operation wrote itself it writes in any case. None: one of them has to wait for somebody else.
fn ends_again(core: &Core, work: &Work, ends: Vec<(Key, Lsn)>) -> Option<Vec<(Lsn, DocWrite)>> {
    let mut writes = Vec::with_capacity(ends.len());
    for (end, lsn) in ends.into_iter().filter(|(_, lsn)| *lsn != work.lsn) {
        let wrote = Work::load(core, lsn).and_then(|mut wrote| {
            wrote.again = true;
            Ok((standing(core, &wrote)?, wrote))
        });
        let (contents, wrote) = wrote.map_err(|fatal| core.fail(fatal)).ok()?;
        let is_end = |(content, stands): &&(Content, Stands)| {
            // Where the end is an edge itself, its ends come first.
            matches!(content, Content::Put { key, ends: None, .. } if *key == end) && *stands == Stands::Still
        };
        let (content, _) = contents.iter().find(is_end)?;
        if !matches!(fate(core, &wrote, &end, false, &[]), Fate::Stands) {
            return None;
        }
        writes.push((lsn, wrote.document_write(content)));
    }
    Some(writes)
}

/// The edges at a record that a store brought back and that goes once more. They go with it, and so do their points; what has been made
/// since is lost.
async fn gone_with_it(core: &Core, work: &Work, key: &Key, edges: Vec<Key>) -> Result<Vec<GoneEdge>, StoreError> {
    let asks: Vec<_> = edges.into_iter().map(|key| ImageAsk { key, want: Want::Stamp, edges: false }).collect();
    let images = core.parts.documents.images(&asks).await?;
    let version = |found: &Found| found.stamp.map_or(Version(0), |stamp| stamp.version);
    let gone = |image: Image| Some(GoneEdge { version: version(image.found.as_ref()?), key: image.key });
    let gone: Vec<GoneEdge> = images.into_iter().filter_map(gone).collect();
    if let Some(younger) = gone.iter().find(|edge| edge.version > work.version) {
        events::audit_needed(core, &mut core.lock(), StoreName::Surreal, || {
            format!("{key} was there again after it had been deleted, and the edge {} to it is lost", younger.key)
        });
    }
    Ok(gone)
}

/// The point of a record that is no more.
fn point_of(core: &Core, key: &Key, document: &Document) -> Content {
    let shared = core.lock();
    let point = shared.tables.point_field(&key.table).and_then(|_| shared.tables.point_id_of(key, document));
    Content::Remove { key: key.clone(), point, edges: Vec::new() }
}

/// The record is not newer than the operation.
fn is_up_to(found: &Found, work: &Work) -> bool {
    found.stamp.is_none_or(|stamp| stamp.version <= work.version)
}

async fn points(core: &Core, works: &[Standing<'_>], looked: &mut Looked) -> Result<(), Trouble> {
    let served = core.parts.vectors.durability() == Durability::Acknowledged;
    let mut parts: BTreeMap<String, (Collection, Vec<Part>)> = BTreeMap::new();
    for (work, content) in works {
        if !work.intent.wants_vectors {
            continue;
        }
        let shared = core.lock();
        for (table, point) in work.point_writes(&shared, content.as_ref().clone()) {
            if let Some(collection) = shared.tables.collection(&table) {
                add_part(&mut parts, collection, work.lsn, point);
            }
        }
    }
    let asked = !parts.is_empty();
    let qdrant = |e| (StoreName::Qdrant, e);
    for (name, (collection, parts)) in parts {
        let ids: Vec<PointId> = parts.iter().flat_map(|p| &p.writes).map(PointWrite::id).collect();
        let stamps = match core.parts.vectors.stamps(&name, &ids).await {
            Ok(stamps) => stamps,
            // The collection itself is gone: every point is.
            Err(error) if error.is_no_collection() => vec![None; ids.len()],
            Err(error) => return Err(qdrant(error)),
        };
        let mut stamps = stamps.into_iter();
        let mut again = Vec::new();
        for mut part in parts {
            part.writes.retain(|write| {
                let has = stamps.next().flatten().map(|s| s.version);
                match (write, has) {
                    (PointWrite::Upsert { .. }, None | Some(None)) => true,
                    (PointWrite::Upsert { version, .. }, Some(Some(has))) => has < *version,
                    (PointWrite::Delete { .. }, None) => false,
                    (PointWrite::Delete { version, .. }, Some(has)) => has.is_none_or(|has| has <= *version),
                    (PointWrite::Restore { .. }, _) => false,
                }
            });
            if !part.writes.is_empty() {
                looked.rewritten.insert(part.lsn);
                if served {
                    looked.points.insert(part.lsn);
                }
                again.push(part);
            }
        }
        if again.is_empty() {
            continue;
        }
        tracing::info!(
            store = "qdrant",
            collection = name,
            points = again.len(),
            "committed points were missing or old: writing them again"
        );
        for (_, answer) in write(core, &collection, again, &mut HashSet::new()).await {
            answer.map_err(qdrant)?;
        }
    }
    if asked {
        trouble::succeeded(core, StoreName::Qdrant);
    }
    Ok(())
}
