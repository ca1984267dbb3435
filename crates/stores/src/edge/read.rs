//! Reads: searches, whole points, pages of stamps, counts.

use std::collections::HashMap;

use qdrant_edge::{CountRequest, NamedQuery, PointId, QueryEnum, ScrollRequest, SearchRequest, WithVector};
use uuid::Uuid;

use super::STORE;
use super::filter::to_edge;
use super::point::{edge_name, point_of, query, stamp_of, stamp_only};
use super::shard::Shard;
use crate::{Class, Hit, Point, PointStamp, SearchAsk, StoreError};

/// The nearest points. Exact until the shard was optimised.
pub(super) fn search(shard: &Shard, ask: &SearchAsk) -> Result<Vec<Hit>, StoreError> {
    let refused = |detail: String| StoreError::new(STORE, Class::Refused, detail);
    let Some(spec) = shard.collection.shape.0.get(&ask.using).copied() else {
        let known: Vec<&str> = shard.collection.shape.0.keys().map(String::as_str).collect();
        return Err(refused(format!("no vector is called {:?}; there is: {}", ask.using, known.join(", "))));
    };
    let Some(vector) = query(&ask.vector, spec) else {
        let (kind, size) = (ask.vector.kind(), ask.vector.size());
        return Err(refused(format!("the vector {:?} is {spec}, the query is {kind} of {size} dimensions", ask.using)));
    };
    if ask.limit == 0 {
        return Ok(Vec::new());
    }
    let request = SearchRequest {
        query: QueryEnum::Nearest(NamedQuery { query: vector, using: Some(edge_name(&ask.using).to_owned()) }),
        filter: ask.filter.as_ref().map(to_edge).transpose()?,
        params: None,
        limit: ask.limit,
        offset: ask.offset,
        with_payload: Some(stamp_only()),
        with_vector: None,
        score_threshold: None,
    };
    let found = shard.read(|shard| shard.search(request))?;
    Ok(found.into_iter().map(|point| Hit { stamp: stamp_of(point.payload.as_ref()), score: point.score }).collect())
}

/// Whole points, in the order asked.
pub(super) fn points(shard: &Shard, ids: &[Uuid]) -> Result<Vec<Option<Point>>, StoreError> {
    let wanted: Vec<PointId> = ids.iter().copied().map(PointId::Uuid).collect();
    let records = shard.read(|shard| shard.retrieve(&wanted, Some(true.into()), Some(WithVector::Bool(true))))?;
    let mut points = HashMap::with_capacity(records.len());
    for record in records {
        points.insert(record.id, point_of(record)?);
    }
    Ok(wanted.iter().map(|id| points.get(id).cloned()).collect())
}

/// A page of stamps in id order. Ids that are numbers are none of ours and come first: they are passed over.
pub(super) fn scan(shard: &Shard, after: Option<Uuid>, limit: usize) -> Result<Vec<(Uuid, PointStamp)>, StoreError> {
    let request = ScrollRequest {
        offset: Some(PointId::Uuid(after.unwrap_or_default())),
        limit: Some(limit.saturating_add(1)),
        filter: None,
        with_payload: Some(stamp_only()),
        with_vector: WithVector::Bool(false),
        order_by: None,
    };
    let (records, _) = shard.read(|shard| shard.scroll(request))?;
    let stamps = records.into_iter().filter_map(|record| match record.id {
        PointId::Uuid(id) if after != Some(id) => Some((id, stamp_of(record.payload.as_ref()))),
        PointId::Uuid(_) | PointId::NumId(_) => None,
    });
    Ok(stamps.take(limit).collect())
}

/// How many points there are.
pub(super) fn count(shard: &Shard) -> Result<u64, StoreError> {
    let count = shard.read(|shard| shard.count(CountRequest { filter: None, exact: true }))?;
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}
