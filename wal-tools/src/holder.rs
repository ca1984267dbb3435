//! Who has a log open.
//!
//! The note in the lock file alone says nothing: its writer may be gone, and a copy of a directory carries the note
//! of the original. The kernel's list of locks knows which file is locked, and asking it takes no lock, which could
//! keep a daemon from starting.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lockstep_wal::LockNote;

/// A process that has a log open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Which, if its note says so.
    pub(crate) pid: Option<u32>,
    /// Where it listens, if it does.
    pub(crate) socket: Option<PathBuf>,
}

impl Holder {
    /// The process that has the log in `dir` open, if there is one.
    pub(crate) fn of(dir: &Path) -> Option<Self> {
        let path = dir.join("lock");
        let inode = fs::metadata(&path).ok()?.ino();
        if !is_locked(&fs::read_to_string("/proc/locks").ok()?, inode) {
            return None;
        }
        let note: Option<LockNote> = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let socket = note.as_ref().map(|note| PathBuf::from(&note.socket));
        Some(Self {
            pid: note.map(|note| note.pid),
            socket: socket.filter(|path| !path.as_os_str().is_empty()).map(|path| resolved(dir, path)),
        })
    }

    /// `process 4711`
    pub(crate) fn name(&self) -> String {
        self.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"))
    }
}

/// A line of the list: `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`, the last number of the triple is the inode.
fn is_locked(locks: &str, inode: u64) -> bool {
    let suffix = format!(":{inode}");
    locks.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.any(|word| word == "FLOCK") && words.any(|word| word.ends_with(&suffix))
    })
}

/// A relative socket counts from where the daemon was started, which is not known here. With `--data DIR` it lies in
/// the directory above the log's, so it is looked for there if it is not found from here.
fn resolved(dir: &Path, socket: PathBuf) -> PathBuf {
    if socket.is_absolute() || socket.exists() {
        return socket;
    }
    let beside = dir.parent().zip(socket.file_name()).map(|(parent, name)| parent.join(name));
    beside.filter(|path| path.exists()).unwrap_or(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_on_this_inode_counts() {
        let locks = "1: POSIX  ADVISORY  WRITE 9 08:01:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF\n";
        assert!(is_locked(locks, 1234));
        assert!(!is_locked(locks, 234) && !is_locked(locks, 77));
    }

    #[test]
    fn a_note_without_a_lock_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Holder::of(dir.path()), None);
        fs::write(dir.path().join("lock"), r#"{"pid":1,"socket":"/run/s","incarnation":1}"#).unwrap();
        assert_eq!(Holder::of(dir.path()), None);
    }
}
