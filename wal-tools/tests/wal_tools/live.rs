//! Logs that a process has open: the daemon is asked, and what is read beside it is said to move.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lockstep_model::{Lsn, OpId, State};
use serde_json::{Value, json};

use crate::schema::holds;
use crate::support::{ID, START_US, Written, refusal, run};

/// A daemon of few words.
fn play(socket: &Path, answer: impl Fn(&str) -> (u16, Value) + Clone + Send + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            thread::spawn(move || serve(stream.unwrap(), answer));
        }
    });
}

fn serve(stream: UnixStream, answer: impl Fn(&str) -> (u16, Value)) {
    let mut out = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let (status, body) = answer(&path);
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(body.as_bytes())).is_err() {
            return;
        }
    }
}

fn op(lsn: u64, state: &str) -> Value {
    let op_id = OpId::new(ID, Lsn(lsn), (START_US + lsn) / 1_000);
    json!({"op_id": op_id, "lsn": lsn, "version": START_US + lsn, "key": "memory:01", "op": "put", "state": state, "attempts": 3,
        "created_at": "2026-01-29T00:00:00.000002Z", "updated_at": null, "next_attempt_at": null, "waiting_for": "store:qdrant"})
}

fn answers(path: &str) -> (u16, Value) {
    match path {
        "/healthz" => (200, json!({})),
        "/v1/status" => {
            let wal = json!({"first_lsn": 2, "last_lsn": 77, "open_ops": 1, "parked": 0, "states": {"pending": 1}});
            (200, json!({"version": "9.9.9", "wal": wal, "later": true}))
        }
        _ if path.starts_with("/v1/ops/") => match path.rsplit('/').next().unwrap().parse::<OpId>().unwrap().lsn() {
            Lsn(2) => {
                let mut whole = op(2, "pending");
                whole["history"] = json!([{"state": "pending", "at": null}]);
                whole["later"] = json!(true);
                (200, whole)
            }
            _ => (404, json!({"status": 404, "code": "not_found", "title": "", "detail": ""})),
        },
        // Two pages, the second after the cursor.
        _ if path.contains("cursor=") => (200, json!({"ops": [op(2, "pending")], "next": null})),
        _ => (200, json!({"ops": [op(9, "committed")], "next": "9"})),
    }
}

/// A log that is held, and its daemon.
pub(crate) fn live() -> Written {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let log = Written::open(&socket.display().to_string());
    log.put("memory:01");
    play(&socket, answers);
    // The socket stays until the test ends.
    drop(place.keep());
    log
}

#[test]
fn an_audit_that_the_daemon_wants_is_told() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let mut log = Written::open(&socket.display().to_string());
    play(&socket, |path| {
        let (status, mut said) = answers(path);
        if path == "/v1/status" {
            said["audit_needed"] = json!("surreal: it was set back");
        }
        (status, said)
    });
    let said = log.look(&["status"]);
    assert!(said.fits().out.ends_with("\nAUDIT      surreal: it was set back\n"), "{}", said.out);
    log.close();
}

#[test]
fn a_live_daemon_is_asked() {
    let mut log = live();
    let status = log.look(&["--json", "status"]);
    assert_eq!((status.code, status.err.as_str()), (0, ""), "{status:?}");
    let said = status.json();
    assert_eq!(
        (&said["source"], &said["wal"]["last_lsn"], &said["later"]),
        (&json!("daemon"), &json!(77), &json!(true))
    );
    let human = log.look(&["status"]);
    assert!(human.fits().out.starts_with("source     daemon 9.9.9 at "), "{}", human.out);

    let listed = log.look(&["--json", "list"]).lines();
    let lsns: Vec<_> = listed.iter().map(|op| op["lsn"].as_u64().unwrap()).collect();
    assert_eq!(lsns, [9, 2]);
    assert_eq!(
        (&listed[0]["source"], &listed[0]["left"], &listed[0]["attempts"]),
        (&json!("daemon"), &json!(null), &json!(3))
    );
    assert_eq!(log.look(&["--json", "list", "--limit", "1"]).lines().len(), 1);

    // The daemon tells how it stands, the directory what it carries.
    let shown = log.look(&["--json", "show", "2"]).json();
    assert_eq!((&shown["source"], &shown["waiting_for"]), (&json!("daemon"), &json!("store:qdrant")));
    assert_eq!((&shown["operation"]["op"], &shown["later"]), (&json!("put"), &json!(true)));
    let human = log.look(&["show", "2"]);
    assert!(human.fits().out.contains("waits for  store:qdrant\n"), "{}", human.out);
    assert_eq!(log.look(&["show", "5"]).code, 1);
    assert_eq!(log.look(&["show", &OpId::new(ID, Lsn(5), 1).to_string()]).code, 1);
    log.close();
    // The note is still there, its writer is not.
    assert_eq!(log.look(&["--json", "status"]).json()["source"], "directory");
}

#[test]
fn verify_and_dump_read_a_live_directory_and_say_that_it_moves() {
    let mut log = live();
    let verified = log.look(&["--json", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert_eq!((&verified.json()["moving"], &verified.json()["findings"][0]["code"]), (&json!(true), &json!("held")));
    assert!(verified.err.contains("has the log open") && verified.err.contains("moves"), "{}", verified.err);
    let dumped = log.look(&["dump"]);
    assert_eq!((dumped.code, dumped.lines().len()), (0, 1));
    assert!(dumped.err.contains("has the log open"), "{}", dumped.err);
    log.close();
}

/// From a daemon programs get the same members as from a directory.
#[test]
fn what_the_daemon_says_holds_to_the_schemas() {
    let mut log = live();
    let by_socket = log.socket();
    for (command, schema) in [("status", "status"), ("list", "list"), ("show 2", "show"), ("explain 2", "explain")] {
        let mut arguments = vec!["--json"];
        arguments.extend(command.split(' '));
        let said = log.look(&arguments);
        let alone = run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("--socket").arg(&by_socket).args(&arguments));
        for said in [said, alone] {
            assert!(!said.lines().is_empty(), "{command}");
            for line in said.lines() {
                holds(schema, &line);
                assert_eq!(line["source"], "daemon", "{command}");
            }
        }
    }
    for (command, schema) in [("plan", "plan"), ("verify", "verify"), ("dump", "dump")] {
        let said = log.look(&["--json", command]);
        said.lines().iter().for_each(|line| holds(schema, line));
        assert!(said.err.contains("it moves"), "{}", said.err);
    }
    log.close();
}

#[test]
fn explain_asks_the_daemon_how_it_stands_and_the_directory_what_it_carries() {
    let mut log = live();
    log.put("memory:01");
    let said = log.look(&["explain", "2"]);
    let socket = log.socket();
    for part in [
        "source     daemon at ",
        "operation  2 put memory:01: pending",
        " by uid 1000, for both stores\n           put memory:01, a document of 1 field and vector default [3 f32]\n",
        "           then  tried 3 times\n",
        "waits for  qdrant, which does not answer or is paused\n",
        "behind it  1 operation waits for it: 3 put memory:01\n",
        "a restart  redo: ",
        "you can    Bring qdrant back; it is tried again by itself. What lockstepd sees of it:\n",
        &format!("             lockstep --socket {} status\n", socket.display()),
    ] {
        assert!(said.fits().out.contains(part), "{part}: {}", said.out);
    }
    let alone = run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("--socket").arg(&socket).args(["explain", "2"]));
    assert_eq!(alone.code, 0);
    for part in ["what it carries is not known here", "behind it  nothing waits for it", "a restart  redo: "] {
        assert!(alone.out.contains(part), "{part}: {}", alone.out);
    }
    log.close();
}

/// The daemon does not say what it would refuse; the log beside it does.
#[test]
fn explain_offers_no_rollback_that_the_directory_knows_to_be_refused() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let mut log = Written::open(&socket.display().to_string());
    let put = log.put("memory:01");
    let delete = log.op(&json!({"op": "delete", "key": "memory:02"}));
    log.marks(&[put, delete], &[State::Parked], Some(&refusal()));
    play(&socket, |path| match path.rsplit('/').next().unwrap().parse::<OpId>() {
        Ok(op_id) => (200, op(op_id.lsn().0, "parked")),
        Err(_) => answers(path),
    });
    for (lsn, is_offered) in [(put, true), (delete, false)] {
        let op_id = OpId::new(ID, lsn, (START_US + lsn.0) / 1_000);
        let said = log.look(&["explain", &op_id.to_string()]);
        assert!(said.fits().out.contains("source     daemon at "), "{said:?}");
        assert_eq!(said.out.contains(&format!(" rollback {lsn}\n")), is_offered, "{}", said.out);
        assert_eq!(said.out.contains("It cannot be taken back: a removal goes forward only"), !is_offered);
    }
    log.close();
}

#[test]
fn a_holder_that_does_not_listen_is_read_beside() {
    for socket in ["", "/nowhere/lockstep.sock"] {
        let mut log = Written::open(socket);
        log.put("memory:01");
        let said = log.look(&["--json", "status"]);
        assert_eq!((said.code, &said.json()["source"]), (0, &json!("directory")), "{said:?}");
        let name = format!("process {} has the log open", std::process::id());
        assert!(said.err.contains(&name), "{}", said.err);
        log.close();
    }
}

#[test]
fn a_copy_of_a_live_directory_is_not_the_daemons() {
    let mut log = live();
    let copy = tempfile::tempdir().unwrap();
    for file in ["db", "conf", "highwater", "lock"] {
        std::fs::copy(log.path().join(file), copy.path().join(file)).unwrap();
    }
    let said = crate::support::look(copy.path(), &["--json", "status"]);
    assert_eq!((&said.json()["source"], said.err.as_str()), (&json!("directory"), ""));
    log.close();
}

#[test]
fn a_socket_alone_is_enough_to_look_and_one_that_is_dead_is_unreadable() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    play(&socket, answers);
    let ask = |arguments: &[&str]| {
        run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("--socket").arg(&socket).args(arguments))
    };
    assert_eq!(ask(&["--json", "status"]).json()["source"], "daemon");
    let shown = ask(&["show", "2"]);
    assert!(shown.out.contains("asked      not known"), "{}", shown.out);
    assert_eq!(ask(&["--json", "show", "2"]).json()["operation"], json!(null));
    // What is only in the directory needs one that it names.
    let nowhere = ask(&["verify"]);
    assert_eq!((nowhere.code, nowhere.out.as_str()), (2, ""));
    assert!(nowhere.err.contains("verify reads the log's directory"), "{}", nowhere.err);
    let dead = run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).args(["--socket", "/nowhere/s", "--json", "status"]));
    assert_eq!((dead.code, dead.out.as_str()), (3, ""));
    assert_eq!(serde_json::from_str::<Value>(&dead.err).unwrap()["code"], "not_reachable");
}

/// A daemon says where its log is: plan, verify and dump read it there.
#[test]
fn a_socket_leads_to_the_directory() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let mut log = Written::open(&socket.display().to_string());
    log.put("memory:01");
    let dir = log.path().to_path_buf();
    play(&socket, move |path| {
        let (status, mut said) = answers(path);
        if path == "/v1/status" {
            said["wal_dir"] = json!(dir);
        }
        (status, said)
    });
    for command in ["plan", "verify", "dump"] {
        let by = |arguments: &[&str]| run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).args(arguments));
        let by_socket = by(&["--socket", &log.socket().display().to_string(), "--json", command]);
        let by_dir = by(&["--wal", &log.path().display().to_string(), "--json", command]);
        assert_eq!((by_socket.code, &by_socket.out), (by_dir.code, &by_dir.out), "{command}");
        assert!(!by_socket.lines().is_empty() && by_socket.err.contains("it moves"), "{command}: {by_socket:?}");
    }
    log.close();
}

#[test]
fn a_silent_daemon_is_not_waited_for_for_ever() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let since = Instant::now();
    let said = run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("--socket").arg(&socket).arg("status"));
    assert_eq!(said.code, 3);
    assert!(said.err.contains("has not answered within 10 s"), "{}", said.err);
    assert!(since.elapsed() < Duration::from_secs(30));
    drop(listener);
}
