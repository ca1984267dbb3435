//! A disk whose power can be cut: a file system in a file. What a copy of that file holds is what had reached the disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Large enough for the daemon's ballast and a load of a second.
const IMAGE_BYTES: u64 = 1 << 30;

/// An image, not mounted.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
}

impl Disk {
    /// An empty file system in `folder`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(folder: &Path) -> Result<Self> {
        let image = folder.join("disk");
        std::fs::File::create(&image)?.set_len(IMAGE_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"]).arg(&image))?;
        Ok(Self { image })
    }

    /// Mounts it at `place`. The journal commits when it is told to, not by the clock: a cut then loses what was not synced.
    ///
    /// # Errors
    /// If that is not allowed here.
    pub fn mount(&self, place: PathBuf) -> Result<Mounted> {
        std::fs::create_dir_all(&place)?;
        run(Command::new("mount").args(["-o", "loop,commit=300,noatime"]).arg(&self.image).arg(&place))?;
        Ok(Mounted { place })
    }

    /// What is on the disk now, as a disk of its own in `folder`. Whoever writes must have been stopped.
    ///
    /// # Errors
    /// If there is no room.
    pub fn cut(&self, folder: &Path) -> Result<Self> {
        let image = folder.join("cut");
        run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(&self.image).arg(&image))?;
        Ok(Self { image })
    }
}

/// A mounted disk; unmounted when this is dropped.
#[derive(Debug)]
pub struct Mounted {
    place: PathBuf,
}

impl Mounted {
    /// Where it is mounted.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily, so that not even a process that still dies keeps it. Nothing can be done about a failure here.
        let _ = run(Command::new("umount").arg("-l").arg(&self.place));
    }
}

/// Whether disks can be mounted here.
///
/// # Errors
/// Why not.
pub fn check(folder: &Path) -> Result<()> {
    let disk = Disk::make(folder)?;
    disk.mount(folder.join("check")).map(drop)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, said.trim());
    Ok(())
}
