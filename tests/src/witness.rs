//! What clients sent and what they were told: the only memory that a test of a promise may rely on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockstep_model::{Key, KeyError, Lsn, OpId, State, Table, Version};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// The table of the nodes; their vectors have four dimensions.
pub const NODES: &str = "memory";
/// The table of the edges; some of them have vectors, too.
pub const EDGES: &str = "mentions";

/// What an operation does. Its content is made from its tag, so that every operation leaves a trace of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A put.
    Put {
        /// The node.
        key: String,
        /// With a vector.
        vector: bool,
        /// Only if there is none.
        if_absent: bool,
    },
    /// A merge patch.
    Patch {
        /// The node.
        key: String,
        /// With a vector.
        vector: bool,
    },
    /// A delete, which takes the node's edges with it.
    Delete {
        /// The node.
        key: String,
    },
    /// An edge.
    Relate {
        /// Where it begins.
        from: String,
        /// Where it ends.
        to: String,
        /// With a vector.
        vector: bool,
    },
    /// The end of an edge.
    Unrelate {
        /// Where it begins.
        from: String,
        /// Where it ends.
        to: String,
    },
}

impl What {
    /// The operation as JSON.
    #[must_use]
    pub fn body(&self, tag: u64) -> Value {
        let (mut body, vector) = match self {
            Self::Put { key, vector, if_absent } => {
                let mut body = json!({"op": "put", "key": key, "document": put_document(tag)});
                if *if_absent {
                    body["if_absent"] = json!(true);
                }
                (body, *vector)
            }
            Self::Patch { key, vector } => {
                (json!({"op": "patch", "key": key, "document": patch_document(tag)}), *vector)
            }
            Self::Delete { key } => (json!({"op": "delete", "key": key}), false),
            Self::Relate { from, to, vector } => {
                let document = put_document(tag);
                (json!({"op": "relate", "edge": EDGES, "from": from, "to": to, "document": document}), *vector)
            }
            Self::Unrelate { from, to } => (json!({"op": "unrelate", "edge": EDGES, "from": from, "to": to}), false),
        };
        if vector {
            body["vector"] = json!(vector_of(tag));
        }
        body
    }

    /// Whether it may change what `place` holds.
    #[must_use]
    pub fn touches(&self, place: &Place) -> bool {
        match (self, place) {
            (Self::Put { key, .. } | Self::Patch { key, .. } | Self::Delete { key }, Place::Node(node)) => key == node,
            (Self::Delete { key }, Place::Edge(from, to)) => key == from || key == to,
            (Self::Relate { from, to, .. } | Self::Unrelate { from, to }, Place::Edge(begin, end)) => {
                from == begin && to == end
            }
            (Self::Put { .. } | Self::Patch { .. }, Place::Edge(..))
            | (Self::Relate { .. } | Self::Unrelate { .. }, Place::Node(_)) => false,
        }
    }
}

/// A key whose state is judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A node.
    Node(String),
    /// The edge between two nodes.
    Edge(String, String),
}

impl Place {
    /// Its key, for an edge the derived one.
    ///
    /// # Errors
    /// If a node's name is no key.
    pub fn key(&self) -> Result<Key, KeyError> {
        match self {
            Self::Node(key) => key.parse(),
            Self::Edge(from, to) => Ok(Key::edge(&Table::new(EDGES)?, &from.parse()?, &to.parse()?)),
        }
    }
}

/// The document that a put or a relate with this tag writes.
#[must_use]
pub fn put_document(tag: u64) -> Map<String, Value> {
    let pad = "tide ".repeat(usize::try_from(tag % 7).unwrap_or(0) * 20);
    Map::from_iter([("put".to_owned(), json!(tag)), ("pad".to_owned(), json!(pad))])
}

/// The merge patch with this tag: some of them remove what the put has written.
#[must_use]
pub fn patch_document(tag: u64) -> Map<String, Value> {
    let mut patch = Map::from_iter([("patch".to_owned(), json!(tag))]);
    if tag.is_multiple_of(4) {
        patch.insert("pad".to_owned(), Value::Null);
    }
    patch
}

/// The vector of this tag: of length 1, so that a store that normalises gives it back.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "vectors are f32, and tags small")]
pub fn vector_of(tag: u64) -> [f32; 4] {
    let (one, other) = (tag as f64 * 0.618_034, tag as f64 * 0.414_214 + 1.0);
    let half = std::f64::consts::FRAC_1_SQRT_2;
    [one.cos(), one.sin(), other.cos(), other.sin()].map(|value| (value * half) as f32)
}

/// An operation, and what became of it as far as its sender knows.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its content.
    pub tag: u64,
    /// What it does.
    pub what: What,
    /// It went out under an idempotency key, so that it may be repeated.
    pub repeatable: bool,
    /// The moment before it was sent.
    pub sent_at: u64,
    /// The moment after its answer came, or it was clear that none would come.
    pub told_at: Option<u64>,
    /// The answer.
    pub told: Told,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// None came: it may have been logged or not.
    Nothing,
    /// It was refused before the log, or never sent.
    NotTaken,
    /// It is in the log and will end.
    Logged {
        /// Its name.
        op_id: OpId,
        /// Its place.
        lsn: Lsn,
    },
    /// It has ended.
    Ended(End),
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its name.
    pub op_id: OpId,
    /// Its place.
    pub lsn: Lsn,
    /// Its version, as far as it was told.
    pub version: Option<Version>,
    /// How.
    pub state: State,
    /// Why, if it was rolled back.
    pub code: Option<String>,
}

/// Everything sent since the last judgement. Moments are counted, not timed: one that is lower was earlier.
#[derive(Debug)]
pub struct Witness {
    moments: AtomicU64,
    tags: AtomicU64,
    sent: Mutex<Vec<Sent>>,
    faults: Mutex<Vec<String>>,
    answers: watch::Sender<u64>,
}

impl Default for Witness {
    fn default() -> Self {
        Self {
            moments: AtomicU64::default(),
            tags: AtomicU64::default(),
            sent: Mutex::default(),
            faults: Mutex::default(),
            answers: watch::Sender::new(0),
        }
    }
}

impl Witness {
    /// An operation goes out; the number names it here, the tag is its content.
    pub fn sends(&self, what: &What, repeatable: bool) -> (usize, u64) {
        let tag = self.tags.fetch_add(1, Ordering::SeqCst) + 1;
        let sent_at = self.moment();
        let mut sent = self.lock();
        sent.push(Sent { tag, what: what.clone(), repeatable, sent_at, told_at: None, told: Told::Nothing });
        (sent.len() - 1, tag)
    }

    /// Its answer has come, or the connection was lost.
    pub fn hears(&self, number: usize, told: Told) {
        let told_at = self.moment();
        if let Some(sent) = self.lock().get_mut(number) {
            sent.told = told;
            sent.told_at = Some(told_at);
        }
        self.answers.send_modify(|answers| *answers += 1);
    }

    /// An answer came that must not come.
    pub fn accuses(&self, fault: String) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// How many answers have come.
    #[must_use]
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.answers.subscribe()
    }

    /// What was sent, and the answers that must not have come.
    #[must_use]
    pub fn so_far(&self) -> (Vec<Sent>, Vec<String>) {
        (self.lock().clone(), self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Forgets what has been judged.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
