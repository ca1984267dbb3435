//! What operators decide of parked operations, over restarts and younger operations.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_engine::{Decided, Decision, Engine, Settings, Verdict};
use lockstep_model::{Idempotency, Lsn, OnReject, Operation, Refusal, State, Table, TableRules};
use lockstep_wal::Caller;
use tokio::time::sleep;

use crate::clients::key;
use crate::faults::Outcome;
use crate::losses::newest;
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{
    clear, delete, document, end, group, has_point, is_there, live, machine, put, relate_with, run, served, take, until,
};
use crate::vectors::POISON;

const RETRY: Decision = Decision::Retry { force: false };

fn parks(machine: &Machine) -> Settings {
    let mut settings = machine.its_settings();
    let rules = TableRules { on_reject: OnReject::Park, ..TableRules::default() };
    settings.tables.insert(Table::new("a").unwrap(), rules);
    settings
}

async fn decide(engine: &Engine, lsn: Lsn, decision: Decision) -> Result<Decided, Refusal> {
    engine.decide(lsn, decision, None, Caller { uid: Some(1000) }).await
}

/// Qdrant fails for it like this, while it serves others, until it is given up.
async fn given_up(machine: &Machine, engine: &Engine, op: Operation, (how, calls): (Outcome, usize)) -> Lsn {
    machine.faults.script("qdrant", &vec![how; calls]);
    let (lsn, _) = take(engine, op).await;
    until(|| newest(engine).error.is_some()).await;
    assert_eq!(run(engine, put("z:1", 1, 1.0)).await.state, State::Committed);
    machine.faults.script("qdrant", &vec![how; calls]);
    end(engine, lsn).await;
    lsn
}

fn gives_up(settings: Settings) -> Settings {
    Settings { max_attempts: 1, retry_base: Duration::from_secs(2), ..settings }
}

/// The key of what was retried went with the old operation's summary, although it stood for the new one: the same request was logged a third time.
#[test]
fn p4_a_key_of_a_retried_operation_stays_with_the_new_one() {
    let mut machine = machine();
    let this = machine.again();
    let settings = Settings { keep_finished: Duration::from_secs(60), ..parks(&this) };
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        this.documents.lock().unwrap().undeletable.insert(key("a:1"));
        let mut op = delete("a:1");
        op.idempotency = Some(Idempotency { key: "k".into(), body_hash: [1; 16] });
        let (lsn, _) = take(&engine, op.clone()).await;
        assert_eq!(end(&engine, lsn).await.state, State::Parked);
        // The retry is refused, too, and parked.
        let again = decide(&engine, lsn, RETRY).await.unwrap().again.unwrap();
        assert_eq!(end(&engine, again.lsn).await.state, State::Parked);
        assert_eq!(take(&engine, op.clone()).await.0, again.lsn);
        for n in 0..200 {
            run(&engine, put("z:1", n, 1.0)).await;
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(take(&engine, op).await.0, again.lsn, "the same key, the same operation");
    });
}

/// Qdrant had the point and did not say so; long after that, over a restart, the operation was taken back, and the point stayed.
#[test]
fn p2_a_rollback_after_a_restart_takes_the_point_back_too() {
    let mut bad = Vec::new();
    for serve in [true, false] {
        let mut machine = if serve { served() } else { machine() };
        let this = machine.again();
        let settings = gives_up(parks(&this));
        let parked = Arc::new(Mutex::new(Lsn(0)));
        let told = Arc::clone(&parked);
        live(&mut machine, settings.clone(), |engine| async move {
            run(&engine, put("a:1", 1, 1.0)).await;
            let lsn = given_up(&this, &engine, put("a:1", 2, 2.0), (Outcome::Lost, 1)).await;
            assert_eq!(end(&engine, lsn).await.state, State::Parked);
            *told.lock().unwrap() = lsn;
            for n in 0..5 {
                sleep(Duration::from_secs(30)).await;
                run(&engine, put("z:1", n, 1.0)).await;
            }
        });
        let lsn = *parked.lock().unwrap();
        let report = Arc::new(Mutex::new(String::new()));
        let out = Arc::clone(&report);
        live(&mut machine, settings, |engine| async move {
            quiet(&engine).await.unwrap();
            let decided = decide(&engine, lsn, Decision::Rollback).await.unwrap();
            quiet(&engine).await.unwrap();
            sleep(Duration::from_secs(60)).await;
            let entity = engine.entity(&key("a:1")).await;
            *out.lock().unwrap() =
                format!("{:?} {:?} audit {:?}", decided.state, entity.verdict, engine.status().audit_needed);
        });
        let report = report.lock().unwrap().clone();
        if !report.starts_with("RolledBack Consistent") {
            bad.push((serve, report));
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

/// The same without an operator: applied in one life, given up in the next.
#[test]
fn p2_what_a_start_carries_on_and_gives_up_takes_its_point_back_too() {
    let mut machine = machine();
    let this = machine.again();
    let settings = gives_up(this.its_settings());
    live(&mut machine, settings.clone(), |engine| async move {
        run(&engine, put("b:1", 1, 1.0)).await;
        this.faults.script("qdrant", &[Outcome::Lost]);
        take(&engine, put("b:1", 2, 2.0)).await;
        until(|| newest(&engine).error.is_some()).await;
        // A checkpoint flushes the points.
        run(&engine, put("z:1", 1, 1.0)).await;
        sleep(Duration::from_millis(300)).await;
        assert_eq!(this.vectors.lock().unwrap().unflushed(), 0);
    });
    let this = machine.again();
    live(&mut machine, settings, |engine| async move {
        this.vectors.lock().unwrap().stuck.insert(key("b:1"));
        let mut n = 0;
        while engine.open_ops() > 0 {
            n += 1;
            run(&engine, put("z:1", n, 1.0)).await;
            sleep(Duration::from_secs(1)).await;
        }
        this.vectors.lock().unwrap().stuck.clear();
        sleep(Duration::from_secs(60)).await;
        let entity = engine.entity(&key("b:1")).await;
        assert_eq!((entity.verdict, entity.record.unwrap().unwrap().document), (Verdict::Consistent, document(1)));
    });
}

/// What has been deleted since came back by a retry without force: a delete leaves no stamp.
#[test]
fn p3_a_retry_of_what_was_deleted_since_has_to_be_forced() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, parks(&this), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let (lsn, _) = take(&engine, put("a:1", 2, POISON)).await;
        assert_eq!(end(&engine, lsn).await.state, State::Parked);
        assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
        let decided = decide(&engine, lsn, RETRY).await;
        assert!(decided.is_err(), "{decided:?}");
    });
}

/// A rollback of a parked group took what a younger operation had deleted for its own removal, and gave it back.
#[test]
fn p3_a_rollback_does_not_bring_back_what_was_deleted_since() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, parks(&this), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let (lsn, _) = take(&engine, group([delete("a:1"), put("a:3", 3, POISON)])).await;
        assert_eq!(end(&engine, lsn).await.state, State::Parked);
        assert_eq!(run(&engine, put("a:1", 5, 5.0)).await.state, State::Committed);
        assert_eq!(run(&engine, delete("a:1")).await.state, State::Committed);
        let decided = decide(&engine, lsn, Decision::Rollback).await.unwrap();
        assert!(!is_there(&this, &key("a:1")), "{decided:?}");
    });
}

/// What was cleared came back from under a younger parked write that was taken back. While the log holds the clear, the rollback is refused.
#[test]
fn p3_a_rollback_does_not_bring_back_what_was_cleared() {
    let mut machine = served();
    let this = machine.again();
    let settings = Settings { retain_committed: Duration::from_secs(600), ..parks(&this) };
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        this.documents.lock().unwrap().stuck.insert(key("a:9"));
        take(&engine, put("a:9", 9, 9.0)).await;
        let (cleared, _) = take(&engine, clear("a")).await;
        let (lsn, _) = take(&engine, put("a:1", 2, POISON)).await;
        assert_eq!(end(&engine, lsn).await.state, State::Parked);
        this.documents.lock().unwrap().stuck.clear();
        assert_eq!(end(&engine, cleared).await.state, State::Committed);
        let decided = decide(&engine, lsn, Decision::Rollback).await.unwrap();
        let shown = this.documents.lock().unwrap().records.get(&key("a:1")).map(|record| record.document.clone());
        assert_ne!(shown, Some(document(1)), "{decided:?}");
    });
}

/// A parked removal that is retried knows nothing of the edges that went with the record: their points stayed.
#[test]
fn p2_a_retry_of_a_parked_delete_takes_the_points_of_the_edges_too() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, gives_up(this.its_settings()), |engine| async move {
        let edge = relate_with("f", "b:1", "b:2", 3.0).action.subject().unwrap();
        for op in [put("b:1", 1, 1.0), put("b:2", 2, 2.0), relate_with("f", "b:1", "b:2", 3.0)] {
            run(&engine, op).await;
        }
        let lsn = given_up(&this, &engine, delete("b:1"), (Outcome::NotApplied, 2)).await;
        assert_eq!(end(&engine, lsn).await.state, State::Parked);
        assert!(has_point(&this, &edge) && !is_there(&this, &edge));
        let again = decide(&engine, lsn, RETRY).await.unwrap().again.unwrap();
        assert_eq!(end(&engine, again.lsn).await.state, State::Committed);
        quiet(&engine).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        assert!(!has_point(&this, &key("b:1")));
        assert!(!has_point(&this, &edge), "an orphan, audit: {:?}", engine.status().audit_needed);
    });
}
