//! What a power cut can leave at the end of Edge's list of points: zeros, where the file had grown and the bytes never came.
//!
//! Edge cuts off an entry that ends too early, and refuses a list whose tail reads as zeros (Qdrant Edge 0.6.1,
//! `mutable_id_tracker.rs`). Whatever stands there was not flushed: nothing that depends on it has left Lockstep's log, and the start
//! writes it again. So the tail goes before Edge opens the shard.

use std::fs::{self, File};
use std::io;
use std::path::Path;

const LIST: &str = "mutable_id_tracker.mappings";

/// File systems write whole pages: what came is cut off at one of these.
const PAGE: usize = 4096;

/// Cuts zeros off the lists of a shard's segments.
pub(super) fn cut_zeros(shard: &Path) -> io::Result<()> {
    let segments = shard.join("segments");
    if !segments.is_dir() {
        return Ok(());
    }
    for segment in fs::read_dir(segments)? {
        let list = segment?.path().join(LIST);
        if !list.is_file() {
            continue;
        }
        let bytes = fs::read(&list)?;
        let sound = sound(&bytes);
        if sound < bytes.len() {
            let removed = bytes.len() - sound;
            tracing::warn!(list = %list.display(), removed, "a power cut left zeros at the end of a list of points: they are cut off");
            let file = File::options().write(true).open(&list)?;
            file.set_len(u64::try_from(sound).map_err(io::Error::other)?)?;
            file.sync_all()?;
        }
    }
    Ok(())
}

/// How much of the list is to be kept. All of it, unless whole entries are followed by zeros alone; an entry that reaches
/// into a page of zeros came in part.
fn sound(bytes: &[u8]) -> usize {
    let zeros_from = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let lost_page = zeros_from.next_multiple_of(PAGE);
    let mut at = 0;
    while let Some(&kind) = bytes.get(at) {
        let Some(length) = entry_bytes(kind) else {
            // Something else than zeros is for Edge to judge.
            return if at >= zeros_from { at } else { bytes.len() };
        };
        let end = at + length;
        if end > bytes.len() {
            return bytes.len();
        }
        if end > lost_page {
            return at;
        }
        at = end;
    }
    bytes.len()
}

/// An entry is a byte that says what follows: the id of a point, as 8 or 16 bytes, and where it was given a place, 4 bytes more.
const fn entry_bytes(kind: u8) -> Option<usize> {
    match kind {
        1 => Some(1 + 8 + 4),
        2 => Some(1 + 16 + 4),
        3 => Some(1 + 8),
        4 => Some(1 + 16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An upsert of a point with a UUID.
    fn entry(number: u8) -> Vec<u8> {
        let mut entry = vec![2];
        entry.extend([number.max(1); 16]);
        entry.extend([number.max(1), 0, 0, 0]);
        entry
    }

    fn list(entries: usize) -> Vec<u8> {
        (0..entries).flat_map(|number| entry(u8::try_from(number % 256).unwrap())).collect()
    }

    #[test]
    fn a_list_that_is_whole_stays() {
        assert_eq!(sound(&[]), 0);
        for entries in [1, 3, 195, 196, 400] {
            let list = list(entries);
            assert_eq!(sound(&list), list.len());
        }
    }

    #[test]
    fn zeros_at_the_end_go() {
        for entries in [0, 3, 196] {
            for zeros in [1, 20, 5000] {
                let mut bytes = list(entries);
                let whole = bytes.len();
                bytes.resize(whole + zeros, 0);
                assert_eq!(sound(&bytes), whole, "{entries} entries, {zeros} zeros");
            }
        }
    }

    /// 195 entries of 21 bytes end one byte before the page does: the next one reaches over.
    #[test]
    fn an_entry_that_came_in_part_goes() {
        let mut bytes = list(200);
        bytes.truncate(PAGE);
        bytes.resize(PAGE + 104, 0);
        assert_eq!(sound(&bytes), 195 * 21);
    }

    #[test]
    fn what_is_no_zero_is_left_to_edge() {
        let mut bytes = list(3);
        bytes.extend([0, 0, 9]);
        assert_eq!(sound(&bytes), bytes.len());
        // As is an entry that ends too early.
        assert_eq!(sound(&[2, 7, 7]), 3);
    }
}
