//! Members of groups: what must hold for one of them decides about all. And what an operation may name.

use lockstep_engine::{OpFilter, Pausable, SearchQuery, StoreName, Verdict};
use lockstep_model::{Action, Code, Key, Operation, Precondition, State, UnrelateTarget, Value, Vector, Version};

use crate::clients::key;
use crate::machine::Machine;
use crate::scene::{code, delete, document, end, group, live, machine, patch, put, relate, run, take};

fn conditional<const N: usize>(mut group: Operation, conditions: [(usize, Precondition); N]) -> Operation {
    group.members = conditions.into();
    group
}

const ABSENT: Precondition = Precondition { if_version: None, if_absent: true };

const fn version(version: Version) -> Precondition {
    Precondition { if_version: Some(version), if_absent: false }
}

/// One member's condition fails, and nothing of the group takes effect; where all of them hold, all of it does.
#[test]
fn p2_a_condition_of_a_member_decides_about_the_whole_group() {
    let mut machine = machine();
    let documents = std::sync::Arc::clone(&machine.documents);
    live(&mut machine, Machine::settings(), |engine| async move {
        let first = engine.take(put("a:1", 1, 1.0), lockstep_wal::Caller::default()).unwrap();
        assert_eq!(end(&engine, first.lsn).await.state, State::Committed);
        let both = || group([put("a:1", 2, 2.0), put("a:2", 3, 3.0)]);
        for conditions in [
            [(0, ABSENT), (1, ABSENT)],
            [(0, version(Version(7))), (1, ABSENT)],
            [(0, version(first.version)), (1, version(first.version))],
        ] {
            let refused = run(&engine, conditional(both(), conditions)).await;
            assert_eq!(
                (refused.state, code(&refused)),
                (State::RolledBack, Some(Code::PreconditionFailed)),
                "{conditions:?}"
            );
            let why = refused.failure.unwrap().detail;
            assert!(why.starts_with("ops["), "{why}");
        }
        assert_eq!(documents.lock().unwrap().records.len(), 1);
        let holds = conditional(both(), [(0, version(first.version)), (1, ABSENT)]);
        assert_eq!(run(&engine, holds).await.state, State::Committed);
        let entity = engine.entity(&key("a:1")).await;
        assert_eq!(entity.record.unwrap().unwrap().document, document(2));
    });
}

/// `unrelate` is about edges: a record that it names is not removed, and one that is not there is success.
#[test]
fn an_unrelate_by_key_removes_edges_alone() {
    let mut machine = machine();
    live(&mut machine, Machine::settings(), |engine| async move {
        let unrelate = |key: Key| Operation::plain(Action::Unrelate(UnrelateTarget::Key(key)));
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate("a:1", "a:2")] {
            assert_eq!(run(&engine, op).await.state, State::Committed);
        }
        for op in [unrelate(key("a:1")), group([unrelate(key("a:1")), delete("a:2")])] {
            let refused = run(&engine, op).await;
            assert_eq!((refused.state, code(&refused)), (State::RolledBack, Some(Code::PreconditionFailed)));
        }
        assert_eq!(engine.entity(&key("a:1")).await.verdict, Verdict::Consistent);
        let edge = Key::edge(&"e".parse().unwrap(), &key("a:1"), &key("a:2"));
        for _ in 0..2 {
            assert_eq!(run(&engine, unrelate(edge.clone())).await.state, State::Committed);
            assert_eq!(engine.entity(&edge).await.verdict, Verdict::NotFound);
        }
    });
}

/// The ends of an edge are no fields that a patch could set: it is told so, and nothing is dropped in silence.
#[test]
fn p7_a_patch_of_an_edge_does_not_set_its_ends() {
    let mut machine = machine();
    live(&mut machine, Machine::settings(), |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate("a:1", "a:2")] {
            assert_eq!(run(&engine, op).await.state, State::Committed);
        }
        let edge = Key::edge(&"e".parse().unwrap(), &key("a:1"), &key("a:2"));
        let mut moves = patch(&edge.to_string(), 7);
        if let Action::Patch { document, .. } = &mut moves.action {
            document.0.insert("in".to_owned(), Value::Record(key("a:2")));
        }
        let refused = run(&engine, moves).await;
        assert_eq!((refused.state, code(&refused)), (State::RolledBack, Some(Code::Malformed)));
        assert_eq!(run(&engine, patch(&edge.to_string(), 7)).await.state, State::Committed);
        // A record may have fields of these names.
        let mut plain = patch("a:1", 8);
        if let Action::Patch { document, .. } = &mut plain.action {
            document.0.insert("in".to_owned(), Value::Int(1));
        }
        assert_eq!(run(&engine, plain).await.state, State::Committed);
    });
}

/// What an open group deletes is no hit any more, and the group is listed under each of the keys that it writes.
#[test]
fn p7_what_a_group_deletes_is_not_found_and_the_group_is_listed() {
    let mut machine = machine();
    live(&mut machine, Machine::settings(), |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0)] {
            assert_eq!(run(&engine, op).await.state, State::Committed);
        }
        engine.pause(&Pausable::Store(StoreName::Surreal)).unwrap();
        let (lsn, op_id) = take(&engine, group([delete("a:1"), put("a:2", 3, 3.0)])).await;
        let query = SearchQuery {
            table: "a".parse().unwrap(),
            vector: Vector::Dense(vec![1.0, 1.0]),
            using: "default".to_owned(),
            limit: 5,
            filter: None,
            with_document: false,
        };
        let found = engine.search(&query).await.unwrap();
        let keys: Vec<&Key> = found.hits.iter().map(|hit| &hit.key).collect();
        assert_eq!((keys, found.dropped), (vec![&key("a:2")], 1));
        engine.resume(&Pausable::Store(StoreName::Surreal)).unwrap();
        assert_eq!(end(&engine, lsn).await.state, State::Committed);
        for (text, listed) in [("a:1", true), ("a:2", true), ("a:3", false)] {
            let filter = OpFilter { key: Some(key(text)), limit: 10, ..OpFilter::default() };
            let ops = engine.ops(&filter).unwrap().0;
            assert_eq!(ops.iter().any(|op| op.summary.op_id == op_id), listed, "{text}");
        }
    });
}

/// A point that is there although the last operation on its key removed it is told as that; one that nobody removed is an orphan.
#[test]
fn p7_a_point_that_outlives_its_removal_is_told() {
    let mut machine = machine();
    let (documents, vectors) = (std::sync::Arc::clone(&machine.documents), std::sync::Arc::clone(&machine.vectors));
    live(&mut machine, Machine::settings(), |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0)] {
            assert_eq!(run(&engine, op).await.state, State::Committed);
        }
        let points = vectors.lock().unwrap().points.clone();
        assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
        vectors.lock().unwrap().points = points;
        documents.lock().unwrap().records.remove(&key("a:2"));
        assert_eq!(engine.entity(&key("a:1")).await.verdict, Verdict::DeletedPresent);
        assert_eq!(engine.entity(&key("a:2")).await.verdict, Verdict::OrphanVector);
    });
}
