//! The first pass of a raw read: every chunk in the bytes, by its magic, whatever lies around it.
//!
//! Memory is bounded by the number of different chunks, some 50 bytes each; their bytes are not kept. A whole chunk is
//! stepped over, so that nothing inside it is taken for one; a damaged one is not, since its length may lie.

use std::collections::{BTreeMap, HashMap};
use std::io;

use lockstep_model::Lsn;

use crate::chunk::{BODY_MAX, CHUNK_MAX, ChunkError, HEADER_LEN, Header, Owner, find_magic};
use crate::log::{Kind, SideKey};
use crate::raw::source::Source;

const WINDOW: usize = 1 << 20;
/// Room for so many refs is taken at first.
const ROOM: usize = 1 << 14;

/// A whole chunk of an entry, and where it is. There may be millions: 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRef {
    pub(crate) lsn: Lsn,
    pub(crate) offset: u64,
    pub(crate) incarnation: u32,
    pub(crate) total: u32,
    /// How many records of its group come before it.
    before: u32,
    /// How many records of its group come behind it.
    behind: u32,
    pub(crate) number: u16,
    pub(crate) kind: Kind,
}

impl EntryRef {
    /// None if no writer can have written such a chunk.
    fn of(header: &Header, offset: u64) -> Option<Self> {
        let Owner::Entry { lsn, kind, group_first, group_last } = header.owner else { return None };
        Some(Self {
            lsn,
            offset,
            incarnation: header.stamp.incarnation,
            total: header.total,
            before: u32::try_from(lsn.0 - group_first.0).ok()?,
            behind: u32::try_from(group_last.0 - lsn.0).ok()?,
            number: u16::try_from(header.number).ok()?,
            kind,
        })
    }

    /// The first LSN of the group that it came with.
    pub(crate) const fn group_first(&self) -> Lsn {
        Lsn(self.lsn.0 - self.before as u64)
    }

    /// How many bytes the chunk has.
    pub(crate) fn len(&self) -> usize {
        let before = usize::from(self.number) * BODY_MAX;
        HEADER_LEN + (self.total as usize).saturating_sub(before).min(BODY_MAX)
    }

    /// The last LSN of that group.
    pub(crate) const fn group_last(&self) -> Lsn {
        Lsn(self.lsn.0 + self.behind as u64)
    }
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
}

impl Index {
    /// Reads all of `source`.
    pub(crate) fn build(source: &Source) -> io::Result<Self> {
        let mut index = Self::default();
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
            Owner::Entry { .. } => match EntryRef::of(&header, offset) {
                Some(entry) => self.enter(entry),
                None => self.strays += 1,
            },
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

    /// sled rewrites its pages, so most chunks are found several times. The copies are thrown out before more room is
    /// taken, and room grows by halves: memory follows the number of different chunks.
    fn enter(&mut self, entry: EntryRef) {
        if self.entries.len() == self.entries.capacity() {
            self.tidy();
            let kept = self.entries.len();
            if kept > self.entries.capacity() / 3 * 2 {
                self.entries.reserve_exact((kept / 2).max(ROOM));
            }
        }
        self.entries.push(entry);
    }

    fn tidy(&mut self) {
        self.entries.sort_unstable_by_key(|entry| (entry.lsn, entry.incarnation, entry.number, entry.offset));
        self.entries.dedup_by_key(|entry| (entry.lsn, entry.incarnation, entry.number));
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
