//! A document store in memory: what SurrealDB does, as far as the engine sees it. What it acknowledged is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use lockstep_model::{Document, Key, LogId, Table, Value, Vectors, Version};
use lockstep_stores::{
    Claim, Claimant, Class, DocWrite, DocumentStore, EdgeEnds, Expected, Finding, Found, Image, ImageAsk, KeptVectors,
    ReadBack, Scanned, Stamp, StoreError, Undo, UndoTo, Undone, Want, Wrote,
};

use crate::faults::{Faults, Outcome};

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
    images: Arc<Mutex<Vec<SimRecord>>>,
    claimed: Option<(LogId, Version)>,
    /// It is a server of its own: a transaction that nobody waits for any more may still be on its way to it.
    pub(crate) served: bool,
    on_its_way: Option<(Vec<DocWrite>, Vec<Range<usize>>)>,
    /// Why its data are known to be older than they were.
    pub(crate) restored: Option<String>,
    /// What somebody else writes just before the next transaction.
    pub(crate) meddling: Option<(Key, SimRecord)>,
    /// Keys that no transaction gets through with, for a reason that no list knows.
    pub(crate) stuck: BTreeSet<Key>,
    /// Keys that the schema lets nobody delete.
    pub(crate) undeletable: BTreeSet<Key>,
}

pub(crate) struct SimDocuments {
    pub(crate) disk: Arc<Mutex<Disk>>,
    faults: Arc<Faults>,
    /// The log that has claimed it through this connection.
    mine: Mutex<Option<LogId>>,
}

const STORE: &str = "surreal";

impl SimDocuments {
    pub(crate) fn new(disk: Arc<Mutex<Disk>>, faults: Arc<Faults>) -> Self {
        Self { disk, faults, mine: Mutex::default() }
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut Disk) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.faults.before(STORE).await?;
        let answer = self.arrive().and_then(|mut disk| effect(&mut disk));
        self.faults.after(STORE).await?;
        answer
    }

    /// The store, when a call comes to it: what was on its way before is there by now, or never comes.
    fn arrive(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let mut disk = self.disk.lock().unwrap();
        if let Some((writes, together)) = disk.on_its_way.take()
            && self.faults.chance(50)
        {
            self.faults.tell(|| format!("surreal: a late transaction {}", shown(&writes)));
            // Nobody hears how it ended.
            let _ = disk.transaction(&writes, &together);
        }
        match (*self.mine.lock().unwrap(), disk.claimed) {
            (Some(mine), Some((owner, _))) if mine != owner => Err(fenced()),
            (Some(_) | None, _) => Ok(disk),
        }
    }

    async fn transaction(&self, writes: &[DocWrite], together: &[Range<usize>]) -> Result<Vec<ReadBack>, StoreError> {
        let outcome = self.faults.scripted(STORE);
        let unknown = |detail: &str| StoreError::new(STORE, Class::Unknown, detail);
        if let Err(error) = self.faults.before(STORE).await {
            self.send_late(&error, writes, together);
            return Err(error);
        }
        let answer = match outcome {
            Some(Outcome::NotApplied) => return Err(StoreError::new(STORE, Class::NotApplied, "conflict")),
            Some(Outcome::Silent) => {
                let error = unknown("timed out");
                self.send_late(&error, writes, together);
                return Err(error);
            }
            Some(Outcome::Lost) | None => self.arrive().and_then(|mut disk| disk.transaction(writes, together)),
        };
        self.faults.after(STORE).await?;
        if outcome.is_some() { Err(unknown("reply lost")) } else { answer }
    }

    fn send_late(&self, error: &StoreError, writes: &[DocWrite], together: &[Range<usize>]) {
        let mut disk = self.disk.lock().unwrap();
        if disk.served && error.class == Class::Unknown {
            disk.on_its_way = Some((writes.to_vec(), together.to_vec()));
        }
    }
}

fn refused(detail: &str) -> StoreError {
    StoreError::new(STORE, Class::Refused, detail)
}

/// The writes, for the trace.
fn shown(writes: &[DocWrite]) -> String {
    let shown = |write: &DocWrite| match write {
        DocWrite::Put { key, version, create, .. } => format!("{}{key}@{version}", if *create { "+" } else { "" }),
        DocWrite::Delete { key, version } => format!("-{key}@{version}"),
        DocWrite::DeleteBetween { edge, ends, version } => format!("-{edge}:{}..{}@{version}", ends.from, ends.to),
    };
    writes.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn fenced() -> StoreError {
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

    /// All or nothing.
    fn transaction(&mut self, writes: &[DocWrite], together: &[Range<usize>]) -> Result<Vec<ReadBack>, StoreError> {
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
                    ends: ends.clone(),
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

    fn delete(&mut self, key: &Key, version: Version) {
        let Some(record) = self.records.get(key) else { return };
        if record.stamp.is_some_and(|s| s.version > version) {
            return;
        }
        self.records.remove(key);
        // Edges go with their endpoints.
        self.records.retain(|_, r| r.ends.as_ref().is_none_or(|e| e.from != *key && e.to != *key));
    }

    fn between(&self, edge: &Table, ends: &EdgeEnds) -> Vec<Key> {
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

    fn image(&mut self, ask: &ImageAsk) -> Image {
        let found = self.records.get(&ask.key).cloned().map(|record| {
            let whole = ask.want == Want::Whole;
            let raw = if whole {
                let mut images = self.images.lock().unwrap();
                images.push(record.clone());
                (images.len() as u64 - 1).to_le_bytes().to_vec()
            } else {
                Vec::new()
            };
            Found {
                stamp: record.stamp,
                ends: record.ends.clone(),
                document: if whole { record.document.clone() } else { Document::default() },
                kept: record.kept.clone().filter(|_| whole),
                has_vectors: record.has_vectors,
                raw,
            }
        });
        let touches = |r: &SimRecord| r.ends.as_ref().is_some_and(|e| e.from == ask.key || e.to == ask.key);
        let edges = if ask.edges {
            self.records.iter().filter(|(_, r)| touches(r)).map(|(key, _)| key.clone()).collect()
        } else {
            Vec::new()
        };
        Image { key: ask.key.clone(), found, edges, unkeyed_edges: 0 }
    }

    /// All of them, or none.
    fn undo_all(&mut self, undos: &[Undo]) -> Undone {
        let mut next = self.clone();
        let mut all = Undone::AlreadyThere;
        // Edges that were made go before the records that they hang on, and records come back before their edges.
        let is_edge = |undo: &&Undo| self.records.get(&undo.key).is_some_and(|r| r.ends.is_some());
        let (edges, others): (Vec<_>, Vec<_>) = undos.iter().partition(is_edge);
        let comes_back = |undo: &&Undo| matches!(undo.wrote, Wrote::Removed);
        let (back, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(comes_back);
        for undo in edges.into_iter().chain(rest).chain(back) {
            match next.undo(undo) {
                Undone::AlreadyThere => {}
                Undone::Restored => all = Undone::Restored,
                blocked @ Undone::Blocked(_) => return blocked,
            }
        }
        *self = next;
        all
    }

    fn undo(&mut self, undo: &Undo) -> Undone {
        let now = self.records.get(&undo.key);
        let now_version = now.and_then(|r| r.stamp).map(|s| s.version);
        let written = match &undo.wrote {
            Wrote::Put(document) => document,
            Wrote::Removed => {
                let UndoTo::Image { raw, version } = &undo.to else { return Undone::AlreadyThere };
                return match now {
                    Some(_) if now_version == *version => Undone::AlreadyThere,
                    Some(_) => Undone::Blocked(format!("version {now_version:?}")),
                    None => {
                        self.put_back(&undo.key, raw);
                        Undone::Restored
                    }
                };
            }
        };
        let own = now_version == Some(undo.version);
        match &undo.to {
            UndoTo::Absent => match now {
                None => Undone::AlreadyThere,
                Some(record) if own && record.document == *written => {
                    if self
                        .records
                        .values()
                        .any(|r| r.ends.as_ref().is_some_and(|e| e.from == undo.key || e.to == undo.key))
                    {
                        return Undone::Blocked("edges have come".into());
                    }
                    self.records.remove(&undo.key);
                    Undone::Restored
                }
                Some(_) => Undone::Blocked(format!("version {now_version:?}")),
            },
            UndoTo::Image { raw, version } => {
                if now.is_some() && now_version == *version {
                    return Undone::AlreadyThere;
                }
                if !own || now.is_none_or(|r| r.document != *written) {
                    return Undone::Blocked(format!("version {now_version:?}"));
                }
                self.put_back(&undo.key, raw);
                Undone::Restored
            }
        }
    }

    fn put_back(&mut self, key: &Key, raw: &[u8]) {
        let at = u64::from_le_bytes(raw.try_into().unwrap());
        let image = self.images.lock().unwrap()[usize::try_from(at).unwrap()].clone();
        self.records.insert(key.clone(), image);
    }

    /// Keys of the table in the store's order.
    fn page(&self, table: &Table, after: Option<&Key>, limit: usize) -> Vec<(Key, SimRecord)> {
        let after = |key: &Key| after.is_none_or(|after| key > after);
        let of_table = self.records.iter().filter(|(key, _)| key.table == *table && after(key));
        of_table.take(limit).map(|(key, record)| (key.clone(), record.clone())).collect()
    }
}

#[async_trait]
impl DocumentStore for SimDocuments {
    async fn claim(&self, claimant: &Claimant) -> Result<Claim, StoreError> {
        if self.disk.lock().unwrap().served {
            self.call(|_| Ok(())).await?;
        }
        let mut disk = self.arrive()?;
        *self.mine.lock().unwrap() = Some(claimant.log);
        match disk.claimed {
            Some((owner, version)) if owner == claimant.log => {
                Ok(Claim { version: Some(version).filter(|version| version.0 > 0) })
            }
            Some(_) => Err(fenced()),
            None => {
                disk.claimed = Some((claimant.log, Version(0)));
                Ok(Claim::default())
            }
        }
    }

    fn losses(&self) -> u64 {
        self.faults.losses(STORE)
    }

    fn restored(&self) -> Option<String> {
        self.disk.lock().unwrap().restored.clone()
    }

    async fn checkpoint(&self, version: Version) -> Result<(), StoreError> {
        self.call(|disk| {
            if let Some((_, noted)) = &mut disk.claimed {
                *noted = version;
            }
            Ok(())
        })
        .await
    }

    async fn images(&self, asks: &[ImageAsk]) -> Result<Vec<Image>, StoreError> {
        self.call(|disk| Ok(asks.iter().map(|ask| disk.image(ask)).collect())).await
    }

    async fn edges_between(&self, edge: &Table, ends: &EdgeEnds) -> Result<Vec<Key>, StoreError> {
        self.call(|disk| Ok(disk.between(edge, ends))).await
    }

    async fn apply(&self, writes: &[DocWrite], together: &[Range<usize>]) -> Result<Vec<ReadBack>, StoreError> {
        self.faults.tell(|| format!("surreal apply {}", shown(writes)));
        self.transaction(writes, together).await
    }

    async fn undo(&self, undos: &[Undo]) -> Result<Undone, StoreError> {
        self.faults.tell(|| {
            let undos: Vec<String> = undos.iter().map(|undo| format!("{}@{}", undo.key, undo.version)).collect();
            format!("surreal undo {}", undos.join(", "))
        });
        let outcome = self.faults.scripted(STORE);
        let answer = self
            .call(|disk| match outcome {
                Some(Outcome::NotApplied) => Err(StoreError::new(STORE, Class::NotApplied, "conflict")),
                Some(Outcome::Silent) => Err(StoreError::new(STORE, Class::Unknown, "timed out")),
                Some(Outcome::Lost) | None => Ok(disk.undo_all(undos)),
            })
            .await?;
        if outcome.is_some() { Err(StoreError::new(STORE, Class::Unknown, "reply lost")) } else { Ok(answer) }
    }

    async fn scan(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Option<Stamp>)>, StoreError> {
        self.call(|disk| Ok(disk.page(table, after, limit).into_iter().map(|(key, r)| (key, r.stamp)).collect())).await
    }

    async fn scan_documents(
        &self,
        table: &Table,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Scanned>, StoreError> {
        let scanned = |(key, record): (Key, SimRecord)| Scanned { key, stamp: record.stamp, document: record.document };
        self.call(|disk| Ok(disk.page(table, after, limit).into_iter().map(scanned).collect())).await
    }

    async fn preflight(&self, _: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        Ok(Vec::new())
    }

    async fn count(&self, table: &Table) -> Result<u64, StoreError> {
        self.call(|disk| Ok(disk.records.keys().filter(|k| k.table == *table).count() as u64)).await
    }

    async fn query(
        &self,
        _: &str,
        _: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Vec<serde_json::Value>, StoreError> {
        Err(refused("the simulation does not query"))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call(|_| Ok(())).await
    }
}

/// The vectors of a kept row, or none.
pub(crate) fn kept_vectors(record: &SimRecord) -> Vectors {
    record.kept.as_ref().map(|k| k.vectors.clone()).unwrap_or_default()
}
