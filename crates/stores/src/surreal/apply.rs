//! Writes: one transaction, every write behind its fence, read back at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use lockstep_model::Key;
use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Answers, Failed, Params, into_array, into_object};
use crate::surreal::class::Signal;
use crate::surreal::forms;
use crate::surreal::record::{content, kept_row, key_of_row, key_of_write, record_id, stamp_of, version_value};
use crate::{Class, DocWrite, EdgeEnds, ReadBack, StoreError};

impl SurrealStore {
    pub(super) async fn apply_writes(
        &self,
        writes: &[DocWrite],
        together: &[Range<usize>],
    ) -> Result<Vec<ReadBack>, StoreError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let there = self.tables_of(writes).await?;
        let mut plan = Plan::of(writes, together, &there)?;
        let (text, params) = plan.transaction();
        let outcome = self.keeper.write(&text, params).await;
        if outcome.is_err() {
            self.keeper.tables.forget();
        }
        Ok(read_backs(writes, &plan.between, outcome.map_err(|failed| held_back(failed, writes))?))
    }

    /// Makes the tables that puts need, and tells which of those are there that are only deleted from.
    async fn tables_of<'a>(&self, writes: &'a [DocWrite]) -> Result<HashSet<&'a str>, StoreError> {
        let (mut needed, mut named) = (BTreeMap::new(), BTreeSet::new());
        for write in writes {
            match write {
                DocWrite::Put { key, .. } => {
                    needed.entry(key.table.as_str()).or_insert(key);
                }
                DocWrite::Delete { key, .. } => {
                    named.insert(key.table.as_str());
                }
                DocWrite::DeleteBetween { edge, ends, .. } => {
                    named.extend([edge.as_str(), ends.from.table.as_str(), ends.to.table.as_str()]);
                }
            }
        }
        self.keeper.ensure(&needed.keys().copied().collect()).await.map_err(|error| {
            let key = needed.iter().find(|(name, _)| error.detail.contains(&format!(" {name} ")));
            StoreError { culprit: key.map(|(_, key)| (*key).clone()), ..error }
        })?;
        let mut there = if named.is_empty() { HashSet::new() } else { self.keeper.there(&named).await? };
        there.extend(needed.into_keys());
        Ok(there)
    }
}

/// Names the write of a group that was held back.
fn held_back(failed: Failed, writes: &[DocWrite]) -> StoreError {
    let Some(Signal::HeldBack(place)) = failed.signal else { return failed.error };
    let culprit = writes.get(place).and_then(key_of_write).cloned();
    let what = culprit.as_ref().map_or_else(|| "an edge between two records".to_owned(), ToString::to_string);
    let words = format!("{what} is newer than this write, and the others of its group depend on it");
    StoreError { culprit, ..StoreError::new(super::STORE, Class::Refused, words) }
}

/// The writes of one transaction, by how they are written. The names are those of the parameters.
#[derive(Default)]
struct Plan<'a> {
    lists: BTreeMap<&'static str, Vec<db::Value>>,
    /// By edge table, which is named in the text: the writes' places and their pairs.
    between: BTreeMap<&'a str, Vec<(usize, db::Value)>>,
    /// By edge table, the pairs that others depend on.
    grouped_between: BTreeMap<&'a str, Vec<db::Value>>,
}

impl<'a> Plan<'a> {
    /// A table that is not in `there` has nothing to delete.
    fn of(writes: &'a [DocWrite], together: &[Range<usize>], there: &HashSet<&'a str>) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        plan.lists.insert("ids", Vec::with_capacity(writes.len()));
        let mut seen = HashSet::with_capacity(writes.len());
        for (place, write) in writes.iter().enumerate() {
            if let Some(key) = key_of_write(write) {
                if !seen.insert(key) {
                    let error = StoreError::new(super::STORE, Class::Refused, "the key comes twice in a transaction");
                    return Err(StoreError { culprit: Some(key.clone()), ..error });
                }
                plan.push("ids", id_value(key));
            }
            plan.add(place, write, there)?;
            if together.iter().any(|group| group.contains(&place)) {
                plan.group(place, write, there);
            }
        }
        Ok(plan)
    }

    /// The write must stand at the end, or the transaction fails.
    fn group(&mut self, place: usize, write: &'a DocWrite, there: &HashSet<&'a str>) {
        let at = db::Value::Number(db::Number::Int(i64::try_from(place).unwrap_or(i64::MAX)));
        match write {
            DocWrite::Put { key, op, .. } => {
                self.push("group_ids", id_value(key));
                let pair = vec![id_value(key), db::Value::Uuid(db::Uuid::from(op.0))];
                self.push("group_puts", db::Value::Array(pair.into()));
                self.push("group_put_places", at);
            }
            DocWrite::Delete { key, .. } => {
                self.push("group_deletes", id_value(key));
                self.push("group_delete_places", at);
            }
            DocWrite::DeleteBetween { edge, ends, .. } if has_edges(there, edge, ends) => {
                let pair = row(&ends.from, [("to", id_value(&ends.to)), ("p", at)]);
                self.grouped_between.entry(edge.as_str()).or_default().push(pair);
            }
            DocWrite::DeleteBetween { .. } => {}
        }
    }

    fn push(&mut self, list: &'static str, value: db::Value) {
        self.lists.entry(list).or_default().push(value);
    }

    fn add(&mut self, place: usize, write: &'a DocWrite, there: &HashSet<&'a str>) -> Result<(), StoreError> {
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
            DocWrite::Delete { key, version } if there.contains(key.table.as_str()) => {
                self.push("delete_ids", id_value(key));
                self.push("deletes", row(key, [("v", version_value(*version))]));
            }
            DocWrite::DeleteBetween { edge, ends, version } if has_edges(there, edge, ends) => {
                let pair = row(&ends.from, [("v", version_value(*version)), ("to", id_value(&ends.to))]);
                self.between.entry(edge.as_str()).or_default().push((place, pair));
            }
            DocWrite::Delete { .. } | DocWrite::DeleteBetween { .. } => {}
        }
        Ok(())
    }

    /// The statements, with sections only for what there is, and their parameters. They end with what is left of each edge
    /// table in `between`, and the stamps of all other keys.
    fn transaction(&mut self) -> (String, Params) {
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
        let lists = std::mem::take(&mut self.lists);
        let wanted = |(name, _): &(&str, String)| lists.contains_key(name);
        let mut statements: Vec<_> = sections.into_iter().filter(wanted).map(|(_, text)| text).collect();
        let mut params = Params::default();
        for (number, (edge, pairs)) in self.between.iter().enumerate() {
            let name = between_name(number);
            params.bind_list(&name, pairs.iter().map(|(_, pair)| pair.clone()).collect());
            statements.push(forms::between(edge, &name));
        }
        let groups = [("group_puts", forms::group_puts()), ("group_deletes", forms::group_deletes())];
        statements.extend(groups.into_iter().filter(wanted).map(|(_, text)| text));
        for (number, (edge, pairs)) in self.grouped_between.iter().enumerate() {
            let name = format!("group_between{number}");
            params.bind_list(&name, pairs.clone());
            statements.push(forms::group_between(edge, &name));
        }
        for (number, edge) in self.between.keys().enumerate() {
            statements.push(forms::left_between(edge, &between_name(number)));
        }
        statements.push(forms::READ_BACK.to_owned());
        for (name, values) in lists {
            params.bind_list(name, values);
        }
        (statements.join("\n"), params)
    }
}

/// There can be edges of this kind between the two.
fn has_edges(there: &HashSet<&str>, edge: &lockstep_model::Table, ends: &EdgeEnds) -> bool {
    [edge, &ends.from.table, &ends.to.table].iter().all(|table| there.contains(table.as_str()))
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
