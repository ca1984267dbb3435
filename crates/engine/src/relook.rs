//! Relook: a request to Qdrant whose outcome was unknown can still be carried out. An upsert of a point that is gone by then
//! brings it back whatever its filter says, so the keys are looked at once more when their operations leave (design 5).

use std::collections::HashMap;

use lockstep_model::{Access, Key, LaneId, Lsn, PointId, State};
use lockstep_stores::{Class, Found, ImageAsk, Point, PointStamp, PointWrite, StoreError, Want};

use crate::core::{Core, Fatal, Shared, StoreName, millis};
use crate::op::{Op, Stage};
use crate::settle::reach_barriers;
use crate::work::Work;
use crate::{events, restore, trouble, verify};

/// So often the keys of one operation are looked at in a row.
const LOOKS: usize = 8;

/// Sends operations whose requests cannot be on their way any more through their lanes once again.
pub(crate) fn start(core: &Core, shared: &mut Shared) {
    let over = over(core, shared);
    let ripe = |lsn: &Lsn| shared.ops.get(lsn).is_some_and(&over);
    let ripe: Vec<Lsn> = shared.settled.iter().filter(ripe).collect();
    for lsn in &ripe {
        shared.settled.remove(*lsn);
        shared.verifying.insert(*lsn);
        if let Some(op) = shared.ops.get_mut(lsn) {
            op.stage = Stage::Relook;
        }
        shared.enter_again(*lsn);
        shared.make_ready(*lsn);
    }
    if !ripe.is_empty() {
        tracing::info!(operations = ripe.len(), "looking once more at keys that late writes may have reached");
        core.wake_surreal.notify_one();
    }
}

/// Whether what was sent for an operation may have come late, and cannot be on its way any more.
fn over(core: &Core, shared: &Shared) -> impl Fn(&Op) -> bool + use<> {
    let wait = millis(core.settings().late_after);
    let now_ms = shared.now_ms();
    move |op| op.late_ms.is_some_and(|late| now_ms.saturating_sub(late.get()) >= wait)
}

/// Looks at the keys of the operations: what Qdrant shows must be what SurrealDB has.
pub(crate) async fn batch(core: &Core, lsns: &[Lsn]) -> Result<(), Fatal> {
    let works: Vec<Work> = lsns.iter().map(|lsn| Work::load(core, *lsn)).collect::<Result<_, _>>()?;
    let since = since(core, &works);
    for work in works {
        let lsn = work.lsn;
        let mended = match mend(core, &work).await? {
            Ok(()) => alone(core, &work, &since).await?,
            Err(trouble) => Err(trouble),
        };
        match mended {
            Ok(()) => looked_at(core, &mut core.lock(), lsn),
            Err((store, error)) if error.class == Class::Refused => {
                tracing::error!(%lsn, store = store.as_str(), %error, "a point could not be made what its record says: audit needed");
                let mut shared = core.lock();
                events::audit_needed(core, &mut shared, store, || {
                    format!("a point could not be made what its record says: {}", error.detail)
                });
                looked_at(core, &mut shared, lsn);
            }
            Err((store, error)) => {
                for lsn in trouble::failed(core, store, &[lsn], &error) {
                    core.lock().make_ready(lsn);
                }
            }
        }
    }
    core.wake();
    core.progress.notify_waiters();
    Ok(())
}

/// Makes the points of the operation's keys what their records say.
pub(crate) async fn mend(core: &Core, work: &Work) -> Result<Result<(), (StoreName, StoreError)>, Fatal> {
    let mut keys: Vec<Key> = work.intent.op.action.members().iter().filter_map(|m| m.key().cloned()).collect();
    // What was refused at its turn has no content: a patch of nothing came to nothing.
    keys.extend(work.edges_taken_along()?);
    keys.sort_unstable();
    keys.dedup();
    Ok(settle(core, work, &keys).await)
}

/// The table is Qdrant's alone.
fn is_alone(shared: &Shared, key: &Key) -> bool {
    shared.tables.get(&key.table).is_some_and(|info| !info.rules.stores.has_surreal())
}

/// Who has written the keys last since, of those that Qdrant alone holds.
fn since(core: &Core, works: &[Work]) -> HashMap<LaneId, Lsn> {
    let shared = core.lock();
    let keys = works.iter().flat_map(|work| work.intent.op.action.members()).filter_map(|member| member.key());
    let mut last: HashMap<LaneId, Lsn> =
        keys.filter(|key| is_alone(&shared, key)).map(|key| (key.lane(), Lsn(0))).collect();
    if !last.is_empty() {
        for (lsn, op) in shared.ops.iter().filter(|(_, op)| op.state == State::Committed) {
            for (lane, _) in op.lanes.as_slice().iter().filter(|(_, access)| *access == Access::Write) {
                if let Some(youngest) = last.get_mut(lane) {
                    *youngest = lsn.max(*youngest);
                }
            }
        }
    }
    last
}

/// Makes the points that Qdrant alone holds, and that show a late write of the operation, what the log says: as whoever is younger wrote them,
/// or as they were before a group that was taken back.
async fn alone(
    core: &Core,
    work: &Work,
    since: &HashMap<LaneId, Lsn>,
) -> Result<Result<(), (StoreName, StoreError)>, Fatal> {
    let members = work.intent.op.action.members().iter().filter_map(|member| member.key());
    for key in members {
        let (collection, id, is_taken_back) = {
            let shared = core.lock();
            let Some(collection) = shared.tables.collection(&key.table).filter(|_| is_alone(&shared, key)) else {
                continue;
            };
            let Some(id) = shared.tables.point_id(key) else { continue };
            let is_taken_back = shared.ops.get(&work.lsn).is_some_and(|op| op.state == State::RolledBack);
            (collection.name, id, is_taken_back)
        };
        let writes = match since.get(&key.lane()).filter(|lsn| **lsn > work.lsn) {
            Some(younger) => {
                let younger = Work::load(core, *younger)?;
                let contents = younger.contents()?;
                let shared = core.lock();
                let writes = contents.into_iter().flat_map(|content| younger.point_writes(&shared, content));
                writes.filter(|(table, _)| *table == key.table).map(|(_, write)| write).collect()
            }
            None if is_taken_back => restore::restores(work)?.remove(&collection).unwrap_or_default(),
            None => continue,
        };
        let Some(write) = writes.into_iter().find(|write: &PointWrite| write.id() == id) else { continue };
        let vectors = &core.parts.vectors;
        let mended = match vectors.stamps(&collection, &[id]).await {
            // What shows another version is not this operation's.
            Ok(stamps)
                if stamps
                    .first()
                    .is_none_or(|stamp| stamp.as_ref().is_none_or(|s| s.version != Some(work.version))) =>
            {
                continue;
            }
            Ok(_) => vectors.apply(&collection, &[write]).await.map(drop),
            Err(error) if error.is_no_collection() => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = mended {
            return Ok(Err((StoreName::Qdrant, error)));
        }
        tracing::warn!(%key, "a late write had changed the point: it is made what the log says");
    }
    Ok(Ok(()))
}

fn looked_at(core: &Core, shared: &mut Shared, lsn: Lsn) {
    let over = over(core, shared);
    if let Some(op) = shared.ops.get_mut(&lsn) {
        // A start looks at some of them sooner: what the last process sent may come after that.
        if over(op) {
            op.late_ms = None;
        }
    }
    verify::looked_at(shared, lsn);
    reach_barriers(shared);
}

/// Looks until nothing is left to mend. The operation stands in the lanes of its own keys, but not of edges that went with them:
/// what such an edge shows can change between the looks at both stores, and the next look then sees it.
async fn settle(core: &Core, work: &Work, keys: &[Key]) -> Result<(), (StoreName, StoreError)> {
    for _ in 0..LOOKS {
        if !look(core, work, keys).await? {
            return Ok(());
        }
    }
    Err((StoreName::Qdrant, StoreError::new("qdrant", Class::NotApplied, "points change while they are looked at")))
}

/// Mends what a late write of the operation of this version can have done. Tells whether it wrote.
async fn look(core: &Core, work: &Work, keys: &[Key]) -> Result<bool, (StoreName, StoreError)> {
    let mut wrote = false;
    let asks: Vec<ImageAsk> =
        keys.iter().map(|key| ImageAsk { key: key.clone(), want: Want::Whole, edges: false }).collect();
    let images = core.parts.documents.images(&asks).await.map_err(|error| (StoreName::Surreal, error))?;
    for image in images {
        let (collection, ids, of_record) = {
            let shared = core.lock();
            let key = &image.key;
            let Some(collection) = shared.tables.collection(&key.table).filter(|_| !is_alone(&shared, key)) else {
                continue;
            };
            let document = image.found.as_ref().map(|found| &found.document);
            let of_record = document
                .map_or_else(|| shared.tables.point_id(key), |document| shared.tables.point_id_of(key, document));
            let mut ids: Vec<PointId> = of_record.into_iter().collect();
            // What the record names now need not be what the operation wrote.
            for (named, id) in work.named_points(&shared.tables) {
                if named == *key && !ids.contains(&id) {
                    ids.push(id);
                }
            }
            (collection.name, ids, of_record)
        };
        let qdrant = |error| (StoreName::Qdrant, error);
        let points = match core.parts.vectors.points(&collection, &ids).await {
            Ok(points) => points,
            Err(error) if error.is_no_collection() => continue,
            Err(error) => return Err(qdrant(error)),
        };
        for (id, point) in ids.into_iter().zip(points) {
            // What is newer is not this operation's.
            if point.as_ref().is_some_and(|point| point.stamp.version > Some(work.version)) {
                continue;
            }
            let record = image.found.as_ref().filter(|_| of_record == Some(id));
            if let Some(write) = project(core, work, &image.key, id, record, point.as_ref()) {
                tracing::warn!(key = %image.key, "a late write had changed the point: it is made what the record says");
                core.parts.vectors.apply(&collection, &[write]).await.map_err(qdrant)?;
                wrote = true;
            }
        }
    }
    Ok(wrote)
}

/// The write that makes the point what the record says; none if it is.
fn project(
    core: &Core,
    work: &Work,
    key: &Key,
    id: PointId,
    record: Option<&Found>,
    point: Option<&Point>,
) -> Option<PointWrite> {
    let shown = point.map(|point| point.stamp.version);
    let Some(found) = record.filter(|found| found.has_vectors) else {
        // The record, or its vectors, are gone; so goes whatever of ours came after them. Somebody else's point stays.
        let version = shown??;
        return Some(PointWrite::Delete { id, version });
    };
    let stamp = found.stamp?;
    let state = core.lock().author(stamp.op, stamp.version).map(|(_, op)| op.state);
    if matches!(state, Some(State::Parked | State::Discarded)) {
        // Qdrant refused what the record shows, and an operator decides, or has decided, that it stays so.
        return None;
    }
    if shown == Some(Some(stamp.version)) {
        return None;
    }
    // Vectors that are kept nowhere else are in the image of a group that was taken back.
    let kept = found.kept.as_ref().map(|kept| kept.vectors.clone());
    let Some(vectors) = kept.or_else(|| restore::imaged(work, id, stamp.version)) else {
        events::audit_needed(core, &mut core.lock(), StoreName::Qdrant, || {
            format!("the point of {key} is not the record's, and its vectors are kept nowhere else")
        });
        return None;
    };
    if let Some(Some(wrote)) = shown.filter(|shown| *shown > Some(stamp.version)) {
        // What was taken back has come after all: no upsert of the record's older version passes over it.
        let stamp = PointStamp { version: Some(stamp.version), op: Some(stamp.op), key: Some(key.clone()) };
        let point = Point { stamp, vectors, payload: payload(core, key, found) };
        return Some(PointWrite::Restore { id, wrote, to: Some(Box::new(point)) });
    }
    Some(PointWrite::Upsert {
        id,
        key: key.clone(),
        version: stamp.version,
        op: stamp.op,
        vectors,
        payload: payload(core, key, found),
    })
}

fn payload(core: &Core, key: &Key, found: &Found) -> serde_json::Map<String, serde_json::Value> {
    let payload = core.lock().tables.get(&key.table).map(|info| info.rules.payload.clone()).unwrap_or_default();
    payload.select(&found.document)
}
