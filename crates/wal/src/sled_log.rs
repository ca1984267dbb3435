//! The log on disk, as its callers see it: what they append is queued here, what they read comes from queue or sled.

use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lockstep_model::{LogId, Lsn};
use tokio::sync::watch;

use crate::chunk::{ChunkError, Joiner, Key, Owner};
use crate::error::LogError;
use crate::layout::Layout;
use crate::lock::LockFile;
use crate::log::{Appended, Class, Entry, Group, Log, Positions, Pressure, SideKey, Usage};
use crate::queue::Queue;
use crate::space::SpaceKeeper;
use crate::store::Store;
use crate::sync::{Condvar, Instant, JoinHandle, Mutex, MutexGuard};
use crate::ticket::Waiter;

/// The log on sled. [`SledLog::open`] opens it; it is used through [`Log`].
///
/// Two threads belong to it: the log thread, which alone writes, and a watcher, which notices a write that hangs and
/// keeps an eye on the room on the disk.
pub struct SledLog {
    pub(crate) shared: Arc<Shared>,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What callers, log thread and watcher share.
pub(crate) struct Shared {
    pub(crate) layout: Layout,
    pub(crate) id: LogId,
    pub(crate) incarnation: u32,
    pub(crate) store: Arc<Store>,
    pub(crate) space: SpaceKeeper,
    pub(crate) flush_limit: Duration,
    pub(crate) state: Mutex<State>,
    /// Wakes the log thread.
    pub(crate) work: Condvar,
    /// Wakes the watcher, and who waits in `close`.
    pub(crate) ended: Condvar,
    pub(crate) failed: watch::Sender<bool>,
    pub(crate) meters: Meters,
    /// Held for as long as a thread can still write, even one that hangs.
    pub(crate) _lock: LockFile,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) failure: Option<Arc<LogError>>,
    /// Nothing more is taken.
    pub(crate) closing: bool,
    /// The log thread has ended.
    pub(crate) stopped: bool,
    /// Since when the write in progress runs.
    pub(crate) writing_since: Option<Instant>,
}

/// Numbers for [`Log::usage`].
#[derive(Default)]
pub(crate) struct Meters {
    pub(crate) side_bytes: AtomicU64,
    pub(crate) last_flush_us: AtomicU64,
    pub(crate) flushes: AtomicU64,
}

impl State {
    /// Whether the log may be read: after a failure, what is in memory and what is on disk are no longer one.
    fn usable(&self) -> Result<(), LogError> {
        self.failure.as_ref().map_or(Ok(()), |first| Err(LogError::Failed(Arc::clone(first))))
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the log for good: every ticket still out gets `error`, and so does every later append. The first error
    /// counts; a later one changes nothing.
    pub(crate) fn fail(&self, error: LogError) {
        self.fail_under(self.state(), error);
    }

    /// As [`Self::fail`], for a reason that was seen under this lock and holds for as long as it is held.
    pub(crate) fn fail_under(&self, mut state: MutexGuard<'_, State>, error: LogError) {
        if state.failure.is_some() {
            return;
        }
        tracing::error!(dir = %self.layout.dir().display(), %error, source = source_of(&error), "the log has failed");
        let error = Arc::new(error);
        state.failure = Some(Arc::clone(&error));
        let waiters = state.queue.abandon();
        drop(state);
        self.work.notify_all();
        self.ended.notify_all();
        self.failed.send_replace(true);
        for waiter in waiters {
            waiter.tell(Err(Arc::clone(&error)));
        }
    }

    fn record_error(&self, lsn: Lsn, source: ChunkError) -> LogError {
        LogError::Record { dir: self.layout.dir().to_path_buf(), lsn, source }
    }

    /// Joins the chunks of a live entry from sled.
    fn read_stored(&self, lsn: Lsn) -> Result<Entry, LogError> {
        let wrong = |source| self.record_error(lsn, source);
        let chunk = |number| self.store.get(Key::entry(lsn, number));
        let first = chunk(0)?.ok_or_else(|| wrong(ChunkError::Missing(0)))?;
        let mut joiner = Joiner::begin(&first).map_err(wrong)?;
        while let Some(number) = joiner.wants() {
            let next = chunk(number)?.ok_or_else(|| wrong(ChunkError::Missing(number)))?;
            joiner.push(&next).map_err(wrong)?;
        }
        let (header, payload) = joiner.finish().map_err(wrong)?;
        match header.owner {
            Owner::Entry { lsn: found, kind, .. } if found == lsn => Ok(Entry { kind, payload }),
            Owner::Entry { .. } | Owner::Side { .. } => Err(wrong(ChunkError::Key)),
        }
    }

    fn side_value(&self, key: &SideKey, chunk: &[u8]) -> Result<Vec<u8>, LogError> {
        let joined = Joiner::begin(chunk).and_then(Joiner::finish);
        let (header, value) = joined.map_err(|source| self.record_error(Lsn(0), source))?;
        match header.owner {
            Owner::Side { key: found, .. } if found == *key => Ok(value),
            Owner::Side { .. } | Owner::Entry { .. } => Err(self.record_error(header.owner.place(), ChunkError::Key)),
        }
    }
}

impl Log for SledLog {
    fn append(&self, group: Group) -> Result<Appended, LogError> {
        let refusal = if group.class == Class::Intake { self.shared.space.refusal() } else { None };
        let mut state = self.shared.state();
        state.usable()?;
        if state.closing {
            return Err(LogError::Closed);
        }
        if let Some(full) = refusal {
            return Err(full);
        }
        state.queue.ledger.check(&group)?;
        let (first, ticket) = state.queue.push(group);
        drop(state);
        self.shared.work.notify_one();
        Ok(Appended { first, ticket })
    }

    fn read(&self, lsn: Lsn) -> Result<Option<Entry>, LogError> {
        let live = |state: &State| state.queue.ledger.live_len(lsn).is_some() && !state.queue.ledger.is_own(lsn);
        {
            let state = self.shared.state();
            state.usable()?;
            if !live(&state) {
                return Ok(None);
            }
            if let Some(entry) = state.queue.entry(lsn) {
                drop(state);
                return Ok(Some(Entry::clone(&entry)));
            }
        }
        match self.shared.read_stored(lsn) {
            Ok(entry) => Ok(Some(entry)),
            Err(error @ LogError::Record { .. }) => {
                // It may have left, or the log failed, while it was read.
                let state = self.shared.state();
                state.usable()?;
                if live(&state) { Err(error) } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }

    fn scan(&self, from: Lsn, each: &mut dyn FnMut(Lsn, Entry) -> ControlFlow<()>) -> Result<(), LogError> {
        let mut at = from;
        loop {
            let page = {
                let state = self.shared.state();
                state.usable()?;
                state.queue.ledger.next_live(at)
            };
            let Some(page) = page else { return Ok(()) };
            for lsn in page {
                at = lsn.next();
                if let Some(entry) = self.read(lsn)?
                    && each(lsn, entry).is_break()
                {
                    return Ok(());
                }
            }
        }
    }

    fn side(&self, key: &SideKey) -> Result<Option<Vec<u8>>, LogError> {
        let queued = {
            let state = self.shared.state();
            state.usable()?;
            state.queue.side(key)
        };
        if let Some(queued) = queued {
            return Ok(queued.map(|value| value.to_vec()));
        }
        match self.shared.store.get(Key::side(key))? {
            Some(chunk) => self.shared.side_value(key, &chunk).map(Some),
            None => Ok(None),
        }
    }

    fn scan_summaries(
        &self,
        below: Lsn,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        const PAGE: usize = 64;
        // What is queued now is taken first: it may be in sled, too, when sled is read.
        let queued = {
            let state = self.shared.state();
            state.usable()?;
            state.queue.summaries_below(below)
        };
        let mut queued = queued.into_iter().peekable();
        let low = Key::side(&SideKey::Summary(Lsn(0)));
        let mut below = below;
        loop {
            let page = self.shared.store.page_below(low, Key::side(&SideKey::Summary(below)), PAGE)?;
            let last = page.len() < PAGE;
            for (name, chunk) in page {
                let Some(lsn) = summary_lsn(&name) else {
                    return Err(self.shared.record_error(Lsn(0), ChunkError::Key));
                };
                below = lsn;
                while let Some((newer, value)) = queued.next_if(|(queued, _)| *queued > lsn) {
                    if value.is_some_and(|value| each(newer, value.to_vec()).is_break()) {
                        return Ok(());
                    }
                }
                let value = match queued.next_if(|(queued, _)| *queued == lsn) {
                    Some((_, value)) => value.map(|value| value.to_vec()),
                    None => Some(self.shared.side_value(&SideKey::Summary(lsn), &chunk)?),
                };
                if value.is_some_and(|value| each(lsn, value).is_break()) {
                    return Ok(());
                }
            }
            if last {
                break;
            }
        }
        for (lsn, value) in queued {
            if value.is_some_and(|value| each(lsn, value.to_vec()).is_break()) {
                break;
            }
        }
        Ok(())
    }

    fn oldest_summaries(
        &self,
        limit: usize,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.shared.state().usable()?;
        let (low, below) = (Key::side(&SideKey::Summary(Lsn(0))), Key::side(&SideKey::Summary(Lsn(u64::MAX))));
        for (name, chunk) in self.shared.store.page_from(low, below, limit)? {
            let lsn = summary_lsn(&name).ok_or_else(|| self.shared.record_error(Lsn(0), ChunkError::Key))?;
            if each(lsn, self.shared.side_value(&SideKey::Summary(lsn), &chunk)?).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn positions(&self) -> Positions {
        self.shared.state().queue.positions()
    }

    fn pressure(&self) -> Pressure {
        Pressure { space: self.shared.space.room().space, queued_bytes: self.shared.state().queue.bytes() }
    }

    fn usage(&self) -> Usage {
        let room = self.shared.space.room();
        let meters = &self.shared.meters;
        let flushes = meters.flushes.load(Ordering::Relaxed);
        let (live_entries, live_bytes, queued_bytes) = {
            let state = self.shared.state();
            let (entries, bytes) = state.queue.ledger.size();
            (entries, bytes, state.queue.bytes())
        };
        Usage {
            live_entries,
            live_bytes,
            side_bytes: meters.side_bytes.load(Ordering::Relaxed),
            queued_bytes,
            disk_bytes: disk_bytes(self.shared.layout.dir()).saturating_sub(room.ballast),
            free_bytes: room.free,
            space: room.space,
            ballast_bytes: room.ballast,
            last_flush_us: (flushes > 0).then(|| meters.last_flush_us.load(Ordering::Relaxed)),
            flushes,
        }
    }

    fn id(&self) -> LogId {
        self.shared.id
    }

    fn incarnation(&self) -> u32 {
        self.shared.incarnation
    }

    fn failure(&self) -> Option<Arc<LogError>> {
        self.shared.state().failure.clone()
    }

    fn failed(&self) -> watch::Receiver<bool> {
        self.shared.failed.subscribe()
    }

    fn close(&self) -> Result<(), LogError> {
        self.shared.state().closing = true;
        self.shared.work.notify_all();
        self.shared.ended.notify_all();
        let mut state = self.shared.state();
        // A log thread that hangs in a write has failed when the watcher says so; it is not waited for then.
        while !state.stopped && state.failure.is_none() {
            state = self.shared.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let failure = state.failure.clone();
        drop(state);
        if let Some(first) = failure {
            return Err(LogError::Failed(first));
        }
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Both threads turn panics into failures; there is nothing more to learn from the handle.
            drop(thread.join());
        }
        self.shared.store.close()
    }
}

impl Drop for SledLog {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(dir = %self.shared.layout.dir().display(), %error, "the log did not close");
        }
    }
}

impl fmt::Debug for SledLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledLog").field("dir", &self.shared.layout.dir()).finish_non_exhaustive()
    }
}

/// Resolves tickets of groups that are durable.
pub(crate) fn resolve(waiters: Vec<Waiter>) {
    for waiter in waiters {
        waiter.tell(Ok(()));
    }
}

fn summary_lsn(name: &[u8]) -> Option<Lsn> {
    name.get(1..)?.try_into().ok().map(|lsn| Lsn(u64::from_be_bytes(lsn)))
}

fn source_of(error: &LogError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

fn disk_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).filter(fs::Metadata::is_file).map(|meta| meta.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Durability, Kind};
    use crate::open::OpenOptions;

    fn open(dir: &Path, flush_limit: Duration) -> Arc<SledLog> {
        let options = OpenOptions { floor_bytes: 0, reserve_bytes: 0, flush_limit, ..OpenOptions::new(dir) };
        SledLog::open(options).unwrap().0
    }

    fn group(len: usize) -> Group {
        Group {
            entries: vec![Entry { kind: Kind(1), payload: vec![7; len] }],
            ..Group::new(Durability::Flush, Class::Intake)
        }
    }

    #[test]
    fn after_the_first_error_nobody_is_told_that_anything_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), Duration::from_secs(30));
        let mut failed = log.failed();
        assert!(!*failed.borrow_and_update());
        // Whatever the log thread does next fails.
        log.shared.store.close().unwrap();
        let ticket = log.append(group(10)).unwrap().ticket;
        assert!(ticket.wait_blocking().is_err());
        assert!(*failed.borrow_and_update());
        assert!(log.failure().is_some());
        assert!(matches!(log.append(group(10)), Err(LogError::Failed(_))));
        assert!(matches!(log.read(Lsn(2)), Err(LogError::Failed(_))));
        assert!(matches!(log.close(), Err(LogError::Failed(_))));
    }

    #[test]
    fn a_write_that_takes_too_long_has_failed() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), Duration::from_millis(1));
        let ticket = log.append(group(30_000_000)).unwrap().ticket;
        let error = ticket.wait_blocking().unwrap_err();
        assert!(matches!(*error, LogError::SlowFlush { .. }), "{error}");
        assert!(log.append(group(1)).is_err());
    }
}
