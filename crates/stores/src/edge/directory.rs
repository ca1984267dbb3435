//! A collection's directory: its name, its description, and how it comes to be without ever being half there.
//!
//! `DIR/NAME/lockstep.json` says the collection's name and shape; the rest is Qdrant Edge's. A collection is made
//! under a temporary name, made durable, and renamed: a directory with its final name can always be opened.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lockstep_model::Shape;
use qdrant_edge::EdgeShard;
use serde::{Deserialize, Serialize};

use super::STORE;
use super::class::{Stage, classify};
use super::point::config;
use crate::{Class, Collection, Scope, StoreError};

const DESCRIPTION: &str = "lockstep.json";
/// Escaped names never begin with a dot.
const TEMPORARY: &str = ".new-";
/// A file name may have 255 bytes.
const MAX_NAME_BYTES: usize = 200;

#[derive(Serialize, Deserialize)]
struct Description {
    format: u32,
    name: String,
    shape: Shape,
}

const FORMAT: u32 = 1;

/// Where the collection lives: letters, digits, `_` and `-` as they are, any other byte as `%XX`.
pub(super) fn path_of(dir: &Path, collection: &str) -> Result<PathBuf, StoreError> {
    let mut name = String::with_capacity(collection.len());
    for byte in collection.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let class = Class::Configuration(Scope::Table);
        return Err(StoreError::new(
            STORE,
            class,
            format!("{collection:?} cannot name a collection: empty or too long"),
        ));
    }
    Ok(dir.join(name))
}

/// Makes the directory of a new collection. Durable when it returns.
pub(super) fn make(dir: &Path, collection: &Collection) -> Result<PathBuf, StoreError> {
    let path = path_of(dir, &collection.name)?;
    let temporary = dir.join(format!("{TEMPORARY}{}", uuid::Uuid::new_v4()));
    let failed = |error: io::Error| io_error(&temporary, &error);
    fs::create_dir_all(&temporary).map_err(failed)?;
    let shard = EdgeShard::new(&temporary, config(&collection.shape)).map_err(|error| classify(&error, Stage::Read))?;
    drop(shard);
    let description = Description { format: FORMAT, name: collection.name.clone(), shape: collection.shape.clone() };
    let text = serde_json::to_vec_pretty(&description).map_err(|error| failed(error.into()))?;
    fs::write(temporary.join(DESCRIPTION), text).map_err(failed)?;
    sync_tree(&temporary).map_err(failed)?;
    fs::rename(&temporary, &path).map_err(failed)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(path)
}

/// What lives in a collection's directory.
pub(super) fn describe(path: &Path) -> Result<Collection, StoreError> {
    let failed = |error: io::Error| io_error(path, &error);
    let text = fs::read(path.join(DESCRIPTION)).map_err(failed)?;
    let description: Description = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    if description.format > FORMAT {
        return Err(failed(io::Error::other(format!("format {} is newer than this build", description.format))));
    }
    Ok(Collection { name: description.name, shape: description.shape })
}

/// The collections' directories below `dir`, which is made if need be. What a crash left half made is removed.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error: io::Error| io_error(dir, &error);
    fs::create_dir_all(dir).map_err(failed)?;
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY)) {
            tracing::warn!(path = %path.display(), "removing a collection that was never finished");
            fs::remove_dir_all(&path).map_err(failed)?;
        } else {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// How many bytes the files in a directory use on disk.
pub(super) fn used_bytes(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        bytes += entry?.metadata()?.blocks() * 512;
    }
    Ok(bytes)
}

fn sync_tree(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_tree(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}

/// An I/O error of ours, with its place.
pub(super) fn io_error(path: &Path, error: &io::Error) -> StoreError {
    StoreError::new(STORE, Class::NotApplied, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_directory() {
        let dir = Path::new("/d");
        for (name, want) in [
            ("memory", "memory"),
            ("a-b_C9", "a-b_C9"),
            ("../x", "%2E%2E%2Fx"),
            ("é", "%C3%A9"),
            (".new-x", "%2Enew-x"),
        ] {
            assert_eq!(path_of(dir, name).unwrap(), dir.join(want));
        }
        assert!(path_of(dir, "").is_err());
        assert!(path_of(dir, &"x".repeat(201)).is_err());
    }
}
