//! Clients: what they ask for, and what they were promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_engine::{Decision, Ending, Engine, OpFilter};
use lockstep_model::{
    Action, Bound, Document, Filter, Id, Idempotency, Key, Lsn, Operation, Precondition, State, Table, UnrelateTarget,
    Value, Vector, Vectors, Version,
};
use lockstep_wal::Caller;
use tokio::time::{sleep, timeout};

use crate::chance::Dice;
use crate::vectors::POISON;

/// One operation as its client saw it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) op: Operation,
    /// It was acknowledged as logged.
    pub(crate) logged: bool,
    /// How it ended, if the client heard.
    pub(crate) ending: Option<Ending>,
    /// What an operator decided of it, as far as was asked.
    pub(crate) decided: Vec<Decision>,
}

/// Everything that clients asked for, by place and version: a place that was lost in a crash is given again.
pub(crate) type History = Arc<Mutex<BTreeMap<(Lsn, Version), Asked>>>;

pub(crate) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn node(dice: &Dice) -> Key {
    let table = dice.pick(&["a", "a", "b"]);
    key(&format!("{table}:{}", dice.below(4)))
}

fn edge_table(dice: &Dice) -> Table {
    Table::new(dice.pick(&["e", "f"])).unwrap()
}

fn document(dice: &Dice) -> Document {
    let mut map = BTreeMap::new();
    for name in ["x", "y", "z"] {
        if dice.percent(60) {
            map.insert(name.to_owned(), Value::Int(i64::try_from(dice.below(1000)).unwrap()));
        }
    }
    if dice.percent(4) {
        map.insert("poison".into(), Value::Text("surreal".into()));
    }
    Document(map)
}

fn vectors(dice: &Dice) -> Vectors {
    let first = if dice.percent(6) { POISON } else { u16::try_from(dice.below(100)).unwrap().into() };
    Vectors::single(Vector::Dense(vec![first, 1.0]))
}

fn vectors_for(dice: &Dice, table: &str) -> Vectors {
    match table {
        "a" if dice.percent(80) => vectors(dice),
        "f" if dice.percent(70) => vectors(dice),
        PARKS if dice.percent(30) => Vectors::single(Vector::Dense(vec![POISON, 1.0])),
        PARKS => vectors(dice),
        _ => Vectors::default(),
    }
}

/// What clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// What the log orders fully: every answer can be foretold.
    Ordered,
    /// Also edges by their key alone, which stand in no lane of their endpoints: only what is structural must hold.
    Anything,
}

/// The table whose refused operations are parked for an operator.
pub(crate) const PARKS: &str = "p";

fn action(dice: &Dice, style: Style) -> Action {
    let mut key = node(dice);
    if style == Style::Anything && dice.percent(10) {
        key = Key::new(Table::new(PARKS).unwrap(), Id::Int(i64::try_from(dice.below(3)).unwrap()));
    }
    if style == Style::Anything && key.table.as_str() != PARKS && dice.percent(30) {
        let (edge, from, to) = (edge_table(dice), node(dice), node(dice));
        key = if dice.percent(50) { Key::edge(&edge, &from, &to) } else { Key::new(edge, Id::Text("own".into())) };
        if dice.percent(60) {
            return Action::Patch { document: document(dice), vectors: vectors_for(dice, key.table.as_str()), key };
        }
        return Action::Unrelate(UnrelateTarget::Key(key));
    }
    match dice.below(100) {
        0..35 => Action::Put { document: document(dice), vectors: vectors_for(dice, key.table.as_str()), key },
        35..55 => {
            let mut patch = document(dice);
            if dice.percent(30) {
                patch.0.insert("x".into(), Value::Null);
            }
            let vectors = if dice.percent(30) { vectors_for(dice, key.table.as_str()) } else { Vectors::default() };
            Action::Patch { key, document: patch, vectors }
        }
        55..70 => Action::Delete { key },
        70..92 => {
            let (edge, from, to) = (edge_table(dice), node(dice), node(dice));
            // An edge does not move: a key of one's own belongs to one pair, or the second relate is refused.
            let own_id = if style == Style::Anything { "own".to_owned() } else { format!("{from}-{to}") };
            let own = dice.percent(20).then(|| Key::new(edge.clone(), Id::Text(own_id.as_str().into())));
            Action::Relate {
                key: own.unwrap_or_else(|| Key::edge(&edge, &from, &to)),
                document: document(dice),
                vectors: vectors_for(dice, edge.as_str()),
                from,
                to,
            }
        }
        _ => Action::Unrelate(UnrelateTarget::Endpoints { edge: edge_table(dice), from: node(dice), to: node(dice) }),
    }
}

/// All or none of a few, on different keys and different pairs.
fn group(dice: &Dice, style: Style) -> Action {
    let mut members: Vec<Action> = Vec::new();
    let mut subjects = BTreeSet::new();
    for _ in 0..2 + dice.below(4) {
        let member = action(dice, style);
        let pair = match &member {
            Action::Relate { key, from, to, .. } => Some(Key::edge(&key.table, from, to)),
            Action::Put { .. }
            | Action::Patch { .. }
            | Action::Delete { .. }
            | Action::Unrelate(_)
            | Action::Atomic(_)
            | Action::Clear { .. } => None,
        };
        let keys: Vec<Key> = member.subject().into_iter().chain(pair).collect();
        if keys.iter().all(|key| !subjects.contains(key)) {
            subjects.extend(keys);
            members.push(member);
        }
    }
    Action::Atomic(members)
}

fn clear(dice: &Dice) -> Action {
    let table = Table::new(dice.pick(&["a", "b", "e", "f"])).unwrap();
    let below = Bound::Int(i64::try_from(dice.below(1000)).unwrap());
    let filter =
        dice.percent(60).then(|| Filter::Range { field: "x".into(), gt: None, gte: None, lt: Some(below), lte: None });
    Action::Clear { table, filter }
}

/// An operation on few keys, so that they meet.
pub(crate) fn operation(dice: &Dice, name: &str, known: &[Version], style: Style) -> Operation {
    let action = match dice.below(100) {
        0..14 => group(dice, style),
        14..17 => clear(dice),
        _ => action(dice, style),
    };
    if matches!(action, Action::Atomic(_) | Action::Clear { .. }) {
        let idempotency = dice.percent(15).then(|| Idempotency { key: name.to_owned(), body_hash: [7; 16] });
        return Operation { idempotency, ..Operation::plain(action) };
    }
    let mut precondition = Precondition::default();
    match dice.below(20) {
        0 => precondition.if_absent = true,
        1 if !known.is_empty() => precondition.if_version = Some(dice.pick(known)),
        _ => {}
    }
    let idempotency = dice.percent(15).then(|| Idempotency { key: name.to_owned(), body_hash: [7; 16] });
    Operation { action, precondition, idempotency }
}

/// Decides about one parked operation.
async fn decide(engine: &Engine, dice: &Dice, history: &History) {
    let filter = OpFilter { state: Some(State::Parked), limit: 5, ..OpFilter::default() };
    let Ok((parked, _)) = engine.ops(&filter) else { return };
    if parked.is_empty() {
        return;
    }
    let view = dice.pick(&parked);
    let place = (view.lsn, view.summary.version);
    let decision = dice.pick(&[
        Decision::Discard,
        Decision::Rollback,
        Decision::Retry { force: false },
        Decision::Retry { force: true },
    ]);
    // What was asked for again is asked for by nobody else, and stays parked if it parks.
    match history.lock().unwrap().get_mut(&place) {
        Some(asked) => asked.decided.push(decision),
        None => return,
    }
    let decided = engine.decide(view.lsn, decision, None, Caller::default());
    if let Ok(Ok(decided)) = timeout(Duration::from_secs(30), decided).await
        && let Some(asked) = history.lock().unwrap().get_mut(&place)
    {
        asked.ending = Some(Ending { state: decided.state, failure: decided.failure });
    }
}

/// Asks for `count` operations, waiting for some of them to end.
pub(crate) async fn client(engine: Engine, dice: Dice, style: Style, name: String, count: u64, history: History) {
    let mut known = Vec::new();
    for n in 0..count {
        if dice.percent(30) {
            sleep(Duration::from_micros(dice.below(5_000))).await;
        }
        if style == Style::Anything && dice.percent(15) {
            decide(&engine, &dice, &history).await;
        }
        let op = operation(&dice, &format!("{name}-{n}"), &known, style);
        let Ok(mut taken) = engine.take(op.clone(), Caller::default()) else { continue };
        let place = (taken.lsn, taken.version);
        known.push(taken.version);
        history
            .lock()
            .unwrap()
            .insert(place, Asked { op: op.clone(), logged: false, ending: None, decided: Vec::new() });
        if taken.logged().await.is_err() {
            return;
        }
        history.lock().unwrap().get_mut(&place).unwrap().logged = true;
        if op.idempotency.is_some() {
            let again = engine.take(op, Caller::default()).expect("a repeated idempotency key is not refused");
            assert_eq!((again.lsn, again.version), place, "a repeated idempotency key runs once");
        }
        if dice.percent(60) {
            let ending = engine.ending(taken.lsn).expect("the log knows what it acknowledged");
            if let Ok(Ok(ending)) = timeout(Duration::from_secs(dice.below(30)), ending).await {
                history.lock().unwrap().get_mut(&place).unwrap().ending = Some(ending);
            }
        }
    }
}
