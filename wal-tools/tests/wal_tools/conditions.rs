//! Whole logs: clean, with operations in every state, parked.

use std::process::Command;

use lockstep_model::State;
use serde_json::json;

use crate::golden::COMMANDS;
use crate::logs::{copy, every_state, frozen};
use crate::support::{Said, Written, look, run, skip};

/// Without the ages, which go on.
fn timeless(said: &Said) -> Vec<String> {
    let columns = |line: &str| line.chars().take(41).chain("    .".chars()).chain(line.chars().skip(46)).collect();
    said.out.lines().map(|line| if line.contains("  memory:") { columns(line) } else { line.to_owned() }).collect()
}

#[test]
fn a_clean_log_is_clean_for_every_command() {
    let mut log = Written::open("");
    let committed = log.put("memory:01");
    log.marks(&[committed], &[State::SurrealCompleted, State::QdrantCompleted, State::Committed], None);
    log.put("memory:01");
    log.close();
    for command in [&["status"][..], &["list"], &["show", "2"], &["verify"], &["dump"]] {
        for json in [false, true] {
            let mut arguments = command.to_vec();
            arguments.extend(json.then_some("--json"));
            let said = log.look(&arguments);
            assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?} {said:?}");
            assert!(!said.out.is_empty());
            if json || command == ["dump"] {
                assert!(!said.lines().is_empty());
            } else {
                said.fits();
            }
        }
    }
    assert!(log.look(&["verify"]).out.ends_with("result     clean\n"));
}

#[test]
fn status_has_the_shape_of_the_daemons() {
    let log = every_state();
    let said = log.look(&["--json", "status"]);
    assert_eq!(said.code, 1, "one is parked: {said:?}");
    let status = said.json();
    assert_eq!(status["source"], "directory");
    let wal = &status["wal"];
    assert_eq!((&wal["open_ops"], &wal["parked"]), (&json!(5), &json!(1)));
    assert_eq!((&wal["first_lsn"], &wal["checkpoint_lsn"]), (&json!(6), &json!(8)));
    let states = json!({"pending": 2, "surreal_completed": 1, "qdrant_completed": 1, "committed": 1, "compensating": 1,
        "rolled_back": 1, "parked": 1, "discarded": 1});
    assert_eq!(wal["states"], states);
    assert_eq!(status["totals"]["committed"], 2);
    let length = |file| std::fs::metadata(log.path().join(file)).unwrap().len();
    assert_eq!(
        wal["bytes"],
        ["db", "conf", "highwater", "lock"].map(length).iter().sum::<u64>(),
        "as the daemon counts"
    );
    assert!(wal["bytes"].as_u64().unwrap() > 0 && wal["oldest_open_age_s"].as_f64().unwrap() > 0.0);
    assert_eq!(status["findings"][0]["code"], "parked_ops");
    let human = log.look(&["status"]);
    assert_eq!(human.code, 1);
    human.fits();
    for part in [
        "source     directory ",
        "log        LSN 6 to ",
        "checkpoint 8",
        "open       5 operations, the oldest for ",
        "parked     1 operation\n",
        "operator   1 operation is parked",
    ] {
        assert!(human.out.contains(part), "{part}: {}", human.out);
    }
}

#[test]
fn list_shows_the_newest_first_and_what_has_left() {
    let log = every_state();
    let said = log.look(&["list"]);
    assert_eq!(said.code, 1);
    let lines = timeless(said.fits());
    let expected = [
        "       LSN  OP        STATE                AGE  ATTEMPTS  KEY",
        "        30  put       pending                .         -  memory:surreal  waits for lsn:28",
        "        28  put       surreal_completed      .         -  memory:surreal",
        "        25  put       qdrant_completed       .         -  memory:qdrant",
        "        23  put       compensating           .         -  memory:compensating  rejected_by_qdrant: …",
        "        20  put       discarded              .         -  memory:discarded",
        "        17  put       rolled_back            .         -  memory:rolled_back  rejected_by_qdrant: v…",
        "        12  put       parked                 .         -  memory:parked  waits for operator, reject…",
        "         8  put       committed              .         -  memory:committed",
        "         2  put       committed              .         2  memory:left  left",
        "10 shown",
    ];
    assert_eq!(&lines[1..2], &expected[..1]);
    assert!(lines[2].starts_with("        31  atomic    pending "), "{}", lines[2]);
    assert_eq!(&lines[3..], &expected[1..]);
}

#[test]
fn list_filters_and_its_lines_are_those_of_the_daemon() {
    let log = every_state();
    let keys = |arguments: &[&str]| -> Vec<u64> {
        let mut all = vec!["--json", "list"];
        all.extend(arguments);
        log.look(&all).lines().iter().map(|op| op["lsn"].as_u64().unwrap()).collect()
    };
    assert_eq!(keys(&["--state", "committed"]), [8, 2]);
    assert_eq!(keys(&["--key", "memory:surreal"]), [30, 28]);
    assert_eq!(keys(&["--key", "memory:old"]), [31], "a group is found by what it writes");
    assert_eq!(keys(&["--limit", "1"]), [31]);
    assert_eq!(keys(&["--key", "memory:left", "--limit", "1"]), [2]);
    assert!(keys(&["--key", "memory:none"]).is_empty());
    let parked = log.look(&["--json", "list", "--state", "parked"]).lines().remove(0);
    let view: lockstep_api::OpView = serde_json::from_value(parked.clone()).unwrap();
    assert_eq!((view.waiting_for.as_deref(), view.attempts), (Some("operator"), None));
    assert_eq!(view.created_at.as_deref(), Some("2026-01-29T00:00:00.000012Z"));
    assert_eq!((&parked["left"], &parked["source"], parked.get("history")), (&json!(false), &json!("directory"), None));
    assert_eq!(parked["error"]["code"], "rejected_by_qdrant");
}

#[test]
fn show_tells_all_of_one_operation() {
    let log = every_state();
    let said = log.look(&["show", "12"]);
    assert_eq!(said.code, 1, "it is parked");
    said.fits();
    for part in [
        "operation  12 put memory:parked: parked\n",
        "logged     2026-01-29T00:00:00.000012Z (",
        " by uid 1000, for both stores\n",
        "history    pending            2026-01-29T00:00:00.000012Z\n           surreal_completed  2026-01-29T00:00:01.000000Z\n",
        "error      rejected_by_qdrant (qdrant): vector has\u{fffd}the wrong size\n",
        "waits for  an operator",
        "image      record 13: goes on as it was asked; before it SurrealDB held\n           memory:parked: 40 B, version 7\n",
        "lanes      write ",
        "records    12 intent, 13 image, 14 mark surreal_completed, 15 mark compensating, 16 mark parked\n",
        r#""vector":"[3 f32]""#,
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let whole = log.look(&["--json", "show", "12"]).json();
    let view: lockstep_api::OpView = serde_json::from_value(whole.clone()).unwrap();
    assert_eq!((view.state, view.history.map(|steps| steps.len())), (State::Parked, Some(4)));
    assert_eq!(whole["operation"]["document"], json!({"title": "tide"}));
    assert_eq!((&whole["uid"], &whole["source"]), (&json!(1000), &json!("directory")));
    assert_eq!(whole["image"]["before"][0], json!({"key": "memory:parked", "found": true, "version": 7, "bytes": 40}));
    let by_name = log.look(&["--json", "show", whole["op_id"].as_str().unwrap()]);
    assert_eq!(by_name.json(), whole);

    assert_eq!(log.look(&["show", "30"]).code, 0, "another's trouble is not its own");
    let left = log.look(&["show", "2"]);
    assert_eq!(left.code, 0);
    assert!(left.out.contains("2 put memory:left: committed, has left the log"), "{}", left.out);
    let full = log.look(&["show", "31", "--full"]);
    assert!(full.out.contains(r#""$datetime": "2026-01-29T00:00:00Z""#), "{}", full.out);

    for wrong in ["13", "9999", "0193b2c4-0000-7000-8000-00000000000c"] {
        let said = log.look(&["show", wrong]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{wrong}");
        assert!(said.err.contains("knows no operation"), "{}", said.err);
    }
}

#[test]
fn dump_gives_operations_that_can_be_sent_again() {
    let log = every_state();
    let said = log.look(&["dump"]);
    assert_eq!(said.code, 1);
    let lines = said.lines();
    let lsns: Vec<u64> = lines.iter().map(|op| op["lsn"].as_u64().unwrap()).collect();
    assert_eq!(lsns, [8, 12, 17, 20, 23, 25, 28, 30, 31]);
    assert_eq!((&lines[1]["state"], &lines[1]["uid"]), (&json!("parked"), &json!(1000)));
    let new = &lines[8]["operation"]["ops"][1];
    assert_eq!(new["document"]["at"], json!({"$datetime": "2026-01-29T00:00:00Z"}));
    let some: Vec<u64> = log
        .look(&["dump", "--from", "12", "--to", "20"])
        .lines()
        .iter()
        .map(|op| op["lsn"].as_u64().unwrap())
        .collect();
    assert_eq!(some, [12, 17, 20]);
    for (line, whole) in log.look(&["dump", "--operations"]).out.lines().zip(&lines) {
        let mut no_id = || unreachable!("every key is given");
        let operation = lockstep_model::Operation::parse(line.as_bytes(), None, &mut no_id).unwrap();
        assert_eq!(serde_json::Value::Object(operation.to_json()), whole["operation"]);
    }
}

#[test]
fn verify_tells_what_is_there_and_what_waits() {
    let log = every_state();
    let said = log.look(&["--json", "verify"]);
    assert_eq!(said.code, 1);
    let verified = said.json();
    assert_eq!((&verified["ops"], &verified["summaries"], &verified["clean"]), (&json!(9), &json!(1), &json!(false)));
    assert_eq!((&verified["moving"], &verified["incarnation"]), (&json!(false), &json!(1)));
    let findings = verified["findings"].as_array().unwrap();
    assert_eq!(findings.iter().filter(|found| found["severity"] != "info").count(), 1);
    let human = log.look(&["verify"]);
    human.fits();
    assert!(human.out.ends_with("result     whole; operations wait for an operator\n"), "{}", human.out);
}

#[test]
fn a_log_without_operations_is_clean() {
    let mut log = Written::open("");
    log.close();
    log.again();
    log.close();
    assert_eq!(log.look(&["verify"]).code, 0);
    let status = log.look(&["--json", "status"]).json();
    assert_eq!((&status["wal"]["first_lsn"], &status["wal"]["oldest_open_age_s"]), (&json!(null), &json!(null)));
    assert!(log.look(&["list"]).out.ends_with("no operations\n"));
    assert_eq!(log.look(&["--json", "list"]).out, "");
    assert_eq!(log.look(&["dump"]).out, "");
}

#[test]
fn many_operations_are_cut_to_the_limit_and_a_closed_pipe_is_no_error() {
    let mut log = Written::open("");
    for _ in 0..300 {
        log.put("memory:01");
    }
    log.close();
    assert_eq!(log.look(&["--json", "list", "--limit", "20"]).out.lines().count(), 20);
    for command in ["list --limit 1000", "dump"] {
        let script = format!(
            "set -o pipefail; '{}' --wal '{}' {command} | head -n 1",
            env!("CARGO_BIN_EXE_wal-tools"),
            log.path().display()
        );
        let said = run(Command::new("bash").args(["-c", &script]));
        assert_eq!((said.code, said.err.as_str(), said.out.lines().count()), (0, "", 1), "{command}");
    }
}

/// Recovery plans a whole log; explain folds only what meets the one operation. They must not differ.
#[test]
fn explain_says_of_each_operation_what_the_plan_says() {
    let mut log = every_state();
    log.again();
    let committed = [State::SurrealCompleted, State::QdrantCompleted, State::Committed];
    let edge = |kind: &str| json!({"op": kind, "edge": "mentions", "from": "memory:a", "to": "memory:b"});
    let mut relate = edge("relate");
    relate["document"] = json!({});
    let group = json!({"op": "atomic", "ops": [
        {"op": "put", "key": "memory:a", "document": {}},
        {"op": "delete", "key": "memory:committed"},
    ]});
    for body in [
        json!({"op": "put", "key": "memory:a", "document": {}}),
        json!({"op": "put", "key": "memory:b", "document": {}}),
        relate,
        json!({"op": "put", "key": "memory:a", "document": {"again": true}}),
        json!({"op": "delete", "key": "memory:b"}),
        group,
        json!({"op": "clear", "table": "memory"}),
        edge("unrelate"),
    ] {
        let op = log.op(&body);
        log.marks(&[op], &committed, None);
    }
    log.put("memory:a");
    log.close();
    let plan = log.look(&["--json", "plan", "--all"]).json();
    let ops = plan["ops"].as_array().unwrap();
    assert_eq!((ops.len(), &plan["more"], &plan["starts"]), (18, &json!(0), &json!(true)));
    for op in ops {
        let explained = log.look(&["--json", "explain", &op["lsn"].to_string()]).json();
        assert_eq!(explained["restart"]["decision"], op["decision"], "{op}");
        let reason = explained["restart"]["reason"].as_str().unwrap();
        assert!(op["reason"].as_str().unwrap().starts_with(reason), "{op}");
    }
    let counts = json!({"redo": 5, "undo": 1, "verify": 3, "overtaken": 5, "leave_parked": 1, "ended": 3});
    assert_eq!(plan["counts"], counts);
    // Of a million operations none is lost to the limit.
    let some = log.look(&["--json", "plan", "--all", "--limit", "3"]).json();
    assert_eq!((some["ops"].as_array().unwrap().len(), &some["more"], &some["counts"]), (3, &json!(15), &counts));
}

/// What a mount of the test keeps until it ends.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // If it is not mounted there is nothing to take away.
        drop(Command::new("umount").arg(&self.0).output());
    }
}

#[test]
fn every_command_works_on_a_read_only_mount() {
    let place = tempfile::tempdir().unwrap();
    let at = |arguments: &[&str]| Command::new("mount").args(arguments).arg(place.path()).output();
    let mounted = at(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"]);
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        skip("wal-tools on a read-only mount", "run the tests as root");
        return;
    }
    let _mounted = Mounted(place.path().to_path_buf());
    let log = place.path().join("wal");
    copy(&frozen().join("every_state"), &log);
    assert!(at(&["-o", "remount,ro"]).unwrap().status.success());
    assert!(std::fs::write(log.join("probe"), b"").is_err(), "it is read-only");
    for (command, _) in COMMANDS {
        let arguments: Vec<&str> = command.split(' ').collect();
        let said = look(&log, &arguments);
        assert!([0, 1].contains(&said.code) && !said.out.is_empty(), "{command}: {said:?}");
    }
}

#[test]
fn colours_are_for_terminals_alone() {
    let log = every_state();
    for command in ["status", "list", "verify", "dump", "--json status"] {
        let said = log.look(&command.split(' ').collect::<Vec<_>>());
        assert!(!said.out.contains('\u{1b}'), "{command}");
        let mut forced = Command::new(env!("CARGO_BIN_EXE_wal-tools"));
        let forced = run(forced.arg("--wal").arg(log.path()).args(command.split(' ')).env("CLICOLOR_FORCE", "1"));
        let is_data = command == "dump" || command.contains("--json");
        assert_eq!(forced.out.contains('\u{1b}'), !is_data, "{command}");
    }
}

#[test]
fn a_directory_that_nobody_may_write_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let log = every_state();
    let set = |mode| std::fs::set_permissions(log.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o555);
    let said = log.look(&["verify"]);
    set(0o755);
    assert_eq!(said.code, 1, "{said:?}");
}
