//! Records in memory: what SurrealDB does, as far as the engine sees it. What it acknowledged is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use lockstep_model::{Document, Key, LogId, Table, Value, Vectors, Version};
use lockstep_stores::{Class, DocWrite, EdgeEnds, KeptVectors, ReadBack, Scope, Stamp, StoreError, Undo};

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SimRecord {
    pub(crate) stamp: Option<Stamp>,
    pub(crate) document: Document,
    pub(crate) kept: Option<KeptVectors>,
    pub(crate) has_vectors: bool,
    pub(crate) ends: Option<EdgeEnds>,
}

/// What survives a kill.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) records: BTreeMap<Key, SimRecord>,
    /// Records as they were imaged, by the number that their raw form carries.
    pub(crate) images: Arc<Mutex<Vec<SimRecord>>>,
    pub(crate) claimed: Option<(LogId, Version)>,
    /// It is a server of its own: a transaction that nobody waits for any more may still be on its way to it.
    pub(crate) served: bool,
    pub(crate) on_its_way: Option<Late>,
    /// Why its data are known to be older than they were.
    pub(crate) restored: Option<String>,
    /// What somebody else writes just before the next transaction.
    pub(crate) meddling: Option<(Key, SimRecord)>,
    /// Keys that no transaction gets through with, for a reason that no list knows.
    pub(crate) stuck: BTreeSet<Key>,
    /// Keys that no call gets to read, for a reason that no list knows: how it fails.
    pub(crate) unreadable: BTreeMap<Key, Class>,
    /// Keys whose writes are carried out, and never answered.
    pub(crate) mute: BTreeSet<Key>,
    /// Keys that the schema lets nobody delete.
    pub(crate) undeletable: BTreeSet<Key>,
    /// Tables that are not defined as Lockstep needs them.
    pub(crate) unready: BTreeSet<Table>,
}

/// A request that nobody waits for any more.
#[derive(Debug, Clone)]
pub(crate) enum Late {
    Transaction(Vec<DocWrite>, Vec<Range<usize>>),
    Undo(Vec<Undo>),
    Checkpoint(Version),
}

pub(crate) const STORE: &str = "surreal";

pub(crate) fn refused(detail: &str) -> StoreError {
    StoreError::new(STORE, Class::Refused, detail)
}

/// The writes, for the trace.
pub(crate) fn shown(writes: &[DocWrite]) -> String {
    let shown = |write: &DocWrite| match write {
        DocWrite::Put { key, version, create, .. } => format!("{}{key}@{version}", if *create { "+" } else { "" }),
        DocWrite::Delete { key, version } => format!("-{key}@{version}"),
        DocWrite::DeleteBetween { edge, ends, version } => format!("-{edge}:{}..{}@{version}", ends.from, ends.to),
    };
    writes.iter().map(shown).collect::<Vec<_>>().join(", ")
}

pub(crate) fn fenced() -> StoreError {
    StoreError::new(STORE, Class::Fenced, "another log")
}

/// A document that SurrealDB refuses for good.
fn is_poison(document: &Document) -> bool {
    document.0.get("poison") == Some(&Value::Text("surreal".into()))
}

impl Disk {
    /// As it was: what came since is gone.
    pub(crate) fn restore(&mut self, backup: &Self) {
        self.records = backup.records.clone();
        if let (Some((_, version)), Some((_, then))) = (&mut self.claimed, &backup.claimed) {
            *version = *then;
        }
    }

    /// Another log takes the store over.
    pub(crate) fn take_over(&mut self, log: LogId) {
        self.claimed = Some((log, Version(0)));
    }

    /// The log that had it before somebody else took it over has it again.
    pub(crate) fn give_back(&mut self, log: LogId) {
        if let Some((owner, _)) = &mut self.claimed {
            *owner = log;
        }
    }

    /// A checkpoint notes how far it came.
    pub(crate) fn note(&mut self, version: Version) {
        if let Some((_, noted)) = &mut self.claimed {
            *noted = version;
        }
    }

    /// A late request comes, and nobody hears how it ended. Tells what it was.
    pub(crate) fn carry_out(&mut self, late: &Late) -> &'static str {
        match late {
            Late::Transaction(writes, together) => {
                let _ = self.transaction(writes, together);
                "transaction"
            }
            Late::Undo(undos) => {
                let _ = self.undo_all(undos);
                "undo"
            }
            Late::Checkpoint(version) => {
                self.note(*version);
                "checkpoint"
            }
        }
    }

    /// All or nothing.
    pub(crate) fn transaction(
        &mut self,
        writes: &[DocWrite],
        together: &[Range<usize>],
    ) -> Result<Vec<ReadBack>, StoreError> {
        self.records.extend(self.meddling.take());
        let mut next = self.clone();
        for write in writes {
            next.write(write)?;
        }
        for write in together.iter().flat_map(|group| &writes[group.clone()]) {
            let shown = match (write, next.read_back(write)) {
                (DocWrite::Put { op, .. }, ReadBack::There(stamp)) => stamp.op == *op,
                (DocWrite::Put { .. }, _) => false,
                (_, shown) => shown == ReadBack::Absent,
            };
            if !shown {
                return Err(refused("a member of a group met something newer"));
            }
        }
        *self = next;
        Ok(writes.iter().map(|write| self.read_back(write)).collect())
    }

    fn write(&mut self, write: &DocWrite) -> Result<(), StoreError> {
        if self.unready.contains(write.table()) {
            let detail = format!("table {} is not defined for Lockstep", write.table());
            return Err(StoreError::new(STORE, Class::Configuration(Scope::Table), detail));
        }
        match write {
            DocWrite::Put { key, .. } if self.stuck.contains(key) => {
                return Err(StoreError::new(STORE, Class::NotApplied, "stuck"));
            }
            DocWrite::Put { key, version, op, document, kept, vectors, ends, create } => {
                if is_poison(document) {
                    return Err(refused("poison"));
                }
                let old = self.records.get(key);
                if *create && old.is_some() {
                    return Err(StoreError::new(STORE, Class::Exists, format!("{key} exists")));
                }
                if old.and_then(|r| r.stamp).is_some_and(|s| s.version >= *version) {
                    return Ok(());
                }
                let kept = match kept {
                    None => old.and_then(|r| r.kept.clone()),
                    Some(v) if v.0.is_empty() => None,
                    Some(v) => Some(KeptVectors { version: *version, vectors: v.clone() }),
                };
                let record = SimRecord {
                    stamp: Some(Stamp { version: *version, op: *op, created: *create }),
                    document: document.clone(),
                    kept,
                    has_vectors: vectors.is_some(),
                    // `in` and `out` stay, whatever is written.
                    ends: ends.clone().or_else(|| old.and_then(|r| r.ends.clone())),
                };
                self.records.insert(key.clone(), record);
            }
            DocWrite::Delete { key, .. } if self.undeletable.contains(key) => return Err(refused("ON DELETE REJECT")),
            DocWrite::Delete { key, version } => self.delete(key, *version),
            DocWrite::DeleteBetween { edge, ends, version } => {
                for key in self.between(edge, ends) {
                    self.delete(&key, *version);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: &Key, version: Version) {
        let Some(record) = self.records.get(key) else { return };
        if record.stamp.is_some_and(|s| s.version > version) {
            return;
        }
        self.records.remove(key);
        // Edges go with their endpoints, and so do the edges at these.
        let mut gone = vec![key.clone()];
        while let Some(key) = gone.pop() {
            let touches = |r: &SimRecord| r.ends.as_ref().is_some_and(|e| e.from == key || e.to == key);
            gone.extend(self.records.iter().filter(|(_, r)| touches(r)).map(|(key, _)| key.clone()));
            self.records.retain(|_, r| !touches(r));
        }
    }

    pub(crate) fn between(&self, edge: &Table, ends: &EdgeEnds) -> Vec<Key> {
        let fits = |(key, record): &(&Key, &SimRecord)| key.table == *edge && record.ends.as_ref() == Some(ends);
        self.records.iter().filter(fits).map(|(key, _)| key.clone()).collect()
    }

    fn read_back(&self, write: &DocWrite) -> ReadBack {
        let key = match write {
            DocWrite::Put { key, .. } | DocWrite::Delete { key, .. } => key.clone(),
            DocWrite::DeleteBetween { edge, ends, .. } => match self.between(edge, ends).first() {
                Some(key) => key.clone(),
                None => return ReadBack::Absent,
            },
        };
        match self.records.get(&key) {
            None => ReadBack::Absent,
            Some(SimRecord { stamp: Some(stamp), .. }) => ReadBack::There(*stamp),
            Some(_) => ReadBack::Unstamped,
        }
    }

    /// Keys of the table in the store's order.
    pub(crate) fn page(&self, table: &Table, after: Option<&Key>, limit: usize) -> Vec<(Key, SimRecord)> {
        let after = |key: &Key| after.is_none_or(|after| key > after);
        let of_table = self.records.iter().filter(|(key, _)| key.table == *table && after(key));
        of_table.take(limit).map(|(key, record)| (key.clone(), record.clone())).collect()
    }
}

/// The vectors of a kept row, or none.
pub(crate) fn kept_vectors(record: &SimRecord) -> Vectors {
    record.kept.as_ref().map(|k| k.vectors.clone()).unwrap_or_default()
}
