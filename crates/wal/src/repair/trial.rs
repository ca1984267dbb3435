//! Whether sled opens a log, tried on a private copy: opening writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lockstep_model::Lsn;

use crate::check;
use crate::disk;
use crate::layout::Layout;
use crate::repair::RepairError;
use crate::repair::survey::size;
use crate::space::free_bytes;
use crate::store::Store;

/// What a copy for the trial leaves free where it is made.
const SPARE_BYTES: u64 = 64 << 20;

/// What came of a trial.
#[derive(Debug)]
pub enum Trial {
    /// sled opens the log, and gives back what was written.
    Opens,
    /// sled, or the check of what it gives back, refuses it: why.
    Refused(String),
    /// Nobody knows: there is no room for the copy.
    NoRoom {
        /// What it takes, in bytes.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// Nobody knows: the system got in the way, and how.
    NotTried(String),
}

/// Whether sled opens the log in `dir`, which its high-water file calls `durable` so far. The copy is made in `scratch`, which has to be a
/// directory of its own.
pub fn sled_opens(durable: Lsn, dir: &Path, scratch: &Path) -> Trial {
    match copied(dir, scratch) {
        Ok(copy) => match Store::open(&copy, 8 << 20).and_then(|store| check::everything(&store, dir, durable)) {
            Ok(_) => Trial::Opens,
            Err(error) if error.is_of_the_system() => Trial::NotTried(chain(&error)),
            Err(error) => Trial::Refused(chain(&error)),
        },
        Err(RepairError::NoRoom { needed, free, .. }) => Trial::NoRoom { needed, free },
        Err(error) => Trial::NotTried(chain(&error)),
    }
}

fn copied(dir: &Path, scratch: &Path) -> Result<Layout, RepairError> {
    let (from, to) = (Layout::new(dir), Layout::new(scratch));
    let needed = size(&from.db())?;
    let free = free_bytes(scratch).map_err(disk::io_error("look for room in", scratch))?;
    if free < needed.saturating_add(SPARE_BYTES) {
        return Err(RepairError::NoRoom { dir: scratch.join("copy"), needed, free });
    }
    let contents = from.contents().map_err(disk::io_error("list", dir))?;
    for file in [from.db(), from.conf()].iter().chain(&contents.snapshots) {
        if let Some(name) = file.file_name().filter(|_| file.is_file()) {
            let copy = scratch.join(name);
            fs::copy(file, &copy).map_err(disk::io_error("copy", file))?;
            // A log that may only be read is copied with that, too.
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).map_err(disk::io_error("change", &copy))?;
        }
    }
    Ok(to)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
