//! What a daemon takes of the machine, over time.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lockstep_api::Client;
use rustix::process::Pid;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::daemon::Daemon;
use crate::machine::resident_bytes;

/// One look.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Since the gauge began.
    pub at: Duration,
    /// Resident memory of the daemon.
    pub memory_bytes: u64,
    /// Its open file descriptors.
    pub descriptors: u64,
    /// What the log says it takes on disk: sled's file, which does not become shorter.
    pub log_bytes: u64,
    /// Operations that the log holds whole, ended ones among them.
    pub held_ops: u64,
    /// Records that the log has taken, ever.
    pub records: u64,
    /// What the folder with the log takes, whoever wrote there.
    pub folder_bytes: u64,
    /// Operations that have not ended.
    pub open_ops: u64,
}

/// Looks at a daemon once every `every`, until it is ended.
#[derive(Debug)]
pub struct Gauge {
    readings: Arc<Mutex<Vec<Reading>>>,
    task: JoinHandle<()>,
}

impl Gauge {
    /// Begins to look.
    ///
    /// # Errors
    /// If the daemon is gone.
    pub fn start(daemon: &Daemon, folder: &Path, every: Duration) -> Result<Self> {
        let (pid, client, folder) = (daemon.pid()?, Client::new(daemon.client().socket()), folder.to_owned());
        let readings = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&readings);
        let began = Instant::now();
        let task = tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                // One look that fails shows as a gap; a daemon that is gone fails the test elsewhere.
                if let Ok(reading) = look(pid, &client, &folder, began).await {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(reading);
                }
            }
        });
        Ok(Self { readings, task })
    }

    /// Ends it.
    #[must_use]
    pub fn finish(self) -> Vec<Reading> {
        self.task.abort();
        std::mem::take(&mut *self.readings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn look(pid: Pid, client: &Client, folder: &Path, began: Instant) -> Result<Reading> {
    let status = client.status().await?.into_body();
    let held = status.wal.states;
    let open = held.pending + held.surreal_completed + held.qdrant_completed + held.compensating;
    let descriptors = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))?.count();
    Ok(Reading {
        at: began.elapsed(),
        memory_bytes: resident_bytes(pid)?,
        descriptors: u64::try_from(descriptors)?,
        log_bytes: status.wal.bytes.context("the log does not say what it takes")?,
        held_ops: open + held.committed + held.rolled_back + held.parked + held.discarded,
        records: status.wal.last_lsn.map_or(0, |lsn| lsn.0),
        folder_bytes: folder_bytes(folder)?,
        open_ops: status.wal.open_ops,
    })
}

/// What the files below `folder` take. Files that go meanwhile take nothing.
fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut sum = 0;
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let Ok(entry) = entry else { continue };
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) => sum += about.len(),
                Err(_) => {}
            }
        }
    }
    Ok(sum)
}
