//! What a look overlooks: what is open or looked at while it is, what others removed before a loss was noticed, and what they had not seen.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lockstep_engine::Settings;
use lockstep_model::{Action, Filter, Operation, State, Table, Vectors};
use serde_json::json;
use tokio::time::sleep;

use crate::clients::key;
use crate::faults::Outcome;
use crate::losses::{backup, life_retaining, newest, restore, retaining};
use crate::reckoning::quiet;
use crate::scene::{
    ask, asked, clear, delete, document, end, group, has_point, is_there, live, put, reckoned, relate, relate_with,
    run, served, take, the_table, until, vector,
};
use crate::vectors::POISON;

/// What a store had lost before an open group removed it was taken for removed by the group, at a start; then the group was taken back,
/// and it stayed away.
#[test]
fn p2_what_was_lost_before_a_group_removed_it_comes_back_when_that_is_taken_back() {
    for (lost, applied) in [("record", true), ("edge", true), ("edge", false)] {
        let mut machine = served();
        let (this, settings) = (machine.again(), retaining(&machine));
        live(&mut machine, settings.clone(), |engine| async move {
            let made = [put("b:1", 1, 1.0), put("a:1", 1, 1.0), put("a:2", 2, 2.0), put("c:1", 3, 3.0)];
            for op in made {
                asked(&engine, &this.history, op).await;
            }
            if lost == "edge" {
                asked(&engine, &this.history, relate("a:1", "a:2")).await;
                this.documents.lock().unwrap().records.remove(&relate("a:1", "a:2").action.subject().unwrap());
            } else {
                this.documents.lock().unwrap().records.remove(&key("a:2"));
            }
            this.faults.script(if applied { "qdrant" } else { "surreal" }, &[Outcome::NotApplied; 100]);
            ask(&engine, &this.history, group([delete("a:2"), put("c:1", 13, POISON)])).await;
            if applied {
                until(|| newest(&engine).state() == State::SurrealCompleted).await;
            } else {
                until(|| newest(&engine).error.is_some()).await;
            }
            sleep(Duration::from_millis(20)).await;
        });
        let this = machine.again();
        live(&mut machine, settings, |engine| async move {
            quiet(&engine).await.unwrap();
            assert_eq!(engine.status().totals[&State::RolledBack], 1);
            reckoned(&this, &engine).await;
        });
    }
}

/// SurrealDB was set back, and an edge was made to what was there again. A look at the old delete removed both, left the edge's point,
/// and told nobody.
#[test]
fn p7_an_edge_to_what_a_store_brought_back_does_not_go_in_silence() {
    for open in [false, true] {
        life_retaining(served(), |this, engine| async move {
            for op in [put("b:1", 1, 1.0), put("a:1", 1, 1.0), put("a:2", 2, 2.0)] {
                run(&engine, op).await;
            }
            let early = backup(&this);
            run(&engine, delete("a:2")).await;
            restore(&this, &early);
            if open {
                this.faults.script("qdrant", &[Outcome::NotApplied; 2]);
            }
            let edge = relate_with("f", "a:1", "a:2", 5.0);
            let name = edge.action.subject().unwrap();
            let (lsn, _) = take(&engine, edge).await;
            if open {
                until(|| newest(&engine).state() == State::SurrealCompleted).await;
            } else {
                end(&engine, lsn).await;
            }
            engine.verify().await.unwrap();
            assert_eq!(end(&engine, lsn).await.state, State::Committed);
            quiet(&engine).await.unwrap();
            assert!(!is_there(&this, &name) && !has_point(&this, &name), "open {open}");
            assert!(engine.status().audit_needed.is_some(), "open {open}");
        });
    }
}

/// A store lost a record while its operation was looked at for late writes: that look then removed the point, too, and the look at
/// what the log retains had passed it over.
#[test]
fn p1_what_is_looked_at_for_late_writes_is_verified_too() {
    life_retaining(served(), |this, engine| async move {
        asked(&engine, &this.history, put("b:1", 1, 1.0)).await;
        let early = backup(&this);
        this.faults.script("qdrant", &[Outcome::Lost]);
        asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
        engine.pause(&the_table("a")).unwrap();
        until(|| engine.status().verifying > 0).await;
        restore(&this, &early);
        this.faults.lose_connection("surreal");
        sleep(Duration::from_secs(30)).await;
        engine.resume(&the_table("a")).unwrap();
        quiet(&engine).await.unwrap();
        sleep(Duration::from_secs(30)).await;
        reckoned(&this, &engine).await;
    });
}

/// SurrealDB lost what an operation had written that waited for Qdrant, or whose end was not durable yet: it was told as committed, and
/// not looked at.
#[test]
fn p1_what_was_open_when_a_store_lost_it_is_verified_too() {
    for not_durable in [false, true] {
        life_retaining(served(), |this, engine| async move {
            asked(&engine, &this.history, put("b:1", 1, 1.0)).await;
            if !not_durable {
                this.faults.script("qdrant", &[Outcome::NotApplied; 2]);
            }
            let lsn = ask(&engine, &this.history, put("a:1", 1, 1.0)).await;
            if not_durable {
                until(|| is_there(&this, &key("a:1"))).await;
                this.log_held.store(true, Ordering::SeqCst);
                until(|| has_point(&this, &key("a:1"))).await;
                sleep(Duration::from_millis(50)).await;
            } else {
                until(|| newest(&engine).state() == State::SurrealCompleted).await;
                engine.pause(&the_table("a")).unwrap();
            }
            this.documents.lock().unwrap().records.remove(&key("a:1"));
            this.faults.lose_connection("surreal");
            sleep(Duration::from_secs(10)).await;
            this.log_held.store(false, Ordering::SeqCst);
            engine.resume(&the_table("a")).unwrap();
            assert_eq!(end(&engine, lsn).await.state, State::Committed);
            sleep(Duration::from_secs(30)).await;
            reckoned(&this, &engine).await;
        });
    }
}

/// A store lost a record, a clear did not see it and ended; then the loss was noticed, and the record was written again.
#[test]
fn p3_what_a_store_had_lost_does_not_outlive_a_clear() {
    for restart in [false, true] {
        let mut machine = served();
        let (this, settings) = (machine.again(), retaining(&machine));
        live(&mut machine, settings.clone(), |engine| async move {
            let plain = Action::Put { key: key("a:1"), document: document(1), vectors: Vectors::default() };
            for op in [put("b:1", 1, 1.0), Operation::plain(plain)] {
                asked(&engine, &this.history, op).await;
            }
            this.documents.lock().unwrap().records.remove(&key("a:1"));
            assert_eq!(asked(&engine, &this.history, clear("a")).await.state, State::Committed);
            if !restart {
                this.faults.lose_connection("surreal");
                sleep(Duration::from_secs(30)).await;
                quiet(&engine).await.unwrap();
                assert!(!is_there(&this, &key("a:1")), "it is older than the clear");
            }
        });
        let this = machine.again();
        live(&mut machine, settings, |engine| async move {
            quiet(&engine).await.unwrap();
            assert!(!is_there(&this, &key("a:1")), "it is older than the clear; restart {restart}");
        });
    }
}

/// A clear goes by what stands in the store, and a look by what stands in the log: what the clear has spared, because somebody else had
/// changed it, stays.
#[test]
fn p2_a_look_removes_nothing_that_a_clear_has_spared() {
    life_retaining(served(), |this, engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        run(&engine, put("a:2", 1, 2.0)).await;
        this.documents.lock().unwrap().records.get_mut(&key("a:1")).unwrap().document = document(100);
        let filter = Some(Filter::from_json(&json!({"x": 1})).unwrap());
        let cleared = Action::Clear { table: Table::new("a").unwrap(), filter };
        assert_eq!(run(&engine, Operation::plain(cleared)).await.state, State::Committed);
        engine.verify().await.unwrap();
        quiet(&engine).await.unwrap();
        assert!(is_there(&this, &key("a:1")) && has_point(&this, &key("a:1")));
        assert!(!is_there(&this, &key("a:2")) && !has_point(&this, &key("a:2")));
    });
}

/// SurrealDB lost an edge, its end was deleted, and then the loss was noticed: nobody took the edge's point along. What wrote it last may be
/// a patch, which names no ends.
#[test]
fn p2_the_point_of_a_lost_edge_goes_although_its_end_was_deleted_before_the_loss_was_noticed() {
    for (restart, patched) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut machine = served();
        let (this, settings) = (machine.again(), retaining(&machine));
        live(&mut machine, settings.clone(), |engine| async move {
            let edge = relate_with("f", "a:1", "a:2", 3.0);
            for op in [put("b:1", 1, 1.0), put("a:1", 1, 1.0), put("a:2", 2, 2.0), edge.clone()] {
                asked(&engine, &this.history, op).await;
            }
            let key = edge.action.subject().unwrap();
            if patched {
                let patch = Action::Patch { key: key.clone(), document: document(9), vectors: vector(4.0) };
                asked(&engine, &this.history, Operation::plain(patch)).await;
            }
            this.documents.lock().unwrap().records.remove(&key);
            // What ended lately is looked after at a start in any case.
            sleep(Duration::from_secs(60)).await;
            for op in [delete("a:2"), put("b:2", 2, 2.0)] {
                asked(&engine, &this.history, op).await;
            }
            if !restart {
                this.faults.lose_connection("surreal");
                sleep(Duration::from_secs(120)).await;
                reckoned(&this, &engine).await;
            }
        });
        let this = machine.again();
        live(&mut machine, settings, |engine| async move {
            quiet(&engine).await.unwrap();
            sleep(Duration::from_secs(120)).await;
            reckoned(&this, &engine).await;
        });
    }
}

/// What was open when a loss was noticed had ended since, and left the log before it was looked at: another that was open then was still so.
#[test]
fn p1_what_is_to_be_looked_at_once_more_does_not_leave_before() {
    let mut machine = served();
    let (this, settings) = (machine.again(), Settings { retain_last: 0, ..retaining(&machine) });
    live(&mut machine, settings, |engine| async move {
        asked(&engine, &this.history, put("b:1", 1, 1.0)).await;
        engine.pause(&the_table("b")).unwrap();
        let open = ask(&engine, &this.history, put("b:2", 2, 2.0)).await;
        this.faults.script("qdrant", &[Outcome::NotApplied; 2]);
        let lsn = ask(&engine, &this.history, put("a:1", 1, 1.0)).await;
        until(|| newest(&engine).state() == State::SurrealCompleted).await;
        engine.pause(&the_table("a")).unwrap();
        this.documents.lock().unwrap().records.remove(&key("a:1"));
        this.faults.lose_connection("surreal");
        sleep(Duration::from_secs(10)).await;
        engine.resume(&the_table("a")).unwrap();
        assert_eq!(end(&engine, lsn).await.state, State::Committed);
        sleep(Duration::from_secs(1200)).await;
        engine.resume(&the_table("b")).unwrap();
        assert_eq!(end(&engine, open).await.state, State::Committed);
        sleep(Duration::from_secs(30)).await;
        reckoned(&this, &engine).await;
    });
}
