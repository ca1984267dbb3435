//! The bytes that a raw read looks at: a file, or a slice in a test.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::chunk::CHUNK_MAX;

/// Bytes to read at any place.
#[derive(Debug)]
pub(crate) enum Source {
    File(File),
    /// Files of one log and its copies, one behind the other: where each begins, and how long it is.
    Chain(Vec<(u64, u64, File)>),
    Bytes(Vec<u8>),
}

impl Source {
    /// The files one behind the other. A chunk that was found at the border of two is none: its checksum tells.
    pub(crate) fn chain(files: Vec<File>) -> io::Result<Self> {
        let mut start = 0_u64;
        let mut chain = Vec::with_capacity(files.len());
        for file in files {
            let len = file.metadata()?.len();
            chain.push((start, len, file));
            start = start.saturating_add(len);
        }
        Ok(Self::Chain(chain))
    }

    /// Fills `buffer` from `offset` on, as far as there are bytes; gives how many there were.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => read_file(file, offset, buffer),
            Self::Chain(files) => {
                let mut filled = 0;
                for (start, len, file) in files {
                    let at = offset + filled as u64;
                    if let Some(within) = at.checked_sub(*start).filter(|within| within < len) {
                        let rest = usize::try_from(len - within).unwrap_or(usize::MAX).min(buffer.len() - filled);
                        let read = read_file(file, within, &mut buffer[filled..filled + rest])?;
                        filled += read;
                        if read < rest {
                            break; // It has shrunk since.
                        }
                    }
                }
                Ok(filled)
            }
            Self::Bytes(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = bytes.get(from..).unwrap_or_default();
                let len = rest.len().min(buffer.len());
                buffer[..len].copy_from_slice(&rest[..len]);
                Ok(len)
            }
        }
    }
}

fn read_file(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A look at a source that reads a little ahead: what stands near in the log mostly stands near in the file.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    source: &'a Source,
    start: u64,
    filled: usize,
    buffer: [u8; CHUNK_MAX],
}

impl<'a> Window<'a> {
    /// A window that has read nothing yet.
    pub(crate) const fn new(source: &'a Source) -> Self {
        Self { source, start: 0, filled: 0, buffer: [0; CHUNK_MAX] }
    }

    /// The bytes from `offset` on: `wanted` of them, or as many as there are, or more. No chunk is longer than a window.
    pub(crate) fn at(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let inside = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let at = match inside.filter(|at| at.saturating_add(wanted) <= self.filled) {
            Some(at) => at,
            None => {
                self.filled = 0;
                self.filled = self.source.read_at(offset, &mut self.buffer)?;
                self.start = offset;
                0
            }
        };
        Ok(&self.buffer[at..self.filled])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_chain_reads_like_one_file() {
        let mut files = Vec::new();
        for part in ["abc", "", "de", "f"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(part.as_bytes()).unwrap();
            files.push(file);
        }
        let chain = Source::chain(files).unwrap();
        let bytes = Source::Bytes(b"abcdef".to_vec());
        for offset in 0..8 {
            for len in 0..8 {
                let (mut one, mut other) = (vec![0; len], vec![0; len]);
                let read = chain.read_at(offset, &mut one).unwrap();
                assert_eq!(read, bytes.read_at(offset, &mut other).unwrap(), "{len} at {offset}");
                assert_eq!(one, other, "{len} at {offset}");
            }
        }
    }

    #[test]
    fn a_window_shows_what_the_source_holds() {
        let bytes: Vec<u8> = (0..3 * CHUNK_MAX).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let source = Source::Bytes(bytes.clone());
        let mut window = Window::new(&source);
        for offset in [0, 100, 5_000, 4_999, 2 * CHUNK_MAX, bytes.len() - 7, bytes.len(), 1 << 40, 3] {
            for wanted in [80, 7, CHUNK_MAX] {
                let end = bytes.len().min(offset + wanted);
                let shown = window.at(offset as u64, wanted).unwrap();
                let expected = bytes.get(offset..end).unwrap_or_default();
                assert_eq!(shown.get(..expected.len()), Some(expected), "{wanted} at {offset}");
                assert!(shown.len() <= bytes.len().saturating_sub(offset));
            }
        }
    }
}
