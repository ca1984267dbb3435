//! The bytes on disk: format v1. This file holds the table, the codec and the golden bytes; nothing else knows them.
//!
//! Everything is stored in chunks of at most [`CHUNK_MAX`] bytes, each a value in sled. A chunk tells by itself what
//! it belongs to, so that it can be found in the raw bytes of sled's file by its magic, checked and joined without
//! sled. Integers are little-endian, except in sled keys, where big-endian makes byte order LSN order.
//!
//! | at | bytes | what |
//! |---:|---:|---|
//! |  0 |  8 | magic `F9 4C 6B 57 A1 0D 0A FE` |
//! |  8 |  1 | format version: 1. Magic and version stay here in every later format |
//! |  9 |  1 | space: 1 entry, 2 summary, 3 idempotency key, 4 note |
//! | 10 |  1 | kind of the entry; 0 in the other spaces |
//! | 11 |  1 | 0 |
//! | 12 |  4 | number of this chunk, from 0 |
//! | 16 |  4 | count of chunks: `max(1, ceil(total / 4016))` |
//! | 20 |  4 | incarnation that wrote it, from 1 |
//! | 24 |  8 | base: the first LSN of that incarnation |
//! | 32 |  8 | place: the entry's LSN; in the other spaces the last LSN given when it was written |
//! | 40 | 16 | entry: first and last LSN of its group, 8 bytes each; summary: LSN, then zeros; idempotency key: its 16 bytes; note: its byte, then zeros |
//! | 56 |  4 | total: length of the whole payload |
//! | 60 |  2 | length of the body: 4016, in the last chunk the rest |
//! | 62 |  2 | mask, see below |
//! | 64 |  8 | turn: which append of the incarnation, from 1. Of two values of one side key, the one with the higher incarnation and turn is the newer |
//! | 72 |  4 | CRC-32 (IEEE) of bytes 0 to 71 |
//! | 76 |  4 | CRC-32 (IEEE) of the sled key, bytes 0 to 75, and the body as it is on disk |
//! | 80 |    | body |
//!
//! The sled key is made from the header: space, then big-endian, for an entry LSN (8) and chunk number (4), for a summary
//! its LSN (8), for an idempotency key its 16 bytes, for a note its byte. (sled shortens keys on disk, hence not beside
//! the value.)
//!
//! Mask: whoever can put bytes into a payload must not be able to plant a chunk in the raw file. So the body is XORed, two
//! bytes at a time, with the lowest 16-bit mask under which the magic does not occur in it; that is nearly always 0.
//!
//! Dead chunks: sled keeps removed and never-acknowledged bytes around. A chunk of incarnation i at place L is dead if
//! any whole chunk has an incarnation n > i with base <= L: that incarnation began by finding L free.

mod joiner;

use std::fmt;

use lockstep_model::Lsn;

pub use joiner::Joiner;

use crate::log::{Kind, MAX_PAYLOAD, MAX_SIDE, SideKey};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u8 = 1;
/// What a chunk begins with.
pub const MAGIC: [u8; 8] = [0xF9, 0x4C, 0x6B, 0x57, 0xA1, 0x0D, 0x0A, 0xFE];
/// The longest chunk: sled keeps values of this size out of blob files.
pub const CHUNK_MAX: usize = 4096;
/// Bytes before the body.
pub const HEADER_LEN: usize = 80;
/// The longest body.
pub const BODY_MAX: usize = CHUNK_MAX - HEADER_LEN;

/// No LSN is above this; whoever reads a higher one reads no log. It keeps arithmetic on LSNs from overflowing.
pub const MAX_LSN: Lsn = Lsn(u64::MAX / 2);

const HEADER_SUM: usize = 72;
const BODY_SUM: usize = 76;

/// The first byte of a sled key, and byte 9 of a chunk.
pub(crate) mod space {
    pub(crate) const ENTRY: u8 = 1;
    pub(crate) const SUMMARY: u8 = 2;
    pub(crate) const IDEMPOTENCY: u8 = 3;
    pub(crate) const NOTE: u8 = 4;
}

/// What is wrong with a chunk, or with the chunks of one record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The bytes end before the chunk does.
    #[error("the chunk is cut short")]
    Short,
    /// It does not begin with the magic.
    #[error("there is no chunk here")]
    Magic,
    /// It was written by a newer program.
    #[error("the chunk has format {0}")]
    Future(u8),
    /// The header does not match its checksum.
    #[error("the checksum of the header does not match")]
    Header,
    /// The checksum matches, but the header says what no writer writes.
    #[error("the header has an impossible {0}")]
    Field(&'static str),
    /// Key, header and body do not match their checksum.
    #[error("the checksum of the body does not match")]
    Body,
    /// The chunk lies under the key of another.
    #[error("the chunk lies under a key that is not its own")]
    Key,
    /// A chunk of the record is not there.
    #[error("chunk {0} of the record is missing")]
    Missing(u32),
    /// A chunk belongs to another record than the first.
    #[error("chunk {0} does not belong to the others of its record")]
    Stray(u32),
}

/// When, and by which incarnation of the log, a chunk was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The incarnation, from 1.
    pub incarnation: u32,
    /// The first LSN of the incarnation.
    pub base: Lsn,
    /// Which append of the incarnation, from 1.
    pub turn: u64,
}

/// What a chunk belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// An entry of the sequence.
    Entry {
        /// Its place.
        lsn: Lsn,
        /// What it is.
        kind: Kind,
        /// The first LSN of the group that it came with.
        group_first: Lsn,
        /// The last LSN of that group.
        group_last: Lsn,
    },
    /// A value beside the sequence.
    Side {
        /// Its name.
        key: SideKey,
        /// The last LSN given when it was written.
        at: Lsn,
    },
}

impl Owner {
    /// Where in the sequence it was written: what the rule about dead chunks looks at.
    #[must_use]
    pub const fn place(&self) -> Lsn {
        match self {
            Self::Entry { lsn, .. } => *lsn,
            Self::Side { at, .. } => *at,
        }
    }
}

/// The header of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it belongs to.
    pub owner: Owner,
    /// When it was written.
    pub stamp: Stamp,
    /// Which chunk of the record, from 0.
    pub number: u32,
    /// Length of the record's whole payload.
    pub total: u32,
    mask: u16,
}

impl Header {
    /// How many chunks the record has.
    #[must_use]
    pub const fn count(&self) -> u32 {
        chunk_count(self.total)
    }

    /// How many bytes of payload this chunk has.
    #[must_use]
    pub const fn body_len(&self) -> usize {
        let before = self.number as usize * BODY_MAX;
        let rest = (self.total as usize).saturating_sub(before);
        if rest < BODY_MAX { rest } else { BODY_MAX }
    }

    /// The chunk's key in sled.
    #[must_use]
    pub fn key(&self) -> Key {
        match &self.owner {
            Owner::Entry { lsn, .. } => Key::entry(*lsn, self.number),
            Owner::Side { key, .. } => Key::side(key),
        }
    }

    /// Reads the header that `bytes` begin with. What follows the header is not looked at.
    ///
    /// # Errors
    /// [`ChunkError::Short`], [`ChunkError::Magic`], [`ChunkError::Future`], [`ChunkError::Header`], [`ChunkError::Field`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ChunkError> {
        if bytes.get(..MAGIC.len()).ok_or(ChunkError::Short)? != MAGIC {
            return Err(ChunkError::Magic);
        }
        let version = *bytes.get(MAGIC.len()).ok_or(ChunkError::Short)?;
        let raw: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(ChunkError::Short)?;
        if version != FORMAT {
            // A flipped version byte is damage, not the future.
            let mut ours = *raw;
            ours[MAGIC.len()] = FORMAT;
            let damaged = crc32fast::hash(&ours[..HEADER_SUM]) == u32_at(raw, HEADER_SUM);
            return Err(if damaged || version == 0 { ChunkError::Header } else { ChunkError::Future(version) });
        }
        if crc32fast::hash(&raw[..HEADER_SUM]) != u32_at(raw, HEADER_SUM) {
            return Err(ChunkError::Header);
        }
        Self::from_checked(raw)
    }

    fn from_checked(raw: &[u8; HEADER_LEN]) -> Result<Self, ChunkError> {
        let place = Lsn(u64_at(raw, 32));
        if place > MAX_LSN {
            return Err(ChunkError::Field("place"));
        }
        let (space, kind) = (raw[9], Kind(raw[10]));
        let owner = match space {
            space::ENTRY => {
                let (group_first, group_last) = (Lsn(u64_at(raw, 40)), Lsn(u64_at(raw, 48)));
                if place.0 == 0 || place < group_first || place > group_last || group_last > MAX_LSN {
                    return Err(ChunkError::Field("group"));
                }
                Owner::Entry { lsn: place, kind, group_first, group_last }
            }
            space::SUMMARY => Owner::Side { key: SideKey::Summary(Lsn(u64_at(raw, 40))), at: place },
            space::IDEMPOTENCY => {
                let mut key = [0; 16];
                key.copy_from_slice(&raw[40..56]);
                Owner::Side { key: SideKey::Idempotency(key), at: place }
            }
            space::NOTE => Owner::Side { key: SideKey::Note(raw[40]), at: place },
            _ => return Err(ChunkError::Field("space")),
        };
        let stamp = Stamp { incarnation: u32_at(raw, 20), base: Lsn(u64_at(raw, 24)), turn: u64_at(raw, 64) };
        let header = Self { owner, stamp, number: u32_at(raw, 12), total: u32_at(raw, 56), mask: u16_at(raw, 62) };
        let longest = match owner {
            Owner::Entry { .. } => MAX_PAYLOAD,
            Owner::Side { .. } => MAX_SIDE,
        };
        if header.total as usize > longest {
            return Err(ChunkError::Field("total length"));
        }
        if header.count() != u32_at(raw, 16) || header.number >= header.count() {
            return Err(ChunkError::Field("chunk number"));
        }
        if header.body_len() != usize::from(u16_at(raw, 60)) {
            return Err(ChunkError::Field("body length"));
        }
        // What is left must be what encoding gives: unused bytes are zero.
        if header.to_bytes()[..HEADER_SUM] != raw[..HEADER_SUM] {
            return Err(ChunkError::Field("unused byte"));
        }
        Ok(header)
    }

    fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut raw = [0; HEADER_LEN];
        raw[..8].copy_from_slice(&MAGIC);
        raw[8] = FORMAT;
        match self.owner {
            Owner::Entry { kind, group_first, group_last, .. } => {
                raw[9] = space::ENTRY;
                raw[10] = kind.0;
                raw[40..48].copy_from_slice(&group_first.0.to_le_bytes());
                raw[48..56].copy_from_slice(&group_last.0.to_le_bytes());
            }
            Owner::Side { key: SideKey::Summary(lsn), .. } => {
                raw[9] = space::SUMMARY;
                raw[40..48].copy_from_slice(&lsn.0.to_le_bytes());
            }
            Owner::Side { key: SideKey::Idempotency(key), .. } => {
                raw[9] = space::IDEMPOTENCY;
                raw[40..56].copy_from_slice(&key);
            }
            Owner::Side { key: SideKey::Note(note), .. } => {
                raw[9] = space::NOTE;
                raw[40] = note;
            }
        }
        raw[12..16].copy_from_slice(&self.number.to_le_bytes());
        raw[16..20].copy_from_slice(&self.count().to_le_bytes());
        raw[20..24].copy_from_slice(&self.stamp.incarnation.to_le_bytes());
        raw[24..32].copy_from_slice(&self.stamp.base.0.to_le_bytes());
        raw[32..40].copy_from_slice(&self.owner.place().0.to_le_bytes());
        raw[56..60].copy_from_slice(&self.total.to_le_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "at most BODY_MAX, which is below 2^16")]
        let length = self.body_len() as u16;
        raw[60..62].copy_from_slice(&length.to_le_bytes());
        raw[62..64].copy_from_slice(&self.mask.to_le_bytes());
        raw[64..72].copy_from_slice(&self.stamp.turn.to_le_bytes());
        let sum = crc32fast::hash(&raw[..HEADER_SUM]);
        raw[HEADER_SUM..BODY_SUM].copy_from_slice(&sum.to_le_bytes());
        raw
    }

    fn body_sum(&self, raw_header: &[u8], masked: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(self.key().as_ref());
        sum.update(raw_header);
        sum.update(masked);
        sum.finalize()
    }

    /// Checks the chunk that `bytes` begin with against its second checksum and appends its part of the payload to `to`.
    ///
    /// # Errors
    /// [`ChunkError::Short`] or [`ChunkError::Body`]; `to` is unchanged then.
    pub fn unpack(&self, bytes: &[u8], to: &mut Vec<u8>) -> Result<(), ChunkError> {
        let masked = self.check(bytes)?;
        let start = to.len();
        to.extend_from_slice(masked);
        apply_mask(&mut to[start..], self.mask);
        Ok(())
    }

    /// The body of the chunk that `bytes` begin with, as far as it goes, whether it is whole or not.
    pub(crate) fn unmasked(&self, bytes: &[u8]) -> Vec<u8> {
        let end = bytes.len().min(HEADER_LEN + self.body_len());
        let mut body = bytes.get(HEADER_LEN..end).unwrap_or_default().to_vec();
        apply_mask(&mut body, self.mask);
        body
    }

    /// Checks the chunk that `bytes` begin with and gives its body as it is on disk.
    pub(crate) fn check<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], ChunkError> {
        let body = bytes.get(HEADER_LEN..HEADER_LEN + self.body_len()).ok_or(ChunkError::Short)?;
        let stored = bytes.first_chunk().map(|raw: &[u8; HEADER_LEN]| u32_at(raw, BODY_SUM));
        if stored != Some(self.body_sum(&bytes[..BODY_SUM], body)) {
            return Err(ChunkError::Body);
        }
        Ok(body)
    }

    fn pack(mut self, body: &[u8]) -> Vec<u8> {
        self.mask = mask_for(body);
        let mut chunk = Vec::with_capacity(HEADER_LEN + body.len());
        chunk.extend_from_slice(&self.to_bytes());
        chunk.extend_from_slice(body);
        apply_mask(&mut chunk[HEADER_LEN..], self.mask);
        let sum = self.body_sum(&chunk[..BODY_SUM], &chunk[HEADER_LEN..]);
        chunk[BODY_SUM..HEADER_LEN].copy_from_slice(&sum.to_le_bytes());
        chunk
    }
}

/// How many chunks a payload of `total` bytes takes.
#[must_use]
pub const fn chunk_count(total: u32) -> u32 {
    let full = total.div_ceil(BODY_LEN);
    if full == 0 { 1 } else { full }
}

#[expect(clippy::cast_possible_truncation, reason = "4016")]
const BODY_LEN: u32 = BODY_MAX as u32;

/// Encodes a payload as chunks and gives each to `put` with its sled key, in order.
///
/// The payload is at most [`MAX_PAYLOAD`] bytes long, of a side value at most [`MAX_SIDE`]: the log has seen to that.
pub fn encode(owner: Owner, stamp: Stamp, payload: &[u8], mut put: impl FnMut(Key, Vec<u8>)) {
    let total = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    for number in 0..chunk_count(total) {
        let header = Header { owner, stamp, number, total, mask: 0 };
        let start = number as usize * BODY_MAX;
        put(header.key(), header.pack(&payload[start..start + header.body_len()]));
    }
}

/// A sled key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    bytes: [u8; 17],
    len: u8,
}

impl Key {
    /// The key of a chunk of an entry.
    #[must_use]
    pub fn entry(lsn: Lsn, number: u32) -> Self {
        Self::of(space::ENTRY, &lsn.0.to_be_bytes(), &number.to_be_bytes())
    }

    /// The key of a value beside the sequence.
    #[must_use]
    pub fn side(key: &SideKey) -> Self {
        match key {
            SideKey::Summary(lsn) => Self::of(space::SUMMARY, &lsn.0.to_be_bytes(), &[]),
            SideKey::Idempotency(key) => Self::of(space::IDEMPOTENCY, key, &[]),
            SideKey::Note(note) => Self::of(space::NOTE, &[*note], &[]),
        }
    }

    fn of(space: u8, first: &[u8], second: &[u8]) -> Self {
        let mut bytes = [0; 17];
        let mut len = 0;
        for byte in std::iter::once(&space).chain(first).chain(second) {
            bytes[usize::from(len)] = *byte;
            len += 1;
        }
        Self { bytes, len }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:02x?})", self.as_ref())
    }
}

/// Where the magic is in `bytes`, from `from` on.
///
/// `skip_until` is the one search for a byte in std that is compiled with optimisation in debug builds, too.
#[must_use]
pub(crate) fn find_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let mut rest = bytes.get(at..)?;
        let passed = std::io::BufRead::skip_until(&mut rest, MAGIC[0]).ok()?;
        let found = at + passed.checked_sub(1)?;
        let here = bytes.get(found..)?;
        if here.starts_with(&MAGIC) {
            return Some(found);
        }
        at = found + 1;
    }
}

fn mask_for(body: &[u8]) -> u16 {
    if find_magic(body, 0).is_none() {
        return 0;
    }
    // Each place of the body rules out at most one mask, so that of 2^16 most are left, whoever made the body.
    let mut ruled_out: Vec<u16> = Vec::new();
    for (at, window) in body.windows(MAGIC.len()).enumerate() {
        let mut mask = [0; 2];
        mask[at % 2] = window[0] ^ MAGIC[0];
        mask[(at + 1) % 2] = window[1] ^ MAGIC[1];
        if window.iter().zip(MAGIC).enumerate().all(|(i, (byte, magic))| byte ^ magic == mask[(at + i) % 2]) {
            ruled_out.push(u16::from_le_bytes(mask));
        }
    }
    ruled_out.sort_unstable();
    ruled_out.dedup();
    let free = ruled_out.iter().zip(0..).find(|&(&mask, i)| mask != i).map_or(ruled_out.len(), |(_, i)| usize::from(i));
    u16::try_from(free).unwrap_or(u16::MAX)
}

fn apply_mask(body: &mut [u8], mask: u16) {
    if mask != 0 {
        let mask = mask.to_le_bytes();
        for (i, byte) in body.iter_mut().enumerate() {
            *byte ^= mask[i % 2];
        }
    }
}

fn u16_at(raw: &[u8; HEADER_LEN], at: usize) -> u16 {
    u16::from_le_bytes([raw[at], raw[at + 1]])
}

fn u32_at(raw: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

fn u64_at(raw: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from(u32_at(raw, at)) | u64::from(u32_at(raw, at + 4)) << 32
}

#[cfg(test)]
mod tests;
