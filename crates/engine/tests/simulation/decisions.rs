//! What an operator decides about parked operations.

use std::sync::{Arc, Mutex};

use lockstep_engine::{Decided, Decision, Engine, OpFilter, Settings, Verdict};
use lockstep_model::{Action, Code, Idempotency, Lsn, OnReject, Operation, Refusal, State, TableRules, Vectors};
use lockstep_stores::Class;
use lockstep_wal::Caller;
use tokio::time::sleep;

use crate::clients::key;
use crate::documents::Disk;
use crate::faults::Outcome;
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{
    delete, document, end, group, live, machine, patch, put, relate_with, run, take, until, with_table,
};
use crate::vectors::POISON;

const RETRY: Decision = Decision::Retry { force: false };

fn parks() -> Settings {
    with_table("a", TableRules { on_reject: OnReject::Park, ..TableRules::default() })
}

async fn decide(engine: &Engine, lsn: Lsn, decision: Decision) -> Result<Decided, Refusal> {
    engine.decide(lsn, decision, Some("a note".into()), Caller { uid: Some(1000) }).await
}

async fn refused(engine: &Engine, lsn: Lsn, decision: Decision) -> Code {
    decide(engine, lsn, decision).await.expect_err("it is refused").code
}

/// A delete that SurrealDB refused: parked, and nothing has happened.
async fn parked_delete(machine: &Machine, engine: &Engine, op: Operation) -> Lsn {
    run(engine, put("a:1", 1, 1.0)).await;
    machine.documents.lock().unwrap().undeletable.insert(key("a:1"));
    let (lsn, _) = take(engine, op).await;
    assert_eq!(end(engine, lsn).await.state, State::Parked);
    machine.documents.lock().unwrap().undeletable.clear();
    lsn
}

/// A put that Qdrant refused: parked, and SurrealDB shows it.
async fn parked_put(engine: &Engine) -> Lsn {
    run(engine, put("a:1", 1, 1.0)).await;
    let (lsn, _) = take(engine, put("a:1", 2, POISON)).await;
    assert_eq!(end(engine, lsn).await.state, State::Parked);
    lsn
}

#[test]
fn only_what_is_parked_can_be_decided() {
    live(&mut machine(), parks(), |engine| async move {
        let (committed, _) = take(&engine, put("a:1", 1, 1.0)).await;
        end(&engine, committed).await;
        for decision in [RETRY, Decision::Rollback, Decision::Discard] {
            assert_eq!(refused(&engine, committed, decision).await, Code::PreconditionFailed);
            assert_eq!(refused(&engine, Lsn(99_999), decision).await, Code::NotFound);
        }
        let lsn = parked_put(&engine).await;
        let decided = decide(&engine, lsn, Decision::Discard).await.unwrap();
        assert_eq!((decided.state, decided.again.is_none()), (State::Discarded, true));
        for decision in [RETRY, Decision::Rollback, Decision::Discard] {
            assert_eq!(refused(&engine, lsn, decision).await, Code::PreconditionFailed);
        }
    });
}

#[test]
fn a_discarded_operation_stays_as_it_is_and_says_who_decided() {
    let mut machine = machine();
    let this = machine.again();
    let told = Arc::new(Mutex::new(Lsn(0)));
    let lsn = Arc::clone(&told);
    live(&mut machine, parks(), |engine| async move {
        let parked = parked_put(&engine).await;
        *lsn.lock().unwrap() = parked;
        decide(&engine, parked, Decision::Discard).await.unwrap();
        assert_eq!(this.documents.lock().unwrap().records[&key("a:1")].document, document(2));
        let ending = end(&engine, parked).await;
        let detail = ending.failure.unwrap().detail;
        assert!(detail.contains("uid 1000") && detail.contains("a note"), "{detail}");
    });
    live(&mut machine, parks(), |engine| async move {
        quiet(&engine).await.unwrap();
        let lsn = *told.lock().unwrap();
        assert_eq!(end(&engine, lsn).await.state, State::Discarded, "a restart changes no decision");
        assert_eq!(run(&engine, put("a:1", 3, 3.0)).await.state, State::Committed);
    });
}

#[test]
fn a_rollback_restores_what_was_there() {
    live(&mut machine(), parks(), |engine| async move {
        let lsn = parked_put(&engine).await;
        let decided = decide(&engine, lsn, Decision::Rollback).await.unwrap();
        assert_eq!(decided.state, State::RolledBack);
        let entity = engine.entity(&key("a:1")).await;
        assert_eq!(entity.verdict, Verdict::Consistent);
        assert_eq!(entity.record.unwrap().unwrap().document, document(1));
    });
}

/// What is parked holds nobody back: an end of an edge that a parked group took along can go meanwhile. The edge does not come back
/// without it, nor does its point.
#[test]
fn p2_a_rollback_does_not_bring_an_edge_back_to_an_end_that_went() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, parks(), |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate_with("f", "a:2", "a:1", 4.0)] {
            run(&engine, op).await;
        }
        let (lsn, _) = take(&engine, group([delete("a:2"), put("a:3", 3, POISON)])).await;
        assert_eq!(end(&engine, lsn).await.state, State::Parked);
        assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
        assert_eq!(decide(&engine, lsn, Decision::Rollback).await.unwrap().state, State::RolledBack);
        let records: Vec<String> = this.documents.lock().unwrap().records.keys().map(ToString::to_string).collect();
        assert_eq!(records, ["a:2"]);
        assert_eq!(this.vectors.lock().unwrap().points.len(), 1);
    });
}

/// P2: what has been written since is nobody's to take back. The operation stays parked, says why, and can be decided again.
#[test]
fn a_rollback_that_is_blocked_leaves_it_parked_and_says_why() {
    live(&mut machine(), parks(), |engine| async move {
        let lsn = parked_put(&engine).await;
        run(&engine, put("a:1", 3, 3.0)).await;
        let decided = decide(&engine, lsn, Decision::Rollback).await.unwrap();
        assert_eq!(decided.state, State::Parked);
        let why = decided.failure.unwrap().detail;
        assert!(why.contains("version"), "{why}");
        let entity = engine.entity(&key("a:1")).await;
        assert_eq!((entity.verdict, entity.record.unwrap().unwrap().document), (Verdict::Consistent, document(3)));
        quiet(&engine).await.unwrap();
        assert_eq!(engine.status().wal.parked, 1);
        assert_eq!(decide(&engine, lsn, Decision::Discard).await.unwrap().state, State::Discarded);
        assert_eq!(engine.status().wal.parked, 0);
    });
}

/// What was refused before it had an image has touched nothing: a rollback has nothing to do, and says so. It once stopped the
/// engine.
#[test]
fn a_rollback_of_what_touched_nothing_is_a_rollback() {
    let mut machine = machine();
    let this = machine.again();
    let settings = Settings { max_attempts: 2, ..parks() };
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        run(&engine, put("b:1", 1, 1.0)).await;
        for op in [patch("a:1", 2), group([patch("a:1", 3), put("b:2", 3, 3.0)])] {
            this.documents.lock().unwrap().unreadable.insert(key("a:1"), Class::Unknown);
            let (lsn, _) = take(&engine, op).await;
            while engine.open_ops() > 0 {
                run(&engine, put("b:1", 1, 1.0)).await;
            }
            assert_eq!(end(&engine, lsn).await.state, State::Parked);
            this.documents.lock().unwrap().unreadable.clear();
            assert_eq!(decide(&engine, lsn, Decision::Rollback).await.unwrap().state, State::RolledBack);
            assert_eq!(engine.entity(&key("a:1")).await.record.unwrap().unwrap().document, document(1));
        }
        assert_eq!(engine.entity(&key("b:2")).await.verdict, Verdict::NotFound);
    });
}

/// P2: a write without vectors needs no image, so what it was written over is not in the log: a rollback leaves it, for the
/// operator to see. It once removed the record.
#[test]
fn p2_a_rollback_removes_nothing_whose_past_it_does_not_know() {
    let mut machine = machine();
    let this = machine.again();
    let settings = Settings { max_attempts: 2, ..parks() };
    live(&mut machine, settings, |engine| async move {
        run(&engine, without_vectors("a:1", 1)).await;
        run(&engine, put("b:1", 1, 1.0)).await;
        let lsn = silenced(&this, &engine, "a:1", 2, Class::Unknown).await;
        let decided = decide(&engine, lsn, Decision::Rollback).await.unwrap();
        assert_eq!(decided.state, State::Parked);
        let why = decided.failure.unwrap().detail;
        assert!(why.contains("not in the log"), "{why}");
        assert_eq!(this.documents.lock().unwrap().records[&key("a:1")].document, document(2));
        // What created the record can be taken back. Its table parks nothing that is known not to be there.
        let lsn = silenced(&this, &engine, "c:9", 9, Class::NotApplied).await;
        assert_eq!(decide(&engine, lsn, Decision::Rollback).await.unwrap().state, State::RolledBack);
        assert!(!this.documents.lock().unwrap().records.contains_key(&key("c:9")));
    });
}

/// Writes the record without vectors, while nobody gets to hear of it: it is given up, and parked, also when the last call before
/// that is known to have done nothing. It once counted as rolled back then, and stood in one store.
async fn silenced(machine: &Machine, engine: &Engine, text: &str, x: i64, class: Class) -> Lsn {
    machine.documents.lock().unwrap().mute.insert(key(text));
    let (lsn, _) = take(engine, without_vectors(text, x)).await;
    let written = |disk: &Disk| disk.records.get(&key(text)).is_some_and(|record| record.document == document(x));
    until(|| written(&machine.documents.lock().unwrap())).await;
    machine.documents.lock().unwrap().unreadable.insert(key(text), class);
    while engine.open_ops() > 0 {
        run(engine, put("b:1", 1, 1.0)).await;
    }
    assert_eq!(end(engine, lsn).await.state, State::Parked);
    machine.documents.lock().unwrap().mute.clear();
    machine.documents.lock().unwrap().unreadable.clear();
    lsn
}

/// It needs no image.
fn without_vectors(text: &str, x: i64) -> Operation {
    Operation::plain(Action::Put { key: key(text), document: document(x), vectors: Vectors::default() })
}

/// P3: a rollback writes the key, so it queues behind what is open on it.
#[test]
fn p3_a_rollback_waits_in_its_lane() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, parks(), |engine| async move {
        let lsn = parked_put(&engine).await;
        this.faults.script("surreal", &[Outcome::NotApplied; 4]);
        let (open, _) = take(&engine, put("a:1", 3, 3.0)).await;
        let decided = decide(&engine, lsn, Decision::Rollback).await.unwrap();
        assert_eq!(decided.state, State::Parked, "it came after the write that was open before it");
        assert_eq!(end(&engine, open).await.state, State::Committed);
        assert_eq!(engine.entity(&key("a:1")).await.record.unwrap().unwrap().document, document(3));
    });
}

#[test]
fn a_retry_runs_the_same_content_as_a_new_operation() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, parks(), |engine| async move {
        let mut op = delete("a:1");
        op.idempotency = Some(Idempotency { key: "k".into(), body_hash: [1; 16] });
        let lsn = parked_delete(&this, &engine, op.clone()).await;
        let decided = decide(&engine, lsn, RETRY).await.unwrap();
        let again = decided.again.unwrap();
        assert_eq!(decided.state, State::Discarded);
        assert_eq!(end(&engine, again.lsn).await.state, State::Committed);
        assert_eq!(engine.entity(&key("a:1")).await.verdict, Verdict::NotFound);
        let linked = end(&engine, lsn).await.failure.unwrap().detail;
        assert!(linked.contains(&format!("operation {}", again.lsn)), "{linked}");
        // Whoever repeats the key hears of the operation that did the work.
        assert_eq!(take(&engine, op).await.0, again.lsn);
    });
}

#[test]
fn a_retry_of_what_was_written_since_has_to_be_forced() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, parks(), |engine| async move {
        let lsn = parked_delete(&this, &engine, delete("a:1")).await;
        // One that is only logged counts, too.
        this.faults.script("surreal", &[Outcome::NotApplied; 4]);
        let (younger, _) = take(&engine, put("a:1", 3, 3.0)).await;
        assert_eq!(refused(&engine, lsn, RETRY).await, Code::Superseded);
        end(&engine, younger).await;
        assert_eq!(refused(&engine, lsn, RETRY).await, Code::Superseded);
        assert_eq!(engine.entity(&key("a:1")).await.record.unwrap().unwrap().document, document(3));
        let again = decide(&engine, lsn, Decision::Retry { force: true }).await.unwrap().again.unwrap();
        assert_eq!(end(&engine, again.lsn).await.state, State::Committed);
        assert_eq!(engine.entity(&key("a:1")).await.verdict, Verdict::NotFound);
    });
}

/// The old end and the new intent are one group of the log: a crash leaves both, or neither.
#[test]
fn p2_a_crash_right_after_a_retry_leaves_both_records_or_neither() {
    let mut seen = [0, 0];
    // How much of what was not durable survives is chance: each step is tried with some of it.
    for (steps, luck) in (0..50).flat_map(|steps| (0..12).map(move |luck| (steps, luck))) {
        let mut machine = Machine { dice: crate::chance::Dice::new(steps * 100 + luck), ..machine() };
        let parked = Arc::new(Mutex::new(Lsn(0)));
        let (this, told) = (machine.again(), Arc::clone(&parked));
        live(&mut machine, parks(), |engine| async move {
            *told.lock().unwrap() = parked_delete(&this, &engine, delete("a:1")).await;
            quiet(&engine).await.unwrap();
        });
        let (this, lsn) = (machine.again(), *parked.lock().unwrap());
        machine.live(steps, move || async move {
            let engine = this.start(parks()).await;
            // The kill decides whether the answer comes.
            let _ = decide(&engine, lsn, RETRY).await;
            loop {
                this.faults.step().await;
                sleep(std::time::Duration::from_millis(1)).await;
            }
        });
        let both = Arc::new(Mutex::new(false));
        let told = Arc::clone(&both);
        live(&mut machine, parks(), |engine| async move {
            quiet(&engine).await.unwrap();
            let (ops, _) = engine.ops(&OpFilter { limit: 100, ..OpFilter::default() }).unwrap();
            let old = ops.iter().find(|op| op.lsn == lsn).unwrap().state();
            let new = ops.iter().find(|op| op.lsn > lsn).map(lockstep_engine::OpView::state);
            match (old, new) {
                (State::Parked, None) => {}
                (State::Discarded, Some(State::Committed)) => *told.lock().unwrap() = true,
                (old, new) => panic!("killed at {steps}: the old is {old:?}, the new {new:?}"),
            }
        });
        seen[usize::from(*both.lock().unwrap())] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "kills before and after: {seen:?}");
}

/// Two operators have the same idea: one of them decides, and the other hears that it is decided.
#[test]
fn p2_two_decisions_at_once_are_one() {
    for (one, two) in [(RETRY, RETRY), (RETRY, Decision::Discard), (Decision::Rollback, RETRY)] {
        let mut machine = machine();
        let this = machine.again();
        live(&mut machine, parks(), |engine| async move {
            let lsn = parked_delete(&this, &engine, delete("a:1")).await;
            let (first, second) = tokio::join!(decide(&engine, lsn, one), decide(&engine, lsn, two));
            let refused = [&first, &second].into_iter().filter_map(|answer| answer.as_ref().err()).collect::<Vec<_>>();
            assert!(refused.iter().all(|refusal| refusal.code == Code::PreconditionFailed), "{refused:?}");
            // A delete goes forward only: a rollback of it leaves it parked, and whoever comes then may decide.
            assert!(!refused.is_empty() || one == Decision::Rollback, "{one:?} and {two:?} both decided");
            quiet(&engine).await.unwrap();
        });
    }
}
