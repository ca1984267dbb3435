//! What the stores' directories hold, read without the daemon.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lockstep_model::{DEFAULT_VECTOR, Key, Vector};
use lockstep_stores::{DocumentStore, EdgeStore, ImageAsk, SurrealStore, VectorStore, Want};
use rustix::fs::{FlockOperation, flock};
use surrealdb::engine::any::connect;
use surrealdb::types as db;

use crate::look::{Observed, ObservedPoint, ObservedRecord};
use crate::wait::{PATIENCE, apart, wait_until};

/// Where a daemon with `--data` keeps SurrealDB.
#[must_use]
pub fn surreal_endpoint(data: &Path) -> String {
    format!("surrealkv://{}", data.join("surreal").display())
}

/// Where it keeps Qdrant.
#[must_use]
pub fn qdrant_folder(data: &Path) -> PathBuf {
    data.join("qdrant")
}

/// What both stores below `data` hold for these keys. No daemon may run on them.
///
/// # Errors
/// If a store cannot be opened or read.
pub async fn read(data: &Path, keys: Vec<Key>) -> Result<BTreeMap<Key, Observed>> {
    let (endpoint, folder) = (surreal_endpoint(data), qdrant_folder(data));
    apart(closed(data.to_owned(), async move {
        let documents = SurrealStore::open(&endpoint, "lockstep", "lockstep").await?;
        let points = EdgeStore::open(&folder).await?;
        let collections = points.collections().await?;
        let mut all = BTreeMap::new();
        for key in keys {
            let ask = ImageAsk { key: key.clone(), want: Want::Whole, edges: false };
            let found = documents.images(&[ask]).await?.into_iter().next().and_then(|image| image.found);
            let record = match found {
                None => None,
                Some(found) => Some(ObservedRecord {
                    version: found.stamp.with_context(|| format!("{key} has no stamp"))?.version,
                    document: found.document.to_json(),
                }),
            };
            let table = key.table.as_str();
            let mut point = None;
            if collections.contains_key(table)
                && let Some(stored) = points.points(table, &[key.point_id()]).await?.into_iter().flatten().next()
            {
                let Some(Vector::Dense(vector)) = stored.vectors.0.get(DEFAULT_VECTOR) else {
                    anyhow::bail!("{key} has a point without the default vector");
                };
                let version = stored.stamp.version.with_context(|| format!("the point of {key} has no version"))?;
                point = Some(ObservedPoint { version, vector: vector.clone(), payload: stored.payload });
            }
            all.insert(key, Observed { record, point });
        }
        Ok(all)
    }))
    .await
}

/// Runs SurrealQL on the database below `data`, as an application without Lockstep would; gives the last result.
///
/// # Errors
/// If a statement fails.
pub async fn outside(data: &Path, text: &str) -> Result<db::Value> {
    let (endpoint, text) = (surreal_endpoint(data), text.to_owned());
    std::fs::create_dir_all(data)?;
    apart(closed(data.to_owned(), async move {
        let client = Box::pin(connect(endpoint).into_future()).await?;
        client.use_ns("lockstep").use_db("lockstep").await?;
        let mut response = client.query(text).await?.check()?;
        let last = response.num_statements().saturating_sub(1);
        Ok(response.take::<db::Value>(last)?)
    }))
    .await
}

/// Does the work, and gives SurrealDB the time to close what it opened: dropping its client only asks for that.
async fn closed<T>(data: PathBuf, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = work.await?;
    let lock = data.join("surreal").join("LOCK");
    wait_until("the lock of SurrealDB's directory", PATIENCE, || {
        let lock = lock.clone();
        async move {
            // Taken and, with the file, given back.
            let file = File::open(&lock).with_context(|| lock.display().to_string())?;
            Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).ok())
        }
    })
    .await?;
    Ok(done)
}
