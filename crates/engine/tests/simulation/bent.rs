//! A log that is not what it says: it tells "durable" at once, as answering before the end mark is durable would; or a record
//! of it is rotten; or it cannot be closed.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use lockstep_model::{LogId, Lsn};
use lockstep_wal::{Appended, Entry, Group, Log, LogError, MemLog, Positions, Pressure, SideKey, Ticket, Usage};
use tokio::sync::watch;

pub(crate) struct BentLog {
    log: Arc<MemLog>,
    eager: bool,
    /// This record's last bytes are gone.
    rotten: Arc<Mutex<Option<Lsn>>>,
    /// It fails when it is closed.
    unclosable: bool,
}

impl BentLog {
    pub(crate) fn eager(log: Arc<MemLog>) -> Self {
        Self { log, eager: true, rotten: Arc::default(), unclosable: false }
    }

    pub(crate) fn rotten(log: Arc<MemLog>, rotten: Arc<Mutex<Option<Lsn>>>) -> Self {
        Self { log, eager: false, rotten, unclosable: false }
    }

    pub(crate) fn unclosable(log: Arc<MemLog>) -> Self {
        Self { unclosable: true, ..Self::rotten(log, Arc::default()) }
    }

    fn seen(&self, lsn: Lsn, mut entry: Entry) -> Entry {
        if *self.rotten.lock().unwrap() == Some(lsn) {
            let length = entry.payload.len();
            entry.payload.truncate(length / 2);
        }
        entry
    }
}

impl Log for BentLog {
    fn append(&self, group: Group) -> Result<Appended, LogError> {
        let appended = self.log.append(group)?;
        Ok(if self.eager { Appended { first: appended.first, ticket: Ticket::resolved() } } else { appended })
    }

    fn read(&self, lsn: Lsn) -> Result<Option<Entry>, LogError> {
        Ok(self.log.read(lsn)?.map(|entry| self.seen(lsn, entry)))
    }

    fn scan(&self, from: Lsn, each: &mut dyn FnMut(Lsn, Entry) -> ControlFlow<()>) -> Result<(), LogError> {
        self.log.scan(from, &mut |lsn, entry| each(lsn, self.seen(lsn, entry)))
    }

    fn side(&self, key: &SideKey) -> Result<Option<Vec<u8>>, LogError> {
        self.log.side(key)
    }

    fn scan_summaries(
        &self,
        below: Lsn,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.log.scan_summaries(below, each)
    }

    fn oldest_summaries(
        &self,
        limit: usize,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.log.oldest_summaries(limit, each)
    }

    fn positions(&self) -> Positions {
        self.log.positions()
    }

    fn pressure(&self) -> Pressure {
        self.log.pressure()
    }

    fn usage(&self) -> Usage {
        self.log.usage()
    }

    fn id(&self) -> LogId {
        self.log.id()
    }

    fn incarnation(&self) -> u32 {
        self.log.incarnation()
    }

    fn failure(&self) -> Option<Arc<LogError>> {
        self.log.failure()
    }

    fn failed(&self) -> watch::Receiver<bool> {
        self.log.failed()
    }

    fn close(&self) -> Result<(), LogError> {
        if self.unclosable {
            let message = "the last sync failed".to_owned();
            return Err(LogError::Panicked { doing: "close", dir: "sim".into(), message });
        }
        self.log.close()
    }
}
