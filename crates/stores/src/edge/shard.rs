//! One collection: an Edge shard behind its locks.
//!
//! Locks, always taken in this order:
//!
//! - `writing`: one mutex over updates and flushes. Edge's `flush()` panics when an update runs;
//! - `shard`: reading for everything, writing only while the shard is closed and opened again.
//!
//! Searches take only the second, so they never wait for a write, and for a reopening only briefly. An
//! `optimize()` takes only the second, too: Edge lets updates go on beside it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use qdrant_edge::{EdgeShard, OperationError, PointOperations, UpdateOperation};

use super::STORE;
use super::class::{Stage, classify, panicked};
use super::directory::{describe, io_error, used_bytes};
use super::torn::cut_zeros;
use crate::{Class, Collection, StoreError};

/// A log of updates larger than this is dropped with the next flush.
const MAX_WAL_BYTES: u64 = 64 << 20;

/// How often a flush tries again that met the moment in which an optimisation swaps segments.
const FLUSH_TRIES: usize = 500;

/// A collection that is open.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) collection: Collection,
    path: PathBuf,
    shard: RwLock<Option<EdgeShard>>,
    writing: Mutex<()>,
    optimizing: Mutex<()>,
    /// There are updates that no flush has covered.
    dirty: AtomicBool,
    /// There are updates that no optimisation has looked at.
    grown: AtomicBool,
    max_wal_bytes: u64,
}

impl Shard {
    /// Opens the collection in `path`.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            collection: describe(path)?,
            path: path.to_owned(),
            shard: RwLock::new(Some(load(path)?)),
            writing: Mutex::new(()),
            optimizing: Mutex::new(()),
            dirty: AtomicBool::new(false),
            grown: AtomicBool::new(true),
            max_wal_bytes: MAX_WAL_BYTES,
        })
    }

    #[cfg(test)]
    pub(super) fn with_max_wal_bytes(mut self, max_wal_bytes: u64) -> Self {
        self.max_wal_bytes = max_wal_bytes;
        self
    }

    /// Reads from the shard.
    pub(super) fn read<T>(&self, call: impl FnOnce(&EdgeShard) -> Result<T, OperationError>) -> Result<T, StoreError> {
        self.with(|shard| guarded("reading", || call(shard))?.map_err(|error| classify(&error, Stage::Read)))
    }

    /// Runs `call` as the only writer.
    pub(super) fn write<T>(&self, call: impl FnOnce(&Writer<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let _writing = lock(&self.writing);
        call(&Writer { shard: self })
    }

    /// Makes every update durable that has returned. A log of updates that has grown too large is dropped.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        if !self.dirty.load(Ordering::Acquire) {
            return Ok(());
        }
        self.with(flush)?;
        self.dirty.store(false, Ordering::Release);
        let wal = self.path.join("wal");
        if used_bytes(&wal).map_err(|error| io_error(&wal, &error))? > self.max_wal_bytes {
            self.reopen();
        }
        Ok(())
    }

    /// Builds indexes and merges segments where Edge finds it worth while. Tells whether it did.
    ///
    /// Flushed before: the new segments then hold nothing that Edge's log of updates has not durably counted
    /// (a counter that falls behind makes Edge ignore updates in silence). Flushed after: the old segments go.
    pub(super) fn optimize(&self) -> Result<bool, StoreError> {
        let _optimizing = lock(&self.optimizing);
        if !self.grown.swap(false, Ordering::AcqRel) {
            return Ok(false);
        }
        self.flush()?;
        let did = self
            .with(|shard| guarded("optimising", || shard.optimize())?.map_err(|error| classify(&error, Stage::Read)));
        if !matches!(did, Ok(true)) {
            return did;
        }
        self.dirty.store(true, Ordering::Release);
        self.flush()?;
        Ok(true)
    }

    /// Closes and opens the shard without the log of updates, which nobody reads: `load()` does not replay it.
    /// Only what is not flushed could be lost here, and `writing` is held since the flush.
    fn reopen(&self) {
        let Ok(_optimizing) = self.optimizing.try_lock() else { return };
        let mut shard = self.shard.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = guarded("closing", || drop(shard.take())) {
            tracing::warn!(collection = self.collection.name, %error, "a shard did not close cleanly");
        }
        if let Err(error) = trim_wal(&self.path.join("wal")) {
            tracing::warn!(collection = self.collection.name, %error, "a log of updates could not be trimmed");
        }
        match load(&self.path) {
            Ok(opened) => *shard = Some(opened),
            // The next call tries again.
            Err(error) => tracing::warn!(collection = self.collection.name, %error, "a shard did not open again"),
        }
    }

    fn with<T>(&self, call: impl FnOnce(&EdgeShard) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(shard) = &*self.shard.read().unwrap_or_else(PoisonError::into_inner) {
            return call(shard);
        }
        let mut slot = self.shard.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(load(&self.path)?);
        }
        match &*slot {
            Some(shard) => call(shard),
            None => Err(StoreError::new(STORE, Class::NotApplied, "the shard is closed")),
        }
    }
}

impl Drop for Shard {
    /// Edge flushes when it is dropped, and panics if it cannot: nothing must depend on it.
    fn drop(&mut self) {
        let slot = self.shard.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = guarded("closing", || drop(slot.take())) {
            tracing::warn!(collection = self.collection.name, %error, "a shard did not close cleanly");
        }
    }
}

/// The right to update, while it lasts.
pub(super) struct Writer<'a> {
    shard: &'a Shard,
}

impl Writer<'_> {
    /// Applies one operation.
    pub(super) fn update(&self, operation: PointOperations) -> Result<(), StoreError> {
        self.shard.dirty.store(true, Ordering::Release);
        self.shard.grown.store(true, Ordering::Release);
        self.shard.with(|shard| update(shard, operation))
    }
}

fn update(shard: &EdgeShard, operation: PointOperations) -> Result<(), StoreError> {
    guarded("updating", || shard.update(UpdateOperation::PointOperation(operation)))?
        .map_err(|error| classify(&error, Stage::Write))
}

/// Opens a shard, and steps over numbers of updates that may be in use.
///
/// After a power cut the log of updates may end before what an optimisation had made durable already; the
/// next updates would get numbers that their points have, and be ignored. A flush precedes every
/// optimisation, so it can only be the few updates that came between the two.
fn load(path: &Path) -> Result<EdgeShard, StoreError> {
    const STEPS: usize = 64;
    cut_zeros(path).map_err(|error| io_error(path, &error))?;
    let shard = guarded("opening", || EdgeShard::load(path, None))?.map_err(|error| classify(&error, Stage::Read))?;
    for _ in 0..STEPS {
        update(&shard, PointOperations::DeletePoints { ids: Vec::new() })?;
    }
    Ok(shard)
}

/// Edge's flush panics when it fails, and when an optimisation swaps segments at that moment.
fn flush(shard: &EdgeShard) -> Result<(), StoreError> {
    let mut tries = 1;
    loop {
        match guarded("flushing", || shard.flush()) {
            Err(error) if error.detail.contains("lock acquired") && tries < FLUSH_TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

/// Removes closed segments of the log of updates but the last, whose name carries the count. The shard is closed.
fn trim_wal(wal: &Path) -> std::io::Result<()> {
    let mut closed: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(wal)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(start) = name.strip_prefix("closed-").and_then(|start| start.parse().ok()) {
            closed.push((start, path));
        }
    }
    closed.sort_unstable();
    closed.pop();
    closed.iter().try_for_each(|(_, path)| std::fs::remove_file(path))
}

/// Catches what Edge throws.
fn guarded<T>(doing: &str, call: impl FnOnce() -> T) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| panicked(&*payload, doing))
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use lockstep_model::{Distance, Key, OpId, Shape, Vector, VectorKind, VectorSpec, Vectors, Version};
    use uuid::Uuid;

    use super::*;
    use crate::PointWrite;
    use crate::edge::directory::make;
    use crate::edge::read::count;
    use crate::edge::write::apply;

    #[test]
    fn the_log_of_updates_is_bounded_and_numbers_go_on() {
        const LIMIT: u64 = 1 << 20;
        let dir = tempfile::tempdir().unwrap();
        let spec = VectorSpec { kind: VectorKind::Dense, size: 4096, distance: Distance::Dot, required: false };
        let shape = Shape([("default".to_owned(), spec)].into());
        let path = make(dir.path(), &Collection { name: "m".to_owned(), shape }).unwrap();
        let shard = Shard::open(&path).unwrap().with_max_wal_bytes(LIMIT);
        let mut version = 0;
        let mut largest = 0;
        // 20 KiB an update in Edge's encoding: more than three of its segments.
        for round in 0..6 {
            for start in (0..1200).step_by(100) {
                let writes: Vec<_> = (start..start + 100)
                    .map(|number| {
                        version += 1;
                        let key: Key = format!("m:{}", number % 50).parse().unwrap();
                        let vectors = Vectors::single(Vector::dense(vec![0.5; 4096]).unwrap());
                        let (id, op) = (key.point_id(), OpId(Uuid::from_u128(1)));
                        PointWrite::Upsert {
                            id,
                            key,
                            version: Version(version),
                            op,
                            vectors,
                            payload: serde_json::Map::new(),
                        }
                    })
                    .collect();
                let stamps = apply(&shard, &writes).unwrap();
                assert_eq!(stamps.last().unwrap().as_ref().unwrap().version, Some(Version(version)), "round {round}");
            }
            shard.flush().unwrap();
            largest = largest.max(used_bytes(&path.join("wal")).unwrap());
        }
        assert!(version * 4096 * 5 > 128 << 20);
        assert!(largest < 100 << 20, "{largest}");
        assert_eq!(count(&shard).unwrap(), 50);
    }

    /// Found by 300 power cuts: Edge refused such a shard, and the daemon did not start.
    #[test]
    fn zeros_that_a_power_cut_left_behind_the_list_of_points_do_not_keep_it_closed() {
        let dir = tempfile::tempdir().unwrap();
        let spec = VectorSpec { kind: VectorKind::Dense, size: 2, distance: Distance::Dot, required: false };
        let shape = Shape([("default".to_owned(), spec)].into());
        let path = make(dir.path(), &Collection { name: "m".to_owned(), shape }).unwrap();
        let writes: Vec<_> = (0..7_u64)
            .map(|number| {
                let key: Key = format!("m:{number}").parse().unwrap();
                let vectors = Vectors::single(Vector::dense(vec![0.5; 2]).unwrap());
                let (id, op, payload) = (key.point_id(), OpId(Uuid::from_u128(1)), serde_json::Map::new());
                PointWrite::Upsert { id, key, version: Version(number + 1), op, vectors, payload }
            })
            .collect();
        let shard = Shard::open(&path).unwrap();
        apply(&shard, &writes).unwrap();
        shard.flush().unwrap();
        drop(shard);
        let mut torn = 0;
        for segment in std::fs::read_dir(path.join("segments")).unwrap() {
            let list = segment.unwrap().path().join("mutable_id_tracker.mappings");
            if let Ok(mut bytes) = std::fs::read(&list) {
                bytes.resize(bytes.len() + 5000, 0);
                std::fs::write(&list, bytes).unwrap();
                torn += 1;
            }
        }
        assert!(torn > 0, "Edge keeps its lists elsewhere");
        assert_eq!(count(&Shard::open(&path).unwrap()).unwrap(), 7);
    }
}
