//! What clients wish for: operations on few keys, so that they meet.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_model::{
    Action, Bound, Document, Filter, Id, Idempotency, Key, Operation, Precondition, Table, UnrelateTarget, Value,
    Vector, Vectors,
};

use crate::chance::Dice;
use crate::clients::{PARKS, Style, key};
use crate::vectors::POISON;

pub(crate) fn node(dice: &Dice) -> Key {
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

/// An operation on few keys, so that they meet; and whether it goes against the version of one of its client's own.
pub(crate) fn operation(dice: &Dice, name: &str, style: Style) -> (Operation, Option<u64>) {
    let action = match dice.below(100) {
        0..14 => group(dice, style),
        14..17 => clear(dice),
        _ => action(dice, style),
    };
    if matches!(action, Action::Atomic(_) | Action::Clear { .. }) {
        let idempotency = dice.percent(15).then(|| Idempotency { key: name.to_owned(), body_hash: [7; 16] });
        // Who has seen the key absent wants the whole group or nothing.
        let wished = action.members().iter().position(|member| member.subject().is_some() && dice.percent(4));
        let members = wished.map(|place| (place, Precondition { if_version: None, if_absent: true }));
        let members = members.into_iter().collect();
        return (Operation { idempotency, members, ..Operation::plain(action) }, None);
    }
    let mut precondition = Precondition::default();
    let mut against = None;
    match dice.below(20) {
        0 => precondition.if_absent = true,
        1 => against = Some(dice.below(1000)),
        _ => {}
    }
    let idempotency = dice.percent(15).then(|| Idempotency { key: name.to_owned(), body_hash: [7; 16] });
    (Operation { precondition, idempotency, ..Operation::plain(action) }, against)
}
