//! What [`store`](crate::store) uses of sled, in memory: a batch is seen at once and whole, it is in the file after `flush()`, and
//! it is durable after the file's fsync.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sled::{Error, IVec};

use super::World;
use super::disk::Call;

/// What is in the tree.
pub(crate) type Pages = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a batch puts and removes.
pub(crate) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

type Pair = Result<(IVec, IVec), Error>;

#[derive(Default)]
pub(crate) struct Config {
    dir: PathBuf,
}

impl Config {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn path(self, dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    pub(crate) const fn cache_capacity(self, _: u64) -> Self {
        self
    }

    pub(crate) const fn flush_every_ms(self, _: Option<u64>) -> Self {
        self
    }

    pub(crate) const fn use_compression(self, _: bool) -> Self {
        self
    }

    pub(crate) fn open(self) -> Result<Db, Error> {
        // sled makes this file, and its directory is synced with it.
        File::create(self.dir.join("conf")).map_err(Error::Io)?;
        let world = World::current();
        Ok(Db { pages: world.open(), world })
    }
}

#[derive(Default)]
pub(crate) struct Batch {
    writes: Writes,
}

impl Batch {
    pub(crate) fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        self.writes.insert(key.to_vec(), Some(value));
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.writes.insert(key.to_vec(), None);
    }
}

pub(crate) struct Db {
    world: Arc<World>,
    /// What a power cut left, for a start to look at; `None`: the log at work.
    pages: Option<Pages>,
}

impl Db {
    fn read<T>(&self, look: impl FnOnce(&Pages) -> T) -> T {
        match &self.pages {
            Some(pages) => look(pages),
            None => self.world.visible(look),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<IVec>, Error> {
        super::world::step();
        Ok(self.read(|pages| pages.get(key).map(|value| IVec::from(value.as_slice()))))
    }

    pub(crate) fn contains_key(&self, key: &[u8]) -> Result<bool, Error> {
        Ok(self.read(|pages| pages.contains_key(key)))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Pair> {
        self.range::<&[u8], _>(..)
    }

    pub(crate) fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, range: R) -> impl DoubleEndedIterator<Item = Pair> {
        super::world::step();
        let own = |bound: std::ops::Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        let bounds = (own(range.start_bound()), own(range.end_bound()));
        let found: Vec<Pair> = self.read(|pages| {
            let found = pages.range(bounds);
            found.map(|(key, value)| Ok((IVec::from(key.as_slice()), IVec::from(value.as_slice())))).collect()
        });
        found.into_iter()
    }

    pub(crate) fn apply_batch(&self, batch: Batch) -> Result<(), Error> {
        self.world.call(Call::Apply, |disk| disk.apply(batch.writes)).map_err(Error::Io)
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.world.call(Call::Flush, |disk| disk.flush()).map_err(Error::Io)
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.world.let_go();
    }
}
