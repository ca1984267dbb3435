//! The vector store as the engine calls it: each call can be delayed, fail, or lose its reply, and a served store may carry it
//! out later, and once more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lockstep_model::PointId;
use lockstep_stores::{
    Class, Collection, Durability, Expected, Finding, Hit, Point, PointStamp, PointWrite, SearchAsk, StoreError,
    VectorStore,
};

use crate::faults::{Faults, Outcome};
use crate::vectors::{Disk, Late, STORE, apply, no_collection};

pub(crate) struct SimVectors {
    pub(crate) disk: Arc<Mutex<Disk>>,
    faults: Arc<Faults>,
}

impl SimVectors {
    pub(crate) fn new(disk: Arc<Mutex<Disk>>, faults: Arc<Faults>) -> Self {
        Self { disk, faults }
    }

    /// A request whose outcome nobody knows comes later, in so many of 100 cases.
    fn maybe_late(&self, percent: u64, late: impl FnOnce() -> Late) {
        let mut disk = self.disk.lock().unwrap();
        if disk.served && self.faults.chance(percent) {
            let within = u64::try_from(disk.late_within.as_micros()).unwrap();
            let after = disk.late_at_least + Duration::from_micros(self.faults.below(within));
            let late = late();
            self.faults.tell(|| format!("qdrant: will come {after:?} late: {late:?}"));
            disk.send_late(after, late);
        }
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut Disk) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let answer = match self.faults.before(STORE).await {
            Err(error) => Err(error),
            Ok(()) => {
                let answer = effect(&mut self.disk.lock().unwrap());
                self.faults.after(STORE).await.and(answer)
            }
        };
        self.faults.saw(answer)
    }

    /// Writes points: a script may say what becomes of it; and what fails unknown may have been carried out in part, or be carried
    /// out late.
    async fn write(&self, collection: &str, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        let unknown = |detail: &str| StoreError::new(STORE, Class::Unknown, detail);
        let outcome = self.faults.scripted(STORE);
        // How likely it is that a request comes late, or comes twice.
        let (answer, percent) = match (self.faults.before(STORE).await, outcome) {
            (Err(error), _) => {
                if error.class == Class::Unknown && writes.len() > 1 && self.faults.chance(20) {
                    let count = 1 + self.faults.below(writes.len() as u64 - 1);
                    let part = &writes[..usize::try_from(count).unwrap()];
                    self.faults.tell(|| format!("qdrant: the first {count} are applied"));
                    self.faults.reach("a batch of points applied in part");
                    let _ = apply(&mut self.disk.lock().unwrap(), collection, part);
                }
                (Err(error), 50)
            }
            (Ok(()), Some(Outcome::NotApplied)) => (Err(StoreError::new(STORE, Class::NotApplied, "busy")), 0),
            (Ok(()), Some(Outcome::Silent)) => (Err(unknown("timed out")), 100),
            (Ok(()), Some(Outcome::Lost) | None) => {
                let answer = apply(&mut self.disk.lock().unwrap(), collection, writes);
                match (self.faults.after(STORE).await, outcome) {
                    (Err(error), _) => (Err(error), 30),
                    (Ok(()), Some(_)) => (Err(unknown("reply lost")), 100),
                    (Ok(()), None) => (answer, 0),
                }
            }
        };
        if answer.as_ref().is_err_and(|error| error.class == Class::Unknown) {
            self.maybe_late(percent, || Late::Apply(collection.to_owned(), writes.to_vec()));
        }
        self.faults.saw(answer)
    }
}

#[async_trait]
impl VectorStore for SimVectors {
    fn durability(&self) -> Durability {
        if self.disk.lock().unwrap().served { Durability::Acknowledged } else { Durability::AfterFlush }
    }

    fn losses(&self) -> u64 {
        self.faults.losses(STORE)
    }

    async fn collections(&self) -> Result<BTreeMap<String, Collection>, StoreError> {
        // Where the store is embedded this is asked at the start alone, before anything can go wrong on the way.
        if !self.disk.lock().unwrap().served {
            return Ok(self.disk.lock().unwrap().collections.clone());
        }
        self.call(|disk| Ok(disk.collections.clone())).await
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        // What a script says is about points.
        let answer = self.call(|disk| disk.create(collection)).await;
        if answer.as_ref().is_err_and(|error| error.class == Class::Unknown) {
            self.maybe_late(50, || Late::Create(collection.clone()));
        }
        answer
    }

    async fn apply(&self, collection: &str, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        self.faults.tell(|| {
            let shown = |write: &PointWrite| match write {
                PointWrite::Upsert { key, version, .. } => format!("{key}@{version}"),
                PointWrite::Delete { id, version } => format!("-{id:?}@{version}"),
                PointWrite::Restore { id, wrote, .. } => format!("back {id:?} from {wrote}"),
            };
            format!("qdrant apply {collection}: {}", writes.iter().map(shown).collect::<Vec<_>>().join(", "))
        });
        self.write(collection, writes).await
    }

    async fn stamps(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<PointStamp>>, StoreError> {
        let points = self.points(collection, ids).await?;
        Ok(points.into_iter().map(|p| p.map(|p| p.stamp)).collect())
    }

    async fn points(&self, collection: &str, ids: &[PointId]) -> Result<Vec<Option<Point>>, StoreError> {
        self.call(|disk| {
            if !disk.collections.contains_key(collection) {
                return Err(no_collection(collection));
            }
            Ok(ids.iter().map(|id| disk.points.get(&(collection.to_owned(), *id)).cloned()).collect())
        })
        .await
    }

    /// To the simulation all points are as near.
    async fn search(&self, collection: &str, ask: &SearchAsk) -> Result<Vec<Hit>, StoreError> {
        self.call(|disk| {
            let points = disk.points.iter().filter(|((table, _), _)| table == collection);
            let hits = points.map(|(_, point)| Hit { stamp: point.stamp.clone(), score: 1.0 });
            Ok(hits.skip(ask.offset).take(ask.limit).collect())
        })
        .await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.call(|disk| {
            if disk.failing_flush {
                return Err(StoreError::new(STORE, Class::Unknown, "no space left on device"));
            }
            if !disk.lying_flush {
                disk.flushed = disk.points.clone();
                disk.since.clear();
                self.faults.tell(|| "qdrant flushed".to_owned());
            }
            Ok(())
        })
        .await
    }

    async fn optimize(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn scan(
        &self,
        collection: &str,
        after: Option<PointId>,
        limit: usize,
    ) -> Result<Vec<(PointId, PointStamp)>, StoreError> {
        self.call(|disk| {
            if !disk.collections.contains_key(collection) {
                return Err(no_collection(collection));
            }
            let after = |id: &PointId| after.is_none_or(|after| *id > after);
            let here = disk.points.iter().filter(|((c, id), _)| c == collection && after(id));
            Ok(here.take(limit).map(|((_, id), point)| (*id, point.stamp.clone())).collect())
        })
        .await
    }

    async fn preflight(&self, _: &[Expected]) -> Result<Vec<Finding>, StoreError> {
        Ok(Vec::new())
    }

    async fn count(&self, collection: &str) -> Result<u64, StoreError> {
        self.call(|disk| Ok(disk.points.keys().filter(|(c, _)| c == collection).count() as u64)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.call(|_| Ok(())).await
    }
}
