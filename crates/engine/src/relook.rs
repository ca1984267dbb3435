//! Relook: a request to Qdrant whose outcome was unknown can still be carried out. An upsert of a point that is gone by then
//! brings it back whatever its filter says, so the keys are looked at once more when their operations leave (design 5).

use lockstep_model::{Key, Lsn};
use lockstep_stores::{Class, Found, ImageAsk, Point, PointWrite, StoreError, Want};

use crate::core::{Core, Fatal, Shared, StoreName};
use crate::op::Stage;
use crate::trouble;
use crate::work::{Work, read_intent};

/// Sends operations whose requests cannot be on their way any more through their lanes once again.
pub(crate) fn start(core: &Core, shared: &mut Shared) {
    let wait = u32::try_from(core.settings().late_after.as_millis()).unwrap_or(u32::MAX);
    let now_ms = shared.now_ms();
    let ripe = |lsn: &Lsn| shared.ops.get(lsn).is_some_and(|op| op.late && now_ms.saturating_sub(op.moved_ms) >= wait);
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

/// Looks at the keys of the operations: what Qdrant shows must be what SurrealDB has.
pub(crate) async fn batch(core: &Core, lsns: &[Lsn]) -> Result<(), Fatal> {
    for &lsn in lsns {
        let work = Work::load(core, lsn)?;
        let mut keys: Vec<Key> =
            read_intent(core, lsn)?.op.action.members().iter().filter_map(|m| m.key().cloned()).collect();
        for content in work.contents()? {
            keys.extend(content.gone_edges().iter().map(|edge| edge.key.clone()));
        }
        keys.sort_unstable();
        keys.dedup();
        match look(core, &keys).await {
            Ok(()) => {
                let mut shared = core.lock();
                if let Some(op) = shared.ops.get_mut(&lsn) {
                    op.late = false;
                }
                crate::verify::looked_at(&mut shared, lsn);
            }
            Err((store, error)) => {
                for lsn in trouble::failed(core, store, &[lsn], &error) {
                    core.lock().make_ready(lsn);
                }
            }
        }
    }
    core.wake();
    Ok(())
}

async fn look(core: &Core, keys: &[Key]) -> Result<(), (StoreName, StoreError)> {
    let asks: Vec<ImageAsk> =
        keys.iter().map(|key| ImageAsk { key: key.clone(), want: Want::Whole, edges: false }).collect();
    let images = core.parts.documents.images(&asks).await.map_err(|error| (StoreName::Surreal, error))?;
    for image in images {
        let place = {
            let shared = core.lock();
            let held = shared.tables.get(&image.key.table).is_none_or(|info| info.rules.stores.has_surreal());
            shared.tables.point(&image.key).filter(|_| held)
        };
        let Some((collection, id)) = place else { continue };
        let qdrant = |error| (StoreName::Qdrant, error);
        let point = match core.parts.vectors.points(&collection, &[id]).await {
            Ok(points) => points.into_iter().next().flatten(),
            Err(error) if matches!(error.class, Class::Configuration(lockstep_stores::Scope::Table)) => continue,
            Err(error) => return Err(qdrant(error)),
        };
        if let Some(write) = project(core, &image.key, id, image.found.as_ref(), point.as_ref()) {
            tracing::warn!(key = %image.key, "a late write had changed the point: it is made what the record says");
            core.parts.vectors.apply(&collection, &[write]).await.map_err(qdrant)?;
        }
    }
    Ok(())
}

/// The write that makes the point what the record says; none if it is.
fn project(
    core: &Core,
    key: &Key,
    id: lockstep_model::PointId,
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
    if shown == Some(Some(stamp.version)) {
        return None;
    }
    let Some(kept) = &found.kept else {
        let mut shared = core.lock();
        shared.audit_needed.get_or_insert_with(|| {
            format!("qdrant: the point of {key} is not the record's, and its vectors are kept nowhere else")
        });
        return None;
    };
    let payload = core.lock().tables.get(&key.table).map(|info| info.rules.payload.clone()).unwrap_or_default();
    Some(PointWrite::Upsert {
        id,
        key: key.clone(),
        version: stamp.version,
        op: stamp.op,
        vectors: kept.vectors.clone(),
        payload: payload.select(&found.document),
    })
}
