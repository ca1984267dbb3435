//! The high-water file: how far the log was durable, told by someone other than sled.
//!
//! sled cuts a damaged tail off without a word. This file remembers the last LSN that was durable, so that the
//! missing tail is noticed. It is written after the log is durable and before anyone is told: it may lag behind
//! the log, never lead, and what was acknowledged is never above it.
//!
//! Two slots at 0 and 4096, written in turn and synced, so that a torn write leaves the other. Little-endian:
//!
//! | at | bytes | what |
//! |---:|---:|---|
//! |  0 |  8 | magic `F9 4C 6B 57 A1 0D 0A FD` |
//! |  8 |  1 | format version: 1 |
//! |  9 |  3 | 0 |
//! | 12 |  4 | incarnation |
//! | 16 | 16 | log id |
//! | 32 |  8 | base: first LSN of the incarnation; 0 while it is not known |
//! | 40 |  8 | durable: the last LSN that was durable |
//! | 48 |  8 | sequence: one more with each write; the higher valid slot counts |
//! | 56 |  4 | CRC-32 of bytes 0 to 55 |

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use lockstep_model::{LogId, Lsn};
use uuid::Uuid;

use crate::chunk::MAX_LSN;
use crate::disk;
use crate::error::LogError;
use crate::layout::Layout;

/// The format that this program writes.
pub(crate) const FORMAT: u8 = 1;
const MAGIC: [u8; 8] = [0xF9, 0x4C, 0x6B, 0x57, 0xA1, 0x0D, 0x0A, 0xFD];
const SLOT_LEN: usize = 60;
const SLOT_DISTANCE: usize = 4096;
const FILE_LEN: usize = 2 * SLOT_DISTANCE;

/// What a high-water file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HighWater {
    /// Which log it belongs to.
    pub log: LogId,
    /// The highest incarnation that was begun.
    pub incarnation: u32,
    /// The first LSN of that incarnation; 0 while it is not known.
    pub base: Lsn,
    /// The last LSN that was durable.
    pub durable: Lsn,
    /// How often the file has been written.
    pub sequence: u64,
}

/// Why a high-water file says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HighWaterError {
    /// Neither slot is whole.
    #[error("neither slot of the high-water file is whole")]
    NoSlot,
    /// It was written by a newer program.
    #[error("the high-water file has format {0}")]
    Future(u8),
}

impl HighWater {
    /// Reads a high-water file's bytes: what it says, and whether both slots were whole.
    ///
    /// # Errors
    /// If it says nothing.
    pub fn parse(bytes: &[u8]) -> Result<(Self, bool), HighWaterError> {
        let slots = [0, SLOT_DISTANCE].map(|at| bytes.get(at..at + SLOT_LEN).map(Self::parse_slot));
        let mut future = None;
        let mut best: Option<Self> = None;
        let mut whole = 0;
        for slot in slots.into_iter().flatten() {
            match slot {
                Ok(found) => {
                    whole += 1;
                    best = best.filter(|best| best.sequence >= found.sequence).or(Some(found));
                }
                Err(version) => future = future.or(version),
            }
        }
        // A newer program may have written one slot only so far: what the other says is no longer so.
        match (future, best) {
            (Some(version), _) => Err(HighWaterError::Future(version)),
            (None, Some(best)) => Ok((best, whole == 2)),
            (None, None) => Err(HighWaterError::NoSlot),
        }
    }

    /// The slot, or the version if it is whole but from a newer program.
    fn parse_slot(raw: &[u8]) -> Result<Self, Option<u8>> {
        let word = |at: usize| raw.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let long = |at: usize| raw.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        if !raw.starts_with(&MAGIC) || crc32fast::hash(&raw[..SLOT_LEN - 4]) != word(SLOT_LEN - 4) {
            return Err(None);
        }
        if raw[8] != FORMAT {
            return Err(Some(raw[8]));
        }
        if long(40) > MAX_LSN.0 {
            return Err(None);
        }
        let mut log = [0; 16];
        log.copy_from_slice(&raw[16..32]);
        Ok(Self {
            log: LogId(Uuid::from_bytes(log)),
            incarnation: word(12),
            base: Lsn(long(32)),
            durable: Lsn(long(40)),
            sequence: long(48),
        })
    }

    fn to_slot(self) -> [u8; SLOT_LEN] {
        let mut raw = [0; SLOT_LEN];
        raw[..8].copy_from_slice(&MAGIC);
        raw[8] = FORMAT;
        raw[12..16].copy_from_slice(&self.incarnation.to_le_bytes());
        raw[16..32].copy_from_slice(self.log.0.as_bytes());
        raw[32..40].copy_from_slice(&self.base.0.to_le_bytes());
        raw[40..48].copy_from_slice(&self.durable.0.to_le_bytes());
        raw[48..56].copy_from_slice(&self.sequence.to_le_bytes());
        let sum = crc32fast::hash(&raw[..SLOT_LEN - 4]);
        raw[SLOT_LEN - 4..].copy_from_slice(&sum.to_le_bytes());
        raw
    }

    const fn slot_at(&self) -> usize {
        if self.sequence.is_multiple_of(2) { 0 } else { SLOT_DISTANCE }
    }

    /// The bytes of a high-water file that says this in both slots.
    #[must_use]
    pub fn to_file(self) -> Vec<u8> {
        let mut bytes = vec![0; FILE_LEN];
        for sequence in [self.sequence, self.sequence + 1] {
            let slot = Self { sequence, ..self };
            let at = slot.slot_at();
            bytes[at..at + SLOT_LEN].copy_from_slice(&slot.to_slot());
        }
        bytes
    }
}

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct HighWaterFile {
    file: File,
    path: PathBuf,
    now: HighWater,
}

impl HighWaterFile {
    /// Makes the file of a new log. After `Ok` it is durable; before, the directory looks empty.
    pub(crate) fn create(layout: &Layout, log: LogId) -> Result<Self, LogError> {
        let (path, new) = (layout.high_water(), layout.high_water_new());
        let start = HighWater { log, incarnation: 0, base: Lsn(0), durable: Lsn(0), sequence: 1 };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&new)
            .map_err(disk::io_error("create", &new))?;
        disk::write_all_at(&file, &start.to_file(), 0, &new)?;
        disk::sync_all(&file, &new)?;
        std::fs::rename(&new, &path).map_err(disk::io_error("create", &path))?;
        disk::sync_dir(layout.dir())?;
        disk::sync_dir(&layout.parent())?;
        Ok(Self { file, path, now: HighWater { sequence: 2, ..start } })
    }

    /// Opens the file that said `now`.
    pub(crate) fn open(layout: &Layout, now: HighWater) -> Result<Self, LogError> {
        let path = layout.high_water();
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(disk::io_error("open", &path))?;
        Ok(Self { file, path, now })
    }

    /// What the file says.
    pub(crate) const fn now(&self) -> HighWater {
        self.now
    }

    /// Begins an incarnation. After `Ok` no later open will begin it again.
    pub(crate) fn begin(&mut self, incarnation: u32, base: Lsn) -> Result<(), LogError> {
        self.write(HighWater { incarnation, base, ..self.now })
    }

    /// Says that the log is durable up to `durable`, which it is. After `Ok` that cannot be forgotten.
    pub(crate) fn raise(&mut self, durable: Lsn) -> Result<(), LogError> {
        self.write(HighWater { durable, ..self.now })
    }

    fn write(&mut self, next: HighWater) -> Result<(), LogError> {
        let next = HighWater { sequence: self.now.sequence + 1, ..next };
        disk::write_all_at(&self.file, &next.to_slot(), next.slot_at() as u64, &self.path)?;
        disk::sync_data(&self.file, &self.path)?;
        self.now = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: HighWater = HighWater {
        log: LogId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
        incarnation: 2,
        base: Lsn(5),
        durable: Lsn(9),
        sequence: 6,
    };

    #[test]
    fn golden_bytes_of_a_slot() {
        let hex: String = START.to_slot().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "f94c6b57a10d0afd01000000020000000123456789abcdef0123456789abcdef0500000000000000\
             0900000000000000060000000000000024865a14"
        );
    }

    #[test]
    fn every_flip_of_a_file_leaves_one_of_its_slots_or_nothing() {
        let file = START.to_file();
        assert_eq!(HighWater::parse(&file), Ok((HighWater { sequence: 7, ..START }, true)));
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1_u8 << (bit % 8);
            let (found, _) = HighWater::parse(&flipped).unwrap();
            assert_eq!(HighWater { sequence: 0, ..found }, HighWater { sequence: 0, ..START });
        }
        for cut in 0..file.len() {
            let found = HighWater::parse(&file[..cut]);
            assert_eq!(found.is_ok(), cut >= SLOT_LEN, "{cut}");
        }
    }

    #[test]
    fn the_file_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let mut file = HighWaterFile::create(&layout, START.log).unwrap();
        file.begin(1, Lsn(1)).unwrap();
        for durable in 1..5 {
            file.raise(Lsn(durable)).unwrap();
            let (read, both) = HighWater::parse(&std::fs::read(layout.high_water()).unwrap()).unwrap();
            assert!(both);
            assert_eq!((read.durable, read.incarnation, read), (Lsn(durable), 1, file.now()));
        }
    }

    #[test]
    fn a_newer_format_is_said() {
        let mut file = START.to_file();
        file[8] = 2;
        let sum = crc32fast::hash(&file[..SLOT_LEN - 4]);
        file[SLOT_LEN - 4..SLOT_LEN].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(HighWater::parse(&file), Err(HighWaterError::Future(2)));
    }
}
