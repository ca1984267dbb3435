//! The check of everything that sled gives back at an open: every chunk, every record, the dense sequence.

use std::ops::ControlFlow;
use std::path::Path;

use lockstep_model::Lsn;

use crate::chunk::{ChunkError, Header, Joiner, Owner};
use crate::error::{Kept, LogError};
use crate::ledger::Ledger;
use crate::log::Kind;
use crate::ranges::LsnRanges;
use crate::store::Store;

/// A log whose every byte has been looked at.
pub(crate) struct Checked {
    pub(crate) ledger: Ledger,
    pub(crate) side_bytes: u64,
}

/// Reads all of sled.
///
/// After `Ok`: every record is whole and under its own key, every LSN up to the last is live or has left, never both,
/// and the last is not below `durable`.
pub(crate) fn everything(store: &Store, dir: &Path, durable: Lsn) -> Result<Checked, LogError> {
    let mut reader = Reader::default();
    let mut wrong = None;
    store.each(|key, chunk| match reader.take(key, chunk) {
        Ok(()) => ControlFlow::Continue(()),
        Err(what) => {
            wrong = Some(what);
            ControlFlow::Break(())
        }
    })?;
    let damaged = |diagnosis| LogError::Damaged { dir: dir.to_path_buf(), diagnosis, kept: Kept::Untouched };
    let finished = wrong.map_or(Ok(()), Err).and_then(|()| reader.end_record());
    finished.map_err(|wrong| damaged(wrong.diagnosis()))?;
    let Reader { mut ledger, trim, side_bytes, .. } = reader;

    let left = trim.unwrap_or_default();
    if let Some((lsn, _)) = left.iter().find(|&(first, last)| ledger.has_live_in(first, last)) {
        return Err(damaged(format!("records from {lsn} on have left and are still there")));
    }
    ledger.set_left(left);
    let last = ledger.last();
    let missing = ledger.missing(last.max(durable));
    if !missing.is_empty() {
        return Err(LogError::Lost {
            dir: dir.to_path_buf(),
            missing,
            last,
            high_water: durable,
            kept: Kept::Untouched,
        });
    }
    Ok(Checked { ledger, side_bytes })
}

struct Wrong {
    place: Option<Lsn>,
    error: ChunkError,
}

impl Wrong {
    fn diagnosis(&self) -> String {
        match self.place {
            Some(lsn) => format!("sled gives a wrong chunk at record {lsn}: {}", self.error),
            None => format!("sled gives a wrong chunk: {}", self.error),
        }
    }
}

#[derive(Default)]
struct Reader {
    ledger: Ledger,
    trim: Option<LsnRanges>,
    side_bytes: u64,
    record: Option<(Lsn, Joiner)>,
}

impl Reader {
    fn take(&mut self, key: &[u8], chunk: &[u8]) -> Result<(), Wrong> {
        let place = self.record.as_ref().map(|(lsn, _)| lsn.next());
        let header = Header::parse(chunk).map_err(|error| Wrong { place, error })?;
        let place = header.owner.place();
        let wrong = |error| Wrong { place: Some(place), error };
        if header.key().as_ref() != key {
            return Err(wrong(ChunkError::Key));
        }
        match header.owner {
            Owner::Side { .. } => {
                header.check(chunk).map_err(wrong)?;
                self.side_bytes += u64::from(header.total);
            }
            Owner::Entry { lsn, .. } if header.number == 0 => {
                self.end_record()?;
                self.record = Some((lsn, Joiner::begin(chunk).map_err(wrong)?));
            }
            Owner::Entry { .. } => {
                let (_, joiner) = self.record.as_mut().ok_or_else(|| wrong(ChunkError::Missing(0)))?;
                joiner.push(chunk).map_err(wrong)?;
            }
        }
        Ok(())
    }

    /// The chunks of one record have all been seen.
    fn end_record(&mut self) -> Result<(), Wrong> {
        let Some((lsn, joiner)) = self.record.take() else { return Ok(()) };
        let wrong = |error| Wrong { place: Some(lsn), error };
        let (header, payload) = joiner.finish().map_err(wrong)?;
        let Owner::Entry { kind, .. } = header.owner else { return Err(wrong(ChunkError::Key)) };
        if kind == Kind::TRIM {
            let ranges = LsnRanges::from_bytes(&payload).ok_or_else(|| wrong(ChunkError::Field("trimmed range")))?;
            if self.trim.replace(ranges).is_some() {
                return Err(wrong(ChunkError::Field("second TRIM entry")));
            }
        }
        self.ledger.record(lsn, kind, header.total);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Key;

    #[test]
    fn the_key_of_an_entry_sorts_by_lsn_and_chunk() {
        let keys = [Key::entry(Lsn(1), 300), Key::entry(Lsn(2), 0), Key::entry(Lsn(256), 0)];
        assert!(keys.is_sorted_by(|a, b| a.as_ref() < b.as_ref()));
    }
}
