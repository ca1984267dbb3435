//! Search: the nearest points whose records are there, of the same version, and not being deleted.

use std::collections::HashSet;

use lockstep_model::{
    Action, ActionKind, Code, Document, Filter, Key, Lsn, PointId, Refusal, Scalar, Table, Vector, Version,
};
use lockstep_stores::{Class, Found as Record, Hit, ImageAsk, Point, SearchAsk, StoreError, Want};
use serde_json::Value;

use crate::core::StoreName;
use crate::engine::Engine;
use crate::learn::unheard;
use crate::work::read_intent;

/// What to search for.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// Where.
    pub table: Table,
    /// What the hits should be near to.
    pub vector: Vector,
    /// Which vector of the table.
    pub using: String,
    /// How many hits.
    pub limit: usize,
    /// Only records whose payload matches.
    pub filter: Option<Filter>,
    /// Read the documents, too.
    pub with_document: bool,
}

/// A hit.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchHit {
    /// The record.
    pub key: Key,
    /// Its score by the collection's distance.
    pub score: f32,
    /// Its document, if it was asked for.
    pub document: Option<Document>,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Nearest first.
    pub hits: Vec<SearchHit>,
    /// Points that were nearer than the last hit, and whose record is gone, being deleted, or of another version.
    pub dropped: usize,
}

impl Engine {
    /// Searches. A hit that the document store does not bear out is dropped and replaced by the next.
    ///
    /// # Errors
    /// `unknown_table`, `unknown_vector`, `dimension_mismatch`, `not_indexed`, `store_unavailable`.
    pub async fn search(&self, query: &SearchQuery) -> Result<Found, Refusal> {
        let core = &self.core;
        let collection = {
            let shared = core.lock();
            let Some(info) = shared.tables.get(&query.table) else {
                if core.settings().auto_create {
                    // Its first operation will make it; until then it is empty.
                    return Ok(Found::default());
                }
                return Err(Refusal::new(Code::UnknownTable, format!("table {} is not known", query.table)));
            };
            if let Some(field) = query.filter.iter().flat_map(Filter::fields).find(|f| !info.rules.payload.covers(f)) {
                return Err(not_indexed(&query.table, field));
            }
            if shared.tables.may_have_points(&query.table) {
                return Err(unavailable(StoreName::Qdrant, &unheard()));
            }
            shared.tables.collection(&query.table)
        };
        let Some(collection) = collection else { return Ok(Found::default()) };
        let Some(spec) = collection.shape.0.get(&query.using) else {
            let known: Vec<&str> = collection.shape.0.keys().map(String::as_str).collect();
            let detail = format!("table {} has no vector `{}`; it has: {}", query.table, query.using, known.join(", "));
            return Err(Refusal::new(Code::UnknownVector, detail));
        };
        let probe = lockstep_model::Vectors(std::iter::once((query.using.clone(), query.vector.clone())).collect());
        lockstep_model::Shape(std::iter::once((query.using.clone(), *spec)).collect()).check_patch(&probe)?;
        self.fields_are_known(query, &collection.name).await?;

        let mut found = Found::default();
        let mut seen = HashSet::new();
        let mut offset = 0;
        while found.hits.len() < query.limit {
            let limit = (query.limit - found.hits.len()).max(16);
            let ask = SearchAsk {
                vector: query.vector.clone(),
                using: query.using.clone(),
                limit,
                offset,
                filter: query.filter.clone(),
            };
            let hits = match core.parts.vectors.search(&collection.name, &ask).await {
                Ok(hits) => hits,
                // Nothing has been written there yet.
                Err(error) if error.is_no_collection() => Vec::new(),
                Err(error) => return Err(unavailable(StoreName::Qdrant, &error)),
            };
            let last = hits.len() < limit;
            offset += hits.len();
            self.bear_out(query, &collection.name, hits, (&mut seen, &mut found)).await?;
            if last {
                break;
            }
        }
        found.hits.truncate(query.limit);
        Ok(found)
    }

    /// Keeps the hits whose record is there, of the same version, and not being deleted. Where Qdrant alone holds the table, the point
    /// is the record, and its payload the document.
    async fn bear_out(
        &self,
        query: &SearchQuery,
        collection: &str,
        hits: Vec<Hit>,
        (seen, found): (&mut HashSet<Key>, &mut Found),
    ) -> Result<(), Refusal> {
        let of_table = |hit: &Hit| hit.stamp.key.clone().filter(|key| key.table == query.table);
        let keys: Vec<Key> = hits.iter().filter_map(of_table).collect();
        let mut records = self.records(query, collection, keys).await?.into_iter();
        for hit in hits {
            if found.hits.len() >= query.limit {
                break;
            }
            let Some(key) = of_table(&hit) else {
                // Another table of the same collection is no miss; a point without a key is an orphan.
                found.dropped += usize::from(hit.stamp.key.is_none());
                continue;
            };
            let record = records.next().flatten();
            let same = record.as_ref().and_then(|(version, _)| *version) == hit.stamp.version;
            if !same || self.is_being_deleted(&key) || !seen.insert(key.clone()) {
                found.dropped += 1;
                continue;
            }
            let document = record.map(|(_, document)| document).filter(|_| query.with_document);
            found.hits.push(SearchHit { key, score: hit.score, document });
        }
        Ok(())
    }

    /// What the table's own store shows of the keys, in their order: version and document.
    async fn records(
        &self,
        query: &SearchQuery,
        collection: &str,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<(Option<Version>, Document)>>, Refusal> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let parts = &self.core.parts;
        let ids = {
            let shared = self.core.lock();
            let alone = !shared.tables.in_surreal(&query.table);
            alone.then(|| keys.iter().map(|key| shared.tables.point_id(key)).collect::<Vec<_>>())
        };
        let Some(ids) = ids else {
            let want = if query.with_document { Want::Whole } else { Want::Stamp };
            let asks: Vec<ImageAsk> = keys.into_iter().map(|key| ImageAsk { key, want, edges: false }).collect();
            let images = parts.documents.images(&asks).await.map_err(|e| unavailable(StoreName::Surreal, &e))?;
            let shown = |found: Record| (found.stamp.map(|stamp| stamp.version), found.document);
            return Ok(images.into_iter().map(|image| image.found.map(shown)).collect());
        };
        let known: Vec<PointId> = ids.iter().copied().flatten().collect();
        let points = parts.vectors.points(collection, &known).await.map_err(|e| unavailable(StoreName::Qdrant, &e))?;
        let mut points = points.into_iter();
        let shown = |point: Point| (point.stamp.version, Document::from_plain(&point.payload));
        Ok(ids.into_iter().map(|id| id.and_then(|_| points.next().flatten()).map(shown)).collect())
    }

    fn is_being_deleted(&self, key: &Key) -> bool {
        let open: Vec<(Lsn, ActionKind)> = {
            let shared = self.core.lock();
            let holders = shared.lanes.holders(key.lane()).into_iter();
            let ops = holders.filter_map(|(lsn, _)| shared.ops.get(&lsn).map(|op| (lsn, op)));
            ops.filter(|(_, op)| op.state.is_open()).map(|(lsn, op)| (lsn, op.kind)).collect()
        };
        // What a group does with the key stands in its intent. One that has left meanwhile is not open any more.
        let deletes = |member: &Action| matches!(member, Action::Delete { key: gone } if gone == key);
        let in_group =
            |lsn| read_intent(&self.core, lsn).is_ok_and(|intent| intent.op.action.members().iter().any(deletes));
        open.into_iter().any(|(lsn, kind)| match kind {
            ActionKind::Delete | ActionKind::Unrelate => true,
            ActionKind::Atomic => in_group(lsn),
            ActionKind::Put | ActionKind::Patch | ActionKind::Relate | ActionKind::Clear => false,
        })
    }

    /// A filter on a field that no point carries is a mistake, not an empty answer (contract: `not_indexed`). Where every scalar
    /// goes into the payload, whether a field exists is seen from the points themselves. Whatever is asked for null fits what is absent, too.
    async fn fields_are_known(&self, query: &SearchQuery, collection: &str) -> Result<(), Refusal> {
        let Some(filter) = &query.filter else { return Ok(()) };
        for field in filter.fields_with_a_value() {
            let name = (collection.to_owned(), field.to_owned());
            {
                let shared = self.core.lock();
                let named = shared.tables.get(&query.table).is_some_and(|info| info.rules.payload.names(field));
                if named || shared.seen_fields.contains(&name) {
                    continue;
                }
            }
            let has_it = Filter::Not(Box::new(Filter::Eq(field.to_owned(), Scalar::Null)));
            if self.any_point(query, collection, Some(has_it)).await? {
                self.core.lock().seen_fields.insert(name);
            } else if self.any_point(query, collection, None).await? {
                return Err(not_indexed(&query.table, field));
            }
        }
        Ok(())
    }

    async fn any_point(&self, query: &SearchQuery, collection: &str, filter: Option<Filter>) -> Result<bool, Refusal> {
        let (vector, using) = (query.vector.clone(), query.using.clone());
        let ask = SearchAsk { vector, using, limit: 1, offset: 0, filter };
        match self.core.parts.vectors.search(collection, &ask).await {
            Ok(hits) => Ok(!hits.is_empty()),
            Err(error) if error.is_no_collection() => Ok(false),
            Err(error) => Err(unavailable(StoreName::Qdrant, &error)),
        }
    }

    /// Runs read-only SurrealQL.
    ///
    /// # Errors
    /// `malformed` for text that does not parse or would write; `store_unavailable`.
    pub async fn query(&self, text: &str, vars: serde_json::Map<String, Value>) -> Result<Vec<Value>, Refusal> {
        self.core.parts.documents.query(text, vars).await.map_err(|error| match error.class {
            Class::Refused | Class::Exists => Refusal::malformed(error.detail),
            Class::NotApplied | Class::Configuration(_) | Class::Unknown | Class::Fenced => {
                unavailable(StoreName::Surreal, &error)
            }
        })
    }
}

fn not_indexed(table: &Table, field: &str) -> Refusal {
    Refusal::new(Code::NotIndexed, format!("no point of table {table} has the field `{field}` in its payload"))
}

fn unavailable(store: StoreName, error: &StoreError) -> Refusal {
    Refusal::new(Code::StoreUnavailable, format!("{} does not answer: {}", store.as_str(), error.detail))
}
