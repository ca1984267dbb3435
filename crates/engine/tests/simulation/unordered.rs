//! What lanes do not order: an edge that is named by its key alone, what removes it meanwhile, and what a look makes of both.

use std::time::Duration;

use lockstep_engine::{Pausable, Settings, StoreName};
use lockstep_model::{Action, Code, Key, Operation, State, Table, UnrelateTarget, Vectors};
use tokio::time::sleep;

use crate::clients::key;
use crate::faults::Outcome;
use crate::losses::{life_retaining, newest, retaining};
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{
    ask, asked, code, delete, document, end, group, has_point, is_there, live, machine, patch, patch_of, put, reckoned,
    relate, relate_as, relate_with, run, served, take, the_table, unrelate, until, vector,
};

/// An unrelate by endpoints removed the edge, which has a key of its own; a look at the patch, which names that key alone, brought
/// it back for good.
#[test]
fn scenario_a2_a_patched_edge_does_not_come_back_after_an_unrelate_of_its_ends() {
    for (restart, in_group) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut machine = served();
        let this = machine.again();
        let settings = Settings { retain_last: 3, ..machine.its_settings() };
        live(&mut machine, settings.clone(), |engine| async move {
            let filler = (0..4).map(|n| put("b:1", n, 1.0));
            let made = [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate_as("e:mine", "a:1", "a:2")];
            for op in made.into_iter().chain(filler) {
                asked(&engine, &this.history, op).await;
            }
            // What made the ends has left the log.
            sleep(Duration::from_secs(5)).await;
            let patched = patch("e:mine", 9);
            let patched = if in_group { group([patched, put("b:1", 1, 1.0)]) } else { patched };
            for op in [patched, unrelate("a:1", "a:2")] {
                assert_eq!(asked(&engine, &this.history, op).await.state, State::Committed);
            }
            if !restart {
                engine.verify().await.unwrap();
                reckoned_edge(&this, &engine, (restart, in_group)).await;
            }
        });
        let this = machine.again();
        live(&mut machine, settings, |engine| async move {
            reckoned_edge(&this, &engine, (restart, in_group)).await;
        });
    }
}

async fn reckoned_edge(machine: &Machine, engine: &lockstep_engine::Engine, which: (bool, bool)) {
    quiet(engine).await.unwrap();
    assert!(!is_there(machine, &key("e:mine")), "restart, in a group: {which:?}");
    let status = engine.status();
    assert_eq!((status.recovery.rewritten, status.audit_needed), (0, None), "restart, in a group: {which:?}");
}

/// As `scenario_a2_a_patch_of_an_edge_that_is_tried_again_does_not_bring_it_back`, but the end is made anew before that.
#[test]
fn scenario_a2_a_patch_that_is_tried_again_does_not_bring_the_edge_to_an_end_that_was_made_anew() {
    let edge = relate("a:1", "a:2").action.subject().unwrap();
    life_retaining(served(), |this, engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate("a:1", "a:2")] {
            asked(&engine, &this.history, op).await;
        }
        this.documents.lock().unwrap().stuck.insert(edge.clone());
        let (patch, _) = take(&engine, patch_of(&edge, Vectors::default())).await;
        until(|| newest(&engine).error.is_some()).await;
        engine.pause(&the_table("e")).unwrap();
        for op in [delete("a:2"), put("a:2", 22, 2.0)] {
            assert_eq!(asked(&engine, &this.history, op).await.state, State::Committed);
        }
        this.documents.lock().unwrap().stuck.clear();
        engine.resume(&the_table("e")).unwrap();
        assert_eq!(code(&end(&engine, patch).await), Some(Code::NotFound));
        assert!(!is_there(&this, &edge), "it went with its end");
    });
}

/// The same over a restart: SurrealDB had the patch, Qdrant not yet.
#[test]
fn scenario_a2_a_patch_that_a_restart_carries_on_does_not_bring_the_edge_to_an_end_that_was_made_anew() {
    for in_group in [false, true] {
        let mut machine = served();
        let (this, settings) = (machine.again(), retaining(&machine));
        let edge = relate_with("f", "a:1", "a:2", 3.0).action.subject().unwrap();
        let gone = edge.clone();
        live(&mut machine, settings.clone(), |engine| async move {
            for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate_with("f", "a:1", "a:2", 3.0)] {
                run(&engine, op).await;
            }
            this.vectors.lock().unwrap().stuck.insert(edge.clone());
            let patched = patch_of(&edge, vector(6.0));
            let patched = if in_group { group([patched, put("b:1", 1, 1.0)]) } else { patched };
            take(&engine, patched).await;
            until(|| newest(&engine).state() == State::SurrealCompleted && newest(&engine).error.is_some()).await;
            engine.pause(&the_table("f")).unwrap();
            for op in [delete("a:2"), put("a:2", 22, 2.0)] {
                assert_eq!(run(&engine, op).await.state, State::Committed);
            }
            assert!(!is_there(&this, &edge));
            this.vectors.lock().unwrap().stuck.clear();
        });
        let this = machine.again();
        live(&mut machine, settings, |engine| async move {
            quiet(&engine).await.unwrap();
            assert!(!is_there(&this, &gone), "it went with its end; in a group: {in_group}");
        });
    }
}

/// The patch took its image, its write was not carried out, and a younger unrelate by endpoints passed it.
#[test]
fn scenario_a2_a_patch_that_is_tried_again_does_not_bring_back_an_edge_that_was_unrelated() {
    life_retaining(served(), |this, engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate_as("e:mine", "a:1", "a:2")] {
            asked(&engine, &this.history, op).await;
        }
        this.faults.script("surreal", &[Outcome::NotApplied]);
        let (patch, _) = take(&engine, patch("e:mine", 9)).await;
        until(|| newest(&engine).error.is_some()).await;
        assert_eq!(asked(&engine, &this.history, unrelate("a:1", "a:2")).await.state, State::Committed);
        assert_eq!(code(&end(&engine, patch).await), Some(Code::NotFound));
        assert!(!is_there(&this, &key("e:mine")), "it was unrelated");
    });
}

/// The patch waited for Qdrant until the younger delete of the edge's end had left the log: a look brought the edge back.
#[test]
fn scenario_a2_what_removed_an_edge_does_not_leave_the_log_before_an_older_patch_of_it() {
    let mut machine = served();
    let settings = Settings { retain_last: 0, ..machine.its_settings() };
    let this = machine.again();
    let edge = relate_with("f", "a:1", "a:2", 3.0).action.subject().unwrap();
    live(&mut machine, settings, |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate_with("f", "a:1", "a:2", 3.0)] {
            run(&engine, op).await;
        }
        this.vectors.lock().unwrap().stuck.insert(edge.clone());
        let (patch, _) = take(&engine, patch_of(&edge, vector(6.0))).await;
        until(|| newest(&engine).state() == State::SurrealCompleted && newest(&engine).error.is_some()).await;
        engine.pause(&the_table("f")).unwrap();
        for op in [delete("a:2"), put("a:2", 22, 2.0)] {
            assert_eq!(run(&engine, op).await.state, State::Committed);
        }
        sleep(Duration::from_secs(30)).await;
        this.vectors.lock().unwrap().stuck.clear();
        engine.resume(&the_table("f")).unwrap();
        end(&engine, patch).await;
        assert!(!is_there(&this, &edge));
        engine.verify().await.unwrap();
        quiet(&engine).await.unwrap();
        assert!(!is_there(&this, &edge) && !has_point(&this, &edge), "it went with its end");
    });
}

/// A patch of an edge passed an older unrelate of its ends: that was refused as meeting what "this log did not write", or, when it had
/// been tried before, told as committed with the edge there.
#[test]
fn p7_a_patch_of_an_edge_does_not_pass_an_older_unrelate_of_its_ends() {
    for outcome in [Outcome::NotApplied, Outcome::Silent] {
        life_retaining(machine(), |this, engine| async move {
            for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate_as("e:mine", "a:1", "a:2")] {
                asked(&engine, &this.history, op).await;
            }
            this.faults.script("surreal", &[outcome]);
            let unrelate = ask(&engine, &this.history, unrelate("a:1", "a:2")).await;
            until(|| newest(&engine).error.is_some()).await;
            let patched = asked(&engine, &this.history, patch("e:mine", 9)).await;
            assert_eq!(code(&patched), Some(Code::NotFound));
            assert_eq!(end(&engine, unrelate).await.state, State::Committed);
            reckoned(&this, &engine).await;
        });
    }
}

/// As `p3_what_an_open_delete_has_removed_is_not_written_again`, of an unrelate.
#[test]
fn p3_what_an_open_unrelate_has_removed_is_not_written_again() {
    for by_key in [false, true] {
        for (name, store) in [(None, "surreal"), (Some("mine"), "surreal"), (None, "qdrant"), (Some("mine"), "qdrant")]
        {
            let mut machine = served();
            let this = machine.again();
            let settings = Settings { retain_last: 1, ..machine.its_settings() };
            let edges = Table::new(if store == "qdrant" { "f" } else { "e" }).unwrap();
            let edge = match name {
                Some(name) => key(&format!("{edges}:{name}")),
                None => Key::edge(&edges, &key("a:1"), &key("a:2")),
            };
            let (from, to) = (key("a:1"), key("a:2"));
            live(&mut machine, settings.clone(), |engine| async move {
                let vectors = if store == "qdrant" { vector(4.0) } else { Vectors::default() };
                let made = Action::Relate {
                    key: edge.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    document: document(1),
                    vectors,
                };
                for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), Operation::plain(made)] {
                    run(&engine, op).await;
                }
                // The edge is the oldest that the log retains: to find it lost is to need an audit.
                sleep(Duration::from_secs(5)).await;
                if store == "qdrant" {
                    this.faults.take_down("qdrant", Duration::from_secs(600));
                } else {
                    this.faults.script("surreal", &[Outcome::Lost]);
                }
                let target = if by_key {
                    UnrelateTarget::Key(edge.clone())
                } else {
                    UnrelateTarget::Endpoints { edge: edges, from, to }
                };
                take(&engine, Operation::plain(Action::Unrelate(target))).await;
                until(|| !is_there(&this, &edge)).await;
            });
            live(&mut machine, settings, |engine| async move {
                quiet(&engine).await.unwrap();
                let status = engine.status();
                let found = (status.recovery.rewritten, status.audit_needed);
                assert_eq!(found, (0, None), "by key {by_key}, {name:?}, {store}");
            });
        }
    }
}

/// A look at a patched edge waited for a removal of its end, which waited for an operation on both, which waited for the look.
#[test]
fn p5_a_look_does_not_wait_for_who_waits_for_it() {
    let edge = relate("a:1", "a:2").action.subject().unwrap();
    let mut machine = served();
    let settings = Settings { retain_last: 4, ..machine.its_settings() };
    let this = machine.again();
    live(&mut machine, settings, |engine| async move {
        let filler = (0..4).map(|n| put("b:1", n, 1.0));
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate("a:1", "a:2")].into_iter().chain(filler) {
            run(&engine, op).await;
        }
        sleep(Duration::from_secs(5)).await;
        run(&engine, patch_of(&edge, Vectors::default())).await;
        {
            // Somebody else removes the end.
            let mut documents = this.documents.lock().unwrap();
            documents.records.remove(&edge);
            documents.records.remove(&key("a:2"));
        }
        engine.pause(&Pausable::Store(StoreName::Surreal)).unwrap();
        engine.verify().await.unwrap();
        let (relate, _) = take(&engine, relate("a:1", "a:2")).await;
        let (removal, _) = take(&engine, delete("a:2")).await;
        engine.resume(&Pausable::Store(StoreName::Surreal)).unwrap();
        end(&engine, relate).await;
        end(&engine, removal).await;
        quiet(&engine).await.unwrap();
    });
}

/// It waited for the look at a group that wrote its end, and stood behind it in the edge's own lane.
#[test]
fn p5_a_look_does_not_wait_for_a_look_that_waits_for_it() {
    life_retaining(served(), |this, engine| async move {
        let edge = relate("a:1", "a:2").action.subject().unwrap();
        let upper = relate_as("g:1", "a:3", &edge.to_string());
        for op in [put("b:1", 1, 1.0), put("a:1", 1, 1.0), put("a:2", 2, 2.0), put("a:3", 3, 3.0), relate("a:1", "a:2")]
        {
            run(&engine, op).await;
        }
        run(&engine, patch_of(&edge, Vectors::default())).await;
        run(&engine, group([put("a:2", 22, 2.0), upper])).await;
        {
            let mut documents = this.documents.lock().unwrap();
            documents.records.remove(&edge);
            documents.records.remove(&key("g:1"));
            documents.records.remove(&key("a:2"));
        }
        engine.verify().await.unwrap();
        quiet(&engine).await.unwrap();
    });
}

/// SurrealDB leaves an edge one when its key is put: it goes with an end, and a look brought it back as a record.
#[test]
fn p2_a_put_does_not_make_an_edge_a_record() {
    life_retaining(served(), |this, engine| async move {
        for op in [put("b:1", 1, 1.0), put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate_as("e:mine", "a:1", "a:2")] {
            run(&engine, op).await;
        }
        run(&engine, put("e:mine", 7, 1.0)).await;
        run(&engine, delete("a:2")).await;
        engine.verify().await.unwrap();
        quiet(&engine).await.unwrap();
        assert!(!is_there(&this, &key("e:mine")) && !has_point(&this, &key("e:mine")), "it went with its end");
    });
}

/// And its point came after that.
#[test]
fn p2_the_point_of_a_put_does_not_outlive_an_edge_of_its_key() {
    life_retaining(served(), |this, engine| async move {
        let edge = key("f:mine");
        let (from, to) = (key("a:1"), key("a:2"));
        let made = Action::Relate { key: edge.clone(), from, to, document: document(1), vectors: vector(3.0) };
        for op in [put("b:1", 1, 1.0), put("a:1", 1, 1.0), put("a:2", 2, 2.0), Operation::plain(made)] {
            run(&engine, op).await;
        }
        this.vectors.lock().unwrap().stuck.insert(edge.clone());
        let (put, _) = take(&engine, put("f:mine", 7, 1.0)).await;
        until(|| newest(&engine).error.is_some()).await;
        run(&engine, delete("a:2")).await;
        this.vectors.lock().unwrap().stuck.clear();
        end(&engine, put).await;
        sleep(Duration::from_secs(120)).await;
        assert!(!is_there(&this, &edge) && !has_point(&this, &edge), "it went with its end");
    });
}
