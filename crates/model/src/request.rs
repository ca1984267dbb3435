//! Requests: from the members of a body to an action.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::action::{Action, ActionKind, UnrelateTarget};
use crate::document::{Document, RESERVED_FIELD};
use crate::fields::{Fields, bad};
use crate::filter::Filter;
use crate::key::{Id, Key, Table};
use crate::lane::LaneId;
use crate::op::{MAX_GROUP_OPS, Precondition};
use crate::refusal::Refusal;
use crate::value::Value;
use crate::vector::{Vector, VectorError, Vectors};

/// One request while it is read.
pub(crate) struct Request<'a> {
    /// Makes ids.
    pub(crate) new_id: &'a mut dyn FnMut() -> Uuid,
    /// The keys that were made.
    pub(crate) made: Vec<Key>,
    /// What must hold for members of a group, by their place.
    pub(crate) conditions: BTreeMap<usize, Precondition>,
}

/// Whether a document is an edge's, where `in` and `out` are SurrealDB's.
#[derive(Clone, Copy, PartialEq)]
enum Entity {
    Node,
    Edge,
}

impl Request<'_> {
    /// The action that the members ask for.
    pub(crate) fn action(&mut self, mut fields: Fields) -> Result<Action, Refusal> {
        let action = match fields.kind() {
            ActionKind::Put => self.put(&mut fields)?,
            ActionKind::Patch => patch(&mut fields)?,
            ActionKind::Delete => Action::Delete { key: fields.required_key("key")? },
            ActionKind::Relate => relate(&mut fields)?,
            ActionKind::Unrelate => Action::Unrelate(unrelate(&mut fields)?),
            ActionKind::Atomic => self.atomic(&mut fields)?,
            ActionKind::Clear => clear(&mut fields)?,
        };
        fields.finish()?;
        Ok(action)
    }

    fn put(&mut self, fields: &mut Fields) -> Result<Action, Refusal> {
        let key = match (fields.has("key"), fields.has("table")) {
            (true, true) => return Err(Refusal::malformed("put takes key, or table for a new id, not both")),
            (false, true) => {
                let table = fields.required_table("table")?;
                let key = Key::new(table, Id::Text((self.new_id)().to_string().into()));
                self.made.push(key.clone());
                key
            }
            (_, false) => fields.key("key")?.ok_or_else(|| fields.missing("key, or table for a new id"))?,
        };
        let document = document(fields, &key, Entity::Node)?.ok_or_else(|| fields.missing("document"))?;
        Ok(Action::Put { key, document, vectors: vectors(fields)? })
    }

    fn atomic(&mut self, fields: &mut Fields) -> Result<Action, Refusal> {
        let members = match fields.take("ops") {
            Some(Json::Array(members)) => members,
            Some(_) => return Err(Refusal::malformed("ops is an array of operations")),
            None => return Err(fields.missing("ops")),
        };
        if members.is_empty() {
            return Err(Refusal::malformed("ops is empty"));
        }
        if members.len() > MAX_GROUP_OPS {
            let count = members.len();
            return Err(Refusal::malformed(format!("ops has {count} members, at most {MAX_GROUP_OPS} are allowed")));
        }
        let mut subjects = Subjects::default();
        let mut actions = Vec::with_capacity(members.len());
        for (place, member) in members.into_iter().enumerate() {
            let action = self.member(member).and_then(|(action, condition)| {
                subjects.add(&action)?;
                Ok((action, condition))
            });
            let (action, condition) = action.map_err(|refusal| refusal.within(&format!("ops[{place}]")))?;
            actions.push(action);
            if !condition.is_none() {
                self.conditions.insert(place, condition);
            }
        }
        Ok(Action::Atomic(actions))
    }

    /// A member of a group. The group has one outcome, so an idempotency key belongs to it alone. A condition is its member's, and the
    /// whole group's outcome depends on it.
    fn member(&mut self, body: Json) -> Result<(Action, Precondition), Refusal> {
        let mut fields = Fields::of_operation(body)?;
        let kind = fields.kind();
        if matches!(kind, ActionKind::Atomic | ActionKind::Clear) {
            return Err(Refusal::malformed(format!("{kind} cannot be a member of a group")));
        }
        if fields.has("idempotency_key") {
            return Err(Refusal::malformed("a member of a group takes no idempotency_key"));
        }
        let condition = Precondition::take(&mut fields)?;
        Ok((self.action(fields)?, condition))
    }
}

/// What the members of a group change: each key once, and between two endpoints either edges that are made
/// or an `unrelate` of all. Otherwise the order within the group would decide.
#[derive(Default)]
struct Subjects {
    keys: HashSet<Key>,
    related: HashSet<LaneId>,
    unrelated: HashSet<LaneId>,
}

impl Subjects {
    fn add(&mut self, action: &Action) -> Result<(), Refusal> {
        let mut key = action.key().cloned();
        if let Action::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) = action {
            let between = LaneId::of_endpoints(edge, from, to);
            if self.related.contains(&between) || !self.unrelated.insert(between) {
                return Err(edges_twice(edge, from, to));
            }
            key = Some(Key::edge(edge, from, to));
        }
        if let Action::Relate { key, from, to, .. } = action {
            let between = LaneId::of_endpoints(&key.table, from, to);
            self.related.insert(between);
            if self.unrelated.contains(&between) {
                return Err(edges_twice(&key.table, from, to));
            }
        }
        match key {
            Some(key) if self.keys.contains(&key) => Err(Refusal::malformed(format!("the key {key} comes twice"))),
            Some(key) => {
                self.keys.insert(key);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn edges_twice(edge: &Table, from: &Key, to: &Key) -> Refusal {
    Refusal::malformed(format!("the edges {edge} from {from} to {to} come twice"))
}

fn patch(fields: &mut Fields) -> Result<Action, Refusal> {
    let key = fields.required_key("key")?;
    let document = document(fields, &key, Entity::Node)?;
    let vectors = vectors(fields)?;
    // Vectors alone are a change, too.
    let document = document.or_else(|| (!vectors.0.is_empty()).then(Document::default));
    Ok(Action::Patch { key, document: document.ok_or_else(|| fields.missing("document"))?, vectors })
}

fn relate(fields: &mut Fields) -> Result<Action, Refusal> {
    let edge = fields.required_table("edge")?;
    let from = fields.required_key("from")?;
    let to = fields.required_key("to")?;
    let key = fields.key("key")?.unwrap_or_else(|| Key::edge(&edge, &from, &to));
    if key.table != edge {
        return Err(Refusal::malformed(format!("key {key} is not in the edge table {edge}")));
    }
    let document = document(fields, &key, Entity::Edge)?.unwrap_or_default();
    Ok(Action::Relate { key, from, to, document, vectors: vectors(fields)? })
}

fn unrelate(fields: &mut Fields) -> Result<UnrelateTarget, Refusal> {
    if fields.has("key") {
        if ["edge", "from", "to"].into_iter().any(|name| fields.has(name)) {
            return Err(Refusal::malformed("unrelate takes key, or edge, from and to, not both"));
        }
        return fields.required_key("key").map(UnrelateTarget::Key);
    }
    let edge: Table = fields.required_table("edge")?;
    Ok(UnrelateTarget::Endpoints { edge, from: fields.required_key("from")?, to: fields.required_key("to")? })
}

fn clear(fields: &mut Fields) -> Result<Action, Refusal> {
    let table = fields.required_table("table")?;
    let filter = fields.take("where").map(|json| Filter::from_json(&json).map_err(|error| bad("where", &error)));
    Ok(Action::Clear { table, filter: filter.transpose()? })
}

fn document(fields: &mut Fields, key: &Key, entity: Entity) -> Result<Option<Document>, Refusal> {
    let Some(members) = fields.object("document")? else {
        return Ok(None);
    };
    check_reserved(&members, entity)?;
    let mut document = Document::from_json(&members).map_err(|error| Refusal::malformed(error.to_string()))?;
    if let Some(id) = document.0.remove("id")
        && !is_id_of(&id, key)
    {
        return Err(Refusal::malformed(format!("document.id is another id than that of the key {key}")));
    }
    Ok(Some(document))
}

fn check_reserved(members: &Map<String, Json>, entity: Entity) -> Result<(), Refusal> {
    if members.contains_key(RESERVED_FIELD) {
        return Err(Refusal::malformed(format!("document.{RESERVED_FIELD} is Lockstep's own")));
    }
    let end = ["in", "out"].into_iter().find(|name| entity == Entity::Edge && members.contains_key(*name));
    match end {
        Some(name) => Err(Refusal::malformed(format!("document.{name} of an edge is given by from and to"))),
        None => Ok(()),
    }
}

/// Whether a document's `id` says the same as its key: the id as text or integer, or the key as a record.
fn is_id_of(value: &Value, key: &Key) -> bool {
    match value {
        Value::Record(record) => record == key,
        Value::Int(int) => key.id == Id::Int(*int),
        Value::Text(text) => *text == key.id.to_string(),
        Value::Null
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Array(_)
        | Value::Object(_)
        | Value::Datetime { .. }
        | Value::Uuid(_)
        | Value::Decimal(_)
        | Value::Duration { .. }
        | Value::Bytes(_)
        | Value::Foreign(_) => false,
    }
}

fn vectors(fields: &mut Fields) -> Result<Vectors, Refusal> {
    let both = fields.has("vector") && fields.has("vectors");
    let single = fields.take("vector");
    let named = fields.take("vectors");
    if both {
        return Err(Refusal::malformed("vector and vectors cannot both be there"));
    }
    let malformed = |name: &str, error: &VectorError| Refusal::malformed(format!("{name}: {}", error.story()));
    match (single, named) {
        (Some(json), _) => Vector::from_json(&json).map(Vectors::single).map_err(|error| malformed("vector", &error)),
        (None, Some(json)) => Vectors::from_json(&json).map_err(|error| malformed("vectors", &error)),
        (None, None) => Ok(Vectors::default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::op::Operation;
    use crate::refusal::Code;

    fn parse(body: &Json) -> Result<Action, Refusal> {
        let mut new_id = || Uuid::from_u128(7);
        Operation::parse(body.to_string().as_bytes(), None, &mut new_id).map(|operation| operation.action)
    }

    fn refused(body: Json) -> String {
        let refusal = parse(&body).expect_err(&body.to_string());
        assert_eq!(refusal.code, Code::Malformed);
        refusal.detail
    }

    #[test]
    fn put_takes_key_or_table() {
        let action = parse(&json!({"op": "put", "key": "memory:01", "document": {"id": "01", "a": 1}})).unwrap();
        let Action::Put { key, document, vectors } = action else { panic!("not a put") };
        assert_eq!(key.to_string(), "memory:01");
        assert_eq!(Json::Object(document.to_json()), json!({"a": 1}));
        assert!(vectors.is_empty());

        let action = parse(&json!({"op": "put", "table": "memory", "document": {}})).unwrap();
        assert_eq!(action.key().unwrap().to_string(), "memory:00000000-0000-0000-0000-000000000007");

        for body in [
            json!({"op": "put", "key": "memory:01", "table": "memory", "document": {}}),
            json!({"op": "put", "document": {}}),
            json!({"op": "put", "key": "memory:01"}),
            json!({"op": "put", "key": "memory", "document": {}}),
            json!({"op": "put", "key": 7, "document": {}}),
            json!({"op": "put", "key": "memory:01", "document": []}),
            json!({"op": "put", "key": "memory:01", "document": null}),
            json!({"op": "put", "table": "lockstep_vector", "document": {}}),
        ] {
            refused(body);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert_eq!(
            refused(json!({"op": "put", "key": "memory:01", "document": {}, "vectr": [1]})),
            "put has no field \"vectr\"; it takes op, idempotency_key, if_version, if_absent, key, document, vector, vectors"
        );
        assert!(refused(json!({"op": "delete", "key": "memory:01", "document": {}})).contains("\"document\""));
        assert!(refused(json!({"op": "clear", "table": "memory", "filter": {"a": 1}})).contains("\"filter\""));
        assert!(refused(json!({"op": "upsert"})).starts_with("op is one of put, patch,"));
        assert!(refused(json!({"key": "memory:01"})).starts_with("op is missing"));
        assert!(refused(json!({"op": 1})).ends_with("got a number"));
        assert_eq!(refused(json!([1])), "an operation is a JSON object, not an array");
    }

    #[test]
    fn a_vector_is_never_lost_in_silence() {
        let with = |name: &str, json: Json| json!({"op": "put", "key": "memory:01", "document": {}, name: json});
        for name in ["vector", "vectors"] {
            refused(with(name, Json::Null));
        }
        assert_eq!(refused(with("vector", json!([]))), "vector: a vector cannot be empty");
        assert_eq!(
            refused(with("vectors", json!({"title": [1, "x"]}))),
            format!("vectors: the vector \"title\": {}", VectorError::Form)
        );
        let both = json!({"op": "put", "key": "memory:01", "document": {}, "vector": [1], "vectors": {"a": [1]}});
        assert_eq!(refused(both), "vector and vectors cannot both be there");
    }

    #[test]
    fn reserved_fields_are_refused() {
        // B14: a forged _lockstep would set the fence.
        for op in ["put", "patch"] {
            for document in
                [json!({"_lockstep": {"v": 1}}), json!({"_lockstep": null}), json!({"id": "02"}), json!({"id": null})]
            {
                refused(json!({"op": op, "key": "memory:01", "document": document}));
            }
            for field in ["in", "out"] {
                assert!(parse(&json!({"op": op, "key": "memory:01", "document": {field: 1}})).is_ok());
            }
        }
        for field in ["in", "out", "_lockstep", "id"] {
            let document = json!({ field: "memory:01" });
            refused(
                json!({"op": "relate", "edge": "mentions", "from": "memory:01", "to": "person:7", "document": document}),
            );
        }
    }

    #[test]
    fn an_id_that_says_the_same_as_the_key_is_not_stored() {
        for (key, id, same) in [
            ("memory:01", json!("01"), true),
            ("memory:7", json!(7), true),
            ("memory:7", json!("7"), true),
            ("memory:7", json!({"$record": "memory:7"}), true),
            ("memory:01", json!(1), false),
            ("memory:7", json!(7.5), false),
            ("memory:7", json!({"$record": "person:7"}), false),
            ("memory:7", json!("memory:7"), false),
        ] {
            let parsed = parse(&json!({"op": "put", "key": key, "document": {"id": id, "a": 1}}));
            assert_eq!(parsed.is_ok(), same, "{key} {id}");
            if let Ok(Action::Put { document, .. }) = parsed {
                assert!(!document.0.contains_key("id"));
            }
        }
    }

    #[test]
    fn relate_derives_its_key() {
        let edge = json!({"op": "relate", "edge": "mentions", "from": "memory:01", "to": "person:7"});
        let Action::Relate { key, document, .. } = parse(&edge).unwrap() else { panic!("not a relate") };
        assert_eq!(key.to_string(), "mentions:5cb2beef66a00eec96f46e78c39568f4");
        assert_eq!(document, Document::default());

        let with_key = |key: &str| {
            parse(&json!({"op": "relate", "edge": "mentions", "from": "memory:01", "to": "person:7", "key": key}))
        };
        assert_eq!(with_key("mentions:x").unwrap().key().unwrap().to_string(), "mentions:x");
        assert_eq!(with_key("other:x").unwrap_err().detail, "key other:x is not in the edge table mentions");
        assert_eq!(refused(json!({"op": "relate", "edge": "mentions", "from": "memory:01"})), "relate needs to");
    }

    #[test]
    fn unrelate_takes_key_or_endpoints() {
        assert!(parse(&json!({"op": "unrelate", "key": "mentions:x"})).is_ok());
        assert!(parse(&json!({"op": "unrelate", "edge": "mentions", "from": "memory:01", "to": "person:7"})).is_ok());
        refused(json!({"op": "unrelate", "edge": "mentions", "from": "memory:01"}));
        refused(json!({"op": "unrelate", "key": "mentions:x", "edge": "mentions"}));
    }

    #[test]
    fn groups_are_bounded_and_flat_and_change_a_key_once() {
        let put = |key: &str| json!({"op": "put", "key": key, "document": {}});
        let delete = json!({"op": "delete", "key": "memory:1"});
        let edge = |op: &str| json!({"op": op, "edge": "mentions", "from": "memory:1", "to": "person:7"});
        let group = |ops: Json| json!({"op": "atomic", "ops": ops});

        let good = group(
            json!([put("memory:1"), put("memory:2"), edge("relate"), {"op": "put", "table": "memory", "document": {}}]),
        );
        assert_eq!(parse(&good).unwrap().members().len(), 4);
        let full: Vec<_> = (0..MAX_GROUP_OPS).map(|n| put(&format!("memory:{n}"))).collect();
        assert!(parse(&group(json!(full))).is_ok());
        let over: Vec<_> = (0..=MAX_GROUP_OPS).map(|n| put(&format!("memory:{n}"))).collect();

        for (ops, detail) in [
            (json!([]), "ops is empty"),
            (json!({}), "ops is an array of operations"),
            (json!(over), "ops has 1001 members, at most 1000 are allowed"),
            (json!([put("memory:1"), delete]), "ops[1]: the key memory:1 comes twice"),
            (json!([edge("relate"), edge("relate")]), "ops[1]: the key mentions:"),
            (
                json!([edge("relate"), edge("unrelate")]),
                "ops[1]: the edges mentions from memory:1 to person:7 come twice",
            ),
            (
                json!([edge("unrelate"), edge("relate")]),
                "ops[1]: the edges mentions from memory:1 to person:7 come twice",
            ),
            (
                json!([edge("unrelate"), edge("unrelate")]),
                "ops[1]: the edges mentions from memory:1 to person:7 come twice",
            ),
            (json!([group(json!([put("memory:1")]))]), "ops[0]: atomic cannot be a member of a group"),
            (json!([{"op": "clear", "table": "memory"}]), "ops[0]: clear cannot be a member of a group"),
            (json!([{"op": "delete", "key": "memory:1", "if_version": "1"}]), "ops[0]: if_version is a version"),
            (
                json!([{"op": "delete", "key": "memory:1", "idempotency_key": "k"}]),
                "ops[0]: a member of a group takes no idempotency_key",
            ),
            (json!([1]), "ops[0]: an operation is a JSON object, not a number"),
            (
                json!([{"op": "put", "key": "memory:1", "document": {}, "vector": [1, []]}]),
                "ops[0]: vector: a vector is",
            ),
        ] {
            let got = refused(group(ops));
            assert!(got.starts_with(detail), "{got}");
        }
        assert_eq!(refused(json!({"op": "atomic"})), "atomic needs ops");
    }

    #[test]
    fn clear_takes_a_filter() {
        let all = parse(&json!({"op": "clear", "table": "memory"})).unwrap();
        assert!(matches!(all, Action::Clear { filter: None, .. }));
        let some = parse(&json!({"op": "clear", "table": "memory", "where": {"workspace": "w1"}})).unwrap();
        assert!(matches!(some, Action::Clear { filter: Some(_), .. }));
        for filter in [json!(null), json!({}), json!("w1")] {
            refused(json!({"op": "clear", "table": "memory", "where": filter}));
        }
    }
}
