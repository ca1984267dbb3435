//! One collection: a shard of Edge, what it was created with, and updates that are durable when they are answered.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use qdrant_edge::{
    Distance, EdgeConfig, EdgeShard, EdgeSparseVectorParams, EdgeVectorParams, MultiVectorConfig, OperationError,
    PointOperations, UpdateOperation,
};
use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::status::{internal, of};

const DESCRIPTION: &str = "collection.json";

/// A dense vector, or several of one size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Dense {
    pub(crate) size: u64,
    pub(crate) distance: Distance,
    pub(crate) multi: bool,
}

/// What a collection was created with. The unnamed vector is called "".
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) dense: BTreeMap<String, Dense>,
    pub(crate) sparse: Vec<String>,
    /// Strict mode: whether updates may filter by fields without an index.
    pub(crate) unindexed_filtering_update: Option<bool>,
}

impl Description {
    /// Whether its only dense vector has no name.
    pub(crate) fn is_single(&self) -> bool {
        self.dense.contains_key("")
    }

    fn config(&self) -> EdgeConfig {
        let mut config = EdgeConfig::default();
        for (name, dense) in &self.dense {
            let params = EdgeVectorParams {
                size: usize::try_from(dense.size).unwrap_or(usize::MAX),
                distance: dense.distance,
                on_disk: None,
                multivector_config: dense.multi.then(MultiVectorConfig::default),
                datatype: None,
                quantization_config: None,
                hnsw_config: None,
            };
            config.vectors.insert(name.clone(), params);
        }
        for name in &self.sparse {
            let params =
                EdgeSparseVectorParams { full_scan_threshold: None, on_disk: None, modifier: None, datatype: None };
            config.sparse_vectors.insert(name.clone(), params);
        }
        config
    }
}

/// How many updates there were, and how many of them are on disk.
#[derive(Default)]
struct Progress {
    applied: u64,
    flushed: u64,
}

/// A collection that is open.
pub(crate) struct Stored {
    description: Description,
    path: PathBuf,
    shard: EdgeShard,
    /// Held for an update and for a flush: Edge's flush panics where they meet.
    progress: Mutex<Progress>,
}

impl Stored {
    pub(crate) fn create(path: &Path, description: &Description) -> Result<Self, Status> {
        std::fs::create_dir_all(path).map_err(internal)?;
        let shard = EdgeShard::new(path, description.config()).map_err(|error| of(&error))?;
        shard.flush();
        let text = serde_json::to_vec(description).map_err(internal)?;
        let (temporary, last) = (path.join("new"), path.join(DESCRIPTION));
        std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &last)).map_err(internal)?;
        Ok(Self::around(description.clone(), path, shard))
    }

    /// Opens what is there, if it was finished.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Option<Self>> {
        let Ok(text) = std::fs::read(path.join(DESCRIPTION)) else { return Ok(None) };
        let description: Description = serde_json::from_slice(&text)?;
        let shard = EdgeShard::load(path, None)?;
        Ok(Some(Self::around(description, path, shard)))
    }

    fn around(description: Description, path: &Path, shard: EdgeShard) -> Self {
        Self { description, path: path.to_owned(), shard, progress: Mutex::new(Progress::default()) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.description.name
    }

    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// The engine, for reading.
    pub(crate) fn shard(&self) -> &EdgeShard {
        &self.shard
    }

    /// Applies an update of points. In memory when it returns.
    pub(crate) fn apply(&self, operation: PointOperations) -> Result<u64, Status> {
        self.update(UpdateOperation::PointOperation(operation))
    }

    /// Applies any update, and tells its number.
    pub(crate) fn update(&self, operation: UpdateOperation) -> Result<u64, Status> {
        let mut progress = self.lock();
        // A refused update may have been applied in part: it counts.
        progress.applied += 1;
        self.shard.update(operation).map_err(|error: OperationError| of(&error))?;
        Ok(progress.applied)
    }

    /// Makes the update with this number durable, with all that came before. Updates that wait for each other share a flush.
    pub(crate) fn flush(&self, upto: u64) -> Result<(), Status> {
        let mut progress = self.lock();
        if progress.flushed < upto {
            catch_unwind(AssertUnwindSafe(|| self.shard.flush())).map_err(|_| internal("a flush failed"))?;
            progress.flushed = progress.applied;
        }
        Ok(())
    }

    /// The collection is not there when the server starts again.
    pub(crate) fn forget(&self) -> std::io::Result<()> {
        std::fs::remove_file(self.path.join(DESCRIPTION))
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
