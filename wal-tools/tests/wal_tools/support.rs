//! Logs to look at, and the program that looks.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockstep_model::{Action, Code, LogId, Lsn, OpId, Operation, State, Version};
use lockstep_wal::{
    Before, Caller, Checkpoint, Class, Durability, Failure, Fold, Group, ImageRecord, Intent, Log, Mark, OpenOptions,
    Outcome, Record, SideKey, SledLog, Summary,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const ID: LogId = LogId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
/// 2026-01-29T00:00:00Z
pub(crate) const START_US: u64 = 1_769_644_800_000_000;

/// Says in one line that a test is not run here, and how to run it. It goes past the harness, which keeps to itself what a passing test
/// prints: these lines are counted.
pub(crate) fn skip(what: &str, how: &str) {
    // A closed stderr is nobody's failure.
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED 1: {what} ({how})");
}

/// A log that a test writes, as lockstepd would.
pub(crate) struct Written {
    pub(crate) dir: TempDir,
    log: Option<Arc<SledLog>>,
}

impl Written {
    pub(crate) fn open(socket: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions {
            reserve_bytes: 0,
            floor_bytes: 0,
            new_id: ID,
            socket: socket.to_owned(),
            ..OpenOptions::new(dir.path().join("wal"))
        };
        let (log, _) = SledLog::open(options).unwrap();
        Self { dir, log: Some(log) }
    }

    /// Opens it again after a close. The program that another test starts at that moment holds copies of this process's locks
    /// until it has become itself.
    pub(crate) fn again(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let options = OpenOptions {
                reserve_bytes: 0,
                floor_bytes: 0,
                new_id: ID,
                ..OpenOptions::new(self.dir.path().join("wal"))
            };
            match SledLog::open(options) {
                Ok((log, _)) => return self.log = Some(log),
                Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("wal")
    }

    /// The socket that its holder named.
    pub(crate) fn socket(&self) -> PathBuf {
        let note: Value = serde_json::from_slice(&fs::read(self.path().join("lock")).unwrap()).unwrap();
        note["socket"].as_str().unwrap().into()
    }

    pub(crate) fn group(&self, group: Group) -> Lsn {
        let appended = self.log.as_ref().unwrap().append(group).unwrap();
        appended.ticket.wait_blocking().unwrap();
        appended.first
    }

    pub(crate) fn record(&self, record: &Record) -> Lsn {
        let entries = vec![record.encode().unwrap()];
        self.group(Group { entries, ..Group::new(Durability::Flush, Class::Intake) })
    }

    /// Logs an operation.
    pub(crate) fn op(&self, body: &Value) -> Lsn {
        let op = Operation::parse(body.to_string().as_bytes(), None, &mut || Uuid::from_u128(1)).unwrap();
        let next = self.log.as_ref().unwrap().positions().appended.next().0;
        let wants_vectors = matches!(&op.action, Action::Put { vectors, .. } if !vectors.is_empty());
        let caller = Caller { uid: Some(1000) };
        let at_us = START_US + next;
        let intent = Intent { version: Version(at_us), at_us, caller, wants_vectors, defines: Vec::new(), op };
        self.record(&Record::Intent(Box::new(intent)))
    }

    pub(crate) fn put(&self, key: &str) -> Lsn {
        self.op(&json!({"op": "put", "key": key, "document": {"title": "tide"}, "vector": [0.5, 1.0, -2.0]}))
    }

    /// Takes operations through states.
    pub(crate) fn marks(&self, ops: &[Lsn], states: &[State], failure: Option<&Failure>) {
        for &state in states {
            let at_us = START_US + 1_000_000;
            self.record(&Record::Mark(Mark { state, at_us, ops: ops.to_vec(), failure: failure.cloned() }));
        }
    }

    /// What SurrealDB held for the operation's key.
    pub(crate) fn image(&self, op: Lsn, key: &str, outcome: Outcome) -> Lsn {
        let before = vec![Before { key: key.to_owned(), raw: Some(vec![1; 40]), version: Some(Version(7)) }];
        self.record(&Record::Image(Box::new(ImageRecord { op, before, outcome })))
    }

    /// Lets a committed operation and its records leave, with a summary and a checkpoint.
    pub(crate) fn leave(&self, op: Lsn, records: &[Lsn], key: &str) {
        let mut group = Group::new(Durability::Flush, Class::Drain);
        let summary = Summary {
            op_id: OpId::new(ID, op, START_US / 1_000),
            version: Version(START_US),
            kind: lockstep_model::ActionKind::Put,
            key: Some(key.parse().unwrap()),
            attempts: 2,
            history: vec![(State::Pending, START_US), (State::Committed, START_US + 5)],
            failure: None,
            idempotency: None,
        };
        group.side.push((SideKey::Summary(op), Some(summary.encode().unwrap())));
        group.remove.push(op);
        group.remove.extend(records);
        let left = vec![(State::Committed.code(), 1)];
        let checkpoint = Checkpoint { at_us: START_US, clock: START_US, left, shapes: Vec::new() };
        group.entries.push(Record::Checkpoint(checkpoint).encode().unwrap());
        self.group(group);
    }

    /// Where every operation stands, as the next start sees it.
    pub(crate) fn fold(&self) -> Fold {
        let mut fold = Fold::new();
        let each = &mut |lsn, entry: lockstep_wal::Entry| {
            fold.record(lsn, &Record::decode(&entry).unwrap(), entry.payload.len());
            std::ops::ControlFlow::Continue(())
        };
        self.log.as_ref().unwrap().scan(Lsn(1), each).unwrap();
        fold
    }

    pub(crate) fn close(&mut self) {
        if let Some(log) = self.log.take() {
            log.close().unwrap();
        }
    }

    /// Runs the program on the log's directory.
    pub(crate) fn look(&self, arguments: &[&str]) -> Said {
        look(&self.path(), arguments)
    }
}

pub(crate) fn refusal() -> Failure {
    Failure { store: "qdrant".into(), code: Code::RejectedByQdrant, detail: "vector has\nthe wrong size".into() }
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Human output fits a terminal; only commands are as long as they are.
    pub(crate) fn fits(&self) -> &Self {
        for line in self.out.lines().filter(|line| {
            !line.contains("  wal-tools --") && !line.contains("  lockstep --") && !line.contains("  rm -r ")
        }) {
            assert!(line.chars().count() <= 100, "{line}");
        }
        self
    }
}

/// Runs the program with `--wal dir`, and sees that it changed nothing there (P8).
pub(crate) fn look(dir: &Path, arguments: &[&str]) -> Said {
    let before = contents(dir);
    let said = run(Command::new(env!("CARGO_BIN_EXE_wal-tools")).arg("--wal").arg(dir).args(arguments));
    assert_eq!(contents(dir), before, "{arguments:?} changed the directory");
    said
}

/// Runs the program away from the caller's environment.
pub(crate) fn run(command: &mut Command) -> Said {
    let command = command.env_remove("LOCKSTEP_DATA").env_remove("LOCKSTEP_SOCKET").stdin(Stdio::null());
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked"), "{err}");
    Said { code: output.status.code().unwrap(), out: String::from_utf8(output.stdout).unwrap(), err }
}

/// Every file's name, bytes and time of change.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    let Ok(items) = fs::read_dir(dir) else { return files };
    for item in items.map(Result::unwrap) {
        if item.file_type().unwrap().is_dir() {
            files.extend(contents(&item.path()));
        } else {
            let changed = item.metadata().unwrap().modified().unwrap();
            files.insert(item.path(), (fs::read(item.path()).unwrap(), changed));
        }
    }
    files
}
