//! What it says to wrong arguments, and to commands that are not built yet.

use std::process::Command;

use crate::support::{Said, Written, run};

/// Runs it where no log is.
fn said(arguments: &[&str]) -> Said {
    let dir = tempfile::tempdir().unwrap();
    run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).args(arguments).current_dir(dir.path()))
}

#[test]
fn bad_usage_exits_2_and_says_what_is_wrong_on_stderr() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["nope"], "nope"),
        (&["show"], "LSN|OP_ID"),
        (&["show", "memory:01"], "neither an LSN"),
        (&["list", "--state", "happy"], "\"happy\" is not a state"),
        (&["list", "--key", "memory"], "no colon"),
        (&["list", "--limit", "0"], "--limit"),
        (&["retry"], "LSN|OP_ID"),
        (&["discard", "--write"], "LSN|OP_ID"),
        (&["rollback", "2", "--all-parked"], "cannot be used with"),
        (&["rollback", "--all-parked", "--force"], "--force"),
        (&["retry", "2", "--older-than", "soon"], "--older-than"),
        (&["dump", "--from", "x"], "--from"),
        (&["--wal", "a", "--data", "b", "status"], "cannot be used with"),
        (&["--socket", "a", "--data", "b", "status"], "cannot be used with"),
    ];
    for (arguments, expected) in cases {
        let found = said(arguments);
        assert_eq!((found.code, found.out.as_str()), (2, ""), "{arguments:?} {found:?}");
        assert!(found.err.contains(expected), "{arguments:?}: {}", found.err);
    }
}

#[test]
fn help_is_no_error_and_has_examples() {
    for arguments in [&["--help"][..], &["list", "--help"], &["verify", "-h"], &["show", "--help"], &["dump", "-h"]] {
        let found = said(arguments);
        assert_eq!(found.code, 0);
        assert!(found.out.contains("Examples:"), "{}", found.out);
    }
}

/// Examples are pasted into a shell, whatever the terminal's width.
#[test]
fn help_breaks_no_example() {
    let found = said(&["verify", "--help"]);
    let example =
        "  wal-tools --data /var/lib/lockstep --json verify | jq '.findings[] | select(.severity == \"damage\")'\n";
    assert!(found.out.contains(example), "{}", found.out);
}

#[test]
fn without_a_place_it_says_where_it_looked() {
    let found = said(&["status"]);
    // A machine may have the service's log.
    if found.err.contains("no log found") {
        assert_eq!(found.code, 3);
        assert!(
            found.err.contains("./lockstep-data/wal or /var/lib/lockstep/wal: name it with --wal"),
            "{}",
            found.err
        );
    }
}

#[test]
fn the_data_directory_holds_the_log() {
    let mut log = Written::open("");
    log.close();
    let by_flag = run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("verify").arg("--data").arg(log.dir.path()));
    assert_eq!(by_flag.code, 0, "{by_flag:?}");
    let data = log.dir.path().join("lockstep-data");
    std::fs::create_dir(&data).unwrap();
    std::fs::rename(log.path(), data.join("wal")).unwrap();
    let by_default = run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("verify").current_dir(log.dir.path()));
    assert_eq!(by_default.code, 0, "{by_default:?}");
    assert!(by_default.out.starts_with("source     directory ./lockstep-data/wal, "), "{}", by_default.out);
}

#[test]
fn a_range_with_nothing_in_it_is_said() {
    let mut log = Written::open("");
    log.put("memory:1");
    log.close();
    let said = log.look(&["dump", "--from", "9", "--to", "2"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert!(said.err.contains("--from 9 is behind --to 2"), "{}", said.err);
    assert_eq!(log.look(&["dump", "--from", "2", "--to", "2"]).err, "");
}
