//! The new log: everything that can be read, at the places where it stood, and a word where something is lost.

use std::fs;
use std::path::Path;

use lockstep_model::{LogId, Lsn};

use crate::check;
use crate::chunk::{self, Owner, Stamp};
use crate::disk;
use crate::highwater::HighWater;
use crate::layout::Layout;
use crate::log::{Entry, Kind, SideKey};
use crate::ranges::LsnRanges;
use crate::raw::{RawLog, RawRecord, Severity};
use crate::record::{Caller, FirstUse, Record};
use crate::repair::RepairError;
use crate::repair::survey::Survey;
use crate::store::{Batch, Store};

/// sled takes so many bytes of payload at once.
const BATCH_BYTES: usize = 1 << 20;
const CACHE_BYTES: u64 = 8 << 20;

/// Everything written has this base: whatever older incarnations left anywhere is dead beside it.
const BASE: Lsn = Lsn(1);

/// Writes the log that `survey` describes into the directory of `to`, which is there and empty, and checks it. After `Ok` it is
/// durable, and opens.
pub(super) fn build(survey: &Survey, to: &Layout, id: LogId, caller: &Caller, at_us: u64) -> Result<(), RepairError> {
    let incarnation = survey.raw.last_incarnation().saturating_add(1);
    let store = Store::open(to, CACHE_BYTES)?;
    let mut writer = Writer {
        store: &store,
        batch: Batch::default(),
        bytes: 0,
        stamp: Stamp { incarnation, base: BASE, turn: 1 },
        written: LsnRanges::default(),
        sum: Sum::default(),
    };
    survey.each_entry(caller, at_us, |lsn, entry| {
        writer.sum.add(lsn, &entry);
        writer.entry(lsn, &entry)
    })?;
    let mut last = survey.last;
    if let Some(mark) = survey.parking(at_us) {
        last = last.next();
        let encoded = Record::Mark(mark).encode();
        let entry = encoded.map_err(|source| RepairError::Record { lsn: last, source })?;
        writer.sum.add(last, &entry);
        writer.entry(last, &entry)?;
    }
    // What has changed since it was found is one more value that is lost; the sequence does not depend on any.
    let mut known = writer.written.clone();
    for side in survey.raw.side_entries().flatten() {
        if let SideKey::Summary(lsn) = side.key {
            known.insert(lsn);
        }
    }
    for side in survey.raw.side_entries().flatten() {
        // Nobody can say how an operation went that is lost, or so long gone that its summary is: who repeats its key asks anew.
        let of_unknown = |first: FirstUse| !known.contains(first.op);
        if matches!(side.key, SideKey::Idempotency(_)) && FirstUse::decode(&side.value).is_ok_and(of_unknown) {
            continue;
        }
        writer.put(Owner::Side { key: side.key, at: side.at }, &side.value)?;
    }
    let mut gone = LsnRanges::default();
    gone.insert_range(Lsn(1), last);
    let gone = gone.without(&writer.written);
    let unexplained = gone.without(&survey.left).without(&survey.lost).without(&survey.own);
    if !unexplained.is_empty() {
        return Err(RepairError::Check(format!("records {unexplained} are neither kept, lost nor gone")));
    }
    if !gone.is_empty() {
        last = last.next();
        writer.entry(last, &Entry { kind: Kind::TRIM, payload: gone.to_bytes() })?;
    }
    writer.send()?;
    let sum = writer.sum;
    store.flush()?;
    store.close()?;
    drop(store);
    write_mark(to, HighWater { log: id, incarnation, base: BASE, durable: last, sequence: 1 })?;
    look_again(to, last, &sum)
}

struct Writer<'a> {
    store: &'a Store,
    batch: Batch,
    bytes: usize,
    stamp: Stamp,
    written: LsnRanges,
    sum: Sum,
}

impl Writer<'_> {
    fn entry(&mut self, lsn: Lsn, entry: &Entry) -> Result<(), RepairError> {
        self.written.insert(lsn);
        // All of it is durable together: groups mean something above the mark only.
        let owner = Owner::Entry { lsn, kind: entry.kind, group_first: lsn, group_last: lsn };
        self.put(owner, &entry.payload)
    }

    fn put(&mut self, owner: Owner, payload: &[u8]) -> Result<(), RepairError> {
        let batch = &mut self.batch;
        chunk::encode(owner, self.stamp, payload, |key, chunk| batch.put(key, chunk));
        self.stamp.turn += 1;
        self.bytes += payload.len() + chunk::HEADER_LEN;
        if self.bytes >= BATCH_BYTES { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), RepairError> {
        self.bytes = 0;
        self.store.apply(std::mem::take(&mut self.batch))?;
        Ok(self.store.flush()?)
    }
}

/// How many entries, and a checksum over all of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    entries: u64,
    sum: u32,
}

impl Sum {
    fn add(&mut self, lsn: Lsn, entry: &Entry) {
        let mut sum = crc32fast::Hasher::new_with_initial(self.sum);
        sum.update(&lsn.0.to_le_bytes());
        sum.update(&[entry.kind.0]);
        sum.update(&entry.payload);
        self.sum = sum.finalize();
        self.entries += 1;
    }
}

fn write_mark(to: &Layout, mark: HighWater) -> Result<(), RepairError> {
    write_synced(&to.high_water(), &mark.to_file())?;
    Ok(disk::sync_dir(to.dir())?)
}

/// After `Ok` the file is there and durable, but for its name.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), RepairError> {
    fs::write(path, bytes).map_err(disk::io_error("write", path))?;
    let file = fs::File::open(path).map_err(disk::io_error("open", path))?;
    Ok(disk::sync_all(&file, path)?)
}

/// Reads the new log twice, raw and through sled: both have to show what was written.
fn look_again(to: &Layout, last: Lsn, written: &Sum) -> Result<(), RepairError> {
    let raw = RawLog::read(to.dir())?;
    if let Some(found) = raw.findings().iter().find(|finding| finding.severity() == Severity::Damage) {
        return Err(RepairError::Check(found.to_string()));
    }
    let mut sum = Sum::default();
    for found in raw.records() {
        let RawRecord { lsn, entry, .. } = found?;
        if entry.kind != Kind::TRIM {
            sum.add(lsn, &entry);
        }
    }
    if sum != *written || raw.last() != last {
        return Err(RepairError::Check(format!("{} records instead of {}", sum.entries, written.entries)));
    }
    let store = Store::open(to, CACHE_BYTES)?;
    check::everything(&store, to.dir(), last)?;
    Ok(store.close()?)
}
