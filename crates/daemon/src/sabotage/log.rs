//! The log: with answers that come too early, or with steps.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use lockstep_model::{LogId, Lsn};
use lockstep_wal::{Appended, Entry, Group, Log, LogError, Positions, Pressure, Record, SideKey, Ticket, Usage};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::steps::Steps;

/// Everything but `append`, as the log behind it does it.
macro_rules! as_inner {
    () => {
        fn read(&self, lsn: Lsn) -> Result<Option<Entry>, LogError> {
            self.inner.read(lsn)
        }

        fn scan(&self, from: Lsn, each: &mut dyn FnMut(Lsn, Entry) -> ControlFlow<()>) -> Result<(), LogError> {
            self.inner.scan(from, each)
        }

        fn side(&self, key: &SideKey) -> Result<Option<Vec<u8>>, LogError> {
            self.inner.side(key)
        }

        fn scan_summaries(
            &self,
            below: Lsn,
            each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
        ) -> Result<(), LogError> {
            self.inner.scan_summaries(below, each)
        }

        fn oldest_summaries(
            &self,
            limit: usize,
            each: &mut dyn FnMut(Lsn, Vec<u8>) -> ControlFlow<()>,
        ) -> Result<(), LogError> {
            self.inner.oldest_summaries(limit, each)
        }

        fn positions(&self) -> Positions {
            self.inner.positions()
        }

        fn pressure(&self) -> Pressure {
            self.inner.pressure()
        }

        fn usage(&self) -> Usage {
            self.inner.usage()
        }

        fn id(&self) -> LogId {
            self.inner.id()
        }

        fn incarnation(&self) -> u32 {
            self.inner.incarnation()
        }

        fn failure(&self) -> Option<Arc<LogError>> {
            self.inner.failure()
        }

        fn failed(&self) -> watch::Receiver<bool> {
            self.inner.failed()
        }

        fn close(&self) -> Result<(), LogError> {
            self.inner.close()
        }
    };
}

/// Says of marks at once that they are durable; everything else waits for the disk as it should.
pub(super) struct Eager {
    pub(super) inner: Arc<dyn Log>,
}

impl Log for Eager {
    fn append(&self, group: Group) -> Result<Appended, LogError> {
        let marks = !group.entries.is_empty() && group.entries.iter().all(|entry| entry.kind == Record::MARK);
        let appended = self.inner.append(group)?;
        Ok(if marks { Appended { first: appended.first, ticket: Ticket::resolved() } } else { appended })
    }

    as_inner!();
}

/// Says when a group is appended, and when it is durable.
pub(super) struct SteppedLog {
    inner: Arc<dyn Log>,
    steps: Arc<Steps>,
    runtime: Handle,
}

impl SteppedLog {
    pub(super) fn new(inner: Arc<dyn Log>, steps: Arc<Steps>) -> Self {
        Self { inner, steps, runtime: Handle::current() }
    }
}

impl Log for SteppedLog {
    fn append(&self, group: Group) -> Result<Appended, LogError> {
        let Some(name) = name(&group) else { return self.inner.append(group) };
        self.steps.pass(&format!("before {name}"));
        let Appended { first, ticket } = self.inner.append(group)?;
        let (waiter, outer) = Ticket::new();
        let steps = Arc::clone(&self.steps);
        self.runtime.spawn(async move {
            let outcome = ticket.await;
            steps.pass(&format!("after {name}"));
            waiter.tell(outcome);
        });
        Ok(Appended { first, ticket: outer })
    }

    as_inner!();
}

/// What a group is to the operations in it: none if it moves none of them.
fn name(group: &Group) -> Option<String> {
    let mut names = BTreeSet::new();
    for entry in &group.entries {
        match Record::decode(entry) {
            Ok(Record::Intent(_)) => names.insert("intent".to_owned()),
            Ok(Record::Image(_)) => names.insert("image".to_owned()),
            Ok(Record::Mark(mark)) => names.insert(format!("mark {}", mark.state.as_str())),
            Ok(Record::Asked(_)) => names.insert("decision".to_owned()),
            Ok(Record::Declined(_)) => names.insert("declined decision".to_owned()),
            // The engine never meets an entry of its own that it cannot read.
            Ok(Record::Checkpoint(_) | Record::Lost(_)) | Err(_) => false,
        };
    }
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(" and "))
}
