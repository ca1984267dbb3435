//! The copy that is made before sled opens a log.
//!
//! sled zeroes what it does not understand, and the raw look cannot see damage to sled's own bytes between the chunks. So
//! the files are copied first, beside the directory, if that is cheap: they are small, and there is room. When sled's view has been checked the copy goes; when it is wrong the copy stays, as
//! `<dir>.kept`, and there is never a second.

use std::fs;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::{Kept, LogError};
use crate::layout::Layout;
use crate::space::SpaceProbe;

/// A log is copied before each open up to this size: a tenth of a second.
const CHEAP_BYTES: u64 = 64 << 20;

/// What became of the copy.
pub(crate) struct SafetyCopy {
    layout: Layout,
    kept: Kept,
}

impl SafetyCopy {
    /// Copies the log's files if that is cheap. A copy that fails is no reason not to open.
    pub(crate) fn take(layout: &Layout, floor: u64, probe: &SpaceProbe) -> Result<Self, LogError> {
        let new = layout.kept_new();
        remove_dir(&new)?;
        let kept = if layout.kept().exists() {
            Kept::Earlier(layout.kept())
        } else {
            match copy(layout, &new, floor, probe) {
                Ok(()) => Kept::Copy(layout.kept()),
                Err(why) => {
                    remove_dir(&new)?;
                    Kept::None(why)
                }
            }
        };
        Ok(Self { layout: layout.clone(), kept })
    }

    /// The log is fine: the copy goes.
    pub(crate) fn discard(self) -> Result<(), LogError> {
        remove_dir(&self.layout.kept_new())
    }

    /// sled's view was wrong: the copy stays, and the error says where.
    pub(crate) fn keep_for(self, error: LogError) -> LogError {
        let dir = self.layout.dir();
        let error = with_kept(error, dir, self.kept);
        let is_about_content = matches!(error, LogError::Lost { .. } | LogError::Damaged { .. });
        let new = self.layout.kept_new();
        if is_about_content && new.exists() {
            match fs::rename(&new, self.layout.kept()) {
                Ok(()) => error,
                Err(why) => with_kept(error, dir, Kept::None(format!("{}: {why}", new.display()))),
            }
        } else {
            if let Err(error) = remove_dir(&new) {
                tracing::warn!(%error, "a copy that is not needed stays");
            }
            error
        }
    }
}

fn copy(layout: &Layout, to: &Path, floor: u64, probe: &SpaceProbe) -> Result<(), String> {
    let files = files(layout).map_err(|error| error.to_string())?;
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    if bytes > CHEAP_BYTES {
        return Err(format!(
            "it would have taken {bytes} bytes, more than the {CHEAP_BYTES} that are copied at each open"
        ));
    }
    let free = probe(&layout.parent()).map_err(|error| error.to_string())?;
    if free < floor.saturating_add(bytes) {
        return Err(format!("there was no room: {free} bytes free"));
    }
    fs::create_dir(to).map_err(|error| error.to_string())?;
    for (file, _) in files {
        let Some(name) = file.file_name() else { continue };
        fs::copy(&file, to.join(name)).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// The log's files without ballast and lock.
fn files(layout: &Layout) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for item in fs::read_dir(layout.dir())? {
        let item = item?;
        let meta = item.metadata()?;
        if meta.is_file() && item.path() != layout.ballast() && item.path() != layout.lock() {
            files.push((item.path(), meta.len()));
        }
    }
    Ok(files)
}

fn remove_dir(dir: &Path) -> Result<(), LogError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(disk::io_error("remove", dir)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What the error of an open becomes when it is known what was kept.
fn with_kept(error: LogError, dir: &Path, kept: Kept) -> LogError {
    let said = match &error {
        // The raw look found the log whole, so what sled panics or stumbles over are its own bytes.
        LogError::Panicked { doing, message, .. } => Some(format!("sled panicked while it had to {doing}: {message}")),
        error if error.is_of_the_system() => None,
        LogError::Sled { doing, source, .. } => Some(format!("sled cannot {doing}: {source}")),
        LogError::Damaged { diagnosis, .. } => Some(diagnosis.clone()),
        LogError::Held { .. }
        | LogError::Io { .. }
        | LogError::Lost { .. }
        | LogError::Record { .. }
        | LogError::FutureFormat { .. }
        | LogError::NotALog { .. }
        | LogError::Full { .. }
        | LogError::SlowFlush { .. }
        | LogError::Failed(_)
        | LogError::Closed
        | LogError::Usage(_) => None,
    };
    match (said, error) {
        (Some(diagnosis), _) => LogError::Damaged { dir: dir.to_path_buf(), diagnosis, kept },
        (None, LogError::Lost { dir, missing, last, high_water, .. }) => {
            LogError::Lost { dir, missing, last, high_water, kept }
        }
        (None, other) => other,
    }
}
