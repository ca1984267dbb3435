//! Nothing fails.

use std::path::Path;

use lockstep_wal::Durability::{Flush, Lazy};
use lockstep_wal::schedules::Fault;

use crate::explore;
use crate::scene::{PATIENT, Scene, counted, entries, removal};

#[test]
fn p1_nobody_is_told_before_it_is_durable_and_readers_never_lose_sight() {
    explore(|dir: &Path| {
        let scene = Scene::begin(dir, Fault::None, PATIENT);
        let first = scene.spawn(|scene| {
            let (lsn, one) = scene.append(counted(entries(Flush, &[5000]), 1)).unwrap();
            let (_, two) = scene.append(counted(entries(Lazy, &[3, 4]), 2)).unwrap();
            assert!(scene.settle(one));
            let (_, removed) = scene.append(removal(Flush, lsn)).unwrap();
            assert!(scene.settle(two) && scene.settle(removed));
        });
        let second = scene.spawn(|scene| {
            let (lsn, one) = scene.append(entries(Lazy, &[1])).unwrap();
            let (_, two) = scene.append(removal(Flush, lsn)).unwrap();
            assert!(scene.settle(one) && scene.settle(two));
        });
        let third = scene.spawn(|scene| {
            let (_, lazy) = scene.append(entries(Lazy, &[6, 7])).unwrap();
            assert!(scene.settle(lazy));
        });
        let reader = scene.spawn(|scene| scene.read(3));
        let cutter = scene.spawn(Scene::cut);
        for thread in [first, second, third, reader, cutter] {
            thread.join().unwrap();
        }
        assert!(scene.close());
        scene.end();
    });
}

#[test]
fn a_close_at_any_moment_makes_everything_durable_that_was_taken() {
    explore(|dir: &Path| {
        let scene = Scene::begin(dir, Fault::None, PATIENT);
        let first = scene.spawn(|scene| {
            let promises = [entries(Lazy, &[1]), entries(Flush, &[2, 3]), counted(entries(Lazy, &[]), 1)];
            let taken: Vec<_> = promises.into_iter().map_while(|group| scene.append(group)).collect();
            taken.into_iter().for_each(|(_, promise)| assert!(scene.settle(promise)));
        });
        let second = scene.spawn(|scene| {
            if let Some((lsn, one)) = scene.append(entries(Flush, &[4])) {
                assert!(scene.settle(one));
                if let Some((_, two)) = scene.append(removal(Lazy, lsn)) {
                    assert!(scene.settle(two));
                }
            }
        });
        let closers = [scene.spawn(Scene::close), scene.spawn(Scene::close)];
        let reader = scene.spawn(|scene| scene.read(1));
        for thread in [first, second, reader] {
            thread.join().unwrap();
        }
        for closer in closers {
            assert!(closer.join().unwrap());
        }
        scene.end();
    });
}

#[test]
fn a_lazy_group_alone_is_durable_in_a_while() {
    explore(|dir: &Path| {
        let scene = Scene::begin(dir, Fault::None, PATIENT);
        for len in [1, 2] {
            let (_, promise) = scene.append(entries(Lazy, &[len])).unwrap();
            assert!(scene.settle(promise));
        }
        // Nobody closes it: what is dropped closes itself.
        scene.end();
    });
}
