//! Logs whose content is known, as bytes and as files, and what may be shown of them when they are damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_model::Lsn;
use lockstep_wal::chunk::{Owner, Stamp, encode};
use lockstep_wal::{Entry, HighWater, Kind, Log, RawLog, Severity, SideKey};

use crate::support::{ID, entry, group, open, payload, removal, with_side};

/// What was ever written, and which of it is live.
pub struct Truth {
    pub written: BTreeMap<Lsn, Entry>,
    pub live: Vec<Lsn>,
}

impl Truth {
    /// The live records that a raw look shows, without the log's own; each must say what was written.
    pub fn shown(&self, raw: &RawLog, what: &str) -> Vec<Lsn> {
        let records = raw.records().map(Result::unwrap).filter(|record| !record.entry.kind.is_of_the_log());
        records
            .map(|record| {
                assert_eq!(Some(&record.entry), self.written.get(&record.lsn), "{what}: record {}", record.lsn);
                record.lsn
            })
            .collect()
    }

    /// Holds a raw look against the truth; gives whether damage was said.
    pub fn hold_raw(&self, raw: &RawLog, what: &str) -> bool {
        let shown = self.shown(raw, what);
        let said = raw.severity() == Severity::Damage;
        if !said {
            assert_eq!(shown, self.live, "{what}: nothing was said; {:?}", raw.findings());
        }
        said
    }
}

/// A log as bytes, without sled: seven records, two removed and still there, one of three chunks, one dead.
pub fn in_memory() -> (Vec<u8>, Vec<u8>, Truth) {
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

/// Gives the BOOT entry in `db` the id that the mark has.
pub fn with_id(db: Vec<u8>) -> Vec<u8> {
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
pub fn on_disk(dir: &Path, records: u64, bytes: usize) -> (Vec<(PathBuf, Vec<u8>)>, Truth) {
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
pub struct Scratch {
    root: tempfile::TempDir,
}

impl Scratch {
    /// In memory if the machine lets us: thousands of logs are written here.
    pub fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let root = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
        Self { root: root.unwrap() }
    }

    pub fn fill(&self, files: &[(PathBuf, Vec<u8>)]) -> PathBuf {
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
