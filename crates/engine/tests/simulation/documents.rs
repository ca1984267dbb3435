//! A document store in memory: what SurrealDB does, as far as the engine sees it. What it acknowledged is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lockstep_model::{Document, Key, LogId, Table, Value, Vectors, Version};
use lockstep_stores::{
    Class, DocWrite, DocumentStore, EdgeEnds, Found, Image, ImageAsk, KeptVectors, ReadBack, Stamp, StoreError, Undo,
    UndoTo, Undone, Want,
};

use crate::faults::Faults;

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
    images: Vec<SimRecord>,
    claimed: Option<(LogId, Version)>,
    /// Keys that no transaction gets through with, for a reason that no list knows.
    pub(crate) stuck: BTreeSet<Key>,
    /// Keys that the schema lets nobody delete.
    pub(crate) undeletable: BTreeSet<Key>,
}

pub(crate) struct SimDocuments {
    pub(crate) disk: Arc<Mutex<Disk>>,
    faults: Arc<Faults>,
}

const STORE: &str = "surreal";

impl SimDocuments {
    pub(crate) fn new(disk: Arc<Mutex<Disk>>, faults: Arc<Faults>) -> Self {
        Self { disk, faults }
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut Disk) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.faults.before(STORE).await?;
        let answer = effect(&mut self.disk.lock().unwrap());
        self.faults.after(STORE).await?;
        answer
    }
}

fn refused(detail: &str) -> StoreError {
    StoreError::new(STORE, Class::Refused, detail)
}

/// A document that SurrealDB refuses for good.
fn is_poison(document: &Document) -> bool {
    document.0.get("poison") == Some(&Value::Text("surreal".into()))
}

impl Disk {
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
                self.images.push(record.clone());
                (self.images.len() as u64 - 1).to_le_bytes().to_vec()
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
        Image { key: ask.key.clone(), found, edges }
    }

    fn undo(&mut self, undo: &Undo) -> Undone {
        let now = self.records.get(&undo.key);
        let now_version = now.and_then(|r| r.stamp).map(|s| s.version);
        let own = now_version == Some(undo.version);
        match &undo.to {
            UndoTo::Absent => match now {
                None => Undone::AlreadyThere,
                Some(record) if own && record.document == undo.document => {
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
                if !own || now.is_none_or(|r| r.document != undo.document) {
                    return Undone::Blocked(format!("version {now_version:?}"));
                }
                let at = u64::from_le_bytes(raw.as_slice().try_into().unwrap());
                let image = self.images[usize::try_from(at).unwrap()].clone();
                self.records.insert(undo.key.clone(), image);
                Undone::Restored
            }
        }
    }
}

#[async_trait]
impl DocumentStore for SimDocuments {
    async fn claim(&self, log: LogId) -> Result<Option<Version>, StoreError> {
        let mut disk = self.disk.lock().unwrap();
        match disk.claimed {
            Some((owner, version)) if owner == log => Ok(Some(version)),
            Some(_) => Err(StoreError::new(STORE, Class::Configuration(lockstep_stores::Scope::Store), "another log")),
            None => {
                disk.claimed = Some((log, Version(0)));
                Ok(None)
            }
        }
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

    async fn apply(&self, writes: &[DocWrite]) -> Result<Vec<ReadBack>, StoreError> {
        self.faults.tell(|| format!("surreal apply {}", writes.len()));
        self.call(|disk| {
            // A transaction: all or nothing.
            let mut next = disk.clone();
            for write in writes {
                next.write(write)?;
            }
            *disk = next;
            Ok(writes.iter().map(|write| disk.read_back(write)).collect())
        })
        .await
    }

    async fn undo(&self, undo: &Undo) -> Result<Undone, StoreError> {
        self.faults.tell(|| format!("surreal undo {}", undo.key));
        self.call(|disk| Ok(disk.undo(undo))).await
    }

    async fn scan(&self, _: &Table, _: Option<&Key>, _: usize) -> Result<Vec<(Key, Option<Stamp>)>, StoreError> {
        Err(refused("the simulation does not scan"))
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
