//! The service that creates, lists, describes and deletes collections.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use qdrant_client::qdrant::collections_server::Collections;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    AliasDescription, ChangeAliases, CollectionClusterInfoRequest, CollectionClusterInfoResponse, CollectionConfig,
    CollectionDescription, CollectionExists, CollectionExistsRequest, CollectionExistsResponse, CollectionInfo,
    CollectionOperationResponse, CollectionParams, CollectionStatus, CreateCollection, CreateShardKeyRequest,
    CreateShardKeyResponse, DeleteCollection, DeleteShardKeyRequest, DeleteShardKeyResponse, Distance,
    GetCollectionInfoRequest, GetCollectionInfoResponse, ListAliasesRequest, ListAliasesResponse,
    ListCollectionAliasesRequest, ListCollectionsRequest, ListCollectionsResponse, ListShardKeysRequest,
    ListShardKeysResponse, MultiVectorConfig, OptimizerStatus, PayloadSchemaInfo, PayloadSchemaType,
    SparseVectorConfig, SparseVectorParams, StrictModeConfig, UpdateCollection, UpdateCollectionClusterSetupRequest,
    UpdateCollectionClusterSetupResponse, VectorParams, VectorParamsMap, VectorsConfig,
};
use tonic::{Request, Response, Status};

use crate::collection::{Dense, Description, Stored};
use crate::shelf::Shelf;
use crate::status::{internal, wrong};

/// Collections.
pub(crate) struct Service {
    shelf: Shelf,
}

impl Service {
    pub(crate) fn new(shelf: Shelf) -> Self {
        Self { shelf }
    }
}

/// Methods that are not built.
macro_rules! unimplemented_calls {
    ($($name:ident: $ask:ty => $answer:ty;)+) => {
        $(
            fn $name<'life0, 'async_trait>(
                &'life0 self,
                _: Request<$ask>,
            ) -> Pin<Box<dyn Future<Output = Result<Response<$answer>, Status>> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async { Err(Status::unimplemented(stringify!($name))) })
            }
        )+
    };
}
pub(crate) use unimplemented_calls;

#[tonic::async_trait]
impl Collections for Service {
    async fn get(
        &self,
        request: Request<GetCollectionInfoRequest>,
    ) -> Result<Response<GetCollectionInfoResponse>, Status> {
        let stored = self.shelf.get(&request.into_inner().collection_name)?;
        Ok(Response::new(GetCollectionInfoResponse { result: Some(info(&stored)), time: 0.0 }))
    }

    async fn list(&self, _: Request<ListCollectionsRequest>) -> Result<Response<ListCollectionsResponse>, Status> {
        let collections = self.shelf.names().into_iter().map(|name| CollectionDescription { name }).collect();
        Ok(Response::new(ListCollectionsResponse { collections, time: 0.0 }))
    }

    async fn create(
        &self,
        request: Request<CreateCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        let description = description(request.into_inner())?;
        let shelf = self.shelf.clone();
        tokio::task::spawn_blocking(move || shelf.create(&description)).await.map_err(internal)??;
        Ok(Response::new(CollectionOperationResponse { result: true, time: 0.0 }))
    }

    async fn delete(
        &self,
        request: Request<DeleteCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        let result = self.shelf.delete(&request.into_inner().collection_name)?;
        Ok(Response::new(CollectionOperationResponse { result, time: 0.0 }))
    }

    async fn collection_exists(
        &self,
        request: Request<CollectionExistsRequest>,
    ) -> Result<Response<CollectionExistsResponse>, Status> {
        let exists = self.shelf.find(&request.into_inner().collection_name).is_some();
        Ok(Response::new(CollectionExistsResponse { result: Some(CollectionExists { exists }), time: 0.0 }))
    }

    async fn list_aliases(&self, _: Request<ListAliasesRequest>) -> Result<Response<ListAliasesResponse>, Status> {
        Ok(Response::new(ListAliasesResponse { aliases: Vec::<AliasDescription>::new(), time: 0.0 }))
    }

    unimplemented_calls! {
        update: UpdateCollection => CollectionOperationResponse;
        update_aliases: ChangeAliases => CollectionOperationResponse;
        list_collection_aliases: ListCollectionAliasesRequest => ListAliasesResponse;
        collection_cluster_info: CollectionClusterInfoRequest => CollectionClusterInfoResponse;
        update_collection_cluster_setup: UpdateCollectionClusterSetupRequest => UpdateCollectionClusterSetupResponse;
        create_shard_key: CreateShardKeyRequest => CreateShardKeyResponse;
        delete_shard_key: DeleteShardKeyRequest => DeleteShardKeyResponse;
        list_shard_keys: ListShardKeysRequest => ListShardKeysResponse;
    }
}

fn description(wire: CreateCollection) -> Result<Description, Status> {
    let dense = match wire.vectors_config.and_then(|config| config.config) {
        None => Vec::new(),
        Some(Config::Params(params)) => vec![(String::new(), params)],
        Some(Config::ParamsMap(map)) => map.map.into_iter().collect(),
    };
    let dense =
        dense.into_iter().map(|(name, params)| Ok((name, dense_of(&params)?))).collect::<Result<_, Status>>()?;
    let mut sparse: Vec<String> = wire.sparse_vectors_config.unwrap_or_default().map.into_keys().collect();
    sparse.sort_unstable();
    let strict = wire.strict_mode_config.filter(|strict| strict.enabled == Some(true));
    let unindexed_filtering_update = strict.and_then(|strict| strict.unindexed_filtering_update);
    Ok(Description { name: wire.collection_name, dense, sparse, unindexed_filtering_update })
}

fn dense_of(params: &VectorParams) -> Result<Dense, Status> {
    if !(1..=65536).contains(&params.size) {
        return Err(wrong("vector size must be between 1 and 65536"));
    }
    let distance = match params.distance() {
        Distance::UnknownDistance => return Err(wrong("Unknown distance")),
        Distance::Cosine => qdrant_edge::Distance::Cosine,
        Distance::Euclid => qdrant_edge::Distance::Euclid,
        Distance::Dot => qdrant_edge::Distance::Dot,
        Distance::Manhattan => qdrant_edge::Distance::Manhattan,
    };
    Ok(Dense { size: params.size, distance, multi: params.multivector_config.is_some() })
}

fn info(stored: &Stored) -> CollectionInfo {
    let description = stored.description();
    let mut dense: HashMap<String, VectorParams> =
        description.dense.iter().map(|(name, dense)| (name.clone(), params_of(dense))).collect();
    let config = match dense.remove("") {
        Some(params) => Config::Params(params),
        None => Config::ParamsMap(VectorParamsMap { map: dense }),
    };
    let sparse: HashMap<_, _> =
        description.sparse.iter().map(|name| (name.clone(), SparseVectorParams::default())).collect();
    let params = CollectionParams {
        shard_number: 1,
        vectors_config: Some(VectorsConfig { config: Some(config) }),
        sparse_vectors_config: (!sparse.is_empty()).then_some(SparseVectorConfig { map: sparse }),
        ..CollectionParams::default()
    };
    let strict = description.unindexed_filtering_update.map(|may| StrictModeConfig {
        enabled: Some(true),
        unindexed_filtering_update: Some(may),
        ..StrictModeConfig::default()
    });
    let shard = stored.shard().info();
    CollectionInfo {
        status: CollectionStatus::Green.into(),
        optimizer_status: Some(OptimizerStatus { ok: true, error: String::new() }),
        segments_count: count(shard.segments_count),
        config: Some(CollectionConfig {
            params: Some(params),
            strict_mode_config: strict,
            ..CollectionConfig::default()
        }),
        payload_schema: shard.payload_schema.iter().map(|(path, info)| (path.to_string(), schema(info))).collect(),
        points_count: Some(count(shard.points_count)),
        ..CollectionInfo::default()
    }
}

fn params_of(dense: &Dense) -> VectorParams {
    let distance = match dense.distance {
        qdrant_edge::Distance::Cosine => Distance::Cosine,
        qdrant_edge::Distance::Euclid => Distance::Euclid,
        qdrant_edge::Distance::Dot => Distance::Dot,
        qdrant_edge::Distance::Manhattan => Distance::Manhattan,
    };
    VectorParams {
        size: dense.size,
        distance: distance.into(),
        multivector_config: dense.multi.then(MultiVectorConfig::default),
        ..VectorParams::default()
    }
}

fn schema(info: &qdrant_edge::PayloadIndexInfo) -> PayloadSchemaInfo {
    use qdrant_edge::PayloadSchemaType as Edge;
    let data_type = match info.data_type {
        Edge::Keyword => PayloadSchemaType::Keyword,
        Edge::Integer => PayloadSchemaType::Integer,
        Edge::Float => PayloadSchemaType::Float,
        Edge::Geo => PayloadSchemaType::Geo,
        Edge::Text => PayloadSchemaType::Text,
        Edge::Bool => PayloadSchemaType::Bool,
        Edge::Datetime => PayloadSchemaType::Datetime,
        Edge::Uuid => PayloadSchemaType::Uuid,
    };
    PayloadSchemaInfo { data_type: data_type.into(), params: None, points: Some(count(info.points)) }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
