//! The system's calls on the log's files. Of the files only `db` and `highwater` count; the others are written at the open alone,
//! before there is a second thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::World;
use super::disk::Call;
use crate::highwater::HighWater;

pub(crate) fn write_all_at(file: &File, bytes: &[u8], at: u64, path: &Path) -> io::Result<()> {
    if path.ends_with("highwater") {
        let (mark, _) = HighWater::parse(bytes).map_err(io::Error::other)?;
        World::current().call(Call::WriteMark, |disk| disk.write_mark(mark.durable))?;
    }
    file.write_all_at(bytes, at)
}

pub(crate) fn sync_all(_: &File, path: &Path) -> io::Result<()> {
    sync(path)
}

pub(crate) fn sync_data(_: &File, path: &Path) -> io::Result<()> {
    sync(path)
}

fn sync(path: &Path) -> io::Result<()> {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("db") => World::current().call(Call::SyncDb, |disk| disk.sync_db()),
        Some("highwater") => World::current().call(Call::SyncMark, |disk| disk.sync_mark()),
        _ => Ok(()),
    }
}
