//! What starts, repairs and people leave in a log's directory and beside it.

use std::fs::{self, DirEntry};
use std::path::Path;

use crate::finding::{Beside, Finding};

/// What a log's directory holds, but for sled's snapshots (`snap.*`).
const OF_A_LOG: [&str; 9] =
    ["db", "conf", "blobs", "lock", "ballast", "highwater", "highwater.new", "lost+found", "repair"];

/// What is there that no log needs. What cannot be looked at is passed over: it is not the log.
pub(crate) fn leftovers(dir: &Path) -> Vec<Finding> {
    let mut found: Vec<Finding> = items(dir)
        .iter()
        .filter_map(|item| {
            let name = item.file_name();
            let name = name.to_string_lossy();
            let is_of_the_log = OF_A_LOG.contains(&name.as_ref()) || name.starts_with("snap.");
            match name.as_ref() {
                "quarantine" => Some(Finding::quarantine(&item.path(), bytes(item))),
                _ => (!is_of_the_log).then(|| Finding::foreign(&item.path())),
            }
        })
        .collect();
    let blobs = items(&dir.join("blobs"));
    if !blobs.is_empty() {
        found.push(Finding::blobs(blobs.len() as u64, blobs.iter().map(bytes).sum()));
    }
    let absolute = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else { return found };
    let name = name.to_string_lossy();
    for item in items(parent) {
        let other = item.file_name();
        let other = other.to_string_lossy();
        let Some(suffix) = other.strip_prefix(name.as_ref()).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let kind = match suffix {
            "kept" => Beside::Kept,
            "kept.new" => Beside::HalfCopy,
            _ if suffix.starts_with("damaged-") => Beside::Damaged,
            _ => Beside::Other,
        };
        // The path as the operator wrote it, if that leads there.
        let path =
            dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map(|parent| parent.join(other.as_ref()));
        found.push(Finding::beside(&path.unwrap_or_else(|| item.path()), kind, bytes(&item)));
    }
    found.sort_by(|a, b| (a.code, &a.what).cmp(&(b.code, &b.what)));
    found
}

fn items(dir: &Path) -> Vec<DirEntry> {
    fs::read_dir(dir).map(|items| items.filter_map(Result::ok).collect()).unwrap_or_default()
}

/// The bytes of a file, or of the files in a directory and the directories in it.
fn bytes(item: &DirEntry) -> u64 {
    match item.metadata() {
        Ok(meta) if meta.is_dir() => items(&item.path()).iter().map(bytes).sum(),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    }
}
