use proptest::prelude::*;

use super::*;

const STAMP: Stamp = Stamp { incarnation: 3, base: Lsn(40), turn: 9 };

fn entry(lsn: u64, kind: u8) -> Owner {
    Owner::Entry { lsn: Lsn(lsn), kind: Kind(kind), group_first: Lsn(lsn), group_last: Lsn(lsn + 1) }
}

fn chunks(owner: Owner, payload: &[u8]) -> Vec<(Key, Vec<u8>)> {
    let mut all = Vec::new();
    encode(owner, STAMP, payload, |key, chunk| all.push((key, chunk)));
    all
}

fn join(chunks: &[(Key, Vec<u8>)]) -> Result<(Header, Vec<u8>), ChunkError> {
    let mut joiner = Joiner::begin(&chunks[0].1)?;
    for (_, chunk) in &chunks[1..] {
        joiner.push(chunk)?;
    }
    joiner.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn golden_bytes_of_format_1() {
    let all = chunks(entry(42, 7), b"lockstep");
    assert_eq!(all.len(), 1);
    assert_eq!(hex(all[0].0.as_ref()), "01000000000000002a00000000");
    assert_eq!(
        hex(&all[0].1),
        "f94c6b57a10d0afe0101070000000000010000000300000028000000000000002a000000000000002a00000000000000\
         2b00000000000000080000000800000009000000000000009104cd8266bd500f6c6f636b73746570"
    );
    let side = Owner::Side { key: SideKey::Idempotency(*b"0123456789abcdef"), at: Lsn(42) };
    let all = chunks(side, b"");
    assert_eq!(hex(all[0].0.as_ref()), "0330313233343536373839616263646566");
    assert_eq!(
        hex(&all[0].1),
        "f94c6b57a10d0afe0103000000000000010000000300000028000000000000002a000000000000003031323334353637\
         383961626364656600000000000000000900000000000000f0419f9d9d043bdc"
    );
    let summary = Owner::Side { key: SideKey::Summary(Lsn(5)), at: Lsn(42) };
    assert_eq!(
        hex(Header { owner: summary, stamp: STAMP, number: 0, total: 0, mask: 0 }.key().as_ref()),
        "020000000000000005"
    );
    assert_eq!(hex(Key::side(&SideKey::Note(9)).as_ref()), "0409");
}

#[test]
fn a_planted_chunk_is_never_found_in_a_body() {
    let planted = chunks(entry(1, 1), b"forged").remove(0).1;
    let mut payload = vec![1, 2, 3];
    for _ in 0..5 {
        payload.extend_from_slice(&planted);
    }
    // Also masked so that the obvious next masks bring the magic out.
    for mask in 1_u16..40 {
        let mut hidden = MAGIC.to_vec();
        apply_mask(&mut hidden, mask);
        payload.resize(payload.len().next_multiple_of(2), 0);
        payload.extend_from_slice(&hidden);
    }
    for (_, chunk) in chunks(entry(2, 1), &payload) {
        assert_eq!(find_magic(&chunk, 1), None);
    }
    assert_eq!(join(&chunks(entry(2, 1), &payload)).unwrap().1, payload);
}

#[test]
fn a_newer_format_is_told_from_a_flipped_version() {
    let mut chunk = chunks(entry(1, 1), b"x").remove(0).1;
    chunk[8] = 2;
    assert_eq!(Header::parse(&chunk), Err(ChunkError::Header));
    let sum = crc32fast::hash(&chunk[..HEADER_SUM]);
    chunk[HEADER_SUM..BODY_SUM].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(Header::parse(&chunk), Err(ChunkError::Future(2)));
}

#[test]
fn lengths_at_the_borders_of_a_chunk() {
    for len in [0, 1, BODY_MAX - 1, BODY_MAX, BODY_MAX + 1, 2 * BODY_MAX, 9_000_000] {
        let payload: Vec<u8> = (0..=250).cycle().take(len).collect();
        let all = chunks(entry(1, 1), &payload);
        assert_eq!(all.len(), len.div_ceil(BODY_MAX).max(1));
        assert!(all.iter().all(|(_, chunk)| chunk.len() <= CHUNK_MAX));
        assert_eq!(join(&all).unwrap().1, payload);
    }
}

proptest! {
    #[test]
    fn round_trip(lsn in 1..u64::MAX / 2, kind: u8, payload in prop::collection::vec(any::<u8>(), 0..9000)) {
        let all = chunks(entry(lsn, kind), &payload);
        let (header, joined) = join(&all).unwrap();
        prop_assert_eq!(header.owner, entry(lsn, kind));
        prop_assert_eq!(header.stamp, STAMP);
        prop_assert_eq!(joined, payload);
    }

    #[test]
    fn any_bytes_are_an_error_or_a_chunk(mut bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
        if magic && bytes.len() >= 9 {
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[8] = FORMAT;
        }
        prop_assert!(Header::parse(&bytes).is_err());
        prop_assert!(Joiner::begin(&bytes).is_err());
    }

    #[test]
    fn any_flip_is_noticed(len in 0_usize..5000, at: prop::sample::Index, bit in 0..8) {
        let mut all = chunks(entry(7, 1), &vec![0x5a; len]);
        let which = at.index(all.len());
        let offset = at.index(all[which].1.len());
        all[which].1[offset] ^= 1_u8 << bit;
        prop_assert!(join(&all).is_err());
    }
}
