//! One operation of every kind, and what its keys hold before and after.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use lockstep_model::{Key, Table};
use lockstep_tests::held::{Age, Content, Held};
use lockstep_tests::look::Observed;
use lockstep_tests::witness::{patch_document, put_document, vector_of};
use serde_json::{Value, json};

/// The kinds of operations: the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Put,
    Patch,
    Delete,
    Relate,
    Atomic,
}

pub(crate) const KINDS: [Kind; 5] = [Kind::Put, Kind::Patch, Kind::Delete, Kind::Relate, Kind::Atomic];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Relate => "relate",
            Self::Atomic => "atomic",
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

impl Touch {
    /// Whether both stores show that.
    pub(crate) fn shows(content: Option<&Content>, seen: &Observed) -> bool {
        let held = Held { content: content.cloned(), age: Age::Above(lockstep_model::Version(0)) };
        held.is_shown_by(seen)
    }
}

/// An operation.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) kind: Kind,
    pub(crate) body: Value,
    pub(crate) touches: Vec<Touch>,
}

/// Operations on keys of their own, one of each kind and a second put, over a key that is there.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// What is to be committed before.
    pub(crate) before: Vec<Value>,
    pub(crate) acts: Vec<Act>,
}

/// The tables of a scene.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) nodes: &'static str,
    pub(crate) edges: &'static str,
    pub(crate) others: &'static str,
}

pub(crate) const USUAL: Tables = Tables { nodes: "memory", edges: "mentions", others: "note" };

/// Every content of a run is another one.
fn tag() -> u64 {
    static TAGS: AtomicU64 = AtomicU64::new(1);
    TAGS.fetch_add(1, Ordering::SeqCst)
}

/// A put of new content, and that content.
pub(crate) fn put(key: &str) -> (Value, Content) {
    let tag = tag();
    let document = put_document(tag);
    let body = json!({"op": "put", "key": key, "document": document, "vector": vector_of(tag)});
    (body, Content { document, vector: Some(tag) })
}

/// A patch of both document and vector, and what it makes of `before`.
pub(crate) fn patch(key: &str, before: &Content) -> (Value, Content) {
    let tag = tag();
    let body = json!({"op": "patch", "key": key, "document": patch_document(tag), "vector": vector_of(tag)});
    let mut document = before.document.clone();
    for (name, value) in patch_document(tag) {
        if value.is_null() {
            document.remove(&name);
        } else {
            document.insert(name, value);
        }
    }
    (body, Content { document, vector: Some(tag) })
}

/// An edge with a vector, its key, and its content.
pub(crate) fn relate(edge: &str, from: &str, to: &str) -> Result<(Value, Key, Content)> {
    let tag = tag();
    let document = put_document(tag);
    let body =
        json!({"op": "relate", "edge": edge, "from": from, "to": to, "document": document, "vector": vector_of(tag)});
    let key = Key::edge(&Table::new(edge)?, &from.parse()?, &to.parse()?);
    Ok((body, key, Content { document, vector: Some(tag) }))
}

fn touch(key: &str, before: Option<&Content>, after: Option<&Content>) -> Result<Touch> {
    Ok(Touch { key: key.parse()?, before: before.cloned(), after: after.cloned() })
}

impl Scene {
    /// A scene whose keys begin with `name`.
    pub(crate) fn new(name: &str, tables: Tables) -> Result<Self> {
        let Tables { nodes, edges, others } = tables;
        let node = |end: &str| format!("{nodes}:{name} {end}");
        let mut scene = Self { before: Vec::new(), acts: Vec::new() };
        let mut there = |key: &str| {
            let (body, content) = put(key);
            scene.before.push(body);
            content
        };
        let (from, to) = (node("from"), node("to"));
        there(&from);
        there(&to);

        let key = node("new");
        let (body, after) = put(&key);
        let new = Act { kind: Kind::Put, body, touches: vec![touch(&key, None, Some(&after))?] };

        let key = node("over");
        let before = there(&key);
        let (body, after) = put(&key);
        let over = Act { kind: Kind::Put, body, touches: vec![touch(&key, Some(&before), Some(&after))?] };

        let key = node("patched");
        let before = there(&key);
        let (body, after) = patch(&key, &before);
        let patched = Act { kind: Kind::Patch, body, touches: vec![touch(&key, Some(&before), Some(&after))?] };

        // With its edge.
        let key = node("gone");
        let before = there(&key);
        let (edge_body, edge, edge_before) = relate(edges, &key, &to)?;
        let body = json!({"op": "delete", "key": key});
        let touches =
            vec![touch(&key, Some(&before), None)?, Touch { key: edge, before: Some(edge_before), after: None }];
        let gone = Act { kind: Kind::Delete, body, touches };

        let (body, edge, after) = relate(edges, &from, &to)?;
        let touches = vec![Touch { key: edge, before: None, after: Some(after) }];
        let related = Act { kind: Kind::Relate, body, touches };

        let (made, changed, removed, other) =
            (node("made"), node("changed"), node("removed"), format!("{others}:{name}"));
        let (changed_before, removed_before) = (there(&changed), there(&removed));
        let (made_body, made_after) = put(&made);
        let (changed_body, changed_after) = patch(&changed, &changed_before);
        let (other_body, other_after) = put(&other);
        let (linked_body, linked, linked_after) = relate(edges, &from, &changed)?;
        let removed_body = json!({"op": "delete", "key": removed});
        let ops = [made_body, changed_body, removed_body, linked_body, other_body];
        let touches = vec![
            touch(&made, None, Some(&made_after))?,
            touch(&changed, Some(&changed_before), Some(&changed_after))?,
            touch(&removed, Some(&removed_before), None)?,
            Touch { key: linked, before: None, after: Some(linked_after) },
            touch(&other, None, Some(&other_after))?,
        ];
        let group = Act { kind: Kind::Atomic, body: json!({"op": "atomic", "ops": ops}), touches };

        scene.before.push(edge_body);
        scene.acts = vec![new, over, patched, gone, related, group];
        Ok(scene)
    }
}
