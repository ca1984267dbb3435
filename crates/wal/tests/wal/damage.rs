//! Damage of every kind: never a panic that escapes, never a record that was not written, and loss is said.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use lockstep_model::Lsn;
use lockstep_wal::{Entry, ErrorClass, Finding, LogError, RawLog};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{all, open};
use crate::truth::{Scratch, Truth, in_memory, on_disk, with_id};

impl Truth {
    fn hold_open(&self, dir: &Path, what: &str) -> Opened {
        let opened = panic::catch_unwind(AssertUnwindSafe(|| open(dir)));
        match opened {
            Err(_) => unreachable!("{what}: a panic escaped"),
            Ok(Err(error)) => {
                assert_eq!(error.class(), ErrorClass::Unreadable, "{what}: {error}");
                Opened::Refused(error)
            }
            Ok(Ok((log, _))) => {
                let shown: Vec<(Lsn, Entry)> = all(&*log);
                let expected: Vec<_> = self.live.iter().map(|lsn| (*lsn, self.written[lsn].clone())).collect();
                assert_eq!(shown.len(), expected.len(), "{what}");
                assert!(shown == expected, "{what}");
                Opened::Whole
            }
        }
    }
}

enum Opened {
    Whole,
    Refused(LogError),
}

#[test]
fn every_flipped_bit_in_memory() {
    let (db, mark, truth) = in_memory();
    // The BOOT entry names another log than the mark; all else is sound.
    let raw = RawLog::from_bytes(&db, Some(&mark)).unwrap();
    assert_eq!(raw.findings(), [Finding::MixedLogs]);
    let db = with_id(db);
    assert!(!truth.hold_raw(&RawLog::from_bytes(&db, Some(&mark)).unwrap(), "as written"));
    let mut said = 0;
    for bit in 0..db.len() * 8 {
        let mut flipped = db.clone();
        flipped[bit / 8] ^= 1_u8 << (bit % 8);
        let raw = RawLog::from_bytes(&flipped, Some(&mark)).unwrap();
        said += usize::from(truth.hold_raw(&raw, &format!("bit {bit}")));
    }
    // Flips in what has left, and between the chunks, harm nothing.
    assert!(said > db.len() * 7, "{said} of {}", db.len() * 8);
}

#[test]
fn every_cut_in_memory() {
    let (db, mark, truth) = in_memory();
    let db = with_id(db);
    for cut in 0..db.len() - 3 {
        let raw = RawLog::from_bytes(&db[..cut], Some(&mark)).unwrap();
        assert!(truth.hold_raw(&raw, &format!("cut at {cut}")), "cut at {cut}");
        let rest = RawLog::from_bytes(&db[cut..], Some(&mark)).unwrap();
        truth.hold_raw(&rest, &format!("from {cut} on"));
        // Without a mark nothing can be missed at the end, but that there is none is said.
        let raw = RawLog::from_bytes(&db[..cut], None).unwrap();
        assert!(raw.findings().iter().any(|finding| matches!(finding, Finding::NoHighWater(_))));
    }
}

/// Flips one byte of one file, holds the raw look and the open against the truth, and puts the byte back.
fn try_flip(
    scratch: &Scratch,
    files: &mut [(PathBuf, Vec<u8>)],
    truth: &Truth,
    (file, at, mask): (usize, usize, u8),
    seen: &mut Seen,
) {
    files[file].1[at] ^= mask;
    let what = format!("{} byte {at} ^ {mask:02x}", files[file].0.display());
    let dir = scratch.fill(files);
    let said = truth.hold_raw(&RawLog::read(&dir).unwrap(), &what);
    match truth.hold_open(&dir, &what) {
        Opened::Whole => {
            assert!(!said, "{what}: damage was seen and served");
            seen.whole += 1;
        }
        Opened::Refused(_) if said => seen.raw += 1,
        Opened::Refused(error) => {
            // Only sled's own bytes were hit: the copy from before has everything.
            seen.sled += 1;
            let kept = dir.with_file_name("wal.kept");
            assert!(error.to_string().contains("wal.kept"), "{what}: {error}");
            assert!(!truth.hold_raw(&RawLog::read(&kept).unwrap(), &what), "{what}: the copy");
        }
    }
    files[file].1[at] ^= mask;
}

#[derive(Debug, Default)]
struct Seen {
    whole: usize,
    raw: usize,
    sled: usize,
}

/// sled's panics are caught; their messages would drown everything else.
fn hush() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.location().is_some_and(|place| place.file().contains("sled-0.34")) {
                others(info);
            }
        }));
    });
}

/// The places of `name` in `files` that are in use, and which file that is.
fn places(files: &[(PathBuf, Vec<u8>)], name: &str) -> (usize, std::ops::Range<usize>) {
    let file = files.iter().position(|(found, _)| found == Path::new(name)).unwrap();
    (file, 0..files[file].1.len())
}

#[test]
fn every_byte_of_a_small_log_on_disk() {
    hush();
    let made = tempfile::tempdir().unwrap();
    let (mut files, truth) = on_disk(made.path(), 6, 300);
    let scratch = Scratch::new();
    assert!(matches!(truth.hold_open(&scratch.fill(&files), "untouched"), Opened::Whole));
    let mut rng = StdRng::seed_from_u64(1);
    let mut seen = Seen::default();
    for name in ["db", "conf", "highwater"] {
        let (file, used) = places(&files, name);
        assert!(used.end <= 16 << 10, "{name}: {}", used.end);
        // The high-water file is two slots of 60 bytes, 4096 apart.
        for at in used.filter(|at| name != "highwater" || at % 4096 < 64) {
            try_flip(&scratch, &mut files, &truth, (file, at, 1 << rng.random_range(0..8)), &mut seen);
        }
    }
    println!("{seen:?}");
    assert!(seen.whole > 0 && seen.raw > 0 && seen.sled > 0);
}

/// Flips `count` places of a log of some 4 MiB, seeded.
fn many_bytes(seed: u64, count: usize) {
    hush();
    let made = tempfile::tempdir().unwrap();
    let (mut files, truth) = on_disk(made.path(), 640, 3000);
    let scratch = Scratch::new();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut seen = Seen::default();
    let (db, used) = places(&files, "db");
    assert!((4 << 20..6 << 20).contains(&used.end), "{}", used.end);
    for _ in 0..count {
        let at = rng.random_range(used.clone());
        try_flip(&scratch, &mut files, &truth, (db, at, 1 << rng.random_range(0..8)), &mut seen);
    }
    println!("seed {seed}: {seen:?}");
    assert!(seen.whole > 0 && seen.raw > 0 && seen.sled > 0);
}

// Two halves, so that two cores share the work.

#[test]
fn a_thousand_bytes_of_a_4_mib_log_on_disk() {
    many_bytes(2, 1000);
}

#[test]
fn another_thousand_bytes_of_a_4_mib_log_on_disk() {
    many_bytes(3, 1000);
}
