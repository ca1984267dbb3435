//! What every case needs: a machine, a life on it, and short names for operations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_engine::{Ending, Engine, OpFilter, Pausable, Settings};
use lockstep_model::{
    Action, Code, Document, Key, Lsn, OpId, Operation, Refusal, State, Table, TableRules, UnrelateTarget, Value,
    Vector, Vectors,
};
use lockstep_wal::Caller;
use tokio::time::{sleep, timeout};

use crate::clients::{Asked, History, Style, key};
use crate::faults::{FaultPlan, Outcome};
use crate::machine::{Machine, Sabotage};
use crate::reckoning::{Tally, quiet, reckon};
use crate::vectors::POISON;

pub(crate) fn machine() -> Machine {
    Machine::new(7, FaultPlan::default(), false, Sabotage::Nothing, Style::Ordered)
}

/// Runs `life` with an engine on the machine until it ends; a power cut follows.
pub(crate) fn live<F: Future<Output = ()>>(machine: &mut Machine, settings: Settings, life: impl FnOnce(Engine) -> F) {
    let this = machine.again();
    let done = Arc::new(Mutex::new(false));
    let told = Arc::clone(&done);
    machine.live(u64::MAX, move || async move {
        let engine = this.start(settings).await;
        life(engine).await;
        *told.lock().unwrap() = true;
    });
    assert!(*done.lock().unwrap(), "the life came to its end");
}

pub(crate) fn document(x: i64) -> Document {
    Document(BTreeMap::from([("x".to_owned(), Value::Int(x))]))
}

pub(crate) fn vector(first: f32) -> Vectors {
    Vectors::single(Vector::Dense(vec![first, 1.0]))
}

pub(crate) fn put(text: &str, x: i64, first: f32) -> Operation {
    Operation::plain(Action::Put { key: key(text), document: document(x), vectors: vector(first) })
}

pub(crate) fn patch(text: &str, x: i64) -> Operation {
    Operation::plain(Action::Patch { key: key(text), document: document(x), vectors: Vectors::default() })
}

pub(crate) fn delete(text: &str) -> Operation {
    Operation::plain(Action::Delete { key: key(text) })
}

pub(crate) fn relate(from: &str, to: &str) -> Operation {
    let (edge, from, to) = (Table::new("e").unwrap(), key(from), key(to));
    let key = Key::edge(&edge, &from, &to);
    Operation::plain(Action::Relate { key, from, to, document: Document::default(), vectors: Vectors::default() })
}

/// Takes it and waits until its intent is durable.
pub(crate) async fn take(engine: &Engine, op: Operation) -> (Lsn, OpId) {
    let mut taken = engine.take(op, Caller::default()).unwrap();
    taken.logged().await.unwrap();
    (taken.lsn, taken.op_id)
}

pub(crate) async fn end(engine: &Engine, lsn: Lsn) -> Ending {
    let ending = engine.ending(lsn).unwrap();
    match timeout(Duration::from_secs(6000), ending).await {
        Ok(ending) => ending.unwrap(),
        Err(_) => {
            let filter = OpFilter { below: Some(lsn.next()), limit: 1, ..OpFilter::default() };
            panic!("it does not end: {:?}, {:?}", engine.ops(&filter), engine.status());
        }
    }
}

pub(crate) async fn run(engine: &Engine, op: Operation) -> Ending {
    let (lsn, _) = take(engine, op).await;
    end(engine, lsn).await
}

/// As [`run`], and remembers what was asked and told, for the reckoning.
pub(crate) async fn asked(engine: &Engine, history: &History, op: Operation) -> Ending {
    let lsn = ask(engine, history, op).await;
    let ending = end(engine, lsn).await;
    let mut history = history.lock().unwrap();
    let asked = history.iter_mut().rev().find(|((at, _), _)| *at == lsn);
    asked.unwrap().1.ending = Some(ending.clone());
    ending
}

/// As [`take`], and remembers what was asked, for the reckoning.
pub(crate) async fn ask(engine: &Engine, history: &History, op: Operation) -> Lsn {
    let mut taken = engine.take(op.clone(), Caller::default()).unwrap();
    let place = (taken.lsn, taken.version);
    history.lock().unwrap().insert(place, Asked { op, logged: false, ending: None, decided: Vec::new(), life: 0 });
    taken.logged().await.unwrap();
    history.lock().unwrap().get_mut(&place).unwrap().logged = true;
    taken.lsn
}

pub(crate) fn code(ending: &Ending) -> Option<Code> {
    ending.failure.as_ref().map(|f| f.code)
}

pub(crate) fn refused(engine: &Engine, op: Operation) -> Refusal {
    engine.take(op, Caller::default()).expect_err("it is refused")
}

pub(crate) fn with_table(name: &str, rules: TableRules) -> Settings {
    let mut settings = Machine::settings();
    settings.tables.insert(Table::new(name).unwrap(), rules);
    settings
}

pub(crate) fn unrelate(from: &str, to: &str) -> Operation {
    let edge = Table::new("e").unwrap();
    Operation::plain(Action::Unrelate(UnrelateTarget::Endpoints { edge, from: key(from), to: key(to) }))
}

/// An edge with a vector, in a table of its own.
pub(crate) fn relate_with(edge: &str, from: &str, to: &str, first: f32) -> Operation {
    let (edge, from, to) = (Table::new(edge).unwrap(), key(from), key(to));
    let key = Key::edge(&edge, &from, &to);
    Operation::plain(Action::Relate { key, from, to, document: document(1), vectors: vector(first) })
}

/// All or none of these.
pub(crate) fn group(members: impl IntoIterator<Item = Operation>) -> Operation {
    Operation::plain(Action::Atomic(members.into_iter().map(|member| member.action).collect()))
}

pub(crate) fn clear(table: &str) -> Operation {
    Operation::plain(Action::Clear { table: Table::new(table).unwrap(), filter: None })
}

/// A machine whose stores are servers of their own.
pub(crate) fn served() -> Machine {
    let mut machine = machine();
    machine.serve();
    machine
}

/// Everything is as the log says, now.
pub(crate) async fn reckoned(machine: &Machine, engine: &Engine) {
    quiet(engine).await.unwrap();
    reckon(machine, engine, &mut Tally::default()).unwrap();
}

/// Waits until something is so.
pub(crate) async fn until(what: impl Fn() -> bool) {
    let limit = Duration::from_secs(3600);
    let so = async {
        while !what() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(limit, so).await.expect("it becomes so");
}

/// A group removes the edge in `f` from `a:2` to `a:1`, by itself or with an end, until Qdrant refuses it; what is asked `meanwhile`
/// comes between that removal and the group's giving back.
pub(crate) async fn gives_back_behind(
    machine: &Machine,
    engine: &Engine,
    removal: Operation,
    meanwhile: impl IntoIterator<Item = Operation>,
) {
    for op in [put("a:1", 1, 1.0), put("a:2", 2, 2.0), put("c:1", 3, 3.0), relate_with("f", "a:2", "a:1", 4.0)] {
        asked(engine, &machine.history, op).await;
    }
    machine.faults.script("qdrant", &[Outcome::NotApplied; 6]);
    let lsn = ask(engine, &machine.history, group([removal, put("c:1", 13, POISON)])).await;
    until(|| machine.documents.lock().unwrap().records.values().all(|record| record.ends.is_none())).await;
    let mut others = Vec::new();
    for op in meanwhile {
        others.push(ask(engine, &machine.history, op).await);
    }
    assert_eq!(end(engine, lsn).await.state, State::RolledBack);
    for other in others {
        assert_eq!(end(engine, other).await.state, State::Committed);
    }
    reckoned(machine, engine).await;
}

/// An edge with a key of its own.
pub(crate) fn relate_as(name: &str, from: &str, to: &str) -> Operation {
    let (key, from, to) = (key(name), key(from), key(to));
    Operation::plain(Action::Relate { key, from, to, document: document(1), vectors: Vectors::default() })
}

/// A patch of an edge by its key.
pub(crate) fn patch_of(edge: &Key, vectors: Vectors) -> Operation {
    Operation::plain(Action::Patch { key: edge.clone(), document: document(9), vectors })
}

/// Whether SurrealDB shows the record.
pub(crate) fn is_there(machine: &Machine, key: &Key) -> bool {
    machine.documents.lock().unwrap().records.contains_key(key)
}

/// Whether Qdrant shows a point of the key.
pub(crate) fn has_point(machine: &Machine, key: &Key) -> bool {
    machine.vectors.lock().unwrap().points.values().any(|point| point.stamp.key.as_ref() == Some(key))
}

/// A table, to be paused.
pub(crate) fn the_table(name: &str) -> Pausable {
    Pausable::Table(Table::new(name).unwrap())
}
