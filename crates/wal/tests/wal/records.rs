//! The typed payloads: golden bytes hold the format, round trips and arbitrary bytes hold the codec.

use lockstep_model::{
    Action, ActionKind, Code, Document, Filter, LogId, Lsn, OpId, Scalar, State, Table, Value, Vector, Vectors, Version,
};
use lockstep_wal::{Entry, FORMAT, Failure, FirstUse, Fold, Kind, Mark, Record, RecordError, Summary};
use proptest::prelude::*;
use uuid::Uuid;

use crate::samples::{every_record, intent};

#[test]
fn every_record_comes_back() {
    for record in every_record() {
        let entry = record.encode().unwrap();
        assert_eq!(Record::decode(&entry).unwrap(), record);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Field and variant order are the format: these bytes stay (format v1).
#[test]
fn golden_bytes() {
    let records = every_record();
    let sums: Vec<(u8, String)> = records
        .iter()
        .map(|r| r.encode().unwrap())
        .map(|e| (e.kind.0, format!("{:08x}", crc32fast::hash(&e.payload))))
        .collect();
    let marks = records.iter().find(|r| matches!(r, Record::Mark(_))).unwrap().encode().unwrap();
    assert_eq!(hex(&marks.payload), GOLDEN_MARK);
    let sums: Vec<String> = sums.into_iter().map(|(kind, sum)| format!("{kind}:{sum}")).collect();
    assert_eq!(sums.join(" "), GOLDEN_SUMS);
}

const GOLDEN_MARK: &str = "0101030000000000000002000000000000002a000000000000002b00000000000000010600000000000000716472616e740d0a0000000000000077726f6e672073697a65";
/// Kind and CRC-32 of each payload.
const GOLDEN_SUMS: &str = "1:0f03a8ed 1:d4b6d20b 1:4f86a902 1:7f8e98bf 1:424a5bee 1:dd4b466d 1:a7a446ad 1:5cf95ee3 1:b0be5e5f 2:f52f004a \
2:4a048fed 2:cf50a390 2:703a4d13 2:b897a217 2:c54ea8b2 3:b06ad81a 3:fcd9f2b3 3:719816eb 3:65bfa7e1 3:e8fe43b9 3:a44d6910 3:290c8d48 3:8c020b04 4:b019c338 \
7:04617f38 7:bd9aa4d0 7:f2590e3b 7:9843b77d 8:e862b99a 9:eb1da8ec";

#[test]
fn every_action_of_the_model_has_a_wire_form() {
    let kinds: std::collections::BTreeSet<ActionKind> = every_record()
        .iter()
        .filter_map(|r| if let Record::Intent(i) = r { Some(i.op.action.kind()) } else { None })
        .collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ActionKind::ALL);
}

/// P5: one request must not make a log that no start can read. What was taken once is understood, whatever is taken today.
#[test]
fn a_clear_comes_back_however_large_its_filter_was() {
    let wide = Filter::All((0..2000).map(|n| Filter::Eq(format!("f{n}"), Scalar::Int(n))).collect());
    let deep = (0..30).fold(wide, |inner, _| Filter::Not(Box::new(inner)));
    let record = intent(Action::Clear { table: Table::new("memory").unwrap(), filter: Some(deep) });
    assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
}

/// What a skimmed record folds into is what the whole one folds into.
#[test]
fn skimming_leaves_out_only_what_operations_carry() {
    for record in every_record() {
        let entry = record.encode().unwrap();
        let skimmed = Record::skim(&entry).unwrap();
        let (mut whole, mut bare) = (Fold::new(), Fold::new());
        whole.record(Lsn(9), &record, entry.payload.len());
        bare.record(Lsn(9), &skimmed, entry.payload.len());
        assert_eq!((&whole.ops, &whole.shapes, &whole.checkpoint), (&bare.ops, &bare.shapes, &bare.checkpoint));
        assert_eq!(whole.irregular, bare.irregular);
        if let (Record::Intent(whole), Record::Intent(bare)) = (&record, &skimmed) {
            let carried: usize = bare.op.action.members().iter().map(carries).sum();
            assert_eq!(carried, 0, "{:?}", whole.op.action.kind());
            assert_eq!((&whole.caller, &whole.op.precondition), (&bare.caller, &bare.op.precondition));
            assert_eq!(whole.op.members, bare.op.members);
        } else {
            assert_eq!(record, skimmed);
        }
    }
}

fn carries(action: &Action) -> usize {
    match action {
        Action::Put { document, vectors, .. }
        | Action::Patch { document, vectors, .. }
        | Action::Relate { document, vectors, .. } => document.0.len() + vectors.0.len(),
        Action::Delete { .. } | Action::Unrelate(_) | Action::Atomic(_) | Action::Clear { .. } => 0,
    }
}

#[test]
fn a_summary_comes_back_and_is_small() {
    let summary = Summary {
        op_id: OpId::new(LogId(Uuid::from_u128(1)), Lsn(42), 1_700_000_000_000),
        version: Version(3),
        kind: ActionKind::Put,
        key: Some(format!("t:{}", "k".repeat(256)).parse().unwrap()),
        attempts: 2,
        history: State::ALL.into_iter().map(|s| (s, u64::MAX)).collect(),
        failure: Some(Failure { store: "surreal".into(), code: Code::RejectedBySurreal, detail: "é".repeat(500) }),
        idempotency: Some([3; 16]),
    };
    let bytes = summary.encode().unwrap();
    assert!(bytes.len() <= lockstep_wal::MAX_SIDE, "{} bytes", bytes.len());
    assert_eq!(Summary::decode(&bytes).unwrap(), summary);
    let first = FirstUse { op: Lsn(42), body_hash: [1; 16], keys: Vec::new() };
    assert_eq!(FirstUse::decode(&first.encode().unwrap()).unwrap(), first);
    let group = FirstUse { keys: vec!["t:1".parse().unwrap(), "u:⟨a b⟩".parse().unwrap()], ..first.clone() };
    assert_eq!(FirstUse::decode(&group.encode().unwrap()).unwrap(), group);
    // Keys that take too much are left out, and the rest is kept.
    let large =
        FirstUse { keys: (0..100).map(|n| format!("t:{}{n}", "k".repeat(200)).parse().unwrap()).collect(), ..group };
    assert_eq!(FirstUse::decode(&large.encode().unwrap()).unwrap(), first);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut entry = every_record().first().unwrap().encode().unwrap();
    entry.payload[0] = FORMAT + 1;
    assert!(matches!(Record::decode(&entry), Err(RecordError::Future { found }) if found == FORMAT + 1));
    entry.payload[0] = 0;
    assert!(matches!(Record::decode(&entry), Err(RecordError::Malformed { .. })));
    assert!(matches!(
        Record::decode(&Entry { kind: Kind(77), payload: entry.payload }),
        Err(RecordError::Malformed { kind: 77, .. })
    ));
}

/// Every cut and every flipped bit of every record: an error or a record, never a panic, and never more than was written.
#[test]
fn cut_and_flipped_payloads_do_no_harm() {
    for record in every_record() {
        let entry = record.encode().unwrap();
        for cut in 0..entry.payload.len() {
            let short = Entry { kind: entry.kind, payload: entry.payload[..cut].to_vec() };
            assert!(Record::decode(&short).is_err(), "cut at {cut}");
        }
        for bit in 0..entry.payload.len() * 8 {
            let mut payload = entry.payload.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            drop(Record::decode(&Entry { kind: entry.kind, payload }));
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(kind in 0_u8..10, payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(Record::decode(&Entry { kind: Kind(kind), payload: payload.clone() }));
        drop(Summary::decode(&payload));
        drop(FirstUse::decode(&payload));
    }

    #[test]
    fn marks_come_back(state in 0..State::ALL.len(), ops in proptest::collection::vec(any::<u64>(), 0..300), at_us in any::<u64>()) {
        let mark = Mark { state: State::ALL[state], at_us, ops: ops.into_iter().map(Lsn).collect(), failure: None };
        let record = Record::Mark(mark);
        prop_assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
    }

    #[test]
    fn puts_come_back(id in "[a-z0-9é]{1,40}", text in ".{0,60}", numbers in proptest::collection::vec(-1e6_f32..1e6, 1..64)) {
        let record = intent(Action::Put {
            key: format!("memory:{id}").parse().unwrap(),
            document: Document([("t".to_owned(), Value::Text(text))].into_iter().collect()),
            vectors: Vectors::single(Vector::Dense(numbers)),
        });
        prop_assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
    }
}
