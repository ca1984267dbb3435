//! Writes: one transaction, every write behind its fence, read back at the end.
//!
//! Forms, chosen by what is right first and by measurement second:
//!
//! - creates go as one bulk INSERT (RELATION for edges): the fastest form, and its failure proves presence;
//! - other puts look which records are there, UPDATE those in a loop behind the fence, and INSERT the rest in
//!   bulk. `INSERT IGNORE` would be one statement less, but it also swallows what a unique index refuses;
//! - an edge whose ends differ from the record's is deleted and inserted again: `in` and `out` of a record
//!   never change, and an UPDATE that tries is ignored in silence;
//! - rows of kept vectors follow only those puts that stand in the record afterwards.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lockstep_model::Key;
use surrealdb::types as db;

use crate::surreal::SurrealStore;
use crate::surreal::call::{Answers, Kind, Params, into_object, run};
use crate::surreal::record::{
    KEPT_TABLE, content, kept_id, kept_row, key_of_write, record_id, stamp_of, version_value,
};
use crate::{Class, DocWrite, ReadBack, StoreError};

/// A record passes the fence of a put unless it carries a whole stamp (what [`stamp_of`] reads) of this
/// version or a later one. Anything else in `_lockstep` must not lock a key for ever.
const OLDER: &str = "!(type::is_int(_lockstep.v) AND type::is_uuid(_lockstep.op) \
     AND _lockstep.v >= $w.v AND _lockstep.v < 9007199254740992)";

/// The same for a delete, which takes its own version with it.
const NOT_NEWER: &str = "!(type::is_int(_lockstep.v) AND type::is_uuid(_lockstep.op) \
     AND _lockstep.v > $w.v AND _lockstep.v < 9007199254740992)";

/// The ids of kept rows of the edges in `$edges`.
const KEPT_OF_EDGES: &str = "$edges.map(|$e| type::record('lockstep_vector', [record::tb($e), record::id($e)]))";

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

/// The writes of one transaction, by how they are written.
#[derive(Default)]
struct Plan<'a> {
    tables: BTreeSet<&'a str>,
    ids: Vec<db::Value>,
    create_rows: Vec<db::Value>,
    create_edges: Vec<db::Value>,
    puts: Vec<db::Value>,
    edges: Vec<db::Value>,
    kept: Vec<db::Value>,
    unkept: Vec<db::Value>,
    deletes: Vec<db::Value>,
    /// By edge table: each table is named in the text.
    between: BTreeMap<&'a str, Vec<(usize, db::Value)>>,
}

impl<'a> Plan<'a> {
    fn of(writes: &'a [DocWrite]) -> Result<Self, StoreError> {
        let mut plan = Self { tables: BTreeSet::from([KEPT_TABLE]), ..Self::default() };
        let mut seen = HashSet::with_capacity(writes.len());
        for (place, write) in writes.iter().enumerate() {
            if let Some(key) = key_of_write(write) {
                if !seen.insert(key) {
                    return Err(blamed(key, "the key comes twice in one transaction".to_owned()));
                }
                plan.tables.insert(key.table.as_str());
                plan.ids.push(db::Value::RecordId(record_id(key)));
            }
            plan.add(place, write)?;
        }
        Ok(plan)
    }

    fn add(&mut self, place: usize, write: &'a DocWrite) -> Result<(), StoreError> {
        match write {
            DocWrite::Put { key, version, op, document, kept, vectors, ends, create } => {
                let content = content(key, *version, *op, document, vectors.as_ref(), ends.as_ref(), *create)
                    .map_err(|error| StoreError { culprit: Some(key.clone()), ..error })?;
                match (create, ends) {
                    (true, None) => self.create_rows.push(content),
                    (true, Some(_)) => self.create_edges.push(content),
                    (false, None) => self.puts.push(row(key, [("v", version_value(*version)), ("c", content)])),
                    (false, Some(_)) => self.edges.push(row(key, [("v", version_value(*version)), ("c", content)])),
                }
                let owner = |name, value| row(key, [("v", version_value(*version)), (name, value)]);
                match kept {
                    Some(kept) if kept.is_empty() => {
                        self.unkept.push(owner("k", db::Value::RecordId(kept_id(key))));
                    }
                    Some(kept) => self.kept.push(owner("k", kept_row(key, *version, kept))),
                    None => {}
                }
            }
            DocWrite::Delete { key, version } => {
                let kept = db::Value::RecordId(kept_id(key));
                self.deletes.push(row(key, [("v", version_value(*version)), ("k", kept)]));
            }
            DocWrite::DeleteBetween { edge, ends, version } => {
                self.tables.extend([edge.as_str(), ends.from.table.as_str(), ends.to.table.as_str()]);
                let to = db::Value::RecordId(record_id(&ends.to));
                let between = row(&ends.from, [("v", version_value(*version)), ("to", to)]);
                self.between.entry(edge.as_str()).or_default().push((place, between));
            }
        }
        Ok(())
    }

    /// The text, with sections only for what there is, and its parameters. It ends with one SELECT for each
    /// edge table of `between`, one for all other keys, and COMMIT.
    fn transaction(&self) -> (String, Params) {
        let mut text = String::from("BEGIN;\n");
        let mut params = Params::default();
        let mut section = |name: &str, rows: &[db::Value], statements: &str| {
            if !rows.is_empty() {
                params.bind_list(name, rows.to_vec());
                text.push_str(statements);
                text.push('\n');
            }
        };
        section("create_rows", &self.create_rows, "INSERT $create_rows RETURN NONE;");
        section("create_edges", &self.create_edges, "INSERT RELATION $create_edges RETURN NONE;");
        section(
            "puts",
            &self.puts,
            &format!(
                "LET $there = SELECT VALUE id FROM $puts.id;
             FOR $w IN $puts {{ IF $w.id IN $there {{ UPDATE $w.id CONTENT $w.c WHERE {OLDER} RETURN NONE; }} }};
             INSERT $puts[WHERE id NOT IN $there].c RETURN NONE;"
            ),
        );
        section(
            "edges",
            &self.edges,
            &format!(
                "LET $there = SELECT VALUE id FROM $edges.id;
             FOR $w IN $edges {{ IF $w.id IN $there {{
                 DELETE $w.id WHERE (in != $w.c.in OR out != $w.c.out) AND {OLDER} RETURN NONE;
                 UPDATE $w.id CONTENT $w.c WHERE {OLDER} RETURN NONE;
             }} }};
             LET $there = SELECT VALUE id FROM $edges.id;
             INSERT RELATION $edges[WHERE id NOT IN $there].c RETURN NONE;"
            ),
        );
        section("kept", &self.kept, &format!(
            "LET $stand = SELECT VALUE id FROM $kept.id WHERE _lockstep.v IN $kept.v;
             INSERT INTO {KEPT_TABLE} (IF array::len($stand) = array::len($kept) {{ $kept.k }} ELSE {{ $kept[WHERE id IN $stand].k }})
                 ON DUPLICATE KEY UPDATE v = $input.v, b = $input.b RETURN NONE;"
        ));
        section(
            "unkept",
            &self.unkept,
            "LET $stand = SELECT VALUE id FROM $unkept.id WHERE _lockstep.v IN $unkept.v;
             DELETE $unkept[WHERE id IN $stand].k RETURN NONE;",
        );
        section(
            "deletes",
            &self.deletes,
            &format!(
                "FOR $w IN $deletes {{
                 LET $edges = IF record::exists($w.id) {{ $w.id<->? }} ELSE {{ [] }};
                 DELETE $w.id WHERE {NOT_NEWER} RETURN NONE;
                 IF !record::exists($w.id) {{ DELETE $w.k RETURN NONE; DELETE {KEPT_OF_EDGES} RETURN NONE; }};
             }};"
            ),
        );
        for (number, (edge, rows)) in self.between.iter().enumerate() {
            let rows: Vec<_> = rows.iter().map(|(_, row)| row.clone()).collect();
            section(
                &format!("between{number}"),
                &rows,
                &format!(
                    "FOR $w IN $between{number} {{
                     LET $edges = SELECT VALUE id FROM $w.id->`{edge}` WHERE out = $w.to AND {NOT_NEWER};
                     DELETE $edges RETURN NONE;
                     DELETE {KEPT_OF_EDGES} RETURN NONE;
                 }};"
                ),
            );
        }
        for (number, edge) in self.between.keys().enumerate() {
            text.push_str(&format!(
                "$between{number}.map(|$w| (SELECT VALUE id FROM $w.id->`{edge}` WHERE out = $w.to));\n"
            ));
        }
        params.bind_list("ids", self.ids.clone());
        text.push_str("SELECT id, _lockstep FROM $ids;\nCOMMIT;");
        (text, params)
    }
}

/// An object of `id` and two more members.
fn row(key: &Key, members: [(&str, db::Value); 2]) -> db::Value {
    let mut object = db::Object::new();
    object.insert("id", record_id(key));
    for (name, value) in members {
        object.insert(name, value);
    }
    db::Value::Object(object)
}

fn blamed(key: &Key, detail: String) -> StoreError {
    StoreError { culprit: Some(key.clone()), ..StoreError::new(super::STORE, Class::Refused, detail) }
}

/// What the end of the transaction saw, in the order of the writes.
fn read_backs(
    writes: &[DocWrite],
    between: &BTreeMap<&str, Vec<(usize, db::Value)>>,
    mut answers: Answers,
) -> Vec<ReadBack> {
    let mut stamps: BTreeMap<db::RecordId, ReadBack> = BTreeMap::new();
    if let db::Value::Array(rows) = answers.from_end(1) {
        for row in rows.into_vec().into_iter().filter_map(into_object) {
            if let Some(db::Value::RecordId(id)) = row.get("id") {
                stamps.insert(id.clone(), stamp_of(&row).map_or(ReadBack::Unstamped, ReadBack::There));
            }
        }
    }
    let mut left: BTreeMap<usize, ReadBack> = BTreeMap::new();
    for (number, rows) in between.values().enumerate() {
        let db::Value::Array(lists) = answers.from_end(1 + between.len() - number) else { continue };
        for ((place, _), list) in rows.iter().zip(lists.into_vec()) {
            if matches!(&list, db::Value::Array(ids) if !ids.is_empty()) {
                left.insert(*place, ReadBack::Unstamped);
            }
        }
    }
    let read = |(place, write): (usize, &DocWrite)| match key_of_write(write) {
        Some(key) => stamps.get(&record_id(key)).copied().unwrap_or(ReadBack::Absent),
        None => left.get(&place).copied().unwrap_or(ReadBack::Absent),
    };
    writes.iter().enumerate().map(read).collect()
}
