//! The document store as the engine calls it: each call can be delayed, fail, or lose its reply, and what nobody waits for any
//! more may still be carried out.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use lockstep_model::{Key, LogId, Table, Version};
use lockstep_stores::{
    Claim, Claimant, Class, DocWrite, DocumentStore, EdgeEnds, Expected, Finding, Image, ImageAsk, ReadBack, Scanned,
    Stamp, StoreError, Undo, Undone,
};

use crate::documents::{Disk, Late, STORE, SimRecord, fenced, refused, shown};
use crate::faults::{Faults, Outcome};

pub(crate) struct SimDocuments {
    pub(crate) disk: Arc<Mutex<Disk>>,
    faults: Arc<Faults>,
    /// The log that has claimed it through this connection.
    mine: Mutex<Option<LogId>>,
    /// A transaction is on its way.
    writing: AtomicBool,
}

fn unknown(detail: &str) -> StoreError {
    StoreError::new(STORE, Class::Unknown, detail)
}

impl SimDocuments {
    pub(crate) fn new(disk: Arc<Mutex<Disk>>, faults: Arc<Faults>) -> Self {
        Self { disk, faults, mine: Mutex::default(), writing: AtomicBool::new(false) }
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut Disk) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let answer = match self.faults.before(STORE).await {
            Err(error) => Err(error),
            Ok(()) => {
                let answer = self.arrive().and_then(|mut disk| effect(&mut disk));
                self.faults.after(STORE).await.and(answer)
            }
        };
        self.faults.saw(answer)
    }

    /// The store, when a call comes to it: what was on its way before is there by now, or never comes.
    fn arrive(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let mut disk = self.disk.lock().unwrap();
        if let Some(late) = disk.on_its_way.take()
            && self.faults.chance(50)
        {
            let what = disk.carry_out(&late);
            self.faults.reach(format!("a late {what} in surreal"));
            self.faults.tell(|| format!("surreal: late: {late:?}"));
        }
        match (*self.mine.lock().unwrap(), disk.claimed) {
            (Some(mine), Some((owner, _))) if mine != owner => Err(fenced()),
            (Some(_) | None, _) => Ok(disk),
        }
    }

    /// A call that writes: a script may say what becomes of it, and what fails unknown may be carried out late.
    async fn write<T>(
        &self,
        late: impl FnOnce() -> Late,
        effect: impl FnOnce(&mut Disk) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let outcome = self.faults.scripted(STORE);
        let answer = match (self.faults.before(STORE).await, outcome) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(Outcome::NotApplied)) => Err(StoreError::new(STORE, Class::NotApplied, "conflict")),
            (Ok(()), Some(Outcome::Silent)) => Err(unknown("timed out")),
            (Ok(()), Some(Outcome::Lost) | None) => {
                let answer = self.arrive().and_then(|mut disk| effect(&mut disk));
                let heard = self.faults.after(STORE).await;
                let lost = outcome.is_some().then(|| unknown("reply lost"));
                return self.faults.saw(heard.and(lost.map_or(answer, Err)));
            }
        };
        let mut disk = self.disk.lock().unwrap();
        if disk.served && answer.as_ref().is_err_and(|error| error.class == Class::Unknown) {
            disk.on_its_way = Some(late());
        }
        drop(disk);
        self.faults.saw(answer)
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
        self.write(
            || Late::Checkpoint(version),
            |disk| {
                disk.note(version);
                Ok(())
            },
        )
        .await
    }

    async fn images(&self, asks: &[ImageAsk]) -> Result<Vec<Image>, StoreError> {
        // The second worker asks for edges alone.
        if self.writing.load(Ordering::Relaxed) && asks.iter().any(|ask| matches!(ask.key.table.as_str(), "a" | "b")) {
            self.faults.reach("a batch prepared while another was written");
        }
        self.call(|disk| match asks.iter().find_map(|ask| disk.unreadable.get(&ask.key)) {
            Some(class) => Err(StoreError::new(STORE, *class, "no answer")),
            None => Ok(asks.iter().map(|ask| disk.image(ask)).collect()),
        })
        .await
    }

    async fn edges_between(&self, edge: &Table, ends: &EdgeEnds) -> Result<Vec<Key>, StoreError> {
        self.call(|disk| Ok(disk.between(edge, ends))).await
    }

    async fn apply(&self, writes: &[DocWrite], together: &[Range<usize>]) -> Result<Vec<ReadBack>, StoreError> {
        self.faults.tell(|| format!("surreal apply {}", shown(writes)));
        let late = || Late::Transaction(writes.to_vec(), together.to_vec());
        self.writing.store(true, Ordering::Relaxed);
        let answer = self
            .write(late, |disk| {
                let shown = disk.transaction(writes, together)?;
                match writes.iter().filter_map(DocWrite::key).find(|key| disk.mute.contains(*key)) {
                    Some(_) => Err(unknown("no answer")),
                    None => Ok(shown),
                }
            })
            .await;
        self.writing.store(false, Ordering::Relaxed);
        answer
    }

    async fn undo(&self, undos: &[Undo]) -> Result<Undone, StoreError> {
        self.faults.tell(|| {
            let undos: Vec<String> = undos.iter().map(|undo| format!("{}@{}", undo.key, undo.version)).collect();
            format!("surreal undo {}", undos.join(", "))
        });
        self.write(|| Late::Undo(undos.to_vec()), |disk| Ok(disk.undo_all(undos))).await
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
