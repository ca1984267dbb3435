//! The reckoning: everything that was promised and stored, compared with the log's story.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_engine::{Decision, Engine, OpFilter, OpView};
use lockstep_model::{Action, ActionKind, Key, Lsn, State, Table, UnrelateTarget, Version};
use lockstep_stores::{EdgeEnds, Point};
use tokio::time::{sleep, timeout};

use crate::clients::{Asked, Style};
use crate::coverage::Coverage;
use crate::documents::{self, SimRecord};
use crate::machine::Machine;
use crate::model::World;
use crate::promises::{kept_promise, structure};
use crate::vectors;

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
    /// What they showed when it was reckoned, but for what an operator or somebody else has to answer for.
    pub(crate) shown: BTreeMap<Key, String>,
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
                Style::Anything => {
                    nobody_else(&history, view)?;
                    world.follow_page(view);
                }
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
            Style::Anything => {
                kept_promise(asked, view)?;
                world.follow(asked, view);
            }
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
    let foreign = machine.foreign.lock().unwrap();
    let relates = Relates::of(&history);
    let left = left(&views, &history);
    let own: BTreeSet<Key> = left.iter().flat_map(|action| action.members()).filter_map(Action::subject).collect();
    let touched: BTreeSet<Key> = left.iter().flat_map(|action| relates.touched(action)).collect();
    // The points of edges that SurrealDB removed with a record wait with its own.
    let gone = |key: &&Key| own.contains(*key) || !documents.records.contains_key(*key);
    structure(&documents, &vectors, &touched.iter().filter(gone).cloned().collect(), &foreign)?;
    // An operator's word may come after what is younger in the log.
    let decided = history.values().filter(|asked| !asked.decided.is_empty());
    let mut spared: BTreeSet<Key> = decided.flat_map(|asked| relates.touched(&asked.op.action)).collect();
    // A look may write again what went with it (docs/reliability.md).
    spared.extend(touched);
    spared.extend(foreign.iter().cloned());
    let hangs = |ends: &EdgeEnds| foreign.contains(&ends.from) || foreign.contains(&ends.to);
    spared.extend(relates.edges.iter().filter(|(_, ends)| hangs(ends)).map(|(key, _)| key.clone()));
    tally.shown = shown(&documents, &vectors, |key| !spared.contains(key));
    match machine.style {
        Style::Ordered => world.compare(&documents, &vectors),
        // Edges that are named by their keys stand in no lane of their ends: what becomes of those the log does not foretell.
        Style::Anything => {
            let foretold = |key: &Key| !relates.tables.contains(&key.table) && !spared.contains(key);
            if documents.records.keys().any(foretold) {
                machine.faults.reach("content compared where not everything is foretold");
            }
            world.compare_those(&documents, &vectors, foretold)
        }
    }
}

/// Every edge that somebody wished for.
struct Relates {
    edges: Vec<(Key, EdgeEnds)>,
    tables: BTreeSet<Table>,
}

impl Relates {
    fn of(history: &BTreeMap<(Lsn, Version), Asked>) -> Self {
        let mut this = Self { edges: Vec::new(), tables: BTreeSet::new() };
        for action in history.values().flat_map(|asked| asked.op.action.members()) {
            match action {
                Action::Relate { key, from, to, .. } => {
                    this.tables.insert(key.table.clone());
                    this.edges.push((key.clone(), EdgeEnds { from: from.clone(), to: to.clone() }));
                }
                // Whoever names an edge knows that it is one.
                Action::Unrelate(UnrelateTarget::Key(key)) => drop(this.tables.insert(key.table.clone())),
                Action::Put { .. }
                | Action::Patch { .. }
                | Action::Delete { .. }
                | Action::Unrelate(UnrelateTarget::Endpoints { .. })
                | Action::Atomic(_)
                | Action::Clear { .. } => {}
            }
        }
        this
    }

    /// The keys that an operation writes or removes, and the edges that go along.
    fn touched(&self, action: &Action) -> BTreeSet<Key> {
        let mut touched = BTreeSet::new();
        for member in action.members() {
            touched.extend(member.subject());
            let goes = |key: &Key, ends: &EdgeEnds| match member {
                Action::Delete { key: node } => ends.from == *node || ends.to == *node,
                Action::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) => {
                    key.table == *edge && ends.from == *from && ends.to == *to
                }
                Action::Put { .. }
                | Action::Patch { .. }
                | Action::Relate { .. }
                | Action::Unrelate(UnrelateTarget::Key(_))
                | Action::Atomic(_)
                | Action::Clear { .. } => false,
            };
            touched.extend(self.edges.iter().filter(|(key, ends)| goes(key, ends)).map(|(key, _)| key.clone()));
        }
        touched
    }
}

/// What an operator left as it was, or has not decided: it may stand in one store alone, with all that went with it.
fn left(views: &[OpView], history: &BTreeMap<(Lsn, Version), Asked>) -> Vec<Action> {
    let mut left = Vec::new();
    for view in views.iter().filter(|view| matches!(view.state(), State::Parked | State::Discarded)) {
        // What nobody asked for is a page's delete, or what an operator had run again.
        let again = |asked: &&Asked| !asked.decided.is_empty() && asked.op.action.subject() == view.summary.key;
        match history.get(&(view.lsn, view.summary.version)) {
            Some(asked) => left.push(asked.op.action.clone()),
            None => {
                left.extend(history.values().filter(again).map(|asked| asked.op.action.clone()));
                left.extend(view.summary.key.clone().map(|key| Action::Delete { key }));
            }
        }
    }
    left
}

/// What the stores show of these keys, to be the same after one more start.
fn shown(documents: &documents::Disk, vectors: &vectors::Disk, which: impl Fn(&Key) -> bool) -> BTreeMap<Key, String> {
    let mut shown: BTreeMap<Key, String> = BTreeMap::new();
    for (key, record) in documents.records.iter().filter(|(key, _)| which(key)) {
        // Which write created it is told by the log, and may be told anew.
        let SimRecord { stamp, document, kept, has_vectors, ends } = record;
        let version = stamp.map(|stamp| stamp.version);
        shown.insert(key.clone(), format!("{version:?} {document:?} {kept:?} {has_vectors} {ends:?}"));
    }
    for point in vectors.points.values() {
        if let Some(key) = point.stamp.key.as_ref().filter(|key| which(key)) {
            let Point { stamp, vectors, payload } = point;
            *shown.entry(key.clone()).or_default() += &format!(" {:?} {vectors:?} {payload:?}", stamp.version);
        }
    }
    shown
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
