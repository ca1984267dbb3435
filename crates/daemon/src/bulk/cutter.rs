//! Lines out of chunks that are divided anywhere.

use bytes::{Buf, Bytes, BytesMut};

/// A line of the input that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1, blank ones too.
    pub(super) number: u64,
    /// Its bytes; none if there were too many of them.
    pub(super) text: Option<Bytes>,
}

/// Cuts. Of a line that is too long nothing is kept.
#[derive(Debug)]
pub(super) struct Cutter {
    max_bytes: usize,
    number: u64,
    chunk: Bytes,
    /// The beginning of a line whose end has not come.
    begun: BytesMut,
    too_long: bool,
}

impl Cutter {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, number: 0, chunk: Bytes::new(), begun: BytesMut::new(), too_long: false }
    }

    /// The input goes on with this. What was pushed before has been cut.
    pub(super) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "cut what is there first");
        self.chunk = chunk;
    }

    /// Bytes kept of a line whose end has not come.
    pub(super) fn begun_bytes(&self) -> usize {
        self.begun.len()
    }

    /// Whether a line has begun.
    pub(super) fn is_within_a_line(&self) -> bool {
        self.too_long || !self.begun.is_empty()
    }

    /// The next line of what was pushed; none if more must come first.
    pub(super) fn next(&mut self) -> Option<Line> {
        while let Some(end) = self.chunk.iter().position(|&byte| byte == b'\n') {
            let rest = self.chunk.split_to(end);
            self.chunk.advance(1);
            if let Some(line) = self.end_of_line(rest) {
                return Some(line);
            }
        }
        let rest = std::mem::take(&mut self.chunk);
        self.keep(&rest);
        None
    }

    /// The line that the input ended with, if it lacks its line break.
    pub(super) fn finish(&mut self) -> Option<Line> {
        self.end_of_line(Bytes::new())
    }

    /// The line that has begun, without what was kept of it, and nothing of what follows.
    pub(super) fn give_up(&mut self) -> u64 {
        self.begun = BytesMut::new();
        self.too_long = true;
        self.number + 1
    }

    fn keep(&mut self, rest: &[u8]) {
        if self.too_long || self.begun.len() + rest.len() > self.max_bytes {
            self.too_long |= !rest.is_empty() || !self.begun.is_empty();
            self.begun = BytesMut::new();
        } else {
            self.begun.extend_from_slice(rest);
        }
    }

    fn end_of_line(&mut self, rest: Bytes) -> Option<Line> {
        self.number += 1;
        let number = self.number;
        // A whole line inside one chunk is not copied.
        let text = if self.begun.is_empty() && !self.too_long && rest.len() <= self.max_bytes {
            rest
        } else {
            self.keep(&rest);
            if std::mem::take(&mut self.too_long) {
                return Some(Line { number, text: None });
            }
            self.begun.split().freeze()
        };
        (!text.trim_ascii().is_empty()).then_some(Line { number, text: Some(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fuzz;

    fn cut(max_bytes: usize, chunks: &[&str]) -> Vec<(u64, Option<String>)> {
        let mut cutter = Cutter::new(max_bytes);
        let mut lines = Vec::new();
        for chunk in chunks {
            cutter.push(Bytes::copy_from_slice(chunk.as_bytes()));
            while let Some(line) = cutter.next() {
                lines.push(line);
            }
            assert!(cutter.begun_bytes() <= max_bytes);
        }
        lines.extend(cutter.finish());
        let text = |line: Line| line.text.map(|text| String::from_utf8(text.to_vec()).unwrap());
        lines.into_iter().map(|line| (line.number, text(line))).collect()
    }

    fn some(number: u64, text: &str) -> (u64, Option<String>) {
        (number, Some(text.to_owned()))
    }

    #[test]
    fn lines_are_the_same_however_the_input_is_divided() {
        let whole = "ab\n\n  \r\ncdefg\nhi";
        let wanted = vec![some(1, "ab"), some(4, "cdefg"), some(5, "hi")];
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let chunks = [&whole[..first], &whole[first..second], &whole[second..]];
                assert_eq!(cut(5, &chunks), wanted, "{chunks:?}");
            }
        }
    }

    /// Fails when a piece's end is taken for a line's, when what was kept of one line gets into the next, or when a line that is
    /// exactly as long as it may be is refused.
    #[test]
    fn any_bytes_are_cut_as_if_they_had_come_at_once() {
        let (mut chance, pool) = (fuzz::chance(), fuzz::corpus());
        let (mut whole, mut too_long) = (0, 0);
        for _ in 0..30_000 * fuzz::times() {
            let input = fuzz::mutator::mutate(&mut chance, &pool, fuzz::TOKENS);
            let max_bytes = chance.below(200);
            let mut wanted = Vec::new();
            // Of a line that is too long nothing is kept, so nobody knows whether it was blank.
            for (number, line) in (1..).zip(input.split(|byte| *byte == b'\n')) {
                if line.len() > max_bytes {
                    wanted.push(Line { number, text: None });
                } else if !line.trim_ascii().is_empty() {
                    wanted.push(Line { number, text: Some(Bytes::copy_from_slice(line)) });
                }
            }
            let mut cutter = Cutter::new(max_bytes);
            let mut lines = Vec::new();
            for piece in fuzz::pieces(&mut chance, &input) {
                cutter.push(piece.into());
                lines.extend(std::iter::from_fn(|| cutter.next()));
                assert!(cutter.begun_bytes() <= max_bytes);
            }
            lines.extend(cutter.finish());
            assert_eq!(lines, wanted, "at most {max_bytes} of {:?}", String::from_utf8_lossy(&input));
            too_long += lines.iter().filter(|line| line.text.is_none()).count();
            whole += lines.iter().filter(|line| line.text.is_some()).count();
        }
        assert!(whole > 1000 && too_long > 1000, "{whole} whole, {too_long} too long: too little to prove anything");
    }

    #[test]
    fn a_line_that_is_too_long_is_told_and_not_kept() {
        for chunks in [&["abcdef\nx\n"][..], &["abc", "def", "\nx\n"], &["abcde", "f", "\n", "x"]] {
            assert_eq!(cut(5, chunks), [(1, None), some(2, "x")], "{chunks:?}");
        }
        assert_eq!(cut(5, &["abc", "def"]), [(1, None)]);
        assert_eq!(cut(5, &["abcde\n", ""]), [some(1, "abcde")]);
    }

    #[test]
    fn a_line_that_is_given_up_is_passed_over_to_its_end() {
        let mut cutter = Cutter::new(100);
        cutter.push(Bytes::from_static(b"x\nabc"));
        assert_eq!(cutter.next().unwrap().number, 1);
        assert_eq!(cutter.next(), None);
        assert!(cutter.is_within_a_line());
        assert_eq!(cutter.give_up(), 2);
        assert_eq!(cutter.begun_bytes(), 0);
        cutter.push(Bytes::from_static(b"def\ny\n"));
        assert_eq!(cutter.next(), Some(Line { number: 2, text: None }));
        assert_eq!(cutter.next().unwrap().number, 3);
        assert!(!cutter.is_within_a_line());
    }
}
