//! `point_id = "field:NAME"`: the record says which point is its own, through every change and kill.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_engine::Settings;
use lockstep_model::{Action, Code, Document, Operation, PointId, State, TableRules, Value, Vectors};
use tokio::time::sleep;

use crate::clients::{Style, key};
use crate::faults::{FaultPlan, Outcome};
use crate::machine::{LATE, Machine, Sabotage};
use crate::reckoning::quiet;
use crate::scene::{
    clear, code, delete, document, group, live, machine, patch, put, refused, relate_with, run, served, until, vector,
    with_table,
};
use crate::vectors::POISON;

fn settings() -> Settings {
    with_table("n", TableRules { point_id: "field:uid".parse().unwrap(), ..TableRules::default() })
}

/// A put whose document names its point.
fn named(text: &str, uid: i64, first: f32) -> Operation {
    Operation::plain(Action::Put { key: key(text), document: naming(uid), vectors: vector(first) })
}

fn naming(uid: i64) -> Document {
    let mut document = document(1);
    document.0.insert("uid".into(), Value::Int(uid));
    document
}

/// The points of the table, and those that its records name at the same versions.
fn points(machine: &Machine) -> (BTreeSet<PointId>, BTreeSet<PointId>) {
    let (documents, vectors) = (machine.documents.lock().unwrap(), machine.vectors.lock().unwrap());
    let there = vectors.points.keys().filter(|(collection, _)| collection == "n").map(|(_, id)| *id).collect();
    let mut expected = BTreeSet::new();
    for (key, record) in documents.records.iter().filter(|(key, _)| key.table.as_str() == "n") {
        let Some(Value::Int(uid)) = record.document.0.get("uid") else { continue };
        let id = PointId::Num(u64::try_from(*uid).unwrap());
        let point = vectors.points.get(&("n".to_owned(), id));
        let version = record.stamp.map(|stamp| stamp.version);
        assert!(point.is_none_or(|point| point.stamp.version == version), "the point of {key} is of another version");
        expected.insert(id);
    }
    (there, expected)
}

#[test]
fn a_record_names_its_point_for_as_long_as_it_lives() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, settings(), |engine| async move {
        assert_eq!(run(&engine, named("n:a", 7, 1.0)).await.state, State::Committed);
        assert_eq!(run(&engine, named("n:a", 7, 2.0)).await.state, State::Committed);
        assert_eq!(points(&this).0, BTreeSet::from([PointId::Num(7)]));
        assert!(engine.entity(&key("n:a")).await.point.unwrap().is_some());

        // Under another name the old point would be left behind.
        let ended = run(&engine, named("n:a", 8, 3.0)).await;
        assert_eq!((ended.state, code(&ended)), (State::RolledBack, Some(Code::PreconditionFailed)));
        let patched = Action::Patch { key: key("n:a"), document: naming(9), vectors: Vectors::default() };
        assert_eq!(code(&run(&engine, Operation::plain(patched)).await), Some(Code::PreconditionFailed));
        assert_eq!(run(&engine, patch("n:a", 5)).await.state, State::Committed);
        assert_eq!(points(&this).0, BTreeSet::from([PointId::Num(7)]));

        assert_eq!(refused(&engine, put("n:b", 1, 1.0)).code, Code::Malformed);
        assert_eq!(refused(&engine, relate_with("n", "n:a", "n:a", 1.0)).code, Code::Malformed);
        let bare =
            Operation::plain(Action::Put { key: key("n:b"), document: document(1), vectors: Vectors::default() });
        assert_eq!(run(&engine, bare).await.state, State::Committed);
        let vector = Operation::plain(Action::Patch { key: key("n:b"), document: document(1), vectors: vector(1.0) });
        assert_eq!(code(&run(&engine, vector).await), Some(Code::Malformed));

        assert_eq!(run(&engine, delete("n:a")).await.state, State::Committed);
        assert!(points(&this).0.is_empty());
        // Once it is gone, the key is free to name another.
        assert_eq!(run(&engine, named("n:a", 8, 3.0)).await.state, State::Committed);
        assert_eq!(run(&engine, named("n:c", 9, 3.0)).await.state, State::Committed);
        assert_eq!(run(&engine, clear("n")).await.state, State::Committed);
        assert!(points(&this).0.is_empty());
        // Nothing says any more which point was its own.
        assert!(engine.entity(&key("n:a")).await.point.is_err());
    });
}

/// Kills the operation at each step, with each outcome of a call to either store: afterwards every record of the table has the
/// point that it names, and there are no others.
fn at_every_step(op: &Operation) {
    let lost = [Outcome::Lost, Outcome::Silent, Outcome::NotApplied];
    let scripts = lost.iter().flat_map(|outcome| [("surreal", Some(*outcome)), ("qdrant", Some(*outcome))]);
    for (store, outcome) in scripts.chain([("surreal", None)]) {
        for served in [false, true] {
            let stride = if served { 3 } else { 1 };
            for step in (0..3000).step_by(stride) {
                if killed_at(step, op, (store, outcome), served) {
                    break;
                }
            }
        }
    }
}

fn killed_at(step: u64, op: &Operation, (store, outcome): (&str, Option<Outcome>), served: bool) -> bool {
    let mut machine = Machine::new(step, FaultPlan::default(), false, Sabotage::Nothing, Style::Ordered);
    if served {
        machine.serve();
    }
    let its_settings = || Settings { tables: settings().tables, ..machine.its_settings() };
    let (first, second, third) = (its_settings(), its_settings(), its_settings());
    let this = machine.again();
    machine.live(u64::MAX, move || async move {
        let engine = this.start(first).await;
        for uid in [1, 2] {
            run(&engine, named(&format!("n:{uid}"), uid, 1.0)).await;
        }
        quiet(&engine).await.unwrap();
        engine.checkpoint().await.unwrap();
    });
    if let Some(outcome) = outcome {
        machine.faults.script(store, &[outcome]);
    }
    let through = Arc::new(Mutex::new(false));
    let told = Arc::clone(&through);
    let (this, op_now) = (machine.again(), op.clone());
    machine.live(step, move || async move {
        let engine = this.start(second).await;
        run(&engine, op_now).await;
        quiet(&engine).await.unwrap();
        engine.checkpoint().await.unwrap();
        *told.lock().unwrap() = true;
    });
    let this = machine.again();
    let kind = op.action.kind();
    machine.live(u64::MAX, move || async move {
        let engine = this.start(third).await;
        if served {
            sleep(LATE * 4).await;
        }
        quiet(&engine).await.unwrap();
        let (there, expected) = points(&this);
        assert_eq!(there, expected, "{kind}, {store} {outcome:?}, served {served}, killed at step {step}");
    });
    let through = *through.lock().unwrap();
    assert!(step < 2900 || through, "{kind} never gets through");
    through
}

#[test]
fn p2_a_delete_of_a_record_that_names_its_point_survives_every_kill() {
    at_every_step(&delete("n:1"));
}

#[test]
fn p2_a_put_over_a_record_that_names_its_point_survives_every_kill() {
    at_every_step(&named("n:1", 1, 2.0));
}

#[test]
fn p2_a_group_over_records_that_name_their_points_survives_every_kill() {
    at_every_step(&group([delete("n:1"), named("n:2", 2, 3.0), named("n:3", 3, 3.0)]));
}

/// What the group removed and made is what it was, when it is taken back.
#[test]
fn p2_a_refused_group_gives_named_points_back() {
    // The other collection refuses, when this one has taken its part.
    at_every_step(&group([delete("n:1"), named("n:2", 2, 3.0), named("n:3", 3, 3.0), put("z:1", 1, POISON)]));
}

/// A late upsert brings back a point that its record, written anew, does not name any more: it goes.
#[test]
fn p3_a_late_upsert_of_a_point_that_nobody_names_any_more_goes() {
    let late = Duration::from_secs(20);
    let mut machine = served();
    machine.vectors.lock().unwrap().late_at_least = late - Duration::from_secs(1);
    let its = Settings { tables: settings().tables, late_after: late, ..machine.its_settings() };
    let this = machine.again();
    live(&mut machine, its, |engine| async move {
        this.faults.script("qdrant", &[Outcome::Silent]);
        assert_eq!(run(&engine, named("n:1", 1, 1.0)).await.state, State::Committed);
        assert_eq!(run(&engine, delete("n:1")).await.state, State::Committed);
        assert_eq!(run(&engine, named("n:1", 2, 1.0)).await.state, State::Committed);
        until(|| points(&this).0.len() == 2).await;
        sleep(late * 3).await;
        quiet(&engine).await.unwrap();
        assert_eq!(points(&this).0, BTreeSet::from([PointId::Num(2)]));
    });
}
