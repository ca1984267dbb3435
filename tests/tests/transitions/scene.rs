//! One operation of every kind, and what its keys hold before it and after it has ended.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use lockstep_model::{Key, State, Table};
use lockstep_tests::held::Content;
use lockstep_tests::witness::vector_of;
use serde_json::{Map, Value, json};

/// What SurrealDB refuses: a score below 0, and the end of what is locked.
pub(crate) const RULES: &str = "
    DEFINE TABLE memory TYPE ANY SCHEMALESS; DEFINE TABLE mentions TYPE ANY SCHEMALESS;
    DEFINE FIELD score ON memory TYPE option<int> ASSERT $value = NONE OR $value >= 0;
    DEFINE FIELD score ON mentions TYPE option<int> ASSERT $value = NONE OR $value >= 0;
    DEFINE TABLE note TYPE ANY SCHEMALESS;
    DEFINE FIELD score ON note TYPE option<int> ASSERT $value = NONE OR $value >= 0;
    DEFINE EVENT locked ON memory WHEN $event = 'DELETE' AND $before.locked = true THEN { THROW 'locked by the tests' };
    DEFINE EVENT locked ON mentions WHEN $event = 'DELETE' AND $before.locked = true THEN { THROW 'locked by the tests' };";

/// What is there in every life and touched by nobody.
pub(crate) const NEIGHBOURS: [&str; 2] = ["memory:neighbour", "note:neighbour"];

/// The kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    PutNew,
    PutOver,
    Patch,
    Delete,
    Relate,
    Unrelate,
    Atomic,
    Clear,
}

pub(crate) const KINDS: [Kind; 8] =
    [Kind::PutNew, Kind::PutOver, Kind::Patch, Kind::Delete, Kind::Relate, Kind::Unrelate, Kind::Atomic, Kind::Clear];

/// What the stores make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Well,
    SurrealRefuses,
    QdrantRefuses,
    SurrealReplyLost,
    QdrantReplyLost,
}

pub(crate) const OUTCOMES: [Outcome; 5] = [
    Outcome::Well,
    Outcome::SurrealRefuses,
    Outcome::QdrantRefuses,
    Outcome::SurrealReplyLost,
    Outcome::QdrantReplyLost,
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PutNew => "put new",
            Self::PutOver => "put over",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Relate => "relate",
            Self::Unrelate => "unrelate",
            Self::Atomic => "atomic",
            Self::Clear => "clear",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Well => "all well",
            Self::SurrealRefuses => "SurrealDB refuses",
            Self::QdrantRefuses => "Qdrant refuses",
            Self::SurrealReplyLost => "SurrealDB's reply is lost",
            Self::QdrantReplyLost => "Qdrant's reply is lost",
        })
    }
}

/// A key, and what it holds before and after.
#[derive(Debug, Clone)]
pub(crate) struct Touch {
    pub(crate) key: Key,
    pub(crate) before: Option<Content>,
    pub(crate) after: Option<Content>,
}

/// An operation.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// What is to be committed before, in this order.
    pub(crate) before: Vec<Value>,
    pub(crate) body: Value,
    pub(crate) touches: Vec<Touch>,
    /// How it ends if it is logged at all.
    pub(crate) end: State,
}

/// Every content of a run is another one.
fn tag() -> u64 {
    static TAGS: AtomicU64 = AtomicU64::new(1);
    TAGS.fetch_add(1, Ordering::SeqCst)
}

/// A put of new content, and that content.
pub(crate) fn put(key: &str, case: &str) -> (Value, Content) {
    let tag = tag();
    let document = Map::from_iter([("case".to_owned(), json!(case)), ("tag".to_owned(), json!(tag))]);
    let body = json!({"op": "put", "key": key, "document": document, "vector": vector_of(tag)});
    (body, Content { document, vector: Some(tag) })
}

/// The tables of nodes, of edges and of others.
const NODES: &str = "memory";
const EDGES: &str = "mentions";
const OTHERS: &str = "note";

/// The scene that is being made.
struct Making<'a> {
    case: &'a str,
    before: Vec<Value>,
    touches: Vec<Touch>,
}

impl Making<'_> {
    fn key(&self, table: &str, place: &str) -> String {
        format!("{table}:{} {place}", self.case)
    }

    /// A record and its point, which are there before, with more in the document.
    fn there(&mut self, key: &str, more: &[(&str, Value)]) -> Content {
        let (mut body, mut content) = put(key, self.case);
        for (name, value) in more {
            body["document"][name] = value.clone();
            content.document.insert((*name).to_owned(), value.clone());
        }
        self.before.push(body);
        content
    }

    /// An edge, its key and its content; not sent yet.
    fn edge(&self, edge: &str, from: &str, to: &str) -> Result<(Value, Key, Content)> {
        let (mut body, content) = put(from, self.case);
        body["op"] = json!("relate");
        body["edge"] = json!(edge);
        body["from"] = json!(from);
        body["to"] = json!(to);
        if let Value::Object(members) = &mut body {
            members.remove("key");
        }
        Ok((body, Key::edge(&Table::new(edge)?, &from.parse()?, &to.parse()?), content))
    }

    fn touch(&mut self, key: &str, before: Option<&Content>, after: Option<&Content>) -> Result<()> {
        self.touches.push(Touch { key: key.parse()?, before: before.cloned(), after: after.cloned() });
        Ok(())
    }
}

impl Scene {
    /// None where the store has nothing to refuse.
    pub(crate) fn new(kind: Kind, outcome: Outcome, case: &str) -> Result<Option<Self>> {
        let (by_surreal, by_qdrant) = (outcome == Outcome::SurrealRefuses, outcome == Outcome::QdrantRefuses);
        let refused = by_surreal || by_qdrant;
        let mut making = Making { case, before: Vec::new(), touches: Vec::new() };
        let key = making.key(NODES, "key");
        let locked = [("locked", json!(true))];
        let locked = if by_surreal { locked.as_slice() } else { &[] };
        // As each of them does it to whatever it writes.
        let spoil = |body: &mut Value| {
            if by_surreal {
                body["document"]["score"] = json!(-1);
            }
            if by_qdrant {
                body["document"]["refused"] = json!(true);
            }
        };
        let body = match kind {
            Kind::PutNew => {
                let (mut body, after) = put(&key, case);
                spoil(&mut body);
                making.touch(&key, None, (!refused).then_some(&after))?;
                body
            }
            Kind::PutOver => {
                let before = making.there(&key, &[]);
                let (mut body, after) = put(&key, case);
                spoil(&mut body);
                making.touch(&key, Some(&before), Some(if refused { &before } else { &after }))?;
                body
            }
            Kind::Patch => {
                let before = making.there(&key, &[]);
                let (mut body, mut after) = put(&key, case);
                body["op"] = json!("patch");
                body["document"] = json!({"patched": after.vector});
                after.document = before.document.clone();
                after.document.insert("patched".to_owned(), json!(after.vector));
                spoil(&mut body);
                making.touch(&key, Some(&before), Some(if refused { &before } else { &after }))?;
                body
            }
            Kind::Delete => {
                if by_qdrant {
                    return Ok(None);
                }
                let before = making.there(&key, locked);
                let other = making.key(NODES, "other end");
                let other_before = making.there(&other, &[]);
                let (relate, edge, edge_before) = making.edge(EDGES, &key, &other)?;
                making.before.push(relate);
                making.touch(&key, Some(&before), refused.then_some(&before))?;
                making.touch(&edge.to_string(), Some(&edge_before), refused.then_some(&edge_before))?;
                making.touch(&other, Some(&other_before), Some(&other_before))?;
                json!({"op": "delete", "key": key})
            }
            Kind::Relate => {
                let other = making.key(NODES, "other end");
                let ends = [making.there(&key, &[]), making.there(&other, &[])];
                let (mut relate, edge, after) = making.edge(EDGES, &key, &other)?;
                spoil(&mut relate);
                making.touch(&edge.to_string(), None, (!refused).then_some(&after))?;
                for (key, content) in [&key, &other].into_iter().zip(&ends) {
                    making.touch(key, Some(content), Some(content))?;
                }
                relate
            }
            Kind::Unrelate => {
                if by_qdrant {
                    return Ok(None);
                }
                let other = making.key(NODES, "other end");
                let ends = [making.there(&key, &[]), making.there(&other, &[])];
                let (mut relate, edge, mut before) = making.edge(EDGES, &key, &other)?;
                for (name, value) in locked {
                    relate["document"][name] = value.clone();
                    before.document.insert((*name).to_owned(), value.clone());
                }
                making.before.push(relate);
                making.touch(&edge.to_string(), Some(&before), refused.then_some(&before))?;
                for (key, content) in [&key, &other].into_iter().zip(&ends) {
                    making.touch(key, Some(content), Some(content))?;
                }
                json!({"op": "unrelate", "edge": EDGES, "from": key, "to": other})
            }
            Kind::Atomic => atomic(&mut making, refused, &spoil)?,
            Kind::Clear => {
                if by_qdrant {
                    return Ok(None);
                }
                let other = making.key(NODES, "other");
                let before = making.there(&key, locked);
                let other_before = making.there(&other, &[]);
                making.touch(&key, Some(&before), refused.then_some(&before))?;
                making.touch(&other, Some(&other_before), None)?;
                json!({"op": "clear", "table": NODES, "where": {"case": case}})
            }
        };
        // A clear ends, and names what it could not remove.
        let end = if refused && kind != Kind::Clear { State::RolledBack } else { State::Committed };
        Ok(Some(Self { before: making.before, body, touches: making.touches, end }))
    }
}

/// A group over three tables and collections. The member that is refused is not the last; what Qdrant has taken of the other collections by
/// then must be taken back. It is alone in its collection: of several points there, Qdrant could have taken some, and Lockstep would ask again.
fn atomic(making: &mut Making<'_>, refused: bool, spoil: &dyn Fn(&mut Value)) -> Result<Value> {
    let case = making.case;
    let (made, changed, removed) =
        (making.key(NODES, "made"), making.key(NODES, "changed"), making.key(NODES, "removed"));
    let (changed_before, removed_before) = (making.there(&changed, &[]), making.there(&removed, &[]));
    // One that goes along with the end that is removed.
    let (relate, gone, gone_before) = making.edge(EDGES, &changed, &removed)?;
    making.before.push(relate);

    let (made_body, made_after) = put(&made, case);
    let (mut patch, patched) = put(&changed, case);
    patch["op"] = json!("patch");
    patch["document"] = json!({"patched": true});
    let mut changed_after = Content { document: changed_before.document.clone(), vector: patched.vector };
    changed_after.document.insert("patched".to_owned(), json!(true));
    let (linked_body, linked, linked_after) = making.edge(EDGES, &made, &changed)?;
    let spoilt = making.key(OTHERS, "spoilt");
    let (mut spoilt_body, spoilt_after) = put(&spoilt, case);
    spoil(&mut spoilt_body);

    let after = |content: &Content| (!refused).then(|| content.clone());
    let ended = |before: &Content, after: Option<&Content>| if refused { Some(before.clone()) } else { after.cloned() };
    making.touch(&made, None, after(&made_after).as_ref())?;
    making.touch(&changed, Some(&changed_before), ended(&changed_before, Some(&changed_after)).as_ref())?;
    making.touch(&removed, Some(&removed_before), ended(&removed_before, None).as_ref())?;
    making.touch(&gone.to_string(), Some(&gone_before), ended(&gone_before, None).as_ref())?;
    making.touch(&linked.to_string(), None, after(&linked_after).as_ref())?;
    making.touch(&spoilt, None, after(&spoilt_after).as_ref())?;
    let removed_body = json!({"op": "delete", "key": removed});
    Ok(json!({"op": "atomic", "ops": [made_body, patch, removed_body, spoilt_body, linked_body]}))
}
