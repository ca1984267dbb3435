//! The log on disk: what it does with directories as crashes, operators and full disks leave them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_model::Lsn;
use lockstep_wal::{
    Class, Durability, ErrorClass, Finding, Group, Kept, Log, LogError, OpenOptions, RawLog, Severity, SideKey,
    SledLog, Space, SpaceProbe,
};

use crate::support::{all, entry, flip_version, group, open, options, payload, removal, wait_until, with_side};

fn must(log: &dyn Log, group: Group) -> Lsn {
    let appended = log.append(group).unwrap();
    appended.ticket.wait_blocking().unwrap();
    appended.first
}

/// A closed log with entries 2 to 9, of which 3 and 4 have left (10 is the TRIM entry).
fn make(dir: &Path) {
    let (log, _) = open(dir).unwrap();
    must(&*log, group((2..10).map(|lsn| entry(1, payload(lsn, 3000))).collect()));
    must(&*log, removal([3, 4]));
    log.close().unwrap();
}

fn refused(dir: &Path) -> LogError {
    let before = contents(dir);
    let error = open(dir).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unreadable, "{error}");
    let after = contents(dir);
    if matches!(error, LogError::Lost { kept: Kept::Untouched, .. } | LogError::Damaged { kept: Kept::Untouched, .. }) {
        assert_eq!(before, after, "{error}");
    }
    error
}

/// Every file but the lock, which names its last holder.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(Result::unwrap)
        .filter(|item| item.file_type().unwrap().is_file() && item.file_name() != "lock")
        .map(|item| (item.file_name().into_string().unwrap(), fs::read(item.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn the_second_to_open_is_told_who_was_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = options(dir.path());
    first.socket = "/run/lockstep.sock".into();
    let (log, _) = SledLog::open(first).unwrap();
    match open(dir.path()) {
        Err(LogError::Held { pid, socket, .. }) => {
            assert_eq!((pid, socket.as_str()), (Some(std::process::id()), "/run/lockstep.sock"));
        }
        other => panic!("{other:?}"),
    }
    let raw = RawLog::read(dir.path()).unwrap();
    assert!(raw.findings().contains(&Finding::HeldBy { pid: Some(std::process::id()) }));
    assert_eq!(raw.lock_note().unwrap().incarnation, 1);
    log.close().unwrap();
    drop(log);
    open(dir.path()).unwrap();
}

#[test]
fn an_empty_directory_becomes_a_log_and_a_foreign_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    assert!(open(dir.path()).unwrap().1.fresh);

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::NotALog { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(RawLog::read(dir.path()).is_err());
}

/// sled, trap: killed while it writes a snapshot it refuses to open for ever.
#[test]
fn a_leftover_snap_generating_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let leftover = dir.path().join("snap.00000000000ABCDE.generating");
    fs::write(&leftover, b"half").unwrap();
    assert!(RawLog::read(dir.path()).unwrap().findings().contains(&Finding::Leftover(leftover.clone())));
    let (log, report) = open(dir.path()).unwrap();
    assert_eq!(report.leftovers_removed, std::slice::from_ref(&leftover));
    assert!(!leftover.exists());
    assert_eq!(all(&*log).len(), 6);
}

#[test]
fn a_log_without_its_high_water_file_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    fs::remove_file(dir.path().join("highwater")).unwrap();
    let error = refused(dir.path());
    assert!(error.to_string().contains("high-water"), "{error}");
    assert!(error.to_string().contains("wal-tools --wal"), "{error}");
    // The raw reader still shows everything, and the id from the BOOT entry.
    let raw = RawLog::read(dir.path()).unwrap();
    assert_eq!(raw.id(), Some(crate::support::ID));
    assert_eq!(raw.records().filter(|record| record.as_ref().unwrap().entry.kind.0 == 1).count(), 6);
}

#[test]
fn a_high_water_file_without_its_log_is_not_a_new_log() {
    for remains in [None, Some(Vec::new()), Some(vec![0; 600_000])] {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        match &remains {
            None => fs::remove_file(dir.path().join("db")).unwrap(),
            Some(bytes) => fs::write(dir.path().join("db"), bytes).unwrap(),
        }
        let error = refused(dir.path());
        assert!(matches!(error, LogError::Lost { .. } | LogError::Damaged { .. }));
    }
}

/// sled, trap: a damaged tail is cut off at open without a word.
#[test]
fn a_lost_tail_is_said() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let db = dir.path().join("db");
    let bytes = fs::read(&db).unwrap();
    for cut in (0..bytes.len()).step_by(bytes.len() / 40) {
        fs::write(&db, &bytes[..cut]).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, LogError::Lost { .. } | LogError::Damaged { .. }), "{cut}: {error}");
        fs::write(&db, &bytes).unwrap();
    }
    open(dir.path()).unwrap();
}

#[test]
fn a_creation_that_was_interrupted_is_done_again() {
    let made = tempfile::tempdir().unwrap();
    make(made.path());
    let conf = fs::read(made.path().join("conf")).unwrap();
    let mark = RawLog::read(made.path()).unwrap().high_water().unwrap();
    let unborn = lockstep_wal::HighWater { durable: Lsn(0), incarnation: 1, base: Lsn(0), sequence: 2, ..mark };
    for db in [None, Some(&b""[..]), Some(&[0; 5000][..])] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("highwater"), unborn.to_file()).unwrap();
        fs::write(dir.path().join("highwater.new"), b"half").unwrap();
        if let Some(db) = db {
            fs::write(dir.path().join("conf"), &conf).unwrap();
            fs::write(dir.path().join("db"), db).unwrap();
        }
        let (log, report) = open(dir.path()).unwrap();
        assert!(report.fresh);
        assert_eq!(log.incarnation(), 2);
        assert_eq!(must(&*log, group(vec![entry(1, "x")])), Lsn(2));
    }
}

/// The mark may lag: what the log has beyond it is kept, or dropped by sled as a torn tail; both are normal.
#[test]
fn a_high_water_file_that_lags_is_normal() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    must(&*log, group(vec![entry(1, payload(2, 3000))]));
    let lagging = fs::read(dir.path().join("highwater")).unwrap();
    let short = fs::read(dir.path().join("db")).unwrap();
    must(&*log, group(vec![entry(1, payload(3, 3000)), entry(1, payload(4, 3000))]));
    log.close().unwrap();
    drop(log);
    fs::write(dir.path().join("highwater"), &lagging).unwrap();
    let raw = RawLog::read(dir.path()).unwrap();
    assert!(raw.findings().contains(&Finding::UnacknowledgedTail { first: Lsn(3), last: Lsn(4) }));
    let (log, report) = open(dir.path()).unwrap();
    assert_eq!((report.dropped_tail, all(&*log).len()), (0, 3));
    log.close().unwrap();
    drop(log);

    // The same mark, and a log whose last write is torn in the middle.
    let whole = fs::read(dir.path().join("db")).unwrap();
    assert!(whole.len() > short.len());
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    must(&*log, group(vec![entry(1, payload(2, 3000))]));
    let lagging = fs::read(dir.path().join("highwater")).unwrap();
    let before = fs::read(dir.path().join("db")).unwrap().len();
    must(&*log, group((3..9).map(|lsn| entry(1, payload(lsn, 3000))).collect()));
    let db = fs::read(dir.path().join("db")).unwrap();
    log.close().unwrap();
    drop(log);
    let torn = tempfile::tempdir().unwrap();
    for (name, bytes) in contents(dir.path()) {
        fs::write(torn.path().join(name), bytes).unwrap();
    }
    for snapshot in fs::read_dir(torn.path()).unwrap().map(|item| item.unwrap().path()) {
        if snapshot.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            fs::remove_file(snapshot).unwrap();
        }
    }
    fs::write(torn.path().join("highwater"), &lagging).unwrap();
    fs::write(torn.path().join("db"), &db[..before + (db.len() - before) / 2]).unwrap();
    let raw = RawLog::read(torn.path()).unwrap();
    assert!(raw.severity() < Severity::Damage, "{:?}", raw.findings());
    let (log, _) = open(torn.path()).unwrap();
    assert_eq!(all(&*log), [(Lsn(2), entry(1, payload(2, 3000)))]);
    // The LSNs are used again; what the torn write left behind must not come back.
    assert_eq!(log.incarnation(), 2);
    must(&*log, group(vec![entry(1, "new")]));
    log.close().unwrap();
    drop(log);
    let raw = RawLog::read(torn.path()).unwrap();
    let found: Vec<_> = raw.records().map(Result::unwrap).filter(|record| record.entry.kind.0 == 1).collect();
    assert_eq!(found.len(), 2, "{:?}", raw.findings());
    assert_eq!(found[1].entry, entry(1, "new"));
}

#[test]
fn a_newer_format_is_refused_and_nothing_touched() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let db = dir.path().join("db");
    let mut bytes = fs::read(&db).unwrap();
    flip_version(&mut bytes, 2);
    fs::write(&db, &bytes).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, LogError::FutureFormat { version: 2, known: 1, .. }), "{error}");
    assert_eq!(fs::read(&db).unwrap(), bytes);
}

#[test]
fn two_logs_mixed_up_are_noticed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(one.path());
    let other = OpenOptions { new_id: lockstep_model::LogId(uuid::Uuid::from_u128(9)), ..options(two.path()) };
    let (log, _) = SledLog::open(other).unwrap();
    must(&*log, group(vec![entry(1, "x")]));
    log.close().unwrap();
    drop(log);
    fs::copy(two.path().join("highwater"), one.path().join("highwater")).unwrap();
    assert!(refused(one.path()).to_string().contains("another log"));
}

/// P8: whoever only looks changes nothing.
#[test]
fn a_raw_read_shows_what_the_log_shows_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (log, _) = open(dir.path()).unwrap();
    must(&*log, with_side(SideKey::Note(1), Some(b"old")));
    must(&*log, with_side(SideKey::Note(1), Some(b"new")));
    must(&*log, with_side(SideKey::Summary(Lsn(3)), Some(b"three")));
    must(&*log, group(vec![entry(9, payload(1, 100_000)), entry(9, "")]));
    let shown = all(&*log);
    let positions = log.positions();
    log.close().unwrap();
    drop(log);
    let before = contents(dir.path());
    let raw = RawLog::read(dir.path()).unwrap();
    assert_eq!(raw.severity(), Severity::Info, "{:?}", raw.findings());
    let records: Vec<_> = raw.records().map(Result::unwrap).collect();
    assert!(records.iter().all(|record| record.below_high_water));
    let of_callers: Vec<_> = records
        .iter()
        .filter(|record| !record.entry.kind.is_of_the_log())
        .map(|record| (record.lsn, record.entry.clone()))
        .collect();
    assert_eq!(of_callers, shown);
    assert_eq!(raw.last(), positions.appended);
    assert_eq!(raw.trimmed().to_string(), "1, 3-4, 10");
    let side: Vec<_> = raw.side_entries().map(Result::unwrap).map(|side| (side.key, side.value)).collect();
    assert_eq!(side, [(SideKey::Summary(Lsn(3)), b"three".to_vec()), (SideKey::Note(1), b"new".to_vec())]);
    assert_eq!(raw.record(Lsn(3)).unwrap(), None);
    assert_eq!(raw.record(shown[0].0).unwrap().unwrap().entry, shown[0].1);
    assert_eq!(contents(dir.path()), before);
}

/// sled, trap: values over some 13 KiB go to blob files that are never synced and leak.
#[test]
fn a_record_of_9_mb_makes_no_blob_and_leaves_its_room() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    for round in 0..6 {
        let lsn = must(&*log, group(vec![entry(1, payload(round, 9_000_000))]));
        assert_eq!(log.read(lsn).unwrap().unwrap().payload, payload(round, 9_000_000));
        must(&*log, removal([lsn.0]));
    }
    assert_eq!(fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
    assert!(log.usage().disk_bytes < 90_000_000, "{}", log.usage().disk_bytes);
}

#[test]
fn a_queue_that_fills_and_drains_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    let mut peak = 0;
    for _ in 0..4 {
        let mut lsns = Vec::new();
        for round in 0..40 {
            let first = must(&*log, group((0..125).map(|i| entry(1, payload(round * 125 + i, 2600))).collect()));
            lsns.extend(first.0..first.0 + 125);
        }
        assert_eq!(log.usage().live_bytes, 5000 * 2600);
        for part in lsns.chunks(125) {
            must(&*log, removal(part.iter().copied()));
        }
        assert_eq!((log.usage().live_entries, log.usage().live_bytes), (0, 0));
        peak = peak.max(log.usage().disk_bytes);
    }
    // 13 MB were live at most, 52 MB went through.
    assert!(peak < 40_000_000, "{peak}");
    log.close().unwrap();
    drop(log);
    let raw = RawLog::read(dir.path()).unwrap();
    assert_eq!(raw.severity(), Severity::Info, "{:?}", raw.findings());
    assert_eq!(raw.records().map(Result::unwrap).filter(|record| record.entry.kind.0 == 1).count(), 0);
}

/// P6: on a full disk new work is refused early, the ballast is given up, and draining goes on.
#[test]
fn on_a_full_disk_intake_stops_and_draining_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 30));
    let told = Arc::clone(&free);
    let (log, _) = SledLog::open(OpenOptions {
        floor_bytes: 1 << 20,
        reserve_bytes: 1 << 16,
        space_probe: Arc::new(move |_| Ok(told.load(Ordering::SeqCst))),
        ..options(dir.path())
    })
    .unwrap();
    let ballast = dir.path().join("ballast");
    assert_eq!(ballast.metadata().unwrap().len(), 1 << 16);
    must(&*log, group(vec![entry(1, "x")]));

    free.store(1000, Ordering::SeqCst);
    wait_until("a full disk", || log.usage().space == Space::Full);
    assert!(!ballast.exists());
    let error = log.append(group(vec![entry(1, "y")])).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Full, "{error}");
    must(&*log, removal([2]));

    free.store(1 << 30, Ordering::SeqCst);
    wait_until("room", || log.usage().space == Space::Ample);
    assert!(ballast.exists());
    must(&*log, group(vec![entry(1, "y")]));
}

/// P6: a start on a disk that is said to be full gives the ballast up before sled opens, takes nothing new, and drains.
#[test]
fn a_start_on_a_full_disk_gives_the_ballast_up_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let with_free = |bytes: u64| {
        let space_probe: SpaceProbe = Arc::new(move |_| Ok(bytes));
        let asked = OpenOptions { floor_bytes: 1 << 20, reserve_bytes: 1 << 16, space_probe, ..options(dir.path()) };
        SledLog::open(asked).unwrap().0
    };
    let ballast = dir.path().join("ballast");
    let log = with_free(1 << 30);
    must(&*log, group(vec![entry(1, "x")]));
    log.close().unwrap();
    drop(log);
    assert!(ballast.exists());

    let log = with_free(1000);
    assert!(!ballast.exists());
    assert_eq!(log.usage().space, Space::Full);
    let error = log.append(group(vec![entry(1, "y")])).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Full, "{error}");
    must(&*log, removal([2]));
    log.close().unwrap();
    drop(log);

    let log = with_free(1 << 30);
    assert!(ballast.exists());
    must(&*log, group(vec![entry(1, "z")]));
    let left: Vec<_> = all(&*log).into_iter().filter(|(_, entry)| entry.kind.0 == 1).collect();
    assert_eq!(left.len(), 1, "what was drained stays away: {left:?}");
}

#[test]
fn lazy_groups_are_seen_at_once_and_become_durable_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    let flushes = log.usage().flushes;
    let tickets: Vec<_> = (0..50)
        .map(|i| {
            let lazy = Group { entries: vec![entry(1, payload(i, 100))], ..Group::new(Durability::Lazy, Class::Drain) };
            let appended = log.append(lazy).unwrap();
            assert_eq!(log.read(appended.first).unwrap().unwrap().payload, payload(i, 100));
            appended.ticket
        })
        .collect();
    tickets.into_iter().for_each(|ticket| ticket.wait_blocking().unwrap());
    // They shared a few writes instead of one each.
    assert!(log.usage().flushes - flushes <= 10, "{}", log.usage().flushes - flushes);
    assert_eq!(log.positions().durable, log.positions().appended);
}

#[test]
fn many_threads_append_and_every_place_is_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                (0..50).map(|i| must(&*log, group(vec![entry(1, payload(thread * 100 + i, 50))]))).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut lsns: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    lsns.sort_unstable();
    assert_eq!(lsns, (2..402).map(Lsn).collect::<Vec<_>>());
    assert_eq!(all(&*log).len(), 400);
}
