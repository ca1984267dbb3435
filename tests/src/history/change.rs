//! Operations of every kind, and what each does to which key.

use anyhow::Result;
use lockstep_model::{Key, Table};
use serde_json::{Value, json};

use super::checker::Effect;
use crate::seed::Rng;
use crate::witness::{EDGES, NODES, patch_document, put_document, vector_of};

/// A table without edges, which is cleared now and then.
pub const NOTES: &str = "note";

/// The keys that clients fight for.
#[derive(Debug)]
pub struct Keys {
    nodes: Vec<Key>,
    notes: Vec<Key>,
    /// An edge with both its ends.
    edges: Vec<(Key, Key, Key)>,
}

impl Keys {
    /// A ring of `nodes` with an edge from each to the next, and `notes`.
    ///
    /// # Errors
    /// Never: the names are proper.
    pub fn new(nodes: usize, notes: usize) -> Result<Self> {
        let all = |table: &str, count: usize| {
            (0..count).map(|n| format!("{table}:{n}").parse()).collect::<Result<Vec<Key>, _>>()
        };
        let (nodes, notes) = (all(NODES, nodes)?, all(NOTES, notes)?);
        let table = Table::new(EDGES)?;
        let ring = nodes.iter().zip(nodes.iter().cycle().skip(1));
        let edges = ring.map(|(from, to)| (Key::edge(&table, from, to), from.clone(), to.clone())).collect();
        Ok(Self { nodes, notes, edges })
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Key> {
        let edges = self.edges.iter().map(|(edge, ..)| edge);
        self.nodes.iter().chain(&self.notes).chain(edges).cloned().collect()
    }

    /// Every edge with its ends.
    #[must_use]
    pub fn edges(&self) -> &[(Key, Key, Key)] {
        &self.edges
    }

    fn edges_of(&self, node: &Key) -> impl Iterator<Item = Key> {
        self.edges.iter().filter(move |(_, from, to)| from == node || to == node).map(|(edge, ..)| edge.clone())
    }

    /// Any key.
    pub fn any(&self, rng: &mut Rng) -> Option<Key> {
        rng.pick(&self.all()).cloned()
    }

    /// Any operation.
    pub fn any_change(&self, rng: &mut Rng) -> Option<Change> {
        Some(match rng.below(100) {
            0..3 => Change::Clear,
            3..18 => {
                let mut members: Vec<Change> = Vec::new();
                for _ in 0..2 + rng.below(3) {
                    let mut member = self.simple(rng)?;
                    if let Change::Put { if_absent, .. } = &mut member {
                        // A group as a whole takes no such condition.
                        *if_absent = false;
                    }
                    let touched =
                        |change: &Change| self.effects(change).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
                    let wanted = touched(&member);
                    let free = members.iter().flat_map(touched).all(|key| !wanted.contains(&key));
                    let refusable = matches!(&member, Change::Patch { .. });
                    // Members speak of different keys, and few of them can refuse the whole.
                    if free && (!refusable || rng.chance(30)) {
                        members.push(member);
                    }
                }
                if members.len() < 2 {
                    return self.simple(rng);
                }
                Change::Group(members)
            }
            _ => self.simple(rng)?,
        })
    }

    fn simple(&self, rng: &mut Rng) -> Option<Change> {
        let of = if rng.chance(30) { &self.notes } else { &self.nodes };
        let key = rng.pick(of)?.clone();
        let (edge, from, to) = rng.pick(&self.edges)?.clone();
        let vector = rng.chance(75);
        Some(match rng.below(100) {
            0..40 => Change::Put { key, vector, if_absent: rng.chance(15) },
            40..60 => Change::Patch { key, vector: rng.chance(40) },
            60..72 => Change::Delete { key },
            72..92 => Change::Relate { edge, from, to, vector: rng.chance(40) },
            _ => Change::Unrelate { edge, from, to },
        })
    }

    /// What the change does to each key if it is committed.
    #[must_use]
    pub fn effects(&self, change: &Change) -> Vec<(Key, Effect)> {
        match change {
            Change::Put { key, vector, if_absent } => {
                vec![(key.clone(), Effect::Put { vector: *vector, if_absent: *if_absent })]
            }
            Change::Patch { key, vector } => vec![(key.clone(), Effect::Patch { vector: *vector })],
            Change::Delete { key } => {
                std::iter::once(key.clone()).chain(self.edges_of(key)).map(|key| (key, Effect::Remove)).collect()
            }
            Change::Relate { edge, vector, .. } => {
                vec![(edge.clone(), Effect::Put { vector: *vector, if_absent: false })]
            }
            Change::Unrelate { edge, .. } => vec![(edge.clone(), Effect::Remove)],
            Change::Clear => self.notes.iter().map(|key| (key.clone(), Effect::Sweep)).collect(),
            Change::Group(members) => members.iter().flat_map(|member| self.effects(member)).collect(),
        }
    }
}

/// An operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A put.
    Put {
        /// Of what.
        key: Key,
        /// With a vector.
        vector: bool,
        /// Only if there is none.
        if_absent: bool,
    },
    /// A merge patch.
    Patch {
        /// Of what.
        key: Key,
        /// With a vector.
        vector: bool,
    },
    /// A delete, which takes a node's edges along.
    Delete {
        /// Of what.
        key: Key,
    },
    /// An edge.
    Relate {
        /// Its derived key.
        edge: Key,
        /// Where it begins.
        from: Key,
        /// Where it ends.
        to: Key,
        /// With a vector.
        vector: bool,
    },
    /// The end of the edges between two nodes.
    Unrelate {
        /// The derived key.
        edge: Key,
        /// Where they begin.
        from: Key,
        /// Where they end.
        to: Key,
    },
    /// All notes go.
    Clear,
    /// All of these or none.
    Group(Vec<Change>),
}

impl Change {
    /// As JSON, with the content of `tag`.
    #[must_use]
    pub fn body(&self, tag: u64) -> Value {
        let (mut body, vector) = match self {
            Self::Put { key, vector, if_absent } => {
                let mut body = json!({"op": "put", "key": key.to_string(), "document": put_document(tag)});
                if *if_absent {
                    body["if_absent"] = json!(true);
                }
                (body, *vector)
            }
            Self::Patch { key, vector } => {
                (json!({"op": "patch", "key": key.to_string(), "document": patch_document(tag)}), *vector)
            }
            Self::Delete { key } => (json!({"op": "delete", "key": key.to_string()}), false),
            Self::Relate { from, to, vector, .. } => (
                json!({"op": "relate", "edge": EDGES, "from": from.to_string(), "to": to.to_string(), "document": put_document(tag)}),
                *vector,
            ),
            Self::Unrelate { from, to, .. } => {
                (json!({"op": "unrelate", "edge": EDGES, "from": from.to_string(), "to": to.to_string()}), false)
            }
            Self::Clear => (json!({"op": "clear", "table": NOTES}), false),
            Self::Group(members) => {
                let members: Vec<Value> = members.iter().map(|member| member.body(tag)).collect();
                (json!({"op": "atomic", "ops": members}), false)
            }
        };
        if vector {
            body["vector"] = json!(vector_of(tag));
        }
        body
    }

    /// What a refusal says of the keys: only a lone operation says of which key.
    #[must_use]
    pub fn refused(&self) -> Option<(Key, Effect)> {
        match self {
            Self::Put { key, if_absent: true, .. } => Some((key.clone(), Effect::WasThere)),
            Self::Patch { key, .. } => Some((key.clone(), Effect::WasNotThere)),
            Self::Put { .. }
            | Self::Delete { .. }
            | Self::Relate { .. }
            | Self::Unrelate { .. }
            | Self::Clear
            | Self::Group(_) => None,
        }
    }
}
