//! What holds whatever the order was: what a client was told, and what both stores must show together.

use std::collections::BTreeSet;

use lockstep_engine::OpView;
use lockstep_model::{Code, Key, PointId, State};
use lockstep_stores::{EdgeEnds, Point};
use lockstep_wal::Failure;

use crate::clients::Asked;
use crate::{documents, vectors};

/// What a client was told as final stays so (P2).
pub(crate) fn kept_promise(asked: &Asked, view: &OpView) -> Result<(), String> {
    let state = view.state();
    match &asked.ending {
        // An operator's word ends what is parked, and nothing else.
        Some(told) if told.state == State::Parked && !asked.decided.is_empty() => match state {
            State::Parked | State::RolledBack | State::Discarded => Ok(()),
            State::Pending
            | State::SurrealCompleted
            | State::QdrantCompleted
            | State::Committed
            | State::Compensating => Err(format!("{}: it was parked, now it is {}", view.lsn, state.as_str())),
        },
        Some(told) if told.state != state => {
            Err(format!("{}: the client was told {}, now it is {}", view.lsn, told.state.as_str(), state.as_str()))
        }
        Some(told) => {
            let (was, is) = (code(told.failure.as_ref()), code(view.summary.failure.as_ref()));
            match was == is || !asked.decided.is_empty() {
                true => Ok(()),
                false => Err(format!("{}: the client was told {was:?}, now it is {is:?}", view.lsn)),
            }
        }
        None => Ok(()),
    }
}

fn code(failure: Option<&Failure>) -> Option<Code> {
    failure.map(|failure| failure.code)
}

/// What holds whatever the order was: no edge dangles, both stores show the same versions, no point is without its record.
/// What an operator left as it was, or has not decided, may stand in one store alone, as may what somebody else has written or
/// removed.
pub(crate) fn structure(
    documents: &documents::Disk,
    vectors: &vectors::Disk,
    left: &BTreeSet<Key>,
    foreign: &BTreeSet<Key>,
) -> Result<(), String> {
    let meddled = |ends: &EdgeEnds| foreign.contains(&ends.from) || foreign.contains(&ends.to);
    for (key, record) in &documents.records {
        if foreign.contains(key) || record.ends.as_ref().is_some_and(meddled) {
            continue;
        }
        if let Some(ends) = &record.ends
            && !(documents.records.contains_key(&ends.from) && documents.records.contains_key(&ends.to))
        {
            return Err(format!("{key} dangles: {ends:?}"));
        }
        let point = vectors.points.get(&(key.table.to_string(), key.point_id()));
        if left.contains(key) {
            continue;
        }
        match point {
            Some(point) if point.stamp.version != record.stamp.map(|s| s.version) => {
                return Err(format!("{key}: SurrealDB shows {record:?}, Qdrant {point:?}"));
            }
            None if record.has_vectors => return Err(format!("{key}: its point is missing")),
            Some(_) if !record.has_vectors => return Err(format!("{key}: a point, and the record says none")),
            Some(_) | None => {}
        }
    }
    let theirs: BTreeSet<_> = foreign.iter().map(|key| (key.table.to_string(), key.point_id())).collect();
    let orphaned = |(place, point): &(&(String, PointId), &Point)| match &point.stamp.key {
        None => !theirs.contains(*place),
        // A delete that Qdrant did not take until its attempts were used up is parked, and its point still there.
        Some(key) => !documents.records.contains_key(key) && !foreign.contains(key) && !left.contains(key),
    };
    match vectors.points.iter().find(orphaned) {
        Some((_, point)) => Err(format!("an orphaned point: {point:?}")),
        None => Ok(()),
    }
}
