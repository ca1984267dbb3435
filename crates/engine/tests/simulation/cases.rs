//! Scenarios, one by one: each broke an earlier text of the design.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_engine::{OpFilter, Settings, StoreName, Verdict, WaitingFor};
use lockstep_model::{
    Action, Code, Document, Idempotency, Lsn, OnReject, OpId, Operation, State, TableRules, Value, Vector, Vectors,
    Version,
};
use lockstep_stores::Stamp;
use lockstep_wal::Caller;
use tokio::time::sleep;

use crate::clients::key;
use crate::documents::SimRecord;
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{
    code, delete, document, end, group, live, machine, patch, put, refused, relate, run, take, with_table,
};
use crate::vectors::POISON;

#[test]
fn scenario_a1_a_parked_op_does_not_fill_the_log() {
    let mut machine = machine();
    let settings = with_table("a", TableRules { on_reject: OnReject::Park, ..TableRules::default() });
    let again = settings.clone();
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let parked = run(&engine, put("a:2", 1, POISON)).await;
        assert_eq!((parked.state, code(&parked)), (State::Parked, Some(Code::RejectedByQdrant)));
        for n in 0..300 {
            // Scenario B2: it has left its lane.
            assert_eq!(run(&engine, put("a:2", n, 1.0)).await.state, State::Committed);
        }
        quiet(&engine).await.unwrap();
        engine.checkpoint().await.unwrap();
        let wal = engine.status().wal;
        assert_eq!((wal.parked, wal.open_ops, wal.states[&State::Committed]), (1, 0, 0), "{wal:?}");
        assert!(wal.last_lsn > Lsn(900) && wal.checkpoint_lsn < Lsn(20), "{wal:?}");
    });
    // The gap that it leaves behind is no loss.
    live(&mut machine, again, |engine| async move {
        quiet(&engine).await.unwrap();
        assert_eq!(engine.status().wal.parked, 1);
        let filter = OpFilter { state: Some(State::Parked), limit: 10, ..OpFilter::default() };
        let (parked, _) = engine.ops(&filter).unwrap();
        assert_eq!(parked.len(), 1);
        assert_eq!(parked[0].waiting_for, Some(WaitingFor::Operator));
        assert_eq!(parked[0].error.as_ref().unwrap().0.code, Code::RejectedByQdrant);
        assert_eq!(run(&engine, put("a:2", 7, 1.0)).await.state, State::Committed);
    });
}

#[test]
fn scenario_a3_an_edge_waits_for_the_put_of_its_endpoint() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        run(&engine, put("a:2", 1, 1.0)).await;
        let (node, _) = take(&engine, put("a:1", 1, POISON)).await;
        let (edge, _) = take(&engine, relate("a:1", "a:2")).await;
        assert_eq!(end(&engine, node).await.state, State::RolledBack);
        let edge = end(&engine, edge).await;
        assert_eq!((edge.state, code(&edge)), (State::RolledBack, Some(Code::NotFound)));
    });
}

#[test]
fn scenario_a4_preconditions_are_judged_once() {
    let mut machine = machine();
    let (documents, log) = (Arc::clone(&machine.documents), Arc::clone(&machine.log));
    live(&mut machine, Machine::settings(), |engine| async move {
        let first = engine.take(put("a:1", 1, 1.0), Caller::default()).unwrap();
        assert_eq!(end(&engine, first.lsn).await.state, State::Committed);
        let mut second = put("a:1", 2, 2.0);
        second.precondition.if_version = Some(first.version);
        let second = engine.take(second, Caller::default()).unwrap();
        // Killed when both stores may show it and its end mark cannot be durable yet.
        while documents.lock().unwrap().records[&key("a:1")].stamp.unwrap().version != second.version {
            sleep(Duration::from_micros(50)).await;
        }
        drop(log);
    });
    live(&mut machine, Machine::settings(), |engine| async move {
        quiet(&engine).await.unwrap();
        let (ops, _) = engine.ops(&OpFilter { limit: 1, ..OpFilter::default() }).unwrap();
        assert_eq!(ops[0].state(), State::Committed, "{:?}", ops[0]);
        let entity = engine.entity(&key("a:1")).await;
        assert_eq!((entity.verdict, entity.record.unwrap().unwrap().document), (Verdict::Consistent, document(2)));
    });
}

#[test]
fn scenario_a7_attempts_count_only_while_the_store_serves_others() {
    let mut machine = machine();
    let (documents, faults) = (Arc::clone(&machine.documents), Arc::clone(&machine.faults));
    let settings = Settings { max_attempts: 4, retry_max: Duration::from_secs(60), ..Machine::settings() };
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        // An outage of an hour: nobody's attempt.
        faults.take_down("surreal", Duration::from_secs(3600));
        let (waiting, op_id) = take(&engine, put("a:1", 2, 1.0)).await;
        sleep(Duration::from_secs(3000)).await;
        let view = engine.op(op_id).unwrap().unwrap();
        assert_eq!((view.state(), view.summary.attempts), (State::Pending, 0));
        assert_eq!(view.waiting_for, Some(WaitingFor::Store(StoreName::Surreal)));
        assert!(!engine.unready().is_empty(), "an outage shows in the readiness");
        assert_eq!(end(&engine, waiting).await.state, State::Committed);
        assert_eq!(engine.unready(), Vec::<String>::new());
        // One op that no call gets through, among others that go: it ends, and alone.
        documents.lock().unwrap().stuck.insert(key("a:9"));
        let (stuck, _) = take(&engine, put("a:9", 1, 1.0)).await;
        let others = engine.clone();
        let traffic = tokio::spawn(async move {
            for n in 0..2000 {
                assert_eq!(run(&others, put("a:1", n, 1.0)).await.state, State::Committed);
                sleep(Duration::from_millis(100)).await;
            }
        });
        let ended = end(&engine, stuck).await;
        assert_eq!((ended.state, code(&ended)), (State::RolledBack, Some(Code::RejectedBySurreal)));
        assert!(ended.failure.unwrap().detail.contains("given up after 4 attempts"));
        traffic.abort();
    });
}

#[test]
fn scenario_a11_an_idempotency_key_outlives_its_intent_and_a_restart() {
    let mut machine = machine();
    let with_key = |mut op: Operation, body: u8| {
        op.idempotency = Some(Idempotency { key: "k".into(), body_hash: [body; 16] });
        op
    };
    let first = Arc::new(Mutex::new(None));
    let told = Arc::clone(&first);
    live(&mut machine, Machine::settings(), |engine| async move {
        let (lsn, op_id) = take(&engine, with_key(patch("a:1", 1), 1)).await;
        assert_eq!(code(&end(&engine, lsn).await), Some(Code::NotFound));
        run(&engine, put("a:1", 1, 1.0)).await;
        quiet(&engine).await.unwrap();
        engine.checkpoint().await.unwrap();
        *told.lock().unwrap() = Some(op_id);
    });
    let first = first.lock().unwrap().unwrap();
    live(&mut machine, Machine::settings(), |engine| async move {
        // The key is there now, and the first answer stands.
        let (lsn, op_id) = take(&engine, with_key(patch("a:1", 1), 1)).await;
        assert_eq!(op_id, first);
        assert_eq!(code(&end(&engine, lsn).await), Some(Code::NotFound));
        assert_eq!(refused(&engine, with_key(patch("a:1", 2), 2)).code, Code::IdempotencyMismatch);
    });
}

/// A start makes sure of the points of what was taken back, and is done with it then. Why it was refused stands in the log. It was once
/// forgotten with that look, and whoever repeated the key was told that the operation is parked.
#[test]
fn p4_a_refusal_is_told_again_after_a_look_at_its_points() {
    let mut machine = machine();
    let settings = Settings { retain_committed: Duration::from_secs(3600), ..Machine::settings() };
    let refused = || {
        let mut op = group([put("a:1", 2, 2.0), put("c:1", 2, POISON)]);
        op.idempotency = Some(Idempotency { key: "k".into(), body_hash: [1; 16] });
        op
    };
    live(&mut machine, settings.clone(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let (lsn, _) = take(&engine, refused()).await;
        assert_eq!(code(&end(&engine, lsn).await), Some(Code::RejectedByQdrant));
    });
    live(&mut machine, settings, |engine| async move {
        quiet(&engine).await.unwrap();
        let (lsn, _) = take(&engine, refused()).await;
        assert_eq!(code(&end(&engine, lsn).await), Some(Code::RejectedByQdrant));
    });
}

/// The ids of some members were made for them, so who lost the answer knows them from nowhere else.
#[test]
fn p4_a_group_that_has_left_the_log_still_tells_its_members_keys() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        let mut op = group([put("a:1", 1, 1.0), put("b:2", 2, 2.0)]);
        op.idempotency = Some(Idempotency { key: "k".into(), body_hash: [1; 16] });
        let first = engine.take(op.clone(), Caller::default()).unwrap();
        end(&engine, first.lsn).await;
        run(&engine, put("a:2", 1, 1.0)).await;
        engine.checkpoint().await.unwrap();
        assert!(engine.status().wal.checkpoint_lsn > first.lsn, "it has left");
        let again = engine.take(op, Caller::default()).unwrap();
        assert_eq!((again.op_id, again.members), (first.op_id, vec![key("a:1"), key("b:2")]));
    });
}

#[test]
fn summaries_expire_with_their_idempotency_keys() {
    let settings = Settings { keep_finished: Duration::from_secs(60), ..Machine::settings() };
    live(&mut machine(), settings, |engine| async move {
        let mut op = put("a:1", 1, 1.0);
        op.idempotency = Some(Idempotency { key: "k".into(), body_hash: [1; 16] });
        let (lsn, op_id) = take(&engine, op.clone()).await;
        end(&engine, lsn).await;
        sleep(Duration::from_secs(30)).await;
        assert!(engine.op(op_id).unwrap().is_some(), "finished work stays visible for a while");
        sleep(Duration::from_secs(60)).await;
        run(&engine, put("a:2", 1, 1.0)).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(engine.op(op_id).unwrap(), None);
        assert_ne!(take(&engine, op).await.1, op_id, "a key that is forgotten runs again");
    });
}

#[test]
fn scenario_a13_a_patch_builds_on_what_its_predecessor_came_to() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let (bad, _) = take(&engine, put("a:1", 2, POISON)).await;
        let mut add = patch("a:1", 0);
        if let Action::Patch { document, .. } = &mut add.action {
            *document = Document(BTreeMap::from([("y".to_owned(), Value::Int(5))]));
        }
        let (good, _) = take(&engine, add).await;
        assert_eq!(end(&engine, bad).await.state, State::RolledBack);
        assert_eq!(end(&engine, good).await.state, State::Committed);
        let record = engine.entity(&key("a:1")).await.record.unwrap().unwrap();
        let want = BTreeMap::from([("x".to_owned(), Value::Int(1)), ("y".to_owned(), Value::Int(5))]);
        assert_eq!(record.document.0, want);
    });
}

/// A version that no clock of the simulation comes to.
const FAR: Version = Version(1_900_000_000_000_000);

/// A record that another Lockstep wrote, with the clock ahead of ours.
fn foreign() -> SimRecord {
    let stamp = Stamp { version: FAR, op: OpId(uuid::Uuid::from_u128(5)), created: false };
    SimRecord { stamp: Some(stamp), document: document(9), kept: None, has_vectors: false, ends: None }
}

#[test]
fn scenario_a14_a_newer_version_of_somebody_else_is_never_committed_over() {
    let mut machine = machine();
    machine.documents.lock().unwrap().records.insert(key("a:1"), foreign());
    live(&mut machine, Machine::settings(), |engine| async move {
        let first = run(&engine, put("a:1", 1, 1.0)).await;
        assert_eq!((first.state, code(&first)), (State::RolledBack, Some(Code::NewerVersion)));
        let entity = engine.entity(&key("a:1")).await;
        assert_eq!(entity.record.unwrap().unwrap().document, document(9), "it was left alone");
        // The clock has seen it: the next write is newer.
        assert_eq!(run(&engine, put("a:1", 1, 1.0)).await.state, State::Committed);
    });
}

/// What is written without a look before it meets the newer version at its fence, and hears of it by reading back alone.
#[test]
fn scenario_a14_what_a_fence_held_back_is_not_committed() {
    let mut machine = machine();
    machine.documents.lock().unwrap().records.insert(key("a:1"), foreign());
    live(&mut machine, Machine::settings(), |engine| async move {
        let ended = run(&engine, delete("a:1")).await;
        assert_eq!((ended.state, code(&ended)), (State::RolledBack, Some(Code::NewerVersion)));
        assert_eq!(engine.entity(&key("a:1")).await.record.unwrap().unwrap().document, document(9));
    });
}

/// The same in Qdrant: what SurrealDB took is taken back.
#[test]
fn scenario_a14_what_a_fence_of_qdrant_held_back_is_taken_back() {
    let mut machine = machine();
    let vectors = Arc::clone(&machine.vectors);
    live(&mut machine, Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        for point in vectors.lock().unwrap().points.values_mut() {
            point.stamp.version = Some(FAR);
            point.stamp.op = Some(OpId(uuid::Uuid::from_u128(5)));
        }
        let ended = run(&engine, put("a:1", 2, 2.0)).await;
        assert_eq!((ended.state, code(&ended)), (State::RolledBack, Some(Code::NewerVersion)));
        assert_eq!(engine.entity(&key("a:1")).await.record.unwrap().unwrap().document, document(1));
        assert_eq!(run(&engine, put("a:1", 3, 3.0)).await.state, State::Committed, "the clock has seen it");
    });
}

#[test]
fn scenario_b10_log_order_decides_which_vector_is_first() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        let three = |text: &str| {
            Operation::plain(Action::Put {
                key: key(text),
                document: document(1),
                vectors: Vectors::single(Vector::Dense(vec![1.0, 2.0, 3.0])),
            })
        };
        let mut doomed = three("a:1");
        doomed.precondition.if_version = Some(Version(5));
        let (lsn, _) = take(&engine, doomed).await;
        assert_eq!(refused(&engine, put("a:2", 1, 1.0)).code, Code::DimensionMismatch);
        assert_eq!(end(&engine, lsn).await.state, State::RolledBack);
        // What nothing has committed with may be replaced.
        assert_eq!(run(&engine, put("a:2", 1, 1.0)).await.state, State::Committed);
        assert_eq!(refused(&engine, three("a:3")).code, Code::DimensionMismatch);
    });
}

#[test]
fn scenario_b11_an_image_over_the_limit_is_refused_at_its_turn() {
    let settings = Settings { image_bytes: 5_000, ..Machine::settings() };
    live(&mut machine(), settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let grow = |n: usize| {
            let document = Document(BTreeMap::from([(format!("f{n}"), Value::Text("x".repeat(2_000)))]));
            Operation::plain(Action::Patch { key: key("a:1"), document, vectors: Vectors::default() })
        };
        assert_eq!(run(&engine, grow(1)).await.state, State::Committed);
        assert_eq!(run(&engine, grow(2)).await.state, State::Committed);
        let third = run(&engine, grow(3)).await;
        assert_eq!((third.state, code(&third)), (State::RolledBack, Some(Code::TooLarge)));
        assert_eq!(run(&engine, put("a:1", 1, 1.0)).await.state, State::Committed, "a put makes it smaller");
    });
}

/// Scenario C1: a point whose record is gone goes with a delete, and with a put that brings no vectors.
#[test]
fn scenario_c1_a_point_without_a_record_goes() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        let bare = Action::Put { key: key("a:1"), document: document(2), vectors: Vectors::default() };
        for op in [delete("a:1"), Operation::plain(bare)] {
            run(&engine, put("a:1", 1, 1.0)).await;
            this.documents.lock().unwrap().records.remove(&key("a:1"));
            assert_eq!(this.vectors.lock().unwrap().points.len(), 1);
            assert_eq!(run(&engine, op.clone()).await.state, State::Committed);
            assert!(this.vectors.lock().unwrap().points.is_empty(), "{op:?}");
        }
    });
}

#[test]
fn an_outside_change_between_the_stages_parks_the_op_and_stays() {
    let mut machine = machine();
    let (documents, faults) = (Arc::clone(&machine.documents), Arc::clone(&machine.faults));
    live(&mut machine, Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        faults.take_down("qdrant", Duration::from_secs(5));
        let (lsn, op_id) = take(&engine, put("a:1", 2, POISON)).await;
        while documents.lock().unwrap().records[&key("a:1")].document != document(2) {
            sleep(Duration::from_millis(1)).await;
        }
        documents.lock().unwrap().records.get_mut(&key("a:1")).unwrap().document = document(77);
        let ended = end(&engine, lsn).await;
        assert_eq!((ended.state, code(&ended)), (State::Parked, Some(Code::Parked)));
        assert_eq!(engine.op(op_id).unwrap().unwrap().waiting_for, Some(WaitingFor::Operator));
        assert_eq!(documents.lock().unwrap().records[&key("a:1")].document, document(77));
    });
}
