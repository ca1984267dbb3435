//! What can happen to a call: delay, a lost reply, an outage, a kill. Each call passes here before and after its effect.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lockstep_stores::{Class, Scope, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::chance::Dice;
use crate::coverage::Coverage;

/// What a run may be put through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FaultPlan {
    /// Percent of calls whose effect happens, and whose reply is lost.
    pub(crate) lost_replies: u64,
    /// Percent of calls that fail before their effect, known or unknown.
    pub(crate) failures: u64,
    /// Percent of calls that begin an outage.
    pub(crate) outages: u64,
}

/// What becomes of one writing call, where a case says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its effect happens, and its reply is lost.
    Lost,
    /// It has no effect when it fails, and nobody knows.
    Silent,
    /// It is known to have had no effect.
    NotApplied,
}

/// Decides what happens to calls, and where the run is killed.
pub(crate) struct Faults {
    dice: Dice,
    plan: Mutex<FaultPlan>,
    step: AtomicU64,
    kill_at: AtomicU64,
    killed: AtomicBool,
    pub(crate) on_kill: Notify,
    down_until: [Mutex<Option<Instant>>; 2],
    /// Until then a store knows nobody who comes to it.
    misconfigured_until: [Mutex<Option<Instant>>; 2],
    /// What becomes of the next writing calls of each store.
    script: [Mutex<VecDeque<Outcome>>; 2],
    /// How often each store's connection was lost in this life.
    losses: [AtomicU64; 2],
    /// What was reached so far.
    coverage: Mutex<Coverage>,
    trace: bool,
}

impl Faults {
    pub(crate) fn new(dice: Dice, plan: FaultPlan, trace: bool) -> Arc<Self> {
        Arc::new(Self {
            dice,
            plan: Mutex::new(plan),
            step: AtomicU64::new(0),
            kill_at: AtomicU64::new(u64::MAX),
            killed: AtomicBool::new(false),
            on_kill: Notify::new(),
            down_until: [Mutex::default(), Mutex::default()],
            misconfigured_until: [Mutex::default(), Mutex::default()],
            script: [Mutex::default(), Mutex::default()],
            losses: [AtomicU64::new(0), AtomicU64::new(0)],
            coverage: Mutex::default(),
            trace,
        })
    }

    /// The life that begins now is killed after so many steps.
    pub(crate) fn kill_after(&self, steps: u64) {
        self.step.store(0, Ordering::SeqCst);
        self.kill_at.store(steps, Ordering::SeqCst);
        self.killed.store(false, Ordering::SeqCst);
        for down in self.down_until.iter().chain(&self.misconfigured_until) {
            *down.lock().unwrap() = None;
        }
        for losses in &self.losses {
            losses.store(0, Ordering::SeqCst);
        }
    }

    /// The connection to the store breaks, and is made anew.
    pub(crate) fn lose_connection(&self, store: &str) {
        self.losses[place(store)].fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn losses(&self, store: &str) -> u64 {
        self.losses[place(store)].load(Ordering::SeqCst)
    }

    /// This becomes of the store's next writing calls.
    pub(crate) fn script(&self, store: &str, outcomes: &[Outcome]) {
        self.script[place(store)].lock().unwrap().extend(outcomes);
    }

    /// What becomes of the writing call that begins now.
    pub(crate) fn scripted(&self, store: &str) -> Option<Outcome> {
        let outcome = self.script[place(store)].lock().unwrap().pop_front();
        if let Some(outcome) = outcome {
            self.tell(|| format!("{store}: {outcome:?}"));
        }
        outcome
    }

    /// The store answers nothing for so long.
    pub(crate) fn take_down(&self, store: &str, how_long: Duration) {
        *self.down_until[place(store)].lock().unwrap() = Some(Instant::now() + how_long);
    }

    /// For so long the store lets nobody in: somebody has changed a password.
    pub(crate) fn misconfigure(&self, store: &str, how_long: Duration) {
        *self.misconfigured_until[place(store)].lock().unwrap() = Some(Instant::now() + how_long);
    }

    pub(crate) fn reach(&self, what: impl Into<String>) {
        self.coverage.lock().unwrap().reach(what);
    }

    /// Passes an answer on, and notes how it failed.
    pub(crate) fn saw<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &answer {
            self.coverage.lock().unwrap().failed(error.store, error.class);
        }
        answer
    }

    pub(crate) fn coverage(&self) -> MutexGuard<'_, Coverage> {
        self.coverage.lock().unwrap()
    }

    /// How many steps this life has taken.
    pub(crate) fn steps(&self) -> u64 {
        self.step.load(Ordering::SeqCst)
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm(&self) {
        *self.plan.lock().unwrap() = FaultPlan::default();
    }

    /// True in `percent` of 100 throws.
    pub(crate) fn chance(&self, percent: u64) -> bool {
        self.dice.percent(percent)
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.dice.below(bound)
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>6} {}", self.step.load(Ordering::SeqCst), what());
        }
    }

    /// A place where the run may be killed: from then on nothing comes back from any simulated part.
    pub(crate) async fn step(&self) {
        let at = self.step.fetch_add(1, Ordering::SeqCst);
        if at == self.kill_at.load(Ordering::SeqCst) {
            self.killed.store(true, Ordering::SeqCst);
            self.tell(|| "KILL".into());
            self.on_kill.notify_one();
        }
        if self.killed.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Before a call's effect. `Err`: there will be none.
    pub(crate) async fn before(&self, store: &'static str) -> Result<(), StoreError> {
        self.step().await;
        sleep(Duration::from_micros(50 + self.dice.below(3_000))).await;
        self.step().await;
        let plan = *self.plan.lock().unwrap();
        let down = &self.down_until[place(store)];
        if self.dice.percent(plan.outages) {
            let until = Instant::now() + Duration::from_millis(self.dice.below(4_000));
            *down.lock().unwrap() = Some(until);
            self.lose_connection(store);
            self.tell(|| format!("{store} goes down"));
        }
        if self.misconfigured_until[place(store)].lock().unwrap().is_some_and(|until| until > Instant::now()) {
            return Err(StoreError::new(store, Class::Configuration(Scope::Store), "nobody of that name"));
        }
        let is_down = down.lock().unwrap().is_some_and(|until| until > Instant::now());
        if is_down || self.dice.percent(plan.failures) {
            let class = if self.dice.percent(50) { Class::NotApplied } else { Class::Unknown };
            self.tell(|| format!("{store} fails: {class:?}"));
            return Err(StoreError::new(store, class, if is_down { "down" } else { "failed" }));
        }
        Ok(())
    }

    /// After a call's effect. `Err`: the reply is lost.
    pub(crate) async fn after(&self, store: &'static str) -> Result<(), StoreError> {
        self.step().await;
        let lost = self.plan.lock().unwrap().lost_replies;
        if self.dice.percent(lost) {
            self.tell(|| format!("{store} reply lost"));
            return Err(StoreError::new(store, Class::Unknown, "reply lost"));
        }
        Ok(())
    }
}

fn place(store: &str) -> usize {
    usize::from(store == "qdrant")
}
