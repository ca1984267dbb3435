//! Reads: searches, whole points, pages of stamps, counts.

use std::collections::HashMap;

use lockstep_model::PointId;
use qdrant_edge::{
    Condition, CountRequest, Filter, IsEmptyCondition, JsonPath, NamedQuery, PointId as EdgeId, QueryEnum,
    ScrollRequest, SearchRequest, WithVector,
};

use super::STORE;
use super::filter::to_edge;
use super::point::{edge_id, edge_name, our_id, point_of, query, stamp_in, stamp_only};
use super::shard::Shard;
use crate::shape_check::check_ask;
use crate::stamp::{STAMP_FIELD, VERSION_FIELD};
use crate::{Class, Hit, Point, PointStamp, SearchAsk, StoreError};

/// The nearest points. Exact until the shard was optimised.
pub(super) fn search(shard: &Shard, ask: &SearchAsk) -> Result<Vec<Hit>, StoreError> {
    let spec = check_ask(STORE, &shard.collection.shape, ask)?;
    let Some(vector) = query(&ask.vector, spec) else {
        return Err(StoreError::new(STORE, Class::Refused, format!("the query does not fit {spec}")));
    };
    if ask.limit == 0 {
        return Ok(Vec::new());
    }
    let request = SearchRequest {
        query: QueryEnum::Nearest(NamedQuery {
            query: vector,
            using: Some(edge_name(&ask.using, spec.kind).to_owned()),
        }),
        filter: ask.filter.as_ref().map(to_edge).transpose()?,
        params: None,
        limit: ask.limit,
        offset: ask.offset,
        with_payload: Some(stamp_only()),
        with_vector: None,
        score_threshold: None,
    };
    let found = shard.read(|shard| shard.search(request))?;
    Ok(found.into_iter().map(|point| Hit { stamp: stamp_in(point.payload.as_ref()), score: point.score }).collect())
}

/// Whole points, in the order asked.
pub(super) fn points(shard: &Shard, ids: &[PointId]) -> Result<Vec<Option<Point>>, StoreError> {
    let wanted: Vec<EdgeId> = ids.iter().copied().map(edge_id).collect();
    let records = shard.read(|shard| shard.retrieve(&wanted, Some(true.into()), Some(WithVector::Bool(true))))?;
    let mut points = HashMap::with_capacity(records.len());
    for record in records {
        points.insert(record.id, point_of(record)?);
    }
    Ok(wanted.iter().map(|id| points.get(id).cloned()).collect())
}

/// A page of stamps in id order: numbers first, then UUIDs.
pub(super) fn scan(
    shard: &Shard,
    after: Option<PointId>,
    limit: usize,
) -> Result<Vec<(PointId, PointStamp)>, StoreError> {
    let request = ScrollRequest {
        offset: after.map(edge_id),
        limit: Some(limit.saturating_add(1)),
        filter: None,
        with_payload: Some(stamp_only()),
        with_vector: WithVector::Bool(false),
        order_by: None,
    };
    let (records, _) = shard.read(|shard| shard.scroll(request))?;
    let stamps = records.into_iter().map(|record| (our_id(record.id), stamp_in(record.payload.as_ref())));
    Ok(stamps.filter(|(id, _)| after != Some(*id)).take(limit).collect())
}

/// How many points there are.
pub(super) fn count(shard: &Shard) -> Result<u64, StoreError> {
    counted(shard, None)
}

/// How many points carry no version.
pub(super) fn count_unstamped(shard: &Shard) -> Result<u64, StoreError> {
    let version: JsonPath = format!("{STAMP_FIELD}.{VERSION_FIELD}")
        .parse()
        .map_err(|()| StoreError::new(STORE, Class::NotApplied, "the stamp's field is no path"))?;
    let none = Condition::IsEmpty(IsEmptyCondition::from(version));
    counted(shard, Some(Filter { should: None, min_should: None, must: Some(vec![none]), must_not: None }))
}

fn counted(shard: &Shard, filter: Option<Filter>) -> Result<u64, StoreError> {
    let count = shard.read(|shard| shard.count(CountRequest { filter, exact: true }))?;
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}
