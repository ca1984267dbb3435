//! Verify: do both stores still show what the log says they were given (design 6)? What is missing or older is written again.
//!
//! Committed is final: a refusal here raises an alarm and asks for an audit, it never rolls anything back.

use std::collections::{BTreeMap, HashSet};

use lockstep_model::{Key, Lsn};
use lockstep_stores::{Class, Collection, DocWrite, EdgeEnds, Found, ImageAsk, PointWrite, StoreError, Want};

use crate::core::{Core, Fatal, StoreName};
use crate::op::OpLanes;
use crate::qdrant_worker::{Part, add_part, write};
use crate::settle::{reach_barriers, recovered};
use crate::trouble;
use crate::work::{Content, Work};

/// Looks at the operations' keys in both stores, by version, and writes again what is missing or older.
pub(crate) async fn batch(core: &Core, lsns: &[Lsn]) -> Result<(), Fatal> {
    let mut works = Vec::with_capacity(lsns.len());
    for &lsn in lsns {
        let work = Work::load(core, lsn)?;
        let content = work.content()?;
        works.push((work, content));
    }
    let rewritten = match look_and_write(core, &works).await {
        Ok(rewritten) => rewritten,
        Err((store, error)) if error.class == Class::Refused => {
            tracing::error!(store = store.as_str(), %error, "a committed operation could not be written again: audit needed");
            core.lock().audit_needed.get_or_insert_with(|| {
                format!("{}: a committed operation could not be written again: {}", store.as_str(), error.detail)
            });
            0
        }
        Err((store, error)) => {
            // Attempts do not end this: what was promised stays promised.
            for lsn in trouble::failed(core, store, lsns, &error) {
                core.lock().make_ready(lsn);
            }
            return Ok(());
        }
    };
    let mut shared = core.lock();
    shared.recovery.verified += lsns.len() as u64;
    shared.recovery.rewritten += rewritten;
    for &lsn in lsns {
        shared.release(lsn);
        let Some(op) = shared.ops.get_mut(&lsn) else { continue };
        op.lanes = OpLanes::None;
        op.trouble = None;
        let bytes = u64::from(op.bytes);
        shared.settled.push(lsn);
        shared.settled_bytes += bytes;
        shared.recovering.remove(lsn);
    }
    recovered(&mut shared);
    reach_barriers(&mut shared);
    drop(shared);
    core.wake();
    core.progress.notify_waiters();
    Ok(())
}

type Trouble = (StoreName, StoreError);

async fn look_and_write(core: &Core, works: &[(Work, Content)]) -> Result<u64, Trouble> {
    let mut rewritten = HashSet::new();
    let standing = documents(core, works, &mut rewritten).await?;
    points(core, &standing, &mut rewritten).await?;
    Ok(rewritten.len() as u64)
}

/// The records. Returns the operations whose points are to be looked at: all but edges that lost an endpoint.
async fn documents<'a>(
    core: &Core,
    works: &'a [(Work, Content)],
    rewritten: &mut HashSet<Lsn>,
) -> Result<Vec<&'a (Work, Content)>, Trouble> {
    let surreal = |e| (StoreName::Surreal, e);
    let mut asks = Vec::new();
    let mut ask = |key: &Key| asks.push(ImageAsk { key: key.clone(), want: Want::Stamp, edges: false });
    for (_, content) in works {
        match content {
            Content::Put { key, ends, .. } => {
                ask(key);
                if let Some(EdgeEnds { from, to }) = ends {
                    ask(from);
                    ask(to);
                }
            }
            Content::Remove { key, .. } => ask(key),
            Content::RemoveBetween { .. } => {}
        }
    }
    let images = core.parts.documents.images(&asks).await.map_err(surreal)?;
    let mut found = images.into_iter().map(|image| image.found);
    let mut standing = Vec::new();
    let mut writes: Vec<DocWrite> = Vec::new();
    for entry in works {
        let (work, content) = entry;
        let mut next = || found.next().flatten();
        let missing = match content {
            Content::Put { ends, .. } => {
                let shown = next();
                // A delete of an endpoint that has not ended yet took the edge along: it stays away.
                let dangling = ends.is_some() && [next(), next()].iter().any(Option::is_none);
                if dangling {
                    continue;
                }
                shown.and_then(|f| f.stamp).is_none_or(|stamp| stamp.version < work.version)
            }
            Content::Remove { .. } => next().is_some_and(|found| is_up_to(&found, work)),
            Content::RemoveBetween { edge, ends, .. } => {
                // An edge that was made anew since is none that the removal missed.
                let there = core.parts.documents.edges_between(edge, ends).await.map_err(surreal)?;
                let ask = |key| ImageAsk { key, want: Want::Stamp, edges: false };
                let asks: Vec<_> = there.into_iter().map(ask).collect();
                let images = core.parts.documents.images(&asks).await.map_err(surreal)?;
                images.into_iter().filter_map(|image| image.found).any(|found| is_up_to(&found, work))
            }
        };
        standing.push(entry);
        if missing {
            rewritten.insert(work.lsn);
            writes.push(work.document_write(content));
        }
    }
    if !writes.is_empty() {
        tracing::warn!(
            store = "surreal",
            records = writes.len(),
            "committed records were missing or old: writing them again"
        );
        core.parts.documents.apply(&writes).await.map_err(surreal)?;
    }
    trouble::succeeded(core, StoreName::Surreal);
    Ok(standing)
}

/// The record is not newer than the operation.
fn is_up_to(found: &Found, work: &Work) -> bool {
    found.stamp.is_none_or(|stamp| stamp.version <= work.version)
}

async fn points(core: &Core, works: &[&(Work, Content)], rewritten: &mut HashSet<Lsn>) -> Result<(), Trouble> {
    let mut parts: BTreeMap<String, (Collection, Vec<Part>)> = BTreeMap::new();
    for (work, content) in works {
        if !work.intent.wants_vectors {
            continue;
        }
        let shared = core.lock();
        for (table, point) in work.point_writes(&shared, content.clone()) {
            if let Some(collection) = shared.tables.collection(&table) {
                add_part(&mut parts, collection, work.lsn, point);
            }
        }
    }
    let qdrant = |e| (StoreName::Qdrant, e);
    for (name, (collection, parts)) in parts {
        let ids: Vec<uuid::Uuid> = parts.iter().flat_map(|p| &p.writes).map(PointWrite::id).collect();
        let stamps = match core.parts.vectors.stamps(&name, &ids).await {
            Ok(stamps) => stamps,
            // The collection itself is gone: every point is.
            Err(error) if matches!(error.class, Class::Configuration(_)) => vec![None; ids.len()],
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
                }
            });
            if !part.writes.is_empty() {
                rewritten.insert(part.lsn);
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
    if !works.is_empty() {
        trouble::succeeded(core, StoreName::Qdrant);
    }
    Ok(())
}
