//! Both stores as an application sees them that knows nothing of Lockstep: past the daemon, its adapters and the proxies, with each
//! store's own client.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use lockstep_model::{Id, Key, PointId, Version};
use qdrant_client::Qdrant;
use qdrant_client::qdrant::vector_output::Vector as Output;
use qdrant_client::qdrant::{
    CreateCollectionBuilder, Distance, GetPointsBuilder, PointId as RawId, RetrievedPoint, VectorParamsBuilder,
    point_id,
};
use serde_json::{Map, Value as Json};
use surrealdb::Surreal;
use surrealdb::engine::any::{Any, connect};
use surrealdb::opt::auth::Root;
use surrealdb::types::{RecordId, RecordIdKey, Value};
use tokio::time::timeout;

use crate::look::{Observed, ObservedPoint, ObservedRecord};
use crate::servers::Server;
use crate::wait::PATIENCE;

/// A call that takes longer has failed.
const CALL: Duration = Duration::from_secs(20);

/// Signs in to a SurrealDB server as root. The connection does not outlive the server.
///
/// # Errors
/// If it does not let us in within a minute.
pub async fn surreal(server: &Server, namespace: &str, database: &str) -> Result<Surreal<Any>> {
    let access = server.access();
    let work = async {
        let client = Box::pin(connect(format!("ws://{}", server.address())).into_future()).await?;
        client.signin(Root { username: access.user.clone(), password: access.secret.clone() }).await?;
        client.query(format!("DEFINE NAMESPACE IF NOT EXISTS `{namespace}`")).await?.check()?;
        client.use_ns(namespace).await?;
        client.query(format!("DEFINE DATABASE IF NOT EXISTS `{database}`")).await?.check()?;
        client.use_ns(namespace).use_db(database).await?;
        anyhow::Ok(client)
    };
    timeout(PATIENCE, work).await.context("SurrealDB does not let us in")?
}

/// Runs SurrealQL; the last result.
///
/// # Errors
/// If a statement fails.
pub async fn sql(client: &Surreal<Any>, text: &str) -> Result<Value> {
    let work = async {
        let mut response = client.query(text).await?.check()?;
        let last = response.num_statements().saturating_sub(1);
        anyhow::Ok(response.take::<Value>(last)?)
    };
    timeout(CALL, work).await.with_context(|| format!("no answer to {text}"))?.with_context(|| text.to_owned())
}

/// A client of a Qdrant server.
///
/// # Errors
/// If its address is none.
pub fn qdrant(server: &Server) -> Result<Qdrant> {
    let builder = Qdrant::from_url(&format!("http://{}", server.address())).skip_compatibility_check().timeout(CALL);
    let secret = &server.access().secret;
    let builder = if secret.is_empty() { builder } else { builder.api_key(secret.as_str()) };
    Ok(builder.build()?)
}

/// Makes a collection with one unnamed vector and the distance that keeps vectors of length 1 as they are.
///
/// # Errors
/// If it is there.
pub async fn create_collection(client: &Qdrant, name: &str, size: u64) -> Result<()> {
    let vectors = VectorParamsBuilder::new(size, Distance::Cosine);
    client.create_collection(CreateCollectionBuilder::new(name).vectors_config(vectors)).await?;
    Ok(())
}

/// The record's id in SurrealDB.
#[must_use]
pub fn record_id(key: &Key) -> RecordId {
    let id = match &key.id {
        Id::Int(number) => RecordIdKey::Number(*number),
        Id::Text(text) => RecordIdKey::String(text.to_string()),
    };
    RecordId::new(key.table.as_str(), id)
}

/// Eyes on both stores.
pub struct Direct {
    surreal: Surreal<Any>,
    qdrant: Qdrant,
    /// Tables whose points are in a collection of another name.
    collections: HashMap<String, String>,
}

impl Direct {
    /// Opens them. `collections` names the collections that are not called like their tables.
    ///
    /// # Errors
    /// If a store does not answer.
    pub async fn open(
        servers: (&Server, &Server),
        namespace: &str,
        collections: HashMap<String, String>,
    ) -> Result<Self> {
        Ok(Self { surreal: surreal(servers.0, namespace, namespace).await?, qdrant: qdrant(servers.1)?, collections })
    }

    /// SurrealDB, in the daemon's database.
    #[must_use]
    pub const fn surreal(&self) -> &Surreal<Any> {
        &self.surreal
    }

    /// Qdrant.
    #[must_use]
    pub const fn qdrant(&self) -> &Qdrant {
        &self.qdrant
    }

    /// What both stores hold for these keys.
    ///
    /// # Errors
    /// If a store cannot be read, or holds what Lockstep cannot have written.
    pub async fn read(&self, keys: &[Key]) -> Result<BTreeMap<Key, Observed>> {
        let mut all = BTreeMap::new();
        for key in keys {
            all.insert(key.clone(), Observed { record: self.record(key).await?, point: self.point(key).await? });
        }
        Ok(all)
    }

    /// What SurrealDB holds for the key.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn record(&self, key: &Key) -> Result<Option<ObservedRecord>> {
        let query = self.surreal.query("SELECT * FROM $record").bind(("record", record_id(key)));
        let mut response = timeout(CALL, query.into_future()).await.with_context(|| format!("reading {key}"))??;
        let rows = match response.take::<Value>(0) {
            Ok(rows) => rows.into_json_value(),
            // A table that nobody has written to.
            Err(error) if error.to_string().contains("does not exist") => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(row) = rows.as_array().and_then(|rows| rows.first()) else { return Ok(None) };
        let mut document = row.as_object().with_context(|| format!("{key}: {row}"))?.clone();
        let version = version(&mut document).with_context(|| format!("{key}: {row}"))?;
        for ours in ["id", "in", "out"] {
            document.remove(ours);
        }
        Ok(Some(ObservedRecord { version, document }))
    }

    async fn point(&self, key: &Key) -> Result<Option<ObservedPoint>> {
        let table = key.table.as_str();
        let collection = self.collections.get(table).map_or(table, String::as_str);
        let id = match key.point_id() {
            PointId::Num(number) => point_id::PointIdOptions::Num(number),
            PointId::Uuid(uuid) => point_id::PointIdOptions::Uuid(uuid.to_string()),
        };
        let id = RawId { point_id_options: Some(id) };
        let ask = GetPointsBuilder::new(collection, vec![id]).with_payload(true).with_vectors(true);
        let found = match timeout(CALL, self.qdrant.get_points(ask)).await.with_context(|| format!("reading {key}"))? {
            Ok(found) => found.result.into_iter().next(),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(anyhow!(error).context(format!("the point of {key}"))),
        };
        found.map(|point| observed(point).with_context(|| format!("the point of {key}"))).transpose()
    }
}

fn is_missing(error: &qdrant_client::QdrantError) -> bool {
    let words = error.to_string();
    words.contains("doesn't exist") || words.contains("not found") || words.contains("Not found")
}

fn observed(point: RetrievedPoint) -> Result<ObservedPoint> {
    let payload = point.payload.into_iter().map(|(name, value)| (name, value.into_json()));
    let mut payload: Map<String, Json> = payload.collect();
    let version = version(&mut payload)?;
    let vector = point.vectors.context("without vectors")?.get_vector().context("without the unnamed vector")?;
    match vector {
        Output::Dense(dense) => Ok(ObservedPoint { version, vector: dense.data, payload }),
        Output::Sparse(_) | Output::MultiDense(_) => bail!("its vector is not dense"),
    }
}

/// Takes Lockstep's field out.
fn version(fields: &mut Map<String, Json>) -> Result<Version> {
    let ours = fields.remove("_lockstep").context("without `_lockstep`")?;
    ours.get("v").and_then(Json::as_u64).map(Version).context("without a version")
}
