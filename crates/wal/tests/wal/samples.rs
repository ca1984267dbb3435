//! One record of every kind, with every variant of what it can hold.

use std::collections::BTreeMap;

use lockstep_model::{
    Action, Code, Document, Filter, Idempotency, Lsn, OpId, Operation, Precondition, Scalar, Shape, State, Table,
    UnrelateTarget, Value, Vector, Vectors, Version,
};
use lockstep_wal::{
    Asked, Before, Caller, Checkpoint, Declined, Failure, ImageRecord, Intent, LoggedPoint, LoggedPointId, Lost, Mark,
    MemberOutcome, Outcome, PointBefore, Record, ShapeRow, Verdict,
};
use uuid::Uuid;

fn document() -> Document {
    Document([("title".to_owned(), Value::Text("tide".into()))].into_iter().collect())
}

fn vectors() -> Vectors {
    Vectors::single(Vector::Dense(vec![1.0, -2.5]))
}

pub fn intent(action: Action) -> Record {
    let table = action.table().cloned().unwrap_or_else(|| Table::new("memory").unwrap());
    Record::Intent(Box::new(Intent {
        version: Version(1_700_000_000_000_001),
        at_us: 1_700_000_000_000_000,
        caller: Caller { uid: Some(1000) },
        wants_vectors: true,
        defines: vec![(table, Shape::infer(&vectors()))],
        op: Operation {
            action,
            precondition: Precondition { if_version: Some(Version(7)), if_absent: false },
            members: BTreeMap::new(),
            idempotency: Some(Idempotency { key: "k-1".into(), body_hash: [9; 16] }),
        },
    }))
}

/// A group with conditions on members.
fn conditional_group() -> Record {
    let delete = |text: &str| Action::Delete { key: text.parse().unwrap() };
    let record = intent(Action::Atomic(vec![delete("memory:01"), delete("memory:2"), delete("memory:3")]));
    let Record::Intent(mut intent) = record else { return record };
    intent.op.precondition = Precondition::default();
    intent.op.members = BTreeMap::from([
        (0, Precondition { if_version: Some(Version(7)), if_absent: false }),
        (2, Precondition { if_version: None, if_absent: true }),
    ]);
    Record::Intent(intent)
}

fn group_outcome() -> Outcome {
    let point = LoggedPoint {
        version: Some(Version(5)),
        op: Some(OpId(Uuid::from_u128(6))),
        key: Some("memory:01".into()),
        vectors: vec![1, 0],
        payload: b"{}".to_vec(),
    };
    let before = |id, point| PointBefore { collection: "memory".into(), id, point };
    Outcome::Group {
        members: vec![
            MemberOutcome::AsAsked,
            MemberOutcome::Resolved { document: b"{}".to_vec(), vectors: vec![1, 0], ends: None },
            MemberOutcome::Removes { edges: vec![("mentions:x".into(), None)] },
        ],
        points: vec![before(LoggedPointId::Uuid([7; 16]), Some(point)), before(LoggedPointId::Num(8), None)],
    }
}

/// One record of every kind, with every variant of what it can hold.
pub fn every_record() -> Vec<Record> {
    let key = |text: &str| text.parse().unwrap();
    let edge = Table::new("mentions").unwrap();
    let actions = vec![
        Action::Put { key: key("memory:01"), document: document(), vectors: vectors() },
        Action::Patch { key: key("memory:7"), document: document(), vectors: Vectors::default() },
        Action::Delete { key: key("memory:01") },
        Action::Relate {
            key: key("mentions:x"),
            from: key("memory:01"),
            to: key("person:7"),
            document: document(),
            vectors: vectors(),
        },
        Action::Unrelate(UnrelateTarget::Key(key("mentions:x"))),
        Action::Unrelate(UnrelateTarget::Endpoints { edge, from: key("memory:01"), to: key("person:7") }),
        Action::Atomic(vec![Action::Delete { key: key("memory:01") }, Action::Delete { key: key("memory:2") }]),
        Action::Clear {
            table: Table::new("memory").unwrap(),
            filter: Some(Filter::Eq("workspace".into(), Scalar::Text("w1".into()))),
        },
    ];
    let failure = Failure { store: "qdrant".into(), code: Code::RejectedByQdrant, detail: "wrong size".into() };
    let before = vec![
        Before { key: "memory:01".into(), raw: Some(vec![1, 2, 3]), version: Some(Version(5)) },
        Before { key: "memory:02".into(), raw: None, version: None },
    ];
    let outcomes = vec![
        Outcome::AsAsked,
        Outcome::Resolved { document: b"{}".to_vec(), vectors: vec![1, 0], ends: Some(("a:1".into(), "a:2".into())) },
        Outcome::Removes { edges: vec![("mentions:x".into(), Some(Version(4))), ("mentions:y".into(), None)] },
        group_outcome(),
        Outcome::RemovesPoint { edges: vec![("mentions:x".into(), None)], point: LoggedPointId::Num(7) },
        Outcome::Group {
            members: vec![MemberOutcome::RemovesPoint { edges: Vec::new(), point: LoggedPointId::Uuid([9; 16]) }],
            points: Vec::new(),
        },
    ];
    let mut records: Vec<Record> = actions.into_iter().map(intent).collect();
    records.push(conditional_group());
    records.extend(
        outcomes
            .into_iter()
            .map(|outcome| Record::Image(Box::new(ImageRecord { op: Lsn(42), before: before.clone(), outcome }))),
    );
    records.extend(State::ALL.into_iter().map(|state| {
        Record::Mark(Mark { state, at_us: 3, ops: vec![Lsn(42), Lsn(43)], failure: Some(failure.clone()) })
    }));
    records.push(Record::Checkpoint(Checkpoint {
        at_us: 5,
        clock: 6,
        left: vec![(State::Committed.code(), 7)],
        shapes: vec![ShapeRow { table: "memory".into(), shape: Shape::infer(&vectors()), edges: true }],
    }));
    for verdict in
        [Verdict::Retry { force: false }, Verdict::Retry { force: true }, Verdict::Rollback, Verdict::Discard]
    {
        let note = (verdict == Verdict::Rollback).then(|| "by night".to_owned());
        records.push(Record::Asked(Asked { op: Lsn(42), verdict, caller: Caller { uid: Some(0) }, at_us: 8, note }));
    }
    records.push(Record::Declined(Declined { op: Lsn(42), asked: Lsn(50), at_us: 9, failure }));
    records.push(Record::Lost(Lost {
        last: Lsn(60),
        hides_progress: true,
        hides_operations: false,
        at_us: 10,
        caller: Caller { uid: None },
    }));
    records
}
