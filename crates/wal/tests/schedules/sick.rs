//! The disk fails or hangs at some call.

use std::path::Path;

use lockstep_wal::Durability::{Flush, Lazy};
use lockstep_wal::Log;
use lockstep_wal::LogError;
use lockstep_wal::schedules::Fault;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::explore;
use crate::scene::{IMPATIENT, PATIENT, Scene, counted, entries, removal};

/// Two writes of five calls each, and some of a third.
const CALLS: usize = 12;

/// Appends until the log takes nothing more; tells whether each that was taken became durable. Who counts has the
/// counter and entries with something in them; the others' are empty.
fn appends(scene: &Scene, counts: bool) -> Vec<bool> {
    let some = |len: usize| if counts { len } else { 0 };
    let count = |group, counter| if counts { counted(group, counter) } else { group };
    let mut good = Vec::new();
    if let Some((lsn, one)) = scene.append(count(entries(Flush, &[some(1)]), 1)) {
        good.push(scene.settle(one));
        let groups = [entries(Lazy, &[some(2)]), removal(Flush, lsn), count(entries(Flush, &[some(3)]), 2)];
        let taken: Vec<_> = groups.into_iter().map_while(|group| scene.append(group)).collect();
        good.extend(taken.into_iter().map(|(_, promise)| scene.settle(promise)));
    }
    good
}

/// Once it is bad, it stays so.
fn never_good_again(good: &[bool]) {
    assert!(good.is_sorted_by(|former, later| former >= later), "{good:?}");
}

#[test]
fn p1_after_a_call_that_failed_nobody_is_told_and_nothing_is_tried_again() {
    explore(|dir: &Path| {
        let fault = Fault::Fails { call: thread_rng().gen_range(0..CALLS), done: thread_rng().gen_bool(0.5) };
        let scene = Scene::begin(dir, fault, PATIENT);
        let appenders = [true, false].map(|counts| scene.spawn(move |scene| appends(scene, counts)));
        let reader = scene.spawn(|scene| scene.read(2));
        let cutter = scene.spawn(Scene::cut);
        for appender in appenders {
            never_good_again(&appender.join().unwrap());
        }
        reader.join().unwrap();
        cutter.join().unwrap();
        let good = scene.close();
        assert_eq!(good, !scene.world.failed());
        if !good {
            assert!(scene.append(entries(Flush, &[9])).is_none());
            assert!(!scene.close());
        }
        scene.end();
    });
}

#[test]
fn p1_a_call_that_hangs_fails_the_log_and_what_comes_of_it_late_is_told_to_nobody() {
    explore(|dir: &Path| {
        let fault = Fault::Hangs { call: thread_rng().gen_range(0..CALLS - 2), fails: thread_rng().gen_bool(0.3) };
        let scene = Scene::begin(dir, fault, IMPATIENT);
        // Without a byte in the queue its books are right also if a write is entered in them that came too late.
        let appenders = [false, false].map(|counts| scene.spawn(move |scene| appends(scene, counts)));
        let closer = thread_rng().gen_bool(0.5).then(|| scene.spawn(Scene::close));
        for appender in appenders {
            never_good_again(&appender.join().unwrap());
        }
        // It may have been closed before it came to that.
        let good = closer.map_or_else(|| scene.close(), |closer| closer.join().unwrap());
        if !good {
            let failure = scene.log.failure().unwrap();
            assert!(matches!(*failure, LogError::SlowFlush { .. }), "{failure}");
            assert!(scene.append(entries(Flush, &[9])).is_none());
            let told = scene.log.positions().durable;
            scene.world.give_up();
            scene.cut();
            scene.world.release();
            for _ in 0..50 {
                thread::yield_now();
            }
            assert_eq!(scene.log.positions().durable, told);
        }
        scene.end();
    });
}

#[test]
fn p1_a_slow_write_is_durable_or_has_failed_and_never_both() {
    explore(|dir: &Path| {
        let scene = Scene::begin(dir, Fault::Hangs { call: thread_rng().gen_range(0..5), fails: false }, IMPATIENT);
        let asking = |scene: &Scene| {
            let groups = [entries(Lazy, &[1]), entries(Flush, &[2])];
            let taken: Vec<_> = groups.into_iter().map_while(|group| scene.append(group)).collect();
            let good: Vec<bool> = taken.into_iter().map(|(_, promise)| scene.settle_asking(promise)).collect();
            never_good_again(&good);
        };
        let appenders = [scene.spawn(asking), scene.spawn(asking)];
        // The call comes back when about so much time has passed as a write may take.
        let patience = thread_rng().gen_range(0..60);
        let disk = scene.spawn(move |scene| {
            while !scene.world.hangs() && scene.log.failure().is_none() {
                thread::yield_now();
            }
            for _ in 0..patience {
                thread::yield_now();
            }
            scene.world.release();
        });
        for appender in appenders {
            appender.join().unwrap();
        }
        disk.join().unwrap();
        scene.close();
        scene.end();
    });
}
