//! A client that is not Lockstep's: it writes what it likes, and counts what the server was sent.

use std::collections::HashMap;

use lockstep_model::PointId;
use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::points_client::PointsClient;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::{
    CreateCollection, DeleteCollection, DeletePoints, Distance, PointStruct, PointsIdsList, PointsSelector,
    UpsertPoints, Value, VectorParams, VectorParamsMap, Vectors, VectorsConfig, vectors_config,
};
use tonic::transport::Channel;

use crate::server::Server;

pub(crate) struct Raw {
    points: PointsClient<Channel>,
    collections: CollectionsClient<Channel>,
}

pub(crate) fn params(size: u64) -> VectorParams {
    VectorParams { size, distance: Distance::Dot.into(), ..VectorParams::default() }
}

impl Raw {
    pub(crate) async fn connect(server: &Server) -> Self {
        let channel = Channel::from_shared(server.remote().endpoint).unwrap().connect().await.unwrap();
        Self { points: PointsClient::new(channel.clone()), collections: CollectionsClient::new(channel) }
    }

    /// A collection whose vector has no name.
    pub(crate) async fn single(&mut self, name: &str, size: u64) {
        self.create(name, vectors_config::Config::Params(params(size)), CreateCollection::default()).await;
    }

    /// A collection with vectors of these names.
    pub(crate) async fn named(&mut self, name: &str, names: &[&str], size: u64) {
        let map: HashMap<_, _> = names.iter().map(|name| ((*name).to_owned(), params(size))).collect();
        let config = vectors_config::Config::ParamsMap(VectorParamsMap { map });
        self.create(name, config, CreateCollection::default()).await;
    }

    pub(crate) async fn create(&mut self, name: &str, config: vectors_config::Config, rest: CreateCollection) {
        let ask = CreateCollection {
            collection_name: name.to_owned(),
            vectors_config: Some(VectorsConfig { config: Some(config) }),
            ..rest
        };
        self.collections.create(ask).await.unwrap();
    }

    pub(crate) async fn drop(&mut self, name: &str) {
        let ask = DeleteCollection { collection_name: name.to_owned(), timeout: None };
        self.collections.delete(ask).await.unwrap();
    }

    pub(crate) async fn upsert(&mut self, collection: &str, id: PointId, values: Vec<f32>, payload: serde_json::Value) {
        let serde_json::Value::Object(payload) = payload else { panic!("not an object: {payload}") };
        let payload: HashMap<String, Value> = payload.into_iter().map(|(name, json)| (name, json.into())).collect();
        let point = match id {
            PointId::Num(number) => PointStruct::new(number, Vectors::from(values), payload),
            PointId::Uuid(uuid) => PointStruct::new(uuid.to_string(), Vectors::from(values), payload),
        };
        let ask = UpsertPoints {
            collection_name: collection.to_owned(),
            wait: Some(true),
            points: vec![point],
            ..UpsertPoints::default()
        };
        self.points.upsert(ask).await.unwrap();
    }

    /// How many updates the collection has had since the server started, this one included: it deletes nothing.
    pub(crate) async fn updates(&mut self, collection: &str) -> u64 {
        let none = PointsSelectorOneOf::Points(PointsIdsList { ids: Vec::new() });
        let ask = DeletePoints {
            collection_name: collection.to_owned(),
            wait: Some(true),
            points: Some(PointsSelector { points_selector_one_of: Some(none) }),
            ..DeletePoints::default()
        };
        self.points.delete(ask).await.unwrap().into_inner().result.unwrap().operation_id.unwrap()
    }
}
