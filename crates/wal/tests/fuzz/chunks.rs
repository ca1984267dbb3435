//! Chunks: what decodes is what was encoded, byte for byte, and a few flipped bits are always noticed.

use lockstep_model::Lsn;
use lockstep_wal::chunk::{BODY_MAX, ChunkError, HEADER_LEN, Header, Joiner, MAGIC, Owner, Stamp, encode};
use lockstep_wal::{Kind, SideKey};

use crate::driver::{Fuzz, kind_of, variant};
use crate::mutator::Chance;

fn encoded(owner: Owner, stamp: Stamp, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(owner, stamp, payload, |_, chunk| bytes.extend_from_slice(&chunk));
    bytes
}

/// The record whose chunks `bytes` begin with, and how many bytes they are.
fn join(bytes: &[u8]) -> Result<(Header, Vec<u8>, usize), ChunkError> {
    let first = Header::parse(bytes)?;
    let mut at = HEADER_LEN + first.body_len();
    let mut joiner = Joiner::begin(bytes)?;
    while joiner.wants().is_some() {
        let next = bytes.get(at..).unwrap_or_default();
        joiner.push(next)?;
        at += HEADER_LEN + Header::parse(next)?.body_len();
    }
    joiner.finish().map(|(header, payload)| (header, payload, at))
}

fn check(input: &[u8]) -> u64 {
    let (header, payload, length) = match join(input) {
        Ok(joined) => joined,
        Err(error) => return kind_of(&error),
    };
    assert_eq!(payload.len(), header.total as usize);
    let whole = &input[..length];
    assert!(encoded(header.owner, header.stamp, &payload) == whole, "one record, two encodings");
    // CRC-32 tells up to three flipped bits in a chunk of this size for certain.
    let mut chance = Chance(length as u64);
    for flips in (1..=3).cycle().take(24) {
        let mut flipped = whole.to_vec();
        for _ in 0..flips {
            let bit = chance.below(flipped.len() * 8);
            flipped[bit / 8] ^= 1_u8 << (bit % 8);
        }
        assert!(flipped == whole || join(&flipped).is_err(), "{flips} flipped bits of {header:?} were not noticed");
    }
    variant(&header.owner)
}

fn seeds() -> Vec<Vec<u8>> {
    let stamp = Stamp { incarnation: 3, base: Lsn(40), turn: 9 };
    let entry = |kind| Owner::Entry { lsn: Lsn(42), kind: Kind(kind), group_first: Lsn(41), group_last: Lsn(50) };
    let side = |key| Owner::Side { key, at: Lsn(42) };
    let planted = encoded(entry(1), stamp, b"planted");
    vec![
        encoded(entry(1), stamp, b"lockstep"),
        encoded(entry(200), stamp, &[1, 1, 2, 0]),
        encoded(entry(2), stamp, &planted),
        encoded(entry(3), stamp, &MAGIC.repeat(8)),
        encoded(entry(4), stamp, &vec![0x5a; BODY_MAX + 1]),
        encoded(side(SideKey::Summary(Lsn(7))), stamp, b"summary"),
        encoded(side(SideKey::Idempotency([7; 16])), stamp, b""),
        encoded(side(SideKey::Note(9)), stamp, b"note"),
    ]
}

#[test]
fn a_chunk_is_what_was_written_or_nothing() {
    Fuzz { target: "chunks", seeds: seeds(), tokens: &["\u{1}", "\0\0\0\0"], inputs: 60_000 }.run(check);
}
