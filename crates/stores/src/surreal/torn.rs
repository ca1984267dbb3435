//! What a kill or a power cut can leave at the end of SurrealKV's log: a record that came in part.
//!
//! SurrealKV (0.21.4, `wal/reader.rs` and `wal/manager.rs`) takes such an end for the end of the file when it opens, and goes on
//! writing behind it. At the next start the torn record stands in the middle, counts as corruption, and with it goes everything that
//! was committed behind it, synced or not. So the torn record, which nobody was told of, goes before SurrealKV opens its log.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A segment is made of blocks of this size. A record is one fragment, or several, each within a block.
const BLOCK: usize = 32 * 1024;

/// A fragment begins with a checksum (4 bytes), its length (2 bytes, the highest first) and its kind.
const HEADER: usize = 7;

/// Cuts off what came in part at the end of the log of the database at `dir`. Nothing is touched while another process has it open:
/// SurrealKV will say so.
pub(super) fn cut_torn(dir: &Path) -> io::Result<()> {
    // SurrealKV's own lock (`flock`), released again before it opens.
    let lock = File::options().write(true).open(dir.join("LOCK"));
    if lock.as_ref().is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
        return Ok(());
    }
    let Some(last) = last_segment(&dir.join("wal"))? else { return Ok(()) };
    let file = File::options().read(true).write(true).open(&last)?;
    let length = file.metadata()?.len();
    let whole = whole(&file, length)?;
    if whole < length {
        let removed = length - whole;
        tracing::warn!(segment = %last.display(), removed, "the last record of SurrealDB's log came in part: it is cut off");
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(())
}

/// The segment that is written to: their names are numbers of the same length.
fn last_segment(wal: &Path) -> io::Result<Option<PathBuf>> {
    if !wal.is_dir() {
        return Ok(None);
    }
    let mut last = None;
    for entry in fs::read_dir(wal)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wal") && last.as_ref().is_none_or(|last| path > *last)
        {
            last = Some(path);
        }
    }
    Ok(last)
}

/// How many of a segment's `length` bytes are to be kept: all of them, unless its last record ends before it is whole, or zeros stand
/// where there should be more. Anything else that is not as it should be is for SurrealKV to judge.
fn whole(mut segment: impl Read, length: u64) -> io::Result<u64> {
    let mut block = Vec::with_capacity(BLOCK);
    let (mut begin, mut whole) = (0, 0);
    let (mut in_parts, mut zeros) = (false, false);
    loop {
        block.clear();
        let read = segment.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if read == 0 {
            return Ok(if in_parts || zeros { whole } else { length });
        }
        if zeros && block.iter().any(|byte| *byte != 0) {
            return Ok(length);
        }
        let mut at = 0;
        // Where there is too little for a fragment, the block ends with zeros.
        while !zeros && at < read && BLOCK - at >= HEADER {
            let rest = &block[at..];
            if rest.iter().all(|byte| *byte == 0) {
                zeros = true;
                break;
            }
            let Some((header, content)) = rest.split_at_checked(HEADER) else { return Ok(whole) };
            let (kind, size) = (header[6], usize::from(u16::from_be_bytes([header[4], header[5]])));
            let (begins, ends) = match kind {
                FULL | COMPRESSION => (true, true),
                FIRST => (true, false),
                MIDDLE => (false, false),
                LAST => (false, true),
                _ => return Ok(length),
            };
            if begins == in_parts || at + HEADER + size > BLOCK {
                return Ok(length);
            }
            // A whole block has room for all of it.
            let Some(content) = content.get(..size) else { return Ok(whole) };
            let said = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            if kind != COMPRESSION && checksum(kind, content) != said {
                return Ok(length);
            }
            at += HEADER + size;
            in_parts = !ends;
            if ends {
                whole = begin + at as u64;
            }
        }
        begin += read as u64;
    }
}

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;
/// Says how the records behind it are compressed.
const COMPRESSION: u8 = 9;

fn checksum(kind: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, FIRST, FULL, HEADER, LAST, checksum};

    fn fragment(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&checksum(kind, content).to_be_bytes()[..], &length, &[kind], content].concat()
    }

    /// A record of 100 bytes, and one that goes over the end of the first block.
    fn segment() -> Vec<u8> {
        let first = fragment(FULL, &[1; 100]);
        let left = BLOCK - first.len() - HEADER;
        [first, fragment(FIRST, &vec![2; left]), fragment(LAST, &[3; 50])].concat()
    }

    fn whole(bytes: &[u8]) -> usize {
        usize::try_from(super::whole(bytes, bytes.len() as u64).unwrap()).unwrap()
    }

    #[test]
    fn what_is_whole_stays() {
        let segment = segment();
        assert_eq!(whole(&[]), 0);
        assert_eq!(whole(&segment), segment.len());
        // A block that has no room for another fragment ends with zeros, all of them or some.
        let mut full = fragment(FULL, &vec![1; BLOCK - HEADER - 4]);
        for zeros in 0..=4 {
            assert_eq!(whole(&full), full.len(), "{zeros}");
            full.push(0);
        }
    }

    #[test]
    fn what_came_in_part_goes() {
        let segment = segment();
        let first = HEADER + 100;
        for length in 0..segment.len() {
            let expected = if length < first { 0 } else { first };
            assert_eq!(whole(&segment[..length]), expected, "{length}");
        }
        for zeros in [1, HEADER, 5000, 2 * BLOCK] {
            let end = [&segment[..], &vec![0; zeros]].concat();
            assert_eq!(whole(&end), segment.len(), "{zeros} zeros");
        }
    }

    /// What is not an end is not for us to mend.
    #[test]
    fn damage_stays_as_it_is() {
        let segment = segment();
        for place in [0, 3, 6, 50, 120, BLOCK + 20] {
            let mut damaged = [&segment[..], &fragment(FULL, &[4; 10])].concat();
            damaged[place] ^= 0x40;
            assert_eq!(whole(&damaged), damaged.len(), "{place}");
        }
    }
}
