//! Logs that are not whole, or no logs: each says so, and none is changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lockstep_model::{LogId, Lsn, State};
use lockstep_wal::{Class, Durability, Group, HighWater, Kind, OpenOptions, SledLog, chunk};
use serde_json::Value;
use uuid::Uuid;

use crate::logs::{chunks, clean as small};
use crate::schema::holds;
use crate::support::{ID, Said, Written, look, run};

fn codes(said: &Said) -> Vec<String> {
    let findings = &said.json()["findings"];
    findings.as_array().unwrap().iter().map(|found| found["code"].as_str().unwrap().to_owned()).collect()
}

fn verify(dir: &Path) -> (i32, Vec<String>) {
    let said = look(dir, &["--json", "verify"]);
    (said.code, codes(&said))
}

#[test]
fn what_is_no_log_is_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "dear").unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "no directory").unwrap();
    for (place, said) in [
        (dir.path().join("nowhere"), "No such file"),
        (empty, "is not a log"),
        (other, "is not a log"),
        (file, "Not a directory"),
    ] {
        for command in [&["status"][..], &["list"], &["show", "2"], &["verify"], &["dump"]] {
            let found = look(&place, command);
            assert_eq!((found.code, found.out.as_str()), (3, ""), "{command:?} {found:?}");
            assert!(found.err.contains("the log cannot be read") && found.err.contains(said), "{}", found.err);
        }
        let json: Value = serde_json::from_str(&look(&place, &["--json", "status"]).err).unwrap();
        assert_eq!(json["code"], "unreadable");
    }
}

#[test]
fn a_flipped_byte_is_damage_with_a_consequence_and_advice() {
    let log = small();
    let db = log.path().join("db");
    let mut bytes = fs::read(&db).unwrap();
    let second = chunks(&bytes)[1];
    bytes[second + chunk::HEADER_LEN + 20] ^= 0x40;
    fs::write(&db, &bytes).unwrap();
    let (code, found) = verify(&log.path());
    assert_eq!(code, 1);
    assert!(found.contains(&"damaged_record".to_owned()), "{found:?}");
    let said = log.look(&["verify"]);
    said.fits();
    for part in
        ["damage     record 2 is damaged", "lockstepd refuses to open this log", "What a repair would save and lose"]
    {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let command = format!("\n           wal-tools --wal {} repair --write\n", log.path().display());
    assert!(said.out.contains(&command) && said.out.contains("result     not whole: "), "{}", said.out);
    for command in [&["status"][..], &["list"], &["dump"]] {
        assert_eq!(log.look(command).code, 1, "{command:?}");
    }
    // What can be read is still shown.
    assert_eq!(log.look(&["dump"]).lines().len(), 1);
    assert!(log.look(&["dump"]).err.contains("damage: record 2 is damaged"));
    let listed = log.look(&["list"]);
    assert!(listed.out.contains("memory:02") && listed.err.contains("the log is not whole"), "{listed:?}");
}

#[test]
fn a_missing_high_water_file_is_damage() {
    let log = small();
    fs::remove_file(log.path().join("highwater")).unwrap();
    assert_eq!(verify(&log.path()), (1, vec!["no_high_water".to_owned()]));
    // The log's id stands in its BOOT record too, so names are known all the same.
    let op = &log.look(&["--json", "list"]).lines()[0];
    assert!(op["op_id"].is_string(), "{op}");
}

#[test]
fn a_missing_db_is_damage_and_nothing_is_made_up() {
    let log = small();
    fs::remove_file(log.path().join("db")).unwrap();
    let (code, found) = verify(&log.path());
    assert_eq!((code, found.contains(&"no_db".to_owned())), (1, true), "{found:?}");
    assert_eq!(log.look(&["show", "2"]).code, 1);
}

#[test]
fn a_log_that_was_never_born_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let mark = HighWater { log: ID, incarnation: 1, base: Lsn(0), durable: Lsn(0), sequence: 2 };
    fs::write(dir.path().join("highwater"), mark.to_file()).unwrap();
    assert_eq!(verify(dir.path()), (0, vec!["unborn".to_owned()]));
}

#[test]
fn the_files_of_two_logs_are_told_apart() {
    let log = small();
    let mark = HighWater { log: LogId(Uuid::from_u128(9)), incarnation: 1, base: Lsn(1), durable: Lsn(6), sequence: 8 };
    fs::write(log.path().join("highwater"), mark.to_file()).unwrap();
    assert_eq!(verify(&log.path()), (1, vec!["mixed_logs".to_owned()]));
}

#[test]
fn a_leftover_snapshot_is_normal() {
    let log = small();
    fs::write(log.path().join("snap.0000000000000042.generating"), b"half").unwrap();
    assert_eq!(verify(&log.path()), (0, vec!["leftover".to_owned()]));
}

#[test]
fn a_torn_tail_is_normal_and_a_lost_end_is_not() {
    let mut log = Written::open("");
    log.put("memory:01");
    let lagging = fs::read(log.path().join("highwater")).unwrap();
    let record = |key: &str| {
        let body = serde_json::json!({"op": "put", "key": key, "document": {"text": "x".repeat(9_000)}});
        let op = lockstep_model::Operation::parse(body.to_string().as_bytes(), None, &mut || Uuid::nil()).unwrap();
        let version = lockstep_model::Version(crate::support::START_US + 100);
        let (caller, at_us) = (lockstep_wal::Caller::default(), crate::support::START_US);
        let intent = lockstep_wal::Intent { version, at_us, caller, wants_vectors: false, defines: Vec::new(), op };
        lockstep_wal::Record::Intent(Box::new(intent)).encode().unwrap()
    };
    let entries = vec![record("memory:02")];
    log.group(Group { entries, ..Group::new(Durability::Flush, Class::Intake) });
    log.close();
    let db = log.path().join("db");
    let bytes = fs::read(&db).unwrap();

    // All of it above the mark: whole, perhaps not acknowledged.
    fs::write(log.path().join("highwater"), &lagging).unwrap();
    assert_eq!(verify(&log.path()), (0, vec!["unacknowledged_tail".to_owned()]));
    assert_eq!(log.look(&["dump"]).lines().len(), 2);

    // The last chunk is zeros, as after a cut in the middle of a write.
    let last = *chunks(&bytes).last().unwrap();
    let mut torn = bytes.clone();
    torn[last..].fill(0);
    fs::write(&db, &torn).unwrap();
    let (code, found) = verify(&log.path());
    assert_eq!((code, found), (0, vec!["torn_tail".to_owned()]));
    assert_eq!(log.look(&["dump"]).lines().len(), 1);

    // The mark says that it was durable: now it is loss.
    let mark = HighWater { log: ID, incarnation: 1, base: Lsn(1), durable: Lsn(3), sequence: 9 };
    fs::write(log.path().join("highwater"), mark.to_file()).unwrap();
    let (code, found) = verify(&log.path());
    assert_eq!(code, 1);
    assert!(found.iter().any(|code| code == "damaged_record" || code == "missing_records"), "{found:?}");
}

#[test]
fn a_format_from_the_future_is_said_and_not_guessed_at() {
    let log = small();
    let db = log.path().join("db");
    let mut bytes = fs::read(&db).unwrap();
    let at = chunks(&bytes)[0];
    bytes[at + 8] = 2;
    let sum = crc32fast::hash(&bytes[at..at + 72]);
    bytes[at + 72..at + 76].copy_from_slice(&sum.to_le_bytes());
    fs::write(&db, &bytes).unwrap();
    let (code, found) = verify(&log.path());
    assert_eq!((code, found.contains(&"future_format".to_owned())), (1, true), "{found:?}");
    let said = log.look(&["verify"]).out;
    assert!(said.contains("newer Lockstep") && !said.contains("repair"), "{said}");
}

#[test]
fn records_that_no_lockstep_writes_are_damage() {
    let mut log = Written::open("");
    let op = log.put("memory:01");
    log.marks(&[op], &[State::RolledBack], None);
    log.marks(&[Lsn(99)], &[State::Committed], None);
    let entry = |kind, payload: &[u8]| lockstep_wal::Entry { kind: Kind(kind), payload: payload.to_vec() };
    let entries = vec![entry(1, b"\x01no intent"), entry(1, b"\x09"), entry(77, b"")];
    log.group(Group { entries, ..Group::new(Durability::Flush, Class::Intake) });
    log.close();
    let (code, mut found) = verify(&log.path());
    found.sort();
    assert_eq!(code, 1);
    let expected = ["future_format", "illegal_step", "stray_record", "undecodable_record", "undecodable_record"]
        .map(str::to_owned);
    assert_eq!(found, expected);
    let shown = log.look(&["show", "2"]);
    assert_eq!(shown.code, 1, "the log is damaged");
    assert!(shown.out.contains("2 put memory:01: pending"), "{}", shown.out);
}

/// Every command on a log with random damage: never a panic, never a change, and exit 0, 1 or 3.
#[test]
fn no_bytes_make_it_panic() {
    let log = small();
    let db = log.path().join("db");
    let bytes = fs::read(&db).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 8).unwrap()
    };
    for round in 0..12 {
        let mut damaged = bytes.clone();
        let used = chunks(&bytes).last().unwrap() + 400;
        for _ in 0..=round {
            let at = random() % used.min(damaged.len());
            damaged[at] = u8::try_from(random() % 256).unwrap();
        }
        if round % 3 == 2 {
            damaged.truncate(random() % damaged.len());
        }
        fs::write(&db, &damaged).unwrap();
        for command in [&["status"][..], &["list"], &["show", "2"], &["verify"], &["dump"]] {
            let said = log.look(command);
            assert!([0, 1, 3].contains(&said.code), "{command:?} {said:?}");
        }
    }
}

#[test]
fn what_lies_in_and_beside_the_directory_is_told() {
    let log = small();
    let wal = log.path();
    fs::create_dir_all(wal.join("blobs")).unwrap();
    fs::write(wal.join("blobs/7"), b"long").unwrap();
    fs::write(wal.join("highwater.new"), b"").unwrap();
    fs::write(wal.join("core"), b"").unwrap();
    for name in ["wal.kept", "wal.kept.new", "wal.before-repair"] {
        fs::create_dir(log.dir.path().join(name)).unwrap();
    }
    fs::create_dir(log.dir.path().join("walrus")).unwrap();
    let (code, found) = verify(&wal);
    assert_eq!(
        (code, found),
        (0, ["blobs", "beside", "foreign_file", "half_copy", "kept_copy"].map(str::to_owned).to_vec())
    );
    let beside = &log.look(&["--json", "verify"]).json()["findings"][1];
    assert!(beside["what"].as_str().unwrap().contains("wal.before-repair, 0 B"), "{beside}");
}

/// What is at a place where no operation is, if anything is.
#[test]
fn a_place_without_an_operation_says_what_it_has() {
    let log = crate::logs::every_state();
    for (place, said) in [
        ("13", "record 13 is the image of operation 12"),
        ("14", "record 14 says surreal_completed of 12"),
        ("6", "record 6 is a checkpoint"),
        ("99", "or no longer"),
    ] {
        for command in ["show", "explain"] {
            let found = log.look(&[command, place]);
            assert_eq!((found.code, found.out.as_str()), (1, ""), "{place}");
            assert!(found.err.contains("knows no operation") && found.err.contains(said), "{}", found.err);
            let found = log.look(&["--json", command, place]);
            holds("failure", &serde_json::from_str(&found.err).unwrap());
        }
    }
}

/// sled keeps notes of its own between the records, which no reader of records sees: a log can look whole there, and a start refuses it.
#[test]
fn what_a_start_would_not_open_is_not_clean() {
    let whole = small();
    let bytes = fs::read(whole.path().join("db")).unwrap();
    let places: Vec<usize> = (0..bytes.len()).filter(|&place| bytes[place] != 0).collect();
    let (mut refused, mut only_by_sled) = (0, 0);
    for place in places.iter().copied().step_by(places.len() / 40) {
        let log = small();
        let mut bytes = fs::read(log.path().join("db")).unwrap();
        bytes[place] ^= 0xff;
        fs::write(log.path().join("db"), &bytes).unwrap();
        let (code, found) = verify(&log.path());
        let plan = log.look(&["--json", "plan"]);
        only_by_sled += u32::from(found.contains(&"unopenable".to_owned()));
        let opens =
            SledLog::open(OpenOptions { reserve_bytes: 0, floor_bytes: 0, ..OpenOptions::new(log.path()) }).is_ok();
        assert_eq!((code == 0, plan.json()["starts"] == true), (opens, opens), "byte {place}: {found:?}");
        refused += u32::from(!opens);
        if !opens {
            // What that start has left of it is no better.
            assert_eq!(verify(&log.path()).0, 1, "byte {place}, after a start");
        }
    }
    assert!(refused > 20 && only_by_sled > 0, "{refused} refused, {only_by_sled} of them by sled alone");
}

/// Without the trial the records alone are looked at, and nothing is copied.
#[test]
fn a_trial_needs_a_place_for_its_copy() {
    let log = small();
    let nowhere = log.path().join("nowhere");
    let said = log.look(&["verify", "--copy-to", nowhere.to_str().unwrap()]);
    assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");
    assert!(said.err.contains("nowhere"), "{said:?}");
    assert_eq!(log.look(&["verify", "--no-trial", "--copy-to", nowhere.to_str().unwrap()]).code, 0);
}

/// Where no copy can be made the log was read all the same, and is judged by its records.
#[test]
fn without_a_place_for_a_copy_the_records_judge() {
    let log = small();
    for command in ["verify", "plan", "repair"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_wal-tools"));
        let said = run(program.env("TMPDIR", log.path().join("nowhere")).arg("--wal").arg(log.path()).arg(command));
        assert_eq!((said.code, said.out.is_empty()), (0, false), "{said:?}");
        assert!(said.err.contains("was not tried") && said.err.contains("nowhere"), "{said:?}");
    }
}

/// The copy holds all that the log holds: nobody else may look into it, and it does not outlive the process.
#[test]
fn the_copy_is_private_and_goes_with_the_process() {
    let log = small();
    let mut seen = 0;
    for _ in 0..50 {
        let place = tempfile::tempdir().unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_wal-tools"));
        program.arg("--wal").arg(log.path()).arg("verify").arg("--copy-to").arg(place.path());
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let copy = || fs::read_dir(place.path()).unwrap().next().map(|item| item.unwrap());
        while copy().is_none() && child.try_wait().unwrap().is_none() {}
        if let Some(Ok(meta)) = copy().map(|copy| copy.metadata()) {
            assert_eq!(meta.mode() & 0o777, 0o700);
        }
        let pid = rustix::process::Pid::from_child(&child);
        // It may have ended by itself.
        let _: Result<(), _> = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let ended = child.wait().unwrap();
        assert!(copy().is_none(), "{ended}: {:?}", copy());
        seen += u32::from(ended.signal() == Some(15));
    }
    assert!(seen > 0, "none was ended by the signal");
}
