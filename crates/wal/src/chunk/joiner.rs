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
