//! Logs of very many operations: looking at them takes bounded memory.
//!
//! The small one runs always. The large one is a measurement, by hand: CONTRIBUTING.md has the command.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::Command;

use lockstep_model::{Operation, Version};
use lockstep_wal::{Caller, Class, Durability, Group, Intent, Record};
use serde_json::json;
use uuid::Uuid;

use crate::support::{START_US, Said, Written, run};

/// What a log of a million open operations may take.
const MEASURED_KIB: u64 = 256 << 10;
const MEASURED_SECONDS: f64 = 5.0;

/// A log of `count` open operations of 256 bytes each.
fn many(count: u64) -> Written {
    let mut log = Written::open("");
    let mut next = 0;
    while next < count {
        let entries = (next..count.min(next + 2_000)).map(intent).collect();
        log.group(Group { entries, ..Group::new(Durability::Flush, Class::Intake) });
        next += 2_000;
    }
    log.close();
    log
}

fn intent(number: u64) -> lockstep_wal::Entry {
    let text = "x".repeat(167);
    let body = json!({"op": "put", "key": format!("memory:n{number:08}"), "document": {"text": text}});
    let op = Operation::parse(body.to_string().as_bytes(), None, &mut || Uuid::nil()).unwrap();
    let at_us = START_US + number;
    let caller = Caller { uid: Some(1000) };
    let intent = Intent { version: Version(at_us), at_us, caller, wants_vectors: false, defines: Vec::new(), op };
    let entry = Record::Intent(Box::new(intent)).encode().unwrap();
    assert_eq!(entry.payload.len(), 256);
    entry
}

/// Runs the program with no more address space than this.
fn within(kib: u64, dir: &Path, arguments: &str) -> Said {
    let program = env!("CARGO_BIN_EXE_wal-tools");
    let script = format!("ulimit -v {kib}; exec '{program}' --wal '{}' {arguments}", dir.display());
    run(Command::new("bash").args(["-c", &script]))
}

/// The seconds that the program took of a processor: it has one thread, and waits for nothing if the log is in memory.
fn timed(kib: u64, dir: &Path, arguments: &str) -> f64 {
    let program = env!("CARGO_BIN_EXE_wal-tools");
    let script = format!(
        "ulimit -v {kib}; TIMEFORMAT='%U %S'; time '{program}' --wal '{}' {arguments} > /dev/null",
        dir.display()
    );
    let said = run(Command::new("bash").args(["-ec", &script]));
    assert_eq!(said.code, 0, "{arguments}: {said:?}");
    said.err.split_whitespace().map(|seconds| seconds.parse::<f64>().unwrap()).sum()
}

#[test]
#[ignore = "a measurement: a million operations, best with --release"]
fn a_million_open_operations_are_looked_at_in_bounded_time_and_memory() {
    let log = many(1_000_000);
    for arguments in ["status", "list --limit 20", "--json status", "--json list --limit 20"] {
        timed(MEASURED_KIB, &log.path(), arguments);
        let seconds = timed(MEASURED_KIB, &log.path(), arguments);
        writeln!(stdout(), "{arguments}: {seconds:.2} s").unwrap();
        assert!(seconds < MEASURED_SECONDS, "{arguments}: {seconds} s");
    }
}

/// A fold of every operation in memory would take twice this room.
#[test]
fn what_is_kept_of_an_operation_is_small() {
    const ROOM_KIB: u64 = 24 << 10;
    let log = many(50_000);
    for arguments in
        ["status", "list --limit 20", "list --key memory:n00000007", "show 9", "dump --to 20", "verify --no-trial"]
    {
        let said = within(ROOM_KIB, &log.path(), arguments);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments}");
    }
}
