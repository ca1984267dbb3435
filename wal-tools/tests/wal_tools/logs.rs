//! The logs that tests look at: made here, kept as frozen directories, and brought into every condition.
//!
//! `tests/frozen` holds the bytes that this format of the log once had. They are made by
//! `cargo test -p lockstep-wal-tools -- --ignored freeze`, and made again only when the format is meant to change.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lockstep_model::{Lsn, State};
use lockstep_wal::{HighWater, Log, OpenOptions, Outcome, RawLog, SledLog, chunk};
use serde_json::json;

use crate::support::{ID, Written, refusal};

/// A clean log: what was asked is done, and one operation waits for a start.
pub(crate) fn clean() -> Written {
    let mut log = Written::open("");
    let committed = log.put("memory:01");
    log.marks(&[committed], &[State::SurrealCompleted, State::QdrantCompleted, State::Committed], None);
    log.put("memory:02");
    log.close();
    log
}

/// An operation in each state, one more that has left, one that waits for another, and a group.
pub(crate) fn every_state() -> Written {
    let mut log = Written::open("/run/lockstep.sock");
    let left = log.put("memory:left");
    log.marks(&[left], &[State::SurrealCompleted, State::QdrantCompleted, State::Committed], None);
    log.leave(left, &[Lsn(3), Lsn(4), Lsn(5)], "memory:left");
    let committed = log.put("memory:committed");
    log.marks(&[committed], &[State::SurrealCompleted, State::QdrantCompleted, State::Committed], None);
    let parked = log.put("memory:parked");
    log.image(parked, "memory:parked", Outcome::AsAsked);
    log.marks(&[parked], &[State::SurrealCompleted, State::Compensating, State::Parked], Some(&refusal()));
    let rolled_back = log.put("memory:rolled_back");
    log.marks(&[rolled_back], &[State::Compensating, State::RolledBack], Some(&refusal()));
    let discarded = log.put("memory:discarded");
    log.marks(&[discarded], &[State::Parked, State::Discarded], None);
    let compensating = log.put("memory:compensating");
    log.marks(&[compensating], &[State::Compensating], Some(&refusal()));
    let qdrant = log.put("memory:qdrant");
    log.marks(&[qdrant], &[State::SurrealCompleted, State::QdrantCompleted], None);
    let surreal = log.put("memory:surreal");
    log.marks(&[surreal], &[State::SurrealCompleted], None);
    log.put("memory:surreal");
    log.op(&json!({"op": "atomic", "ops": [
        {"op": "delete", "key": "memory:old"},
        {"op": "put", "key": "memory:new", "document": {"at": {"$datetime": "2026-01-29T00:00:00Z"}}, "vector": [1, 2]},
    ]}));
    log.close();
    log
}

/// A log whose last record is large, with the high-water file from before it: whether it is there was never said.
pub(crate) fn unsaid() -> Written {
    let mut log = Written::open("");
    log.put("memory:01");
    let lagging = fs::read(log.path().join("highwater")).unwrap();
    log.op(&json!({"op": "put", "key": "memory:02", "document": {"text": "x".repeat(9_000)}}));
    log.close();
    fs::write(log.path().join("highwater"), lagging).unwrap();
    log
}

/// Where the frozen logs lie.
pub(crate) fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen")
}

#[test]
#[ignore = "writes the frozen logs anew: only when the format of the log is meant to change"]
fn freeze() {
    for (name, log) in [("clean", clean()), ("every_state", every_state()), ("unsaid", unsaid())] {
        let to = frozen().join(name);
        fs::create_dir_all(&to).unwrap();
        for file in ["db", "conf", "highwater"] {
            fs::copy(log.path().join(file), to.join(file)).unwrap();
        }
    }
}

/// The bytes of then are a log of today: sled opens them, and they say what a raw read says.
#[test]
fn frozen_logs_still_open() {
    for name in ["clean", "every_state", "unsaid"] {
        let (_place, dir) = thawed(name);
        let raw = RawLog::read(&dir).unwrap();
        let told: Vec<_> = raw.records_where(|_, kind| !kind.is_of_the_log()).map(Result::unwrap).collect();
        let options = OpenOptions { reserve_bytes: 0, floor_bytes: 0, ..OpenOptions::new(dir) };
        let (log, _) = SledLog::open(options).unwrap();
        let mut held = Vec::new();
        let mut take = |lsn, entry| {
            held.push((lsn, entry));
            ControlFlow::Continue(())
        };
        log.scan(Lsn(1), &mut take).unwrap();
        log.close().unwrap();
        assert!(held.len() > 1, "{name}");
        assert_eq!(held, told.into_iter().map(|found| (found.lsn, found.entry)).collect::<Vec<_>>(), "{name}");
    }
}

/// A copy of a frozen log.
pub(crate) fn thawed(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("wal");
    copy(&frozen().join(name), &log);
    (dir, log)
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for item in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if item.file_type().unwrap().is_file() {
            fs::copy(item.path(), to.join(item.file_name())).unwrap();
        }
    }
}

/// Where the chunks of a log begin.
pub(crate) fn chunks(db: &[u8]) -> Vec<usize> {
    let magics = db.windows(chunk::MAGIC.len()).enumerate().filter(|(_, window)| *window == chunk::MAGIC);
    magics.map(|(at, _)| at).collect()
}

/// What can be wrong with a log, by the name of its golden file.
pub(crate) const CONDITIONS: [&str; 11] = [
    "clean",
    "every_state",
    "unsaid_tail",
    "torn_tail",
    "flipped_byte",
    "missing_high_water",
    "leftovers",
    "future_format",
    "lost_end",
    "not_a_log",
    "empty",
];

/// A log in that condition.
pub(crate) fn in_condition(condition: &str) -> (tempfile::TempDir, PathBuf) {
    let (dir, log) = thawed(match condition {
        "every_state" => "every_state",
        "unsaid_tail" | "torn_tail" | "lost_end" => "unsaid",
        _ => "clean",
    });
    let db = log.join("db");
    let mut bytes = fs::read(&db).unwrap();
    match condition {
        "clean" | "every_state" | "unsaid_tail" => {}
        "torn_tail" => {
            let last = *chunks(&bytes).last().unwrap();
            bytes[last..].fill(0);
        }
        "flipped_byte" => {
            let intent = chunks(&bytes)[1];
            bytes[intent + chunk::HEADER_LEN + 20] ^= 0x40;
        }
        "missing_high_water" => fs::remove_file(log.join("highwater")).unwrap(),
        "leftovers" => {
            fs::write(log.join("snap.0000000000000042.generating"), b"half").unwrap();
            fs::write(log.join("notes.txt"), b"by an operator").unwrap();
            copy(&frozen().join("clean"), &dir.path().join("wal.kept"));
        }
        "future_format" => {
            let at = chunks(&bytes)[1];
            bytes[at + 8] = 2;
            let sum = crc32fast::hash(&bytes[at..at + 72]);
            bytes[at + 72..at + 76].copy_from_slice(&sum.to_le_bytes());
        }
        "lost_end" => {
            let mark = HighWater { log: ID, incarnation: 1, base: Lsn(1), durable: Lsn(9), sequence: 9 };
            fs::write(log.join("highwater"), mark.to_file()).unwrap();
        }
        "not_a_log" | "empty" => {
            for item in fs::read_dir(&log).unwrap().map(Result::unwrap) {
                fs::remove_file(item.path()).unwrap();
            }
            if condition == "not_a_log" {
                fs::write(log.join("letter.txt"), "dear").unwrap();
            }
            return (dir, log);
        }
        other => unreachable!("{other}"),
    }
    fs::write(&db, &bytes).unwrap();
    (dir, log)
}
