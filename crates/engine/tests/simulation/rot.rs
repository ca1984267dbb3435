//! Rot that a checksum let pass, or that an older build wrote: a record of the log that cannot be understood stops the engine, at
//! the start or when it comes to it, and nothing is done by halves or skipped in silence.

use std::sync::Arc;
use std::time::Duration;

use lockstep_engine::{Engine, Fatal, Pausable, StartError, StoreName, fold};
use lockstep_model::{Lsn, State};
use tokio::time::timeout;

use crate::bent::BentLog;
use crate::clients::key;
use crate::machine::Machine;
use crate::scene::{live, machine, put, run, take};

#[test]
fn p7_a_rotten_record_is_refused_at_the_start_and_named() {
    let mut machine = machine();
    live(&mut machine, Machine::settings(), |engine| async move {
        engine.pause(&Pausable::Store(StoreName::Surreal)).unwrap();
        for n in 0..5 {
            take(&engine, put(&format!("a:{n}"), n, 1.0)).await;
        }
    });
    let this = machine.again();
    machine.live(u64::MAX, move || async move {
        let mut rotten = 0;
        for lsn in (1..20).map(Lsn) {
            *this.rotten.lock().unwrap() = Some(lsn);
            if fold(&this.bent()).is_ok() {
                continue; // The log's own record, or none.
            }
            match Engine::start(this.parts(), Machine::settings()).await {
                Err(StartError::Recover(why)) => assert!(why.to_string().contains(&format!("record {lsn} ")), "{why}"),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("it started without record {lsn}"),
            }
            rotten += 1;
        }
        assert_eq!(rotten, 5, "each record was looked at");
    });
}

#[test]
fn p2_a_record_that_rots_while_it_waits_stops_the_engine() {
    let mut machine = machine();
    let this = machine.again();
    machine.live(u64::MAX, move || async move {
        this.start_disks();
        let engine = Engine::start(this.parts(), Machine::settings()).await.unwrap();
        assert_eq!(run(&engine, put("a:1", 1, 1.0)).await.state, State::Committed);
        engine.pause(&Pausable::Store(StoreName::Surreal)).unwrap();
        let (lsn, _) = take(&engine, put("a:2", 2, 2.0)).await;
        *this.rotten.lock().unwrap() = Some(lsn);
        engine.resume(&Pausable::Store(StoreName::Surreal)).unwrap();
        let mut failure = engine.failure();
        let failure = timeout(Duration::from_secs(60), failure.wait_for(Option::is_some)).await.unwrap();
        let failure = failure.unwrap().clone().unwrap();
        assert!(matches!(&*failure, Fatal::Lost(why) if why.contains(&format!("record {lsn}"))), "{failure}");
        assert!(!this.documents.lock().unwrap().records.contains_key(&key("a:2")));
    });
}

/// What the last sync of a stop loses nobody was told of; that it failed is said, and the stop is no good one.
#[test]
fn p1_a_log_that_does_not_close_is_said() {
    let mut machine = machine();
    let this = machine.again();
    machine.live(u64::MAX, move || async move {
        let log = Arc::new(BentLog::unclosable(Arc::clone(&this.log)));
        this.start_disks();
        let engine = Engine::start(this.parts_on(log), Machine::settings()).await.unwrap();
        engine.stop(Duration::from_secs(1)).await;
        let failure = engine.failure().borrow().clone().unwrap();
        assert!(matches!(&*failure, Fatal::Log(why) if why.to_string().contains("close")), "{failure}");
    });
}
