//! The engine as others hold it: start, barrier, pause, stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lockstep_model::{Code, Lsn, Refusal, State, Table};
use lockstep_stores::{Durability, StoreError};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::core::{AwaitedReceiver, Core, Fatal, StoreName};
use crate::parts::Parts;
use crate::recover::{self, RecoverError};
use crate::settings::Settings;
use crate::{asked, checkpoint, claim, connect, learn, optimize, qdrant_worker, settle, surreal_worker};

/// If nothing has moved for so long at a stop, and no batch is in hand, nothing will.
const STILL: Duration = Duration::from_millis(500);

/// Takes operations, and sees to it that each ends in both stores or in neither.
///
/// Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) core: Arc<Core>,
}

/// Why the engine did not start. Nothing has been written to a store then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log's records cannot be taken over.
    #[error("the log cannot be taken over")]
    Recover(#[from] RecoverError),
    /// The stores know of more than the log.
    #[error("the log has lost something: {0}")]
    Older(String),
    /// The document store belongs to another log, or does not answer.
    #[error("the document store cannot be used")]
    Claim(#[source] StoreError),
    /// The vector store does not answer.
    #[error("the vector store cannot be used")]
    Collections(#[source] StoreError),
}

/// What is paused or resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pausable {
    /// All work that needs the store.
    Store(StoreName),
    /// All work on the table.
    Table(Table),
}

/// For log lines.
impl fmt::Display for Pausable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(store) => write!(f, "store {}", store.as_str()),
            Self::Table(table) => write!(f, "table {table}"),
        }
    }
}

impl Engine {
    /// Folds the log, plans recovery, and starts the tasks. After the call operations are taken; recovery goes on behind.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(parts: Parts, settings: Settings) -> Result<Self, StartError> {
        let fold = recover::fold(parts.log.as_ref())?;
        let served = parts.vectors.durability() == Durability::Acknowledged;
        let mut shared = recover::restore(&settings, &fold, served, parts.clock.now_us());
        shared.event_floor = recover::event_floor(parts.log.as_ref())?;
        let asked = recover::asked(&fold);
        drop(fold);
        let embedded = settings.embedded;
        let (core, awaited) = Core::new(parts, settings, shared);
        if embedded {
            if let Err(error) = claim::ensure(&core).await {
                return Err(match core.failure().borrow().as_deref() {
                    Some(Fatal::Lost(why)) => StartError::Older(why.clone()),
                    Some(Fatal::Log(_) | Fatal::Fenced(_) | Fatal::Task(_)) | None => StartError::Claim(error),
                });
            }
            learn::ensure(&core).await.map_err(StartError::Collections)?;
        }
        spawn(&core, awaited);
        if !asked.is_empty() {
            core.parts.tasks.spawn(asked::run(Arc::clone(&core), asked));
        }
        Ok(Self { core })
    }

    /// How many operations are open.
    #[must_use]
    pub fn open_ops(&self) -> usize {
        self.core.lock().open.len()
    }

    /// Why the engine stopped by itself, once it has.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<Arc<Fatal>>> {
        self.core.failure()
    }

    /// Waits until admission may be worth another try: something ended, or a moment passed.
    pub async fn room(&self) {
        // Disk space comes back without anybody telling.
        let _ = tokio::time::timeout(Duration::from_millis(200), self.core.room.notified()).await;
    }

    /// The last place in the log, and a receiver that hears when everything up to it has ended.
    #[must_use]
    pub fn barrier(&self) -> (Lsn, oneshot::Receiver<()>) {
        let mut shared = self.core.lock();
        let last = self.core.parts.log.positions().appended;
        let (sender, receiver) = oneshot::channel();
        if !self.core.stop.is_cancelled() {
            shared.barriers.push((last, sender));
            settle::reach_barriers(&mut shared);
        }
        (last, receiver)
    }

    /// Starts nothing new that needs the store or table; logging goes on.
    ///
    /// # Errors
    /// `unknown_table`
    pub fn pause(&self, what: &Pausable) -> Result<(), Refusal> {
        let mut shared = self.core.lock();
        match what {
            Pausable::Store(store) => shared.breaker(*store).paused = true,
            Pausable::Table(table) => {
                if !shared.tables.allowed(table) {
                    return Err(no_table(table));
                }
                let info = shared.tables.get_mut(table).ok_or_else(|| no_table(table))?;
                info.paused = Some("paused by an operator".into());
            }
        }
        tracing::warn!(%what, "paused, until it is resumed or the daemon stops: a start knows of no pause");
        Ok(())
    }

    /// Takes the work up again, at once.
    ///
    /// # Errors
    /// `unknown_table`
    pub fn resume(&self, what: &Pausable) -> Result<(), Refusal> {
        let mut shared = self.core.lock();
        match what {
            Pausable::Store(store) => {
                shared.breaker(*store).paused = false;
                shared.breaker(*store).open_now();
            }
            Pausable::Table(table) => {
                if !(shared.tables.allowed(table) && shared.tables.resume(table)) {
                    return Err(no_table(table));
                }
            }
        }
        // What waits behind a pause has not been moving for as long; that was no stall.
        let now_ms = shared.now_ms();
        let open: Vec<Lsn> = shared.open.iter().collect();
        for lsn in open {
            if let Some(op) = shared.ops.get_mut(&lsn) {
                op.moved_ms = now_ms;
            }
        }
        shared.surreal.wake_all();
        shared.qdrant.wake_all();
        drop(shared);
        self.core.wake();
        tracing::info!(%what, "resumed");
        Ok(())
    }

    /// Heeds other retries, limits and retention from now on. What is not of these kinds stays as it was at the start.
    pub fn reload(&self, new: Settings) {
        let old = self.core.settings();
        self.core.set_settings(Settings {
            auto_create: old.auto_create,
            tables: old.tables.clone(),
            holder: old.holder.clone(),
            adopt: old.adopt,
            embedded: old.embedded,
            late_after: old.late_after,
            ..new
        });
        self.core.wake();
    }

    /// Takes a checkpoint now.
    ///
    /// # Errors
    /// What kept it from being taken, in words.
    pub async fn checkpoint(&self) -> Result<usize, String> {
        checkpoint::take(&self.core).await.map_err(|e| crate::core::Chain(&e).to_string())
    }

    /// The tasks end, or have ended: nothing of what is open goes on in this process.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.core.stop.is_cancelled()
    }

    /// The state that the operation has reached as far as it is known without the log: `pending` at least, if it was logged. An end counts when
    /// it is durable.
    #[must_use]
    pub fn last_known(&self, lsn: Lsn) -> State {
        let shared = self.core.lock();
        let told = shared.ops.get(&lsn).filter(|op| op.settled || !(op.state.is_final() || op.state == State::Parked));
        told.map_or(State::Pending, |op| op.state)
    }

    /// Takes nothing new; what is open may end within `grace`, for as long as something moves. What does not, because a store is away or
    /// paused, is not waited for: it stays in the log. Returns when the tasks have ended and the log is closed. Correctness never depends on
    /// this call.
    pub async fn stop(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        {
            let mut shared = self.core.lock();
            shared.stopping = true;
        }
        loop {
            let progress = self.core.progress.notified();
            if self.core.stop.is_cancelled() || self.core.lock().open.is_empty() {
                break;
            }
            if timeout_at(deadline.min(Instant::now() + STILL), progress).await.is_ok() {
                continue;
            }
            let idle = {
                let shared = self.core.lock();
                !(shared.surreal_busy || shared.qdrant_busy)
            };
            if idle || Instant::now() >= deadline {
                let why = if idle { "nothing moves" } else { "the grace time is over" };
                tracing::warn!(open = self.open_ops(), "{why}: what is open stays in the log");
                break;
            }
        }
        if !self.core.has_failed()
            && let Err(error) = checkpoint::take(&self.core).await
        {
            tracing::warn!(error = %crate::core::Chain(&error), "no checkpoint at the stop");
        }
        self.core.stop.cancel();
        let log = Arc::clone(&self.core.parts.log);
        // Closing flushes: it waits for the disk, off the runtime's threads.
        let closed = tokio::task::spawn_blocking(move || log.close()).await;
        // What nobody was told of may be lost: that is said, and the end is no good one.
        match closed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.core.fail(Fatal::Log(Arc::new(error))),
            Err(panicked) => self.core.fail(Fatal::Task(format!("closing the log: {panicked}"))),
        }
        self.core.parts.tasks.close();
        self.core.parts.tasks.wait().await;
        // Whoever still waits hears that nothing more is coming: its caller is told how far it came.
        let mut shared = self.core.lock();
        shared.waiting.clear();
        shared.barriers.clear();
    }
}

fn no_table(table: &Table) -> Refusal {
    Refusal::new(Code::UnknownTable, format!("table {table} is not known"))
}

/// The engine's tasks. One that ends before it should stops the engine.
fn spawn(core: &Arc<Core>, awaited: AwaitedReceiver) {
    let tasks = &core.parts.tasks;
    let watch = |name: &'static str, task: tokio::task::JoinHandle<()>| {
        let core = Arc::clone(core);
        tasks.spawn(async move {
            let ended = task.await;
            if !core.stop.is_cancelled() {
                core.fail(Fatal::Task(format!(
                    "{name}: {}",
                    ended.map_or_else(|e| e.to_string(), |()| "ended".into())
                )));
            }
        });
    };
    watch("settle", tasks.spawn(settle::run(Arc::clone(core), awaited)));
    watch("surreal", tasks.spawn(surreal_worker::run(Arc::clone(core))));
    watch("qdrant", tasks.spawn(qdrant_worker::run(Arc::clone(core))));
    watch("checkpoint", tasks.spawn(checkpoint::run(Arc::clone(core))));
    watch("optimize", tasks.spawn(optimize::run(Arc::clone(core))));
    watch("connect", tasks.spawn(connect::run(Arc::clone(core))));
}
