//! The few calls that make bytes durable, in one place, so that a test can take them away or put its own there.
//!
//! With `LOCKSTEP_FAULT=no_fsync` none of them does anything: the negative control of the power-cut tests. No release build
//! can be asked for that (see [`fault`]).

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::LogError;
use crate::fault;
use crate::sync::os;

fn switched_off() -> bool {
    fault::asked() == Some("no_fsync")
}

/// Writes over bytes of the file. They may be on disk from then on, and need not be.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], at: u64, path: &Path) -> Result<(), LogError> {
    os::write_all_at(file, bytes, at, path).map_err(io_error("write", path))
}

/// After `Ok`, content and size of the file survive a power cut.
pub(crate) fn sync_all(file: &File, path: &Path) -> Result<(), LogError> {
    if switched_off() { Ok(()) } else { os::sync_all(file, path).map_err(io_error("sync", path)) }
}

/// After `Ok`, the content of the file, whose size has not changed, survives a power cut.
pub(crate) fn sync_data(file: &File, path: &Path) -> Result<(), LogError> {
    if switched_off() { Ok(()) } else { os::sync_data(file, path).map_err(io_error("sync", path)) }
}

/// After `Ok`, the names in the directory survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    let handle = File::open(dir).map_err(io_error("open", dir))?;
    sync_all(&handle, dir)
}

/// Turns an I/O error into one that says what was tried on which file.
pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_path_buf();
    move |source| LogError::Io { doing, path, source }
}

/// Removes a file; that it was not there is fine.
pub(crate) fn remove_if_there(path: &Path) -> Result<bool, LogError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("remove", path)(error)),
    }
}
