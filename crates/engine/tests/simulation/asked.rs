//! What an operator decided while nobody ran: carried out at the next start, once, whatever cuts it short.

use std::sync::{Arc, Mutex};

use lockstep_engine::{Decision, Engine, OpFilter, OpView, Settings};
use lockstep_model::{Code, Lsn, OnReject, State, TableRules};
use lockstep_wal::{Asked, Caller, Class, Durability, Group, Log, Lost, Record, Verdict};
use tokio::time::sleep;

use crate::chance::Dice;
use crate::clients::key;
use crate::faults::Outcome;
use crate::machine::Machine;
use crate::reckoning::quiet;
use crate::scene::{delete, document, end, live, machine, put, run, take, until, with_table};
use crate::vectors::POISON;

const RETRY: Verdict = Verdict::Retry { force: false };

fn parks() -> Settings {
    with_table("a", TableRules { on_reject: OnReject::Park, ..TableRules::default() })
}

/// A life that leaves a parked put behind: SurrealDB shows 2, Qdrant 1.
fn parked(machine: &mut Machine) -> Lsn {
    let told = Arc::new(Mutex::new(Lsn(0)));
    let lsn = Arc::clone(&told);
    live(machine, parks(), |engine| async move {
        run(&engine, put("a:1", 1, 1.0)).await;
        let (parked, _) = take(&engine, put("a:1", 2, POISON)).await;
        assert_eq!(end(&engine, parked).await.state, State::Parked);
        quiet(&engine).await.unwrap();
        *lsn.lock().unwrap() = parked;
    });
    *told.lock().unwrap()
}

/// What wal-tools writes into a log that nobody holds.
fn ask(machine: &Machine, op: Lsn, verdict: Verdict) {
    let note = Some("by night".to_owned());
    let asked = Asked { op, verdict, caller: Caller { uid: Some(0) }, at_us: 1, note };
    let mut group = Group::new(Durability::Flush, Class::Drain);
    group.entries.push(Record::Asked(asked).encode().unwrap());
    drop(machine.log.append(group).unwrap());
    machine.log.flush_pending();
}

fn state(engine: &Engine, lsn: Lsn) -> State {
    view(engine, lsn).state()
}

fn view(engine: &Engine, lsn: Lsn) -> OpView {
    engine.op_at(lsn).unwrap().unwrap()
}

/// How often the log says that the operation's decision was declined.
fn declines(machine: &Machine) -> usize {
    let mut count = 0;
    let each = &mut |_, entry: lockstep_wal::Entry| {
        count += usize::from(matches!(Record::decode(&entry), Ok(Record::Declined(_))));
        std::ops::ControlFlow::Continue(())
    };
    machine.log.scan(Lsn(1), each).unwrap();
    count
}

#[test]
fn each_decision_is_carried_out_at_the_next_start() {
    for (verdict, ends, shows) in [
        (RETRY, State::Discarded, 2),
        (Verdict::Rollback, State::RolledBack, 1),
        (Verdict::Discard, State::Discarded, 2),
    ] {
        let mut machine = machine();
        let lsn = parked(&mut machine);
        ask(&machine, lsn, verdict);
        live(&mut machine, parks(), |engine| async move {
            until(|| state(&engine, lsn) == ends).await;
            quiet(&engine).await.unwrap();
            let entity = engine.entity(&key("a:1")).await;
            assert_eq!(entity.record.unwrap().unwrap().document, document(shows), "{verdict:?}");
            let why = view(&engine, lsn).error.unwrap().0.detail;
            assert!(verdict == Verdict::Rollback || (why.contains("uid 0") && why.contains("by night")), "{why}");
        });
    }
}

/// P2: a kill at any step of carrying it out leaves a decision that is carried out once, or not yet.
#[test]
fn p2_a_kill_in_the_middle_of_carrying_it_out() {
    let mut cut_short = 0;
    for (verdict, steps) in
        [RETRY, Verdict::Rollback, Verdict::Discard].into_iter().flat_map(|v| (0..60).map(move |s| (v, s)))
    {
        let mut machine = Machine { dice: Dice::new(steps * 7 + 1), ..machine() };
        let lsn = parked(&mut machine);
        ask(&machine, lsn, verdict);
        let this = machine.again();
        machine.live(steps, move || async move {
            let engine = this.start(parks()).await;
            loop {
                this.faults.step().await;
                sleep(std::time::Duration::from_millis(1)).await;
                drop(engine.status());
            }
        });
        let (this, told) = (machine.again(), Arc::new(Mutex::new(false)));
        let open = Arc::clone(&told);
        live(&mut machine, parks(), |engine| async move {
            *open.lock().unwrap() = state(&engine, lsn) == State::Parked;
            until(|| state(&engine, lsn) != State::Parked).await;
            quiet(&engine).await.unwrap();
            let (ops, _) = engine.ops(&OpFilter { limit: 100, ..OpFilter::default() }).unwrap();
            let again: Vec<State> = ops.iter().filter(|op| op.lsn > lsn).map(OpView::state).collect();
            match verdict {
                // The content is refused again, as it was: logged once, and parked.
                Verdict::Retry { .. } => assert_eq!(again, [State::Parked], "killed at {steps}"),
                Verdict::Rollback | Verdict::Discard => assert_eq!(again, [], "killed at {steps}"),
            }
            assert_eq!(declines(&this), 0);
        });
        cut_short += u32::from(*told.lock().unwrap());
        // Nothing is carried out a second time.
        live(&mut machine, parks(), |engine| async move {
            quiet(&engine).await.unwrap();
            let (ops, _) = engine.ops(&OpFilter { limit: 100, ..OpFilter::default() }).unwrap();
            assert!(ops.len() <= 3, "{ops:?}");
        });
    }
    assert!(cut_short > 20, "kills before it was done: {cut_short}");
}

/// What cannot be done is declined, once, says so, and can be decided anew.
#[test]
fn p7_what_cannot_be_carried_out_is_declined_and_says_why() {
    let mut machine = machine();
    let lsn = parked(&mut machine);
    live(&mut machine, parks(), |engine| async move {
        assert_eq!(run(&engine, put("a:1", 3, 3.0)).await.state, State::Committed);
    });
    for (asked, verdict) in [RETRY, Verdict::Rollback].into_iter().enumerate() {
        ask(&machine, lsn, verdict);
        for start in 0..2 {
            let this = machine.again();
            live(&mut machine, parks(), |engine| async move {
                until(|| declines(&this) > asked).await;
                quiet(&engine).await.unwrap();
                assert_eq!(declines(&this), asked + 1, "start {start}");
                let (failure, _) = view(&engine, lsn).error.unwrap();
                assert!(
                    failure.detail.starts_with(&format!("{} asked by uid 0: by night", verdict.as_str())),
                    "{failure:?}"
                );
                assert!(failure.detail.contains("it is parked because: "), "{failure:?}");
                assert!(verdict == Verdict::Rollback || failure.code == Code::Superseded, "{failure:?}");
                assert_eq!(state(&engine, lsn), State::Parked);
                assert_eq!(engine.entity(&key("a:1")).await.record.unwrap().unwrap().document, document(3));
            });
        }
    }
    ask(&machine, lsn, Verdict::Retry { force: true });
    live(&mut machine, parks(), |engine| async move {
        until(|| state(&engine, lsn) == State::Discarded).await;
    });
}

/// A store that is away keeps a decision waiting, not the others.
#[test]
fn a_decision_waits_for_its_store() {
    let mut machine = machine();
    let lsn = parked(&mut machine);
    ask(&machine, lsn, RETRY);
    machine.serve();
    machine.faults.script("surreal", &[Outcome::NotApplied; 6]);
    let this = machine.again();
    live(&mut machine, parks(), |engine| async move {
        until(|| state(&engine, lsn) == State::Discarded).await;
        assert_eq!(declines(&this), 0);
    });
}

/// The last word counts, and what is decided at the daemon meanwhile needs no start.
#[test]
fn of_several_decisions_the_last_counts() {
    let mut machine = machine();
    let lsn = parked(&mut machine);
    ask(&machine, lsn, Verdict::Discard);
    ask(&machine, lsn, Verdict::Rollback);
    live(&mut machine, parks(), |engine| async move {
        until(|| state(&engine, lsn) != State::Parked).await;
        assert_eq!(state(&engine, lsn), State::RolledBack);
    });
}

/// P2: a rollback that was asked at the daemon is a decision of the log: a kill does not take it back.
#[test]
fn p2_a_rollback_that_a_kill_cuts_short_goes_on() {
    let mut went_on = 0;
    for steps in 0..60 {
        let mut machine = Machine { dice: Dice::new(steps), ..machine() };
        let lsn = parked(&mut machine);
        let this = machine.again();
        machine.live(steps, move || async move {
            let engine = this.start(parks()).await;
            drop(engine.decide(lsn, Decision::Rollback, None, Caller { uid: Some(1) }).await);
            loop {
                this.faults.step().await;
                sleep(std::time::Duration::from_millis(1)).await;
            }
        });
        let mut asked = false;
        let each = &mut |_, entry: lockstep_wal::Entry| {
            asked |= matches!(Record::decode(&entry), Ok(Record::Asked(_)));
            std::ops::ControlFlow::Continue(())
        };
        machine.log.scan(Lsn(1), each).unwrap();
        let told = Arc::new(Mutex::new(false));
        let open = Arc::clone(&told);
        live(&mut machine, parks(), |engine| async move {
            *open.lock().unwrap() = state(&engine, lsn) == State::Parked;
            if asked {
                until(|| state(&engine, lsn) == State::RolledBack).await;
            }
            quiet(&engine).await.unwrap();
        });
        went_on += u32::from(asked && *told.lock().unwrap());
    }
    assert!(went_on > 0, "no kill came between the decision and its end");
}

/// "Now, not after the backoff": an open operation that waits for its time is tried at once.
#[test]
fn a_retry_of_an_open_operation_tries_it_now() {
    let mut machine = machine();
    let this = machine.again();
    let settings = Settings {
        retry_base: std::time::Duration::from_secs(500),
        retry_max: std::time::Duration::from_secs(1000),
        ..parks()
    };
    live(&mut machine, settings, |engine| async move {
        this.faults.script("surreal", &[Outcome::NotApplied]);
        let (lsn, _) = take(&engine, delete("a:9")).await;
        until(|| view(&engine, lsn).next_attempt_us.is_some()).await;
        let since = tokio::time::Instant::now();
        let decided = engine.decide(lsn, Decision::Retry { force: false }, None, Caller::default()).await.unwrap();
        assert!(decided.again.is_none() && decided.state.is_open(), "{decided:?}");
        assert_eq!(end(&engine, lsn).await.state, State::Committed);
        assert!(since.elapsed() < std::time::Duration::from_secs(100), "{:?}", since.elapsed());
    });
}

/// What a repair writes where records are lost: this one may have been anything.
pub(crate) fn lose(machine: &Machine) {
    let last = machine.log.positions().appended.next();
    let lost = Lost { last, hides_progress: true, hides_operations: true, at_us: 1, caller: Caller::default() };
    let mut group = Group::new(Durability::Flush, Class::Drain);
    group.entries.push(Record::Lost(lost).encode().unwrap());
    drop(machine.log.append(group).unwrap());
    machine.log.flush_pending();
}

/// P2: what committed before a loss may have been removed by what is lost: it is not written again, and an audit is asked for.
#[test]
fn p2_what_committed_before_a_loss_is_not_written_again() {
    for loses in [false, true] {
        let mut machine = machine();
        live(&mut machine, parks(), |engine| async move {
            assert_eq!(run(&engine, put("a:1", 1, 1.0)).await.state, State::Committed);
        });
        if loses {
            lose(&machine);
        }
        machine.documents.lock().unwrap().records.remove(&key("a:1"));
        let this = machine.again();
        live(&mut machine, parks(), |engine| async move {
            quiet(&engine).await.unwrap();
            let there = this.documents.lock().unwrap().records.contains_key(&key("a:1"));
            assert_eq!((there, engine.status().audit_needed.is_some()), (!loses, loses));
            // Nor when somebody asks for it, or a connection was lost.
            engine.verify().await.unwrap();
            quiet(&engine).await.unwrap();
            let there = this.documents.lock().unwrap().records.contains_key(&key("a:1"));
            assert_eq!(there, !loses);
            assert_eq!(run(&engine, put("a:1", 2, 2.0)).await.state, State::Committed);
        });
    }
}

/// P2: that an operation created what it wrote is proven by there being no image; not where its image may be lost.
#[test]
fn p2_without_a_trustworthy_image_nothing_is_taken_back() {
    for loses in [false, true] {
        let mut machine = machine();
        let told = Arc::new(Mutex::new(Lsn(0)));
        let lsn = Arc::clone(&told);
        live(&mut machine, parks(), |engine| async move {
            let (parked, _) = take(&engine, put("a:7", 2, POISON)).await;
            assert_eq!(end(&engine, parked).await.state, State::Parked);
            *lsn.lock().unwrap() = parked;
        });
        if loses {
            lose(&machine);
        }
        let lsn = *told.lock().unwrap();
        live(&mut machine, parks(), |engine| async move {
            let decided = engine.decide(lsn, Decision::Rollback, None, Caller::default()).await.unwrap();
            assert_eq!(decided.state, if loses { State::Parked } else { State::RolledBack });
            assert!(!loses || decided.failure.unwrap().detail.contains("lost records"));
            assert_eq!(engine.entity(&key("a:7")).await.record.unwrap().is_some(), loses);
        });
    }
}
