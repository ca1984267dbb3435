//! Decisions about operations: judged, written into a log that nobody holds, shown, and asked of a daemon that has it.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use lockstep_model::{Lsn, State};
use serde_json::json;

use crate::support::{Said, Written, contents, refusal, run, skip};

/// Runs the program with `--wal dir`; it may write.
fn act(dir: &Path, arguments: &[&str]) -> Said {
    run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("--wal").arg(dir).args(arguments))
}

/// A log with a parked put, one that is superseded, a parked delete, an open and a committed operation.
fn parked() -> (Written, [Lsn; 5]) {
    let mut log = Written::open("");
    let alone = log.put("memory:alone");
    let older = log.put("memory:twice");
    let delete = log.op(&json!({"op": "delete", "key": "memory:gone"}));
    log.marks(&[alone, older, delete], &[State::Parked], Some(&refusal()));
    let younger = log.put("memory:twice");
    log.marks(&[younger], &[State::SurrealCompleted, State::QdrantCompleted, State::Committed], None);
    let open = log.put("memory:open");
    log.close();
    (log, [alone, older, delete, younger, open])
}

#[test]
fn without_write_it_says_what_it_would_do_and_changes_nothing() {
    let (log, [alone, older, delete, younger, open]) = parked();
    let cases: [(&[&str], &str, i32); 7] = [
        (&["retry", "LSN"], "logged again, unless its key was written since", 0),
        (&["rollback", "LSN"], "taken back", 0),
        (&["discard", "LSN"], "given up", 0),
        (&["retry", "OLDER"], "--force goes over it", 1),
        (&["retry", "OLDER", "--force"], "over whatever was written since", 0),
        (&["rollback", "OLDER"], "has written its key since", 1),
        (&["rollback", "DELETE"], "a removal goes forward only", 1),
    ];
    for (arguments, expected, code) in cases {
        let name = |word: &str| match word {
            "LSN" => alone.to_string(),
            "OLDER" => older.to_string(),
            "DELETE" => delete.to_string(),
            word => word.to_owned(),
        };
        let arguments: Vec<String> = arguments.iter().map(|word| name(word)).collect();
        let said = log.look(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(said.code, code, "{arguments:?} {said:?}");
        assert!(said.fits().out.contains(expected), "{}", said.out);
        assert!(said.out.contains("nothing was done: add --write"), "{}", said.out);
    }
    let committed = log.look(&["discard", &younger.to_string()]);
    assert!(committed.code == 1 && committed.out.contains("is committed: only what is parked"), "{}", committed.out);
    let open = log.look(&["retry", &open.to_string()]);
    assert!(open.code == 0 && open.out.contains("the next start tries it at once"), "{}", open.out);
    assert_eq!(log.look(&["retry", "999"]).code, 1);
}

/// Whoever follows what explain says must not be refused.
#[test]
fn explain_does_not_offer_what_would_be_refused() {
    let (log, [alone, older, delete, ..]) = parked();
    for (lsn, is_offered) in [(alone, true), (older, false), (delete, false)] {
        let said = log.look(&["explain", &lsn.to_string()]).out.clone();
        assert_eq!(said.contains(&format!(" rollback {lsn}\n")), is_offered, "{said}");
    }
    let said = log.look(&["explain", &delete.to_string()]);
    let said = &said.fits().out;
    assert!(said.contains("It cannot be taken back: a removal goes forward only"), "{said}");
}

#[test]
fn filters_choose_among_what_is_parked() {
    let (log, [alone, older, delete, ..]) = parked();
    let chosen = |arguments: &[&str]| -> Vec<u64> {
        let said = log.look(&[&["--json", "discard"], arguments].concat()).json();
        said["operations"].as_array().unwrap().iter().map(|op| op["lsn"].as_u64().unwrap()).collect()
    };
    assert_eq!(chosen(&["--all-parked"]), [alone.0, older.0, delete.0]);
    assert_eq!(chosen(&["--all-parked", "--key", "memory:gone"]), [delete.0]);
    assert_eq!(chosen(&["--key", "memory:twice"]), [older.0]);
    assert_eq!(chosen(&["--error", "wrong size", "--older-than", "1h"]), [alone.0, older.0, delete.0]);
    assert_eq!(chosen(&["--error", "another"]), [0; 0]);
    assert_eq!(chosen(&["--older-than", "200y"]), [0; 0]);
    assert_eq!(chosen(&["--state", "committed"]).len(), 1);
}

#[test]
fn a_decision_is_written_shown_and_found_by_the_next_start() {
    let (mut log, [alone, older, ..]) = parked();
    let said = act(&log.path(), &["discard", &alone.to_string(), "--note", "not wanted any more", "--write"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("1 decision in the log: lockstepd carries them out at its next start"), "{}", said.out);
    let shown = log.look(&["--json", "show", &alone.to_string()]).json();
    let last = shown["history"].as_array().unwrap().last().unwrap().clone();
    let uid = fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(
        (&last["state"], &last["note"]),
        (&json!("parked"), &json!(format!("discard asked by uid {uid}: not wanted any more")))
    );
    assert_eq!(shown["state"], "parked");
    let verified = log.look(&["--json", "verify"]).json();
    assert!(
        verified["findings"].as_array().unwrap().iter().all(|finding| finding["severity"] != "damage"),
        "{verified}"
    );
    // It can be changed for as long as nobody has carried it out.
    let again = log.look(&["retry", &alone.to_string()]);
    assert!(again.out.contains("replaces a discard"), "{}", again.out);
    // One that cannot be done is left alone, the others are done.
    let said = act(&log.path(), &["--json", "retry", &alone.to_string(), &older.to_string(), "--write"]);
    let json = said.json();
    assert_eq!((said.code, &json["done"], &json["refused"]), (1, &json!(1), &json!(1)), "{json}");
    // What the next start folds: the last decision stands.
    log.again();
    let fold = log.fold();
    let standing: Vec<_> =
        fold.ops.iter().filter_map(|(&op, head)| Some((op, head.standing_decision()?.1.verdict))).collect();
    assert_eq!(standing, [(alone, lockstep_wal::Verdict::Retry { force: false })]);
    log.close();
}

#[test]
fn a_damaged_log_is_not_written_to() {
    let (log, [alone, ..]) = parked();
    fs::remove_file(log.path().join("highwater")).unwrap();
    let before = contents(&log.path());
    let said = act(&log.path(), &["discard", &alone.to_string(), "--write"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("nothing was written") && said.err.contains("repair"), "{}", said.err);
    assert_eq!(contents(&log.path()), before);
}

#[test]
fn a_log_that_somebody_holds_is_not_written_to() {
    let mut log = Written::open("");
    let op = log.put("memory:1");
    log.marks(&[op], &[State::Parked], Some(&refusal()));
    let said = act(&log.path(), &["--json", "discard", &op.to_string(), "--write"]);
    assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");
    assert!(said.err.lines().last().unwrap().contains(r#""code":"held""#), "{}", said.err);
    log.close();
}

/// What root writes stays the owner's, with the modes that were there.
#[test]
fn root_writes_as_the_logs_owner() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        skip("only root can write as somebody else", "run the tests as root");
        return;
    }
    let (log, [alone, ..]) = parked();
    let (uid, gid) = (4321, 8765);
    fs::set_permissions(log.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    chown(log.dir.path(), Some(uid), Some(gid)).unwrap();
    let all = |dir: &Path| -> Vec<_> {
        let items = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
        items.chain([dir.to_path_buf()]).collect()
    };
    for path in all(&log.path()) {
        chown(&path, Some(uid), Some(gid)).unwrap();
        if path.is_file() {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        }
    }
    let said = act(&log.path(), &["discard", &alone.to_string(), "--write"]);
    assert_eq!(said.code, 0, "{said:?}");
    for path in all(&log.path()) {
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (uid, gid), "{}", path.display());
        assert!(meta.is_dir() || meta.mode() & 0o777 == 0o640, "{}: {:o}", path.display(), meta.mode());
    }
    let shown = log.look(&["--json", "show", &alone.to_string()]).json();
    assert!(shown["history"].to_string().contains("discard asked by uid 0"), "{shown}");
}

#[test]
fn what_is_dumped_of_an_operation_parses_as_one() {
    let mut log = Written::open("");
    let bodies = [
        json!({"op": "put", "key": "memory:01", "document": {"title": "tide"}, "vector": [0.5, 1.0, -2.0]}),
        json!({"op": "put", "key": "memory:02", "document": {"at": {"$datetime": "2026-01-29T00:00:00Z"}}, "if_absent": true}),
        json!({"op": "patch", "key": "memory:01", "document": {"title": null}, "if_version": 7}),
        json!({"op": "delete", "key": "memory:01", "idempotency_key": "k-1"}),
        json!({"op": "relate", "edge": "mentions", "from": "memory:01", "to": "person:7", "document": {}}),
        json!({"op": "unrelate", "edge": "mentions", "from": "memory:01", "to": "person:7"}),
        json!({"op": "clear", "table": "memory", "where": {"all": [{"a": 1}, {"b": ["x", "y"]}]}}),
        json!({"op": "atomic", "ops": [
            {"op": "delete", "key": "memory:01"},
            {"op": "put", "key": "memory:03", "document": {"n": 1}, "vector": [1.0, 2.0, 3.0]},
            {"op": "relate", "edge": "mentions", "from": "memory:03", "to": "person:7", "document": {"w": 0.5}},
        ]}),
    ];
    let lsns: Vec<Lsn> = bodies.iter().map(|body| log.op(body)).collect();
    log.close();
    for (lsn, body) in lsns.iter().zip(&bodies) {
        let at = lsn.to_string();
        let dumped = log.look(&["dump", "--operations", "--from", &at, "--to", &at]);
        assert_eq!(dumped.out.lines().count(), 1, "{}", dumped.out);
        let read = lockstep_model::Operation::parse(dumped.out.trim().as_bytes(), None, &mut uuid::Uuid::nil);
        let asked = lockstep_model::Operation::parse(body.to_string().as_bytes(), None, &mut uuid::Uuid::nil);
        let (read, asked) = (read.unwrap(), asked.unwrap());
        assert_eq!((&read.action, read.precondition), (&asked.action, asked.precondition), "{body}");
        let key = |op: &lockstep_model::Operation| op.idempotency.as_ref().map(|idempotency| idempotency.key.clone());
        assert_eq!(key(&read), key(&asked), "{body}");
    }
}
