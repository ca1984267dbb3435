//! Clears: pages of deletes, which go forward only (scenario A10).

use std::sync::Arc;
use std::time::Duration;

use lockstep_engine::{OpFilter, Settings};
use lockstep_model::{Action, Bound, Filter, OpId, Operation, State, Table, Version};
use lockstep_stores::{Class, Stamp};
use tokio::time::sleep;

use crate::clients::key;
use crate::documents::SimRecord;
use crate::faults::Outcome;
use crate::losses::life_retaining;
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{
    ask, asked, clear, delete, document, end, gives_back_behind, group, has_point, is_there, live, machine, put,
    reckoned, run, served, take, the_table, until,
};
use crate::vectors::POISON;

const MANY: i64 = 600;

/// Scenario A10: a clear of more than a page, killed again and again, removes what was there, and spares what came after it.
#[test]
fn scenario_a10_a_clear_in_pages_survives_kills_and_spares_what_came_after() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        let mut last = None;
        for n in 0..MANY {
            last = Some(ask(&engine, &this.history, put(&format!("a:{n}"), n, 1.0)).await);
        }
        end(&engine, last.unwrap()).await;
        asked(&engine, &this.history, put("b:1", 1, 1.0)).await;
        quiet(&engine).await.unwrap();
    });
    for life in 0..12 {
        let this = machine.again();
        let steps = 30 + machine.dice.below(400);
        machine.live(steps, move || async move {
            let engine = this.start(Machine::settings()).await;
            if life == 0 {
                ask(&engine, &this.history, clear("a")).await;
                ask(&engine, &this.history, put("a:7", 77, 7.0)).await;
            }
            loop {
                this.faults.step().await;
                sleep(Duration::from_millis(1)).await;
            }
        });
    }
    let this = machine.again();
    let documents = Arc::clone(&machine.documents);
    live(&mut machine, Machine::settings(), |engine| async move {
        asked(&engine, &this.history, put("a:900", 900, 9.0)).await;
        reckoned(&this, &engine).await;
        let left: Vec<String> = documents.lock().unwrap().records.keys().map(ToString::to_string).collect();
        assert_eq!(left, ["a:7", "a:900", "b:1"]);
        let (ops, _) = engine.ops(&OpFilter { limit: 10_000, ..OpFilter::default() }).unwrap();
        let cleared = ops.iter().filter(|op| op.summary.kind == lockstep_model::ActionKind::Clear);
        assert_eq!(cleared.map(|op| op.state()).collect::<Vec<_>>(), [State::Committed]);
    });
}

/// An older write on the table, which has not reached the store when the clear comes, is not younger for that.
#[test]
fn p3_a_clear_waits_for_older_operations_on_its_table() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
        this.faults.script("surreal", &[Outcome::NotApplied; 4]);
        let slow = ask(&engine, &this.history, put("a:2", 2, 2.0)).await;
        let cleared = asked(&engine, &this.history, clear("a")).await;
        assert_eq!(cleared.state, State::Committed);
        assert_eq!(end(&engine, slow).await.state, State::Committed);
        assert!(this.documents.lock().unwrap().records.is_empty(), "the older write went with the clear");
        reckoned(&this, &engine).await;
    });
}

/// Found by seed 31132: another log's operation may bear the clear's own number, and the clear waited for itself to end.
#[test]
fn p3_a_clear_does_not_wait_for_an_operation_of_another_log() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        for n in 1..40 {
            let stamp =
                Stamp { version: Version(1_800_000_000_000_000), op: OpId(uuid::Uuid::from_u128(n)), created: false };
            let record =
                SimRecord { stamp: Some(stamp), document: document(1), kept: None, has_vectors: false, ends: None };
            this.documents.lock().unwrap().records.insert(key(&format!("a:{n}")), record);
        }
        let (clear, _) = take(&engine, clear("a")).await;
        assert!(clear.0 < 40, "one of the records bears the number of the clear, {clear}");
        assert_eq!(end(&engine, clear).await.state, State::Committed);
        assert_eq!(this.documents.lock().unwrap().records.len(), 39, "what is newer is spared");
    });
}

#[test]
fn a_clear_with_a_filter_removes_what_matches() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        for n in 0..20 {
            asked(&engine, &this.history, put(&format!("a:{n}"), n, 1.0)).await;
        }
        let below = Filter::Range { field: "x".into(), gt: None, gte: None, lt: Some(Bound::Int(15)), lte: None };
        let action = Action::Clear { table: Table::new("a").unwrap(), filter: Some(below) };
        assert_eq!(asked(&engine, &this.history, Operation::plain(action)).await.state, State::Committed);
        assert_eq!(this.documents.lock().unwrap().records.len(), 5);
        reckoned(&this, &engine).await;
    });
}

#[test]
fn p7_a_clear_says_what_it_could_not_remove() {
    let mut machine = machine();
    let documents = Arc::clone(&machine.documents);
    live(&mut machine, Machine::settings(), |engine| async move {
        for n in 0..300 {
            take(&engine, put(&format!("a:{n}"), n, 1.0)).await;
        }
        quiet(&engine).await.unwrap();
        documents.lock().unwrap().undeletable.insert(key("a:17"));
        let ended = run(&engine, clear("a")).await;
        assert_eq!(ended.state, State::Committed);
        let detail = ended.failure.unwrap().detail;
        assert!(detail.starts_with("1 keys could not be removed") && detail.contains("a:17"), "{detail}");
        quiet(&engine).await.unwrap();
        let documents = documents.lock().unwrap();
        assert_eq!(documents.records.len(), 1);
        assert_eq!(documents.records[&key("a:17")].document, document(17));
    });
}

/// What a store has lost is not on the pages of a clear, and came back behind it: the clear waits until it is back.
#[test]
fn p3_a_clear_waits_for_what_is_being_written_again() {
    let mut machine = served();
    let this = machine.again();
    let settings = Settings { retain_committed: Duration::from_secs(600), ..machine.its_settings() };
    live(&mut machine, settings, |engine| async move {
        asked(&engine, &this.history, put("b:1", 1, 1.0)).await;
        let early = this.backup().0;
        for n in 0..40 {
            ask(&engine, &this.history, put(&format!("a:{n}"), n, 1.0)).await;
        }
        quiet(&engine).await.unwrap();
        this.documents.lock().unwrap().restore(&early);
        this.documents.lock().unwrap().unreadable.insert(key("a:5"), Class::NotApplied);
        engine.verify().await.unwrap();
        let cleared = ask(&engine, &this.history, clear("a")).await;
        sleep(Duration::from_secs(30)).await;
        this.documents.lock().unwrap().unreadable.clear();
        assert_eq!(end(&engine, cleared).await.state, State::Committed);
        reckoned(&this, &engine).await;
        assert_eq!(this.documents.lock().unwrap().records.len(), 1);
    });
}

/// What is written while the page's deletes wait is fenced off by the version that the page saw.
#[test]
fn p3_a_clear_spares_what_is_written_between_its_page_and_its_delete() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
        // A younger write stands in the lane when the page's delete comes, and is slow.
        let cleared = ask(&engine, &this.history, clear("a")).await;
        this.faults.script("surreal", &[Outcome::NotApplied; 3]);
        let young = ask(&engine, &this.history, put("a:1", 2, 2.0)).await;
        assert_eq!(end(&engine, young).await.state, State::Committed);
        assert_eq!(end(&engine, cleared).await.state, State::Committed);
        reckoned(&this, &engine).await;
        assert_eq!(this.documents.lock().unwrap().records[&key("a:1")].document, document(2));
    });
}

/// A younger write hides what is older than the clear; when it is taken back, the clear has still to remove that.
#[test]
fn p2_a_clear_removes_what_a_younger_write_hid_and_gave_back() {
    let mut removed_late = 0;
    for seed in 0..40 {
        let mut machine = Machine { dice: crate::chance::Dice::new(seed), ..machine() };
        let this = machine.again();
        live(&mut machine, Machine::settings(), |engine| async move {
            asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
            let cleared = ask(&engine, &this.history, clear("a")).await;
            let young = ask(&engine, &this.history, put("a:1", 2, POISON)).await;
            assert_eq!(end(&engine, young).await.state, State::RolledBack);
            assert_eq!(end(&engine, cleared).await.state, State::Committed);
            reckoned(&this, &engine).await;
        });
        removed_late += u32::from(machine.documents.lock().unwrap().records.is_empty());
    }
    assert_eq!(removed_late, 40, "nothing older than the clear outlives it");
}

/// A group hides what it removes, too, edges that went with a record among them; when it is taken back, the clear has still to
/// remove that.
#[test]
fn p2_a_clear_removes_what_a_group_removed_and_gave_back() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        gives_back_behind(&this, &engine, delete("a:2"), [clear("f")]).await;
        assert_eq!(this.documents.lock().unwrap().records.len(), 3, "the edge came back, and went");
    });
}

/// P5: a group that cannot move holds no clear of another table back, unless it removes something: what goes along with that may be anywhere.
#[test]
fn p5_a_clear_does_not_wait_for_a_group_on_another_table() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
        engine.pause(&the_table("b")).unwrap();
        let waits = ask(&engine, &this.history, group([put("b:1", 1, 1.0)])).await;
        assert_eq!(asked(&engine, &this.history, clear("a")).await.state, State::Committed);
        assert!(!is_there(&this, &key("a:1")));
        let removes = ask(&engine, &this.history, group([delete("b:2")])).await;
        let behind = ask(&engine, &this.history, clear("a")).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(engine.op_at(behind).unwrap().unwrap().state(), State::Pending);
        engine.resume(&the_table("b")).unwrap();
        for lsn in [waits, removes, behind] {
            assert_eq!(end(&engine, lsn).await.state, State::Committed);
        }
        reckoned(&this, &engine).await;
    });
}

/// SurrealDB had lost a record, and that was noticed while a clear was under way: the record was written again behind its list.
#[test]
fn p3_a_clear_removes_what_is_written_again_while_it_is_under_way() {
    life_retaining(served(), |this, engine| async move {
        for op in [put("b:1", 1, 1.0), put("a:1", 1, 1.0)] {
            asked(&engine, &this.history, op).await;
        }
        // A group that removes something holds the clear back.
        engine.pause(&the_table("b")).unwrap();
        let waits = ask(&engine, &this.history, group([delete("b:2")])).await;
        this.documents.lock().unwrap().records.remove(&key("a:1"));
        let cleared = ask(&engine, &this.history, clear("a")).await;
        sleep(Duration::from_secs(1)).await;
        this.faults.lose_connection("surreal");
        until(|| is_there(&this, &key("a:1"))).await;
        engine.resume(&the_table("b")).unwrap();
        for lsn in [waits, cleared] {
            assert_eq!(end(&engine, lsn).await.state, State::Committed);
        }
        reckoned(&this, &engine).await;
        assert!(!is_there(&this, &key("a:1")) && !has_point(&this, &key("a:1")));
    });
}
