//! Misbehaviour on demand.
//!
//! `slow=MS`: every call on points waits that long before it does anything, and does it even if its caller has gone.
//! `wait-timeout`: updates are applied and answered with the status WaitTimeout. `disk-full`: upserts are not applied and answer
//! INTERNAL. `refuse-marked`: a call that would upsert a point with the payload field `refused` is refused for good, as one that breaks a
//! limit of strict mode, with nothing of it applied. Given on the command line, or in a file that is read before each call, so that a test can change its mind.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use qdrant_client::qdrant::{PointStruct, UpdateStatus};
use tonic::Status;

/// The faults of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fault {
    slow: Option<Duration>,
    wait_timeout: bool,
    disk_full: bool,
    refuse_marked: bool,
}

impl Fault {
    fn add(&mut self, words: &str) -> anyhow::Result<()> {
        match words.split_once('=') {
            Some(("slow", ms)) => self.slow = Some(Duration::from_millis(ms.parse().context("slow=MS")?)),
            None if words == "wait-timeout" => self.wait_timeout = true,
            None if words == "disk-full" => self.disk_full = true,
            None if words == "refuse-marked" => self.refuse_marked = true,
            Some(_) | None => anyhow::bail!("no fault is called {words:?}"),
        }
        Ok(())
    }

    /// Waits if told to.
    pub(crate) async fn delay(&self) {
        if let Some(slow) = self.slow {
            tokio::time::sleep(slow).await;
        }
    }

    /// Fails an upsert if told to.
    pub(crate) fn check_disk(&self) -> Result<(), Status> {
        if self.disk_full {
            let words = "Service internal error: No space left on device: WAL buffer size exceeds available disk space";
            return Err(Status::internal(words));
        }
        Ok(())
    }

    /// Refuses points that ask for it, if told to.
    pub(crate) fn check_marks<'a>(&self, points: impl IntoIterator<Item = &'a PointStruct>) -> Result<(), Status> {
        if self.refuse_marked && points.into_iter().any(|point| point.payload.contains_key("refused")) {
            return Err(Status::invalid_argument(
                "Bad request: a point is marked as refused. Help: take the mark away",
            ));
        }
        Ok(())
    }

    /// What an applied update answers.
    pub(crate) fn status(&self, wait: bool) -> UpdateStatus {
        match (wait, self.wait_timeout) {
            (_, true) => UpdateStatus::WaitTimeout,
            (true, false) => UpdateStatus::Completed,
            (false, false) => UpdateStatus::Acknowledged,
        }
    }
}

/// Where faults come from.
#[derive(Clone)]
pub(crate) struct Faults {
    always: Fault,
    file: Option<Arc<PathBuf>>,
}

impl Faults {
    pub(crate) fn new(always: &[String], file: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut fault = Fault::default();
        always.iter().try_for_each(|words| fault.add(words))?;
        Ok(Self { always: fault, file: file.map(Arc::new) })
    }

    /// The faults of a call that comes now.
    pub(crate) fn now(&self) -> Result<Fault, Status> {
        let mut fault = self.always;
        let Some(file) = &self.file else { return Ok(fault) };
        let Ok(text) = std::fs::read_to_string(&**file) else { return Ok(fault) };
        for words in text.lines().map(str::trim).filter(|words| !words.is_empty()) {
            fault.add(words).map_err(|error| Status::invalid_argument(format!("the fault file: {error}")))?;
        }
        Ok(fault)
    }
}
