//! Damage of every kind: never a panic that escapes, never a record that was not written, and loss is said.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use lockstep_model::Lsn;
use lockstep_wal::chunk::{Owner, Stamp, encode};
use lockstep_wal::{Entry, ErrorClass, Finding, HighWater, Kind, Log, LogError, RawLog, Severity, SideKey};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{ID, all, entry, group, open, payload, removal, with_side};

/// What was ever written, and which of it is live.
struct Truth {
    written: BTreeMap<Lsn, Entry>,
    live: Vec<Lsn>,
}

impl Truth {
    /// Holds a raw look against the truth; gives whether damage was said.
    fn hold_raw(&self, raw: &RawLog, what: &str) -> bool {
        let mut shown = Vec::new();
        for record in raw.records() {
            let record = record.unwrap();
            if !record.entry.kind.is_of_the_log() {
                assert_eq!(Some(&record.entry), self.written.get(&record.lsn), "{what}: record {}", record.lsn);
                shown.push(record.lsn);
            }
        }
        let said = raw.severity() == Severity::Damage;
        if !said {
            assert_eq!(shown, self.live, "{what}: nothing was said; {:?}", raw.findings());
        }
        said
    }

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

/// A log as bytes, without sled: seven records, two removed and still there, one of three chunks, one dead.
fn in_memory() -> (Vec<u8>, Vec<u8>, Truth) {
    let mut db = vec![0; 20];
    let mut written = BTreeMap::new();
    let mut put = |incarnation, base, lsn, kind, bytes: &[u8]| {
        let owner = Owner::Entry { lsn: Lsn(lsn), kind: Kind(kind), group_first: Lsn(lsn), group_last: Lsn(lsn) };
        encode(owner, Stamp { incarnation, base: Lsn(base), turn: lsn }, bytes, |_, chunk| {
            db.extend_from_slice(&chunk);
            db.extend_from_slice(&[0xF9, 0x4C, 3]);
        });
        if kind < 200 && (incarnation, lsn) != (1, 6) {
            written.insert(Lsn(lsn), entry(kind, bytes));
        }
    };
    put(1, 1, 2, 1, b"two, which has left");
    put(1, 1, 3, 1, &payload(3, 900));
    put(1, 1, 4, 2, b"four, which has left");
    put(1, 1, 5, 1, &payload(5, 8500));
    put(1, 1, 6, 1, b"never acknowledged");
    put(2, 6, 6, 201, &[0; 28]);
    // 1, 2 and 4 have left.
    put(2, 6, 7, 200, &[1, 1, 2, 0]);
    put(2, 6, 8, 1, b"eight");
    let mark = HighWater { log: ID, incarnation: 2, base: Lsn(6), durable: Lsn(8), sequence: 4 };
    (db, mark.to_file(), Truth { written, live: [3, 5, 8].map(Lsn).to_vec() })
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

/// Gives the BOOT entry in `db` the id that the mark has.
fn with_id(db: Vec<u8>) -> Vec<u8> {
    let mut boot = 2_u32.to_le_bytes().to_vec();
    boot.extend_from_slice(&6_u64.to_le_bytes());
    boot.extend_from_slice(ID.0.as_bytes());
    let owner = Owner::Entry { lsn: Lsn(6), kind: Kind::BOOT, group_first: Lsn(6), group_last: Lsn(6) };
    let stamp = Stamp { incarnation: 2, base: Lsn(6), turn: 6 };
    let mut out = db;
    let mut replace = |old: &[u8], new: &[u8]| {
        let at = out.windows(old.len()).position(|window| window == old).unwrap();
        out[at..at + old.len()].copy_from_slice(new);
    };
    encode(owner, stamp, &[0; 28], |_, old| encode(owner, stamp, &boot, |_, new| replace(&old, &new)));
    out
}

/// A closed log on disk: its files, and what is in it.
fn on_disk(dir: &Path, records: u64, bytes: usize) -> (Vec<(PathBuf, Vec<u8>)>, Truth) {
    let (log, _) = open(dir).unwrap();
    let mut written = BTreeMap::new();
    let mut live = Vec::new();
    for number in 0..records {
        let new = entry(u8::try_from(number % 5 + 1).unwrap(), payload(number, bytes));
        let appended = log.append(group(vec![new.clone()])).unwrap();
        appended.ticket.wait_blocking().unwrap();
        written.insert(appended.first, new);
        if number % 3 == 1 {
            log.append(removal([appended.first.0])).unwrap().ticket.wait_blocking().unwrap();
        } else {
            live.push(appended.first);
        }
    }
    let side = with_side(SideKey::Summary(Lsn(2)), Some(b"summary"));
    log.append(side).unwrap().ticket.wait_blocking().unwrap();
    log.close().unwrap();
    drop(log);
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (PathBuf::from(path.file_name().unwrap()), fs::read(&path).unwrap()))
        .collect();
    (files, Truth { written, live })
}

/// A directory that is filled with a log again and again.
struct Scratch {
    root: tempfile::TempDir,
}

impl Scratch {
    /// In memory if the machine lets us: thousands of logs are written here.
    fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let root = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        Self { root: root.unwrap() }
    }

    fn fill(&self, files: &[(PathBuf, Vec<u8>)]) -> PathBuf {
        let dir = self.root.path().join("wal");
        drop(fs::remove_dir_all(&dir));
        drop(fs::remove_dir_all(self.root.path().join("wal.kept")));
        fs::create_dir_all(dir.join("blobs")).unwrap();
        for (name, bytes) in files {
            fs::write(dir.join(name), bytes).unwrap();
        }
        dir
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
