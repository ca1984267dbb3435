//! What the tests of both logs share.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_model::{LogId, Lsn};
use lockstep_wal::{Class, Durability, Entry, Group, Kind, Log, LogError, OpenOptions, OpenReport, SideKey, SledLog};
use uuid::Uuid;

pub const ID: LogId = LogId(Uuid::from_u128(0x1234));

pub fn options(dir: &Path) -> OpenOptions {
    OpenOptions { reserve_bytes: 0, floor_bytes: 0, new_id: ID, ..OpenOptions::new(dir) }
}

pub fn open(dir: &Path) -> Result<(Arc<SledLog>, OpenReport), LogError> {
    SledLog::open(options(dir))
}

pub fn entry(kind: u8, payload: impl Into<Vec<u8>>) -> Entry {
    Entry { kind: Kind(kind), payload: payload.into() }
}

/// A payload that tells its number, so that a wrong one is noticed.
pub fn payload(number: u64, len: usize) -> Vec<u8> {
    number.to_le_bytes().iter().copied().cycle().take(len).collect()
}

pub fn group(entries: Vec<Entry>) -> Group {
    Group { entries, ..Group::new(Durability::Flush, Class::Intake) }
}

pub fn removal(lsns: impl IntoIterator<Item = u64>) -> Group {
    Group { remove: lsns.into_iter().map(Lsn).collect(), ..Group::new(Durability::Flush, Class::Drain) }
}

pub fn all(log: &dyn Log) -> Vec<(Lsn, Entry)> {
    let mut found = Vec::new();
    log.scan(Lsn(0), &mut |lsn, entry| {
        found.push((lsn, entry));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

pub fn summaries(log: &dyn Log, below: u64) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    log.scan_summaries(Lsn(below), &mut |lsn, value| {
        found.push((lsn.0, value));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

pub fn with_side(key: SideKey, value: Option<&[u8]>) -> Group {
    Group { side: vec![(key, value.map(<[u8]>::to_vec))], ..Group::new(Durability::Flush, Class::Drain) }
}

/// Makes the first chunk one of another format, as a later program would: with sums that match.
pub fn flip_version(db: &mut [u8], version: u8) {
    let at = db.windows(8).position(|window| window == lockstep_wal::chunk::MAGIC).unwrap();
    db[at + 8] = version;
    let sum = crc32fast::hash(&db[at..at + 72]);
    db[at + 72..at + 76].copy_from_slice(&sum.to_le_bytes());
}

/// Looks until it is so, but not for ever.
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "it did not come: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
