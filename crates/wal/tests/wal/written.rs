//! Logs of real records that a test writes, damages and looks into byte by byte.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_model::{Action, Document, Lsn, Operation, State, Value, Vector, Vectors, Version};
use lockstep_wal::chunk::{CHUNK_MAX, Header, MAGIC, Owner};
use lockstep_wal::{
    Before, Caller, Checkpoint, Class, Durability, Group, ImageRecord, Intent, Kind, Log, Mark, Outcome, Record,
    SideKey, SledLog, Summary,
};
use tempfile::TempDir;

use crate::support::{ID, open};

/// A directory in memory, if there is such a place: what survives a power cut is not asked here.
pub fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn put(key: &str, text: usize) -> Action {
    Action::Put {
        key: key.parse().unwrap(),
        document: Document([("t".to_owned(), Value::Text("x".repeat(text)))].into_iter().collect()),
        vectors: Vectors::single(Vector::Dense(vec![0.5, 1.0])),
    }
}

/// A log that a test writes.
pub struct Written {
    pub dir: TempDir,
    log: RefCell<Option<Arc<SledLog>>>,
}

impl Written {
    pub fn new() -> Self {
        let dir = memory();
        let log = open(&dir.path().join("wal")).unwrap().0;
        Self { dir, log: RefCell::new(Some(log)) }
    }

    pub fn log(&self) -> Arc<SledLog> {
        self.log.borrow().clone().unwrap()
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("wal")
    }

    pub fn group(&self, group: Group) -> Lsn {
        let appended = self.log().append(group).unwrap();
        appended.ticket.wait_blocking().unwrap();
        appended.first
    }

    pub fn record(&self, record: &Record) -> Lsn {
        let entries = vec![record.encode().unwrap()];
        self.group(Group { entries, ..Group::new(Durability::Flush, Class::Drain) })
    }

    pub fn op(&self, action: Action) -> Lsn {
        let at_us = 1_000 + self.log().positions().appended.0;
        self.record(&Record::Intent(Box::new(Intent {
            version: Version(at_us),
            at_us,
            caller: Caller { uid: Some(1000) },
            wants_vectors: true,
            defines: Vec::new(),
            op: Operation::plain(action),
        })))
    }

    pub fn put(&self, key: &str) -> Lsn {
        self.op(put(key, 20))
    }

    pub fn delete(&self, key: &str) -> Lsn {
        self.op(Action::Delete { key: key.parse().unwrap() })
    }

    pub fn image(&self, op: Lsn, key: &str) -> Lsn {
        let before = vec![Before { key: key.to_owned(), raw: Some(vec![1; 40]), version: Some(Version(7)) }];
        self.record(&Record::Image(Box::new(ImageRecord { op, before, outcome: Outcome::AsAsked })))
    }

    pub fn mark(&self, ops: &[Lsn], state: State) -> Lsn {
        self.record(&Record::Mark(Mark { state, at_us: 5, ops: ops.to_vec(), failure: None }))
    }

    pub fn commit(&self, op: Lsn) -> Lsn {
        self.mark(&[op], State::SurrealCompleted);
        self.mark(&[op], State::QdrantCompleted);
        self.mark(&[op], State::Committed)
    }

    /// Lets an operation leave with its records.
    pub fn leave(&self, op: Lsn, records: &[Lsn]) -> Lsn {
        let mut group = Group::new(Durability::Flush, Class::Drain);
        let summary = Summary {
            op_id: lockstep_model::OpId::new(ID, op, 1),
            version: Version(1),
            kind: lockstep_model::ActionKind::Put,
            key: None,
            attempts: 0,
            history: vec![(State::Pending, 1), (State::Committed, 5)],
            failure: None,
            idempotency: None,
        };
        group.side.push((SideKey::Summary(op), Some(summary.encode().unwrap())));
        group.remove.push(op);
        group.remove.extend(records);
        group.entries.push(Record::Checkpoint(Checkpoint::default()).encode().unwrap());
        self.group(group);
        self.log().positions().appended
    }

    pub fn close(&self) {
        // The lock lasts as long as somebody has the log.
        let log = self.log.borrow_mut().take().unwrap();
        log.close().unwrap();
    }

    /// Damages every chunk of the record: its body, so that the header can be read, or its header as well.
    pub fn damage(&self, lsn: Lsn, header_too: bool) {
        self.in_chunks(lsn, |chunk, body| {
            chunk[80 + body.min(5) - 1] ^= 0xff;
            if header_too {
                chunk[30] ^= 0xff;
            }
        });
    }

    /// Damages the header of every chunk of the record so that it gives another kind.
    pub fn damage_kind(&self, lsn: Lsn, from: Kind, to: Kind) {
        self.in_chunks(lsn, |chunk, _| {
            assert_eq!(chunk[10], from.0);
            chunk[10] = to.0;
        });
    }

    /// Shows the bytes of each chunk of the record, and how long its body is.
    fn in_chunks(&self, lsn: Lsn, change: impl Fn(&mut [u8], usize)) {
        let path = self.path().join("db");
        let mut db = fs::read(&path).unwrap();
        let chunks = chunks(&db).into_iter().filter(|(_, header, _)| at(header) == Some(lsn));
        let places: Vec<(usize, usize)> = chunks.map(|(place, _, body)| (place, body.len())).collect();
        assert!(!places.is_empty(), "record {lsn} is there");
        for (place, len) in places {
            change(&mut db[place..], len);
        }
        fs::write(path, db).unwrap();
    }
}

pub fn at(header: &Header) -> Option<Lsn> {
    match header.owner {
        Owner::Entry { lsn, .. } => Some(lsn),
        Owner::Side { .. } => None,
    }
}

/// Every whole chunk in the bytes: where, its header, and its part of the payload.
pub fn chunks(db: &[u8]) -> Vec<(usize, Header, Vec<u8>)> {
    let mut found = Vec::new();
    for place in memory_find(db) {
        let bytes = &db[place..db.len().min(place + CHUNK_MAX)];
        let Ok(header) = Header::parse(bytes) else { continue };
        let mut body = Vec::new();
        if header.unpack(bytes, &mut body).is_ok() {
            found.push((place, header, body));
        }
    }
    found
}

pub fn memory_find(db: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(found) = db[from..].iter().position(|byte| *byte == MAGIC[0]) {
        if db[from + found..].starts_with(&MAGIC) {
            places.push(from + found);
        }
        from += found + 1;
    }
    places
}

/// What lies in a directory and below it.
pub fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for item in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if item.file_type().unwrap().is_dir() {
            files.extend(contents(&item.path()));
        } else {
            files.insert(item.path(), fs::read(item.path()).unwrap());
        }
    }
    files
}
