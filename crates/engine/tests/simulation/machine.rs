//! The machine: the disks, the stores and everything else that outlives the process, and the lives of the engine on it.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_engine::{Engine, Parts, Settings, fold};
use lockstep_model::{Key, LogId, Lsn, OnReject, Table, TableRules};
use lockstep_wal::{Log, MemLog, plan};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::bent::BentLog;
use crate::chance::Dice;
use crate::clients::{History, PARKS, Style};
use crate::clock::{Drift, SimClock};
use crate::document_store::SimDocuments;
use crate::faults::{FaultPlan, Faults};
use crate::vector_store::SimVectors;
use crate::{documents, vectors};

/// A way to break the parts on purpose: the checks must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    Nothing,
    /// A flush says it did and did not: intents leave before the points are durable.
    LyingCheckpoint,
    /// Tickets resolve at once: answers leave before their marks are durable.
    EagerAnswers,
}

/// The disks and everything else that outlives a kill.
pub(crate) struct Machine {
    pub(crate) dice: Dice,
    pub(crate) faults: Arc<Faults>,
    pub(crate) documents: Arc<Mutex<documents::Disk>>,
    pub(crate) vectors: Arc<Mutex<vectors::Disk>>,
    pub(crate) log: Arc<MemLog>,
    pub(crate) history: History,
    pub(crate) life: u64,
    pub(crate) sabotage: Sabotage,
    pub(crate) style: Style,
    /// Both stores are servers of their own.
    pub(crate) served: bool,
    /// `limits.batch_ops`: the fewer, the more often a whole batch waits.
    pub(crate) batch_ops: usize,
    /// How far the wall clock is off.
    pub(crate) drift: Drift,
    /// While it is held, nothing that is appended to the log gets durable.
    pub(crate) log_held: Arc<AtomicBool>,
    /// A record of the log that is rotten in this life.
    pub(crate) rotten: Arc<Mutex<Option<Lsn>>>,
    /// What somebody else has written or removed, and what hangs on it.
    pub(crate) foreign: Arc<Mutex<BTreeSet<Key>>>,
    /// Copies of both stores.
    pub(crate) backups: Arc<Mutex<Vec<Backup>>>,
}

/// Both stores, as they were once.
pub(crate) type Backup = (documents::Disk, vectors::Disk);

/// How long after its call a request may still come to a served store.
pub(crate) const LATE: Duration = Duration::from_millis(400);

impl Machine {
    pub(crate) fn new(seed: u64, plan: FaultPlan, trace: bool, sabotage: Sabotage, style: Style) -> Self {
        let dice = Dice::new(seed);
        let mut vectors = vectors::Disk::default();
        vectors.lying_flush = sabotage == Sabotage::LyingCheckpoint;
        Self {
            faults: Faults::new(dice.clone(), plan, trace),
            dice,
            documents: Arc::default(),
            vectors: Arc::new(Mutex::new(vectors)),
            log: Arc::new(MemLog::new(LogId(Uuid::from_u128(u128::from(seed) << 64 | 0x1234_5678)))),
            history: History::default(),
            life: 0,
            sabotage,
            style,
            served: false,
            batch_ops: Self::settings().batch_ops,
            drift: Drift::default(),
            log_held: Arc::default(),
            rotten: Arc::default(),
            foreign: Arc::default(),
            backups: Arc::default(),
        }
    }

    /// From now on both stores are servers of their own.
    pub(crate) fn serve(&mut self) {
        self.served = true;
        self.documents.lock().unwrap().served = true;
        let mut vectors = self.vectors.lock().unwrap();
        vectors.served = true;
        vectors.late_within = LATE - Duration::from_millis(5);
    }

    /// The same machine, for a life to hold.
    pub(crate) fn again(&self) -> Self {
        Self {
            dice: self.dice.clone(),
            faults: Arc::clone(&self.faults),
            documents: Arc::clone(&self.documents),
            vectors: Arc::clone(&self.vectors),
            log: Arc::clone(&self.log),
            history: Arc::clone(&self.history),
            life: self.life,
            sabotage: self.sabotage,
            style: self.style,
            served: self.served,
            batch_ops: self.batch_ops,
            drift: self.drift.clone(),
            log_held: Arc::clone(&self.log_held),
            rotten: Arc::clone(&self.rotten),
            foreign: Arc::clone(&self.foreign),
            backups: Arc::clone(&self.backups),
        }
    }

    pub(crate) fn parts(&self) -> Parts {
        self.parts_on(match self.sabotage {
            Sabotage::EagerAnswers => Arc::new(BentLog::eager(Arc::clone(&self.log))),
            Sabotage::Nothing | Sabotage::LyingCheckpoint => Arc::new(self.bent()),
        })
    }

    /// The machine's log, with its rot.
    pub(crate) fn bent(&self) -> BentLog {
        BentLog::rotten(Arc::clone(&self.log), Arc::clone(&self.rotten))
    }

    /// One of the log's records, or the place of one that has left.
    pub(crate) fn record(&self, which: u64) -> Lsn {
        Lsn(1 + which % self.log.positions().appended.0.max(1))
    }

    /// The machine's parts, with another log.
    pub(crate) fn parts_on(&self, log: Arc<dyn Log>) -> Parts {
        Parts {
            log,
            documents: Arc::new(SimDocuments::new(Arc::clone(&self.documents), Arc::clone(&self.faults))),
            vectors: Arc::new(SimVectors::new(Arc::clone(&self.vectors), Arc::clone(&self.faults))),
            clock: Arc::new(SimClock::new(
                1_700_000_000_000_000 + self.life * 3_600_000_000,
                self.drift.clone(),
                self.dice.clone(),
            )),
            chance: Arc::new(self.dice.clone()),
            tasks: TaskTracker::new(),
        }
    }

    /// The settings for this machine's stores.
    pub(crate) fn its_settings(&self) -> Settings {
        let mut settings = Settings {
            embedded: !self.served,
            late_after: LATE,
            retain_committed: Duration::from_millis(if self.served { 300 } else { 0 }),
            retain_last: 3,
            batch_ops: self.batch_ops,
            ..Self::settings()
        };
        if self.style == Style::Anything {
            let rules = TableRules { on_reject: OnReject::Park, ..TableRules::default() };
            settings.tables.insert(Table::new(PARKS).unwrap(), rules);
        }
        settings
    }

    pub(crate) fn settings() -> Settings {
        Settings {
            batch_ops: 8,
            checkpoint_every: Duration::from_millis(40),
            retry_base: Duration::from_millis(20),
            retry_max: Duration::from_secs(2),
            // Transient failures are frequent here, and nobody's fault.
            max_attempts: 1000,
            ..Settings::default()
        }
    }

    /// Starts the engine, and what writes its log to the disk.
    pub(crate) async fn start(&self, settings: Settings) -> Engine {
        self.start_disks();
        let fold = fold(self.log.as_ref()).expect("the log can be read");
        for (_, decision) in plan(&fold) {
            self.faults.coverage().decided(decision);
        }
        Engine::start(self.parts(), settings).await.expect("the engine starts on its own log")
    }

    /// From now on what is appended gets durable, and what was sent comes.
    pub(crate) fn start_disks(&self) {
        let (log, faults, dice) = (Arc::clone(&self.log), Arc::clone(&self.faults), self.dice.clone());
        let held = Arc::clone(&self.log_held);
        tokio::spawn(async move {
            // An idle log is looked at ever more seldom: an hour of waiting is no work.
            let mut idle_us = 500;
            loop {
                let idle = log.pending() == 0;
                idle_us = if idle { (idle_us + idle_us / 4).min(100_000) } else { 500 };
                sleep(Duration::from_micros(if idle { idle_us } else { 100 + dice.below(2_000) })).await;
                if log.pending() > 0 && !held.load(Ordering::SeqCst) {
                    faults.step().await;
                    log.flush_pending();
                }
            }
        });
        if self.served {
            let (vectors, faults) = (Arc::clone(&self.vectors), Arc::clone(&self.faults));
            tokio::spawn(async move {
                loop {
                    let tick = Duration::from_millis(5);
                    sleep(tick).await;
                    vectors.lock().unwrap().pass(tick, |what, late| {
                        faults.reach(format!("a late {what} in qdrant"));
                        faults.tell(|| format!("qdrant: late: {late:?}"));
                    });
                }
            });
        }
    }

    /// Runs one life to its end, or to its kill; then what a power cut leaves is what the next one finds.
    pub(crate) fn live<F: Future<Output = ()>>(&mut self, kill_after: u64, life: impl FnOnce() -> F) {
        self.faults.kill_after(kill_after);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.faults.on_kill.notified() => {}
                () = life() => {}
            }
        });
        drop(runtime);
        self.power_cut();
    }

    /// Both stores, as they are now.
    pub(crate) fn backup(&self) -> Backup {
        (self.documents.lock().unwrap().clone(), self.vectors.lock().unwrap().clone())
    }

    /// Every table is as it has to be.
    pub(crate) fn mend_tables(&self) {
        self.documents.lock().unwrap().unready.clear();
        self.vectors.lock().unwrap().unready.clear();
    }

    /// A digest of what the stores hold.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.documents.lock().unwrap().records).hash(&mut hasher);
        format!("{:?}", self.vectors.lock().unwrap().points).hash(&mut hasher);
        hasher.finish()
    }

    fn power_cut(&mut self) {
        self.log_held.store(false, Ordering::SeqCst);
        *self.rotten.lock().unwrap() = None;
        let pending = self.log.pending() as u64;
        let kept = usize::try_from(self.dice.below(pending + 1)).unwrap();
        self.log = Arc::new(self.log.crash(kept));
        let mut vectors = self.vectors.lock().unwrap();
        let kept = usize::try_from(self.dice.below(vectors.unflushed() as u64 + 1)).unwrap();
        vectors.kill(kept);
        drop(vectors);
        self.life += 1;
    }
}
