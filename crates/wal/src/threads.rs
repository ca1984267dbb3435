//! The log thread, which alone writes, and the watcher, which notices that it hangs.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::disk;
use crate::error::LogError;
use crate::queue::{Next, Queued};
use crate::sled_log::{Shared, resolve};
use crate::sync::{Instant, JoinHandle, thread};
use crate::writer::Writer;

/// Starts both threads.
pub(crate) fn start(shared: &Arc<Shared>, writer: Writer) -> Result<Vec<JoinHandle<()>>, LogError> {
    let log = Arc::clone(shared);
    let watch = Arc::clone(shared);
    Ok(vec![
        spawn(shared, "lockstep-wal", move || write_until_closed(&log, writer))?,
        spawn(shared, "lockstep-watch", move || watch_until_stopped(&watch))?,
    ])
}

fn spawn(shared: &Shared, name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LogError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(disk::io_error("start a thread for", shared.layout.dir()))
}

fn write_until_closed(shared: &Shared, mut writer: Writer) {
    // The writer itself turns sled's panics into errors; this is for our own.
    let ended = panic::catch_unwind(AssertUnwindSafe(|| {
        while let Some(groups) = take(shared) {
            if !write(shared, &mut writer, groups) {
                break;
            }
        }
    }));
    if ended.is_err() {
        shared.fail(LogError::Panicked {
            doing: "write",
            dir: shared.layout.dir().to_path_buf(),
            message: "the log thread panicked".to_owned(),
        });
    }
    shared.state().stopped = true;
    shared.ended.notify_all();
}

/// Waits for something to write. `None`: there will be nothing more.
fn take(shared: &Shared) -> Option<Vec<Queued>> {
    let mut state = shared.state();
    loop {
        if state.failure.is_some() {
            return None;
        }
        let closing = state.closing;
        match state.queue.next(closing) {
            Next::Write(groups) => {
                state.writing_since = Some(Instant::now());
                return Some(groups);
            }
            Next::Wait(_) if closing && state.queue.is_empty() => return None,
            Next::Wait(None) => state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Next::Wait(Some(time)) => {
                state = shared.work.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// Writes the groups and tells who waits for them. `false`: the log has failed.
fn write(shared: &Shared, writer: &mut Writer, groups: Vec<Queued>) -> bool {
    // Gives the ballast up in time, if it comes to that.
    shared.space.look_now();
    let started = Instant::now();
    if let Err(error) = writer.write(&groups) {
        shared.fail(error);
        return false;
    }
    let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    shared.meters.last_flush_us.store(took, Ordering::Relaxed);
    shared.meters.side_bytes.store(writer.side_bytes(), Ordering::Relaxed);
    shared.meters.flushes.fetch_add(1, Ordering::Relaxed);
    let mut state = shared.state();
    state.writing_since = None;
    if state.failure.is_some() {
        // The watcher was faster: the tickets have been told, and what was told stays.
        return false;
    }
    let waiters = state.queue.written(&groups);
    drop(state);
    resolve(waiters);
    true
}

fn watch_until_stopped(shared: &Shared) {
    let every = Duration::from_millis(200).min(shared.flush_limit / 4);
    loop {
        let state = shared.state();
        if state.stopped || state.failure.is_some() {
            return;
        }
        let (state, _) = shared.ended.wait_timeout(state, every).unwrap_or_else(PoisonError::into_inner);
        let hangs = state.writing_since.is_some_and(|since| since.elapsed() > shared.flush_limit);
        if hangs {
            // The lock stays: a write that ends right now would be told to be durable by a log that has failed.
            let limit_ms = u64::try_from(shared.flush_limit.as_millis()).unwrap_or(u64::MAX);
            shared.fail_under(state, LogError::SlowFlush { dir: shared.layout.dir().to_path_buf(), limit_ms });
            return;
        }
        drop(state);
        shared.space.room();
    }
}
