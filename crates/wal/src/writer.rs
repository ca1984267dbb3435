//! One durable write: groups become chunks, sled takes them in one batch, our fsync follows, then the high-water file.
//!
//! The order is the whole of P1: nobody is told before the last step has succeeded, and after any error there is no
//! next write.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use lockstep_model::Lsn;

use crate::chunk::{self, Header, Key, Owner, Stamp, chunk_count};
use crate::error::LogError;
use crate::highwater::HighWaterFile;
use crate::log::{Kind, SideKey};
use crate::queue::Queued;
use crate::ranges::LsnRanges;
use crate::store::{Batch, Store};

/// The writing end of a log. The log thread owns it.
pub(crate) struct Writer {
    store: Arc<Store>,
    high_water: HighWaterFile,
    incarnation: u32,
    base: Lsn,
    /// What has left as of the last group written, and the TRIM entry in sled that says so, with its length.
    left: LsnRanges,
    trim: Option<(Lsn, u32)>,
    /// Bytes of all side values in sled.
    side_bytes: u64,
}

impl Writer {
    pub(crate) const fn new(
        store: Arc<Store>,
        high_water: HighWaterFile,
        base: Lsn,
        left: LsnRanges,
        trim: Option<(Lsn, u32)>,
        side_bytes: u64,
    ) -> Self {
        let incarnation = high_water.now().incarnation;
        Self { store, high_water, incarnation, base, left, trim, side_bytes }
    }

    /// Bytes of all side values in sled.
    pub(crate) const fn side_bytes(&self) -> u64 {
        self.side_bytes
    }

    /// Writes the groups. After `Ok` they are durable, and so is the knowledge that they are.
    ///
    /// After `Err` any part of them may be on disk, and this writer must not be used again.
    pub(crate) fn write(&mut self, groups: &[Queued]) -> Result<(), LogError> {
        let mut batch = Batch::default();
        let mut trim = None;
        for group in groups {
            self.put_entries(group, &mut batch);
            trim = self.put_removals(group, &mut batch).or(trim);
        }
        self.put_side(groups, &mut batch)?;
        if let Some((owner, turn)) = trim {
            self.put_trim(owner, turn, &mut batch);
        }
        self.store.apply(batch)?;
        let begun = Instant::now();
        self.store.flush()?;
        metrics::histogram!("lockstep_log_fsync_seconds").record(begun.elapsed().as_secs_f64());
        if let Some(last) = groups.last() {
            self.high_water.raise(last.places.last)?;
        }
        Ok(())
    }

    /// Writes the mark once more, into the other slot: then either slot alone shows that the log is not empty.
    pub(crate) fn confirm(&mut self) -> Result<(), LogError> {
        let durable = self.high_water.now().durable;
        self.high_water.raise(durable)
    }

    const fn stamp(&self, turn: u64) -> Stamp {
        Stamp { incarnation: self.incarnation, base: self.base, turn }
    }

    fn put_entries(&self, group: &Queued, batch: &mut Batch) {
        for (entry, lsn) in group.entries.iter().zip(group.places.first.0..) {
            let owner = owner(group, Lsn(lsn), entry.kind);
            chunk::encode(owner, self.stamp(group.turn), &entry.payload, |key, chunk| batch.put(key, chunk));
        }
    }

    /// Takes out what leaves. A TRIM entry is written for the last group of a write only: each would be replaced by the
    /// next in the same batch, so the others' LSNs leave at once.
    fn put_removals(&mut self, group: &Queued, batch: &mut Batch) -> Option<(Owner, u64)> {
        for &(lsn, len) in &group.places.leaving {
            take_out(lsn, len, batch);
            self.left.insert(lsn);
        }
        let lsn = group.places.trim?;
        if let Some((former, len)) = self.trim.replace((lsn, 0)) {
            take_out(former, len, batch);
            self.left.insert(former);
        }
        Some((owner(group, lsn, Kind::TRIM), group.turn))
    }

    fn put_trim(&mut self, owner: Owner, turn: u64, batch: &mut Batch) {
        let ranges = self.left.to_bytes();
        chunk::encode(owner, self.stamp(turn), &ranges, |key, chunk| batch.put(key, chunk));
        self.trim = Some((owner.place(), u32::try_from(ranges.len()).unwrap_or(u32::MAX)));
    }

    fn put_side(&mut self, groups: &[Queued], batch: &mut Batch) -> Result<(), LogError> {
        // Of several values of a key the last counts, also for the books.
        let mut last: HashMap<SideKey, (&Queued, &crate::queue::SideValue)> = HashMap::new();
        for group in groups {
            last.extend(group.side.iter().map(|(key, value)| (*key, (group, value))));
        }
        for (key, (group, value)) in last {
            let name = Key::side(&key);
            let before = self.store.get(name)?.and_then(|chunk| Header::parse(&chunk).ok());
            self.side_bytes -= before.map_or(0, |header| u64::from(header.total)).min(self.side_bytes);
            if let Some(value) = value {
                self.side_bytes += value.len() as u64;
                let owner = Owner::Side { key, at: group.places.last };
                chunk::encode(owner, self.stamp(group.turn), value, |key, chunk| batch.put(key, chunk));
            } else if before.is_some() {
                batch.remove(name);
            }
        }
        Ok(())
    }
}

const fn owner(group: &Queued, lsn: Lsn, kind: Kind) -> Owner {
    Owner::Entry { lsn, kind, group_first: group.places.first, group_last: group.places.last }
}

fn take_out(lsn: Lsn, len: u32, batch: &mut Batch) {
    for number in 0..chunk_count(len) {
        batch.remove(Key::entry(lsn, number));
    }
}
