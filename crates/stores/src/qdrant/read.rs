//! Reads: stamps, whole points, pages, counts, searches.

use std::collections::HashMap;

use lockstep_model::PointId;
use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::{CountPoints, Filter, GetPoints, Query, QueryPoints, RetrievedPoint, ScrollPoints};
use tonic::{Code, Status};

use super::Inner;
use super::class::{Stage, classify};
use super::filter::to_wire;
use super::layout::Layout;
use super::point::{odd, our_id, point_of, query, stamp_in, stamp_only, vectors_wanted, whole_payload, wire_id};
use crate::shape_check::check_ask;
use crate::{Hit, Point, PointStamp, SearchAsk, StoreError};

/// Stamps are small: so many fit into an answer of a few hundred KiB.
const STAMPS: usize = 1000;

/// Whole points are asked for in parts of this many, and in smaller parts where an answer is too large.
const POINTS: usize = 64;

impl Inner {
    /// The stamps of the points that are there.
    pub(super) async fn read_stamps(
        &self,
        collection: &str,
        ids: &[PointId],
    ) -> Result<HashMap<PointId, PointStamp>, StoreError> {
        let mut stamps = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(STAMPS) {
            for point in self.get(collection, ids, false).await.map_err(|status| self.failed(collection, &status))? {
                stamps.insert(our_id(point.id)?, stamp_in(point.payload));
            }
        }
        Ok(stamps)
    }

    pub(super) async fn read_points(
        &self,
        collection: &str,
        ids: &[PointId],
    ) -> Result<Vec<Option<Point>>, StoreError> {
        let layout = self.layout(collection).await?;
        let mut points = HashMap::with_capacity(ids.len());
        let mut parts: Vec<&[PointId]> = ids.chunks(POINTS).collect();
        while let Some(part) = parts.pop() {
            match self.get(collection, part, true).await {
                Ok(found) => {
                    for point in found {
                        points.insert(our_id(point.id.clone())?, point_of(point, &layout)?);
                    }
                }
                // The answer is larger than a message may be.
                Err(status) if status.code() == Code::OutOfRange && part.len() > 1 => {
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([left, right]);
                }
                Err(status) => return Err(self.failed(collection, &status)),
            }
        }
        Ok(ids.iter().map(|id| points.get(id).cloned()).collect())
    }

    async fn get(&self, collection: &str, ids: &[PointId], whole: bool) -> Result<Vec<RetrievedPoint>, Status> {
        let ask = GetPoints {
            collection_name: collection.to_owned(),
            ids: ids.iter().copied().map(wire_id).collect(),
            with_payload: Some(if whole { whole_payload() } else { stamp_only() }),
            with_vectors: Some(vectors_wanted(whole)),
            ..GetPoints::default()
        };
        let mut client = self.link.points();
        Ok(self.link.call(client.get(self.link.request(ask))).await?.result)
    }

    /// A page of stamps in id order: numbers first, then UUIDs.
    pub(super) async fn read_page(
        &self,
        collection: &str,
        after: Option<PointId>,
        limit: usize,
    ) -> Result<Vec<(PointId, PointStamp)>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let ask = ScrollPoints {
            collection_name: collection.to_owned(),
            offset: after.map(wire_id),
            // The offset itself is in the page.
            limit: Some(u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1)),
            with_payload: Some(stamp_only()),
            with_vectors: Some(vectors_wanted(false)),
            ..ScrollPoints::default()
        };
        let mut client = self.link.points();
        let answer = self.link.call(client.scroll(self.link.request(ask))).await;
        let mut page = Vec::new();
        for point in answer.map_err(|status| self.failed(collection, &status))?.result {
            let id = our_id(point.id)?;
            if after != Some(id) && page.len() < limit {
                page.push((id, stamp_in(point.payload)));
            }
        }
        Ok(page)
    }

    /// How many points there are, or pass a filter.
    pub(super) async fn read_count(&self, collection: &str, filter: Option<Filter>) -> Result<u64, StoreError> {
        let ask =
            CountPoints { collection_name: collection.to_owned(), filter, exact: Some(true), ..CountPoints::default() };
        let mut client = self.link.points();
        let answer = self.link.call(client.count(self.link.request(ask))).await;
        let result = answer.map_err(|status| self.failed(collection, &status))?.result;
        result.map(|result| result.count).ok_or_else(|| odd("a count without a number"))
    }

    pub(super) async fn find(&self, collection: &str, ask: &SearchAsk) -> Result<Vec<Hit>, StoreError> {
        let check = |layout: &Layout| check_ask(super::STORE, &layout.shape, ask);
        let (layout, spec) = self.layout_for(collection, check).await?;
        if ask.limit == 0 {
            return Ok(Vec::new());
        }
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let wire = QueryPoints {
            collection_name: collection.to_owned(),
            query: Some(Query { variant: Some(Variant::Nearest(query(&ask.vector, spec.kind))) }),
            using: Some(layout.wire_name(&ask.using)).filter(|name| !name.is_empty()).map(str::to_owned),
            filter: ask.filter.as_ref().map(to_wire).transpose()?,
            limit: Some(number(ask.limit)),
            offset: Some(number(ask.offset)),
            with_payload: Some(stamp_only()),
            with_vectors: Some(vectors_wanted(false)),
            ..QueryPoints::default()
        };
        let mut client = self.link.points();
        let answer = self.link.call(client.query(self.link.request(wire))).await;
        let found = answer.map_err(|status| self.failed(collection, &status))?.result;
        Ok(found.into_iter().map(|point| Hit { stamp: stamp_in(point.payload), score: point.score }).collect())
    }

    /// A read that failed. The collection may be another by now: it is looked at anew.
    fn failed(&self, collection: &str, status: &Status) -> StoreError {
        self.forget(collection);
        classify(status, Stage::Read)
    }
}
