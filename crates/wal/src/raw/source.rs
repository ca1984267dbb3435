//! The bytes that a raw read looks at: a file, or a slice in a test.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

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
}
