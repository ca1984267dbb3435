//! Actions: what an operation does, and how it is written down again.

use std::fmt;

use serde_json::{Map, Value as Json, json};

use crate::document::Document;
use crate::filter::Filter;
use crate::key::{Key, Table};
use crate::vector::{DEFAULT_VECTOR, Vectors};

/// What an operation does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Replaces the whole entity: document and vectors.
    Put {
        /// The entity.
        key: Key,
        /// All of its document.
        document: Document,
        /// All of its vectors.
        vectors: Vectors,
    },
    /// Merges into the document (RFC 7396) and replaces the vectors it names.
    Patch {
        /// The entity, which must exist.
        key: Key,
        /// The merge patch.
        document: Document,
        /// Vectors to replace.
        vectors: Vectors,
    },
    /// Removes the entity and its edges.
    Delete {
        /// The entity.
        key: Key,
    },
    /// Makes or replaces an edge.
    Relate {
        /// The edge itself, given or derived.
        key: Key,
        /// Where it begins.
        from: Key,
        /// Where it ends.
        to: Key,
        /// What it says.
        document: Document,
        /// Its vectors.
        vectors: Vectors,
    },
    /// Removes edges.
    Unrelate(UnrelateTarget),
    /// Several of the above, all or none.
    Atomic(Vec<Action>),
    /// Removes many entities of one table.
    Clear {
        /// The table.
        table: Table,
        /// Which; all of them without a filter.
        filter: Option<Filter>,
    },
}

/// Which edges an `unrelate` removes.
#[derive(Debug, Clone, PartialEq)]
pub enum UnrelateTarget {
    /// The one of this key.
    Key(Key),
    /// Every one of the table between these endpoints, whoever made it.
    Endpoints {
        /// The table of the edges.
        edge: Table,
        /// Where they begin.
        from: Key,
        /// Where they end.
        to: Key,
    },
}

/// An action without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKind {
    /// [`Action::Put`]
    Put,
    /// [`Action::Patch`]
    Patch,
    /// [`Action::Delete`]
    Delete,
    /// [`Action::Relate`]
    Relate,
    /// [`Action::Unrelate`]
    Unrelate,
    /// [`Action::Atomic`]
    Atomic,
    /// [`Action::Clear`]
    Clear,
}

impl ActionKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Put, Self::Patch, Self::Delete, Self::Relate, Self::Unrelate, Self::Atomic, Self::Clear];

    /// The name that stands in `op`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Relate => "relate",
            Self::Unrelate => "unrelate",
            Self::Atomic => "atomic",
            Self::Clear => "clear",
        }
    }

    /// Its number in the log.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Patch => 2,
            Self::Delete => 3,
            Self::Relate => 4,
            Self::Unrelate => 5,
            Self::Atomic => 6,
            Self::Clear => 7,
        }
    }

    /// The kind with this number in the log.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The kind that is called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Action {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ActionKind {
        match self {
            Self::Put { .. } => ActionKind::Put,
            Self::Patch { .. } => ActionKind::Patch,
            Self::Delete { .. } => ActionKind::Delete,
            Self::Relate { .. } => ActionKind::Relate,
            Self::Unrelate(_) => ActionKind::Unrelate,
            Self::Atomic(_) => ActionKind::Atomic,
            Self::Clear { .. } => ActionKind::Clear,
        }
    }

    /// The one key that it is about, if it is about one. `unrelate` by endpoints may remove several edges.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::Put { key, .. } | Self::Patch { key, .. } | Self::Delete { key } | Self::Relate { key, .. } => {
                Some(key)
            }
            Self::Unrelate(UnrelateTarget::Key(key)) => Some(key),
            Self::Unrelate(UnrelateTarget::Endpoints { .. }) | Self::Atomic(_) | Self::Clear { .. } => None,
        }
    }

    /// What it is shown under: its key, or for edges named by their endpoints the key that `relate` derives from them.
    #[must_use]
    pub fn subject(&self) -> Option<Key> {
        if let Self::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) = self {
            return Some(Key::edge(edge, from, to));
        }
        self.key().cloned()
    }

    /// What the members of a group are shown under, in their order; empty for what is no group.
    #[must_use]
    pub fn subjects(&self) -> Vec<Key> {
        if let Self::Atomic(members) = self { members.iter().filter_map(Self::subject).collect() } else { Vec::new() }
    }

    /// The table that it is about, if it is about one.
    #[must_use]
    pub fn table(&self) -> Option<&Table> {
        if let Self::Unrelate(UnrelateTarget::Endpoints { edge: table, .. }) | Self::Clear { table, .. } = self {
            return Some(table);
        }
        self.key().map(|key| &key.table)
    }

    /// The actions it is made of: the members of a group, or itself.
    #[must_use]
    pub fn members(&self) -> &[Self] {
        if let Self::Atomic(members) = self { members } else { std::slice::from_ref(self) }
    }

    /// As a request body. Parsing it gives the same action. Dense vectors are base64.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Json> {
        self.to_body(&[])
    }

    /// The request body that asks for this. Puts of `made` keys ask for a new id, as they did.
    pub(crate) fn to_body(&self, made: &[Key]) -> Map<String, Json> {
        let mut body = Map::new();
        let mut set = |name: &str, json: Json| body.insert(name.to_owned(), json);
        set("op", json!(self.kind().as_str()));
        match self {
            Self::Put { key, document, vectors } | Self::Patch { key, document, vectors } => {
                if made.contains(key) {
                    set("table", json!(key.table));
                } else {
                    set("key", json!(key));
                }
                set("document", Json::Object(document.to_json()));
                set_vectors(&mut body, vectors);
            }
            Self::Delete { key } | Self::Unrelate(UnrelateTarget::Key(key)) => {
                set("key", json!(key));
            }
            Self::Relate { key, from, to, document, vectors } => {
                if *key != Key::edge(&key.table, from, to) {
                    set("key", json!(key));
                }
                set("edge", json!(key.table));
                set("from", json!(from));
                set("to", json!(to));
                set("document", Json::Object(document.to_json()));
                set_vectors(&mut body, vectors);
            }
            Self::Unrelate(UnrelateTarget::Endpoints { edge, from, to }) => {
                set("edge", json!(edge));
                set("from", json!(from));
                set("to", json!(to));
            }
            Self::Atomic(members) => {
                set("ops", members.iter().map(|member| Json::Object(member.to_body(made))).collect());
            }
            Self::Clear { table, filter } => {
                set("table", json!(table));
                if let Some(filter) = filter {
                    set("where", filter.to_json());
                }
            }
        }
        body
    }
}

fn set_vectors(body: &mut Map<String, Json>, vectors: &Vectors) {
    match vectors.0.get(DEFAULT_VECTOR) {
        Some(vector) if vectors.0.len() == 1 => {
            body.insert("vector".to_owned(), vector.to_compact_json());
        }
        _ if vectors.is_empty() => {}
        _ => {
            let named = vectors.0.iter().map(|(name, vector)| (name.clone(), vector.to_compact_json()));
            body.insert("vectors".to_owned(), Json::Object(named.collect()));
        }
    }
}
