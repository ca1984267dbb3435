//! The collections, by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tonic::Status;

use crate::collection::{Description, Stored};
use crate::status::{internal, no_collection, wrong};

/// Every collection of the server.
#[derive(Clone)]
pub(crate) struct Shelf {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    stored: RwLock<BTreeMap<String, Arc<Stored>>>,
}

impl Shelf {
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut stored = BTreeMap::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            // Without its description a collection was never finished, or is half deleted.
            if let Some(opened) = Stored::open(&path)? {
                stored.insert(opened.name().to_owned(), Arc::new(opened));
            } else if path.is_dir() {
                std::fs::remove_dir_all(&path)?;
            }
        }
        Ok(Self { inner: Arc::new(Inner { dir: dir.to_owned(), stored: RwLock::new(stored) }) })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.inner.stored.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Stored>> {
        self.inner.stored.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<Stored>, Status> {
        self.find(name).ok_or_else(|| no_collection(name))
    }

    /// Durable when it returns.
    pub(crate) fn create(&self, description: &Description) -> Result<(), Status> {
        let mut stored = self.inner.stored.write().unwrap_or_else(PoisonError::into_inner);
        let name = &description.name;
        if name.is_empty() || name.len() > 255 {
            return Err(wrong("collection name length must be between 1 and 255"));
        }
        if stored.contains_key(name) {
            return Err(wrong(format!("Collection `{name}` already exists!")));
        }
        let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        // A file name may have 255 bytes.
        let (short, _) = hex.split_at(hex.len().min(200));
        // What a deleted collection left is there until the next start.
        let mut path = self.inner.dir.join(short);
        while path.exists() {
            path.add_extension("new");
        }
        let made = Stored::create(&path, description)?;
        stored.insert(name.clone(), Arc::new(made));
        Ok(())
    }

    /// Whether there was one.
    pub(crate) fn delete(&self, name: &str) -> Result<bool, Status> {
        let mut stored = self.inner.stored.write().unwrap_or_else(PoisonError::into_inner);
        let Some(gone) = stored.remove(name) else { return Ok(false) };
        gone.forget().map_err(internal)?;
        Ok(true)
    }
}
