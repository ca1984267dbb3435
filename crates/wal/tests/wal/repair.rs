//! Repairs: what can be read comes back, what cannot is said, and nothing that is left is acted on wrongly.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use lockstep_model::{Code, Lsn, State};
use lockstep_wal::chunk::MAGIC;
use lockstep_wal::repair::{Effect, RepairError, RepairOptions, Repaired, Step, Survey, finish_interrupted, repair};
use lockstep_wal::{
    Asked, Caller, Class, Decision, Declined, Durability, Failure, Fold, Group, Log, Mark, RawLog, Record, Severity,
    SideKey, Verdict, plan,
};

use crate::support::{ID, all, open};
use crate::written::{Written, contents, put};

fn options() -> RepairOptions {
    RepairOptions { caller: Caller { uid: Some(0) }, at_us: 77, id: None, keep_old: true, not_newer: true }
}

pub fn mend(dir: &Path) -> Repaired {
    repair(dir, &options(), &mut |_| ControlFlow::Continue(())).unwrap()
}

/// The log opens, is clean, and is folded without a contradiction.
pub fn folded(dir: &Path) -> Fold {
    let raw = RawLog::read(dir).unwrap();
    assert!(raw.severity() < Severity::Damage, "{:?}", raw.findings());
    let (log, _) = open(dir).unwrap();
    let mut fold = Fold::new();
    for (lsn, entry) in all(log.as_ref()) {
        fold.record(lsn, &Record::decode(&entry).unwrap(), entry.payload.len());
    }
    assert_eq!(fold.irregular, []);
    log.close().unwrap();
    fold
}

fn effects(survey: &Survey) -> Vec<(Lsn, Effect)> {
    survey.affected().iter().map(|affected| (affected.op, affected.effect)).collect()
}

fn decision(fold: &Fold, op: Lsn) -> Decision {
    plan(fold).into_iter().find(|(lsn, _)| *lsn == op).unwrap().1
}

#[test]
fn what_stands_before_a_lost_mark_is_parked_and_what_stands_behind_it_goes_on() {
    for header_too in [false, true] {
        let log = Written::new();
        let before = log.put("a:before");
        let rolled_back = log.put("a:rolled-back");
        log.mark(&[rolled_back], State::Compensating);
        let lost = log.mark(&[rolled_back], State::RolledBack);
        let behind = log.put("a:behind");
        log.close();
        log.damage(lost, header_too);
        let survey = Survey::of(&log.path(), false).unwrap();
        assert_eq!(effects(&survey), [(before, Effect::Parked), (rolled_back, Effect::Parked)]);
        assert_eq!(survey.lost_records()[0].kind, (!header_too).then_some("mark"));
        mend(&log.path());
        let fold = folded(&log.path());
        let state = |op| fold.ops[&op].state;
        assert_eq!((state(before), state(rolled_back), state(behind)), (State::Parked, State::Parked, State::Pending));
        assert_eq!(decision(&fold, behind), Decision::Redo);
        let why = fold.ops[&before].failure.clone().unwrap();
        assert_eq!(why.code, Code::Parked);
        assert!(why.detail.contains(&format!("without records {lost}:")), "{}", why.detail);
    }
}

/// P2: a delete whose intent is lost has removed what an older put wrote: that must not come back.
#[test]
fn p2_what_committed_before_a_lost_intent_is_not_written_again() {
    let log = Written::new();
    let older = log.put("a:1");
    log.commit(older);
    let unfinished = log.put("a:open");
    let lost = log.delete("a:1");
    let image = log.image(lost, "a:1");
    log.commit(lost);
    let follower = log.put("a:1");
    let younger = log.put("a:2");
    log.commit(younger);
    log.close();
    log.damage(lost, false);
    let survey = Survey::of(&log.path(), false).unwrap();
    let record = &survey.lost_records()[0];
    assert_eq!(
        (record.lsn, record.kind, record.key.as_deref(), record.key_is_certain),
        (lost, Some("intent"), Some("a:1"), true)
    );
    assert_eq!(effects(&survey), [(older, Effect::NotVerified), (follower, Effect::FollowsLost)]);
    mend(&log.path());
    let fold = folded(&log.path());
    assert_eq!(decision(&fold, older), Decision::Overtaken);
    assert_eq!(decision(&fold, younger), Decision::Verify);
    // A lost operation says nothing of an older one that is open.
    assert_eq!((decision(&fold, unfinished), decision(&fold, follower)), (Decision::Redo, Decision::Redo));
    assert!(!fold.ops.contains_key(&lost));
    assert!(fold.lost.contains(lost) && !fold.lost.contains(image));
    // The image is readable, and stays.
    let (opened, _) = open(&log.path()).unwrap();
    assert!(opened.read(image).unwrap().is_some());
    opened.close().unwrap();
}

/// Scenario B12: a header says what is lost only if its own checksum bears it out. Were this delete taken for a mark, what it removed
/// would be written again.
#[test]
fn p2_a_damaged_header_does_not_say_what_is_lost() {
    let log = Written::new();
    let older = log.put("a:1");
    log.commit(older);
    let lost = log.delete("a:1");
    log.commit(lost);
    log.close();
    log.damage_kind(lost, Record::INTENT, Record::MARK);
    mend(&log.path());
    assert_eq!(decision(&folded(&log.path()), older), Decision::Overtaken);
}

/// An open operation whose image is lost would take its own write for what was there before.
#[test]
fn p2_an_open_operation_whose_image_is_lost_is_not_carried_on() {
    let log = Written::new();
    let op = log.put("a:1");
    let image = log.image(op, "a:1");
    log.mark(&[op], State::SurrealCompleted);
    log.close();
    log.damage(image, true);
    mend(&log.path());
    let fold = folded(&log.path());
    let head = &fold.ops[&op];
    assert_eq!((head.state, head.image, head.doubtful), (State::Parked, None, true));
    assert_eq!(decision(&fold, op), Decision::LeaveParked);
}

/// What a decision could not bring is told with the operation, also after a repair.
#[test]
fn a_decision_that_was_declined_is_told_with_why_the_operation_is_parked() {
    let log = Written::new();
    let (undecided, declined) = (log.put("a:1"), log.put("a:2"));
    let failure = |detail: &str| Failure { store: "qdrant".into(), code: Code::Parked, detail: detail.into() };
    let ops = vec![undecided, declined];
    log.record(&Record::Mark(Mark { state: State::Parked, at_us: 5, ops, failure: Some(failure("no room")) }));
    let (verdict, caller) = (Verdict::Rollback, Caller { uid: Some(0) });
    let asked = log.record(&Record::Asked(Asked { op: declined, verdict, caller, at_us: 6, note: None }));
    log.record(&Record::Declined(Declined { op: declined, asked, at_us: 7, failure: failure("still no room") }));
    let lost = log.put("a:3");
    log.close();
    log.damage(lost, true);
    mend(&log.path());
    let fold = folded(&log.path());
    let told = |op| fold.ops[&op].shown_failure().unwrap().detail;
    assert_eq!(told(undecided), "no room");
    let both = "rollback asked by uid 0; it was not carried out: still no room; it is parked because: no room";
    assert_eq!(told(declined), both);
    assert_eq!(fold.ops[&declined].standing_decision(), None);
}

/// A mark that survives its predecessors tells where its operation came to.
#[test]
fn a_later_mark_counts_although_those_before_it_are_lost() {
    let log = Written::new();
    let op = log.put("a:1");
    let lost = log.mark(&[op], State::SurrealCompleted);
    log.mark(&[op], State::QdrantCompleted);
    log.mark(&[op], State::Committed);
    log.close();
    log.damage(lost, true);
    mend(&log.path());
    let fold = folded(&log.path());
    assert_eq!(fold.ops[&op].state, State::Committed);
}

/// The newest list of what has left is lost: an older one would bring back what left after it. Summaries tell.
#[test]
fn p4_what_has_left_does_not_come_back_with_an_older_list() {
    let log = Written::new();
    let first = log.put("a:1");
    let commits: Vec<Lsn> =
        [State::SurrealCompleted, State::QdrantCompleted, State::Committed].map(|s| log.mark(&[first], s)).into();
    log.leave(first, &commits);
    let second = log.put("a:2");
    let commits: Vec<Lsn> =
        [State::SurrealCompleted, State::QdrantCompleted, State::Committed].map(|s| log.mark(&[second], s)).into();
    let open = log.put("a:open");
    let trim = log.leave(second, &commits);
    log.close();
    log.damage(trim, true);
    let survey = Survey::of(&log.path(), false).unwrap();
    assert!(survey.lost().contains(trim), "{}", survey.lost());
    mend(&log.path());
    let fold = folded(&log.path());
    assert_eq!(fold.ops.keys().copied().collect::<Vec<_>>(), [open], "{:?}", survey.lost());
    assert_eq!(fold.ops[&open].state, State::Parked);
}

/// A repair that is asked for by name, and nothing is wrong: the same log, in new files.
#[test]
fn a_whole_log_stays_what_it_is() {
    let log = Written::new();
    let op = log.op(put("a:1", 9_000));
    log.image(op, "a:1");
    let left = log.put("a:2");
    log.leave(left, &[]);
    log.group(Group {
        side: vec![(SideKey::Note(1), Some(vec![1, 2]))],
        ..Group::new(Durability::Flush, Class::Drain)
    });
    let expected = all(log.log().as_ref());
    log.close();
    assert!(Survey::of(&log.path(), false).unwrap().is_whole());
    mend(&log.path());
    let (opened, report) = open(&log.path()).unwrap();
    assert_eq!((all(opened.as_ref()), report.id), (expected, ID));
    assert_eq!(opened.side(&SideKey::Note(1)).unwrap(), Some(vec![1, 2]));
    assert!(opened.side(&SideKey::Summary(left)).unwrap().is_some());
    opened.close().unwrap();
}

#[test]
fn without_a_high_water_mark_the_end_is_what_is_there() {
    for damaged in [false, true] {
        let log = Written::new();
        let first = log.put("a:1");
        let last = log.put("a:2");
        log.close();
        fs::remove_file(log.path().join("highwater")).unwrap();
        if damaged {
            log.damage(last, false);
        }
        let survey = Survey::of(&log.path(), false).unwrap();
        assert!(survey.is_end_unknown() && !survey.is_whole());
        assert_eq!(survey.lost().contains(last), damaged);
        mend(&log.path());
        let fold = folded(&log.path());
        assert_eq!(fold.ops.len(), if damaged { 1 } else { 2 });
        assert_eq!(fold.ops[&first].state, State::Pending);
    }
}

/// What sled has already zeroed may be in the copy that the daemon made before it opened the log.
#[test]
fn the_copy_from_before_a_refused_open_is_read_too() {
    let log = Written::new();
    let op = log.put("a:1");
    log.put("a:2");
    let expected = all(log.log().as_ref());
    log.close();
    let kept = log.dir.path().join("wal.kept");
    fs::create_dir(&kept).unwrap();
    for file in ["db", "conf", "highwater"] {
        fs::copy(log.path().join(file), kept.join(file)).unwrap();
    }
    log.damage(op, true);
    assert!(Survey::of(&log.path(), false).unwrap().lost().is_empty());
    let repaired = mend(&log.path());
    let (opened, _) = open(&log.path()).unwrap();
    assert_eq!(all(opened.as_ref()), expected);
    opened.close().unwrap();
    assert!(!kept.exists() && repaired.old.unwrap().join("kept").join("db").is_file());
}

#[test]
fn a_look_changes_nothing_and_a_repair_keeps_the_old_log_as_it_was() {
    let log = Written::new();
    log.put("a:1");
    let lost = log.put("a:2");
    log.close();
    log.damage(lost, false);
    let before = contents(log.dir.path());
    Survey::of(&log.path(), false).unwrap();
    assert_eq!(contents(log.dir.path()), before);
    let repaired = mend(&log.path());
    let old = repaired.old.unwrap();
    for (path, bytes) in &before {
        let name = path.file_name().unwrap();
        if name != "lock" {
            assert_eq!(&fs::read(old.join(name)).unwrap(), bytes, "{name:?}");
        }
    }
    let report = fs::read_to_string(&repaired.report).unwrap();
    let lines: Vec<serde_json::Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["lost_records"], &lines[0]["uid"]), (&1.into(), &0.into()));
    assert_eq!(
        (&lines[1]["lsn"], &lines[1]["kind"], &lines[1]["key"]),
        (&lost.0.into(), &"intent".into(), &"a:2".into())
    );
    assert_eq!(lines[1]["key_is_certain"], false);
    let bytes = repaired.report.parent().unwrap().join(lines[1]["bytes_file"].as_str().unwrap());
    assert!(fs::read(bytes).unwrap().starts_with(&MAGIC));
    // Once more finds nothing to do, and says so.
    let again = Survey::of(&log.path(), false).unwrap();
    assert!(again.is_whole(), "{:?} {:?}", again.damage(), again.affected());
    assert!(!finish_interrupted(&log.path()).unwrap());
    let next = log.dir.path().join("wal.repairing");
    assert!(!next.exists());
}

/// Cut short before any step, a repair leaves the old log or the new one; begun again, it finishes.
#[test]
fn a_repair_that_is_cut_short_leaves_a_log_and_is_finished_by_the_next() {
    const STEPS: [Step; 5] = [Step::Quarantine, Step::Build, Step::Declare, Step::Swap, Step::Keep];
    for cut in STEPS {
        let log = Written::new();
        log.put("a:1");
        let lost = log.put("a:2");
        log.close();
        log.damage(lost, true);
        let before = contents(&log.path());
        let stop = &mut |step| if step == cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        assert!(matches!(repair(&log.path(), &options(), stop), Err(RepairError::Stopped)), "{cut:?}");
        let whole = Survey::of(&log.path(), false).unwrap().is_whole();
        assert_eq!(whole, cut == Step::Keep, "{cut:?}: old or new");
        if !whole {
            let now = contents(&log.path());
            assert!(
                before.iter().all(|(path, bytes)| path.ends_with("lock") || now.get(path) == Some(bytes)),
                "{cut:?}"
            );
        }
        assert!(finish_interrupted(&log.path()).unwrap(), "{cut:?}");
        if !Survey::of(&log.path(), false).unwrap().is_whole() {
            mend(&log.path());
        }
        assert_eq!(folded(&log.path()).ops.len(), 1, "{cut:?}");
        let mut left: Vec<String> =
            fs::read_dir(log.dir.path()).unwrap().map(|i| i.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["wal", "wal.damaged-1"], "{cut:?}");
    }
}

/// Where old and new cannot change places in one step, the old goes first: a kill between is finished, too.
#[test]
fn a_kill_between_the_two_halves_of_a_swap_is_finished() {
    let log = Written::new();
    log.put("a:1");
    let lost = log.put("a:2");
    log.close();
    log.damage(lost, true);
    let stop = &mut |step| if step == Step::Swap { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    drop(repair(&log.path(), &options(), stop));
    fs::rename(log.path(), log.dir.path().join("wal.damaged-1")).unwrap();
    assert!(finish_interrupted(&log.path()).unwrap());
    assert_eq!(folded(&log.path()).ops.len(), 1);
}

#[test]
fn what_a_newer_program_wrote_is_not_repaired() {
    let log = Written::new();
    log.put("a:1");
    log.close();
    let path = log.path().join("db");
    let mut db = fs::read(&path).unwrap();
    crate::support::flip_version(&mut db, 2);
    fs::write(&path, db).unwrap();
    assert!(matches!(Survey::of(&log.path(), false), Err(RepairError::Future { version: 2, .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Survey::of(&log.path(), false), Err(RepairError::NoDb)));
}
