//! Reading the lines, as far ahead as there is room.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::bulk::stamp::Stamp;

/// All lines that were read and not answered yet take at most so much.
const ROOM_BYTES: usize = 32 << 20;
/// A line counts for at least so much, so that their number is bounded too (8192).
const LEAST_BYTES: usize = 4 << 10;
/// A longer line is not sent: no daemon takes it, and it would not fit in here.
pub(crate) const MAX_LINE_BYTES: usize = ROOM_BYTES;
const BUFFER_BYTES: usize = 64 << 10;

/// What comes next in the input.
#[derive(Debug)]
pub(crate) enum Item {
    /// A line to send.
    Line(Line),
    /// A blank line: it counts as a line and is not sent.
    Blank(Place),
    /// A line over [`MAX_LINE_BYTES`].
    TooLong(Place),
    /// The input cannot be read any further.
    Broken(io::Error),
}

/// Which line, and how much of the input it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Its length in the input, with its line break.
    pub(crate) bytes: u64,
}

/// A line that waits for its answer.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) place: Place,
    /// What is sent for it.
    pub(crate) json: Bytes,
    /// Given back when the line is dropped.
    _room: OwnedSemaphorePermit,
}

/// The lines of an input, read by a task of its own that ends with the input, or when this is dropped.
#[derive(Debug)]
pub(crate) struct Input {
    items: mpsc::Receiver<Item>,
}

impl Input {
    /// Reads `source`. With `anew`, its lines get keys that they never had.
    pub(crate) fn new(source: impl AsyncRead + Send + Unpin + 'static, anew: bool) -> Self {
        let stamp = if anew { Stamp::anew() } else { Stamp::same_again() };
        let (sender, items) = mpsc::channel(64);
        let reader = LineReader { source: BufReader::with_capacity(BUFFER_BYTES, source), stamp, number: 0 };
        tokio::spawn(reader.run(sender));
        Self { items }
    }

    /// What comes next; none at the end. May be dropped while it waits: nothing is lost.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        self.items.recv().await
    }
}

struct LineReader<R> {
    source: R,
    stamp: Stamp,
    number: u64,
}

impl<R: AsyncBufRead + Unpin> LineReader<R> {
    async fn run(mut self, items: mpsc::Sender<Item>) {
        let room = Arc::new(Semaphore::new(ROOM_BYTES));
        loop {
            let item = match self.read_item(&room).await {
                Ok(Some(item)) => item,
                Ok(None) => return,
                Err(error) => Item::Broken(error),
            };
            let last = matches!(item, Item::Broken(_));
            if items.send(item).await.is_err() || last {
                return;
            }
        }
    }

    async fn read_item(&mut self, room: &Arc<Semaphore>) -> io::Result<Option<Item>> {
        let mut line = Vec::new();
        let mut bytes = 0;
        let mut too_long = false;
        loop {
            let chunk = self.source.fill_buf().await?;
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if part.is_empty() && end.is_none() {
                break;
            }
            self.stamp.read(part);
            too_long = too_long || line.len() + part.len() > MAX_LINE_BYTES;
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            self.source.consume(taken);
            bytes += taken as u64;
            if end.is_some() {
                break;
            }
        }
        if bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.stamp.read(b"\n");
        let place = Place { number: self.number, bytes };
        if too_long {
            return Ok(Some(Item::TooLong(place)));
        }
        if line.trim_ascii().is_empty() {
            return Ok(Some(Item::Blank(place)));
        }
        let share = u32::try_from(line.len().clamp(LEAST_BYTES, ROOM_BYTES)).map_err(io::Error::other)?;
        let room = Arc::clone(room).acquire_many_owned(share).await.map_err(io::Error::other)?;
        Ok(Some(Item::Line(Line { place, json: self.stamp.stamped(&line), _room: room })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(text: &'static [u8]) -> Vec<(u64, u64, &'static str)> {
        let mut input = Input::new(text, false);
        let mut seen = Vec::new();
        while let Some(item) = input.next().await {
            let (place, what) = match item {
                Item::Line(line) => (line.place, "line"),
                Item::Blank(place) => (place, "blank"),
                Item::TooLong(place) => (place, "too long"),
                Item::Broken(error) => panic!("{error}"),
            };
            seen.push((place.number, place.bytes, what));
        }
        seen
    }

    #[tokio::test]
    async fn lines_are_numbered_with_blank_ones_and_the_last_needs_no_break() {
        let seen = all(b"{\"a\":1}\n\n \r\nx\n{}").await;
        assert_eq!(seen, [(1, 8, "line"), (2, 1, "blank"), (3, 3, "blank"), (4, 2, "line"), (5, 2, "line")]);
        assert!(all(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over_and_the_next_is_read() {
        let mut text = vec![b'x'; MAX_LINE_BYTES + 1];
        text.extend_from_slice(b"\n{\"a\":1}\n");
        let seen = all(text.leak()).await;
        assert_eq!(seen, [(1, MAX_LINE_BYTES as u64 + 2, "too long"), (2, 8, "line")]);
    }

    #[tokio::test]
    async fn no_more_is_read_than_there_is_room_for() {
        let lines = ROOM_BYTES / LEAST_BYTES + 100;
        let mut input = Input::new(io::Cursor::new("{\"a\":1}\n".repeat(lines)), false);
        let mut held = Vec::new();
        for _ in 0..ROOM_BYTES / LEAST_BYTES {
            held.push(input.next().await.unwrap());
        }
        tokio::task::yield_now().await;
        assert!(matches!(input.items.try_recv(), Err(mpsc::error::TryRecvError::Empty)));
        held.pop();
        assert!(matches!(input.next().await, Some(Item::Line(_))));
    }
}
