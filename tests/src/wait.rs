//! Waiting with a deadline, chance's own moments, and the runtime that all of it runs on.

use std::future::Future;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// How long a test waits at most for what must come, on a slow machine with a debug build.
pub const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(10);

/// Looks until there is something, but not longer than `deadline`.
///
/// # Errors
/// If the deadline passes, or a look fails.
pub async fn wait_until<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T> {
    let until = Instant::now() + deadline;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if Instant::now() >= until {
            bail!("after {deadline:?} there is still not: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Lets so much time pass as chance has decided before a fault strikes. Nothing is waited for with it.
pub async fn moment(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Runs a test. SurrealDB in a debug build needs more stack than tokio's threads have.
///
/// # Errors
/// What the test says, or that it panicked.
pub fn run<T: Send + 'static>(test: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let runtime = runtime()?;
    runtime.block_on(runtime.spawn(test)).context("the test broke off")?
}

/// Runs what opens a store's directory in this process, and returns when nothing of it is left: neither a thread nor a lock.
///
/// # Errors
/// What it says, or that it panicked.
pub async fn apart<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let ran = runtime().and_then(|runtime| {
            let ran = runtime.block_on(runtime.spawn(work)).context("the work broke off").flatten();
            drop(runtime);
            ran
        });
        // Nobody waits any more if this fails.
        let _ = done.send(ran);
    });
    outcome.await.map_err(|_| anyhow!("the thread with the stores broke off"))?
}

fn runtime() -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).thread_stack_size(lockstep_stores::THREAD_STACK_BYTES).enable_all();
    builder.build().context("no runtime")
}
