//! One run: a few lives of one engine on the same disks, each but the last killed at some step, then the reckoning.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_engine::{Engine, Fatal, Pausable, Settings, StartError, StoreName, fold};
use lockstep_model::Key;
use lockstep_wal::{Log, Space};
use tokio::time::sleep;

use crate::actors::Actor;
use crate::machine::{LATE, Machine};
use crate::reckoning::{Tally, quiet, reckon};
use crate::script::{Life, Script, Step};

/// Runs one script. `Err` says what was not as promised.
pub(crate) fn perform(script: &Script, trace: bool) -> Result<Tally, String> {
    let mut machine = Machine::new(script.dice, script.plan, trace, script.sabotage, script.style);
    machine.batch_ops = script.batch_ops;
    if script.served {
        machine.serve();
    }
    let failure = Arc::default();
    let tally = Arc::new(Mutex::new(Tally::default()));
    for life in &script.lives {
        machine.prepare(life);
        let last = life.kill_after == u64::MAX;
        one_life(&mut machine, script, life, &failure, last.then(|| Arc::clone(&tally)));
        tally.lock().unwrap().lives += u64::from(!last);
        if let Some(why) = failure.lock().unwrap().take() {
            return Err(why);
        }
    }
    // Once more, from what the last life left: replaying changes nothing (P4).
    let again = Arc::new(Mutex::new(Tally::default()));
    let idle = Life { kill_after: u64::MAX, restore: None, rot: None, actors: Vec::new() };
    one_life(&mut machine, script, &idle, &failure, Some(Arc::clone(&again)));
    let outcome = failure.lock().unwrap().take();
    match outcome {
        Some(why) => Err(format!("after one more restart: {why}")),
        None => {
            let (mut tally, again) = (tally.lock().unwrap().clone(), again.lock().unwrap());
            same(&tally.shown, &again.shown)?;
            tally.rewritten += again.rewritten;
            tally.coverage = machine.faults.coverage().clone();
            tally.left = machine.digest();
            Ok(tally)
        }
    }
}

/// One more start has changed nothing.
fn same(before: &BTreeMap<Key, String>, after: &BTreeMap<Key, String>) -> Result<(), String> {
    let mut keys = before.keys().chain(after.keys());
    match keys.find(|key| before.get(key) != after.get(key)) {
        Some(key) => {
            Err(format!("one more restart made of {key} {:?} what had been {:?}", after.get(key), before.get(key)))
        }
        None => Ok(()),
    }
}

impl Script {
    fn settings(&self, machine: &Machine) -> Settings {
        let its = machine.its_settings();
        let day = Duration::from_secs(86_400);
        Settings {
            max_attempts: self.max_attempts,
            // A clock that jumps must not take away what the reckoning needs.
            keep_finished: day * 3650,
            retain_committed: if self.retains { day * 100 } else { its.retain_committed },
            ..its
        }
    }
}

impl Machine {
    /// What happens between two lives.
    fn prepare(&self, life: &Life) {
        self.mend_tables();
        self.documents.lock().unwrap().give_back(self.log.id());
        let backups = self.backups.lock().unwrap();
        let Some(restore) = life.restore.filter(|_| !backups.is_empty()) else { return };
        let (documents, vectors) = &backups[usize::try_from(restore.which).unwrap() % backups.len()];
        if restore.documents {
            self.faults.reach("documents restored to an older copy");
            self.documents.lock().unwrap().restore(documents);
        }
        if restore.points {
            self.faults.reach("points restored to an older copy");
            self.vectors.lock().unwrap().restore(vectors);
        }
        self.faults.tell(|| format!("{restore:?}"));
    }

    /// A start on a log with a rotten record is refused, and names it; where the record has left, or holds nothing that a start
    /// needs, it is a start like others.
    async fn refuses_rot(&self, which: u64, settings: Settings) -> Result<(), String> {
        let lsn = self.record(which);
        *self.rotten.lock().unwrap() = Some(lsn);
        let is_refused = fold(&self.bent()).is_err();
        let started = if is_refused { Some(Engine::start(self.parts(), settings).await) } else { None };
        *self.rotten.lock().unwrap() = None;
        match started {
            None => Ok(()),
            Some(Err(StartError::Recover(why))) if why.to_string().contains(&format!("record {lsn} ")) => {
                self.faults.reach("a rotten record refused at a start");
                Ok(())
            }
            Some(Err(other)) => Err(format!("record {lsn} is rotten, and it says {other:?}")),
            Some(Ok(_)) => Err(format!("it started without record {lsn}")),
        }
    }

    /// Whether it had to stop for this.
    fn is_due(&self, why: &Fatal) -> bool {
        let rotten = *self.rotten.lock().unwrap();
        match (why, rotten) {
            (Fatal::Fenced(_), _) => {
                self.documents.lock().unwrap().claimed.is_some_and(|(owner, _)| owner != self.log.id())
            }
            (Fatal::Lost(why), Some(lsn)) if why.contains(&format!("record {lsn}")) => {
                self.faults.reach("a record that rotted stopped the engine");
                true
            }
            (Fatal::Lost(_) | Fatal::Log(_) | Fatal::Task(_), _) => false,
        }
    }

    /// From now on nothing goes wrong, and nothing stands still.
    fn calm(&self, engine: &Engine, actors: &[Vec<Step>]) {
        self.faults.calm();
        self.mend_tables();
        self.log.set_space(Space::Ample);
        for store in [StoreName::Surreal, StoreName::Qdrant] {
            let _ = engine.resume(&Pausable::Store(store));
        }
        for step in actors.iter().flatten() {
            if let Step::Pause(table @ Pausable::Table(_)) = step {
                let _ = engine.resume(table);
            }
        }
    }
}

type Shared<T> = Arc<Mutex<T>>;

/// A life. With `tally` it is one that ends well: everything is brought to its end and compared.
fn one_life(
    machine: &mut Machine,
    script: &Script,
    life: &Life,
    failure: &Shared<Option<String>>,
    tally: Option<Shared<Tally>>,
) {
    let told = Arc::clone(failure);
    let (this, settings, actors) = (machine.again(), script.settings(machine), life.actors.clone());
    let (rot, recovering) = (life.rot, Arc::new(AtomicBool::new(false)));
    let is_recovering = Arc::clone(&recovering);
    machine.live(life.kill_after, move || async move {
        if let Some(which) = rot
            && let Err(why) = this.refuses_rot(which, settings.clone()).await
        {
            *told.lock().unwrap() = Some(why);
            return;
        }
        let engine = this.start(settings).await;
        let recovered = engine.clone();
        tokio::spawn(async move {
            is_recovering.store(true, Ordering::SeqCst);
            while !recovered.status().recovery.done {
                sleep(Duration::from_micros(500)).await;
            }
            is_recovering.store(false, Ordering::SeqCst);
        });
        let acting: Vec<_> = actors
            .iter()
            .map(|steps| tokio::spawn(Actor::new(engine.clone(), this.again()).act(steps.clone())))
            .collect();
        for actor in acting {
            if let Err(broken) = actor.await {
                *told.lock().unwrap() = Some(format!("an actor sees a broken promise: {broken}"));
                return;
            }
        }
        let Some(tally) = tally else {
            // The kill comes, also to one that idles, or that has stopped.
            loop {
                let failure = engine.failure().borrow().clone();
                if let Some(why) = failure.filter(|why| !this.is_due(why)) {
                    *told.lock().unwrap() = Some(format!("the engine stopped: {why:?}"));
                    return;
                }
                sleep(Duration::from_millis(1)).await;
                this.faults.step().await;
            }
        };
        this.calm(&engine, &actors);
        let mut sums = tally.lock().unwrap().clone();
        let mut ended = quiet(&engine).await;
        if this.served && ended.is_ok() {
            // Everything comes that was on its way, also what an outage had delayed until now, and is looked after.
            sleep(LATE * 4).await;
            ended = quiet(&engine).await;
        }
        let done = match ended {
            Ok(()) => reckon(&this, &engine, &mut sums),
            Err(why) => Err(why),
        };
        sums.rewritten += engine.status().recovery.rewritten;
        sums.steps += this.faults.steps();
        *tally.lock().unwrap() = sums;
        *told.lock().unwrap() = done.err();
    });
    if recovering.load(Ordering::SeqCst) {
        machine.faults.reach("killed while it recovered");
    }
}
