//! A vector store in memory: embedded, when it holds nothing durably before it is flushed, as Qdrant Edge does; or served, when
//! it holds what it acknowledged, and carries out late what nobody waits for any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_model::{Key, PointId, Vector, Vectors};
use lockstep_stores::{Class, Collection, Point, PointStamp, PointWrite, Scope, StoreError};

type Points = BTreeMap<(String, PointId), Point>;

/// What survives a kill: the flushed points, and how many of the writes since, only chance knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) points: Points,
    pub(crate) flushed: Points,
    pub(crate) collections: BTreeMap<String, Collection>,
    /// The points after each write since the last flush.
    pub(crate) since: Vec<Points>,
    /// It is a server of its own.
    pub(crate) served: bool,
    /// Requests that are still on their way to it, and for how much longer.
    on_their_way: Vec<(Duration, Late)>,
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
    /// Collections that somebody has taken away, and that nobody may make.
    pub(crate) unready: BTreeSet<String>,
}

/// A request that nobody waits for any more.
#[derive(Debug, Clone)]
pub(crate) enum Late {
    Apply(String, Vec<PointWrite>),
    Create(Collection),
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

    /// The point of a record, for somebody else to write.
    pub(crate) fn point_of(&mut self, key: &Key) -> Option<&mut Point> {
        self.points.get_mut(&(key.table.to_string(), key.point_id()))
    }

    /// Somebody else removes the point of a record. Tells whether it was there.
    pub(crate) fn take_point(&mut self, key: &Key) -> bool {
        self.points.remove(&(key.table.to_string(), key.point_id())).is_some()
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
    pub(crate) fn send_late(&mut self, after: Duration, late: Late) {
        self.on_their_way.push((after, late));
    }

    /// Requests that have not come yet.
    pub(crate) fn on_their_way(&self) -> usize {
        self.on_their_way.len()
    }

    /// Time passes: requests that were on their way come. `told` hears what they were.
    pub(crate) fn pass(&mut self, time: Duration, told: impl Fn(&'static str, &Late)) {
        if self.on_their_way.is_empty() {
            return;
        }
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.on_their_way).into_iter().partition(|(left, _)| *left <= time);
        self.on_their_way = later.into_iter().map(|(left, late)| (left - time, late)).collect();
        for (_, late) in due {
            // Nobody hears how it ended.
            match &late {
                Late::Apply(collection, writes) => {
                    let _ = apply(self, collection, writes);
                    for write in writes {
                        match write {
                            PointWrite::Upsert { .. } => told("upsert", &late),
                            PointWrite::Delete { .. } => told("delete", &late),
                            PointWrite::Restore { .. } => told("restore", &late),
                        }
                    }
                }
                Late::Create(collection) => {
                    let _ = self.create(collection);
                    told("collection", &late);
                }
            }
        }
    }

    pub(crate) fn create(&mut self, collection: &Collection) -> Result<(), StoreError> {
        if self.unready.contains(&collection.name) {
            return Err(no_collection(&collection.name));
        }
        self.collections.entry(collection.name.clone()).or_insert_with(|| collection.clone());
        Ok(())
    }

    pub(crate) fn unflushed(&self) -> usize {
        self.since.len()
    }
}

pub(crate) const STORE: &str = "qdrant";

/// A vector beginning with this is refused for good.
pub(crate) const POISON: f32 = 666.0;

pub(crate) fn no_collection(collection: &str) -> StoreError {
    StoreError::new(STORE, Class::Configuration(Scope::Table), format!("no collection {collection}"))
}

fn is_poison(vectors: &Vectors) -> bool {
    vectors.0.values().any(|v| matches!(v, Vector::Dense(d) if d.first() == Some(&POISON)))
}

pub(crate) fn apply(
    disk: &mut Disk,
    collection: &str,
    writes: &[PointWrite],
) -> Result<Vec<Option<PointStamp>>, StoreError> {
    if writes.iter().any(|w| matches!(w, PointWrite::Upsert { key, .. } if disk.stuck.contains(key))) {
        return Err(StoreError::new(STORE, Class::NotApplied, "stuck"));
    }
    let known = disk.collections.contains_key(collection) && !disk.unready.contains(collection);
    let poison = |w: &PointWrite| matches!(w, PointWrite::Upsert { vectors, .. } if is_poison(vectors));
    if let Some(place) = writes.iter().position(poison) {
        // A batch is not atomic: what stands before has been applied.
        let _ = apply(disk, collection, &writes[..place]);
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
