//! Logs of records that say anything: folded and planned without a panic, and the short fold says the same as the long one.

use lockstep_model::Lsn;
use lockstep_wal::{Entry, Fold, Kind, LastWrites, Record, States, plan};

use crate::driver::Fuzz;
use crate::samples::every_record;

/// A record is its kind, the length of its payload in two bytes, and the payload.
fn records(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let [kind, low, high, rest @ ..] = bytes {
        let (payload, behind) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
        records.extend(Record::decode(&Entry { kind: Kind(*kind), payload: payload.to_vec() }));
        bytes = behind;
    }
    records
}

fn log(records: &[Record]) -> Vec<u8> {
    let entries = records.iter().map(|record| record.encode().unwrap());
    entries
        .flat_map(|entry| {
            let length = u16::try_from(entry.payload.len()).unwrap().to_le_bytes();
            [vec![entry.kind.0], length.to_vec(), entry.payload].concat()
        })
        .collect()
}

fn check(input: &[u8]) -> u64 {
    let (mut fold, mut states) = (Fold::new(), States::default());
    for (record, lsn) in records(input).iter().zip(1..) {
        fold.record(Lsn(lsn), record, 100);
        states.record(Lsn(lsn), record);
    }
    assert_eq!(states.irregular, fold.irregular);
    for (&lsn, head) in &fold.ops {
        assert_eq!(states.of(lsn), Some(head.state));
        assert!(head.records.is_sorted());
        drop((head.standing_decision(), head.shown_failure()));
    }
    let plan = plan(&fold);
    assert!(plan.iter().map(|(lsn, _)| lsn).eq(fold.ops.keys()));
    drop(LastWrites::of(&fold));
    let states = fold.ops.values().fold(0, |all, head| all | 1 << head.state.code());
    let decisions = plan.iter().fold(0, |all, (lsn, decision)| {
        assert!(!decision.reason(&fold.ops[lsn]).is_empty());
        all | 1 << (*decision as u64)
    });
    states << 32 | decisions << 8 | fold.irregular.len().min(3) as u64
}

#[test]
fn any_sequence_of_records_is_folded_and_planned() {
    let mut records = every_record();
    // Marks and images that speak of operations which are here.
    for (record, op) in records.iter_mut().zip(0..) {
        match record {
            Record::Mark(mark) => mark.ops = vec![Lsn(op % 3 + 1), Lsn(2)],
            Record::Image(image) => image.op = Lsn(op % 8 + 1),
            Record::Asked(asked) => asked.op = Lsn(1),
            Record::Declined(declined) => declined.op = Lsn(1),
            Record::Intent(_) | Record::Checkpoint(_) | Record::Lost(_) => {}
        }
    }
    let mut seeds: Vec<Vec<u8>> = records.iter().map(|record| log(std::slice::from_ref(record))).collect();
    seeds.push(log(&records));
    // Behind a loss an operation may have come to any state.
    let lost = records.iter().position(|record| matches!(record, Record::Lost(_))).unwrap();
    let marks = records.iter().filter(|record| matches!(record, Record::Mark(_)));
    seeds.extend(marks.map(|mark| {
        let mut records = vec![records[0].clone(), records[1].clone(), records[2].clone(), records[lost].clone()];
        records.push(mark.clone());
        log(&records)
    }));
    seeds.extend((0..8).map(|first| log(&[records[first].clone(), records[14].clone(), records[17].clone()])));
    Fuzz { target: "folds", seeds, tokens: &["\u{1}\0\0\0\0\0\0\0", "\0\0"], inputs: 15_000 }.run(check);
}
