//! Changes inputs as fuzzers do: bits, bytes, numbers, spans, words of the grammar, and nesting.
//!
//! Pure: the same seed makes the same inputs. Nothing here knows what the bytes mean but that brackets come in pairs.

/// Inputs do not grow beyond this.
const MAX_BYTES: usize = 1 << 14;

/// Where lengths, counts and signs break.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    15,
    16,
    17,
    127,
    128,
    255,
    256,
    1000,
    4096,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 53,
    u64::MAX / 2,
    u64::MAX / 2 + 1,
    u64::MAX,
];

/// Numbers as they are written, at the borders of what their readers can hold.
const DECIMALS: [&str; 14] = [
    "0",
    "-0",
    "-1",
    "1.0",
    "0.1",
    "-0.0",
    "1e308",
    "1e-320",
    "1e309",
    "9007199254740993",
    "999999999999999999",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
];

/// Chance that a seed repeats (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let next = usize::try_from(self.next() >> 1).unwrap();
        if end == 0 { 0 } else { next % end }
    }

    fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> Option<&'a T> {
        items.get(self.below(items.len())).copied()
    }

    /// A span of `bytes`, mostly a short one.
    fn span(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len());
        let longest = if self.below(4) == 0 { bytes.len() } else { 16 };
        start..bytes.len().min(start + 1 + self.below(longest))
    }
}

/// One of the pool, changed in one to five ways.
pub fn mutate(chance: &mut Chance, pool: &[Vec<u8>], tokens: &[&str]) -> Vec<u8> {
    let mut bytes = pool.get(chance.below(pool.len())).cloned().unwrap_or_default();
    for _ in 0..=chance.below(5) {
        change(chance, &mut bytes, pool, tokens);
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

fn change(chance: &mut Chance, bytes: &mut Vec<u8>, pool: &[Vec<u8>], tokens: &[&str]) {
    let at = chance.below(bytes.len() + 1);
    let span = chance.span(bytes);
    match chance.below(14) {
        0 => flip(chance, bytes, at),
        1 => flip(chance, bytes, span.start),
        2 => drop(bytes.drain(span)),
        3 => bytes.truncate(at),
        4 => {
            let random: Vec<u8> = (0..=chance.below(8)).map(|_| chance.next().to_le_bytes()[0]).collect();
            put(chance, bytes, at, &random);
        }
        5 => edge(chance, bytes, at),
        6 => decimal(chance, bytes, at),
        // Words make more of the grammar than bytes do: twice as often.
        7 | 8 => {
            let token = chance.of(tokens).unwrap_or("0");
            put(chance, bytes, at, token.as_bytes());
        }
        9 => {
            let repeated = bytes[span].repeat(1 << chance.below(8));
            put(chance, bytes, at, &repeated);
        }
        10 | 11 => {
            let other = pool.get(chance.below(pool.len())).cloned().unwrap_or_default();
            let part = chance.span(&other);
            put(chance, bytes, at, &other[part]);
        }
        12 => {
            // What stands here also stands there.
            let copy = bytes[span].to_vec();
            put(chance, bytes, at, &copy);
        }
        _ => wrap(chance, bytes, at, tokens),
    }
}

fn flip(chance: &mut Chance, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1_u8 << chance.below(8);
    }
}

/// Puts bytes between others or over them.
fn put(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    let over = if chance.below(2) == 0 { 0 } else { new.len() };
    let end = bytes.len().min(at + over);
    bytes.splice(at..end, new.iter().copied().take(MAX_BYTES));
}

/// Writes an odd number over one, two, four or eight bytes, or counts what is there up or down.
fn edge(chance: &mut Chance, bytes: &mut [u8], at: usize) {
    let width = 1 << chance.below(4);
    let Some(place) = bytes.get_mut(at..at + width) else { return };
    let mut raw = [0; 8];
    raw[..width].copy_from_slice(place);
    let here = u64::from_le_bytes(raw);
    let number = match chance.below(3) {
        0 => here.wrapping_add(chance.next() % 17).wrapping_sub(8),
        _ => EDGES[chance.below(EDGES.len())],
    };
    let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
    place.copy_from_slice(if chance.below(4) == 0 { &big[8 - width..] } else { &little[..width] });
}

/// Writes another number over the first one that stands at or behind `at`.
fn decimal(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize) {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'.' | b'e');
    let Some(start) = bytes[at..].iter().position(is_part).map(|found| at + found) else { return };
    let length = bytes[start..].iter().take_while(|byte| is_part(byte)).count();
    let new = chance.of(&DECIMALS).unwrap_or("0");
    bytes.splice(start..start + length, new.bytes());
}

/// Puts what stands between a bracket at or behind `at` and its partner into more brackets.
fn wrap(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize, tokens: &[&str]) {
    let Some(start) = bytes[at..].iter().position(|byte| matches!(byte, b'{' | b'[')).map(|found| at + found) else {
        return;
    };
    let mut depth = 0_usize;
    let partner = bytes[start..].iter().position(|byte| {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    });
    let Some(end) = partner.map(|found| start + found + 1) else { return };
    let openings: Vec<&str> = tokens.iter().copied().filter(|token| token.starts_with(['{', '['])).collect();
    let opening = chance.of(&openings).unwrap_or("[");
    let mut closing: Vec<u8> = opening
        .bytes()
        .filter_map(|byte| match byte {
            b'{' => Some(b'}'),
            b'[' => Some(b']'),
            _ => None,
        })
        .collect();
    closing.reverse();
    let times = 1 << chance.below(8);
    let wrapped = [opening.as_bytes().repeat(times), bytes[start..end].to_vec(), closing.repeat(times)].concat();
    bytes.splice(start..end, wrapped);
}
