//! A log that says "durable" at once: what answering before the end mark is durable would be.

use std::ops::ControlFlow;
use std::sync::Arc;

use lockstep_model::{LogId, Lsn};
use lockstep_wal::{Appended, Entry, Group, Log, LogError, MemLog, Positions, Pressure, SideKey, Ticket, Usage};
use tokio::sync::watch;

pub(crate) struct EagerLog(pub(crate) Arc<MemLog>);

impl Log for EagerLog {
    fn append(&self, group: Group) -> Result<Appended, LogError> {
        let appended = self.0.append(group)?;
        Ok(Appended { first: appended.first, ticket: Ticket::resolved() })
    }

    fn read(&self, lsn: Lsn) -> Result<Option<Entry>, LogError> {
        self.0.read(lsn)
    }

    fn scan(&self, from: Lsn, each: &mut dyn FnMut(Lsn, Entry) -> ControlFlow<()>) -> Result<(), LogError> {
        self.0.scan(from, each)
    }

    fn side(&self, key: &SideKey) -> Result<Option<Vec<u8>>, LogError> {
        self.0.side(key)
    }

    fn scan_summaries(
        &self,
        below: Lsn,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.0.scan_summaries(below, each)
    }

    fn oldest_summaries(
        &self,
        limit: usize,
        each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.0.oldest_summaries(limit, each)
    }

    fn positions(&self) -> Positions {
        self.0.positions()
    }

    fn pressure(&self) -> Pressure {
        self.0.pressure()
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn id(&self) -> LogId {
        self.0.id()
    }

    fn incarnation(&self) -> u32 {
        self.0.incarnation()
    }

    fn failure(&self) -> Option<Arc<LogError>> {
        self.0.failure()
    }

    fn failed(&self) -> watch::Receiver<bool> {
        self.0.failed()
    }

    fn close(&self) -> Result<(), LogError> {
        self.0.close()
    }
}
