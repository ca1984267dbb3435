//! The chunks of one record, joined. What the bytes mean is known to `chunk.rs` alone.

use crate::chunk::{ChunkError, Header};

/// Joins the chunks of one record, given in order.
#[derive(Debug)]
pub struct Joiner {
    first: Header,
    next: u32,
    payload: Vec<u8>,
}

impl Joiner {
    /// Begins with the record's first chunk. No more is allocated than a record may have.
    ///
    /// # Errors
    /// If it is not a chunk, damaged, or not the first.
    pub fn begin(bytes: &[u8]) -> Result<Self, ChunkError> {
        let first = Header::parse(bytes)?;
        if first.number != 0 {
            return Err(ChunkError::Missing(0));
        }
        let mut payload = Vec::with_capacity(first.total as usize);
        first.unpack(bytes, &mut payload)?;
        Ok(Self { first, next: 1, payload })
    }

    /// The number of the chunk that comes next; `None` if the record is whole.
    #[must_use]
    pub const fn wants(&self) -> Option<u32> {
        if self.next < self.first.count() { Some(self.next) } else { None }
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// If it is not a chunk, damaged, or does not belong here.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ChunkError> {
        let header = Header::parse(bytes)?;
        if header.number > self.next {
            return Err(ChunkError::Missing(self.next));
        }
        let same = Header { number: 0, mask: self.first.mask, ..header } == self.first;
        if !same || header.number != self.next {
            return Err(ChunkError::Stray(header.number));
        }
        header.unpack(bytes, &mut self.payload)?;
        self.next += 1;
        Ok(())
    }

    /// The whole record: the header of its first chunk, and its payload.
    ///
    /// # Errors
    /// [`ChunkError::Missing`] if it is not whole.
    pub fn finish(self) -> Result<(Header, Vec<u8>), ChunkError> {
        match self.wants() {
            Some(number) => Err(ChunkError::Missing(number)),
            None => Ok((self.first, self.payload)),
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_model::Lsn;

    use super::*;
    use crate::chunk::{BODY_MAX, Owner, Stamp, encode};
    use crate::log::Kind;

    /// A record of three chunks.
    fn three(lsn: u64, turn: u64) -> Vec<Vec<u8>> {
        let owner = Owner::Entry { lsn: Lsn(lsn), kind: Kind(1), group_first: Lsn(lsn), group_last: Lsn(lsn) };
        let mut chunks = Vec::new();
        let payload = vec![7; 2 * BODY_MAX + 5];
        encode(owner, Stamp { incarnation: 1, base: Lsn(1), turn }, &payload, |_, chunk| chunks.push(chunk));
        chunks
    }

    fn join<'a>(chunks: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<usize, ChunkError> {
        let mut chunks = chunks.into_iter();
        let mut joiner = Joiner::begin(chunks.next().unwrap())?;
        for chunk in chunks {
            joiner.push(chunk)?;
        }
        joiner.finish().map(|(_, payload)| payload.len())
    }

    #[test]
    fn a_record_is_not_made_of_some_of_its_chunks() {
        let [first, second, third] = &three(5, 1)[..] else { unreachable!("three chunks") };
        assert_eq!(join([first, second, third]), Ok(2 * BODY_MAX + 5));
        assert_eq!(join([second, third]), Err(ChunkError::Missing(0)));
        assert_eq!(join([first, third]), Err(ChunkError::Missing(1)));
        assert_eq!(join([first, second]), Err(ChunkError::Missing(2)));
        assert_eq!(join([first, second, second, third]), Err(ChunkError::Stray(1)));
    }

    /// Also if they are of the same length and stand at the same place, or were written at another time.
    #[test]
    fn a_record_is_not_made_of_chunks_of_another() {
        let ours = three(5, 1);
        for other in [three(6, 1), three(5, 2)] {
            assert_eq!(join([&ours[0], &other[1], &ours[2]]), Err(ChunkError::Stray(1)));
            assert_eq!(join([&ours[0], &ours[1], &other[2]]), Err(ChunkError::Stray(2)));
        }
    }
}
