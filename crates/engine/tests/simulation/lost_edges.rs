//! Edges of served stores that lost what they had acknowledged: an edge comes back with its point, or goes with it, and never to an end
//! that was deleted meanwhile (scenario A2).

use std::time::Duration;

use lockstep_engine::{Engine, Pausable, StoreName, WaitingFor};
use lockstep_model::{
    Action, Code, Filter, Key, OpId, Operation, Precondition, State, UnrelateTarget, Vectors, Version,
};
use lockstep_stores::{Class, Stamp};
use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use crate::clients::key;
use crate::documents::SimRecord;
use crate::faults::Outcome;
use crate::losses::{backup, life_retaining, newest, retaining};
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{
    ask, asked, code, delete, document, end, group, has_point, is_there, live, machine, patch, patch_of, put, reckoned,
    relate, relate_with, run, served, take, until, vector,
};

/// A patch names an edge by its key alone and stands in no lane of its ends. When an end was deleted and made anew since, a look
/// once brought the edge back.
#[test]
fn scenario_a2_a_patched_edge_does_not_come_back_to_an_end_that_was_made_anew() {
    let mut machine = served();
    let (this, settings) = (machine.again(), retaining(&machine));
    let again = settings.clone();
    let edge = relate_with("f", "a:1", "a:2", 3.0).action.subject().unwrap();
    let gone = edge.clone();
    live(&mut machine, settings, |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate_with("f", "a:1", "a:2", 3.0)] {
            asked(&engine, &this.history, op).await;
        }
        let patched = Action::Patch { key: edge.clone(), document: document(9), vectors: Vectors::default() };
        assert_eq!(asked(&engine, &this.history, Operation::plain(patched)).await.state, State::Committed);
        asked(&engine, &this.history, delete("a:2")).await;
        asked(&engine, &this.history, put("a:2", 22, 2.0)).await;
        engine.verify().await.unwrap();
        reckoned(&this, &engine).await;
        assert!(!this.documents.lock().unwrap().records.contains_key(&edge), "it went with its end");
    });
    let this = machine.again();
    live(&mut machine, again, |engine| async move {
        reckoned(&this, &engine).await;
        assert!(!this.documents.lock().unwrap().records.contains_key(&gone), "a restart looks, too");
    });
}

/// Found by seed 15157. A patch that passed an older delete of the edge's end committed before it, and the log told it the other
/// way round: the next look at what is retained brought the edge back to an end that was made anew.
#[test]
fn scenario_a2_a_patch_of_an_edge_does_not_pass_an_older_delete_of_its_end() {
    let edge = relate("a:1", "a:2").action.subject().unwrap();
    life_retaining(served(), |this, engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate("a:1", "a:2")] {
            asked(&engine, &this.history, op).await;
        }
        this.faults.misconfigure("qdrant", Duration::from_secs(5));
        let slow = ask(&engine, &this.history, put("a:2", 22, 2.0)).await;
        let removal = ask(&engine, &this.history, delete("a:2")).await;
        let patched = Action::Patch { key: edge.clone(), document: document(9), vectors: Vectors::default() };
        let patch = ask(&engine, &this.history, Operation::plain(patched)).await;
        until(|| newest(&engine).waiting_for == Some(WaitingFor::Lsn(removal))).await;
        let anew = ask(&engine, &this.history, put("a:2", 222, 2.0)).await;
        for lsn in [slow, removal, anew] {
            assert_eq!(end(&engine, lsn).await.state, State::Committed);
        }
        let ended = end(&engine, patch).await;
        assert_eq!((ended.state, code(&ended)), (State::RolledBack, Some(Code::NotFound)));
        engine.verify().await.unwrap();
        reckoned(&this, &engine).await;
        assert!(!this.documents.lock().unwrap().records.contains_key(&edge), "it went with its end");
    });
}

/// Found by seed 35604. The patch took its image, its write was not carried out, and a younger delete of the end passed it: at its
/// second attempt the patch put the edge back.
#[test]
fn scenario_a2_a_patch_of_an_edge_that_is_tried_again_does_not_bring_it_back() {
    let edge = relate("a:1", "a:2").action.subject().unwrap();
    life_retaining(served(), |this, engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate("a:1", "a:2")] {
            asked(&engine, &this.history, op).await;
        }
        this.faults.script("surreal", &[Outcome::NotApplied]);
        let patched = Action::Patch { key: edge.clone(), document: document(9), vectors: Vectors::default() };
        let (patch, _) = take(&engine, Operation::plain(patched)).await;
        until(|| newest(&engine).error.is_some()).await;
        assert_eq!(asked(&engine, &this.history, delete("a:2")).await.state, State::Committed);
        assert_eq!(code(&end(&engine, patch).await), Some(Code::NotFound));
        quiet(&engine).await.unwrap();
        assert!(!this.documents.lock().unwrap().records.contains_key(&edge), "it went with its end");
    });
}

/// Found by seed 32218. A younger delete of the edge's end passed a patch of the edge, and was carried out before a kill. The next start
/// took the edge for lost, as the patch, still open, is the next in the edge's lane, and wrote it again without its end.
#[test]
fn scenario_a2_an_edge_does_not_come_back_without_its_end_while_an_older_patch_is_open() {
    let mut machine = served();
    let (this, settings) = (machine.again(), retaining(&machine));
    let again = settings.clone();
    let edge = relate("a:1", "a:2").action.subject().unwrap();
    let gone = edge.clone();
    live(&mut machine, settings, |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate("a:1", "a:2"), put("a:2", 22, 2.0)] {
            asked(&engine, &this.history, op).await;
        }
        this.faults.misconfigure("qdrant", Duration::from_secs(5));
        this.faults.script("surreal", &[Outcome::NotApplied]);
        let patched = Action::Patch { key: edge.clone(), document: document(9), vectors: Vectors::default() };
        ask(&engine, &this.history, Operation::plain(patched)).await;
        until(|| newest(&engine).error.is_some()).await;
        ask(&engine, &this.history, delete("a:2")).await;
        until(|| newest(&engine).state() == State::SurrealCompleted).await;
    });
    let this = machine.again();
    live(&mut machine, again, |engine| async move {
        quiet(&engine).await.unwrap();
        assert!(!this.documents.lock().unwrap().records.contains_key(&gone), "it went with its end");
    });
}

/// Found by seed 82124. The patch came between the image of a younger delete of the end and that delete, which took the point along
/// only in the version that its image shows.
#[test]
fn p2_the_point_of_an_edge_goes_with_its_end_although_it_was_patched_after_the_image() {
    life_retaining(served(), |this, engine| async move {
        let edge = relate_with("f", "a:1", "a:2", 5.0);
        let patched =
            Action::Patch { key: edge.action.subject().unwrap(), document: document(9), vectors: vector(6.0) };
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), edge] {
            asked(&engine, &this.history, op).await;
        }
        // All three in one batch: the patch goes alone, behind it, and the put's key is there, so the delete comes once more.
        engine.pause(&Pausable::Store(StoreName::Surreal)).unwrap();
        let (patch, _) = take(&engine, Operation::plain(patched)).await;
        take(&engine, put("a:1", 11, 1.0)).await;
        let (removal, _) = take(&engine, delete("a:2")).await;
        engine.resume(&Pausable::Store(StoreName::Surreal)).unwrap();
        assert_eq!(end(&engine, patch).await.state, State::Committed, "it came first");
        assert_eq!(end(&engine, removal).await.state, State::Committed);
        quiet(&engine).await.unwrap();
        let vectors = this.vectors.lock().unwrap();
        assert!(vectors.points.values().all(|point| point.stamp.key == Some(key("a:1"))), "{:?}", vectors.points);
    });
}

/// Found by seed 32734. SurrealDB was set back, and an edge with a point is lost; a delete of its end, open or new, does not see the
/// edge, so nobody took its point along.
#[test]
fn p2_the_point_of_a_lost_edge_goes_although_the_removal_of_its_end_overlooks_it() {
    for judged in [true, false] {
        let mut machine = served();
        let (this, settings) = (machine.again(), retaining(&machine));
        live(&mut machine, settings.clone(), |engine| async move {
            asked(&engine, &this.history, put("b:1", 1, 1.0)).await;
            let early = backup(&this);
            for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), put("a:3", 3, 3.0)] {
                asked(&engine, &this.history, op).await;
            }
            let lost = relate_with("f", "a:1", "a:2", 5.0);
            for op in [lost.clone(), relate_with("f", "a:1", "a:3", 6.0)] {
                asked(&engine, &this.history, op).await;
            }
            // What ended lately is looked after at a start in any case.
            sleep(Duration::from_secs(60)).await;
            asked(&engine, &this.history, put("b:2", 2, 2.0)).await;
            if judged {
                // Its image names the other edge alone.
                this.documents.lock().unwrap().records.remove(&lost.action.subject().unwrap());
                this.faults.take_down("qdrant", Duration::from_secs(600));
                ask(&engine, &this.history, delete("a:1")).await;
                until(|| !this.documents.lock().unwrap().records.contains_key(&key("a:1"))).await;
            } else {
                let mut documents = this.documents.lock().unwrap();
                documents.restore(&early.0);
                // Nothing is looked at before the delete has come.
                documents.unreadable.insert(key("a:1"), Class::NotApplied);
            }
        });
        let this = machine.again();
        live(&mut machine, settings, |engine| async move {
            if !judged {
                ask(&engine, &this.history, delete("a:1")).await;
                this.documents.lock().unwrap().unreadable.clear();
            }
            quiet(&engine).await.unwrap();
            // What nobody takes along is looked after once late writes are over.
            sleep(Duration::from_secs(120)).await;
            reckoned(&this, &engine).await;
            let (documents, vectors) = (this.documents.lock().unwrap(), this.vectors.lock().unwrap());
            assert!(!documents.records.keys().any(|key| key.table.as_str() == "f"), "judged: {judged}");
            let edges = vectors.points.values().filter(|point| point.stamp.key.as_ref().unwrap().table.as_str() == "f");
            assert_eq!(edges.count(), 0, "judged: {judged}");
        });
    }
}

/// What writes an edge's end later than the edge does not remove it: a group on that end once kept a lost edge from coming back.
#[test]
fn p1_a_lost_edge_comes_back_although_its_end_was_written_since() {
    life_retaining(served(), |this, engine| async move {
        asked(&engine, &this.history, put("b:1", 1, 1.0)).await;
        let early = backup(&this);
        for op in [
            put("a:1", 1, 1.0),
            put("a:2", 2, 2.0),
            relate_with("f", "a:1", "a:2", 3.0),
            group([patch("a:2", 22), put("a:3", 3, 3.0)]),
        ] {
            assert_eq!(asked(&engine, &this.history, op).await.state, State::Committed);
        }
        this.documents.lock().unwrap().restore(&early.0);
        engine.verify().await.unwrap();
        reckoned(&this, &engine).await;
    });
}

/// Found by seed 256095. The end of a lost edge was written after the edge, so the look came to the edge first, and wrote it: its end was to
/// follow. A delete of that end, logged before that look, kept the end away, and did not see the edge, as it saw no end of it.
#[test]
fn p3_a_lost_edge_does_not_come_back_before_its_end() {
    an_edge_and_its_end_are_lost(|this, engine, edge| async move {
        assert_eq!(asked(&engine, &this.history, delete("a:2")).await.state, State::Committed);
        reckoned(&this, &engine).await;
        assert!(!is_there(&this, &edge), "it went with its end");
    });
}

/// Found by seed 519876, with the first mending of that: the edge waited for its end, and what was younger passed it.
#[test]
fn p3_nobody_younger_passes_a_lost_edge() {
    an_edge_and_its_end_are_lost(|this, engine, edge| async move {
        let precondition = Precondition { if_version: None, if_absent: true };
        let absent = Operation { precondition, ..relate_with("f", "a:1", "a:2", 4.0) };
        assert_eq!(code(&asked(&engine, &this.history, absent).await), Some(Code::PreconditionFailed));
        reckoned(&this, &engine).await;
        assert!(is_there(&this, &edge));
    });
}

/// SurrealDB is set back to where there was neither an edge nor the end of it that was written once more since; what comes `then` comes
/// before, while and after they are looked at.
fn an_edge_and_its_end_are_lost<F: Future<Output = ()>>(then: impl Fn(Machine, Engine, Key) -> F) {
    for moment in 0..20 {
        life_retaining(served(), |this, engine| {
            let then = &then;
            async move {
                asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
                let early = backup(&this);
                let edge = relate_with("f", "a:1", "a:2", 3.0);
                for op in [put("a:2", 2, 2.0), edge.clone(), patch("a:2", 22)] {
                    assert_eq!(asked(&engine, &this.history, op).await.state, State::Committed);
                }
                this.documents.lock().unwrap().restore(&early.0);
                engine.verify().await.unwrap();
                sleep(Duration::from_micros(500 * moment)).await;
                then(this, engine, edge.action.subject().unwrap()).await;
            }
        });
    }
}

/// Found by seed 565081. A delete was carried out in SurrealDB before a kill, and an edge went with the record. When it was carried out again
/// it met something newer that somebody else had written, and was told as rolled back; the edge's point stayed.
#[test]
fn p2_the_points_of_edges_go_although_their_removal_meets_something_newer_after_a_restart() {
    let mut machine = machine();
    let (this, settings) = (machine.again(), machine.its_settings());
    let edge = relate_with("f", "a:1", "a:2", 3.0);
    let gone = edge.action.subject().unwrap();
    live(&mut machine, settings.clone(), |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), edge] {
            asked(&engine, &this.history, op).await;
        }
        engine.checkpoint().await.unwrap();
        let mut newer = this.documents.lock().unwrap().records[&key("a:2")].clone();
        newer.stamp =
            Some(Stamp { version: Version(1_900_000_000_000_000), op: OpId(Uuid::from_u128(5)), created: false });
        this.faults.misconfigure("qdrant", Duration::from_secs(5));
        ask(&engine, &this.history, delete("a:2")).await;
        until(|| newest(&engine).state() == State::SurrealCompleted).await;
        this.documents.lock().unwrap().meddling = Some((key("a:2"), newer));
    });
    let this = machine.again();
    live(&mut machine, settings, |engine| async move {
        until(|| newest(&engine).state() == State::RolledBack).await;
        assert!(!is_there(&this, &gone) && has_point(&this, &gone));
        // What was sent may come late, so it is looked at when nothing can any more.
        sleep(Duration::from_secs(120)).await;
        quiet(&engine).await.unwrap();
        assert!(!has_point(&this, &gone), "it went with the edge");
    });
}

/// Found by seed 955439. SurrealDB was set back to before an edge and the end of it that somebody else had made: nothing in the log writes that
/// end again, so the edge stayed away, and its point stayed.
#[test]
fn p2_the_point_of_a_lost_edge_goes_when_nothing_in_the_log_made_its_end() {
    for patched in [false, true] {
        life_retaining(served(), |this, engine| async move {
            asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
            let early = backup(&this);
            {
                let mut documents = this.documents.lock().unwrap();
                let others = SimRecord { stamp: None, ..documents.records[&key("a:1")].clone() };
                documents.records.insert(key("a:2"), others);
            }
            let edge = relate_with("f", "a:1", "a:2", 3.0);
            let gone = edge.action.subject().unwrap();
            run(&engine, edge).await;
            if patched {
                run(&engine, patch_of(&gone, Vectors::default())).await;
            }
            assert!(has_point(&this, &gone));
            this.documents.lock().unwrap().restore(&early.0);
            engine.verify().await.unwrap();
            quiet(&engine).await.unwrap();
            assert!(!is_there(&this, &gone) && !has_point(&this, &gone), "patched: {patched}");
            assert!(engine.status().audit_needed.is_some_and(|why| why.contains(&gone.to_string())));
        });
    }
}

/// An unrelate by ends was logged before a kill, and SurrealDB had lost the edge: the next start left the edge away for it, and it found nothing
/// whose point it could have taken along.
#[test]
fn p2_the_point_of_a_lost_edge_goes_although_an_unrelate_by_its_ends_overlooks_it() {
    let mut machine = served();
    let (this, settings) = (machine.again(), retaining(&machine));
    let edge = relate_with("f", "a:1", "a:2", 3.0);
    let gone = edge.action.subject().unwrap();
    let (lost, again) = (gone.clone(), settings.clone());
    live(&mut machine, settings, |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), edge] {
            asked(&engine, &this.history, op).await;
        }
        // What ended lately is looked after at a start in any case.
        sleep(Duration::from_secs(60)).await;
        asked(&engine, &this.history, put("b:1", 1, 1.0)).await;
        engine.pause(&Pausable::Store(StoreName::Surreal)).unwrap();
        let target = UnrelateTarget::Endpoints { edge: lost.table.clone(), from: key("a:1"), to: key("a:2") };
        ask(&engine, &this.history, Operation::plain(Action::Unrelate(target))).await;
        this.documents.lock().unwrap().records.remove(&lost);
    });
    let this = machine.again();
    live(&mut machine, again, |engine| async move {
        reckoned(&this, &engine).await;
        assert!(!is_there(&this, &gone) && !has_point(&this, &gone));
    });
}

/// SurrealDB had lost an edge and an end of it, and before that was noticed a clear covered the end, and saw neither.
#[test]
fn p2_the_point_of_a_lost_edge_goes_when_its_end_was_cleared_before_the_loss_was_noticed() {
    life_retaining(served(), |this, engine| async move {
        let edge = relate_with("f", "a:1", "a:2", 3.0);
        let gone = edge.action.subject().unwrap();
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), edge] {
            asked(&engine, &this.history, op).await;
        }
        for lost in [&gone, &key("a:2")] {
            this.documents.lock().unwrap().records.remove(lost);
        }
        let filter = Some(Filter::from_json(&json!({"x": 2})).unwrap());
        run(&engine, Operation::plain(Action::Clear { table: key("a:2").table, filter })).await;
        engine.verify().await.unwrap();
        quiet(&engine).await.unwrap();
        for lost in [&gone, &key("a:2")] {
            assert!(!is_there(&this, lost) && !has_point(&this, lost), "{lost}");
        }
    });
}
