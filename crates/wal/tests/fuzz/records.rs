//! Payloads: what decodes is encoded to the same record, and every operation that is taken comes back from the log.

use std::fs;

use lockstep_model::{ActionKind, Code, Lsn, OpId, Operation, State, Version};
use lockstep_wal::{Entry, Failure, FirstUse, Fold, Kind, Record, RecordError, Summary};
use uuid::Uuid;

use crate::driver::{Fuzz, kind_of};
use crate::samples::{every_record, intent};
use crate::support::ID;

const SUMMARY: u8 = 5;
const FIRST_USE: u8 = 6;

/// One encoding after the other says the same. The first may differ from what was read: documents are JSON of anyone's spelling.
fn hold(record: &Record) {
    let entry = record.encode().unwrap();
    let again = Record::decode(&entry).unwrap_or_else(|error| panic!("the log does not give back {record:?}: {error}"));
    // Compared as text: NaN is no one's equal, and -0.0 is not 0.0.
    assert_eq!(format!("{again:?}"), format!("{record:?}"));
    assert_eq!(again.encode().unwrap(), entry);
    let skimmed = Record::skim(&entry).unwrap();
    let (mut whole, mut bare) = (Fold::new(), Fold::new());
    whole.record(Lsn(9), record, entry.payload.len());
    bare.record(Lsn(9), &skimmed, entry.payload.len());
    assert_eq!(format!("{:?}", whole.ops), format!("{:?}", bare.ops));
}

fn outcome<T>(read: &Result<T, RecordError>) -> u64 {
    read.as_ref().err().map_or(1, kind_of)
}

/// The first byte is the kind.
fn payload(input: &[u8]) -> u64 {
    let Some((&kind, payload)) = input.split_first() else { return 0 };
    if kind == SUMMARY {
        let read = Summary::decode(payload);
        if let Ok(summary) = &read {
            assert_eq!(Summary::decode(&summary.encode().unwrap()).unwrap(), *summary);
        }
        return outcome(&read);
    }
    if kind == FIRST_USE {
        let read = FirstUse::decode(payload);
        if let Ok(first) = &read {
            assert_eq!(first.encode().unwrap(), payload);
        }
        return outcome(&read);
    }
    let entry = Entry { kind: Kind(kind), payload: payload.to_vec() };
    let read = Record::decode(&entry);
    let skimmed = Record::skim(&entry);
    if let Ok(record) = &read {
        hold(record);
        assert!(skimmed.is_ok());
    }
    outcome(&read).rotate_left(8) ^ u64::from(kind)
}

fn lines(input: &[u8]) -> u64 {
    let mut kind = 0;
    for line in input.split(|byte| *byte == b'\n') {
        match Operation::parse(line, None, &mut || Uuid::from_u128(7)) {
            Ok(operation) => {
                kind = operation.action.kind() as u64 + 1;
                let Record::Intent(mut record) = intent(operation.action.clone()) else { unreachable!() };
                record.op = operation;
                // Only groups fix the vectors of tables that are not their own.
                record.defines.clear();
                hold(&Record::Intent(record));
            }
            Err(refusal) => kind = kind_of(&refusal.detail),
        }
    }
    kind
}

fn seeds() -> Vec<Vec<u8>> {
    let summary = Summary {
        op_id: OpId::new(ID, Lsn(42), 1_700_000_000_000),
        version: Version(3),
        kind: ActionKind::Put,
        key: Some("memory:1".parse().unwrap()),
        attempts: 2,
        history: State::ALL.into_iter().map(|state| (state, 5)).collect(),
        failure: Some(Failure { store: "surreal".into(), code: Code::RejectedBySurreal, detail: "why".into() }),
        idempotency: Some([3; 16]),
    };
    let first = FirstUse { op: Lsn(42), body_hash: [1; 16], keys: Vec::new() };
    let entries = every_record().into_iter().map(|record| record.encode().unwrap());
    let mut seeds: Vec<Vec<u8>> = entries.map(|entry| [vec![entry.kind.0], entry.payload].concat()).collect();
    seeds.push([vec![SUMMARY], summary.encode().unwrap()].concat());
    seeds.push([vec![FIRST_USE], first.encode().unwrap()].concat());
    seeds
}

#[test]
fn a_payload_is_a_record_or_an_error() {
    let tokens =
        ["{}", "\u{1}\0\0\0\0\0\0\0", "memory:1", "{\"a\":{\"$foreign\":\"AA==\"}}", "{\"n\":{\"gt\":1}}", "\0\0\0\0"];
    Fuzz { target: "payloads", seeds: seeds(), tokens: &tokens, inputs: 80_000 }.run(payload);
}

/// P1, P5: what was acknowledged can be read, or one request would keep every start from coming up.
#[test]
fn every_operation_that_is_taken_comes_back_from_the_log() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/tests/fuzz/corpus/operations");
    let mut files: Vec<_> = fs::read_dir(model).unwrap().map(|item| item.unwrap().path()).collect();
    files.sort();
    let seeds = files.into_iter().map(|file| fs::read(file).unwrap()).collect();
    let tokens = [
        "{\"op\":\"atomic\",\"ops\":[",
        "{\"not\":",
        "{\"all\":[",
        "{\"any\":[",
        "{\"a\":",
        "[",
        "\"b\":1,",
        "\"where\":{\"n\":{\"gte\":5}}",
        "{\"$datetime\":\"@-1.999999999\"}",
        "{\"$decimal\":\"-0.10\"}",
        "\"vector\":[1,-0.0],",
        "\n",
        "é",
        "1e-320",
    ];
    Fuzz { target: "operations", seeds, tokens: &tokens, inputs: 10_000 }.run(lines);
}
