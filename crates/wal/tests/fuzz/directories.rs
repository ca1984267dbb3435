//! A small real log whose files are damaged in several places at once: what was not written is never shown, and loss is said.

use std::path::{Path, PathBuf};

use lockstep_wal::repair::Survey;
use lockstep_wal::{RawError, RawLog};

use crate::driver::{Fuzz, variant};
use crate::truth::{Scratch, Truth, in_memory, on_disk, with_id};

type Files = Vec<(PathBuf, Vec<u8>)>;

/// What is done to the files, eight bytes for each: which file, what, where, how long, and from where or what.
fn damage(files: &mut Files, edits: &[u8]) {
    for edit in edits.chunks_exact(8) {
        let [file, what, a, b, c, d, e, f] = *edit else { return };
        if files.is_empty() {
            return;
        }
        let file = usize::from(file) % files.len();
        let bytes = &mut files[file].1;
        let place = |low, high| usize::from(u16::from_le_bytes([low, high])) % bytes.len().max(1);
        let (at, length, from) = (place(a, b), usize::from(u16::from_le_bytes([c, d % 32])), place(e, f));
        let end = bytes.len().min(at + length);
        match what % 8 {
            0..=2 if !bytes.is_empty() => bytes[at] ^= 1_u8 << (e % 8),
            3 => bytes.truncate(at),
            4 => bytes[at..end].fill(e),
            5 => {
                let block: Vec<u8> = bytes[from..].iter().copied().take(end - at).collect();
                bytes[at..at + block.len()].copy_from_slice(&block);
            }
            6 => {
                let block = bytes[at..end].to_vec();
                bytes.splice(from..from, block);
            }
            _ if e % 8 == 0 => drop(files.remove(file)),
            _ => drop(bytes.drain(at..end)),
        }
    }
}

fn findings(raw: &RawLog) -> u64 {
    raw.findings().iter().fold(0, |all, finding| all ^ variant(finding))
}

fn check(scratch: &Scratch, written: &Files, truth: &Truth, input: &[u8]) -> u64 {
    let mut files = written.clone();
    damage(&mut files, input);
    let dir = scratch.fill(&files);
    let raw = match RawLog::read(&dir) {
        Ok(raw) => raw,
        Err(error) => {
            assert!(matches!(error, RawError::NotALog(_)), "{error}");
            return variant(&error);
        }
    };
    // Who has lost the newest mark cannot miss what was written last.
    let has_mark = |files: &Files| files.iter().find(|(name, _)| name == Path::new("highwater")).cloned();
    if has_mark(&files) == has_mark(written) {
        truth.hold_raw(&raw, "damaged");
    } else {
        truth.shown(&raw, "damaged");
    }
    let surveyed = Survey::of(&dir, false).map_or_else(|error| variant(&error), |survey| u64::from(survey.is_whole()));
    surveyed ^ findings(&raw)
}

#[test]
fn a_damaged_directory_never_shows_what_was_not_written() {
    let made = tempfile::tempdir().unwrap();
    let (mut files, truth) = on_disk(made.path(), 6, 300);
    files.sort();
    let scratch = Scratch::new();
    let check = |input: &[u8]| check(&scratch, &files, &truth, input);
    Fuzz { target: "directories", seeds: Vec::new(), tokens: &["\u{5}", "\u{7}\u{8}"], inputs: 5_000 }.run(check);
}

/// The same for a log with an incarnation that was killed, two removals, and a record of three chunks; without files, so faster.
#[test]
fn damaged_bytes_never_show_what_was_not_written() {
    let (db, mark, truth) = in_memory();
    let db = vec![(PathBuf::from("db"), with_id(db))];
    let check = |input: &[u8]| {
        let mut files = db.clone();
        damage(&mut files, input);
        let raw = RawLog::from_bytes(files.first().map_or(&[], |(_, bytes)| bytes), Some(&mark)).unwrap();
        truth.hold_raw(&raw, "damaged");
        findings(&raw)
    };
    Fuzz { target: "bytes", seeds: Vec::new(), tokens: &["\u{5}", "\u{6}"], inputs: 20_000 }.run(check);
}
