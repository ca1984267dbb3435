//! The lock file: one process has the log, and says which and where it listens.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

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
                let note = fs::read(&path).ok().and_then(|bytes| parse(&bytes));
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

/// Whether a process holds the lock in this file, as the kernel's list of locks says: trying to take it could keep a daemon from starting.
/// The note in the file alone says nothing: its writer may be gone, and a copy of a directory carries the note of the original.
#[must_use]
pub fn is_locked(path: &Path) -> bool {
    let (Ok(meta), Ok(locks)) = (fs::metadata(path), fs::read_to_string("/proc/locks")) else { return false };
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let device = format!("{major:02x}:{minor:02x}");
    let on_inode = locks.lines().filter_map(Locked::parse).filter(|locked| locked.inode == meta.ino());
    let noted = fs::read(path).ok().and_then(|bytes| parse(&bytes)).map(|note| note.pid);
    // Some file systems show one device to `stat` and another one here. Then the process has to be the one that the note names.
    let is_noted = |pid: u32| noted.is_none_or(|noted| may_be(pid, noted));
    on_inode.into_iter().any(|locked| locked.device == device || is_noted(locked.pid))
}

/// A line of that list: `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`, with the holder, the device and the inode.
#[derive(Debug, PartialEq, Eq)]
struct Locked<'a> {
    /// 0 if it cannot be seen from here.
    pid: u32,
    device: &'a str,
    inode: u64,
}

impl<'a> Locked<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace().skip_while(|word| *word != "FLOCK").skip(3);
        let (pid, place) = (words.next()?, words.next()?);
        let (device, inode) = place.rsplit_once(':')?;
        Some(Self { pid: pid.parse().unwrap_or(0), device, inode: inode.parse().ok()? })
    }
}

/// Whether the process that is `pid` here may call itself `noted`, in a container of its own perhaps.
fn may_be(pid: u32, noted: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let names = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    names.is_none_or(|names| names.split_whitespace().any(|name| name.parse() == Ok(noted)))
}

/// Reads a lock file's note.
pub(crate) fn parse(bytes: &[u8]) -> Option<LockNote> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_tells_who_and_where() {
        let line = "2: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF";
        assert_eq!(Locked::parse(line), Some(Locked { pid: 4711, device: "08:01", inode: 1234 }));
        assert_eq!(Locked::parse("1: POSIX  ADVISORY  WRITE 9 08:01:77 0 EOF"), None);
        assert!(may_be(std::process::id(), std::process::id()) && !may_be(std::process::id(), u32::MAX));
        // What cannot be seen may be anybody.
        assert!(may_be(0, 7));
    }

    #[test]
    fn a_lock_is_seen_and_a_note_alone_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert!(!is_locked(&layout.lock()));
        let lock = LockFile::take(&layout, "").unwrap();
        assert!(is_locked(&layout.lock()));
        drop(lock);
        assert!(layout.lock().exists() && !is_locked(&layout.lock()));
    }

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
