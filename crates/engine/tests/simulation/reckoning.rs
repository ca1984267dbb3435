//! The reckoning: everything that was promised and stored, compared with the log's story.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_engine::{Decision, Engine, OpFilter, OpView};
use lockstep_model::{Action, ActionKind, Key, Lsn, State, Version};
use tokio::time::{sleep, timeout};

use crate::clients::{Asked, Style};
use crate::coverage::Coverage;
use crate::machine::Machine;
use crate::model::World;
use crate::promises::{kept_promise, structure};

/// What a run went through.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) lives: u64,
    pub(crate) ops: u64,
    pub(crate) committed: u64,
    pub(crate) rolled_back: u64,
    pub(crate) rewritten: u64,
    /// Steps of the lives that ended well.
    pub(crate) steps: u64,
    pub(crate) coverage: Coverage,
    /// A digest of what the stores hold in the end.
    pub(crate) left: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.ops += other.ops;
        self.committed += other.committed;
        self.rolled_back += other.rolled_back;
        self.rewritten += other.rewritten;
        self.steps += other.steps;
        self.coverage.add(&other.coverage);
        self.left ^= other.left;
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
    let mut told = BTreeSet::new();
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
        machine.faults.coverage().history(view);
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
    let left: Vec<&OpView> = views.iter().filter(left).collect();
    // The points of edges that SurrealDB removed with such a record wait with its own.
    let removed: BTreeSet<&Key> = left
        .iter()
        .filter(|view| view.summary.kind == ActionKind::Delete)
        .filter_map(|view| view.summary.key.as_ref())
        .collect();
    let went_along = |action: &Action| {
        let Action::Relate { key, from, to, .. } = action else { return None };
        let went = !documents.records.contains_key(key) && (removed.contains(from) || removed.contains(to));
        went.then(|| Some(key.clone()))
    };
    let related = history.values().flat_map(|asked| asked.op.action.members()).filter_map(went_along);
    let left = left.iter().map(|view| view.summary.key.clone()).chain(related).collect();
    structure(&documents, &vectors, &left, &machine.foreign.lock().unwrap())?;
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
