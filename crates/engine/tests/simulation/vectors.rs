//! A vector store in memory: embedded, when it holds nothing durably before it is flushed, as Qdrant Edge does; or served, when
//! it holds what it acknowledged, and carries out late what nobody waits for any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lockstep_model::{Key, PointId, Vector, Vectors};
use lockstep_stores::{
    Class, Collection, Durability, Expected, Finding, Hit, Point, PointStamp, PointWrite, Scope, SearchAsk, StoreError,
    VectorStore,
};

use crate::faults::{Faults, Outcome};

type Points = BTreeMap<(String, PointId), Point>;

/// What survives a kill: the flushed points, and how many of the writes since, only chance knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) points: Points,
    flushed: Points,
    collections: BTreeMap<String, Collection>,
    /// The points after each write since the last flush.
    since: Vec<Points>,
    /// It is a server of its own.
    pub(crate) served: bool,
    /// Requests that are still on their way to it, and for how much longer.
    on_their_way: Vec<(Duration, String, Vec<PointWrite>)>,
    /// A request whose outcome is unknown may be carried out so much later.
    pub(crate) late_within: Duration,
    /// And no sooner than this.
    pub(crate) late_at_least: Duration,
    /// Records whose points no call gets through with, for a reason that no list knows.
    pub(crate) stuck: BTreeSet<Key>,
    /// A flush that says it did, and did not: what a checkpoint that lies would be.
    pub(crate) lying_flush: bool,
    /// Flushes fail.
    pub(crate) failing_flush: bool,
}

impl Disk {
    /// A kill: a prefix of what was not flushed may have reached the disk.
    pub(crate) fn kill(&mut self, kept: usize) {
        if self.served {
            return;
        }
        self.points = match kept.min(self.since.len()) {
            0 => self.flushed.clone(),
            n => self.since[n - 1].clone(),
        };
        self.flushed = self.points.clone();
        self.since.clear();
    }

    /// As it was: what came since is gone.
    pub(crate) fn restore(&mut self, backup: &Self) {
        self.points = backup.points.clone();
    }

    /// The collection is dropped, with all that was in it.
    pub(crate) fn lose_collection(&mut self, name: &str) -> Option<Collection> {
        self.points.retain(|(collection, _), _| collection != name);
        self.collections.remove(name)
    }

    /// Somebody makes the collection.
    pub(crate) fn make_collection(&mut self, collection: Collection) {
        self.collections.insert(collection.name.clone(), collection);
    }

    /// Sends a request on its way that nobody waits for.
    pub(crate) fn send_late(&mut self, after: Duration, collection: &str, writes: &[PointWrite]) {
        self.on_their_way.push((after, collection.to_owned(), writes.to_vec()));
    }

    /// Requests that have not come yet.
    pub(crate) fn on_their_way(&self) -> usize {
        self.on_their_way.len()
    }

    /// Time passes: requests that were on their way come.
    pub(crate) fn pass(&mut self, time: Duration, told: impl Fn(&str)) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.on_their_way).into_iter().partition(|(left, ..)| *left <= time);
        self.on_their_way = later.into_iter().map(|(left, to, writes)| (left - time, to, writes)).collect();
        for (_, collection, writes) in due {
            told(&collection);
            // Nobody hears how it ended.
            let _ = apply(self, &collection, &writes);
        }
    }

    pub(crate) fn unflushed(&self) -> usize {
        self.since.len()
    }
}

pub(crate) struct SimVectors {
    pub(crate) disk: Arc<Mutex<Disk>>,
    faults: Arc<Faults>,
}

const STORE: &str = "qdrant";

/// A vector beginning with this is refused for good.
pub(crate) const POISON: f32 = 666.0;

impl SimVectors {
    pub(crate) fn new(disk: Arc<Mutex<Disk>>, faults: Arc<Faults>) -> Self {
        Self { disk, faults }
    }

    /// A request whose outcome nobody knows comes later, in so many of 100 cases.
    fn maybe_late(&self, percent: u64, collection: &str, writes: &[PointWrite]) {
        let mut disk = self.disk.lock().unwrap();
        if disk.served && self.faults.chance(percent) {
            let within = u64::try_from(disk.late_within.as_micros()).unwrap();
            let after = disk.late_at_least + Duration::from_micros(self.faults.below(within));
            self.faults.tell(|| format!("qdrant: a request to {collection} will come {after:?} late"));
            disk.send_late(after, collection, writes);
        }
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut Disk) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.faults.before(STORE).await?;
        let answer = effect(&mut self.disk.lock().unwrap());
        self.faults.after(STORE).await?;
        answer
    }
}

fn no_collection(collection: &str) -> StoreError {
    StoreError::new(STORE, Class::Configuration(Scope::Table), format!("no collection {collection}"))
}

fn is_poison(vectors: &Vectors) -> bool {
    vectors.0.values().any(|v| matches!(v, Vector::Dense(d) if d.first() == Some(&POISON)))
}

fn apply(disk: &mut Disk, collection: &str, writes: &[PointWrite]) -> Result<Vec<Option<PointStamp>>, StoreError> {
    if writes.iter().any(|w| matches!(w, PointWrite::Upsert { key, .. } if disk.stuck.contains(key))) {
        return Err(StoreError::new(STORE, Class::NotApplied, "stuck"));
    }
    let known = disk.collections.contains_key(collection);
    if writes.iter().any(|w| matches!(w, PointWrite::Upsert { vectors, .. } if is_poison(vectors))) {
        return Err(StoreError::new(STORE, Class::Refused, "poison"));
    }
    if !known && writes.iter().any(|w| matches!(w, PointWrite::Upsert { .. })) {
        return Err(no_collection(collection));
    }
    for write in writes {
        let place = (collection.to_owned(), write.id());
        let has = disk.points.get(&place).and_then(|p| p.stamp.version);
        match write {
            PointWrite::Upsert { key, version, op, vectors, payload, .. } if has.is_none_or(|has| has <= *version) => {
                let stamp = PointStamp { version: Some(*version), op: Some(*op), key: Some(key.clone()) };
                disk.points.insert(place, Point { stamp, vectors: vectors.clone(), payload: payload.clone() });
            }
            PointWrite::Delete { version, .. } if has.is_none_or(|has| has <= *version) => {
                disk.points.remove(&place);
            }
            PointWrite::Restore { wrote, to, .. } => {
                let there = disk.points.contains_key(&place);
                match to {
                    Some(point) if !there || has == Some(*wrote) => {
                        disk.points.insert(place, point.as_ref().clone());
                    }
                    None if has == Some(*wrote) => {
                        disk.points.remove(&place);
                    }
                    Some(_) | None => {}
                }
            }
            PointWrite::Upsert { .. } | PointWrite::Delete { .. } => {}
        }
    }
    if !disk.served {
        let now = disk.points.clone();
        disk.since.push(now);
    }
    let stamp = |w: &PointWrite| disk.points.get(&(collection.to_owned(), w.id())).map(|p| p.stamp.clone());
    Ok(writes.iter().map(stamp).collect())
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
        Ok(self.disk.lock().unwrap().collections.clone())
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        self.call(|disk| {
            disk.collections.entry(collection.name.clone()).or_insert_with(|| collection.clone());
            Ok(())
        })
        .await
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
        let outcome = self.faults.scripted(STORE);
        let unknown = |detail: &str| StoreError::new(STORE, Class::Unknown, detail);
        if let Err(error) = self.faults.before(STORE).await {
            if error.class == Class::Unknown {
                self.maybe_late(50, collection, writes);
            }
            return Err(error);
        }
        let answer = match outcome {
            Some(Outcome::NotApplied) => return Err(StoreError::new(STORE, Class::NotApplied, "busy")),
            Some(Outcome::Silent) => {
                self.maybe_late(100, collection, writes);
                return Err(unknown("timed out"));
            }
            Some(Outcome::Lost) | None => apply(&mut self.disk.lock().unwrap(), collection, writes),
        };
        if let Err(error) = self.faults.after(STORE).await {
            self.maybe_late(30, collection, writes);
            return Err(error);
        }
        if outcome.is_none() {
            return answer;
        }
        self.maybe_late(100, collection, writes);
        Err(unknown("reply lost"))
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

    async fn search(&self, _: &str, _: &SearchAsk) -> Result<Vec<Hit>, StoreError> {
        Err(StoreError::new(STORE, Class::Refused, "the simulation does not search"))
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.call(|disk| {
            if disk.failing_flush {
                return Err(StoreError::new(STORE, Class::Unknown, "no space left on device"));
            }
            if !disk.lying_flush {
                disk.flushed = disk.points.clone();
                disk.since.clear();
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
