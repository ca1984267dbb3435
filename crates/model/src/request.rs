//! Requests: from the members of a body to an action.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::action::{Action, ActionKind, UnrelateTarget};
use crate::document::{Document, RESERVED_FIELD};
use crate::fields::{Fields, bad};
use crate::filter::Filter;
use crate::key::{Id, Key, Table};
use crate::lane::LaneId;
use crate::op::MAX_GROUP_OPS;
use crate::refusal::Refusal;
use crate::vector::{Vector, Vectors};

/// One request while it is read.
pub(crate) struct Request<'a> {
    /// Makes ids.
    pub(crate) new_id: &'a mut dyn FnMut() -> Uuid,
    /// The keys that were made.
    pub(crate) made: Vec<Key>,
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
            let action = self.member(member).and_then(|action| {
                subjects.add(&action)?;
                Ok(action)
            });
            actions.push(action.map_err(|refusal| refusal.within(&format!("ops[{place}]")))?);
        }
        Ok(Action::Atomic(actions))
    }

    /// A member of a group. The group has one outcome, so conditions and names belong to it alone.
    fn member(&mut self, body: Json) -> Result<Action, Refusal> {
        let fields = Fields::of_operation(body)?;
        let kind = fields.kind();
        if matches!(kind, ActionKind::Atomic | ActionKind::Clear) {
            return Err(Refusal::malformed(format!("{kind} cannot be a member of a group")));
        }
        let outer = ["idempotency_key", "if_version", "if_absent"].into_iter().find(|name| fields.has(name));
        if let Some(name) = outer {
            return Err(Refusal::malformed(format!("a member of a group takes no {name}")));
        }
        self.action(fields)
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
        let derived;
        let key = match action {
            Action::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) => {
                derived = Key::edge(edge, from, to);
                let between = LaneId::of_endpoints(edge, from, to);
                if self.related.contains(&between) || !self.unrelated.insert(between) {
                    return Err(Refusal::malformed(format!("the edges {edge} from {from} to {to} come twice")));
                }
                Some(&derived)
            }
            Action::Relate { key, from, to, .. } => {
                let between = LaneId::of_endpoints(&key.table, from, to);
                self.related.insert(between);
                if self.unrelated.contains(&between) {
                    return Err(Refusal::malformed(format!("the edges {} from {from} to {to} come twice", key.table)));
                }
                Some(key)
            }
            other => other.key(),
        };
        match key {
            Some(key) if !self.keys.insert(key.clone()) => {
                Err(Refusal::malformed(format!("the key {key} comes twice")))
            }
            _ => Ok(()),
        }
    }
}

fn patch(fields: &mut Fields) -> Result<Action, Refusal> {
    let key = fields.required_key("key")?;
    let document = document(fields, &key, Entity::Node)?.ok_or_else(|| fields.missing("document"))?;
    Ok(Action::Patch { key, document, vectors: vectors(fields)? })
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
fn is_id_of(value: &crate::Value, key: &Key) -> bool {
    match value {
        crate::Value::Text(text) => *text == key.id.to_string(),
        crate::Value::Int(int) => key.id == Id::Int(*int),
        crate::Value::Record(record) => record == key,
        _ => false,
    }
}

fn vectors(fields: &mut Fields) -> Result<Vectors, Refusal> {
    let both = fields.has("vector") && fields.has("vectors");
    let single = fields.take("vector");
    let named = fields.take("vectors");
    if both {
        return Err(Refusal::malformed("vector and vectors cannot both be there"));
    }
    let malformed = |name: &str, error: &crate::VectorError| Refusal::malformed(format!("{name}: {}", error.story()));
    match (single, named) {
        (Some(json), _) => Vector::from_json(&json).map(Vectors::single).map_err(|error| malformed("vector", &error)),
        (None, Some(json)) => Vectors::from_json(&json).map_err(|error| malformed("vectors", &error)),
        (None, None) => Ok(Vectors::default()),
    }
}
