//! The second worker: Qdrant, collection by collection (design 4.7).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use lockstep_model::{Action, Code, Key, Lsn};
use lockstep_stores::{Class, Collection, ImageAsk, PointStamp, PointWrite, Scope, StoreError, Want};
use lockstep_wal::Failure;
use tokio::time::sleep_until;

use crate::core::{Core, Fatal, StoreName};
use crate::isolate::{gather, give_back, isolate};
use crate::pick::{Picked, pick_qdrant};
use crate::work::{Content, Work};
use crate::{end, trouble};

/// Runs until the engine stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut made = HashSet::new();
    while !core.stop.is_cancelled() {
        match pick_qdrant(&core) {
            Picked::Batch(_, lsns) => {
                let done = batch(&core, &lsns, &mut made).await;
                core.lock().qdrant_busy = false;
                core.progress.notify_waiters();
                core.wake_surreal.notify_one();
                if let Err(fatal) = done {
                    core.fail(fatal);
                }
            }
            Picked::Nothing(later) => {
                tokio::select! {
                    biased;
                    () = core.stop.cancelled() => {}
                    () = core.wake_qdrant.notified() => {}
                    () = async { sleep_until(later.unwrap_or_else(tokio::time::Instant::now)).await }, if later.is_some() => {}
                }
            }
        }
    }
}

/// All writes of one operation in one collection.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) lsn: Lsn,
    pub(crate) writes: Vec<PointWrite>,
}

async fn batch(core: &Core, lsns: &[Lsn], made: &mut HashSet<String>) -> Result<(), Fatal> {
    let mut works = BTreeMap::new();
    let mut unasked: Vec<(Lsn, StoreError)> = Vec::new();
    let mut parts: BTreeMap<String, (Collection, Vec<Part>)> = BTreeMap::new();
    for &lsn in lsns {
        let handed = core.lock().handed.remove(&lsn);
        let work = match handed {
            Some(work) => *work,
            None => Work::load(core, lsn)?,
        };
        let contents = work.contents()?;
        let gone = match gone_edges(core, &work, &contents).await {
            Ok(gone) => gone,
            Err(error) => {
                unasked.push((lsn, error));
                continue;
            }
        };
        let shared = core.lock();
        let writes = contents.into_iter().flat_map(|content| {
            let is_gone = matches!(&content, Content::Put { key, .. } if gone.contains(key));
            let mut writes = work.point_writes(&shared, content);
            for (_, write) in writes.iter_mut().filter(|_| is_gone) {
                *write = PointWrite::Delete { id: write.id(), version: work.version };
            }
            writes
        });
        for (table, write) in writes {
            let Some(collection) = shared.tables.collection(&table) else { continue };
            add_part(&mut parts, collection, lsn, write);
        }
        works.insert(lsn, work);
    }

    for (lsn, error) in &unasked {
        // SurrealDB's silence ends nobody here: what it shows is only asked.
        for lsn in trouble::failed(core, StoreName::Surreal, &[*lsn], error) {
            core.lock().make_ready(lsn);
        }
    }
    let mut failed: BTreeMap<Lsn, StoreError> = BTreeMap::new();
    let mut foreign: BTreeMap<Lsn, String> = BTreeMap::new();
    let mut answered = HashSet::new();
    for (name, (collection, parts)) in parts {
        for (part, answer) in write(core, &collection, parts, made).await {
            match answer {
                Ok(stamps) => {
                    answered.insert(part.lsn);
                    let work = works.get(&part.lsn);
                    let newer = stamps.iter().flatten().find_map(|s| work.and_then(|w| newer_than(core, w, s)));
                    if let Some(detail) = newer {
                        foreign.insert(part.lsn, detail);
                    }
                }
                Err(error) => {
                    tracing::debug!(lsn = %part.lsn, collection = name, %error, "points were not written");
                    // Another collection may refuse the same group: it may come late all the same.
                    if error.class == Class::Unknown {
                        let mut shared = core.lock();
                        let now_ms = shared.now_ms();
                        if let Some(op) = shared.ops.get_mut(&part.lsn) {
                            op.may_come_late(now_ms);
                        }
                    }
                    failed.insert(part.lsn, error);
                }
            }
        }
    }

    let unasked = |lsn: &Lsn| unasked.iter().any(|(other, _)| other == lsn);
    let undone = |lsn: &Lsn| failed.contains_key(lsn) || foreign.contains_key(lsn) || unasked(lsn);
    let done: Vec<Lsn> = lsns.iter().copied().filter(|lsn| !undone(lsn)).collect();
    // What one collection took of a group that another did not says nothing of the others.
    if answered.iter().any(|lsn| !failed.contains_key(lsn)) {
        trouble::succeeded(core, StoreName::Qdrant);
    }
    if !done.is_empty() {
        end::committed(core, &done)?;
    }
    // What is taken back is not tried again, whatever another collection said.
    failed.retain(|lsn, _| !foreign.contains_key(lsn));
    for (lsn, detail) in foreign {
        let failure = Failure { store: "qdrant".into(), code: Code::NewerVersion, detail };
        end::compensate(core, lsn, &failure).await?;
    }
    let mut again: Vec<(StoreError, Vec<Lsn>)> = Vec::new();
    for (lsn, error) in failed {
        if error.class == Class::Refused {
            // A refusal is an answer: the store is there.
            trouble::succeeded(core, StoreName::Qdrant);
            end::compensate(core, lsn, &trouble::failure_of(StoreName::Qdrant, &error)).await?;
            continue;
        }
        match again.iter_mut().find(|(e, _)| e.detail == error.detail && e.class == error.class) {
            Some((_, lsns)) => lsns.push(lsn),
            None => again.push((error, vec![lsn])),
        }
    }
    for (error, lsns) in again {
        for lsn in trouble::failed(core, StoreName::Qdrant, &lsns, &error) {
            end::compensate(core, lsn, &trouble::given_up(core, StoreName::Qdrant, &error)).await?;
        }
    }
    Ok(())
}

/// An edge that was patched by its key can have gone with an endpoint meanwhile: a patch stands in no lane of the endpoints, nor
/// does a group that holds one. Its point then goes, too. Removals come to Qdrant through this worker, so nothing can come between
/// this look and the write that would matter.
async fn gone_edges(core: &Core, work: &Work, contents: &[Content]) -> Result<HashSet<Key>, StoreError> {
    let members = work.intent.op.action.members().iter().zip(contents);
    let asks: Vec<ImageAsk> = members
        .filter_map(|member| match member {
            (Action::Patch { key, .. }, Content::Put { ends: Some(_), .. }) => {
                Some(ImageAsk { key: key.clone(), want: Want::Stamp, edges: false })
            }
            _ => None,
        })
        .collect();
    if asks.is_empty() {
        return Ok(HashSet::new());
    }
    let images = core.parts.documents.images(&asks).await?;
    Ok(images.into_iter().filter(|image| image.found.is_none()).map(|image| image.key).collect())
}

pub(crate) fn add_part(
    parts: &mut BTreeMap<String, (Collection, Vec<Part>)>,
    collection: Collection,
    lsn: Lsn,
    write: PointWrite,
) {
    let (_, list) = parts.entry(collection.name.clone()).or_insert_with(|| (collection, Vec::new()));
    match list.last_mut() {
        Some(part) if part.lsn == lsn => part.writes.push(write),
        _ => list.push(Part { lsn, writes: vec![write] }),
    }
}

/// Whether the configuration says what vectors the collection has. Then it is the collection that is wrong.
fn is_configured(core: &Core, collection: &str) -> bool {
    let shared = core.lock();
    let mut tables = shared.tables.iter();
    tables.any(|(name, info)| info.rules.vectors.is_some() && info.rules.collection_for(name) == collection)
}

/// Writes the parts to their collection, which is created if it is missing and may be.
pub(crate) async fn write(
    core: &Core,
    collection: &Collection,
    parts: Vec<Part>,
    made: &mut HashSet<String>,
) -> Vec<(Part, Result<Vec<Option<PointStamp>>, StoreError>)> {
    let upserts = parts.iter().flat_map(|p| &p.writes).any(|w| matches!(w, PointWrite::Upsert { .. }));
    if upserts && core.settings().auto_create && !made.contains(&collection.name) {
        match core.parts.vectors.create(collection).await {
            Ok(()) => {}
            // It is there, and only the operation's own vectors say that it should be otherwise: Qdrant judges them.
            Err(error)
                if error.class == Class::Configuration(Scope::Table) && !is_configured(core, &collection.name) => {}
            Err(error) => return parts.into_iter().map(|part| (part, Err(error.clone()))).collect(),
        }
        made.insert(collection.name.clone());
    }
    let answers = isolate(
        parts,
        |_, _| false,
        |_, _| false,
        |mut batch: Vec<Part>| async move {
            let writes = gather(&mut batch, |part| &mut part.writes);
            let stamps = core.parts.vectors.apply(&collection.name, &writes.0).await;
            let answer = give_back(&mut batch, |part| &mut part.writes, writes, stamps);
            (batch, answer)
        },
    )
    .await;
    if answers.iter().any(|(_, a)| matches!(a, Err(e) if e.class == Class::Configuration(Scope::Table))) {
        made.remove(&collection.name);
    }
    answers
}

/// The point carries a version that is newer than the operation's and not of this log: what, in words.
fn newer_than(core: &Core, work: &Work, stamp: &PointStamp) -> Option<String> {
    let version = stamp.version.filter(|v| *v > work.version)?;
    let of_this_log = stamp.op.is_some_and(|op| core.lock().author(op, version).is_some_and(|(lsn, _)| lsn > work.lsn));
    if of_this_log {
        return None;
    }
    core.lock().clock.lift_above(version);
    Some(format!("the point carries version {version}, which this log did not write"))
}
