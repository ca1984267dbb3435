//! What a power cut can leave at the end of Edge's list of points: zeros, where the file had grown and the bytes never came.
//!
//! Edge cuts off an entry that ends too early, and refuses a list whose tail reads as zeros (Qdrant Edge 0.6.1,
//! `mutable_id_tracker.rs`). Whatever stands there was not flushed: nothing that depends on it has left Lockstep's log, and the start
//! writes it again. So the tail goes before Edge opens the shard.

use std::fs::{self, File};
use std::io;
use std::path::Path;

const LIST: &str = "mutable_id_tracker.mappings";

/// The version of the point at each place, as 8 bytes, the lowest first; 0 where it was removed. Written after the list.
const VERSIONS: &str = "mutable_id_tracker.versions";

/// File systems write whole pages: what came is cut off at one of these.
const PAGE: usize = 4096;

/// Cuts zeros off the lists of a shard's segments.
pub(super) fn cut_zeros(shard: &Path) -> io::Result<()> {
    let segments = shard.join("segments");
    if !segments.is_dir() {
        return Ok(());
    }
    for segment in fs::read_dir(segments)? {
        let segment = segment?.path();
        let list = segment.join(LIST);
        if !list.is_file() {
            continue;
        }
        let bytes = fs::read(&list)?;
        let versions = fs::read(segment.join(VERSIONS)).unwrap_or_default();
        let sound = sound(&bytes, &versions);
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
/// into a page of zeros came in part, unless those zeros are its own.
fn sound(bytes: &[u8], versions: &[u8]) -> usize {
    let zeros_from = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let lost_page = zeros_from.next_multiple_of(PAGE);
    let mut at = 0;
    while let Some(&kind) = bytes.get(at) {
        let Some(length) = entry_bytes(kind) else {
            // Something else than zeros is for Edge to judge.
            return if at >= zeros_from { at } else { bytes.len() };
        };
        let end = at + length;
        let Some(entry) = bytes.get(at..end) else { return bytes.len() };
        if end > lost_page && !ends_in_zeros(entry, &bytes[..at], versions) {
            return at;
        }
        at = end;
    }
    bytes.len()
}

/// Whether an entry that is followed by zeros makes sense as it is: places are given in rising order, and where a removal was flushed, the
/// place that its point had shows that. (What lacks the high bytes of its place names a smaller one, and of its id, perhaps another point.)
fn ends_in_zeros(entry: &[u8], before: &[u8], versions: &[u8]) -> bool {
    match place(entry) {
        Some(own) => entries(before).filter_map(place).all(|place| place < own),
        None => {
            let last = entries(before).filter(|other| id(other) == id(entry)).last();
            let version = |place: u32| versions.chunks_exact(8).nth(usize::try_from(place).ok()?);
            last.and_then(place).and_then(version).is_some_and(|version| version == [0; 8])
        }
    }
}

fn entries(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (entry, rest) = bytes.split_at_checked(entry_bytes(*bytes.first()?)?)?;
        bytes = rest;
        Some(entry)
    })
}

/// The place that an entry gives, if it gives one.
fn place(entry: &[u8]) -> Option<u32> {
    matches!(entry.first(), Some(1 | 2)).then(|| entry.last_chunk().map(|place| u32::from_le_bytes(*place)))?
}

/// The bytes of the id that an entry is about.
fn id(entry: &[u8]) -> &[u8] {
    let length = if matches!(entry.first(), Some(1 | 3)) { 8 } else { 16 };
    entry.get(1..=length).unwrap_or_default()
}

/// An entry is a byte that says what follows: the id of a point, as 8 or 16 bytes, and where it was given a place, 4 bytes more, the
/// lowest first.
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

    /// A point with a UUID is given a place.
    fn entry(place: u32) -> Vec<u8> {
        let mut entry = vec![2];
        entry.extend([7; 12]);
        entry.extend(place.to_be_bytes());
        entry.extend(place.to_le_bytes());
        entry
    }

    fn list(entries: u32) -> Vec<u8> {
        (0..entries).flat_map(entry).collect()
    }

    /// Whatever its length: a place below 65,536 ends in zeros, and they may lie in a page of their own.
    #[test]
    fn a_list_that_is_whole_stays() {
        let list = list(8200);
        for entries in 0..=8200 {
            let bytes = &list[..entries * 21];
            assert_eq!(sound(bytes, &[]), bytes.len(), "{entries} entries");
        }
        // So does one that ends with a removal, by a number.
        for entries in 1..=400_u64 {
            let mut bytes: Vec<u8> = Vec::new();
            for number in 1..=entries {
                bytes.push(1);
                bytes.extend(number.to_le_bytes());
                bytes.extend(u32::try_from(number - 1).unwrap().to_le_bytes());
            }
            let mut versions = vec![1; bytes.len() / 13 * 8];
            for number in 1..=entries {
                bytes.push(3);
                bytes.extend(number.to_le_bytes());
                let place = usize::try_from(number - 1).unwrap() * 8;
                versions[place..place + 8].fill(0);
                assert_eq!(sound(&bytes, &versions), bytes.len(), "{entries} points, {number} removed");
            }
        }
    }

    /// The page that held the high bytes of its id is lost: a removal of point 261, say, reads as one of point 5. The flushed one shows
    /// where point 5 was.
    #[test]
    fn a_removal_that_may_lack_part_of_its_id_has_to_show_elsewhere() {
        let points = (0..5000_u32).find(|points| (points * 13 + 2) % 4096 == 0).unwrap();
        let mut bytes: Vec<u8> = Vec::new();
        for place in 0..points {
            bytes.push(1);
            bytes.extend(u64::from(place + 1).to_le_bytes());
            bytes.extend(place.to_le_bytes());
        }
        let before = bytes.len();
        bytes.push(3);
        bytes.extend(5_u64.to_le_bytes());
        bytes.resize(before + PAGE, 0);
        let mut versions = vec![1; bytes.len()];
        assert_eq!(sound(&bytes, &versions), before);
        versions[4 * 8..5 * 8].fill(0);
        assert_eq!(sound(&bytes, &versions), before + 9);
    }

    /// The page that held the high bytes of its place is lost: what is left would give a place that another point has.
    #[test]
    fn an_entry_that_lacks_part_of_its_place_goes() {
        let entries = (0..10_000_usize).find(|entries| (entries * 21 + 18) % PAGE == 0).unwrap();
        let mut bytes = list(u32::try_from(entries).unwrap() + 1);
        assert!(bytes[entries * 21 + 18] != 0, "{entries}");
        bytes.truncate(entries * 21 + 18);
        bytes.resize(bytes.len() + 2 * PAGE, 0);
        assert_eq!(sound(&bytes, &[]), entries * 21);
    }

    #[test]
    fn zeros_at_the_end_go() {
        for entries in [0, 3, 196, 3706] {
            for zeros in [1, 20, 5000] {
                let mut bytes = list(entries);
                let whole = bytes.len();
                bytes.resize(whole + zeros, 0);
                assert_eq!(sound(&bytes, &[]), whole, "{entries} entries, {zeros} zeros");
            }
        }
    }

    /// 195 entries of 21 bytes end one byte before the page does: the next one reaches over.
    #[test]
    fn an_entry_that_came_in_part_goes() {
        let mut bytes = list(200);
        bytes.truncate(PAGE);
        bytes.resize(PAGE + 104, 0);
        assert_eq!(sound(&bytes, &[]), 195 * 21);
    }

    #[test]
    fn what_is_no_zero_is_left_to_edge() {
        let mut bytes = list(3);
        bytes.extend([0, 0, 9]);
        assert_eq!(sound(&bytes, &[]), bytes.len());
        // As is an entry that ends too early.
        assert_eq!(sound(&[2, 7, 7], &[]), 3);
    }
}
