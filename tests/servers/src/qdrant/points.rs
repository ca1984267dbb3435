//! The service that writes, reads and searches points.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::points_server::Points;
use qdrant_client::qdrant::points_update_operation::{DeletePoints as BatchDelete, Operation, PointStructList};
use qdrant_client::qdrant::query::Variant;
use qdrant_client::qdrant::vector_input::Variant as Input;
use qdrant_client::qdrant::{
    ClearPayloadPoints, CountPoints, CountResponse, CountResult, CreateFieldIndexCollection, CreateVectorNameRequest,
    DeleteFieldIndexCollection, DeletePayloadPoints, DeletePointVectors, DeletePoints, DeleteVectorNameRequest,
    DiscoverBatchPoints, DiscoverBatchResponse, DiscoverPoints, DiscoverResponse, FacetCounts, FacetResponse,
    FieldType, Filter, GetPoints, GetResponse, PointStruct, PointsOperationResponse, PointsSelector, QueryBatchPoints,
    QueryBatchResponse, QueryGroupsResponse, QueryPointGroups, QueryPoints, QueryResponse, RecommendBatchPoints,
    RecommendBatchResponse, RecommendGroupsResponse, RecommendPointGroups, RecommendPoints, RecommendResponse,
    ScrollPoints, ScrollResponse, SearchBatchPoints, SearchBatchResponse, SearchGroupsResponse,
    SearchMatrixOffsetsResponse, SearchMatrixPairsResponse, SearchMatrixPoints, SearchPointGroups, SearchPoints,
    SearchResponse, SetPayloadPoints, UpdateBatchPoints, UpdateBatchResponse, UpdateMode as WireMode,
    UpdatePointVectors, UpdateResult,
};
use qdrant_edge::{
    ConditionalInsertOperation, CountRequest, CreateIndex, FieldIndexOperations, NamedQuery, PayloadFieldSchema,
    PayloadSchemaType, PointInsertOperations, PointOperations, PointStructPersisted, QueryEnum, ScrollRequest,
    SearchRequest, UpdateMode, UpdateOperation, Vector, VectorInternal, VectorStructPersisted,
};
use tonic::{Request, Response, Status};

use crate::collection::Stored;
use crate::collections::unimplemented_calls;
use crate::convert::{point, point_id, retrieved, rows, scored, sparse, wire_id, with_payload, with_vectors};
use crate::fault::{Fault, Faults};
use crate::filter::{fields, filter, path};
use crate::shelf::Shelf;
use crate::status::{internal, of, wrong};

/// Points.
pub(crate) struct Service {
    shelf: Shelf,
    faults: Faults,
}

impl Service {
    pub(crate) fn new(shelf: Shelf, faults: Faults) -> Self {
        Self { shelf, faults }
    }

    /// Runs a call where it may block, after the delay that may be ordered. It runs to its end even if its caller goes away, as the
    /// server's updates do.
    async fn run<T: Send + 'static>(
        &self,
        collection: &str,
        call: impl FnOnce(&Stored, Fault) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let fault = self.faults.now()?;
        let stored: Arc<Stored> = self.shelf.get(collection)?;
        let running = tokio::spawn(async move {
            fault.delay().await;
            tokio::task::spawn_blocking(move || call(&stored, fault)).await
        });
        running.await.and_then(|joined| joined).map_err(internal)?
    }

    async fn update(
        &self,
        collection: &str,
        wait: Option<bool>,
        operations: Vec<Operation>,
    ) -> Result<Vec<UpdateResult>, Status> {
        let wait = wait.unwrap_or(false);
        self.run(collection, move |stored, fault| {
            let mut results = Vec::with_capacity(operations.len());
            let mut last = 0;
            for operation in operations {
                // Not atomic: what was applied before one that fails stays.
                last = update(stored, operation, fault)?;
                results.push(UpdateResult { operation_id: Some(last), status: fault.status(wait).into() });
            }
            if wait {
                stored.flush(last)?;
            }
            Ok(results)
        })
        .await
    }

    async fn update_one(
        &self,
        collection: &str,
        wait: Option<bool>,
        operation: Operation,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let mut results = self.update(collection, wait, vec![operation]).await?;
        Ok(Response::new(PointsOperationResponse { result: results.pop(), time: 0.0, usage: None }))
    }
}

fn update(stored: &Stored, operation: Operation, fault: Fault) -> Result<u64, Status> {
    match operation {
        Operation::Upsert(list) => {
            fault.check_disk()?;
            fault.check_marks(&list.points)?;
            upsert(stored, list)
        }
        Operation::DeletePoints(list) => delete(stored, list.points),
        Operation::SetPayload(_)
        | Operation::OverwritePayload(_)
        | Operation::DeletePayload(_)
        | Operation::ClearPayload(_)
        | Operation::UpdateVectors(_)
        | Operation::DeleteVectors(_) => Err(Status::unimplemented("this operation in a batch")),
        #[expect(deprecated, reason = "to name them is to match all")]
        Operation::DeleteDeprecated(_) | Operation::ClearPayloadDeprecated(_) => {
            Err(Status::unimplemented("a deprecated operation"))
        }
    }
}

fn upsert(stored: &Stored, list: PointStructList) -> Result<u64, Status> {
    if list.points.is_empty() {
        return Err(Status::invalid_argument("Bad request: Empty update request"));
    }
    let mode = list.update_mode.map(|_| list.update_mode());
    let points = list.points.into_iter().map(point).collect::<Result<Vec<_>, _>>()?;
    let points = points.into_iter().filter(|point| !is_lost(stored, point)).collect();
    let points = PointInsertOperations::PointsList(points);
    if list.update_filter.is_none() && mode.is_none() {
        return stored.apply(PointOperations::UpsertPoints(points));
    }
    let update_mode = mode.map(|mode| match mode {
        WireMode::Upsert => UpdateMode::Upsert,
        WireMode::InsertOnly => UpdateMode::InsertOnly,
        WireMode::UpdateOnly => UpdateMode::UpdateOnly,
    });
    let condition = filter(list.update_filter.unwrap_or_default())?;
    let conditional = ConditionalInsertOperation { points_op: points, condition, update_mode };
    stored.apply(PointOperations::UpsertPointsConditional(conditional))
}

/// A bug of the server's, kept for the tests: a point that has nothing but named vectors, sent to a collection whose vector has no name,
/// is answered as if it were written (qdrant issue 9521).
fn is_lost(stored: &Stored, point: &PointStructPersisted) -> bool {
    let description = stored.description();
    let VectorStructPersisted::Named(named) = &point.vector else { return false };
    description.is_single()
        && !named.is_empty()
        && named.keys().all(|name| !name.is_empty() && !description.sparse.contains(name))
}

fn delete(stored: &Stored, selector: Option<PointsSelector>) -> Result<u64, Status> {
    match selector.and_then(|selector| selector.points_selector_one_of) {
        None => Err(wrong("PointsSelector is missing")),
        Some(PointsSelectorOneOf::Points(list)) => {
            let ids = list.ids.into_iter().map(point_id).collect::<Result<_, _>>()?;
            stored.apply(PointOperations::DeletePoints { ids })
        }
        Some(PointsSelectorOneOf::Filter(wire)) => {
            check_indexes(stored, &wire)?;
            stored.apply(PointOperations::DeletePointsByFilter(filter(wire)?))
        }
    }
}

/// Strict mode: updates may look only at fields that have an index.
fn check_indexes(stored: &Stored, wire: &Filter) -> Result<(), Status> {
    if stored.description().unindexed_filtering_update != Some(false) {
        return Ok(());
    }
    let schema = stored.shard().info().payload_schema;
    let bare = fields(wire).into_iter().find(|field| !schema.keys().any(|path| path.to_string() == *field));
    bare.map_or(Ok(()), |field| {
        Err(Status::invalid_argument(format!(
            "Bad request: Index required but not found for \"{field}\". Help: Create an index for this key or use a \
             different filter."
        )))
    })
}

fn query(wire: Option<Input>) -> Result<VectorInternal, Status> {
    match wire.ok_or_else(|| wrong("Query is missing"))? {
        Input::Dense(dense) => Ok(VectorInternal::Dense(dense.data)),
        Input::Sparse(wire) => Ok(VectorInternal::Sparse(sparse(wire)?)),
        Input::MultiDense(wire) => Vector::new_multi(rows(wire)).map(|multi| multi.0).map_err(|error| of(&error)),
        Input::Id(_) | Input::Document(_) | Input::Image(_) | Input::Object(_) => {
            Err(Status::unimplemented("this kind of query"))
        }
    }
}

#[tonic::async_trait]
impl Points for Service {
    async fn upsert(
        &self,
        request: Request<qdrant_client::qdrant::UpsertPoints>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let wire = request.into_inner();
        let points: Vec<PointStruct> = wire.points;
        let (update_filter, update_mode) = (wire.update_filter, wire.update_mode);
        let list = PointStructList { points, update_filter, update_mode, ..PointStructList::default() };
        self.update_one(&wire.collection_name, wire.wait, Operation::Upsert(list)).await
    }

    async fn delete(&self, request: Request<DeletePoints>) -> Result<Response<PointsOperationResponse>, Status> {
        let wire = request.into_inner();
        let list = BatchDelete { points: wire.points, shard_key_selector: None };
        self.update_one(&wire.collection_name, wire.wait, Operation::DeletePoints(list)).await
    }

    async fn update_batch(&self, request: Request<UpdateBatchPoints>) -> Result<Response<UpdateBatchResponse>, Status> {
        let wire = request.into_inner();
        let operations = wire
            .operations
            .into_iter()
            .map(|one| one.operation.ok_or_else(|| wrong("Operation is missing")))
            .collect::<Result<_, _>>()?;
        let result = self.update(&wire.collection_name, wire.wait, operations).await?;
        Ok(Response::new(UpdateBatchResponse { result, time: 0.0, usage: None }))
    }

    async fn create_field_index(
        &self,
        request: Request<CreateFieldIndexCollection>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let wire = request.into_inner();
        let field_name = path(&wire.field_name)?;
        let schema = match wire.field_type.map(|_| wire.field_type()) {
            Some(FieldType::Keyword) => PayloadSchemaType::Keyword,
            Some(FieldType::Integer) => PayloadSchemaType::Integer,
            Some(FieldType::Float) => PayloadSchemaType::Float,
            Some(FieldType::Bool) => PayloadSchemaType::Bool,
            Some(FieldType::Datetime) => PayloadSchemaType::Datetime,
            Some(FieldType::Uuid) => PayloadSchemaType::Uuid,
            Some(FieldType::Geo | FieldType::Text) | None => return Err(Status::unimplemented("this kind of index")),
        };
        let create = CreateIndex { field_name, field_schema: Some(PayloadFieldSchema::FieldType(schema)) };
        let wait = wire.wait.unwrap_or(false);
        let result = self
            .run(&wire.collection_name, move |stored, fault| {
                let operation = UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(create));
                let number = stored.update(operation)?;
                stored.flush(number)?;
                Ok(UpdateResult { operation_id: Some(number), status: fault.status(wait).into() })
            })
            .await?;
        Ok(Response::new(PointsOperationResponse { result: Some(result), time: 0.0, usage: None }))
    }

    async fn get(&self, request: Request<GetPoints>) -> Result<Response<GetResponse>, Status> {
        let wire = request.into_inner();
        let result = self
            .run(&wire.collection_name, move |stored, _| {
                let ids = wire.ids.into_iter().map(point_id).collect::<Result<Vec<_>, _>>()?;
                let (payload, vectors) = (with_payload(wire.with_payload)?, with_vectors(wire.with_vectors));
                stored.shard().retrieve(&ids, Some(payload), Some(vectors)).map_err(|error| of(&error))
            })
            .await?;
        let result = result.into_iter().map(retrieved).collect();
        Ok(Response::new(GetResponse { result, time: 0.0, usage: None }))
    }

    async fn scroll(&self, request: Request<ScrollPoints>) -> Result<Response<ScrollResponse>, Status> {
        let wire = request.into_inner();
        if wire.order_by.is_some() {
            return Err(Status::unimplemented("order_by"));
        }
        let (records, next) = self
            .run(&wire.collection_name, move |stored, _| {
                let limit = wire.limit.unwrap_or(10);
                let request = ScrollRequest {
                    offset: wire.offset.map(point_id).transpose()?,
                    limit: Some(usize::try_from(limit).map_err(wrong)?),
                    filter: wire.filter.map(filter).transpose()?,
                    with_payload: Some(with_payload(wire.with_payload)?),
                    with_vector: with_vectors(wire.with_vectors),
                    order_by: None,
                };
                stored.shard().scroll(request).map_err(|error| of(&error))
            })
            .await?;
        let result = records.into_iter().map(retrieved).collect();
        let next_page_offset = next.map(wire_id);
        Ok(Response::new(ScrollResponse { next_page_offset, result, time: 0.0, usage: None }))
    }

    async fn count(&self, request: Request<CountPoints>) -> Result<Response<CountResponse>, Status> {
        let wire = request.into_inner();
        let count = self
            .run(&wire.collection_name, move |stored, _| {
                let filter = wire.filter.map(filter).transpose()?;
                let request = CountRequest { filter, exact: wire.exact.unwrap_or(true) };
                stored.shard().count(request).map_err(|error| of(&error))
            })
            .await?;
        let count = u64::try_from(count).map_err(internal)?;
        Ok(Response::new(CountResponse { result: Some(CountResult { count }), time: 0.0, usage: None }))
    }

    async fn query(&self, request: Request<QueryPoints>) -> Result<Response<QueryResponse>, Status> {
        let wire = request.into_inner();
        if !wire.prefetch.is_empty() {
            return Err(Status::unimplemented("prefetch"));
        }
        let Some(Variant::Nearest(nearest)) = wire.query.and_then(|query| query.variant) else {
            return Err(Status::unimplemented("this kind of query"));
        };
        let found = self
            .run(&wire.collection_name, move |stored, _| {
                let named = NamedQuery { query: query(nearest.variant)?, using: wire.using };
                let request = SearchRequest {
                    query: QueryEnum::Nearest(named),
                    filter: wire.filter.map(filter).transpose()?,
                    params: None,
                    limit: usize::try_from(wire.limit.unwrap_or(10)).map_err(wrong)?,
                    offset: usize::try_from(wire.offset.unwrap_or(0)).map_err(wrong)?,
                    with_payload: Some(with_payload(wire.with_payload)?),
                    with_vector: Some(with_vectors(wire.with_vectors)),
                    score_threshold: wire.score_threshold,
                };
                stored.shard().search(request).map_err(|error| of(&error))
            })
            .await?;
        let result = found.into_iter().map(scored).collect();
        Ok(Response::new(QueryResponse { result, time: 0.0, usage: None }))
    }

    unimplemented_calls! {
        update_vectors: UpdatePointVectors => PointsOperationResponse;
        delete_vectors: DeletePointVectors => PointsOperationResponse;
        set_payload: SetPayloadPoints => PointsOperationResponse;
        overwrite_payload: SetPayloadPoints => PointsOperationResponse;
        delete_payload: DeletePayloadPoints => PointsOperationResponse;
        clear_payload: ClearPayloadPoints => PointsOperationResponse;
        delete_field_index: DeleteFieldIndexCollection => PointsOperationResponse;
        create_vector_name: CreateVectorNameRequest => PointsOperationResponse;
        delete_vector_name: DeleteVectorNameRequest => PointsOperationResponse;
        search: SearchPoints => SearchResponse;
        search_batch: SearchBatchPoints => SearchBatchResponse;
        search_groups: SearchPointGroups => SearchGroupsResponse;
        recommend: RecommendPoints => RecommendResponse;
        recommend_batch: RecommendBatchPoints => RecommendBatchResponse;
        recommend_groups: RecommendPointGroups => RecommendGroupsResponse;
        discover: DiscoverPoints => DiscoverResponse;
        discover_batch: DiscoverBatchPoints => DiscoverBatchResponse;
        query_batch: QueryBatchPoints => QueryBatchResponse;
        query_groups: QueryPointGroups => QueryGroupsResponse;
        facet: FacetCounts => FacetResponse;
        search_matrix_pairs: SearchMatrixPoints => SearchMatrixPairsResponse;
        search_matrix_offsets: SearchMatrixPoints => SearchMatrixOffsetsResponse;
    }
}
