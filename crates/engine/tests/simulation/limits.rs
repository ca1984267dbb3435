//! Limits and standstills: what is refused, what is held back, what stops the engine, and that nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use lockstep_engine::{Fatal, Pausable, Settings, StoreName, StoreState, Verdict, WaitingFor};
use lockstep_model::{Action, Code, Operation, State, Stores, Table, TableRules, Vectors};
use lockstep_stores::Stamp;
use lockstep_wal::{Caller, Space};
use tokio::time::{sleep, timeout};

use crate::clients::key;
use crate::machine::Machine;
use crate::scene::{code, delete, document, end, live, machine, put, refused, relate, run, take, with_table};
use crate::vectors::POISON;

#[test]
fn p5_one_bad_vector_takes_nobody_along() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        run(&engine, put("a:0", 1, 1.0)).await;
        let mut lsns = Vec::new();
        for n in 0..60_i64 {
            lsns.push(take(&engine, put(&format!("a:{n}"), n, if n == 23 { POISON } else { 1.0 })).await.0);
        }
        for (n, lsn) in lsns.into_iter().enumerate() {
            let want = if n == 23 { State::RolledBack } else { State::Committed };
            assert_eq!(end(&engine, lsn).await.state, want, "{n}");
        }
    });
}

#[test]
fn p6_limits_refuse_and_draining_goes_on() {
    let mut machine = machine();
    let log = Arc::clone(&machine.log);
    let settings = Settings { open_per_key: 3, open_ops: 6, ..Machine::settings() };
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        engine.pause(&Pausable::Store(StoreName::Qdrant)).unwrap();
        let mut lsns = Vec::new();
        for n in 0..3 {
            lsns.push(take(&engine, put("a:1", n, 1.0)).await.0);
        }
        assert_eq!(refused(&engine, put("a:1", 9, 1.0)).code, Code::Overloaded);
        for n in 2..5 {
            lsns.push(take(&engine, put(&format!("a:{n}"), n, 1.0)).await.0);
        }
        assert_eq!(refused(&engine, put("a:9", 9, 1.0)).code, Code::Overloaded);
        log.set_space(Space::Reserve);
        engine.resume(&Pausable::Store(StoreName::Qdrant)).unwrap();
        for lsn in lsns {
            assert_eq!(end(&engine, lsn).await.state, State::Committed, "a full disk drains");
        }
        assert_eq!(refused(&engine, put("a:9", 9, 1.0)).code, Code::DiskFull);
        assert!(engine.unready().iter().any(|reason| reason.contains("disk")), "who is refused can see why");
        log.set_space(Space::Ample);
        assert_eq!(engine.unready(), Vec::<String>::new());
        assert_eq!(run(&engine, put("a:9", 9, 1.0)).await.state, State::Committed);
    });
}

/// P7: a table without vectors and edges was forgotten at a restart, once all that had been done on it had left the log: `clear --all` passed it
/// over and said that it was done.
#[test]
fn p7_a_table_is_known_after_a_restart_whatever_it_holds() {
    let mut machine = machine();
    for life in 0..2 {
        live(&mut machine, Machine::settings(), |engine| async move {
            if life == 0 {
                let bare = Action::Put { key: key("a:1"), document: document(1), vectors: Vectors::default() };
                assert_eq!(run(&engine, Operation::plain(bare)).await.state, State::Committed);
                sleep(Duration::from_secs(60)).await;
                assert_eq!(engine.status().wal.states[&State::Committed], 0, "it has left the log");
            }
            let tables: Vec<String> = engine.tables().await.into_iter().map(|view| view.table.to_string()).collect();
            assert_eq!(tables, ["a"], "life {life}");
        });
    }
}

/// Where Qdrant alone holds a table, what is there is whole.
#[test]
fn a_point_of_a_table_that_qdrant_alone_holds_is_no_orphan() {
    let rules = TableRules { stores: Stores::Qdrant, ..TableRules::default() };
    live(&mut machine(), with_table("q", rules), |engine| async move {
        assert_eq!(run(&engine, put("q:1", 1, 1.0)).await.state, State::Committed);
        assert_eq!(engine.entity(&key("q:1")).await.verdict, Verdict::Consistent);
        assert_eq!(engine.entity(&key("q:2")).await.verdict, Verdict::NotFound);
    });
}

#[test]
fn a_pause_holds_work_back_and_logging_goes_on() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let table = Pausable::Table(Table::new("a").unwrap());
        engine.pause(&table).unwrap();
        let (lsn, op_id) = take(&engine, put("a:1", 2, 1.0)).await;
        let other = run(
            &engine,
            Operation::plain(Action::Put { key: key("b:1"), document: document(1), vectors: Vectors::default() }),
        );
        assert_eq!(other.await.state, State::Committed, "another table goes on");
        let view = engine.op(op_id).unwrap().unwrap();
        assert_eq!((view.state(), view.waiting_for), (State::Pending, Some(WaitingFor::Table("a".into()))));
        assert!(!engine.unready().is_empty());
        engine.resume(&table).unwrap();
        assert_eq!(end(&engine, lsn).await.state, State::Committed);
    });
}

#[test]
fn p1_a_log_that_fails_acknowledges_nothing_more() {
    let mut machine = machine();
    let log = Arc::clone(&machine.log);
    live(&mut machine, Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let mut taken = engine.take(put("a:1", 2, 1.0), Caller::default()).unwrap();
        log.fail();
        assert!(taken.logged().await.is_err());
        let mut failure = engine.failure();
        timeout(Duration::from_secs(5), failure.wait_for(Option::is_some)).await.expect("it stops").unwrap();
        assert_eq!(refused(&engine, put("a:1", 3, 1.0)).code, Code::Stopping);
        assert!(!engine.unready().is_empty());
    });
}

/// Scenario A4c: an image is durable before the store is touched. A store that shows the write of an operation whose image the log
/// lacks is ahead of the log.
#[test]
fn scenario_a4c_a_write_without_its_image_stops_the_engine() {
    let mut machine = machine();
    let documents = Arc::clone(&machine.documents);
    live(&mut machine, Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        engine.pause(&Pausable::Store(StoreName::Surreal)).unwrap();
        let mut taken = engine.take(put("a:1", 2, 1.0), Caller::default()).unwrap();
        taken.logged().await.unwrap();
        let stamp = Stamp { version: taken.version, op: taken.op_id, created: false };
        documents.lock().unwrap().records.get_mut(&key("a:1")).unwrap().stamp = Some(stamp);
        engine.resume(&Pausable::Store(StoreName::Surreal)).unwrap();
        let mut failure = engine.failure();
        let failure =
            timeout(Duration::from_secs(60), failure.wait_for(Option::is_some)).await.unwrap().unwrap().clone();
        assert!(matches!(*failure.unwrap(), Fatal::Lost(_)));
    });
}

/// Scenario C5: a flush that fails covers nothing.
#[test]
fn scenario_c5_nothing_leaves_the_log_while_a_flush_fails() {
    let mut machine = machine();
    let vectors = Arc::clone(&machine.vectors);
    live(&mut machine, Machine::settings(), |engine| async move {
        vectors.lock().unwrap().failing_flush = true;
        for n in 0..10 {
            run(&engine, put(&format!("a:{n}"), n, 1.0)).await;
        }
        sleep(Duration::from_secs(10)).await;
        assert!(engine.checkpoint().await.is_err());
        assert_eq!(engine.status().wal.states[&State::Committed], 10);
        vectors.lock().unwrap().failing_flush = false;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(engine.status().wal.states[&State::Committed], 0);
        assert_eq!(engine.status().totals[&State::Committed], 10);
    });
}

/// Scenario B7: what SurrealDB refuses to delete has changed nothing, and keeps its point.
#[test]
fn scenario_b7_a_refused_delete_changes_nothing() {
    let mut machine = machine();
    let documents = Arc::clone(&machine.documents);
    live(&mut machine, Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        documents.lock().unwrap().undeletable.insert(key("a:1"));
        let ended = run(&engine, delete("a:1")).await;
        assert_eq!((ended.state, code(&ended)), (State::RolledBack, Some(Code::RejectedBySurreal)));
        let entity = engine.entity(&key("a:1")).await;
        assert_eq!(entity.verdict, Verdict::Consistent);
        assert!(entity.point.unwrap().is_some());
    });
}

/// Scenario B8: while Qdrant is down nothing that needs it starts in SurrealDB, and what does not need it goes on.
#[test]
fn scenario_b8_an_open_breaker_keeps_work_out_of_the_other_store() {
    let mut machine = machine();
    let (documents, faults) = (Arc::clone(&machine.documents), Arc::clone(&machine.faults));
    live(&mut machine, Machine::settings(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        faults.take_down("qdrant", Duration::from_secs(60));
        take(&engine, put("a:1", 2, 1.0)).await;
        while engine.status().qdrant.state != StoreState::Down {
            sleep(Duration::from_millis(10)).await;
        }
        let mut waiting = Vec::new();
        for n in 100..120 {
            waiting.push(take(&engine, put(&format!("a:{n}"), n, 1.0)).await.0);
        }
        let edge = run(&engine, relate("a:1", "a:1"));
        sleep(Duration::from_secs(20)).await;
        // The store is tried with one operation at a time, so a few may have got that far.
        let started = documents.lock().unwrap().records.len() - 1;
        assert!(started <= 8, "{started} of 20 documents came without their vectors");
        for lsn in waiting {
            assert_eq!(end(&engine, lsn).await.state, State::Committed);
        }
        assert_eq!(edge.await.state, State::Committed);
    });
}

#[test]
fn a_delete_of_what_is_not_there_commits() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
        let entity = engine.entity(&key("a:1")).await;
        assert_eq!((entity.verdict, entity.open_ops), (Verdict::NotFound, Vec::new()));
    });
}

#[test]
fn a_clean_stop_leaves_nothing_open_and_nothing_lost() {
    let mut machine = machine();
    live(&mut machine, Machine::settings(), |engine| async move {
        for n in 0..20 {
            take(&engine, put(&format!("a:{n}"), n, 1.0)).await;
        }
        engine.stop(Duration::from_secs(20)).await;
        assert_eq!(engine.open_ops(), 0);
        assert_eq!(refused(&engine, put("a:1", 1, 1.0)).code, Code::Stopping);
    });
    live(&mut machine, Machine::settings(), |engine| async move {
        let recovery = engine.status().recovery;
        assert!(recovery.done && recovery.rewritten == 0, "{recovery:?}");
        for n in 0..20 {
            assert_eq!(engine.entity(&key(&format!("a:{n}"))).await.verdict, Verdict::Consistent);
        }
    });
}
