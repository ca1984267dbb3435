//! Writes: one transaction, every write behind its fence, read back at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lockstep_model::Key;
use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Answers, Kind, Params, into_array, into_object, run};
use crate::surreal::forms;
use crate::surreal::record::{
    KEPT_TABLE, content, kept_row, key_of_row, key_of_write, record_id, stamp_of, version_value,
};
use crate::{Class, DocWrite, ReadBack, StoreError};

impl SurrealStore {
    pub(super) async fn apply_writes(&self, writes: &[DocWrite]) -> Result<Vec<ReadBack>, StoreError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let plan = Plan::of(writes)?;
        self.tables.ensure(&self.client, plan.tables.iter().copied()).await?;
        let (text, params) = plan.transaction();
        let outcome = run(&self.client, &text, params, Kind::Transaction).await;
        if outcome.is_err() {
            self.tables.forget();
        }
        Ok(read_backs(writes, &plan.between, outcome?))
    }
}

/// The writes of one transaction, by how they are written. The names are those of the parameters.
#[derive(Default)]
struct Plan<'a> {
    tables: BTreeSet<&'a str>,
    lists: BTreeMap<&'static str, Vec<db::Value>>,
    /// By edge table, which is named in the text: the writes' places and their pairs.
    between: BTreeMap<&'a str, Vec<(usize, db::Value)>>,
}

impl<'a> Plan<'a> {
    fn of(writes: &'a [DocWrite]) -> Result<Self, StoreError> {
        let mut plan = Self { tables: BTreeSet::from([KEPT_TABLE]), ..Self::default() };
        plan.lists.insert("ids", Vec::with_capacity(writes.len()));
        let mut seen = HashSet::with_capacity(writes.len());
        for (place, write) in writes.iter().enumerate() {
            if let Some(key) = key_of_write(write) {
                if !seen.insert(key) {
                    let error = StoreError::new(super::STORE, Class::Refused, "the key comes twice in a transaction");
                    return Err(StoreError { culprit: Some(key.clone()), ..error });
                }
                plan.tables.insert(key.table.as_str());
                plan.push("ids", id_value(key));
            }
            plan.add(place, write)?;
        }
        Ok(plan)
    }

    fn push(&mut self, list: &'static str, value: db::Value) {
        self.lists.entry(list).or_default().push(value);
    }

    fn add(&mut self, place: usize, write: &'a DocWrite) -> Result<(), StoreError> {
        match write {
            DocWrite::Put { key, version, op, document, kept, vectors, ends, create } => {
                let id = id_value(key);
                let v = version_value(*version);
                let content = content(key, *version, *op, document, vectors.as_ref(), ends.as_ref(), *create)
                    .map_err(|error| StoreError { culprit: Some(key.clone()), ..error })?;
                match (create, ends) {
                    (true, None) => self.push("create_rows", content),
                    (true, Some(_)) => self.push("create_edges", content),
                    (false, None) => {
                        self.push("put_ids", id.clone());
                        self.push("puts", row(key, [("v", v.clone()), ("c", content)]));
                    }
                    (false, Some(ends)) => {
                        self.push("edge_ids", id.clone());
                        let triple = vec![id.clone(), id_value(&ends.from), id_value(&ends.to)];
                        self.push("edge_ends", db::Value::Array(triple.into()));
                        self.push("edges", row(key, [("v", v.clone()), ("c", content)]));
                    }
                }
                match kept {
                    Some(kept) if kept.is_empty() => {
                        self.push("unkept_ids", id);
                        self.push("unkept_versions", v);
                    }
                    Some(kept) if *create => self.push("kept_created", kept_row(key, *version, kept)),
                    Some(kept) => {
                        self.push("kept_ids", id);
                        self.push("kept_versions", v);
                        self.push("kept", kept_row(key, *version, kept));
                    }
                    None => {}
                }
            }
            DocWrite::Delete { key, version } => {
                self.push("delete_ids", id_value(key));
                self.push("deletes", row(key, [("v", version_value(*version))]));
            }
            DocWrite::DeleteBetween { edge, ends, version } => {
                self.tables.extend([edge.as_str(), ends.from.table.as_str(), ends.to.table.as_str()]);
                let pair = row(&ends.from, [("v", version_value(*version)), ("to", id_value(&ends.to))]);
                self.between.entry(edge.as_str()).or_default().push((place, pair));
            }
        }
        Ok(())
    }

    /// The text, with sections only for what there is, and its parameters. It ends with what is left of each edge
    /// table in `between`, the stamps of all other keys, and COMMIT.
    fn transaction(self: &Plan<'a>) -> (String, Params) {
        let sections = [
            ("create_rows", forms::CREATE_ROWS.to_owned()),
            ("create_edges", forms::CREATE_EDGES.to_owned()),
            ("puts", forms::puts()),
            ("edges", forms::edges()),
            ("kept_created", forms::kept_of_created()),
            ("kept", forms::kept_of_put()),
            ("unkept_ids", forms::unkept()),
            ("deletes", forms::deletes()),
        ];
        let mut statements = vec!["BEGIN;".to_owned()];
        statements.extend(sections.into_iter().filter(|(name, _)| self.lists.contains_key(name)).map(|(_, text)| text));
        let mut params = Params::default();
        for (name, values) in &self.lists {
            params.bind_list(name, values.clone());
        }
        for (number, (edge, pairs)) in self.between.iter().enumerate() {
            let name = between_name(number);
            params.bind_list(&name, pairs.iter().map(|(_, pair)| pair.clone()).collect());
            statements.push(forms::between(edge, &name));
        }
        for (number, edge) in self.between.keys().enumerate() {
            statements.push(forms::left_between(edge, &between_name(number)));
        }
        statements.push(forms::READ_BACK.to_owned());
        (statements.join("\n"), params)
    }
}

fn between_name(number: usize) -> String {
    format!("between{number}")
}

fn id_value(key: &Key) -> db::Value {
    db::Value::RecordId(record_id(key))
}

/// An object of `id` and more members.
fn row<const N: usize>(key: &Key, members: [(&str, db::Value); N]) -> db::Value {
    let mut object = db::Object::new();
    object.insert("id", record_id(key));
    for (name, value) in members {
        object.insert(name, value);
    }
    db::Value::Object(object)
}

/// What the end of the transaction saw, in the order of the writes.
fn read_backs(
    writes: &[DocWrite],
    between: &BTreeMap<&str, Vec<(usize, db::Value)>>,
    mut answers: Answers,
) -> Vec<ReadBack> {
    let rows = into_array(answers.take_from_end(1)).into_iter().filter_map(into_object);
    let stamps: HashMap<Key, ReadBack> = rows
        .filter_map(|row| Some((key_of_row(&row)?, stamp_of(&row).map_or(ReadBack::Unstamped, ReadBack::There))))
        .collect();
    let mut left: HashSet<usize> = HashSet::new();
    for (number, pairs) in between.values().enumerate() {
        let lists = into_array(answers.take_from_end(1 + between.len() - number));
        let places = pairs.iter().map(|(place, _)| *place).zip(lists);
        left.extend(places.filter(|(_, list)| !into_array(list.clone()).is_empty()).map(|(place, _)| place));
    }
    let read = |(place, write): (usize, &DocWrite)| match key_of_write(write) {
        Some(key) => stamps.get(key).copied().unwrap_or(ReadBack::Absent),
        None if left.contains(&place) => ReadBack::Unstamped,
        None => ReadBack::Absent,
    };
    writes.iter().enumerate().map(read).collect()
}
