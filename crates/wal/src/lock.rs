//! The lock file: one process has the log, and says which and where it listens.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::error::LogError;
use crate::layout::Layout;

/// What the holder of the lock writes into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockNote {
    /// The holder.
    pub pid: u32,
    /// Where it listens; empty if it does not.
    pub socket: String,
    /// The log's incarnation under this holder; 0 while it opens the log.
    pub incarnation: u32,
}

/// The lock, held until this is dropped or the process is gone, however it goes.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    layout: Layout,
}

impl LockFile {
    /// Takes the lock.
    ///
    /// After `Ok` no other process has the log, and none will get it. [`LogError::Held`] says who has it.
    pub(crate) fn take(layout: &Layout, socket: &str) -> Result<Self, LogError> {
        let path = layout.lock();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(disk::io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                let lock = Self { file, layout: layout.clone() };
                lock.note(socket, 0)?;
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                let note = std::fs::read(&path).ok().and_then(|bytes| parse(&bytes));
                Err(LogError::Held {
                    dir: layout.dir().to_path_buf(),
                    pid: note.as_ref().map(|note| note.pid),
                    socket: note.map(|note| note.socket).unwrap_or_default(),
                })
            }
            Err(TryLockError::Error(source)) => Err(disk::io_error("lock", &path)(source)),
        }
    }

    /// Says who holds the lock.
    pub(crate) fn note(&self, socket: &str, incarnation: u32) -> Result<(), LogError> {
        let path = self.layout.lock();
        let note = LockNote { pid: std::process::id(), socket: socket.to_owned(), incarnation };
        let text = serde_json::to_vec(&note).map_err(|error| disk::io_error("write", &path)(error.into()))?;
        // Spaces behind the note instead of truncating it: on a full disk the old bytes can be written over.
        let old = self.file.metadata().map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(0));
        let mut padded = text;
        padded.resize(padded.len().max(old.min(4096)), b' ');
        self.file.write_all_at(&padded, 0).map_err(disk::io_error("write", &path))
    }
}

/// Reads a lock file's note.
pub(crate) fn parse(bytes: &[u8]) -> Option<LockNote> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_was_first() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let first = LockFile::take(&layout, "/run/a-long-name.sock").unwrap();
        first.note("/run/s", 4).unwrap();
        match LockFile::take(&layout, "x") {
            Err(LogError::Held { pid, socket, .. }) => {
                assert_eq!((pid, socket.as_str()), (Some(std::process::id()), "/run/s"));
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        LockFile::take(&layout, "x").unwrap();
    }
}
