//! Every kind of operation, killed at every step, with every outcome of each store: after the restart both stores show it or
//! neither, and what was told as final stays so (P2).

use std::sync::{Arc, Mutex};

use lockstep_model::{Action, Operation, Table, UnrelateTarget, Value};
use tokio::time::sleep;

use crate::clients::{Style, key};
use crate::faults::{FaultPlan, Outcome};
use crate::machine::{LATE, Machine, Sabotage};
use crate::reckoning::{Tally, quiet, reckon};
use crate::scene::{asked, clear, delete, document, group, patch, put, relate_with, vector};
use crate::vectors::POISON;

/// Who says what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Both,
    SurrealRefuses,
    QdrantRefuses,
    Surreal(Outcome),
    Qdrant(Outcome),
}

const ANSWERS: [Turn; 7] = [
    Turn::Both,
    Turn::Surreal(Outcome::Lost),
    Turn::Surreal(Outcome::Silent),
    Turn::Surreal(Outcome::NotApplied),
    Turn::Qdrant(Outcome::Lost),
    Turn::Qdrant(Outcome::Silent),
    Turn::Qdrant(Outcome::NotApplied),
];

const REFUSALS: [Turn; 2] = [Turn::SurrealRefuses, Turn::QdrantRefuses];

/// What is there before.
fn before() -> Vec<Operation> {
    vec![
        put("a:1", 1, 1.0),
        put("a:2", 2, 2.0),
        put("a:3", 3, 3.0),
        relate_with("f", "a:1", "a:2", 1.0),
        relate_with("f", "a:3", "a:1", 2.0),
        relate_with("g", "a:2", "a:3", 3.0),
    ]
}

/// Makes a store refuse what the member writes.
fn spoil(op: &mut Operation, turn: Turn) {
    let action =
        if let Action::Atomic(members) = &mut op.action { members.last_mut().unwrap() } else { &mut op.action };
    let (Action::Put { document, vectors, .. }
    | Action::Patch { document, vectors, .. }
    | Action::Relate { document, vectors, .. }) = action
    else {
        panic!("nothing of it can be refused");
    };
    match turn {
        Turn::SurrealRefuses => drop(document.0.insert("poison".into(), Value::Text("surreal".into()))),
        Turn::QdrantRefuses => *vectors = vector(POISON),
        Turn::Both | Turn::Surreal(_) | Turn::Qdrant(_) => {}
    }
}

/// Kills it at each step, until it gets through.
fn at_every_step(op: &Operation, turns: &[Turn]) {
    for &turn in turns {
        for served in [false, true] {
            let mut op = op.clone();
            if REFUSALS.contains(&turn) {
                spoil(&mut op, turn);
            }
            // A served store costs more steps, of which most are alike.
            let stride = if served { 3 } else { 1 };
            for step in (0..3000).step_by(stride) {
                if killed_at(step, &op, turn, served, None).0 {
                    break;
                }
            }
        }
    }
}

/// Kills it at some of its steps, and at each of these the recovery at each of its own: it ends all the same.
fn and_its_recovery(op: &Operation, turns: &[Turn]) {
    for &turn in turns {
        for (served, stride) in [(false, 8), (true, 40)] {
            let mut recoveries = 0;
            for step in (2..3000).step_by(stride) {
                let again = (0..1000).find(|again| killed_at(step, op, turn, served, Some(*again)).1);
                let again = again.unwrap_or_else(|| panic!("{turn:?}, killed at step {step}: it never recovers"));
                recoveries += again;
                if killed_at(step, op, turn, served, None).0 {
                    break;
                }
            }
            assert!(recoveries > 10, "{recoveries} recoveries were killed: too few");
        }
    }
}

/// Tells whether it got through before the kill; and, where its recovery is killed `again` at a step of its own, whether that did.
fn killed_at(step: u64, op: &Operation, turn: Turn, served: bool, again: Option<u64>) -> (bool, bool) {
    let mut machine = Machine::new(step, FaultPlan::default(), false, Sabotage::Nothing, Style::Ordered);
    if served {
        machine.serve();
    }
    let this = machine.again();
    machine.live(u64::MAX, move || async move {
        let engine = this.start(this.its_settings()).await;
        for op in before() {
            asked(&engine, &this.history, op).await;
        }
        quiet(&engine).await.unwrap();
        engine.checkpoint().await.unwrap();
    });
    match turn {
        Turn::Surreal(outcome) => machine.faults.script("surreal", &[outcome]),
        Turn::Qdrant(outcome) => machine.faults.script("qdrant", &[outcome]),
        Turn::Both | Turn::SurrealRefuses | Turn::QdrantRefuses => {}
    }
    let through = Arc::new(Mutex::new(false));
    let told = Arc::clone(&through);
    let (this, op_now) = (machine.again(), op.clone());
    machine.live(step, move || async move {
        let engine = this.start(this.its_settings()).await;
        asked(&engine, &this.history, op_now).await;
        quiet(&engine).await.unwrap();
        engine.checkpoint().await.unwrap();
        *told.lock().unwrap() = true;
    });
    let recovered = Arc::new(Mutex::new(false));
    if let Some(again) = again {
        let (this, told) = (machine.again(), Arc::clone(&recovered));
        machine.live(again, move || async move {
            let engine = this.start(this.its_settings()).await;
            quiet(&engine).await.unwrap();
            *told.lock().unwrap() = true;
        });
    }
    let this = machine.again();
    let kind = op.action.kind();
    machine.live(u64::MAX, move || async move {
        let engine = this.start(this.its_settings()).await;
        if served {
            sleep(LATE * 4).await;
        }
        let done = match quiet(&engine).await {
            Ok(()) => reckon(&this, &engine, &mut Tally::default()),
            Err(why) => Err(why),
        };
        if let Err(why) = done {
            panic!("{kind}, {turn:?}, served {served}, killed at step {step} and {again:?}: {why}");
        }
    });
    let through = *through.lock().unwrap();
    assert!(step < 2900 || through, "{kind} never gets through");
    (through, *recovered.lock().unwrap())
}

fn answered(op: &Operation) {
    at_every_step(op, &ANSWERS);
}

fn answered_or_refused(op: &Operation) {
    at_every_step(op, &ANSWERS);
    at_every_step(op, &REFUSALS);
}

#[test]
fn p2_a_put_over_nothing_survives_every_kill() {
    answered_or_refused(&put("a:9", 9, 9.0));
}

#[test]
fn p2_a_put_over_something_survives_every_kill() {
    answered_or_refused(&put("a:1", 9, 9.0));
}

#[test]
fn p2_a_patch_survives_every_kill() {
    answered_or_refused(&patch("a:1", 9));
}

#[test]
fn p2_a_delete_with_edges_survives_every_kill() {
    answered(&delete("a:1"));
}

#[test]
fn p2_a_relate_survives_every_kill() {
    answered_or_refused(&relate_with("g", "a:1", "a:2", 9.0));
}

#[test]
fn p2_an_unrelate_by_key_survives_every_kill() {
    let edge = relate_with("f", "a:1", "a:2", 1.0).action.subject().unwrap();
    answered(&Operation::plain(Action::Unrelate(UnrelateTarget::Key(edge))));
}

#[test]
fn p2_an_unrelate_by_endpoints_survives_every_kill() {
    let target = UnrelateTarget::Endpoints { edge: Table::new("f").unwrap(), from: key("a:1"), to: key("a:2") };
    answered(&Operation::plain(Action::Unrelate(target)));
}

#[test]
fn p2_a_group_survives_every_kill() {
    let members = [
        put("a:1", 10, 10.0),
        put("a:9", 11, 11.0),
        relate_with("f", "a:9", "a:1", 12.0),
        delete("a:3"),
        patch("a:2", 13),
    ];
    answered_or_refused(&group(members));
}

#[test]
fn p2_a_clear_survives_every_kill() {
    answered(&clear("a"));
}

/// Recovery ends, also when it is killed at each of its steps.
#[test]
fn p2_a_killed_recovery_recovers() {
    let some = [Turn::Both, Turn::Surreal(Outcome::Silent), Turn::Qdrant(Outcome::Lost)];
    let members = [put("a:1", 10, 10.0), put("a:9", 11, 11.0), relate_with("f", "a:9", "a:1", 12.0), delete("a:3")];
    and_its_recovery(&group(members), &some);
    for op in [put("a:1", 9, 9.0), patch("a:1", 9), delete("a:1"), clear("a")] {
        and_its_recovery(&op, &some);
    }
    let mut refused = put("a:1", 9, 9.0);
    spoil(&mut refused, Turn::QdrantRefuses);
    and_its_recovery(&refused, &[Turn::Both]);
}

/// What spoils an operation is what the model calls poison: the refusals above are refusals.
#[test]
fn a_spoilt_patch_is_refused() {
    let mut op = patch("a:1", 9);
    spoil(&mut op, Turn::SurrealRefuses);
    let Action::Patch { document: spoilt, .. } = op.action else { panic!("it was a patch") };
    assert_ne!(spoilt, document(9));
}
