//! Atomic groups: all of it, or nothing that anybody could see.

use std::sync::Arc;
use std::time::Duration;

use lockstep_engine::{Pausable, Settings};
use lockstep_model::{
    Action, Code, OnReject, OpId, Operation, State, Stores, Table, TableRules, UnrelateTarget, Value, Vectors, Version,
};
use lockstep_stores::Stamp;
use lockstep_wal::Caller;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::clients::key;
use crate::documents::SimRecord;
use crate::faults::Outcome;
use crate::losses::newest;
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{
    ask, asked, code, delete, document, end, gives_back_behind, group, live, machine, patch, put, reckoned, relate,
    relate_with, run, served, take, until,
};
use crate::vectors::POISON;

/// Runs what is refused, and compares both stores before and after.
fn leaves_everything_as_it_was(refused: Operation, by: Code) {
    let mut machine = machine();
    let (documents, vectors) = (Arc::clone(&machine.documents), Arc::clone(&machine.vectors));
    live(&mut machine, Machine::settings(), |engine| async move {
        for op in [
            put("a:1", 1, 1.0),
            put("a:2", 2, 2.0),
            put("c:1", 3, 3.0),
            relate_with("f", "a:2", "a:1", 4.0),
            relate_with("b", "c:1", "a:2", 5.0),
            relate("a:1", "c:1"),
        ] {
            assert_eq!(run(&engine, op).await.state, State::Committed);
        }
        let records = documents.lock().unwrap().records.clone();
        let points = vectors.lock().unwrap().points.clone();
        assert_eq!((records.len(), points.len()), (6, 5));
        let ended = run(&engine, refused).await;
        assert_eq!((ended.state, code(&ended)), (State::RolledBack, Some(by)));
        quiet(&engine).await.unwrap();
        assert_eq!(documents.lock().unwrap().records, records, "records, edges and kept vectors");
        assert_eq!(vectors.lock().unwrap().points, points);
    });
}

/// Points of `a`, and of the edges in `b`, are written before `c` refuses; so they are taken back, too.
#[test]
fn p2_a_group_refused_in_its_last_collection_leaves_both_stores_as_they_were() {
    let members = [
        put("a:1", 10, 10.0),
        put("a:9", 11, 11.0),
        relate_with("b", "a:9", "a:1", 12.0),
        delete("a:2"),
        put("c:1", 13, POISON),
    ];
    leaves_everything_as_it_was(group(members), Code::RejectedByQdrant);
}

#[test]
fn p2_a_group_refused_by_surreal_leaves_both_stores_as_they_were() {
    let mut bad = patch("c:1", 13);
    if let Action::Patch { document, .. } = &mut bad.action {
        document.0.insert("poison".into(), Value::Text("surreal".into()));
    }
    leaves_everything_as_it_was(group([put("a:1", 10, 10.0), delete("a:2"), bad]), Code::RejectedBySurreal);
}

/// The edges that went with a record come back with it: records and points, also one between two records that both go.
#[test]
fn p2_edges_come_back_with_the_record_that_a_group_deleted() {
    leaves_everything_as_it_was(group([delete("a:1"), delete("a:2"), put("c:1", 1, POISON)]), Code::RejectedByQdrant);
}

#[test]
fn an_edge_may_lead_to_a_record_of_its_own_group() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        let members = [put("a:1", 1, 1.0), put("c:1", 2, 2.0), relate_with("f", "a:1", "c:1", 3.0)];
        let edge = members[2].action.subject().unwrap();
        assert_eq!(run(&engine, group(members)).await.state, State::Committed);
        assert!(engine.entity(&edge).await.point.unwrap().is_some());
    });
}

/// An edge to what its own group deletes would dangle, wherever the delete stands.
#[test]
fn an_edge_to_a_record_that_its_group_deletes_is_not_made() {
    let edge = || relate_with("f", "a:1", "a:2", 9.0);
    leaves_everything_as_it_was(group([delete("a:2"), edge()]), Code::NotFound);
    leaves_everything_as_it_was(group([edge(), delete("a:2")]), Code::NotFound);
}

#[test]
fn an_outside_change_parks_the_group_and_stays() {
    let mut machine = machine();
    let documents = Arc::clone(&machine.documents);
    live(&mut machine, Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        run(&engine, put("c:1", 1, 1.0)).await;
        let members = group([put("a:1", 2, 2.0), put("a:3", 3, 3.0), put("c:1", 4, POISON)]);
        let mut taken = engine.take(members, Caller::default()).unwrap();
        taken.logged().await.unwrap();
        while documents.lock().unwrap().records[&key("a:1")].document != document(2) {
            sleep(Duration::from_micros(10)).await;
        }
        documents.lock().unwrap().records.get_mut(&key("a:1")).unwrap().document = document(77);
        let ended = end(&engine, taken.lsn).await;
        assert_eq!((ended.state, code(&ended)), (State::Parked, Some(Code::Parked)));
        // All of it is taken back, or none of it: the other members stay as well, for the operator to see.
        let documents = documents.lock().unwrap();
        assert_eq!(documents.records[&key("a:1")].document, document(77));
        assert_eq!(documents.records[&key("c:1")].document, document(4));
        assert!(documents.records.contains_key(&key("a:3")));
    });
}

/// Found by seed 76342: SurrealDB had applied the group before a kill, refused it when it was carried out again, because somebody else had
/// written one of its keys meanwhile, and the group was told as rolled back with its other records there.
#[test]
fn p2_a_group_that_was_applied_before_a_kill_is_not_left_and_told_as_rolled_back() {
    let (mut rolled_back, mut parked) = (0, 0);
    for steps in 0..80 {
        let mut machine = served();
        let (settings, again) = (machine.its_settings(), machine.its_settings());
        live(&mut machine, settings.clone(), |engine| async move {
            run(&engine, put("a:3", 3, 3.0)).await;
        });
        let this = machine.again();
        machine.live(steps, move || async move {
            let engine = this.start(again).await;
            let members = group([put("b:1", 1, 1.0), delete("a:3")]);
            let _ = engine.take(members, Caller::default()).unwrap().logged().await;
            loop {
                this.faults.step().await;
                sleep(Duration::from_millis(1)).await;
            }
        });
        let stamp = Stamp { version: Version(1_800_000_000_000_000), op: OpId(Uuid::from_u128(5)), created: false };
        let record =
            SimRecord { stamp: Some(stamp), document: document(7), kept: None, has_vectors: false, ends: None };
        machine.documents.lock().unwrap().records.insert(key("a:3"), record);
        let this = machine.again();
        let (rolled_back, parked) = (&mut rolled_back, &mut parked);
        live(&mut machine, settings, |engine| async move {
            quiet(&engine).await.unwrap();
            let totals = engine.status().totals;
            let is_there = this.documents.lock().unwrap().records.contains_key(&key("b:1"));
            *rolled_back += totals[&State::RolledBack];
            *parked += totals[&State::Parked];
            assert!(totals[&State::RolledBack] == 0 || !is_there, "killed after {steps}: {totals:?}");
        });
    }
    assert!(rolled_back > 0 && parked > 0, "{rolled_back} {parked}: killed before SurrealDB had it, and after");
}

/// Found by seed 63189: the other end of an edge that a group had taken along was deleted and made anew, and the edge came back to it.
/// So did an edge that had been unrelated by its key meanwhile. Also if the group names the edge itself.
#[test]
fn p3_what_a_group_took_along_does_not_come_back_from_under_a_younger_operation() {
    let edge = relate_with("f", "a:2", "a:1", 4.0).action.subject().unwrap();
    let unrelated = || Operation::plain(Action::Unrelate(UnrelateTarget::Key(edge.clone())));
    for removal in [delete("a:2"), unrelated(), Operation::plain(Action::Delete { key: edge.clone() })] {
        for meanwhile in [
            vec![delete("a:1")],
            vec![delete("a:1"), put("a:1", 11, 1.0)],
            vec![unrelated()],
            vec![relate_with("f", "a:2", "a:1", 9.0)],
        ] {
            let mut machine = machine();
            let this = machine.again();
            let (edge, removal) = (edge.clone(), removal.clone());
            let is_there = matches!(meanwhile.first().unwrap().action, Action::Relate { .. });
            live(&mut machine, Machine::settings(), |engine| async move {
                gives_back_behind(&this, &engine, removal, meanwhile).await;
                assert_eq!(this.documents.lock().unwrap().records.contains_key(&edge), is_there);
            });
        }
    }
}

/// Who is older than the group and still has to remove the edge, or an end of it, comes first: what it removed must not come back
/// with the group's undoing.
#[test]
fn p3_what_a_group_took_along_does_not_come_back_past_an_older_operation() {
    let relate = || relate_with("f", "a:2", "b:1", 4.0);
    let edge = relate().action.subject().unwrap();
    let unrelated = Operation::plain(Action::Unrelate(UnrelateTarget::Key(edge.clone())));
    for (paused, older) in [("f", vec![unrelated]), ("b", vec![delete("b:1"), put("b:1", 11, 1.0)])] {
        let mut machine = machine();
        let this = machine.again();
        let edge = edge.clone();
        live(&mut machine, Machine::settings(), |engine| async move {
            for op in [put("b:1", 1, 1.0), put("a:2", 2, 2.0), put("c:1", 3, 3.0), relate()] {
                asked(&engine, &this.history, op).await;
            }
            let paused = Pausable::Table(Table::new(paused).unwrap());
            engine.pause(&paused).unwrap();
            let mut others = Vec::new();
            for op in older {
                others.push(ask(&engine, &this.history, op).await);
            }
            this.faults.script("qdrant", &[Outcome::NotApplied; 4]);
            let lsn = ask(&engine, &this.history, group([delete("a:2"), put("c:1", 13, POISON)])).await;
            sleep(Duration::from_millis(5)).await;
            engine.resume(&paused).unwrap();
            assert_eq!(end(&engine, lsn).await.state, State::RolledBack);
            for other in others {
                assert_eq!(end(&engine, other).await.state, State::Committed);
            }
            reckoned(&this, &engine).await;
            assert!(!this.documents.lock().unwrap().records.contains_key(&edge));
        });
    }
}

/// What is refused before a store has been asked for anything is rolled back, and no operator is needed, also where the table parks what
/// a store refuses, and also if a restart came between.
#[test]
fn a_group_that_is_refused_at_judging_is_not_parked() {
    for steps in 0..30 {
        let mut machine = served();
        let rules = TableRules { on_reject: OnReject::Park, ..TableRules::default() };
        let settings = Settings { tables: [(Table::new("a").unwrap(), rules)].into(), ..machine.its_settings() };
        let (this, again) = (machine.again(), settings.clone());
        machine.live(steps, move || async move {
            let engine = this.start(again).await;
            let _ = engine.take(group([patch("a:1", 1), put("a:2", 2, 2.0)]), Caller::default());
            loop {
                this.faults.step().await;
                sleep(Duration::from_millis(1)).await;
            }
        });
        live(&mut machine, settings, |engine| async move {
            quiet(&engine).await.unwrap();
            assert_eq!(engine.status().totals[&State::Parked], 0, "killed after {steps}");
        });
    }
}

/// A group that took no edges along holds nobody else back after a restart, however long its store stays away.
#[test]
fn p5_an_open_group_that_took_no_edges_holds_nobody_back_after_a_restart() {
    let mut machine = served();
    let mut settings = machine.its_settings();
    let rules = TableRules { stores: Stores::Surreal, ..TableRules::default() };
    settings.tables.insert(Table::new("s").unwrap(), rules);
    let note = Action::Put { key: key("s:1"), document: document(1), vectors: Vectors::default() };
    let this = machine.again();
    live(&mut machine, settings.clone(), |engine| async move {
        run(&engine, Operation::plain(note)).await;
        run(&engine, put("a:1", 1, 1.0)).await;
        this.faults.script("qdrant", &[Outcome::NotApplied; 3]);
        let members = group([delete("a:1"), put("a:2", 2, 2.0)]);
        let _ = engine.take(members, Caller::default()).unwrap().logged().await;
        until(|| this.documents.lock().unwrap().records.contains_key(&key("a:2"))).await;
        this.faults.take_down("qdrant", Duration::from_secs(3600));
    });
    let this = machine.again();
    live(&mut machine, settings, |engine| async move {
        let patched = Action::Patch { key: key("s:1"), document: document(2), vectors: Vectors::default() };
        let ending = timeout(Duration::from_secs(60), run(&engine, Operation::plain(patched))).await;
        assert_eq!(ending.expect("it does not wait for the group").state, State::Committed);
        assert_eq!(engine.open_ops(), 1);
        this.faults.take_down("qdrant", Duration::ZERO);
    });
}

/// A group patches an edge, and a younger delete of its end, which does not wait for that, takes the edge along. When the group is carried
/// out again after a kill it is refused, because the edge is gone. Then nothing else of it stays either, or an operator is told.
#[test]
fn p2_a_group_whose_edge_went_before_it_was_carried_out_again_is_not_left_and_told_as_rolled_back() {
    let edge = relate_with("f", "a:2", "a:1", 4.0);
    let patched =
        Action::Patch { key: edge.action.subject().unwrap(), document: document(9), vectors: Vectors::default() };
    let mut parked = 0;
    for steps in 0..120 {
        let mut machine = served();
        let (settings, again) = (machine.its_settings(), machine.its_settings());
        let (edge, patched) = (edge.clone(), patched.clone());
        live(&mut machine, settings.clone(), |engine| async move {
            for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), edge] {
                run(&engine, op).await;
            }
        });
        let this = machine.again();
        machine.live(steps, move || async move {
            let engine = this.start(again).await;
            this.faults.script("qdrant", &[Outcome::NotApplied]);
            let _ = engine.take(group([Operation::plain(patched), put("b:1", 1, 1.0)]), Caller::default());
            until(|| this.documents.lock().unwrap().records.contains_key(&key("b:1"))).await;
            let _ = engine.take(delete("a:1"), Caller::default());
            loop {
                this.faults.step().await;
                sleep(Duration::from_millis(1)).await;
            }
        });
        let this = machine.again();
        let parked = &mut parked;
        live(&mut machine, settings, |engine| async move {
            quiet(&engine).await.unwrap();
            let totals = engine.status().totals;
            let is_there = this.documents.lock().unwrap().records.contains_key(&key("b:1"));
            assert!(totals[&State::RolledBack] == 0 || !is_there, "killed after {steps}: {totals:?}");
            *parked += totals[&State::Parked];
        });
    }
    assert!(parked > 0, "it was refused some time");
}

/// Found by seed 321023. What Qdrant had not flushed was lost with the process, and so was what a group had written over it; the group was
/// taken back at the next start, and gave back only what carried its own version: the points stayed older than their records.
#[test]
fn p2_a_group_that_a_start_takes_back_gives_points_back_that_were_not_flushed() {
    for member in [delete("a:1"), put("a:1", 3, 3.0)] {
        let mut machine = machine();
        let (this, settings) = (machine.again(), machine.its_settings());
        live(&mut machine, settings.clone(), |engine| async move {
            asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
            engine.checkpoint().await.unwrap();
            this.vectors.lock().unwrap().failing_flush = true;
            asked(&engine, &this.history, put("a:1", 2, 2.0)).await;
            this.faults.misconfigure("qdrant", Duration::from_secs(5));
            ask(&engine, &this.history, group([member, put("c:1", 4, POISON)])).await;
            until(|| newest(&engine).state() == State::SurrealCompleted).await;
            this.faults.take_down("surreal", Duration::from_secs(20));
            // That the group is taken back is durable, and has not begun.
            until(|| newest(&engine).state() == State::Compensating).await;
            sleep(Duration::from_secs(1)).await;
            let mut vectors = this.vectors.lock().unwrap();
            vectors.failing_flush = false;
            vectors.since.clear();
        });
        let this = machine.again();
        live(&mut machine, settings, |engine| async move { reckoned(&this, &engine).await });
    }
}

/// A member whose fence holds it back, because somebody else has written something newer since the image, takes the whole group
/// with it.
#[test]
fn p2_a_group_that_meets_something_newer_leaves_nothing() {
    let mut machine = machine();
    let documents = Arc::clone(&machine.documents);
    live(&mut machine, Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        run(&engine, put("a:2", 2, 2.0)).await;
        let foreign = SimRecord {
            stamp: Some(Stamp {
                version: Version(1_900_000_000_000_000),
                op: OpId(Uuid::from_u128(5)),
                created: false,
            }),
            document: document(9),
            ..documents.lock().unwrap().records[&key("a:2")].clone()
        };
        documents.lock().unwrap().meddling = Some((key("a:2"), foreign));
        let members = [put("a:1", 10, 10.0), put("a:2", 20, 20.0), put("a:3", 30, 30.0)];
        assert_eq!(run(&engine, group(members)).await.state, State::RolledBack);
        let documents = documents.lock().unwrap();
        assert_eq!(documents.records[&key("a:1")].document, document(1));
        assert_eq!(documents.records[&key("a:2")].document, document(9));
        assert!(!documents.records.contains_key(&key("a:3")));
    });
}

/// A member that names vectors of a size that its own group has just fixed otherwise is refused before the log.
#[test]
fn a_group_is_admitted_whole_or_not_at_all() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        let three = Operation::plain(Action::Put {
            key: key("a:2"),
            document: document(1),
            vectors: Vectors::single(lockstep_model::Vector::Dense(vec![1.0, 2.0, 3.0])),
        });
        let refused = crate::scene::refused(&engine, group([put("a:1", 1, 1.0), three]));
        assert_eq!(refused.code, Code::DimensionMismatch);
        assert!(refused.detail.contains("ops[1]"), "{refused}");
        assert_eq!(engine.open_ops(), 0);
    });
}

/// In one collection the group met something newer, and another refused it: it was taken back twice.
#[test]
fn p2_a_group_that_is_taken_back_in_one_collection_is_not_refused_in_another() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        for op in [put("a:1", 1, 1.0), put("c:1", 1, 1.0)] {
            run(&engine, op).await;
        }
        {
            let mut vectors = this.vectors.lock().unwrap();
            let of_others = vectors.points.values_mut().find(|point| point.stamp.key == Some(key("a:1"))).unwrap();
            of_others.stamp.version = Some(Version(1_900_000_000_000_000));
            of_others.stamp.op = Some(OpId(Uuid::from_u128(5)));
        }
        let (lsn, _) = take(&engine, group([put("a:1", 2, 2.0), put("c:1", 2, POISON)])).await;
        let ending = end(&engine, lsn).await;
        assert_eq!((ending.state, code(&ending)), (State::RolledBack, Some(Code::NewerVersion)));
        let history = engine.op_at(lsn).unwrap().unwrap().summary.history;
        let compensated = history.iter().filter(|(state, _)| *state == State::Compensating).count();
        assert_eq!(compensated, 1, "{history:?}");
    });
}
