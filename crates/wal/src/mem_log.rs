//! The log in memory: the same promises, and on demand the crash that shows who relies on more than them.
//!
//! Nothing is durable until [`MemLog::flush_pending`] says so (or at once, with [`MemLog::auto`]); a crash loses what
//! was not. LSNs, positions and rules are those of the log on disk, down to the log's own entries.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_model::{LogId, Lsn};
use tokio::sync::watch;

use crate::boot::Boot;
use crate::error::LogError;
use crate::ledger::Ledger;
use crate::log::{Appended, Class, Durability, Entry, Group, Log, Positions, Pressure, SideKey, Space, Usage};
use crate::ticket::{Ticket, Waiter};

/// A log without files, for tests and simulations.
pub struct MemLog {
    id: LogId,
    incarnation: u32,
    state: Mutex<State>,
    failed: watch::Sender<bool>,
}

struct State {
    /// What a crash leaves, and what readers see: the same plus `pending`.
    flushed: Content,
    visible: Content,
    pending: VecDeque<(Arc<Group>, Waiter)>,
    /// Tickets of groups that a crash took: they never resolve, and are kept so that they don't.
    limbo: Vec<Waiter>,
    auto: bool,
    space: Space,
    flushes: u64,
    stop: Option<Stop>,
}

enum Stop {
    Failed(Arc<LogError>),
    Closed,
}

#[derive(Clone, Default)]
struct Content {
    ledger: Ledger,
    entries: BTreeMap<Lsn, Arc<Entry>>,
    side: BTreeMap<SideKey, Arc<Vec<u8>>>,
}

impl Content {
    fn apply(&mut self, group: &Group) -> Lsn {
        let places = self.ledger.take(&group.entries, &group.remove);
        for (entry, lsn) in group.entries.iter().zip(places.first.0..) {
            self.entries.insert(Lsn(lsn), Arc::new(entry.clone()));
        }
        for (lsn, _) in places.leaving {
            self.entries.remove(&lsn);
        }
        for (key, value) in &group.side {
            match value {
                Some(value) => self.side.insert(*key, Arc::new(value.clone())),
                None => self.side.remove(key),
            };
        }
        places.first
    }

    /// The BOOT entry of an incarnation, which an open makes durable.
    fn boot(&mut self, id: LogId, incarnation: u32) {
        let base = self.ledger.last().next();
        let mut group = Group::new(Durability::Flush, Class::Drain);
        group.remove.extend(self.ledger.boot());
        group.entries.push(Boot { incarnation, base, log: id }.to_entry());
        self.apply(&group);
    }
}

impl MemLog {
    /// A new log in which nothing is durable before [`Self::flush_pending`].
    #[must_use]
    pub fn new(id: LogId) -> Self {
        Self::opened(id, 1, Content::default(), false)
    }

    /// A new log in which everything is durable at once.
    #[must_use]
    pub fn auto(id: LogId) -> Self {
        Self::opened(id, 1, Content::default(), true)
    }

    fn opened(id: LogId, incarnation: u32, mut content: Content, auto: bool) -> Self {
        content.boot(id, incarnation);
        let state = State {
            flushed: content.clone(),
            visible: content,
            pending: VecDeque::new(),
            limbo: Vec::new(),
            auto,
            space: Space::Ample,
            flushes: 0,
            stop: None,
        };
        Self { id, incarnation, state: Mutex::new(state), failed: watch::Sender::new(false) }
    }

    /// Makes everything appended so far durable and resolves its tickets; gives how many groups that were.
    pub fn flush_pending(&self) -> usize {
        let waiters = self.state().flush();
        let count = waiters.len();
        for waiter in waiters {
            waiter.tell(Ok(()));
        }
        count
    }

    /// How many groups are appended and not durable.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().pending.len()
    }

    /// The log as it is found after a power cut now: what was durable, and the first `keep_unflushed` groups of what
    /// was not, since they may have reached the disk, too. This log is closed; tickets of what was not durable
    /// never resolve.
    #[must_use]
    pub fn crash(&self, keep_unflushed: usize) -> Self {
        let mut state = self.state();
        let mut content = state.flushed.clone();
        for (group, _) in state.pending.iter().take(keep_unflushed) {
            content.apply(group);
        }
        let lost: Vec<Waiter> = state.pending.drain(..).map(|(_, waiter)| waiter).collect();
        state.limbo.extend(lost);
        state.stop.get_or_insert(Stop::Closed);
        let auto = state.auto;
        drop(state);
        Self::opened(self.id, self.incarnation.saturating_add(1), content, auto)
    }

    /// The log as it is found after kill -9: as after a crash that kept everything.
    #[must_use]
    pub fn kill(&self) -> Self {
        self.crash(usize::MAX)
    }

    /// Stops the log as an I/O error does: every ticket still out and every later append fails.
    pub fn fail(&self) {
        let error =
            Arc::new(LogError::Io { doing: "sync", path: "memory".into(), source: std::io::Error::other("injected") });
        let mut state = self.state();
        if matches!(state.stop, Some(Stop::Failed(_))) {
            return;
        }
        state.stop = Some(Stop::Failed(Arc::clone(&error)));
        // What was not durable may come back after a crash, as on a disk: it stays in `pending`, its tickets do not.
        let mut told = Vec::new();
        for (_, waiter) in &mut state.pending {
            let (silent, _) = Ticket::new();
            told.push(std::mem::replace(waiter, silent));
        }
        drop(state);
        self.failed.send_replace(true);
        for waiter in told {
            waiter.tell(Err(Arc::clone(&error)));
        }
    }

    /// Makes the log believe that this is the room on its disk.
    pub fn set_space(&self, space: Space) {
        self.state().space = space;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readable(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.state();
        state.stopped()?;
        Ok(state)
    }
}

impl State {
    fn stopped(&self) -> Result<(), LogError> {
        match &self.stop {
            Some(Stop::Failed(first)) => Err(LogError::Failed(Arc::clone(first))),
            Some(Stop::Closed) => Err(LogError::Closed),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Vec<Waiter> {
        if self.stop.is_some() {
            return Vec::new();
        }
        self.flushes += u64::from(!self.pending.is_empty());
        let mut waiters = Vec::with_capacity(self.pending.len());
        for (group, waiter) in self.pending.drain(..) {
            self.flushed.apply(&group);
            waiters.push(waiter);
        }
        waiters
    }
}

impl Log for MemLog {
    fn append(&self, group: Group) -> Result<Appended, LogError> {
        let mut state = self.readable()?;
        if group.class == Class::Intake && state.space != Space::Ample {
            return Err(LogError::Full { free_bytes: Some(0), floor_bytes: 1 });
        }
        state.visible.ledger.check(&group)?;
        let first = state.visible.apply(&group);
        let (waiter, ticket) = Ticket::new();
        state.pending.push_back((Arc::new(group), waiter));
        let auto = state.auto;
        drop(state);
        if auto {
            self.flush_pending();
        }
        Ok(Appended { first, ticket })
    }

    fn read(&self, lsn: Lsn) -> Result<Option<Entry>, LogError> {
        let state = self.readable()?;
        let found = state.visible.entries.get(&lsn).filter(|entry| !entry.kind.is_of_the_log());
        Ok(found.map(|entry| Entry::clone(entry)))
    }

    fn scan(&self, from: Lsn, each: &mut dyn FnMut(Lsn, Entry) -> ControlFlow<()>) -> Result<(), LogError> {
        let mut at = Bound::Included(from);
        loop {
            let found = {
                let state = self.readable()?;
                let mut later = state.visible.entries.range((at, Bound::Unbounded));
                later.find(|(_, entry)| !entry.kind.is_of_the_log()).map(|(lsn, entry)| (*lsn, Arc::clone(entry)))
            };
            let Some((lsn, entry)) = found else { return Ok(()) };
            if each(lsn, Entry::clone(&entry)).is_break() {
                return Ok(());
            }
            at = Bound::Excluded(lsn);
        }
    }

    fn side(&self, key: &SideKey) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.readable()?.visible.side.get(key).map(|value| value.to_vec()))
    }

    fn scan_summaries(
        &self,
        below: Lsn,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let mut below = below;
        loop {
            let found = {
                let state = self.readable()?;
                let range = SideKey::Summary(Lsn(0))..SideKey::Summary(below);
                state.visible.side.range(range).next_back().map(|(key, value)| (*key, value.to_vec()))
            };
            let Some((SideKey::Summary(lsn), value)) = found else { return Ok(()) };
            if each(lsn, value).is_break() {
                return Ok(());
            }
            below = lsn;
        }
    }

    fn oldest_summaries(
        &self,
        limit: usize,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let page: Vec<(SideKey, Arc<Vec<u8>>)> = {
            let state = self.readable()?;
            let range = SideKey::Summary(Lsn(0))..SideKey::Summary(Lsn(u64::MAX));
            state.visible.side.range(range).take(limit).map(|(key, value)| (*key, Arc::clone(value))).collect()
        };
        for (key, value) in page {
            if let SideKey::Summary(lsn) = key
                && each(lsn, value.to_vec()).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn positions(&self) -> Positions {
        let state = self.state();
        state.visible.ledger.positions(state.flushed.ledger.last())
    }

    fn pressure(&self) -> Pressure {
        let state = self.state();
        let pending = state.pending.iter().flat_map(|(group, _)| &group.entries);
        Pressure { space: state.space, queued_bytes: pending.map(|entry| entry.payload.len() as u64).sum() }
    }

    fn usage(&self) -> Usage {
        let state = self.state();
        let (live_entries, live_bytes) = state.visible.ledger.size();
        let pending = state.pending.iter().flat_map(|(group, _)| &group.entries);
        Usage {
            live_entries,
            live_bytes,
            side_bytes: state.visible.side.values().map(|value| value.len() as u64).sum(),
            queued_bytes: pending.map(|entry| entry.payload.len() as u64).sum(),
            disk_bytes: 0,
            free_bytes: None,
            space: state.space,
            ballast_bytes: 0,
            last_flush_us: (state.flushes > 0).then_some(0),
            flushes: state.flushes,
        }
    }

    fn id(&self) -> LogId {
        self.id
    }

    fn incarnation(&self) -> u32 {
        self.incarnation
    }

    fn failure(&self) -> Option<Arc<LogError>> {
        match &self.state().stop {
            Some(Stop::Failed(first)) => Some(Arc::clone(first)),
            Some(Stop::Closed) | None => None,
        }
    }

    fn failed(&self) -> watch::Receiver<bool> {
        self.failed.subscribe()
    }

    fn close(&self) -> Result<(), LogError> {
        self.flush_pending();
        let mut state = self.state();
        match &state.stop {
            Some(Stop::Failed(first)) => Err(LogError::Failed(Arc::clone(first))),
            Some(Stop::Closed) => Ok(()),
            None => {
                state.stop = Some(Stop::Closed);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for MemLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemLog").field("id", &self.id).field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}
