//! The fold of a log and recovery's plan for it: tables.

use lockstep_model::{
    Action, Code, Document, Key, Lsn, Operation, State, Table, UnrelateTarget, Vector, Vectors, Version, is_legal_step,
};
use lockstep_wal::{
    Before, Caller, Decision, Failure, Fold, ImageRecord, Intent, Irregular, LastWrites, Mark, Outcome, Record, States,
    plan,
};
use proptest::prelude::*;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn put(text: &str) -> Action {
    Action::Put { key: key(text), document: Document::default(), vectors: Vectors::single(Vector::Dense(vec![1.0])) }
}

fn delete(text: &str) -> Action {
    Action::Delete { key: key(text) }
}

fn relate(from: &str, to: &str) -> Action {
    let (edge, from, to) = (Table::new("e").unwrap(), key(from), key(to));
    Action::Relate {
        key: Key::edge(&edge, &from, &to),
        from,
        to,
        document: Document::default(),
        vectors: Vectors::default(),
    }
}

fn unrelate(from: &str, to: &str) -> Action {
    Action::Unrelate(UnrelateTarget::Endpoints { edge: Table::new("e").unwrap(), from: key(from), to: key(to) })
}

fn way(state: State) -> &'static [State] {
    match state {
        State::Pending => &[],
        State::SurrealCompleted => &[State::SurrealCompleted],
        State::QdrantCompleted => &[State::SurrealCompleted, State::QdrantCompleted],
        State::Committed => &[State::SurrealCompleted, State::QdrantCompleted, State::Committed],
        State::Compensating => &[State::Compensating],
        State::RolledBack => &[State::Compensating, State::RolledBack],
        State::Parked => &[State::Parked],
        State::Discarded => &[State::Parked, State::Discarded],
    }
}

/// A log of these operations, each brought to its state.
fn fold(ops: &[(Action, State)]) -> Fold {
    let mut fold = Fold::new();
    let mut next = 1;
    for (action, state) in ops {
        let op = Lsn(next);
        let intent = Intent {
            version: Version(next),
            at_us: next,
            caller: Caller::default(),
            wants_vectors: !matches!(action, Action::Relate { vectors, .. } if vectors.0.is_empty()),
            defines: Vec::new(),
            op: Operation::plain(action.clone()),
        };
        fold.record(op, &Record::Intent(Box::new(intent)), 100);
        for &state in way(*state) {
            next += 1;
            fold.record(Lsn(next), &Record::Mark(Mark { state, at_us: next, ops: vec![op], failure: None }), 10);
        }
        next += 1;
    }
    assert_eq!(fold.irregular, []);
    fold
}

fn decisions(ops: &[(Action, State)]) -> Vec<Decision> {
    plan(&fold(ops)).into_iter().map(|(_, decision)| decision).collect()
}

#[test]
fn each_state_has_its_decision() {
    for (state, decision) in [
        (State::Pending, Decision::Redo),
        (State::SurrealCompleted, Decision::Redo),
        (State::QdrantCompleted, Decision::Redo),
        (State::Committed, Decision::Verify),
        (State::Compensating, Decision::Undo),
        (State::RolledBack, Decision::Ended),
        (State::Parked, Decision::LeaveParked),
        (State::Discarded, Decision::Ended),
    ] {
        assert_eq!(decisions(&[(put("a:1"), state)]), [decision], "{}", state.as_str());
    }
}

#[test]
fn only_the_last_committed_write_of_a_key_is_verified() {
    use State::{Committed, Pending, RolledBack};
    let ops = [(put("a:1"), Committed), (put("a:1"), Committed), (put("a:1"), RolledBack), (put("a:1"), Pending)];
    assert_eq!(decisions(&ops), [Decision::Overtaken, Decision::Verify, Decision::Ended, Decision::Redo]);
}

/// Scenario A2: verification does not resurrect edges of deleted nodes.
#[test]
fn scenario_a2_an_edge_is_overtaken_by_a_delete_of_its_endpoint() {
    use State::Committed;
    let nodes = [(put("a:1"), Committed), (put("a:2"), Committed), (relate("a:1", "a:2"), Committed)];
    let with = |last: Action| {
        let mut ops = nodes.to_vec();
        ops.push((last, Committed));
        decisions(&ops)
    };
    assert_eq!(with(put("a:3"))[2], Decision::Verify);
    // A put keeps the node's edges.
    assert_eq!(with(put("a:1"))[2], Decision::Verify);
    assert_eq!(with(delete("a:1"))[2], Decision::Overtaken);
    assert_eq!(with(delete("a:2"))[2], Decision::Overtaken);
    assert_eq!(with(unrelate("a:1", "a:2"))[2], Decision::Overtaken);
    assert_eq!(with(relate("a:1", "a:2"))[2], Decision::Overtaken);
}

/// A removal of an end that did not see the edge, because a store had lost it, left its point.
#[test]
fn the_point_of_an_edge_that_went_with_an_end_is_looked_for() {
    use State::Committed;
    let Action::Relate { key, from, to, document, .. } = relate("a:1", "a:2") else { unreachable!() };
    let edge = Action::Relate { key, from, to, document, vectors: Vectors::single(Vector::Dense(vec![1.0])) };
    let after = |last: Action| decisions(&[(edge.clone(), Committed), (last, Committed)])[0];
    assert_eq!(after(delete("a:2")), Decision::Verify);
    // This one writes the key that its ends derive, and looks for the point itself.
    assert_eq!(after(unrelate("a:1", "a:2")), Decision::Overtaken);
    assert_eq!(after(edge.clone()), Decision::Overtaken);
}

/// What the log says to be there: a removal behind the last write says the contrary, one before it nothing.
#[test]
fn a_key_has_a_writer_until_it_is_removed() {
    use State::{Committed, Pending};
    let of = |ops: &[(Action, State)]| LastWrites::of(&fold(ops)).writer(key("a:1").lane());
    let (put, delete) = (put("a:1"), delete("a:1"));
    assert_eq!(of(&[(put.clone(), Pending)]), None);
    assert_eq!(of(&[(put.clone(), Committed), (put.clone(), Committed)]), Some(Lsn(5)));
    assert_eq!(of(&[(put.clone(), Committed), (delete.clone(), Committed)]), None);
    assert_eq!(of(&[(delete, Committed), (put, Committed)]), Some(Lsn(5)));
}

#[test]
fn a_removal_is_always_verified() {
    use State::Committed;
    assert_eq!(decisions(&[(delete("a:1"), Committed), (put("a:1"), Committed)]), [Decision::Verify, Decision::Verify]);
}

#[test]
fn what_no_run_writes_is_noticed() {
    let mut fold = fold(&[(put("a:1"), State::Committed)]);
    fold.record(Lsn(90), &Record::Mark(Mark { state: State::Pending, at_us: 0, ops: vec![Lsn(1)], failure: None }), 1);
    fold.record(Lsn(91), &Record::Mark(Mark { state: State::Parked, at_us: 0, ops: vec![Lsn(50)], failure: None }), 1);
    assert!(matches!(fold.irregular[0], Irregular::Illegal { op: Lsn(1), from: State::Committed, .. }));
    assert!(matches!(fold.irregular[1], Irregular::Stray { op: Lsn(50), .. }));
}

/// Every (state, state) pair: the fold takes a mark exactly if the state machine has the step.
#[test]
fn the_fold_takes_legal_steps_only() {
    for from in State::ALL {
        for to in State::ALL {
            let mut fold = fold(&[(put("a:1"), from)]);
            fold.record(Lsn(90), &Record::Mark(Mark { state: to, at_us: 0, ops: vec![Lsn(1)], failure: None }), 1);
            assert_eq!(fold.irregular.is_empty(), is_legal_step(from, to), "{} to {}", from.as_str(), to.as_str());
        }
    }
}

/// Records in any order, sense or not.
fn any_record() -> impl Strategy<Value = Record> {
    let mark = |(state, ops, failed): (usize, Vec<u64>, bool)| {
        let failure =
            failed.then(|| Failure { store: "qdrant".into(), code: Code::RejectedByQdrant, detail: String::new() });
        Record::Mark(Mark { state: State::ALL[state], at_us: 1, ops: ops.into_iter().map(Lsn).collect(), failure })
    };
    prop_oneof![
        Just(()).prop_map(|()| Record::Intent(Box::new(Intent {
            version: Version(1),
            at_us: 1,
            caller: Caller::default(),
            wants_vectors: true,
            defines: Vec::new(),
            op: Operation::plain(put("a:1")),
        }))),
        (1_u64..20).prop_map(|op| Record::Image(Box::new(ImageRecord {
            op: Lsn(op),
            before: vec![Before { key: "a:1".into(), raw: None, version: None }],
            outcome: Outcome::AsAsked,
        }))),
        (0..State::ALL.len(), proptest::collection::vec(1_u64..20, 0..4), any::<bool>()).prop_map(mark),
    ]
}

proptest! {
    /// Whoever keeps states alone sees what a fold sees.
    #[test]
    fn states_are_those_of_the_fold(records in proptest::collection::vec(any_record(), 0..40)) {
        let (mut fold, mut states) = (Fold::new(), States::default());
        for (record, lsn) in records.iter().zip(1..) {
            fold.record(Lsn(lsn), record, 1);
            states.record(Lsn(lsn), record);
        }
        prop_assert_eq!(&fold.irregular, &states.irregular);
        let folded: Vec<_> = fold.ops.iter().map(|(&lsn, head)| (lsn, head.state)).collect();
        prop_assert_eq!(folded, states.iter().collect::<Vec<_>>());
        for (lsn, head) in &fold.ops {
            prop_assert_eq!(states.of(*lsn), Some(head.state));
            prop_assert_eq!(states.failures.contains_key(lsn), head.failure.is_some());
        }
    }
}

/// Every decision has a reason of its own, in every state that leads to it.
#[test]
fn every_decision_is_explained() {
    let mut reasons = std::collections::BTreeSet::new();
    for state in State::ALL {
        let fold = fold(&[(put("a:1"), state)]);
        let (_, decision) = plan(&fold)[0];
        reasons.insert(decision.reason(&fold.ops[&Lsn(1)]));
    }
    assert_eq!(reasons.len(), State::ALL.len());
    let removed = fold(&[(delete("a:1"), State::Committed), (put("a:2"), State::Committed)]);
    let [removal, write] = [Lsn(1), Lsn(5)].map(|lsn| Decision::Verify.reason(&removed.ops[&lsn]));
    assert!(removal.contains("removal") && !write.contains("removal"), "{removal} / {write}");
}
