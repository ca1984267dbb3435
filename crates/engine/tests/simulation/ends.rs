//! Ends that are not durable yet: what follows them must not reach a store before them (scenario A4).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lockstep_engine::{Pausable, StoreName};
use lockstep_model::{Action, Operation, State, Vectors};
use tokio::time::{sleep, timeout};

use crate::clients::key;
use crate::faults::Outcome;
use crate::machine::Machine;
use crate::scene::{ask, asked, delete, document, end, live, machine, put, reckoned, until};
use crate::vectors::POISON;

/// A record without vectors: what is done to it needs no image.
fn put_without_vectors(text: &str) -> Operation {
    Operation::plain(Action::Put { key: key(text), document: document(1), vectors: Vectors::default() })
}

/// A precondition refuses an operation, and the next one of its key, which needs no image and so no flush, removes what it was
/// refused for. Were the removal in the store before the refusal is durable, a power cut would have it judged again, by what its
/// successor has written.
#[test]
fn scenario_a4_nothing_is_written_before_the_end_that_it_waited_for_is_durable() {
    for luck in 0..8 {
        let mut machine = Machine { dice: crate::chance::Dice::new(luck), ..machine() };
        let this = machine.again();
        let documents = Arc::clone(&machine.documents);
        live(&mut machine, Machine::settings(), |engine| async move {
            asked(&engine, &this.history, put_without_vectors("b:1")).await;
            let surreal = Pausable::Store(StoreName::Surreal);
            engine.pause(&surreal).unwrap();
            let mut refused = put_without_vectors("b:1");
            refused.precondition.if_absent = true;
            ask(&engine, &this.history, refused).await;
            ask(&engine, &this.history, delete("b:1")).await;
            this.log_held.store(true, Ordering::SeqCst);
            engine.resume(&surreal).unwrap();
            sleep(Duration::from_secs(10)).await;
            assert!(
                documents.lock().unwrap().records.contains_key(&key("b:1")),
                "the removal waits for the end before it"
            );
        });
        let this = machine.again();
        live(&mut machine, Machine::settings(), |engine| async move {
            reckoned(&this, &engine).await;
            assert!(this.documents.lock().unwrap().records.is_empty(), "it goes on after the restart");
        });
    }
}

/// Were it told before, a power cut could take back what somebody has been told.
#[test]
fn scenario_a4_nobody_hears_of_an_end_that_is_not_durable() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        let surreal = Pausable::Store(StoreName::Surreal);
        engine.pause(&surreal).unwrap();
        let lsn = ask(&engine, &this.history, put_without_vectors("b:1")).await;
        this.log_held.store(true, Ordering::SeqCst);
        engine.resume(&surreal).unwrap();
        until(|| this.documents.lock().unwrap().records.contains_key(&key("b:1"))).await;
        let mut told = engine.ending(lsn).unwrap();
        assert!(timeout(Duration::from_secs(10), &mut told).await.is_err(), "its end is not durable");
        this.log_held.store(false, Ordering::SeqCst);
        assert_eq!(told.await.unwrap().state, State::Committed);
    });
}

/// Design 4: the decision to take back is durable before anything is taken back. Else a power cut could leave a log that goes forward
/// with a record that went back.
#[test]
fn p2_nothing_is_taken_back_before_the_decision_is_durable() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        asked(&engine, &this.history, put("a:1", 1, 1.0)).await;
        // Qdrant refuses at the second attempt.
        this.faults.script("qdrant", &[Outcome::NotApplied]);
        let lsn = ask(&engine, &this.history, put("a:1", 2, POISON)).await;
        let shows = |number| this.documents.lock().unwrap().records[&key("a:1")].document == document(number);
        until(|| shows(2)).await;
        this.log_held.store(true, Ordering::SeqCst);
        sleep(Duration::from_secs(10)).await;
        assert!(shows(2), "the decision is not durable");
        this.log_held.store(false, Ordering::SeqCst);
        assert_eq!(end(&engine, lsn).await.state, State::RolledBack);
        assert!(shows(1));
    });
}
