//! Who has a log open.
//!
//! The kernel's list of locks knows whether a file is locked, and asking it takes no lock; who it is stands in the file.

use std::fs;
use std::path::{Path, PathBuf};

use lockstep_wal::{LockNote, is_locked};

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
        if !is_locked(&path) {
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
    fn a_note_without_a_lock_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Holder::of(dir.path()), None);
        fs::write(dir.path().join("lock"), r#"{"pid":1,"socket":"/run/s","incarnation":1}"#).unwrap();
        assert_eq!(Holder::of(dir.path()), None);
    }
}
