//! `repair`: what it says, what it does, and that it does nothing without being told to.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lockstep_model::{Lsn, State};
use lockstep_wal::{Class, Durability, FirstUse, Group, SideKey};
use serde_json::json;

use crate::support::{Said, Written, contents, run, skip};

fn act(dir: &Path, arguments: &[&str]) -> Said {
    run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("--wal").arg(dir).args(arguments))
}

/// Flips a byte in the body of every chunk that carries `lsn`, so that the header can still be read.
fn damage(log: &Written, lsn: Lsn) {
    let path = log.path().join("db");
    let mut db = fs::read(&path).unwrap();
    let magic = lockstep_wal::chunk::MAGIC;
    let places: Vec<usize> = (0..db.len() - 96).filter(|&at| db[at..].starts_with(&magic)).collect();
    let mut hit = 0;
    for at in places {
        if db[at + 9] == 1 && db[at + 32..at + 40] == lsn.0.to_le_bytes() {
            db[at + 84] ^= 0xff;
            hit += 1;
        }
    }
    assert!(hit > 0);
    fs::write(path, db).unwrap();
}

/// An open put, then a put that is lost, then one behind it on the same key.
fn broken() -> (Written, [Lsn; 4]) {
    let mut log = Written::open("");
    let open = log.put("memory:open");
    let lost = log.put("memory:lost");
    let mark = {
        log.marks(&[lost], &[State::SurrealCompleted], None);
        Lsn(lost.0 + 1)
    };
    let behind = log.put("memory:lost");
    log.close();
    damage(&log, lost);
    damage(&log, mark);
    (log, [open, lost, mark, behind])
}

#[test]
fn without_write_it_says_what_it_would_do_and_changes_nothing() {
    let (log, [open, lost, mark, behind]) = broken();
    let around = contents(log.dir.path());
    let said = log.look(&["repair"]);
    assert_eq!(said.code, 1, "{said:?}");
    let out = &said.fits().out;
    for expected in [
        format!("{lost}: intent, perhaps memory:lost (a chunk of it is damaged or missing)"),
        format!("{mark}: mark"),
        "parked     1 operation: they stood before what is lost".to_owned(),
        "follow     1 operation: they stand on keys of lost operations".to_owned(),
        "nothing was done: add --write to do it".to_owned(),
    ] {
        assert!(out.contains(&expected), "{expected}: {out}");
    }
    let json = log.look(&["--json", "repair"]).json();
    assert_eq!((&json["needed"], &json["done"], &json["lost_records"]), (&json!(true), &json!(false), &json!(2)));
    let effects: Vec<_> =
        json["affected"].as_array().unwrap().iter().map(|a| (a["op"].clone(), a["effect"].clone())).collect();
    assert_eq!(effects, [(json!(open), json!("parked")), (json!(behind), json!("follows_lost"))]);
    assert_eq!(contents(log.dir.path()), around, "beside the log neither");
}

#[test]
fn with_write_the_log_is_whole_again_and_the_old_one_stays() {
    let (log, [open, lost, ..]) = broken();
    let damaged = fs::read(log.path().join("db")).unwrap();
    assert_eq!(log.look(&["verify"]).code, 1);
    let said = act(&log.path(), &["repair", "--write"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("repaired; the old log is in"), "{}", said.out);
    assert_eq!(fs::read(log.dir.path().join("wal.damaged-1/db")).unwrap(), damaged);
    let report = fs::read_to_string(log.path().join("quarantine/1/report.ndjson")).unwrap();
    assert!(report.lines().count() >= 4 && report.contains("memory:lost"), "{report}");
    let verified = log.look(&["--json", "verify"]).json();
    let findings: Vec<_> = verified["findings"].as_array().unwrap().iter().map(|f| f["code"].clone()).collect();
    assert_eq!(findings, ["parked_ops", "lost_records", "damaged_copy", "quarantine"]);
    let shown = log.look(&["--json", "show", &open.to_string()]).json();
    assert_eq!(shown["state"], "parked");
    assert!(shown["error"]["detail"].as_str().unwrap().contains(&format!("without records {lost}")), "{shown}");
    // Decided, nothing is left to be found.
    assert_eq!(act(&log.path(), &["retry", "--all-parked", "--write"]).code, 0);
    let again = act(&log.path(), &["repair", "--write"]);
    assert_eq!((again.code, again.out.lines().last().unwrap()), (0, "result     nothing to repair"), "{again:?}");
    assert!(!log.dir.path().join("wal.damaged-2").exists());
}

#[test]
fn what_is_lost_is_told_where_it_stood() {
    let (several, [_, first, last, _]) = broken();
    let mut log = Written::open("");
    let one = log.put("memory:lost");
    log.put("memory:behind");
    log.close();
    damage(&log, one);
    for (log, lsn, shown, found) in [
        (several, first, format!("records {first} to {last} were lost"), format!("records {first}-{last} were lost; ")),
        (log, one, format!("record {one} was lost"), format!("record {one} was lost; ")),
    ] {
        assert_eq!(act(&log.path(), &["repair", "--write"]).code, 1);
        let said = log.look(&["show", &lsn.to_string()]);
        assert!(said.code == 1 && said.err.contains(&format!("{shown}; a repair has noted it")), "{said:?}");
        let verified = log.look(&["verify"]);
        assert!(verified.fits().out.contains(&format!("warning    {found}")), "{}", verified.out);
    }
}

#[test]
fn a_log_that_lost_nothing_verifies_clean_after_a_repair() {
    let mut log = Written::open("");
    log.put("memory:1");
    log.close();
    fs::remove_file(log.path().join("highwater")).unwrap();
    assert_eq!(log.look(&["verify"]).code, 1);
    let said = act(&log.path(), &["repair", "--write"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("how far the log went is not known"), "{}", said.out);
    assert_eq!(log.look(&["verify"]).code, 0);
    log.again();
    assert_eq!(log.fold().ops.len(), 1);
    log.close();
}

/// Every chunk is whole, and sled does not open: what it says or panics about is told, and no panic is printed.
#[test]
fn sled_alone_can_be_what_is_damaged() {
    let mut log = Written::open("");
    log.put("memory:1");
    log.close();
    let path = log.path().join("db");
    let mut db = fs::read(&path).unwrap();
    let magic = lockstep_wal::chunk::MAGIC;
    let first = db.windows(magic.len()).position(|window| window == magic).unwrap();
    db[first - 12..first].fill(0xee);
    fs::write(&path, db).unwrap();
    assert_eq!(log.look(&["verify", "--no-trial"]).code, 0, "the chunks are whole");
    let said = log.look(&["verify"]);
    assert!(said.code == 1 && said.out.contains("a copy of the log does not open"), "{said:?}");
    let said = log.look(&["repair"]);
    assert!(said.code == 1 && said.out.contains("every record is whole, and yet"), "{said:?}");
    let said = act(&log.path(), &["repair", "--write", "--no-backup"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!log.dir.path().join("wal.damaged-1").exists());
    assert_eq!(log.look(&["repair"]).code, 0);
    log.again();
    log.close();
}

#[test]
fn a_whole_log_needs_nothing_and_a_held_one_is_left_alone() {
    let mut log = Written::open("");
    log.put("memory:1");
    let said = log.look(&["--json", "repair"]);
    assert!(said.code == 3 && said.err.contains("held"), "{said:?}");
    log.close();
    let before = contents(log.dir.path());
    let said = act(&log.path(), &["repair", "--write"]);
    assert_eq!((said.code, said.out.contains("nothing to repair")), (0, true), "{said:?}");
    assert_eq!(contents(log.dir.path()), before);
    fs::remove_file(log.path().join("db")).unwrap();
    let said = log.look(&["repair"]);
    assert!(said.code == 3 && said.err.contains("no records to save"), "{said:?}");
}

/// Killed at any moment, it leaves the old log or the new one; run again, it finishes.
#[test]
fn a_kill_in_the_middle_is_finished_by_the_next_run() {
    let mut killed = 0;
    for after in 0..12_u64 {
        let (log, _) = broken();
        let mut child = Command::new(env!("CARGO_BIN_EXE_wal-tools"))
            .arg("--wal")
            .arg(log.path())
            .args(["repair", "--write"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // As far as it has come when so many of its files are there.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let new = log.dir.path().join("wal.repairing");
        let files = || fs::read_dir(&new).map_or(0, |items| items.count() as u64);
        while files() < after.min(7) && child.try_wait().unwrap().is_none() && std::time::Instant::now() < deadline {}
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().signal().is_some());
        let said = act(&log.path(), &["repair", "--write"]);
        assert!([0, 1].contains(&said.code), "{after}: {said:?}");
        assert_eq!(act(&log.path(), &["repair", "--write"]).code, 0, "{after}");
        let names: Vec<String> = fs::read_dir(log.dir.path())
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(names.iter().all(|name| name == "wal" || name == "wal.damaged-1"), "{after}: {names:?}");
    }
    assert!(killed > 0);
}

/// What root repairs stays the owner's.
#[test]
fn root_repairs_as_the_logs_owner() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        skip("only root can write as somebody else", "run the tests as root");
        return;
    }
    let (log, _) = broken();
    let (uid, gid) = (4321, 8765);
    chown(log.dir.path(), Some(uid), Some(gid)).unwrap();
    chown(log.path(), Some(uid), Some(gid)).unwrap();
    for item in fs::read_dir(log.path()).unwrap() {
        let path = item.unwrap().path();
        chown(&path, Some(uid), Some(gid)).unwrap();
        if path.is_file() {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
    }
    assert_eq!(act(&log.path(), &["repair", "--write"]).code, 1);
    for path in contents(log.dir.path()).into_keys().chain([log.path()]) {
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (uid, gid), "{}", path.display());
        assert!(meta.is_dir() || meta.mode() & 0o177 == 0, "{}: {:o}", path.display(), meta.mode());
    }
    for made in ["quarantine", "quarantine/1"] {
        let mode = fs::metadata(log.path().join(made)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700, "{made}: who may not read it may not enter");
    }
}

/// What an earlier repair has put aside and reported stays, also where its backup has gone.
#[test]
fn a_second_repair_leaves_the_first_ones_report() {
    let (mut log, _) = broken();
    let log_at = log.path();
    assert_eq!(act(&log.path(), &["repair", "--write", "--no-backup"]).code, 1);
    let report = |number: u32| fs::read_to_string(log_at.join(format!("quarantine/{number}/report.ndjson"))).unwrap();
    let first = report(1);
    log.again();
    let lost = log.put("memory:later");
    log.close();
    damage(&log, lost);
    let said = act(&log.path(), &["repair", "--write"]);
    assert!(said.code == 1 && said.out.contains("quarantine/2/report.ndjson"), "{said:?}");
    assert!(report(1) == first && report(2).contains("memory:later") && !first.contains("memory:later"));
    assert!(log.dir.path().join("wal.damaged-2").exists() && !log.dir.path().join("wal.damaged-1").exists());
}

/// sled keeps the bytes of what has been removed for a while, and a repair reads bytes: an idempotency key that stands for nothing any more
/// would be refused for ever.
#[test]
fn an_idempotency_key_without_its_operation_does_not_come_back() {
    let mut log = Written::open("");
    let op = log.put("memory:1");
    let side = [(1, op), (2, Lsn(900))].map(|(digest, op)| {
        let first = FirstUse { op, body_hash: [0; 16], keys: Vec::new() };
        (SideKey::Idempotency([digest; 16]), Some(first.encode().unwrap()))
    });
    log.group(Group { side: side.into(), ..Group::new(Durability::Flush, Class::Drain) });
    log.close();
    assert_eq!(log.look(&["--json", "verify"]).json()["idempotency_keys"], 2);
    assert_eq!(act(&log.path(), &["repair", "--rebuild", "--write"]).code, 0);
    assert_eq!(log.look(&["--json", "verify"]).json()["idempotency_keys"], 1);
}
