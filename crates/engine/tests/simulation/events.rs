//! Events: each operation is told once logged and once ended, in the order of the log (scenario A12).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_engine::{
    Engine, Event, EventBody, EventKind, EventStream, Pausable, Position, Settings, StoreChange, StoreName,
};
use lockstep_model::{Lsn, State, Table};
use tokio::time::{sleep, timeout};

use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{delete, end, group, live, machine, patch, put, run, take, until};
use crate::vectors::POISON;

/// Nothing leaves the log.
fn keeping() -> Settings {
    Settings { checkpoint_every: Duration::from_secs(86_400), ..Machine::settings() }
}

/// Everything that can be told now.
async fn told(stream: &mut EventStream) -> Vec<Event> {
    let mut events = Vec::new();
    while let Ok(event) = timeout(Duration::from_millis(50), stream.next()).await {
        events.push(event.unwrap().unwrap());
    }
    events
}

/// Operations that end in different ways, and how.
async fn traffic(engine: &Engine) -> BTreeMap<Lsn, EventKind> {
    let mut ends = BTreeMap::new();
    for n in 0..20_i64 {
        for op in [
            put(&format!("a:{}", n % 3), n, 1.0),
            put("a:1", n, POISON),
            patch("a:2", n),
            group([put("b:1", n, 1.0), delete("b:2")]),
        ] {
            let (lsn, _) = take(engine, op).await;
            let committed = end(engine, lsn).await.state == State::Committed;
            ends.insert(lsn, if committed { EventKind::Committed } else { EventKind::RolledBack });
        }
    }
    let both = [EventKind::Committed, EventKind::RolledBack];
    assert!(both.iter().all(|kind| ends.values().any(|end| end == kind)), "{ends:?}");
    ends
}

fn ops(events: &[Event]) -> Vec<(Lsn, EventKind)> {
    let op = |event: &Event| match &event.body {
        EventBody::Op { kind, op } => Some((op.lsn, *kind)),
        EventBody::Store(_) | EventBody::Gap { .. } => None,
    };
    events.iter().filter_map(op).collect()
}

fn rising(events: &[Event]) {
    for pair in events.windows(2) {
        assert!(pair[0].position < pair[1].position, "{pair:?}");
    }
}

#[test]
fn p7_every_operation_is_told_once_logged_and_once_ended() {
    live(&mut machine(), keeping(), |engine| async move {
        let mut stream = engine.events(None);
        let ends = traffic(&engine).await;
        let events = told(&mut stream).await;
        rising(&events);
        let mut logged = BTreeSet::new();
        let mut ended = BTreeMap::new();
        for (lsn, kind) in ops(&events) {
            if kind == EventKind::Logged {
                assert!(logged.insert(lsn), "{lsn} was logged twice");
            } else {
                assert!(logged.contains(&lsn), "{lsn} ended before it was logged");
                assert_eq!(ended.insert(lsn, kind), None, "{lsn} ended twice");
            }
        }
        assert_eq!(ended, ends);
        assert_eq!(logged.len(), ends.len());
    });
}

#[test]
fn events_resume_from_any_position_after_a_restart_too() {
    let mut machine = machine();
    let all = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&all);
    live(&mut machine, keeping(), |engine| async move {
        let mut stream = engine.events(None);
        traffic(&engine).await;
        let events = told(&mut stream).await;
        for (place, event) in events.iter().enumerate() {
            let mut again = engine.events(Some(event.position));
            assert_eq!(ops(&told(&mut again).await), ops(&events[place + 1..]), "after {}", event.position);
        }
        *seen.lock().unwrap() = events;
        quiet(&engine).await.unwrap();
        // What the last life appended is durable when it ends.
        run(&engine, put("a:1", 1, 1.0)).await;
    });
    let events = all.lock().unwrap().clone();
    live(&mut machine, keeping(), |engine| async move {
        let middle = events.len() / 2;
        let text = events[middle].position.to_string();
        let position: Position = text.parse().unwrap();
        let again = ops(&told(&mut engine.events(Some(position))).await);
        let rest = ops(&events[middle + 1..]);
        assert_eq!(again[..rest.len()], rest, "the places of events are the log's");
    });
}

/// A place that this log has not reached is another's: whoever comes with it hears of everything, and not of nothing for ever.
#[test]
fn a_position_of_another_log_gives_all_that_this_one_holds() {
    live(&mut machine(), keeping(), |engine| async move {
        let mut stream = engine.events(None);
        traffic(&engine).await;
        let all = ops(&told(&mut stream).await);
        let far: Position = "00000fffffffffff00000000".parse().unwrap();
        let events = told(&mut engine.events(Some(far))).await;
        assert_eq!(ops(&events), all);
        rising(&events);
    });
}

/// Scenario A12: an operation that ends after a younger one has is told of to whoever has heard of the younger one's end.
#[test]
fn scenario_a12_an_end_that_comes_after_a_younger_ones_is_not_missed() {
    live(&mut machine(), keeping(), |engine| async move {
        run(&engine, put("b:1", 1, 1.0)).await;
        let slow = Pausable::Table(Table::new("b").unwrap());
        engine.pause(&slow).unwrap();
        let (older, _) = take(&engine, put("b:1", 2, 1.0)).await;
        let (younger, _) = take(&engine, put("a:1", 1, 1.0)).await;
        assert_eq!(end(&engine, younger).await.state, State::Committed);
        let mut stream = engine.events(None);
        engine.resume(&slow).unwrap();
        end(&engine, older).await;
        let events = told(&mut stream).await;
        assert_eq!(ops(&events), [(older, EventKind::Committed)]);
        rising(&events);
        assert_eq!(ops(&told(&mut engine.events(Some(events[0].position))).await), [], "it is told once");
    });
}

/// Scenario A12: what left the log before it was told is a gap, said first.
#[test]
fn scenario_a12_a_position_that_has_left_the_log_gives_a_gap_first() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        let mut stream = engine.events(None);
        run(&engine, put("a:1", 1, 1.0)).await;
        let first = stream.next().await.unwrap().unwrap();
        for n in 0..50 {
            run(&engine, put("a:1", n, 1.0)).await;
        }
        quiet(&engine).await.unwrap();
        engine.checkpoint().await.unwrap();
        let (young, _) = take(&engine, put("a:2", 1, 1.0)).await;
        end(&engine, young).await;
        let events = told(&mut engine.events(Some(first.position))).await;
        let EventBody::Gap { from, to } = &events[0].body else { panic!("a gap comes first: {:?}", events[0]) };
        assert!(*from == first.position && *to > first.position && events[0].position == *to);
        rising(&events);
        assert_eq!(ops(&events), [(young, EventKind::Logged), (young, EventKind::Committed)]);
        let end = events.last().unwrap().position;
        assert_eq!(told(&mut engine.events(Some(end))).await, [], "who has heard all of it misses nothing");
    });
}

/// A listener that reads nothing for a while is told of a gap; whatever it is told is so, in order, and nothing after the gap is
/// missing.
#[test]
fn p7_a_slow_listener_gets_a_gap_and_no_lie() {
    live(&mut machine(), Machine::settings(), |engine| async move {
        let mut stream = engine.events(None);
        let mut asked = Vec::new();
        for n in 0..400 {
            asked.push(take(&engine, put(&format!("a:{}", n % 20), n, 1.0)).await.0);
            if n == 10 {
                quiet(&engine).await.unwrap();
                // It has read a page, and told one event of it.
                assert!(matches!(stream.next().await.unwrap().unwrap().body, EventBody::Op { .. }));
            }
        }
        quiet(&engine).await.unwrap();
        engine.checkpoint().await.unwrap();
        let (last, _) = take(&engine, put("a:1", 1, 1.0)).await;
        end(&engine, last).await;
        let events = told(&mut stream).await;
        rising(&events);
        let gap = events.iter().position(|event| matches!(event.body, EventBody::Gap { .. })).expect("a gap");
        let after = ops(&events[gap..]);
        assert_eq!(after, [(last, EventKind::Logged), (last, EventKind::Committed)]);
        let once: BTreeSet<_> = ops(&events).into_iter().map(|(lsn, kind)| (lsn, kind.as_str())).collect();
        assert_eq!(once.len(), ops(&events).len(), "nothing is told twice");
    });
}

#[test]
fn stores_that_go_down_and_come_back_are_told() {
    let mut machine = machine();
    let this = machine.again();
    live(&mut machine, keeping(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let mut stream = engine.events(None);
        let mut last = Position::default();
        for store in [StoreName::Surreal, StoreName::Qdrant] {
            this.faults.take_down(store.as_str(), Duration::from_secs(30));
            let (lsn, _) = take(&engine, put("a:1", 2, 2.0)).await;
            until(|| engine.status().surreal.down_s.is_some() || engine.status().qdrant.down_s.is_some()).await;
            end(&engine, lsn).await;
            sleep(Duration::from_secs(1)).await;
            let events = told(&mut stream).await;
            let stores = events.iter().filter_map(|event| match &event.body {
                EventBody::Store(event) => Some((event.store, event.change)),
                EventBody::Op { .. } | EventBody::Gap { .. } => None,
            });
            assert_eq!(stores.collect::<Vec<_>>(), [(store, StoreChange::Down), (store, StoreChange::Up)]);
            for event in &events {
                assert!(event.position > last, "{event:?} follows {last}");
                last = event.position;
            }
            // Whoever comes back with the id of what happened to a store gets the operations that followed.
            let down = events.iter().position(|event| matches!(event.body, EventBody::Store(_))).unwrap();
            let resumed = told(&mut engine.events(Some(events[down].position))).await;
            assert_eq!(ops(&resumed), ops(&events[down..]));
        }
    });
}
