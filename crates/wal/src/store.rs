//! sled, and everything that is known about it. No other file of this crate touches it.
//!
//! What its authors did not promise is taken care of here or right above:
//! - it panics on damaged files and when it is dropped after an I/O error: every call is guarded;
//! - `flush()` does not fsync: [`Store::flush`] does, on a handle of our own that was open before sled's first write
//!   (the kernel reports a failed write-back once per handle);
//! - its own background flushing would be the only other fsync, and is switched off;
//! - the cache would take 1 GiB, and a small one is not kept to either: it is looked at once in 64 accesses to each
//!   of its 256 parts, so that whoever touches each page once, as a scan does, fills 300 MiB. [`TOUCHES`] more for
//!   each chunk keep that under 20 MiB, for some 1.5 us.

use std::fs::{File, OpenOptions};
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::chunk::Key;
use crate::disk;
use crate::error::LogError;
use crate::layout::Layout;
use crate::sync::{RwLock, database};

/// How often a chunk is touched once more, to make sled look at its cache.
const TOUCHES: usize = 3;

/// After a close sled's lock on its file is waited for so long.
const RELEASE: Duration = Duration::from_secs(5);

/// An open sled database in a log's directory.
pub(crate) struct Store {
    dir: PathBuf,
    db_path: PathBuf,
    /// Our own handle of sled's file.
    own: File,
    db: RwLock<Option<database::Db>>,
}

/// What goes into sled at once: all of it, or after a crash nothing.
#[derive(Default)]
pub(crate) struct Batch {
    batch: database::Batch,
    put: Vec<Key>,
}

impl Batch {
    pub(crate) fn put(&mut self, key: Key, chunk: Vec<u8>) {
        self.put.push(key);
        self.batch.insert(key.as_ref(), chunk);
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.batch.remove(key.as_ref());
    }
}

impl Store {
    /// Opens sled, which writes. After `Ok` its files and their names survive a power cut.
    pub(crate) fn open(layout: &Layout, cache_bytes: u64) -> Result<Self, LogError> {
        let db_path = layout.db();
        let own = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&db_path)
            .map_err(disk::io_error("open", &db_path))?;
        let dir = layout.dir().to_path_buf();
        let config =
            database::Config::new().path(&dir).cache_capacity(cache_bytes).flush_every_ms(None).use_compression(false);
        let db = guarded(&dir, "open its files", || config.open())?;
        let store = Self { dir, db_path, own, db: RwLock::new(Some(db)) };
        store.sync()?;
        let conf = layout.conf();
        let handle = File::open(&conf).map_err(disk::io_error("open", &conf))?;
        disk::sync_all(&handle, &conf)?;
        disk::sync_dir(layout.dir())?;
        disk::sync_dir(&layout.parent())?;
        Ok(store)
    }

    /// The chunk at `key`.
    pub(crate) fn get(&self, key: Key) -> Result<Option<sled::IVec>, LogError> {
        self.with("read", |db| {
            touch(db, key.as_ref())?;
            db.get(key.as_ref())
        })
    }

    /// Shows every key and chunk in key order, until `each` breaks.
    pub(crate) fn each(&self, mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<(), LogError> {
        self.with("read", |db| {
            for item in db.iter() {
                let (key, chunk) = item?;
                touch(db, &key)?;
                if each(&key, &chunk).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// At most `limit` chunks with keys from `low` on and below `below`, the highest first.
    pub(crate) fn page_below(
        &self,
        low: Key,
        below: Key,
        limit: usize,
    ) -> Result<Vec<(sled::IVec, sled::IVec)>, LogError> {
        self.with("read", |db| {
            db.range::<&[u8], _>(low.as_ref()..below.as_ref()).rev().take(limit).collect::<Result<Vec<_>, _>>()
        })
    }

    /// The first `limit` pairs from `low` on and below `below`, in order.
    pub(crate) fn page_from(
        &self,
        low: Key,
        below: Key,
        limit: usize,
    ) -> Result<Vec<(sled::IVec, sled::IVec)>, LogError> {
        self.with("read", |db| {
            db.range::<&[u8], _>(low.as_ref()..below.as_ref()).take(limit).collect::<Result<Vec<_>, _>>()
        })
    }

    /// Applies the batch. It is visible then, and not durable.
    pub(crate) fn apply(&self, batch: Batch) -> Result<(), LogError> {
        self.with("write", move |db| {
            db.apply_batch(batch.batch)?;
            batch.put.iter().try_for_each(|key| touch(db, key.as_ref()))
        })
    }

    /// Makes durable what was applied. After `Err` nothing is known, and nothing may be tried again.
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        self.with("flush", |db| db.flush())?;
        self.sync()
    }

    fn sync(&self) -> Result<(), LogError> {
        disk::sync_all(&self.own, &self.db_path)
    }

    /// Lets sled go. Later calls get [`LogError::Closed`].
    pub(crate) fn close(&self) -> Result<(), LogError> {
        let Some(db) = self.db.write().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        guarded(&self.dir, "close its files", move || {
            drop(db);
            Ok(())
        })?;
        self.await_release();
        Ok(())
    }

    /// A thread of sled's can hold its lock on the file for a moment longer: whoever opens the log next would be refused.
    fn await_release(&self) {
        let deadline = Instant::now() + RELEASE;
        while self.own.try_lock().is_err() {
            if Instant::now() > deadline {
                tracing::warn!(dir = %self.dir.display(), "sled still holds its file");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Err(error) = self.own.unlock() {
            tracing::warn!(dir = %self.dir.display(), %error, "the file stays locked until this process ends");
        }
    }

    fn with<T>(
        &self,
        doing: &'static str,
        call: impl FnOnce(&database::Db) -> Result<T, sled::Error>,
    ) -> Result<T, LogError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or(LogError::Closed)?;
        guarded(&self.dir, doing, || call(db))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(dir = %self.dir.display(), %error, "sled did not close");
        }
    }
}

fn touch(db: &database::Db, key: &[u8]) -> Result<(), sled::Error> {
    for _ in 0..TOUCHES {
        db.contains_key(key)?;
    }
    Ok(())
}

/// Calls sled and turns a panic into an error. What it was working on is not used again: the log stops.
fn guarded<T>(
    dir: &std::path::Path,
    doing: &'static str,
    call: impl FnOnce() -> Result<T, sled::Error>,
) -> Result<T, LogError> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(LogError::Sled { doing, dir: dir.to_path_buf(), source }),
        Err(payload) => {
            let message = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("no message")
                .to_owned();
            Err(LogError::Panicked { doing, dir: dir.to_path_buf(), message })
        }
    }
}
