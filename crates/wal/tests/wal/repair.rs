//! Repairs: what can be read comes back, what cannot is said, and nothing that is left is acted on wrongly.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lockstep_model::{Action, Code, Document, Lsn, Operation, State, Value, Vector, Vectors, Version};
use lockstep_wal::chunk::{CHUNK_MAX, Header, MAGIC, Owner};
use lockstep_wal::repair::{
    Effect, RepairError, RepairOptions, Repaired, Step, Survey, finish_interrupted, repair, sled_opens,
};
use lockstep_wal::{
    Before, Caller, Checkpoint, Class, Decision, Durability, Entry, Failure, Fold, Group, ImageRecord, Intent, Log,
    Mark, OpHead, Outcome, RawLog, Record, Severity, SideKey, SledLog, Summary, plan,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::support::{ID, all, open};

/// A directory in memory, if there is such a place: what survives a power cut is not asked here.
fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A log that a test writes.
struct Written {
    dir: TempDir,
    log: std::cell::RefCell<Option<std::sync::Arc<SledLog>>>,
}

fn put(key: &str, text: usize) -> Action {
    Action::Put {
        key: key.parse().unwrap(),
        document: Document([("t".to_owned(), Value::Text("x".repeat(text)))].into_iter().collect()),
        vectors: Vectors::single(Vector::Dense(vec![0.5, 1.0])),
    }
}

impl Written {
    fn new() -> Self {
        let dir = memory();
        let log = open(&dir.path().join("wal")).unwrap().0;
        Self { dir, log: std::cell::RefCell::new(Some(log)) }
    }

    fn log(&self) -> std::sync::Arc<SledLog> {
        self.log.borrow().clone().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("wal")
    }

    fn group(&self, group: Group) -> Lsn {
        let appended = self.log().append(group).unwrap();
        appended.ticket.wait_blocking().unwrap();
        appended.first
    }

    fn record(&self, record: &Record) -> Lsn {
        let entries = vec![record.encode().unwrap()];
        self.group(Group { entries, ..Group::new(Durability::Flush, Class::Drain) })
    }

    fn op(&self, action: Action) -> Lsn {
        let at_us = 1_000 + self.log().positions().appended.0;
        self.record(&Record::Intent(Box::new(Intent {
            version: Version(at_us),
            at_us,
            caller: Caller { uid: Some(1000) },
            wants_vectors: true,
            defines: Vec::new(),
            op: Operation::plain(action),
        })))
    }

    fn put(&self, key: &str) -> Lsn {
        self.op(put(key, 20))
    }

    fn delete(&self, key: &str) -> Lsn {
        self.op(Action::Delete { key: key.parse().unwrap() })
    }

    fn image(&self, op: Lsn, key: &str) -> Lsn {
        let before = vec![Before { key: key.to_owned(), raw: Some(vec![1; 40]), version: Some(Version(7)) }];
        self.record(&Record::Image(Box::new(ImageRecord { op, before, outcome: Outcome::AsAsked })))
    }

    fn mark(&self, ops: &[Lsn], state: State) -> Lsn {
        self.record(&Record::Mark(Mark { state, at_us: 5, ops: ops.to_vec(), failure: None }))
    }

    fn commit(&self, op: Lsn) -> Lsn {
        self.mark(&[op], State::SurrealCompleted);
        self.mark(&[op], State::QdrantCompleted);
        self.mark(&[op], State::Committed)
    }

    /// Lets an operation leave with its records.
    fn leave(&self, op: Lsn, records: &[Lsn]) -> Lsn {
        let mut group = Group::new(Durability::Flush, Class::Drain);
        let summary = Summary {
            op_id: lockstep_model::OpId::new(ID, op, 1),
            version: Version(1),
            kind: lockstep_model::ActionKind::Put,
            key: None,
            attempts: 0,
            history: vec![(State::Pending, 1), (State::Committed, 5)],
            failure: None,
            idempotency: None,
        };
        group.side.push((SideKey::Summary(op), Some(summary.encode().unwrap())));
        group.remove.push(op);
        group.remove.extend(records);
        group.entries.push(Record::Checkpoint(Checkpoint::default()).encode().unwrap());
        self.group(group);
        self.log().positions().appended
    }

    fn close(&self) {
        // The lock lasts as long as somebody has the log.
        let log = self.log.borrow_mut().take().unwrap();
        log.close().unwrap();
    }

    /// Damages every chunk of the record: its body, so that the header can be read, or its header as well.
    fn damage(&self, lsn: Lsn, header_too: bool) {
        let path = self.path().join("db");
        let mut db = fs::read(&path).unwrap();
        let chunks = chunks(&db).into_iter().filter(|(_, header, _)| at(header) == Some(lsn));
        let places: Vec<(usize, usize)> = chunks.map(|(place, _, body)| (place, body.len())).collect();
        assert!(!places.is_empty(), "record {lsn} is there");
        for (place, len) in places {
            db[place + 80 + len.min(5) - 1] ^= 0xff;
            if header_too {
                db[place + 30] ^= 0xff;
            }
        }
        fs::write(path, db).unwrap();
    }
}

fn at(header: &Header) -> Option<Lsn> {
    match header.owner {
        Owner::Entry { lsn, .. } => Some(lsn),
        Owner::Side { .. } => None,
    }
}

/// Every whole chunk in the bytes: where, its header, and its part of the payload.
fn chunks(db: &[u8]) -> Vec<(usize, Header, Vec<u8>)> {
    let mut found = Vec::new();
    for place in memory_find(db) {
        let bytes = &db[place..db.len().min(place + CHUNK_MAX)];
        let Ok(header) = Header::parse(bytes) else { continue };
        let mut body = Vec::new();
        if header.unpack(bytes, &mut body).is_ok() {
            found.push((place, header, body));
        }
    }
    found
}

fn memory_find(db: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(found) = db[from..].iter().position(|byte| *byte == MAGIC[0]) {
        if db[from + found..].starts_with(&MAGIC) {
            places.push(from + found);
        }
        from += found + 1;
    }
    places
}

fn options() -> RepairOptions {
    RepairOptions { caller: Caller { uid: Some(0) }, at_us: 77, id: None, keep_old: true, not_newer: true }
}

fn mend(dir: &Path) -> Repaired {
    repair(dir, &options(), &mut |_| ControlFlow::Continue(())).unwrap()
}

/// What lies in a directory and below it.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for item in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if item.file_type().unwrap().is_dir() {
            files.extend(contents(&item.path()));
        } else {
            files.insert(item.path(), fs::read(item.path()).unwrap());
        }
    }
    files
}

/// The log opens, is clean, and is folded without a contradiction.
fn folded(dir: &Path) -> Fold {
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
    let open = log.put("a:open");
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
    assert_eq!((decision(&fold, open), decision(&fold, follower)), (Decision::Redo, Decision::Redo));
    assert!(!fold.ops.contains_key(&lost));
    assert!(fold.lost.contains(lost) && !fold.lost.contains(image));
    // The image is readable, and stays.
    let (opened, _) = open_log(&log.path());
    assert!(opened.read(image).unwrap().is_some());
    opened.close().unwrap();
}

fn open_log(dir: &Path) -> (std::sync::Arc<SledLog>, lockstep_wal::OpenReport) {
    open(dir).unwrap()
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
    let (opened, report) = open_log(&log.path());
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
    let (opened, _) = open_log(&log.path());
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

/// A log of every kind of record, some of several chunks, some gone; what is live, and the bytes of its chunks.
fn many() -> (Written, BTreeMap<Lsn, Entry>) {
    let log = Written::new();
    let mut gone = Vec::new();
    for n in 0..150 {
        let key = format!("a:{}", n % 40);
        let op = log.op(put(&key, if n % 10 == 0 { 9_000 } else { 100 + n * 3 }));
        let mut records = Vec::new();
        if n % 3 == 0 {
            records.push(log.image(op, &key));
        }
        if n % 4 != 0 {
            for state in [State::SurrealCompleted, State::QdrantCompleted, State::Committed] {
                records.push(log.mark(&[op], state));
            }
            gone.push((op, records));
        }
        if n % 25 == 24 {
            for (op, records) in gone.drain(..) {
                log.leave(op, &records);
            }
        }
    }
    let live = all(log.log().as_ref()).into_iter().collect();
    log.close();
    (log, live)
}

fn hurt(dir: &Path, dice: &mut StdRng) {
    let path = dir.join("db");
    let mut db = fs::read(&path).unwrap();
    for _ in 0..dice.random_range(1..4) {
        let len = db.len();
        let at = dice.random_range(0..len);
        match dice.random_range(0..6) {
            0 => (0..dice.random_range(1..30))
                .for_each(|_| db[dice.random_range(0..len)] ^= 1 << dice.random_range(0..8)),
            1 => db[at..len.min(at + dice.random_range(1..20_000))].fill(0),
            2 => {
                let end = len.min(at + dice.random_range(1..5_000));
                dice.fill(&mut db[at..end]);
            }
            // sled's own: the head of a segment, the head of a message.
            3 => {
                let at = at / 524_288 * 524_288;
                let end = len.min(at + 20);
                dice.fill(&mut db[at..end]);
            }
            4 => {
                let place = memory_find(&db)[0];
                db[place - 12..place].fill(0xee);
            }
            _ => db.truncate(len - dice.random_range(0..len / 4)),
        }
    }
    fs::write(&path, db).unwrap();
    if dice.random_range(0..5) == 0 {
        fs::write(dir.join("conf"), b"nonsense").unwrap();
    }
    if dice.random_range(0..8) == 0 {
        fs::remove_file(dir.join("highwater")).unwrap();
    }
}

/// 200 damages: every live record whose chunks are whole comes back, byte for byte, nothing else does, and the log opens, clean.
#[test]
fn p1_every_record_whose_chunks_are_whole_comes_back() {
    let (log, live) = many();
    let (mut refused, mut came, mut lost) = (0, 0, 0);
    for seed in 0..200 {
        let place = memory();
        let dir = place.path().join("wal");
        fs::create_dir(&dir).unwrap();
        for (path, bytes) in contents(&log.path()) {
            fs::write(dir.join(path.file_name().unwrap()), bytes).unwrap();
        }
        hurt(&dir, &mut StdRng::seed_from_u64(seed));
        // What is whole in the bytes, told without the raw reader.
        let mut numbers: BTreeMap<Lsn, (u32, BTreeSet<u32>)> = BTreeMap::new();
        for (_, header, _) in chunks(&fs::read(dir.join("db")).unwrap()) {
            if let Some(lsn) = at(&header) {
                numbers.entry(lsn).or_insert((header.count(), BTreeSet::new())).1.insert(header.number);
            }
        }
        let whole = |lsn: &Lsn| numbers.get(lsn).is_some_and(|(count, found)| found.len() == *count as usize);

        let survey = Survey::of(&dir, true).unwrap();
        let scratch = memory();
        let opens = sled_opens(&survey, &dir, scratch.path()).unwrap().is_ok();
        refused += u32::from(!opens);
        if opens && survey.is_whole() {
            assert!(live.keys().all(whole), "seed {seed}: nothing was said");
            continue;
        }
        mend(&dir);
        folded(&dir);
        let (opened, _) = open_log(&dir);
        let found: BTreeMap<Lsn, Entry> = all(opened.as_ref()).into_iter().collect();
        opened.close().unwrap();
        // Without a mark nobody knows how far the log went: what follows is given out again.
        let end = numbers.keys().next_back().copied().filter(|_| survey.is_end_unknown());
        for (lsn, entry) in &live {
            if end.is_some_and(|end| *lsn > end) {
                lost += 1;
                continue;
            }
            let record = found.get(lsn).filter(|found| found.kind != Record::LOST);
            assert_eq!(record.is_some(), whole(lsn), "seed {seed}: record {lsn}, {}", survey.lost());
            if let Some(record) = record {
                assert_eq!(record, entry, "seed {seed}: record {lsn}");
                came += 1;
            } else {
                lost += 1;
            }
        }
        // The old tail is followed by nothing but what the repair had to say.
        let last = live.keys().next_back().unwrap();
        for (lsn, entry) in found.range(last.next()..) {
            assert!([Record::MARK, Record::LOST].contains(&entry.kind), "seed {seed}: record {lsn}");
        }
        assert!(Survey::of(&dir, true).unwrap().is_whole(), "seed {seed}: a second repair finds nothing");
    }
    println!("sled or its content refused in {refused} of 200; {came} records came back, {lost} were not whole");
    assert!(refused > 50 && lost > 100 && came > 10_000, "{refused} {lost} {came}");
}

/// What a decision could not bring is told with the operation, also after a repair.
#[test]
fn a_head_that_is_doubtful_says_so() {
    let head = OpHead {
        state: State::Parked,
        failure: Some(Failure { store: "qdrant".into(), code: Code::Parked, detail: "why".into() }),
        ..OpHead::default()
    };
    assert_eq!(head.shown_failure().unwrap().detail, "why");
    assert!(!head.doubtful && head.standing_decision().is_none());
}
