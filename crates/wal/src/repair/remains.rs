//! What is left of records that cannot be read: chunks with a sound header, whole or not.

use std::collections::BTreeMap;
use std::io;

use lockstep_model::Lsn;

use crate::chunk::{CHUNK_MAX, HEADER_LEN, Header, Owner, find_magic};
use crate::log::Kind;
use crate::ranges::LsnRanges;
use crate::raw::RawLog;
use crate::raw::source::Source;

const WINDOW: usize = 1 << 20;

/// A chunk of a record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) kind: Kind,
    /// Which chunk of its record.
    pub(super) number: u32,
    pub(super) whole: bool,
    /// Header and body, as they lie there.
    pub(super) bytes: Vec<u8>,
    /// The body, unmasked; perhaps damaged.
    pub(super) body: Vec<u8>,
}

/// The chunks of `lost` records in the bytes of `raw`: of each number the first whole one, or else the first.
pub(super) fn find(raw: &RawLog, lost: &LsnRanges) -> io::Result<BTreeMap<Lsn, Vec<Piece>>> {
    let mut found: BTreeMap<Lsn, Vec<Piece>> = BTreeMap::new();
    if lost.is_empty() {
        return Ok(found);
    }
    each_chunk(raw.source(), |offset, header, bytes| {
        let Owner::Entry { lsn, kind, .. } = header.owner else { return };
        if !lost.contains(lsn) || raw.is_dead(header.stamp.incarnation, lsn) {
            return;
        }
        let bytes = &bytes[..bytes.len().min(HEADER_LEN + header.body_len())];
        let (whole, body) = (header.check(bytes).is_ok(), header.unmasked(bytes));
        let piece = Piece { offset, kind, number: header.number, whole, bytes: bytes.to_vec(), body };
        let pieces = found.entry(lsn).or_default();
        match pieces.iter_mut().find(|known| known.number == piece.number) {
            Some(known) if piece.whole && !known.whole => *known = piece,
            Some(_) => {}
            None => pieces.push(piece),
        }
    })?;
    for pieces in found.values_mut() {
        pieces.sort_unstable_by_key(|piece| piece.number);
    }
    Ok(found)
}

/// The highest LSN that a header names.
pub(super) fn highest(raw: &RawLog) -> io::Result<Lsn> {
    let mut highest = Lsn(0);
    each_chunk(raw.source(), |_, header, _| {
        if let Owner::Entry { lsn, .. } = header.owner
            && !raw.is_dead(header.stamp.incarnation, lsn)
        {
            highest = highest.max(lsn);
        }
    })?;
    Ok(highest)
}

/// Shows every place at which a sound header stands.
fn each_chunk(source: &Source, mut each: impl FnMut(u64, Header, &[u8])) -> io::Result<()> {
    let mut window = vec![0; WINDOW + CHUNK_MAX];
    let mut start = 0;
    loop {
        let filled = source.read_at(start, &mut window)?;
        let at_end = filled < window.len();
        let limit = if at_end { filled } else { WINDOW };
        let mut at = 0;
        while let Some(found) = find_magic(&window[..filled], at).filter(|&found| found < limit) {
            let bytes = &window[found..filled];
            at = found + 1;
            if let Ok(header) = Header::parse(bytes) {
                if header.check(bytes).is_ok() {
                    at = found + HEADER_LEN + header.body_len();
                }
                each(start + found as u64, header, bytes);
            }
        }
        if at_end {
            return Ok(());
        }
        start += at.max(limit) as u64;
    }
}
