//! Who writes: what root changes in a log must stay its owner's, or the daemon cannot open it again.
//!
//! Root becomes the log's owner before it writes, with the modes that the log's files have. So there is no moment, and no crash,
//! that leaves a file of root's behind.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{Gid, Uid, geteuid, getuid, umask};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::failure::Failure;

/// The user who runs this, whoever it becomes later.
pub(crate) fn real_uid() -> u32 {
    getuid().as_raw()
}

/// Becomes the owner of the log in `dir`, if root runs this; new files get the modes that those of the log have.
///
/// It is this thread that becomes so, and those that it starts from now on.
pub(crate) fn become_owner(dir: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::Owner { dir: dir.to_path_buf(), source };
    let of_dir = fs::metadata(dir).map_err(failed)?;
    let of_db = fs::metadata(dir.join("db")).ok();
    let files = of_db.as_ref().unwrap_or(&of_dir);
    // Files have no x bits; in a directory who may read may enter.
    let allowed = files.mode() & 0o666;
    umask(Mode::from_bits_truncate(!(allowed | (allowed & 0o444) >> 2) & 0o777));
    if !geteuid().is_root() || files.uid() == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(files.uid()), Gid::from_raw(files.gid()));
    let changed = set_thread_groups(&[gid])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid));
    changed.map_err(io::Error::from).map_err(failed)
}
