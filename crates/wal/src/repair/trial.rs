//! Whether sled opens a log, tried on a private copy: opening writes.

use std::fs;
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

/// Why sled, or the check of what it gives back, refuses the log in `dir`, which its high-water file calls `durable` so far; nothing if it
/// opens. The copy is made in `scratch`, which has to be a directory of its own. The log may be larger than what is free there: then nobody knows, and it says so.
///
/// # Errors
/// If the files cannot be copied.
pub fn sled_opens(durable: Lsn, dir: &Path, scratch: &Path) -> Result<Result<(), String>, RepairError> {
    let (from, to) = (Layout::new(dir), Layout::new(scratch));
    let needed = size(&from.db())?;
    let free = free_bytes(scratch).map_err(disk::io_error("look for room in", scratch))?;
    if free < needed.saturating_add(SPARE_BYTES) {
        return Err(RepairError::NoRoom { dir: scratch.join("copy"), needed, free });
    }
    let contents = from.contents().map_err(disk::io_error("list", dir))?;
    for file in [from.db(), from.conf()].iter().chain(&contents.snapshots) {
        if let Some(name) = file.file_name().filter(|_| file.is_file()) {
            fs::copy(file, scratch.join(name)).map_err(disk::io_error("copy", file))?;
        }
    }
    let opened = Store::open(&to, 8 << 20).and_then(|store| check::everything(&store, dir, durable).map(drop));
    Ok(opened.map_err(|error| chain(&error)))
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
