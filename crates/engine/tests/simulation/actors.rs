//! Those who act in a life: each goes through its steps, and checks what it is told on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_engine::{Decision, Ending, Engine, OpFilter, Pausable};
use lockstep_model::{Code, Document, Key, OpId, Operation, PayloadSelection, State, Table, Value, Version};
use lockstep_stores::{PointStamp, Stamp};
use lockstep_wal::{Caller, Log, Space};
use tokio::time::{sleep, timeout};

use crate::clients::{Asked, PARKS, key};
use crate::documents::SimRecord;
use crate::machine::Machine;
use crate::script::{Change, Step};

/// Somebody who acts.
pub(crate) struct Actor {
    pub(crate) engine: Engine,
    pub(crate) machine: Machine,
    /// Versions of its own operations.
    known: Vec<Version>,
}

/// The engine has stopped: nobody can do anything more in this life.
struct Stopped;

impl Actor {
    pub(crate) const fn new(engine: Engine, machine: Machine) -> Self {
        Self { engine, machine, known: Vec::new() }
    }

    pub(crate) async fn act(mut self, steps: Vec<Step>) {
        for step in steps {
            if self.step(step).await.is_err() {
                return;
            }
        }
    }

    fn has_stopped(&self) -> bool {
        self.engine.failure().borrow().is_some()
    }

    /// A record of the log is rotten: what needs it is refused.
    fn is_rotten(&self) -> bool {
        self.machine.rotten.lock().unwrap().is_some()
    }

    async fn step(&mut self, step: Step) -> Result<(), Stopped> {
        let faults = &self.machine.faults;
        match step {
            Step::Wait { us } => sleep(Duration::from_micros(us)).await,
            Step::Ask { op, against, patience_s } => self.ask(*op, against, patience_s).await?,
            Step::Repeat { which, same_body } => self.repeat(which, same_body)?,
            Step::Decide { which, decision } => self.decide(which, decision).await,
            // The table may not be known yet.
            Step::Pause(what) if self.engine.pause(&what).is_ok() => faults.reach(match &what {
                Pausable::Store(_) => "a store paused",
                Pausable::Table(_) => "a table paused",
            }),
            Step::Pause(_) => {}
            Step::Resume(what) => drop(self.engine.resume(&what)),
            Step::Verify if self.engine.verify().await.is_ok() => faults.reach("verified on request"),
            Step::Verify => {}
            Step::Checkpoint => drop(self.engine.checkpoint().await),
            Step::FillDisk { ms } => {
                let ended = || self.engine.status().totals.values().sum::<u64>();
                self.machine.log.set_space(Space::Reserve);
                let before = ended();
                sleep(Duration::from_millis(ms)).await;
                if ended() > before {
                    faults.reach("ended while the disk was full");
                }
                self.machine.log.set_space(Space::Ample);
            }
            Step::JumpClock { by_us } => {
                faults.reach(if by_us > 0 { "a clock that jumped ahead" } else { "a clock that jumped back" });
                self.machine.drift.jump(by_us);
            }
            Step::LoseConnection { store } => {
                faults.reach("a lost connection");
                faults.lose_connection(store);
            }
            Step::Misconfigure { store, ms } => faults.misconfigure(store, Duration::from_millis(ms)),
            Step::BreakTable { table, ms } => {
                self.machine.documents.lock().unwrap().unready.insert(table.clone());
                self.machine.vectors.lock().unwrap().unready.insert(table.to_string());
                sleep(Duration::from_millis(ms)).await;
                self.machine.mend_tables();
            }
            Step::Outside { key, change } => self.outside(&key, change),
            Step::Backup => self.back_up().await,
            Step::Rot { which } => *self.machine.rotten.lock().unwrap() = Some(self.machine.record(which)),
            Step::TakeOver => {
                faults.reach("taken over by another log");
                self.machine.documents.lock().unwrap().take_over(lockstep_model::LogId(uuid::Uuid::from_u128(99)));
            }
        }
        Ok(())
    }

    /// A copy of both stores at a moment when nothing is under way: what is rolled back later must not be in it, for nothing looks
    /// for that (docs/reliability.md).
    async fn back_up(&self) {
        for _ in 0..200 {
            let wal = self.engine.status().wal;
            if wal.open_ops == 0 && wal.parked == 0 {
                let backup = self.machine.backup();
                self.machine.backups.lock().unwrap().push(backup);
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn ask(&mut self, mut op: Operation, against: Option<u64>, patience_s: Option<u64>) -> Result<(), Stopped> {
        if let Some(against) = against.filter(|_| !self.known.is_empty()) {
            let which = usize::try_from(against).unwrap() % self.known.len();
            op.precondition.if_version = Some(self.known[which]);
        }
        let (engine, history) = (&self.engine, &self.machine.history);
        let mut taken = match engine.take(op.clone(), Caller::default()) {
            Ok(taken) => taken,
            Err(_) if self.has_stopped() => return Err(Stopped),
            // Nothing else in these scripts is a reason to refuse.
            Err(refusal) => {
                let full = self.machine.log.pressure().space != Space::Ample;
                assert!(refusal.code == Code::DiskFull && full, "refused: {refusal}: {op:?}");
                self.machine.faults.reach("a full disk refused");
                return Ok(());
            }
        };
        let place = (taken.lsn, taken.version);
        self.known.push(taken.version);
        let asked = Asked { op: op.clone(), logged: false, ending: None, decided: Vec::new(), life: self.machine.life };
        history.lock().unwrap().insert(place, asked);
        taken.logged().await.map_err(|_| Stopped)?;
        history.lock().unwrap().get_mut(&place).unwrap().logged = true;
        if op.idempotency.is_some() && !self.has_stopped() {
            let again = match engine.take(op, Caller::default()) {
                Err(refusal) if refusal.code == Code::Stopping && self.is_rotten() => return Err(Stopped),
                again => again.expect("a repeated idempotency key is not refused"),
            };
            assert_eq!((again.lsn, again.version), place, "a repeated idempotency key runs once");
        }
        if let Some(patience_s) = patience_s {
            let ending = match engine.ending(taken.lsn) {
                None if self.is_rotten() => return Err(Stopped),
                ending => ending.expect("the log knows what it acknowledged"),
            };
            if let Ok(Ok(ending)) = timeout(Duration::from_secs(patience_s), ending).await {
                history.lock().unwrap().get_mut(&place).unwrap().ending = Some(ending);
            }
        }
        Ok(())
    }

    /// P4: a repeated idempotency key gets the first answer, whenever it is repeated; with another body it is refused.
    fn repeat(&self, which: u64, same_body: bool) -> Result<(), Stopped> {
        let mut history = self.machine.history.lock().unwrap();
        // Whoever asked may still wait to hear that it was logged; what an operator had run again has another place.
        let repeatable = |asked: &Asked| asked.op.idempotency.is_some() && asked.logged && asked.decided.is_empty();
        let known: Vec<_> = history.iter().filter(|(_, asked)| repeatable(asked)).map(|(place, _)| *place).collect();
        if known.is_empty() {
            return Ok(());
        }
        let place = known[usize::try_from(which).unwrap() % known.len()];
        let asked = history.get_mut(&place).unwrap();
        let mut op = asked.op.clone();
        if !same_body {
            op.idempotency.as_mut().unwrap().body_hash = [8; 16];
        }
        let faults = &self.machine.faults;
        let again = self.engine.take(op, Caller::default());
        if self.has_stopped() {
            return Err(Stopped);
        }
        match again {
            Ok(again) => {
                assert!(same_body, "an idempotency key with another body is a mistake, and is told so");
                assert_eq!((again.lsn, again.version), place, "a repeated idempotency key runs once, in every life");
                faults.reach("a repeated idempotency key");
                if asked.life < self.machine.life {
                    faults.reach("an idempotency key repeated in another life");
                }
            }
            Err(refusal) if refusal.code == Code::Stopping && self.is_rotten() => return Err(Stopped),
            Err(refusal) => {
                assert!(!same_body && refusal.code == Code::IdempotencyMismatch, "{place:?}: {refusal}");
                faults.reach("a repeated idempotency key with another body");
            }
        }
        Ok(())
    }

    /// Decides about one parked operation.
    async fn decide(&self, which: u64, decision: Decision) {
        let filter = OpFilter { state: Some(State::Parked), limit: 5, ..OpFilter::default() };
        let Ok((parked, _)) = self.engine.ops(&filter) else { return };
        if parked.is_empty() {
            return;
        }
        let view = &parked[usize::try_from(which).unwrap() % parked.len()];
        let place = (view.lsn, view.summary.version);
        let history = &self.machine.history;
        // What was asked for again is asked for by nobody else, and stays parked if it parks.
        match history.lock().unwrap().get_mut(&place) {
            Some(asked) => asked.decided.push(decision),
            None => return,
        }
        let decided = self.engine.decide(view.lsn, decision, None, Caller::default());
        if let Ok(Ok(decided)) = timeout(Duration::from_secs(30), decided).await
            && let Some(asked) = history.lock().unwrap().get_mut(&place)
        {
            asked.ending = Some(Ending { state: decided.state, failure: decided.failure });
        }
    }

    /// Somebody else writes the record, or removes it with all that hangs on it.
    fn outside(&self, key: &Key, change: Change) {
        let (faults, mut foreign) = (&self.machine.faults, self.machine.foreign.lock().unwrap());
        let (mut documents, mut points) =
            (self.machine.documents.lock().unwrap(), self.machine.vectors.lock().unwrap());
        let nodes = documents.records.iter().filter(|(_, record)| record.ends.is_none());
        let last = nodes.max_by_key(|(_, record)| record.stamp.map(|stamp| stamp.version)).map(|(key, _)| key.clone());
        let key = &last.filter(|_| matches!(change, Change::EditLast(_))).unwrap_or_else(|| key.clone());
        faults.tell(|| format!("somebody else: {key}: {change:?}"));
        foreign.insert(key.clone());
        let content = |x: i64| Document(BTreeMap::from([("x".to_owned(), Value::Int(x))]));
        let nothing = SimRecord { stamp: None, document: content(0), kept: None, has_vectors: false, ends: None };
        match change {
            Change::Edit(x) | Change::EditLast(x) => {
                // What they make anew without a version is removed with the next look at a delete of its key: not done here.
                if let Some(record) = documents.records.get_mut(key) {
                    faults.reach("written by somebody else");
                    record.document = content(x);
                }
            }
            Change::Newer(x) => {
                faults.reach("written by somebody else");
                let version = Version(1_800_000_000_000_000 + u64::try_from(x).unwrap());
                let stamp = Stamp { version, op: OpId(uuid::Uuid::from_u128(5)), created: false };
                let record = documents.records.entry(key.clone()).or_insert(nothing);
                (record.stamp, record.document) = (Some(stamp), content(x));
            }
            Change::Remove => {
                if documents.records.contains_key(key) {
                    faults.reach("removed by somebody else");
                }
                documents.delete(key, Version(u64::MAX));
                // Points of edges that went with it are nobody's fault, nor are edges that are just being made.
                foreign.extend(edges_at(key));
            }
            Change::Point(x) => {
                if let Some(point) = points.point_of(key) {
                    faults.reach("a point written by somebody else");
                    point.stamp = PointStamp { version: None, op: None, key: None };
                    point.payload = PayloadSelection::Scalars.select(&content(x));
                }
            }
            Change::RemovePoint => {
                if points.take_point(key) {
                    faults.reach("a point removed by somebody else");
                }
            }
        }
    }
}

/// Every edge that clients may make at a record.
fn edges_at(node: &Key) -> Vec<Key> {
    let others = [("a", 4), ("b", 4), (PARKS, 3)];
    let others = others.into_iter().flat_map(|(table, count)| (0..count).map(move |n| key(&format!("{table}:{n}"))));
    let edges = |edge: &str, other: &Key| {
        let table = Table::new(edge).unwrap();
        [Key::edge(&table, node, other), Key::edge(&table, other, node), key(&format!("{edge}:own"))]
    };
    others.flat_map(|other| ["e", "f"].into_iter().flat_map(move |edge| edges(edge, &other))).collect()
}
