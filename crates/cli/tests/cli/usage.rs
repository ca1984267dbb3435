//! What `lockstep` says to wrong arguments, and where there is no daemon.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::support::{lockstep, run, stderr, stdout};

/// Runs it where no daemon is, and returns exit code, stdout and stderr.
fn said(arguments: &[&str]) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = lockstep(arguments);
    command.current_dir(dir.path());
    let output = run(command, "");
    (output.status.code().unwrap(), stdout(&output), stderr(&output))
}

#[test]
fn bad_usage_exits_2_and_says_what_is_wrong_on_stderr() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["nonsense"], "nonsense"),
        (&["put", "memory:01"], "--document"),
        (&["put", "memory:01", "--document", "{"], "--document is not JSON"),
        (&["put", "memory:01", "--document", "{}", "--vector", "[1,"], "--vector is not JSON"),
        (&["put", "memory:01", "--document", "{}", "--vector", "[1]", "--vectors", "{}"], "cannot be used with"),
        (&["put", "memory:01", "--document", "{}", "--ack", "maybe"], "neither committed nor logged"),
        (&["put", "memory:01", "--document", "{}", "--if-version", "new"], "--if-version"),
        (&["patch", "memory:01"], "--vectors"),
        (&["relate", "mentions", "memory:01"], "<TO>"),
        (&["atomic", "-"], "FILE holds no operation"),
        (&["atomic", "-", "--if-absent"], "--if-absent"),
        (&["clear", "memory"], "say --yes"),
        (&["clear", "--all"], "say --yes"),
        (&["clear"], "<TABLE>"),
        (&["clear", "memory", "--all"], "cannot be used with"),
        (&["clear", "--all", "--where", "{}"], "cannot be used with"),
        (&["clear", "memory", "--if-absent", "--yes"], "--if-absent"),
        (&["retry"], "<OP_ID|LSN>"),
        (&["discard", "memory:01"], "neither an operation's id (a UUID, in the column OP_ID of `lockstep ops`)"),
        (&["rollback", "0193b2c4-0000-7000-8000-00000000002a", "--force"], "--force"),
        (&["search", "memory"], "--vector"),
        (&["ops", "--state", "happy"], "\"happy\" is not a state; there is pending, surreal_completed"),
        (&["ops", "--limit", "1001"], "1001"),
        (&["wait", "--timeout", "soon"], "--timeout"),
        (&["--socket", "none.sock", "get", "memory"], "no colon"),
        (&["bulk"], "FILE"),
    ];
    for (arguments, expected) in cases {
        let (code, out, err) = said(arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
        assert!(out.is_empty() && !err.contains("panicked"), "{arguments:?}: {out} {err}");
    }
}

#[test]
fn help_is_no_error_and_has_examples() {
    for arguments in [&["--help"][..], &["bulk", "--help"], &["demo", "--help"], &["put", "-h"]] {
        let (code, out, _) = said(arguments);
        assert_eq!(code, 0);
        assert!(out.contains("Examples:"), "{out}");
    }
}

/// Examples are pasted into a shell, whatever the terminal's width.
#[test]
fn help_breaks_no_line_below_the_options() {
    let (_, out, _) = said(&["search", "--help"]);
    let filters = out.lines().find(|line| line.starts_with("Filters: ")).unwrap();
    assert!(filters.ends_with("{\"not\":…}") && filters.chars().count() > 100, "{out}");
}

#[test]
fn the_version_is_told_under_the_programs_name() {
    let (code, out, _) = said(&["--version"]);
    assert_eq!((code, out), (0, format!("lockstep {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn without_a_daemon_it_says_where_it_looked_and_what_to_do() {
    let (code, out, err) = said(&["status"]);
    assert_eq!((code, out.as_str()), (1, ""));
    for part in ["./lockstep-data/lockstep.sock", "/run/lockstep/lockstep.sock", "is it running", "lockstepd --data"] {
        assert!(err.contains(part), "{part}: {err}");
    }
    let (code, _, err) = said(&["--socket", "elsewhere.sock", "put", "memory:01", "--document", "{}"]);
    assert_eq!(code, 1);
    assert!(err.contains("cannot reach lockstepd at elsewhere.sock: is it running?"), "{err}");
    assert!(err.contains("No such file"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

/// The daemon runs, and its socket is for others: nobody is told to start it.
#[test]
fn a_socket_that_this_user_may_not_use_is_no_daemon_that_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("lockstep-data");
    fs::create_dir(&data).unwrap();
    let socket = data.join("lockstep.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    for (closed, access) in [(&socket, "(mode 0000, group "), (&data, "(nor look into its directory)")] {
        fs::set_permissions(closed, PermissionsExt::from_mode(0o000)).unwrap();
        let mut command = as_no_superuser("status");
        command.current_dir(dir.path());
        let output = run(command, "");
        let err = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{err}");
        let said = format!("this user may not write to lockstepd's socket ./lockstep-data/lockstep.sock {access}");
        assert!(err.contains(&said) && !err.contains("is it running"), "{err}");
    }
    fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
}

/// `lockstep` without what lets root pass by the modes of files.
fn as_no_superuser(argument: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_lockstep");
    let mut command = if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-dac_override,-dac_read_search", program]);
        command
    } else {
        Command::new(program)
    };
    command.arg(argument).env_remove("LOCKSTEP_SOCKET");
    command
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_clearly() {
    let (code, _, err) = said(&["--socket", &"s".repeat(108), "status"]);
    assert_eq!(code, 1);
    assert!(err.contains("108 bytes, at most 107"), "{err}");
}

#[test]
fn errors_are_json_where_answers_are() {
    let (code, out, err) = said(&["--json", "--socket", "none.sock", "status"]);
    assert_eq!((code, out.as_str()), (1, ""));
    let value: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!(value["code"], "not_reachable");
    assert!(value["detail"].as_str().unwrap().contains("none.sock"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, _, err) = said(&["--socket", "none.sock", "bulk", "missing.ndjson"]);
    assert_eq!(code, 1);
    assert!(err.contains("cannot read missing.ndjson"), "{err}");
}

#[test]
fn demo_without_lockstepd_says_how_to_name_it() {
    let (code, _, err) = said(&["demo", "--lockstepd", "./no-lockstepd"]);
    assert_eq!(code, 1);
    assert!(err.contains("cannot run ./no-lockstepd: name it with --lockstepd PATH"), "{err}");
}

#[test]
fn demo_uses_no_directory_that_holds_something() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine"), "").unwrap();
    let (code, _, err) = said(&["demo", "--keep", dir.path().to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(err.contains("it is not empty"), "{err}");
}
