//! Writes: shapes first, then the fence, then as few updates as the order allows.

use std::collections::{HashMap, HashSet};

use lockstep_model::{PointId, Vectors};
use qdrant_edge::{PointId as EdgeId, PointInsertOperations, PointOperations, PointStructPersisted};

use super::STORE;
use super::point::{edge_id, our_id, point, stamp_in, stamp_only};
use super::shard::{Shard, Writer};
use crate::shape_check::check_writes;
use crate::{PointStamp, PointWrite, StoreError};

/// Applies the writes in order and tells what each point then says.
pub(super) fn apply(shard: &Shard, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError> {
    check_writes(STORE, &shard.collection.shape, writes)?;
    let ids: Vec<PointId> = writes.iter().map(PointWrite::id).collect();
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
pub(super) fn read_stamps(shard: &Shard, ids: &[PointId]) -> Result<HashMap<PointId, PointStamp>, StoreError> {
    let unique: HashSet<PointId> = ids.iter().copied().collect();
    let wanted: Vec<EdgeId> = unique.into_iter().map(edge_id).collect();
    let records = shard.read(|shard| shard.retrieve(&wanted, Some(stamp_only()), None))?;
    Ok(records.into_iter().map(|record| (our_id(record.id), stamp_in(record.payload.as_ref()))).collect())
}

/// Writes of one kind that go in one update; no point comes twice.
#[derive(Default)]
struct Run {
    upserts: Vec<PointStructPersisted>,
    deletes: Vec<EdgeId>,
    ids: HashSet<PointId>,
}

impl Run {
    fn add(
        &mut self,
        write: &PointWrite,
        held: &mut HashMap<PointId, PointStamp>,
        writer: &Writer<'_>,
    ) -> Result<(), StoreError> {
        let id = write.id();
        let there = held.get(&id);
        let carried = there.and_then(|stamp| stamp.version);
        match write {
            PointWrite::Upsert { key, version, op, vectors, payload, .. } => {
                if carried > Some(*version) {
                    return Ok(());
                }
                let stamp = PointStamp { version: Some(*version), op: Some(*op), key: Some(key.clone()) };
                self.upsert(id, stamp, vectors, payload, held, writer)
            }
            PointWrite::Delete { version, .. } => {
                if there.is_none() || carried > Some(*version) {
                    return Ok(());
                }
                self.delete(id, held, writer)
            }
            PointWrite::Restore { wrote, to, .. } => match to {
                Some(point) if there.is_none() || carried == Some(*wrote) => {
                    self.upsert(id, point.stamp.clone(), &point.vectors, &point.payload, held, writer)
                }
                None if carried == Some(*wrote) => self.delete(id, held, writer),
                Some(_) | None => Ok(()),
            },
        }
    }

    fn upsert(
        &mut self,
        id: PointId,
        stamp: PointStamp,
        vectors: &Vectors,
        payload: &serde_json::Map<String, serde_json::Value>,
        held: &mut HashMap<PointId, PointStamp>,
        writer: &Writer<'_>,
    ) -> Result<(), StoreError> {
        if !self.deletes.is_empty() || !self.ids.insert(id) {
            self.send(writer)?;
            self.ids.insert(id);
        }
        self.upserts.push(point(id, &stamp, vectors, payload));
        held.insert(id, stamp);
        Ok(())
    }

    fn delete(
        &mut self,
        id: PointId,
        held: &mut HashMap<PointId, PointStamp>,
        writer: &Writer<'_>,
    ) -> Result<(), StoreError> {
        if !self.upserts.is_empty() {
            self.send(writer)?;
        }
        self.deletes.push(edge_id(id));
        held.remove(&id);
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
