//! Writes: shapes first, then requests with fences, then one look at what is there, which alone decides.
//!
//! A request carries one filter for all its points: the one of its lowest version. A point that it holds back although the point's own
//! version would pass shows in the read-back, and is sent once more with a fence of its own. Points that are written more than once, and
//! restores, have their own fence from the start, and keep their order.

use std::collections::HashMap;

use lockstep_model::{PointId, Version};
use prost::Message as _;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::points_update_operation::{DeletePoints as BatchDelete, Operation, PointStructList};
use qdrant_client::qdrant::{
    DeletePoints, Filter, PointStruct, PointsSelector, PointsUpdateOperation, UpdateBatchPoints, UpdateResult,
    UpdateStatus, UpsertPoints,
};
use tonic::{Code, Status};

use super::class::{Stage, classify};
use super::fence::{exactly, not_newer, these_not_newer, this_exactly};
use super::layout::Layout;
use super::point::point;
use super::{Inner, STORE};
use crate::shape_check::check_writes;
use crate::{Class, PointStamp, PointWrite, Scope, StoreError};

/// So many ids go into one delete: a request of less than 100 KiB.
const DELETES: usize = 1000;

/// Applies the writes, per point in order, and tells what each point then says.
pub(super) async fn apply(
    store: &Inner,
    collection: &str,
    writes: &[PointWrite],
) -> Result<Vec<Option<PointStamp>>, StoreError> {
    let layout = if writes.iter().all(only_removes) {
        None
    } else {
        let layout = store.layout_for(collection, |layout| check_writes(STORE, &layout.shape, writes)).await?;
        Some(layout.0)
    };
    let mut sender = Sender { store, collection, layout: layout.as_deref(), sent: 0 };
    let applied = apply_with(&mut sender, writes).await;
    match applied {
        // Nothing was there to be removed.
        Err(failure) if layout.is_none() && failure.code() == Some(Code::NotFound) => Ok(vec![None; writes.len()]),
        Err(failure) => {
            store.forget(collection);
            Err(failure.into_error(sender.sent))
        }
        Ok(seen) => {
            let lost =
                |write: &PointWrite| matches!(write, PointWrite::Upsert { .. }) && !seen.contains_key(&write.id());
            if writes.iter().any(lost) {
                // A delete came between, or the collection is another by now.
                store.forget(collection);
            }
            Ok(writes.iter().map(|write| seen.get(&write.id()).cloned()).collect())
        }
    }
}

fn only_removes(write: &PointWrite) -> bool {
    matches!(write, PointWrite::Delete { .. } | PointWrite::Restore { to: None, .. })
}

async fn apply_with(sender: &mut Sender<'_>, writes: &[PointWrite]) -> Result<HashMap<PointId, PointStamp>, Failure> {
    let mut times: HashMap<PointId, usize> = HashMap::with_capacity(writes.len());
    for write in writes {
        *times.entry(write.id()).or_default() += 1;
    }
    let (mut upserts, mut deletes, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for write in writes {
        match write {
            PointWrite::Upsert { id, .. } if times[id] == 1 => upserts.push(write),
            PointWrite::Delete { id, version } if times[id] == 1 => deletes.push((*id, *version)),
            PointWrite::Upsert { .. } | PointWrite::Delete { .. } | PointWrite::Restore { .. } => own.push(write),
        }
    }
    sender.upserts(&upserts).await?;
    sender.deletes(&deletes).await?;
    sender.each(&own).await?;
    let ids: Vec<PointId> = times.keys().copied().collect();
    let mut seen = sender.look(&ids).await?;
    let shared =
        upserts.iter().copied().chain(writes.iter().filter(|write| is_delete(write) && times[&write.id()] == 1));
    let held_back: Vec<&PointWrite> = shared.filter(|write| was_held_back(write, &seen)).collect();
    if !held_back.is_empty() {
        sender.each(&held_back).await?;
        let ids: Vec<PointId> = held_back.iter().map(|write| write.id()).collect();
        ids.iter().for_each(|id| drop(seen.remove(id)));
        seen.extend(sender.look(&ids).await?);
    }
    Ok(seen)
}

fn is_delete(write: &PointWrite) -> bool {
    matches!(write, PointWrite::Delete { .. })
}

/// The point shows something older than the write.
fn was_held_back(write: &PointWrite, seen: &HashMap<PointId, PointStamp>) -> bool {
    let Some(stamp) = seen.get(&write.id()) else { return false };
    match write {
        PointWrite::Upsert { version, .. } => stamp.version < Some(*version),
        PointWrite::Delete { version, .. } => stamp.version <= Some(*version),
        PointWrite::Restore { .. } => false,
    }
}

/// Why a call did not succeed.
enum Failure {
    /// The server's answer to a write.
    Answer(Status),
    /// It answered that the write is not done yet, or may never be.
    NotCompleted(String),
    /// Everything went out, but what is there could not be read.
    Blind(StoreError),
}

impl Failure {
    fn code(&self) -> Option<Code> {
        match self {
            Self::Answer(status) => Some(status.code()),
            Self::NotCompleted(_) | Self::Blind(_) => None,
        }
    }

    /// The outcome of the call, after `sent` requests that were applied.
    fn into_error(self, sent: usize) -> StoreError {
        let mut error = match self {
            Self::Answer(status) => classify(&status, Stage::Write),
            Self::NotCompleted(detail) => return StoreError::new(STORE, Class::Unknown, detail),
            Self::Blind(error) => return StoreError { class: Class::Unknown, ..error },
        };
        let partly = match error.class {
            // Points before the guilty one may be in. Several operations are each tried alone after a refusal, which repeats the
            // others; a group is taken back, which takes back whatever carries its version.
            Class::Refused => false,
            Class::Exists | Class::NotApplied | Class::Configuration(_) | Class::Unknown | Class::Fenced => sent > 0,
        };
        if partly {
            error.class = Class::Unknown;
            error.detail = format!("part of it may be applied: {}", error.detail);
        }
        error
    }
}

/// Sends requests to one collection.
struct Sender<'a> {
    store: &'a Inner,
    collection: &'a str,
    /// None where nothing is written but removals.
    layout: Option<&'a Layout>,
    /// How many requests were applied.
    sent: usize,
}

impl Sender<'_> {
    /// Upserts of different points.
    async fn upserts(&mut self, writes: &[&PointWrite]) -> Result<(), Failure> {
        let (mut points, mut bytes, mut lowest) = (Vec::new(), 0, None);
        for write in writes {
            let Some((point, version)) = self.point_of(write) else { continue };
            let more = point.encoded_len();
            if bytes + more > self.store.batch_bytes && !points.is_empty() {
                self.upsert(std::mem::take(&mut points), lowest.take()).await?;
                bytes = 0;
            }
            bytes += more;
            lowest = Some(lowest.map_or(version, |lowest: Version| lowest.min(version)));
            points.push(point);
        }
        if points.is_empty() { Ok(()) } else { self.upsert(points, lowest).await }
    }

    async fn upsert(&mut self, points: Vec<PointStruct>, lowest: Option<Version>) -> Result<(), Failure> {
        let ask = UpsertPoints {
            collection_name: self.collection.to_owned(),
            wait: Some(true),
            points,
            ordering: self.store.ordering(),
            update_filter: lowest.map(not_newer),
            ..UpsertPoints::default()
        };
        let mut client = self.store.link.points();
        let answer = self.store.link.call(client.upsert(self.store.link.request(ask))).await;
        self.note(answer.map(|answer| answer.result.into_iter().collect()), 1)
    }

    /// Deletes of different points.
    async fn deletes(&mut self, deletes: &[(PointId, Version)]) -> Result<(), Failure> {
        for part in deletes.chunks(DELETES) {
            let Some(lowest) = part.iter().map(|(_, version)| *version).min() else { continue };
            let ids: Vec<PointId> = part.iter().map(|(id, _)| *id).collect();
            let ask = DeletePoints {
                collection_name: self.collection.to_owned(),
                wait: Some(true),
                points: Some(selector(these_not_newer(&ids, lowest))),
                ordering: self.store.ordering(),
                ..DeletePoints::default()
            };
            let mut client = self.store.link.points();
            let answer = self.store.link.call(client.delete(self.store.link.request(ask))).await;
            self.note(answer.map(|answer| answer.result.into_iter().collect()), 1)?;
        }
        Ok(())
    }

    /// Writes in order, each behind its own fence.
    async fn each(&mut self, writes: &[&PointWrite]) -> Result<(), Failure> {
        let (mut operations, mut bytes) = (Vec::new(), 0);
        for write in writes {
            let Some(operation) = self.operation(write) else { continue };
            let more = operation.encoded_len();
            if bytes + more > self.store.batch_bytes && !operations.is_empty() {
                self.batch(std::mem::take(&mut operations)).await?;
                bytes = 0;
            }
            bytes += more;
            operations.push(operation);
        }
        if operations.is_empty() { Ok(()) } else { self.batch(operations).await }
    }

    async fn batch(&mut self, operations: Vec<PointsUpdateOperation>) -> Result<(), Failure> {
        let count = operations.len();
        let ask = UpdateBatchPoints {
            collection_name: self.collection.to_owned(),
            wait: Some(true),
            operations,
            ordering: self.store.ordering(),
            ..UpdateBatchPoints::default()
        };
        let mut client = self.store.link.points();
        let answer = self.store.link.call(client.update_batch(self.store.link.request(ask))).await;
        self.note(answer.map(|answer| answer.result), count)
    }

    /// What is there now.
    async fn look(&self, ids: &[PointId]) -> Result<HashMap<PointId, PointStamp>, Failure> {
        match self.store.read_stamps(self.collection, ids).await {
            // The removals went to a collection that is not there.
            Err(error) if self.layout.is_none() && error.class == Class::Configuration(Scope::Table) => {
                Ok(HashMap::new())
            }
            other => other.map_err(Failure::Blind),
        }
    }

    /// Only what is completed counts as written.
    fn note(&mut self, answer: Result<Vec<UpdateResult>, Status>, expected: usize) -> Result<(), Failure> {
        let results = answer.map_err(Failure::Answer)?;
        if results.len() != expected {
            let detail = format!("the server answered {} updates of {expected}", results.len());
            return Err(Failure::NotCompleted(detail));
        }
        for result in results {
            let status = result.status();
            if status != UpdateStatus::Completed {
                return Err(Failure::NotCompleted(format!("the server answered {}", status.as_str_name())));
            }
        }
        self.sent += 1;
        Ok(())
    }

    fn operation(&self, write: &PointWrite) -> Option<PointsUpdateOperation> {
        let upsert = |point, filter| {
            let list =
                PointStructList { points: vec![point], update_filter: Some(filter), ..PointStructList::default() };
            Operation::Upsert(list)
        };
        let delete =
            |filter| Operation::DeletePoints(BatchDelete { points: Some(selector(filter)), shard_key_selector: None });
        let operation = match write {
            PointWrite::Upsert { .. } => {
                let (point, version) = self.point_of(write)?;
                upsert(point, not_newer(version))
            }
            PointWrite::Delete { id, version } => delete(these_not_newer(&[*id], *version)),
            PointWrite::Restore { id, wrote, to: None } => delete(this_exactly(*id, *wrote)),
            PointWrite::Restore { id, wrote, to: Some(to) } => {
                let restored = point(*id, &to.stamp, &to.vectors, &to.payload, self.layout?);
                upsert(restored, exactly(*wrote))
            }
        };
        Some(PointsUpdateOperation { operation: Some(operation) })
    }

    /// The point of an upsert, and its version.
    fn point_of(&self, write: &PointWrite) -> Option<(PointStruct, Version)> {
        let PointWrite::Upsert { id, key, version, op, vectors, payload } = write else { return None };
        let stamp = PointStamp { version: Some(*version), op: Some(*op), key: Some(key.clone()) };
        Some((point(*id, &stamp, vectors, payload, self.layout?), *version))
    }
}

fn selector(filter: Filter) -> PointsSelector {
    PointsSelector { points_selector_one_of: Some(PointsSelectorOneOf::Filter(filter)) }
}
