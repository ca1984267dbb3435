//! What both stores show of a key, through the daemon.

use anyhow::{Context, Result, ensure};
use lockstep_api::{Client, Entity, VectorView};
use lockstep_model::{DEFAULT_VECTOR, Version};
use serde_json::{Map, Value};

/// What both stores show of a key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// The record in SurrealDB.
    pub record: Option<ObservedRecord>,
    /// The point in Qdrant.
    pub point: Option<ObservedPoint>,
}

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedRecord {
    /// Its version.
    pub version: Version,
    /// What the application wrote.
    pub document: Map<String, Value>,
}

/// A point.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedPoint {
    /// Its version.
    pub version: Version,
    /// Its default vector.
    pub vector: Vec<f32>,
    /// Its payload.
    pub payload: Map<String, Value>,
}

/// Asks the daemon. What it says of both stores must agree with its verdict, and nothing may be open.
///
/// # Errors
/// If it does not answer, or contradicts itself.
pub async fn look(client: &Client, key: &str) -> Result<Observed> {
    let entity = client.entity(key).await?.into_body();
    let seen = observed(&entity).with_context(|| format!("{entity:?}"))?;
    let right = match (&seen.record, &seen.point) {
        (None, None) => entity.verdict == "not_found",
        _ => entity.verdict == "consistent",
    };
    ensure!(right, "the verdict is {:?}: {entity:?}", entity.verdict);
    ensure!(entity.open_ops.is_empty(), "after the barrier something is open: {entity:?}");
    Ok(seen)
}

fn observed(entity: &Entity) -> Result<Observed> {
    let record = match entity.surreal.found.context("SurrealDB was not asked")? {
        false => None,
        true => Some(ObservedRecord {
            version: entity.surreal.version.context("a record without a version")?,
            document: object(entity.surreal.document.as_ref())?,
        }),
    };
    let point = match entity.qdrant.found.context("Qdrant was not asked")? {
        false => None,
        true => {
            let vectors = entity.qdrant.vectors.as_ref().context("a point without vectors")?;
            let Some(VectorView::Dense(vector)) = vectors.get(DEFAULT_VECTOR) else {
                anyhow::bail!("a point without the default vector");
            };
            Some(ObservedPoint {
                version: entity.qdrant.version.context("a point without a version")?,
                vector: vector.clone(),
                payload: object(entity.qdrant.payload.as_ref())?,
            })
        }
    };
    Ok(Observed { record, point })
}

fn object(value: Option<&Value>) -> Result<Map<String, Value>> {
    let mut object = value.and_then(Value::as_object).context("no object")?.clone();
    object.remove("_lockstep");
    Ok(object)
}
