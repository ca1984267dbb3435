//! Long troubles: one bad operation for an hour, a store that is away for an hour.

use std::sync::Arc;
use std::time::Duration;

use lockstep_engine::{Engine, Pausable, Settings, StoreName, StoreState, WaitingFor};
use lockstep_model::{Action, Code, Operation, State, Stores, Table, TableRules, Vectors};
use tokio::time::{Instant, sleep};

use crate::clients::key;
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{
    code, document, end, group, live, machine, patch, put, relate, relate_with, run, served, take, until,
};

/// Checkpoints are not what this is about.
fn seldom() -> Settings {
    Settings { checkpoint_every: Duration::from_secs(20), ..Machine::settings() }
}

/// P5: a vector that no call gets through with, for a reason that no list knows, ends after its attempts, and nobody else's
/// attempts are counted.
#[test]
fn p5_one_bad_vector_among_good_ones_for_an_hour_ends_alone() {
    let mut machine = machine();
    let (documents, vectors) = (Arc::clone(&machine.documents), Arc::clone(&machine.vectors));
    let settings = Settings { max_attempts: 10, retry_max: Duration::from_secs(30), ..seldom() };
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        vectors.lock().unwrap().stuck.insert(key("a:99"));
        let (bad, bad_id) = take(&engine, put("a:99", 1, 1.0)).await;
        let mut slowest = Duration::ZERO;
        for n in 0..3600_i64 {
            let asked = Instant::now();
            let (lsn, op_id) = take(&engine, put(&format!("a:{}", n % 40), n, 1.0)).await;
            assert_eq!(end(&engine, lsn).await.state, State::Committed, "{n}");
            slowest = slowest.max(asked.elapsed());
            assert_eq!(engine.op(op_id).unwrap().unwrap().summary.attempts, 0);
            sleep(Duration::from_millis(900)).await;
        }
        assert!(slowest < Duration::from_secs(5), "somebody waited {slowest:?}");
        let ended = end(&engine, bad).await;
        assert_eq!((ended.state, code(&ended)), (State::RolledBack, Some(Code::RejectedByQdrant)));
        assert!(ended.failure.unwrap().detail.contains("given up after 10 attempts"));
        assert_eq!(engine.op(bad_id).unwrap().unwrap().summary.attempts, 10);
        assert!(!documents.lock().unwrap().records.contains_key(&key("a:99")));
    });
}

/// As many operations as wait in an outage, without one: how long they take.
async fn takes(engine: &Engine, ops: i64) -> Duration {
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for n in 0..ops {
        waiting.push(take(engine, put(&format!("a:{}", n % 300), n, 1.0)).await.0);
    }
    for lsn in waiting {
        end(engine, lsn).await;
    }
    begun.elapsed()
}

/// P5, P6: an outage uses up nobody's attempts, starts nothing in the other store, and takes up no more room however long it
/// lasts; when it is over the backlog drains at the usual rate.
#[test]
fn p6_the_backlog_of_an_hour_without_a_store_drains() {
    for store in ["surreal", "qdrant"] {
        let mut machine = machine();
        let this = machine.again();
        let settings = Settings { max_attempts: 3, retry_max: Duration::from_secs(30), ..seldom() };
        live(&mut machine, settings, |engine| async move {
            run(&engine, put("a:0", 1, 1.0)).await;
            let usual = takes(&engine, 700).await;
            quiet(&engine).await.unwrap();
            engine.checkpoint().await.unwrap();
            this.documents.lock().unwrap().records.clear();
            this.vectors.lock().unwrap().points.clear();
            let hour = Duration::from_secs(3600);
            let over = Instant::now() + hour + hour;
            this.faults.take_down(store, hour + hour);
            let mut waiting = Vec::new();
            for n in 0..700 {
                waiting.push(take(&engine, put(&format!("a:{}", n % 300), n, 1.0)).await);
                sleep(Duration::from_secs(5)).await;
            }
            assert_eq!(engine.open_ops(), 700);
            // Those that were under way, and one more try after so many failures.
            let ahead = this.documents.lock().unwrap().records.len();
            assert!(ahead <= 40, "SurrealDB runs ahead by {ahead} documents");
            for (_, op_id) in &waiting {
                let view = engine.op(*op_id).unwrap().unwrap();
                assert_eq!(view.summary.attempts, 0, "{store}: {view:?}");
                assert!(matches!(view.waiting_for, Some(WaitingFor::Store(_) | WaitingFor::Lsn(_))), "{view:?}");
                let blamed = view.error.as_ref().is_some_and(|(failure, _)| failure.code != Code::StoreUnavailable);
                assert!(!blamed, "an outage is no refusal: {view:?}");
            }
            // An hour of vain attempts leaves nothing behind: no record in the log, nothing that waits.
            let before = engine.status().wal;
            sleep(Duration::from_secs(3000)).await;
            let after = engine.status().wal;
            let mut tried = after.last_lsn.0 - before.last_lsn.0;
            assert!(tried <= 3 * 64, "{store}: {tried} records for attempts");
            tried = after.bytes - before.bytes;
            assert!(tried < before.bytes / 4, "{store}: {tried} more bytes than {}", before.bytes);
            assert_eq!((after.open_ops, after.parked), (700, 0));
            for (lsn, _) in waiting {
                assert_eq!(end(&engine, lsn).await.state, State::Committed);
            }
            let late = Instant::now() - over;
            assert!(late <= usual + Duration::from_secs(30), "{store}: {late:?} after its return; usual are {usual:?}");
            quiet(&engine).await.unwrap();
        });
    }
}

/// An edge that is patched by its key is looked at in SurrealDB before its point is written. When that look failed, the patch was
/// once taken as committed without its point.
#[test]
fn p2_an_edge_whose_look_fails_is_not_committed_without_its_point() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, Machine::settings(), |engine| async move {
        for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), relate_with("f", "a:1", "a:2", 3.0)] {
            run(&engine, op).await;
        }
        let edge = relate_with("f", "a:1", "a:2", 3.0).action.subject().unwrap();
        for n in 0..10 {
            let action = Action::Patch { key: edge.clone(), document: document(10 + n), vectors: Vectors::default() };
            let mut taken = engine.take(Operation::plain(action), lockstep_wal::Caller::default()).unwrap();
            taken.logged().await.unwrap();
            while this.documents.lock().unwrap().records[&edge].stamp.unwrap().version != taken.version {
                sleep(Duration::from_micros(10)).await;
            }
            this.faults.take_down("surreal", Duration::from_millis(200));
            assert_eq!(end(&engine, taken.lsn).await.state, State::Committed);
            let entity = engine.entity(&edge).await;
            assert_eq!(entity.point.unwrap().unwrap().version, Some(taken.version));
        }
        assert_eq!(run(&engine, patch("a:1", 2)).await.state, State::Committed);
    });
}

/// P5, P7: while SurrealDB is away, a table that it does not hold goes on, and says nothing of it: no attempt of others counts.
#[test]
fn p5_a_table_in_qdrant_alone_does_not_speak_for_surrealdb() {
    let rules = TableRules { stores: Stores::Qdrant, ..TableRules::default() };
    let settings = Settings { tables: [(Table::new("q").unwrap(), rules)].into(), max_attempts: 3, ..seldom() };
    let mut machine = served();
    let this = machine.again();
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("q:0", 0, 1.0)).await;
        run(&engine, put("a:1", 1, 1.0)).await;
        this.faults.take_down("surreal", Duration::from_secs(1800));
        let (waits, _) = take(&engine, put("a:1", 2, 1.0)).await;
        for n in 0..200_i64 {
            assert_eq!(run(&engine, put(&format!("q:{n}"), n, 1.0)).await.state, State::Committed);
            sleep(Duration::from_secs(1)).await;
            assert_eq!(engine.open_ops(), 1, "{n} {:?}", engine.status().totals);
        }
        assert_eq!(end(&engine, waits).await.state, State::Committed);
    });
}

/// A pause holds also what was prepared while another batch was written: nothing that needs the store is started any more.
#[test]
fn p7_a_pause_holds_what_was_prepared_ahead() {
    let mut machine = machine();
    let documents = Arc::clone(&machine.documents);
    let surreal = Pausable::Store(StoreName::Surreal);
    let edges = move || documents.lock().unwrap().records.values().filter(|record| record.ends.is_some()).count();
    live(&mut machine, seldom(), |engine| async move {
        let nodes: Vec<String> = (1..=6).map(|n| format!("a:{n}")).collect();
        for (n, node) in (1..).zip(&nodes) {
            run(&engine, put(node, n, 1.0)).await;
        }
        engine.pause(&surreal).unwrap();
        let mut taken = Vec::new();
        for (from, to) in nodes.iter().flat_map(|from| nodes.iter().map(move |to| (from, to))).take(24) {
            taken.push(take(&engine, relate(from, to)).await.0);
        }
        engine.resume(&surreal).unwrap();
        until(|| edges() > 0).await;
        engine.pause(&surreal).unwrap();
        sleep(Duration::from_secs(60)).await;
        assert!(edges() < 24, "what was being written ends, what was prepared meanwhile waits");
        engine.resume(&surreal).unwrap();
        for lsn in taken {
            assert_eq!(end(&engine, lsn).await.state, State::Committed);
        }
        assert_eq!(edges(), 24);
    });
}

/// P7: what is looked at in SurrealDB alone says nothing of a Qdrant that is away.
#[test]
fn p7_a_look_that_asks_qdrant_nothing_does_not_speak_for_it() {
    let rules = TableRules { stores: Stores::Surreal, ..TableRules::default() };
    let mut machine = served();
    let settings = Settings {
        tables: [(Table::new("s").unwrap(), rules)].into(),
        retain_committed: Duration::from_secs(600),
        ..machine.its_settings()
    };
    let this = machine.again();
    live(&mut machine, settings, |engine| async move {
        let note = |n: i64| {
            let document = document(n);
            Operation::plain(Action::Put { key: key("s:1"), document, vectors: Vectors::default() })
        };
        run(&engine, note(1)).await;
        this.faults.take_down("qdrant", Duration::from_secs(600));
        until(|| engine.status().qdrant.state == StoreState::Down).await;
        assert!(engine.verify().await.unwrap() > 0);
        until(|| engine.status().verifying == 0).await;
        run(&engine, note(2)).await;
        assert_eq!(engine.status().qdrant.state, StoreState::Down);
    });
}

/// P5: what one collection takes of a group that another does not is no success of the store: no attempt counts while it serves nobody
/// else.
#[test]
fn p5_a_group_that_one_collection_takes_in_part_uses_up_no_attempts() {
    let settings = Settings { max_attempts: 3, ..seldom() };
    let mut machine = machine();
    let vectors = Arc::clone(&machine.vectors);
    live(&mut machine, settings, |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        vectors.lock().unwrap().stuck.insert(key("b:1"));
        let (lsn, _) = take(&engine, group([put("a:2", 2, 2.0), put("b:1", 3, 3.0)])).await;
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(engine.open_ops(), 1, "{:?}", engine.status().totals);
        vectors.lock().unwrap().stuck.clear();
        assert_eq!(end(&engine, lsn).await.state, State::Committed);
    });
}

/// What cannot move is not waited for when the engine stops; the next start goes on with it.
#[test]
fn p7_a_stop_does_not_wait_for_what_is_paused() {
    let mut machine = machine();
    let settings = machine.its_settings();
    live(&mut machine, settings.clone(), |engine| async move {
        engine.pause(&Pausable::Store(StoreName::Qdrant)).unwrap();
        for n in 0..20 {
            take(&engine, put(&format!("a:{n}"), n, 1.0)).await;
        }
        let begun = Instant::now();
        engine.stop(Duration::from_secs(20)).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    });
    let this = machine.again();
    live(&mut machine, settings, |engine| async move {
        quiet(&engine).await.unwrap();
        assert_eq!(this.vectors.lock().unwrap().points.len(), 20);
    });
}
