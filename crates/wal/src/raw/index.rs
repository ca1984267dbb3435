//! The first pass of a raw read: every chunk in the bytes, by its magic, whatever lies around it.
//!
//! Memory is bounded by the number of different chunks, some 64 bytes each; their bytes are not kept. A whole chunk is
//! stepped over, so that nothing inside it is taken for one; a damaged one is not, since its length may lie.

use std::collections::{BTreeMap, HashMap};
use std::io;

use lockstep_model::Lsn;

use crate::chunk::{CHUNK_MAX, ChunkError, HEADER_LEN, Header, Owner, find_magic};
use crate::log::{Kind, SideKey};
use crate::raw::source::Source;

const WINDOW: usize = 1 << 20;
/// Copies of chunks that sled has rewritten are thrown out when so many refs have come together.
const TIDY_AT: usize = 1 << 16;

/// A whole chunk of an entry, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRef {
    pub(crate) lsn: Lsn,
    pub(crate) incarnation: u32,
    pub(crate) number: u32,
    pub(crate) total: u32,
    pub(crate) kind: Kind,
    pub(crate) group_first: Lsn,
    pub(crate) group_last: Lsn,
    pub(crate) offset: u64,
}

/// A whole chunk of a side value, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SideRef {
    pub(crate) at: Lsn,
    pub(crate) incarnation: u32,
    pub(crate) turn: u64,
    pub(crate) offset: u64,
}

/// Everything found.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Sorted by LSN, incarnation and number, each once.
    pub(crate) entries: Vec<EntryRef>,
    /// Per key and incarnation the newest.
    pub(crate) side: HashMap<SideKey, Vec<SideRef>>,
    /// The base of each incarnation that wrote a whole chunk.
    pub(crate) bases: BTreeMap<u32, Lsn>,
    /// Entries of which a damaged chunk with a sound header was found, and where the first was.
    pub(crate) damaged: BTreeMap<Lsn, u64>,
    /// Damaged side values, and places where a magic stands before a damaged header.
    pub(crate) strays: u64,
    /// The highest format found that this program does not know.
    pub(crate) future: Option<u8>,
    tidy_at: usize,
}

impl Index {
    /// Reads all of `source`.
    pub(crate) fn build(source: &Source) -> io::Result<Self> {
        let mut index = Self { tidy_at: TIDY_AT, ..Self::default() };
        let mut window = vec![0; WINDOW + CHUNK_MAX];
        let mut start = 0;
        loop {
            let filled = source.read_at(start, &mut window)?;
            let at_end = filled < window.len();
            let bytes = &window[..filled];
            // Chunks that begin in the last CHUNK_MAX bytes are left to the next window, which has them whole.
            let limit = if at_end { filled } else { WINDOW };
            let next = index.take(bytes, limit, start);
            if at_end {
                index.tidy();
                return Ok(index);
            }
            start += next as u64;
        }
    }

    /// Takes the chunks that begin before `limit`; gives where to go on, which may be behind it.
    fn take(&mut self, bytes: &[u8], limit: usize, start: u64) -> usize {
        let mut at = 0;
        while let Some(found) = find_magic(bytes, at).filter(|&found| found < limit) {
            at = found + self.take_one(&bytes[found..], start + found as u64);
        }
        at.max(limit)
    }

    /// Takes what stands behind a magic; gives how many bytes to step over.
    fn take_one(&mut self, bytes: &[u8], offset: u64) -> usize {
        let header = match Header::parse(bytes) {
            Ok(header) => header,
            Err(ChunkError::Future(version)) => {
                self.future = self.future.max(Some(version));
                return 1;
            }
            Err(_) => {
                self.strays += 1;
                return 1;
            }
        };
        if header.check(bytes).is_err() {
            match header.owner {
                Owner::Entry { lsn, .. } => {
                    self.damaged.entry(lsn).or_insert(offset);
                }
                Owner::Side { .. } => self.strays += 1,
            }
            return 1;
        }
        let incarnation = header.stamp.incarnation;
        self.bases.insert(incarnation, header.stamp.base);
        match header.owner {
            Owner::Entry { lsn, kind, group_first, group_last } => {
                let (number, total) = (header.number, header.total);
                self.entries.push(EntryRef { lsn, incarnation, number, total, kind, group_first, group_last, offset });
                if self.entries.len() >= self.tidy_at {
                    self.tidy();
                }
            }
            Owner::Side { key, at } => {
                let new = SideRef { at, incarnation, turn: header.stamp.turn, offset };
                let known = self.side.entry(key).or_default();
                match known.iter_mut().find(|known| known.incarnation == incarnation) {
                    Some(known) if known.turn >= new.turn => {}
                    Some(known) => *known = new,
                    None => known.push(new),
                }
            }
        }
        HEADER_LEN + header.body_len()
    }

    fn tidy(&mut self) {
        self.entries.sort_unstable_by_key(|entry| (entry.lsn, entry.incarnation, entry.number, entry.offset));
        self.entries.dedup_by_key(|entry| (entry.lsn, entry.incarnation, entry.number));
        self.tidy_at = (self.entries.len() * 2).max(TIDY_AT);
    }

    /// Whether what `incarnation` wrote at `place` was never durable: a later incarnation found the place free.
    pub(crate) fn is_dead(&self, incarnation: u32, place: Lsn) -> bool {
        self.bases.range(incarnation.saturating_add(1)..).any(|(_, &base)| base <= place)
    }

    /// Throws out what is dead.
    pub(crate) fn bury(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| !self.is_dead(entry.incarnation, entry.lsn));
        self.entries = entries;
        let mut side = std::mem::take(&mut self.side);
        side.retain(|_, found| {
            found.retain(|value| !self.is_dead(value.incarnation, value.at));
            !found.is_empty()
        });
        self.side = side;
    }
}
