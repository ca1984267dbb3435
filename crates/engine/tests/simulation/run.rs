//! One run: a few lives of one engine on the same disks, each but the last killed at some step, then the reckoning.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_engine::{Decision, Engine, OpFilter, OpView, Parts, Settings};
use lockstep_model::{Action, ActionKind, LogId, Lsn, OnReject, State, Table, TableRules, Version};
use lockstep_wal::{Log, MemLog};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::chance::{Dice, SimClock};
use crate::clients::{Asked, History, PARKS, Style, client};
use crate::documents::{self, SimDocuments};
use crate::eager::EagerLog;
use crate::faults::{FaultPlan, Faults};
use crate::model::{World, kept_promise, structure};
use crate::vectors::{self, SimVectors};

/// A way to break the parts on purpose: the checks must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    Nothing,
    /// A flush says it did and did not: intents leave before the points are durable.
    LyingCheckpoint,
    /// Tickets resolve at once: answers leave before their marks are durable.
    EagerAnswers,
}

/// What a run went through.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) lives: u64,
    pub(crate) ops: u64,
    pub(crate) committed: u64,
    pub(crate) rolled_back: u64,
    pub(crate) rewritten: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.lives += other.lives;
        self.ops += other.ops;
        self.committed += other.committed;
        self.rolled_back += other.rolled_back;
        self.rewritten += other.rewritten;
    }
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
}

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
        }
    }

    fn parts(&self) -> Parts {
        let log: Arc<dyn Log> = match self.sabotage {
            Sabotage::EagerAnswers => Arc::new(EagerLog(Arc::clone(&self.log))),
            Sabotage::Nothing | Sabotage::LyingCheckpoint => Arc::clone(&self.log) as Arc<dyn Log>,
        };
        Parts {
            log,
            documents: Arc::new(SimDocuments::new(Arc::clone(&self.documents), Arc::clone(&self.faults))),
            vectors: Arc::new(SimVectors::new(Arc::clone(&self.vectors), Arc::clone(&self.faults))),
            clock: Arc::new(SimClock::new(1_700_000_000_000_000 + self.life * 3_600_000_000, self.dice.clone())),
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
        let (log, faults, dice) = (Arc::clone(&self.log), Arc::clone(&self.faults), self.dice.clone());
        tokio::spawn(async move {
            // An idle log is looked at ever more seldom: an hour of waiting is no work.
            let mut idle_us = 500;
            loop {
                let idle = log.pending() == 0;
                idle_us = if idle { (idle_us + idle_us / 4).min(100_000) } else { 500 };
                sleep(Duration::from_micros(if idle { idle_us } else { 100 + dice.below(2_000) })).await;
                if log.pending() > 0 {
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
                    vectors.lock().unwrap().pass(tick, |to| faults.tell(|| format!("qdrant: a late request to {to}")));
                }
            });
        }
        Engine::start(self.parts(), settings).await.expect("the engine starts on its own log")
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

    fn power_cut(&mut self) {
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

/// Waits until nothing is open and recovery is done.
pub(crate) async fn quiet(engine: &Engine) -> Result<(), String> {
    let limit = Duration::from_secs(3600);
    let mut failure = engine.failure();
    let work = async {
        let (_, reached) = engine.barrier();
        reached.await.map_err(|_| "the barrier was given up".to_owned())?;
        while !engine.status().recovery.done || engine.status().verifying > 0 {
            sleep(Duration::from_millis(20)).await;
        }
        Ok::<(), String>(())
    };
    let done = timeout(limit, async {
        tokio::select! {
            biased;
            why = failure.wait_for(Option::is_some) => Err(format!("the engine stopped: {why:?}")),
            done = work => done,
        }
    });
    match done.await {
        Ok(done) => done,
        Err(_) => {
            let filter = OpFilter { limit: 100, ..OpFilter::default() };
            let ops = engine.ops(&filter).map(|(ops, _)| ops).unwrap_or_default();
            let open = ops.iter().filter(|op| op.state().is_open());
            let waits: Vec<String> =
                open.map(|op| format!("{}: {:?} {:?}", op.lsn, op.state(), op.waiting_for)).collect();
            Err(format!("not quiet after an hour: {:?}, {:?}, {waits:?}", engine.status(), engine.unready()))
        }
    }
}

/// Compares everything that was promised and stored with the log's story.
pub(crate) fn reckon(machine: &Machine, engine: &Engine, tally: &mut Tally) -> Result<(), String> {
    let filter = OpFilter { limit: 100_000, ..OpFilter::default() };
    let (views, _) = engine.ops(&filter).map_err(|e| e.to_string())?;
    let history = machine.history.lock().unwrap().clone();
    let mut world = World::default();
    let mut told = std::collections::BTreeSet::new();
    for view in views.iter().rev() {
        let place = (view.lsn, view.summary.version);
        let Some(asked) = history.get(&place) else {
            machine.faults.tell(|| format!("{} {} of a page: {:?}", view.lsn, view.state().as_str(), view.summary.key));
            match machine.style {
                Style::Ordered => world.take_page(view)?,
                Style::Anything => nobody_else(&history, view)?,
            }
            continue;
        };
        told.insert(place);
        machine
            .faults
            .tell(|| format!("{}@{} {} {:?}", view.lsn, view.summary.version, view.state().as_str(), asked.op));
        match machine.style {
            Style::Ordered => world.take(asked, view)?,
            Style::Anything => kept_promise(asked, view)?,
        }
        tally.ops += 1;
        tally.committed += u64::from(view.state() == State::Committed);
        tally.rolled_back += u64::from(view.state() == State::RolledBack);
    }
    for (place, asked) in history.iter() {
        if (asked.logged || asked.ending.is_some()) && !told.contains(place) {
            return Err(format!("{}: was acknowledged, and the log does not know it", place.0));
        }
    }
    let (documents, vectors) = (machine.documents.lock().unwrap(), machine.vectors.lock().unwrap());
    // What an operator left as it was, or has not decided, may stand in one store alone, with all that went with it.
    let left = |view: &&OpView| matches!(view.state(), State::Parked | State::Discarded);
    let left = views.iter().filter(left).map(|view| view.summary.key.clone()).collect();
    structure(&documents, &vectors, &left)?;
    match machine.style {
        Style::Ordered => world.compare(&documents, &vectors),
        Style::Anything => Ok(()),
    }
}

/// Nobody asked for it: it is a page of a clear, or it was asked for again.
fn nobody_else(history: &BTreeMap<(Lsn, Version), Asked>, view: &OpView) -> Result<(), String> {
    let of_a_page = |asked: &Asked| match (&asked.op.action, &view.summary.key) {
        (Action::Clear { table, .. }, Some(key)) => view.summary.kind == ActionKind::Delete && *table == key.table,
        (_, Some(_) | None) => false,
    };
    let again = |asked: &Asked| {
        asked.decided.iter().any(|d| matches!(d, Decision::Retry { .. }))
            && asked.op.action.subject() == view.summary.key
    };
    match history.values().any(|asked| of_a_page(asked) || again(asked)) {
        true => Ok(()),
        false => Err(format!("{}: nobody asked for this", view.lsn)),
    }
}

/// Runs one seed. `Err` says what was not as promised.
pub(crate) fn run(seed: u64, trace: bool, sabotage: Sabotage, style: Style) -> Result<Tally, String> {
    let dice = Dice::new(seed ^ 0x5eed);
    let rough = dice.below(3);
    let plan = FaultPlan { lost_replies: rough * 2, failures: rough * 3, outages: rough };
    let mut machine = Machine::new(seed, plan, trace, sabotage, style);
    if sabotage == Sabotage::Nothing && dice.percent(40) {
        machine.serve();
    }
    let mut tally = Tally::default();
    let kills = dice.below(4);
    for life in 0..kills {
        // Some lives end in the middle of recovery.
        let steps = if dice.percent(30) { dice.below(30) } else { dice.below(1500) };
        let failure = Arc::new(Mutex::new(None));
        one_life(&mut machine, life, steps, &failure, None);
        tally.lives += 1;
    }
    let failure = Arc::new(Mutex::new(None));
    let last = Arc::new(Mutex::new(tally));
    one_life(&mut machine, kills, u64::MAX, &failure, Some(&last));
    if let Some(why) = failure.lock().unwrap().take() {
        return Err(why);
    }
    // Once more, from what the last life left: replaying changes nothing (P4).
    let again = Arc::new(Mutex::new(Tally::default()));
    one_life(&mut machine, kills + 1, u64::MAX, &failure, Some(&again));
    let outcome = failure.lock().unwrap().take();
    match outcome {
        Some(why) => Err(format!("after one more restart: {why}")),
        None => {
            let mut tally = *last.lock().unwrap();
            tally.rewritten += again.lock().unwrap().rewritten;
            Ok(tally)
        }
    }
}

type Shared<T> = Arc<Mutex<T>>;

/// A life with clients. With `tally` it is one that ends well: everything is brought to its end and compared.
fn one_life(
    machine: &mut Machine,
    life: u64,
    steps: u64,
    failure: &Shared<Option<String>>,
    tally: Option<&Shared<Tally>>,
) {
    let outcome: Shared<Option<Result<(), String>>> = Arc::default();
    let told = Arc::clone(&outcome);
    let asks = if machine.life > life { 0 } else { machine.dice.below(25) };
    let this = machine.again();
    let tally = tally.cloned();
    machine.live(steps, move || async move {
        let engine = this.start(this.its_settings()).await;
        let clients: Vec<_> = (0..3)
            .map(|n| {
                let name = format!("{life}-{n}");
                tokio::spawn(client(
                    engine.clone(),
                    this.dice.clone(),
                    this.style,
                    name,
                    asks,
                    Arc::clone(&this.history),
                ))
            })
            .collect();
        for client in clients {
            client.await.expect("a client sees no broken promise");
        }
        let Some(tally) = tally else {
            // The kill comes, also to one that idles.
            loop {
                sleep(Duration::from_millis(1)).await;
                this.faults.step().await;
            }
        };
        this.faults.calm();
        let mut sums = *tally.lock().unwrap();
        if this.served {
            // Everything comes that was on its way, and is looked after.
            sleep(LATE * 4).await;
        }
        let done = match quiet(&engine).await {
            Ok(()) => reckon(&this, &engine, &mut sums),
            Err(why) => Err(why),
        };
        sums.rewritten += engine.status().recovery.rewritten;
        *tally.lock().unwrap() = sums;
        *told.lock().unwrap() = Some(done);
    });
    if let Some(Err(why)) = outcome.lock().unwrap().take() {
        *failure.lock().unwrap() = Some(why);
    }
}
