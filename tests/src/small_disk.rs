//! A disk that is soon full: a tmpfs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A mounted tmpfs; unmounted when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many bytes below `folder`.
    ///
    /// # Errors
    /// If that is not allowed here.
    pub fn mount(folder: &Path, bytes: u64) -> Result<Self> {
        let place = folder.join("small-disk");
        std::fs::create_dir_all(&place)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(&place);
        let output = command.output().with_context(|| format!("{command:?}"))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(Self { place })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that not even a process that still dies keeps it. Nothing can be done about a failure here.
        let _ = Command::new("umount").arg("-l").arg(&self.place).output();
    }
}
