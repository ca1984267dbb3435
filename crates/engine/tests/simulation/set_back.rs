//! Stores that are older than they were, or another log's, and a log that is older than its stores: it is told, or refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_engine::{Engine, EventBody, Fatal, Settings, StartError, StoreChange, StoreName};
use lockstep_model::{LogId, State};
use tokio::time::{sleep, timeout};

use crate::asked::lose;
use crate::clients::key;
use crate::losses::{backup, history, life_retaining, restore, retaining};
use crate::reckoning::quiet;
use crate::scene::{asked, delete, document, live, machine, put, reckoned, run, served, take, until};

/// Scenario B4: if even the oldest that the log retains is missing, so may be what has left it.
#[test]
fn scenario_b4_a_loss_beyond_the_log_needs_an_audit() {
    life_retaining(served(), |this, engine| async move {
        let empty = backup(&this);
        asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
        history(&this, &engine).await;
        restore(&this, &empty);
        this.faults.lose_connection("surreal");
        until(|| engine.status().audit_needed.is_some()).await;
        assert!(engine.unready().iter().any(|why| why.contains("audit needed")));
        reckoned(&this, &engine).await;
    });
}

#[test]
fn a_store_that_says_it_was_restored_needs_an_audit() {
    life_retaining(served(), |this, engine| async move {
        asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
        let mut listener = engine.events(None);
        this.documents.lock().unwrap().restored = Some("older than it was".into());
        until(|| engine.status().audit_needed.is_some()).await;
        assert_eq!(engine.status().audit_needed.unwrap(), "surreal: older than it was");
        let event = timeout(Duration::from_secs(60), listener.next()).await.unwrap().unwrap().unwrap();
        let EventBody::Store(event) = event.body else { panic!("{event:?}") };
        assert_eq!((event.store, event.change), (StoreName::Surreal, StoreChange::AuditNeeded));
        assert_eq!(event.detail.as_deref(), Some("older than it was"));
    });
}

/// What a repair has lost keeps nobody from being ready, and hides nothing that a store loses later.
#[test]
fn after_a_repair_a_store_that_was_restored_is_still_told() {
    let mut machine = served();
    let settings = retaining(&machine);
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
    });
    lose(&machine);
    life_retaining(machine, |this, engine| async move {
        quiet(&engine).await.unwrap();
        let repaired = engine.status().audit_needed.unwrap();
        assert!(repaired.contains("repaired without records"), "{repaired}");
        assert_eq!(engine.unready(), Vec::<String>::new());
        let mut listener = engine.events(None);
        this.documents.lock().unwrap().restored = Some("older than it was".into());
        until(|| !engine.unready().is_empty()).await;
        assert_eq!(engine.unready(), ["audit needed: surreal: older than it was"]);
        assert_eq!(engine.status().audit_needed.unwrap(), format!("{repaired}; surreal: older than it was"));
        let event = timeout(Duration::from_secs(60), listener.next()).await.unwrap().unwrap().unwrap();
        let EventBody::Store(event) = event.body else { panic!("{event:?}") };
        assert_eq!((event.change, event.detail.as_deref()), (StoreChange::AuditNeeded, Some("older than it was")));
    });
}

/// A log that was set back to a copy: what SurrealDB has noted is beyond all that it knows. It stops, unless it is told to go on.
#[test]
fn scenario_b3_a_log_older_than_its_stores_is_refused() {
    for is_served in [false, true] {
        let mut machine = if is_served { served() } else { machine() };
        let settings = Settings { retain_committed: Duration::ZERO, retain_last: 0, ..machine.its_settings() };
        live(&mut machine, settings.clone(), |engine| async move {
            run(&engine, put("a:1", 1, 1.0)).await;
            quiet(&engine).await.unwrap();
        });
        let (older, newer) = (machine.log.crash(0), machine.log.crash(0));
        machine.log = Arc::new(newer);
        live(&mut machine, settings.clone(), |engine| async move {
            run(&engine, delete("a:1")).await;
            run(&engine, put("a:2", 2, 2.0)).await;
            quiet(&engine).await.unwrap();
            sleep(Duration::from_secs(5)).await;
            engine.checkpoint().await.unwrap();
        });
        machine.log = Arc::new(older);
        let this = machine.again();
        let again = settings.clone();
        machine.live(u64::MAX, move || async move {
            this.start_disks();
            match Engine::start(this.parts(), again).await {
                Err(StartError::Older(why)) => assert!(!is_served && why.contains("--adopt"), "{why}"),
                Err(other) => panic!("{other}"),
                Ok(engine) => {
                    let mut failure = engine.failure();
                    let failure = timeout(Duration::from_secs(60), failure.wait_for(Option::is_some)).await.unwrap();
                    let failure = failure.unwrap().clone().unwrap();
                    assert!(matches!(&*failure, Fatal::Lost(why) if is_served && why.contains("older")), "{failure}");
                }
            }
            assert!(!this.documents.lock().unwrap().records.contains_key(&key("a:1")), "nothing is written again");
        });
        let adopting = Settings { adopt: true, ..settings };
        live(&mut machine, adopting, |engine| async move {
            assert_eq!(run(&engine, put("a:3", 3, 3.0)).await.state, State::Committed);
        });
    }
}

/// SurrealDB notes each checkpoint before the log does: one that knows of less is older than it was.
#[test]
fn a_store_older_than_the_last_checkpoint_needs_an_audit() {
    let mut machine = served();
    let settings = Settings { retain_committed: Duration::ZERO, retain_last: 0, ..machine.its_settings() };
    let again = settings.clone();
    let this = machine.again();
    let kept = Arc::new(Mutex::new(None));
    let early = Arc::clone(&kept);
    live(&mut machine, settings, |engine| async move {
        asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
        quiet(&engine).await.unwrap();
        engine.checkpoint().await.unwrap();
        *early.lock().unwrap() = Some(backup(&this));
        asked(&engine, &this.history, put("a:2", 2, 2.0)).await;
        quiet(&engine).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        engine.checkpoint().await.unwrap();
        assert_eq!(engine.status().audit_needed, None);
        // A group of the log that follows the checkpoint: the checkpoint is durable.
        take(&engine, put("a:3", 3, 3.0)).await;
    });
    restore(&machine, kept.lock().unwrap().as_ref().unwrap());
    live(&mut machine, again, |engine| async move {
        until(|| engine.status().audit_needed.is_some()).await;
        let why = engine.status().audit_needed.unwrap();
        assert!(why.contains("older than the last checkpoint"), "{why}");
    });
}

/// Scenario B3: another log has taken the stores; whoever had them stops, and writes nothing more.
#[test]
fn scenario_b3_another_log_on_the_same_stores_stops_the_engine() {
    let mut machine = served();
    let (this, settings) = (machine.again(), machine.its_settings());
    live(&mut machine, settings, |engine| async move {
        asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
        this.documents.lock().unwrap().take_over(LogId(uuid::Uuid::from_u128(99)));
        let _ = engine.take(put("a:1", 2, 2.0), lockstep_wal::Caller::default());
        let mut failure = engine.failure();
        let failure = timeout(Duration::from_secs(60), failure.wait_for(Option::is_some)).await.unwrap();
        let failure = failure.unwrap().clone().unwrap();
        assert!(matches!(*failure, Fatal::Fenced(_)), "{failure}");
        assert_eq!(this.documents.lock().unwrap().records[&key("a:1")].document, document(1));
    });
}
