//! Writes: shapes first, then the fence, then as few updates as the order allows.

use std::collections::{HashMap, HashSet};

use qdrant_edge::{PointId, PointInsertOperations, PointOperations, PointStructPersisted};
use uuid::Uuid;

use super::STORE;
use super::point::{point, stamp_of, stamp_only};
use super::shard::{Shard, Writer};
use crate::{Class, PointStamp, PointWrite, StoreError};

/// Applies the writes in order and tells what each point then says.
pub(super) fn apply(shard: &Shard, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError> {
    check_shapes(shard, writes)?;
    let ids: Vec<Uuid> = writes.iter().map(PointWrite::id).collect();
    shard.write(|writer| {
        let mut held = read_stamps(shard, &ids)?;
        let mut run = Run::default();
        for write in writes {
            run.add(write, &mut held, writer)?;
        }
        run.send(writer)?;
        // Edge can ignore an update without a word: what is there decides.
        let seen = read_stamps(shard, &ids)?;
        Ok(ids.iter().map(|id| seen.get(id).cloned()).collect())
    })
}

/// The stamps of the points that are there.
pub(super) fn read_stamps(shard: &Shard, ids: &[Uuid]) -> Result<HashMap<Uuid, PointStamp>, StoreError> {
    let unique: HashSet<Uuid> = ids.iter().copied().collect();
    let wanted: Vec<PointId> = unique.into_iter().map(PointId::Uuid).collect();
    let records = shard.read(|shard| shard.retrieve(&wanted, Some(stamp_only()), None))?;
    Ok(records
        .into_iter()
        .filter_map(|record| match record.id {
            PointId::Uuid(id) => Some((id, stamp_of(record.payload.as_ref()))),
            PointId::NumId(_) => None,
        })
        .collect())
}

fn check_shapes(shard: &Shard, writes: &[PointWrite]) -> Result<(), StoreError> {
    for write in writes {
        let PointWrite::Upsert { key, vectors, .. } = write else { continue };
        if let Err(refusal) = shard.collection.shape.check_patch(vectors) {
            let error = StoreError::new(STORE, Class::Refused, format!("{key}: {}", refusal.detail));
            return Err(StoreError { culprit: Some(key.clone()), ..error });
        }
    }
    Ok(())
}

/// Writes of one kind that go in one update; no point comes twice.
#[derive(Default)]
struct Run {
    upserts: Vec<PointStructPersisted>,
    deletes: Vec<PointId>,
    ids: HashSet<Uuid>,
}

impl Run {
    fn add(
        &mut self,
        write: &PointWrite,
        held: &mut HashMap<Uuid, PointStamp>,
        writer: &Writer<'_>,
    ) -> Result<(), StoreError> {
        let id = write.id();
        let there = held.get(&id);
        let newer = |ours| there.and_then(|stamp| stamp.version).is_some_and(|version| version > ours);
        match write {
            PointWrite::Upsert { key, version, op, vectors, payload, .. } => {
                if newer(*version) {
                    return Ok(());
                }
                if !self.deletes.is_empty() || !self.ids.insert(id) {
                    self.send(writer)?;
                    self.ids.insert(id);
                }
                let stamp = PointStamp { version: Some(*version), op: Some(*op), key: Some(key.clone()) };
                self.upserts.push(point(id, &stamp, vectors, payload));
                held.insert(id, stamp);
            }
            PointWrite::Delete { version, .. } => {
                if there.is_none() || newer(*version) {
                    return Ok(());
                }
                if !self.upserts.is_empty() {
                    self.send(writer)?;
                }
                self.deletes.push(PointId::Uuid(id));
                held.remove(&id);
            }
        }
        Ok(())
    }

    fn send(&mut self, writer: &Writer<'_>) -> Result<(), StoreError> {
        self.ids.clear();
        if !self.upserts.is_empty() {
            let points = PointInsertOperations::PointsList(std::mem::take(&mut self.upserts));
            writer.update(PointOperations::UpsertPoints(points))?;
        }
        if !self.deletes.is_empty() {
            writer.update(PointOperations::DeletePoints { ids: std::mem::take(&mut self.deletes) })?;
        }
        Ok(())
    }
}
