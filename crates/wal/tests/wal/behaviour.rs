//! One suite for everything that keeps the trait. It runs on the log on disk and on the one in memory.

use std::ops::ControlFlow;
use std::sync::Arc;

use lockstep_model::Lsn;
use lockstep_wal::{Class, Durability, ErrorClass, Group, Log, LogError, MAX_SIDE, MemLog, SideKey, Space, UsageError};

use crate::support::{ID, all, entry, group, open, payload, removal, summaries, with_side};

/// A log under test, and how to open it again.
struct Bench {
    log: Arc<dyn Log>,
    reopen: Reopen,
}

type Reopen = Box<dyn Fn(Arc<dyn Log>) -> Arc<dyn Log>>;

fn on_both(test: impl Fn(Bench)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wal");
    let (log, report) = open(&path).unwrap();
    assert!(report.fresh);
    test(Bench {
        log,
        reopen: Box::new(move |log| {
            log.close().unwrap();
            drop(log);
            open(&path).unwrap().0
        }),
    });

    let mem = Arc::new(MemLog::auto(ID));
    let handle = std::sync::Mutex::new(Arc::clone(&mem));
    test(Bench {
        log: mem,
        reopen: Box::new(move |log| {
            log.close().unwrap();
            let mut handle = handle.lock().unwrap();
            *handle = Arc::new(handle.kill());
            Arc::clone(&handle) as Arc<dyn Log>
        }),
    });
}

fn must(log: &dyn Log, group: Group) -> u64 {
    let appended = log.append(group).unwrap();
    appended.ticket.wait_blocking().unwrap();
    appended.first.0
}

#[test]
fn lsns_are_dense_and_survive_a_reopen() {
    on_both(|Bench { log, reopen }| {
        // 1 is the BOOT entry.
        assert_eq!(log.positions().first, Lsn(2));
        assert_eq!(must(&*log, group(vec![entry(1, "a"), entry(2, "b")])), 2);
        assert_eq!(must(&*log, group(vec![entry(1, "")])), 4);
        assert_eq!(must(&*log, group(vec![])), 5);
        let expected = vec![(Lsn(2), entry(1, "a")), (Lsn(3), entry(2, "b")), (Lsn(4), entry(1, ""))];
        assert_eq!(all(&*log), expected);
        assert_eq!(log.positions().durable, Lsn(4));
        assert_eq!((log.id(), log.incarnation()), (ID, 1));

        let log = reopen(log);
        assert_eq!(all(&*log), expected);
        assert_eq!((log.id(), log.incarnation()), (ID, 2));
        // The second BOOT and the TRIM that lets the first go have taken 5 and 6.
        assert_eq!(log.positions().appended, Lsn(6));
        assert_eq!(log.positions().first, Lsn(2));
        assert_eq!(log.read(Lsn(1)).unwrap(), None);
        assert_eq!(log.read(Lsn(5)).unwrap(), None);
    });
}

#[test]
fn what_leaves_is_gone_and_no_loss() {
    on_both(|Bench { log, reopen }| {
        must(&*log, group((0..10).map(|i| entry(1, payload(i, 5000))).collect()));
        assert_eq!(log.usage().live_bytes, 50_000);
        // Takes an LSN for the TRIM entry: 12.
        assert_eq!(must(&*log, removal([2, 3, 7])), 12);
        assert_eq!(must(&*log, removal([4])), 13);
        let expected: Vec<_> = [5, 6, 8, 9, 10, 11].iter().map(|&l| (Lsn(l), entry(1, payload(l - 2, 5000)))).collect();
        assert_eq!(all(&*log), expected);
        let positions = log.positions();
        assert_eq!((positions.first, positions.trimmed_below, positions.appended), (Lsn(5), Lsn(5), Lsn(13)));
        assert_eq!((log.usage().live_entries, log.usage().live_bytes), (6, 30_000));

        let log = reopen(log);
        assert_eq!(all(&*log), expected);
        assert_eq!(log.usage().live_bytes, 30_000);
        assert_eq!(log.positions().appended, Lsn(15));
        must(&*log, removal([5, 6, 8, 9, 10, 11]));
        assert_eq!(log.positions().first, log.positions().appended.next());
        let log = reopen(reopen(log));
        assert_eq!(all(&*log), vec![]);
    });
}

#[test]
fn an_entry_can_leave_in_the_breath_it_came() {
    on_both(|Bench { log, reopen }| {
        let mut lazy = group(vec![entry(1, payload(1, 9000))]);
        lazy.durability = Durability::Lazy;
        let first = log.append(lazy).unwrap();
        let second = log.append(removal([2])).unwrap();
        assert_eq!(log.read(Lsn(2)).unwrap(), None);
        first.ticket.wait_blocking().unwrap();
        second.ticket.wait_blocking().unwrap();
        let log = reopen(log);
        assert_eq!(all(&*log), vec![]);
    });
}

#[test]
fn side_values_are_overwritten_removed_and_listed_newest_first() {
    on_both(|Bench { log, reopen }| {
        let note = SideKey::Note(3);
        let idempotency = SideKey::Idempotency([7; 16]);
        must(&*log, with_side(note, Some(b"one")));
        must(&*log, with_side(note, Some(b"three")));
        must(&*log, with_side(idempotency, Some(&[9; MAX_SIDE])));
        for lsn in 1..=200 {
            let mut group = with_side(SideKey::Summary(Lsn(lsn)), Some(&lsn.to_le_bytes()));
            group.durability = Durability::Lazy;
            drop(log.append(group).unwrap());
        }
        must(&*log, with_side(SideKey::Summary(Lsn(198)), None));
        drop(log.append(with_side(SideKey::Summary(Lsn(197)), None)).unwrap());
        let check = |log: &dyn Log| {
            assert_eq!(log.side(&note).unwrap().unwrap(), b"three");
            assert_eq!(log.side(&idempotency).unwrap().unwrap(), [9; MAX_SIDE]);
            assert_eq!(log.side(&SideKey::Note(4)).unwrap(), None);
            assert_eq!(log.side(&SideKey::Summary(Lsn(198))).unwrap(), None);
            let found = summaries(log, 200);
            assert_eq!(found.len(), 197);
            let newest: Vec<u64> = found.iter().take(3).map(|(lsn, _)| *lsn).collect();
            assert_eq!(newest, [199, 196, 195]);
            assert!(found.iter().all(|(lsn, value)| *value == lsn.to_le_bytes()));
        };
        check(&*log);
        let log = reopen(log);
        check(&*log);
        assert_eq!(log.usage().side_bytes, 5 + MAX_SIDE as u64 + 198 * 8);
        must(&*log, with_side(note, None));
        assert_eq!(log.side(&note).unwrap(), None);
        assert_eq!(log.usage().side_bytes, MAX_SIDE as u64 + 198 * 8);
    });
}

#[test]
fn the_oldest_summaries_come_first() {
    on_both(|Bench { log, .. }| {
        for lsn in [300, 2, 70_000, 5] {
            must(&*log, with_side(SideKey::Summary(Lsn(lsn)), Some(&lsn.to_le_bytes())));
        }
        let mut found = Vec::new();
        log.oldest_summaries(3, &mut |lsn, value| {
            assert_eq!(value, lsn.0.to_le_bytes());
            found.push(lsn.0);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(found, [2, 5, 300]);
    });
}

#[test]
fn what_breaks_a_rule_is_refused_and_takes_no_lsn() {
    on_both(|Bench { log, .. }| {
        must(&*log, group(vec![entry(1, "x")]));
        let before = log.positions();
        let refused = |group: Group| match log.append(group) {
            Err(error @ LogError::Usage(_)) => {
                assert_eq!(error.class(), ErrorClass::Usage);
                let LogError::Usage(usage) = error else { unreachable!() };
                usage
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(group(vec![entry(0, "")])), UsageError::Kind(0));
        assert_eq!(refused(group(vec![entry(200, "")])), UsageError::Kind(200));
        assert_eq!(refused(with_side(SideKey::Note(1), Some(&[0; MAX_SIDE + 1]))), UsageError::Side(MAX_SIDE + 1));
        assert_eq!(refused(removal([2, 2])), UsageError::NotLive(Lsn(2)));
        assert_eq!(refused(removal([99])), UsageError::NotLive(Lsn(99)));
        // The log's own entry.
        assert_eq!(refused(removal([1])), UsageError::NotLive(Lsn(1)));
        assert_eq!(log.positions(), before);
    });
}

#[test]
fn a_scan_starts_where_it_is_told_and_stops_when_told() {
    on_both(|Bench { log, .. }| {
        must(&*log, group((0..1000).map(|i| entry(1, payload(i, 8))).collect()));
        let mut seen = Vec::new();
        log.scan(Lsn(500), &mut |lsn, _| {
            seen.push(lsn.0);
            if seen.len() == 600 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!(seen, (500..=1001).collect::<Vec<_>>());
        let mut first = None;
        log.scan(Lsn(600), &mut |lsn, _| {
            first = Some(lsn);
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(first, Some(Lsn(600)));
    });
}

#[test]
fn a_closed_log_takes_nothing_and_close_may_come_twice() {
    on_both(|Bench { log, .. }| {
        let mut lazy = group(vec![entry(1, "x")]);
        lazy.durability = Durability::Lazy;
        let appended = log.append(lazy).unwrap();
        log.close().unwrap();
        appended.ticket.wait_blocking().unwrap();
        assert!(matches!(log.append(group(vec![])), Err(LogError::Closed)));
        assert!(log.read(Lsn(2)).is_err());
        log.close().unwrap();
        assert!(log.failure().is_none());
    });
}

#[test]
fn the_memory_log_loses_what_was_not_flushed_and_nothing_else() {
    for keep in 0..4 {
        let log = MemLog::new(ID);
        must_later(&log, "a");
        assert_eq!(log.flush_pending(), 1);
        for name in ["b", "c", "d"] {
            must_later(&log, name);
        }
        let lost = log.append(group(vec![])).unwrap().ticket;
        let found = log.crash(keep);
        let names: String =
            all(&found).into_iter().map(|(_, entry)| String::from_utf8(entry.payload).unwrap()).collect();
        assert_eq!(names, "abcd"[..1 + keep]);
        assert_eq!(found.positions().durable, found.positions().appended);
        assert_eq!(found.incarnation(), 2);
        assert!(matches!(log.append(group(vec![])), Err(LogError::Closed)));
        assert!(is_pending(lost));
    }
}

#[test]
fn a_failed_memory_log_tells_everyone_and_takes_nothing() {
    let log = MemLog::new(ID);
    let failed = log.failed();
    let ticket = log.append(group(vec![entry(1, "x")])).unwrap().ticket;
    log.fail();
    assert!(ticket.wait_blocking().is_err());
    assert!(*failed.borrow());
    assert!(matches!(log.append(group(vec![])), Err(LogError::Failed(_))));
    assert_eq!(log.flush_pending(), 0);
    // It may have reached the disk all the same.
    assert_eq!(all(&log.crash(1)).len(), 1);
}

#[test]
fn intake_is_refused_when_space_is_short_and_draining_goes_on() {
    let log = MemLog::auto(ID);
    must(&log, group(vec![entry(1, "x")]));
    log.set_space(Space::Reserve);
    assert!(matches!(log.append(group(vec![entry(1, "y")])), Err(LogError::Full { .. })));
    must(&log, Group { class: Class::Drain, ..removal([2]) });
}

fn must_later(log: &MemLog, text: &str) {
    drop(log.append(group(vec![entry(1, text)])).unwrap());
}

fn is_pending(ticket: lockstep_wal::Ticket) -> bool {
    let mut ticket = std::pin::pin!(ticket);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    ticket.as_mut().poll(&mut context).is_pending()
}
